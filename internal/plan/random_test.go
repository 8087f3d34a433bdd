package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestApplyingAPlanLeavesNothingToDo applies plans of random states to a model
// of the world and plans again: there must be nothing left to do, and nothing
// touched that was not to be.
func TestApplyingAPlanLeavesNothingToDo(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for n := range uint64(1500) {
		g := generator{rand.New(rand.NewPCG(seed, n))}
		st, policy := g.state(), Policy{Heal: g.mostly(), AllowEmpty: g.rarely()}
		if g.often() {
			policy.MinAge = threeDays
		}
		answered(&st, policy)
		before := fmt.Sprintf("%+v", st)
		p := Build(st, policy)
		if after := fmt.Sprintf("%+v", st); after != before {
			t.Fatalf("seed %d, round %d: Build changed its input", seed, n)
		}
		legal(t, st, p)
		ripe(t, st, policy, p)
		apply(&st, p)
		again := answered(&st, policy)
		// Who follows the daemon comes after it. And what only the clone's head told
		// of a project, and the journal otherwise, is gone after the checkout: that may
		// take another plan or two, and then there is nothing left to do.
		for range 3 {
			if len(again.Ops) > 0 {
				legal(t, st, again)
				apply(&st, again)
				again = answered(&st, policy)
			}
		}
		if onlyNetworks := func(op Op) bool { return op.Kind == Stop && !hasContainers(byProject(st)[op.Stack]) }; !slices.ContainsFunc(again.Ops, func(op Op) bool { return !onlyNetworks(op) }) {
			apply(&st, again) // networks that others were on
			again = answered(&st, policy)
		}
		if len(again.Ops) > 0 {
			t.Errorf("another plan:\n%safter the first:\n%s", again, p)
		}
		if t.Failed() {
			t.Fatalf("seed %d, round %d, policy %+v, state before:\n%s", seed, n, policy, before)
		}
	}
}

// answered plans, with an answer to every doubt: some volumes are empty.
func answered(st *State, p Policy) Plan {
	st.Losses = map[Doubt]bool{}
	losses := map[Doubt]bool{}
	for _, d := range Doubts(*st, p) {
		losses[d] = d.New.Target != "" && strings.HasPrefix(d.New.Source, "e")
	}
	st.Losses = losses
	return Build(*st, p)
}

// legal checks a plan against what must never be.
func legal(t *testing.T, st State, p Plan) {
	t.Helper()
	wanted := map[string]Stack{}
	for _, s := range st.Wanted {
		wanted[s.Name] = s
	}
	runs := byProject(st)
	done := map[string]bool{}
	checkout := false
	for n, op := range p.Ops {
		s, isWanted := wanted[op.Stack]
		r := runs[op.Stack]
		self, own := selfOf(r)
		bad := func(why string) { t.Errorf("%s %s: %s", op.Kind, op.Stack, why) }
		for _, a := range op.After {
			if !slices.ContainsFunc(p.Ops[:n], func(before Op) bool { return before.ID == a.ID }) {
				bad("comes before " + string(a.ID))
			}
		}
		switch op.Kind {
		case Checkout:
			checkout = true
			continue
		case Stop:
			managed := func(s Stack) bool { return s.File == op.File && s.Mode != Ignored } // it is not ignored any more
			ignored := r.Ignored && !slices.ContainsFunc(st.Wanted, managed)
			if isWanted && op.Services == nil && op.File == s.File || !r.Ours || ignored || r.Controller {
				bad("must not be stopped")
			}
			done[op.Stack] = !isWanted
		case Before:
			up := slices.IndexFunc(p.Ops, func(later Op) bool { return later.Kind == Up && later.Stack == op.Stack })
			if up < n || !slices.ContainsFunc(p.Ops[up].After, func(a After) bool { return a.ID == op.ID && !a.Ended }) {
				bad("has no up after it")
			}
			if len(op.Hooks) == 0 || s.Mode != Managed || op.Cause.Why == Drifted {
				bad("must not run")
			}
			if st.Local != st.Remote && !checkout {
				bad("comes before the checkout")
			}
		case HandOver:
			if !own || n != len(p.Ops)-1 || len(op.Services) != 1 || op.Version == "" {
				bad("is no hand-over that can be")
			}
			if !slices.ContainsFunc(s.Services, func(v Service) bool { return v.Name == op.Services[0] && v.Scale == 1 }) {
				bad("is not to a service of the stack")
			}
			fallthrough
		case Up, Pull:
			done[op.Stack] = done[op.Stack] || op.Kind == Up
			if !isWanted || s.Invalid != "" || (s.Mode != Managed || r.Controller) && !own || (len(r.Containers) > 0 && !r.Ours) {
				bad("must not be touched")
			}
			if own && (op.Services == nil || op.Kind == Up && slices.Contains(op.Services, self.Service)) {
				bad("is the daemon itself")
			}
			if st.Local != st.Remote && !checkout && (op.Kind != Pull || builds(s)) { // a stop may wait for a pull
				bad("comes before the checkout")
			}
		}
		if st.Busy[op.Stack] {
			bad("is busy")
		}
	}
	for _, h := range p.Held {
		if _, own := selfOf(runs[h.Stack]); own {
			continue // one part of it may be held and the other done
		}
		if done[h.Stack] && !(runs[h.Stack].File == h.File && wanted[h.Stack].Name == "") {
			t.Errorf("%s is held and done", h.Stack)
		}
	}
}

// ripe checks that a plan takes no image that is younger than it may be.
func ripe(t *testing.T, st State, policy Policy, p Plan) {
	t.Helper()
	for _, op := range p.Ops {
		for _, svc := range find1(append(slices.Clone(st.Wanted), Stack{Name: op.Stack}), op.Stack).Services {
			if st.Observed.Images[svc.Image] == "" || svc.Every == 0 || op.Kind != Pull {
				continue
			}
			old, gated := true, false
			for _, s := range st.Wanted {
				age := policy.MinAge
				if s.MinAge != nil {
					age = *s.MinAge
				}
				watches := s.Invalid == "" && s.Mode != Ignored && slices.ContainsFunc(s.Services, func(v Service) bool { return v.Every > 0 && v.Image == svc.Image })
				if watches && age > 0 {
					old, gated = old && !st.Now.Before(st.Observed.Seen[svc.Image].Add(age)), true
				}
			}
			if due := svc.Due(st.Observed, op.Digests); due.Pull == PullAlways && (!old || gated && due.Digest == "") {
				t.Errorf("%s brings %s, which is or may be too young: %q", op.ID, svc.Image, due.Digest)
			}
		}
	}
}

func byProject(st State) map[string]Running {
	m := map[string]Running{}
	for _, r := range st.Observed.Running {
		m[r.Project] = r
	}
	return m
}

// selfOf finds the container that the daemon runs in.
func selfOf(r Running) (Container, bool) {
	i := slices.IndexFunc(r.Containers, func(c Container) bool { return c.Self })
	if i < 0 {
		return Container{}, false
	}
	return r.Containers[i], true
}

// apply does to the model what the engine and git would do, without failure.
func apply(st *State, p Plan) {
	for _, op := range p.Ops {
		switch op.Kind {
		case Checkout:
			for _, s := range st.Before { // as the journal does
				rec := st.Memory[s.Name]
				rec.File = s.File
				st.Memory[s.Name] = rec
			}
			st.Local, st.Before = p.To, nil
		case Stop:
			i := slices.IndexFunc(st.Observed.Running, func(r Running) bool { return r.Project == op.Stack })
			r := &st.Observed.Running[i]
			for _, n := range r.Networks {
				delete(st.Observed.Networks, n.Name)
			}
			r.Containers, r.Networks = nil, nil
			delete(st.Memory, op.Stack)
		case Pull:
			for _, svc := range find1(st.Wanted, op.Stack).Services {
				if op.Services != nil && !slices.Contains(op.Services, svc.Name) {
					continue
				}
				switch latest := st.Observed.Latest[svc.Image]; {
				case svc.Pull == PullNever:
				case latest != "" && svc.Due(st.Observed, op.Digests).Pull == PullAlways:
					st.Observed.Images[svc.Image] = "id of " + latest
					st.Observed.Images[Repository(svc.Image)+"@"+latest] = "id of " + latest
				case st.Observed.Images[svc.Image] == "": // the tags of the registry stay
					st.Observed.Images[svc.Image] = "id of " + svc.Image
				}
			}
		case Up:
			bringUp(st, find1(st.Wanted, op.Stack), op.Services)
		case HandOver:
			handOver(st, find1(st.Wanted, op.Stack), op)
		}
	}
}

// handOver replaces the daemon's container by one of another service, or of
// another version of the same.
func handOver(st *State, s Stack, op Op) {
	i := slices.IndexFunc(st.Observed.Running, func(r Running) bool { return r.Project == s.Name })
	kept, rec := st.Observed.Running[i].Containers, st.Memory[s.Name]
	bringUp(st, s, nil) // what the container needs is made with it
	made := st.Observed.Running[len(st.Observed.Running)-1].Containers
	next := made[slices.IndexFunc(made, func(c Container) bool { return c.Service == op.Services[0] })]
	next.Self = true
	st.Observed.Running[len(st.Observed.Running)-1].Controller = true
	kept = append(slices.DeleteFunc(slices.Clone(kept), func(c Container) bool { return c.Self }), next)
	st.Observed.Running[len(st.Observed.Running)-1].Containers = kept
	rec.Own = Own{Applied: op.Version}
	st.Memory[s.Name] = rec
}

func find1(all []Stack, name string) Stack {
	return all[slices.IndexFunc(all, func(s Stack) bool { return s.Name == name })]
}

// bringUp makes all of a stack anew, or only some of its services: of the
// others, those stay that the stack has, and the daemon.
func bringUp(st *State, s Stack, only []string) {
	r := running(s)
	for i := range r.Containers {
		r.Containers[i].Created = noon() // all at once: nobody is younger than whom it follows
		if id := st.Observed.Images[s.Services[slices.IndexFunc(s.Services, func(v Service) bool { return v.Name == r.Containers[i].Service })].Image]; id != "" {
			r.Containers[i].Image = id
		}
	}
	for _, n := range s.Networks {
		st.Observed.Networks[n.Name] = "id of " + n.Name
	}
	for _, v := range s.Volumes {
		st.Observed.Volumes[v.Name] = true
	}
	if i := slices.IndexFunc(st.Observed.Running, func(old Running) bool { return old.Project == s.Name }); i >= 0 {
		old := st.Observed.Running[i]
		st.Observed.Running = slices.Delete(slices.Clone(st.Observed.Running), i, i+1)
		r.Controller = old.Controller && only != nil
		if only != nil { // what does not differ stays, or who follows it would have to be replaced as well
			ds := Differences(s, old, st.Observed)
			differs := func(name string) bool {
				return slices.ContainsFunc(ds, func(d Difference) bool { return d.Service == name })
			}
			only = slices.DeleteFunc(slices.Clone(only), func(name string) bool {
				i := slices.IndexFunc(s.Services, func(v Service) bool { return v.Name == name })
				return !differs(name) && !slices.ContainsFunc(s.Services[i].Follows, differs)
			})
			r.Containers = slices.DeleteFunc(r.Containers, func(c Container) bool { return !slices.Contains(only, c.Service) })
		}
		for _, c := range old.Containers {
			stays := slices.ContainsFunc(s.Services, func(v Service) bool { return v.Name == c.Service && !slices.Contains(only, v.Name) })
			if only != nil && (stays || c.Self) {
				r.Containers = append(r.Containers, c)
			}
		}
	}
	st.Observed.Running = append(st.Observed.Running, r)
	st.Memory[s.Name] = Record{File: s.File, Applied: s.Digest, Tried: s.Digest, Own: st.Memory[s.Name].Own}
}

type generator struct{ *rand.Rand }

func (g generator) rarely() bool { return g.IntN(8) == 0 }
func (g generator) often() bool  { return g.IntN(2) == 0 }
func (g generator) mostly() bool { return g.IntN(5) > 0 }

func (g generator) state() State {
	var wanted []Stack
	var projects []Running
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		old := g.stack(name)
		if g.mostly() {
			s := old
			if g.often() {
				s = g.change(old)
			}
			wanted = append(wanted, s)
		}
		if g.mostly() {
			projects = append(projects, g.running(old))
		}
	}
	if g.often() && len(projects) > 0 {
		g.daemon(&projects[g.IntN(len(projects))])
	}
	if g.rarely() {
		wanted = nil
	}
	refuseDoubles(wanted)
	Cycles(wanted)
	st := world(wanted, projects)
	st.Observed.Latest, st.Observed.Seen = map[string]string{}, map[string]time.Time{}
	for name := range strings.SplitSeq("abcdefg", "") {
		ref := name + ":1"
		st.Observed.Images[ref], st.Observed.Images[name+"@sha256:here"] = "id of "+ref, "id of "+ref
		st.Observed.Latest[ref] = []string{"", "sha256:here", "sha256:new"}[g.IntN(3)]
		st.Observed.Seen[ref] = noon().Add(-time.Duration(g.IntN(120)) * time.Hour)
	}
	if g.often() {
		commit(&st)
		st.Before = stacks(stack("a"), stack("b"), stack("c"))
	}
	if g.rarely() {
		st.Observed.Images["a:1"] = "id of another"
	}
	for _, s := range slices.Concat(wanted, []Stack{stack("a"), stack("d")}) {
		if g.often() {
			st.Memory[s.Name] = g.record(s)
		}
		if g.rarely() {
			st.Busy[s.Name] = true
		}
	}
	return st
}

func refuseDoubles(all []Stack) {
	for i := range all {
		for j := range all {
			if i != j && all[i].Name == all[j].Name {
				all[i].Invalid = "the name is taken"
			}
		}
	}
}

func (g generator) stack(name string) Stack {
	s := stack(name, app(func(v *Service) { v.Image = name + ":1" }))
	switch g.IntN(4) {
	case 0:
		app(watched)(&s)
	case 1:
		app(always)(&s)
	}
	if g.rarely() {
		age(time.Duration(g.IntN(3)) * 48 * time.Hour)(&s)
	}
	if g.often() {
		with("db", func(v *Service) { v.Scale = g.IntN(3); v.Completes = g.often() })(&s)
	}
	if g.often() {
		with("follower", func(v *Service) { v.Follows = []string{"app"} })(&s)
	}
	if g.often() {
		volume(name+"_data", "v1")(&s)
	}
	if g.often() {
		if other := string(rune('a' + g.IntN(5))); other != name {
			needs(other + "_default")(&s)
		}
	}
	return s
}

// change is what a commit may do to a stack.
func (g generator) change(s Stack) Stack {
	s.Digest += "+"
	s.Services, s.Volumes = slices.Clone(s.Services), slices.Clone(s.Volumes)
	svc := &s.Services[g.IntN(len(s.Services))]
	switch g.IntN(9) {
	case 0:
		svc.Hash = "h2"
	case 1:
		svc.Hash, svc.Image, svc.Every, svc.Pull = "h2", s.Name+":2", 0, []PullPolicy{PullMissing, PullAlways, PullNever, PullBuild}[g.IntN(4)]
	case 2:
		s.Invalid = "no image"
	case 3:
		s.Mode = []Mode{Ignored, Controller}[g.IntN(2)]
	case 4:
		if len(s.Volumes) > 0 {
			s.Volumes[0].Hash = "v2"
		}
	case 5:
		file := s.File // what a project makes has names that begin with its own
		s = g.stack(string(rune('a' + g.IntN(7))))
		s.File = file
	case 6:
		s.File = "moved/" + s.File
	case 7:
		s.Services = s.Services[:len(s.Services)-1]
	case 8:
		svc.Scale = g.IntN(3)
	}
	return s
}

// running is a stack as people, crashes and kills may have left it.
func (g generator) running(s Stack) Running {
	r := running(s)
	for i := range r.Containers {
		c := &r.Containers[i]
		c.Networks = maps.Clone(c.Networks)
		switch g.IntN(24) {
		case 0:
			c.State, c.ExitCode = "exited", g.IntN(2)
		case 1:
			c.State = []string{"created", "dead", "paused", "restarting"}[g.IntN(4)]
		case 2:
			c.Hash = "by hand"
		case 3:
			c.Replacing = true
		case 4:
			clear(c.Networks)
		case 5:
			c.Created = noon()
		case 6:
			c.OneOff = true
		case 7:
			c.Service = "orphan"
		}
	}
	switch g.IntN(12) {
	case 0:
		notOurs(&r)
	case 1:
		byHand(&r)
	case 2:
		r.Ignored = true
	case 3:
		r.Controller = true
	case 4:
		r.Containers = nil
	case 5:
		r.Containers, r.Networks = nil, nil
	case 6:
		r.File = ""
	}
	return r
}

// daemon lets the daemon run in one of a project's containers.
func (g generator) daemon(r *Running) {
	if len(r.Containers) == 0 || !r.Ours {
		return
	}
	r.Controller, r.Containers = true, slices.Clone(r.Containers)
	c := &r.Containers[g.IntN(len(r.Containers))]
	c.Self, c.State, c.Replacing, c.OneOff = true, "running", false, false
}

func (g generator) record(s Stack) Record {
	rec := applied(s)
	rec.Own = []Own{{}, {Applied: "h1"}, {Applied: "h2", Failed: "h1", Failures: 1}, {Failed: "h2", RetryAt: noon().Add(time.Hour)}}[g.IntN(4)]
	switch g.IntN(6) {
	case 0:
		rec.Failed = s.Digest
	case 1:
		rec.Failed = StopDigest
	case 2:
		rec.Applied = "older"
	case 3:
		rec = Record{}
	case 4:
		rec.Tried, rec.Failed = "another", "another"
	}
	rec.RetryAt = noon().Add(time.Duration(g.IntN(3)-1) * time.Minute)
	return rec
}
