package plan

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestWhateverMovesNothingOverlapsAndNothingIsLeftBehind lets a daemon live
// through random histories: commits in which stacks move, are renamed and swap
// what they have, people and crashes at the host, a remote that is away, and
// operations that fail, last and run side by side. What must never be is looked
// for at each step; when the faults end, all has to become as it is wanted.
// PLAN_ROUNDS is the number of histories. They are the same ones each time, so
// that a change is judged by what it changes; PLAN_SEED gives others, and "new"
// ones that nobody has seen.
func TestWhateverMovesNothingOverlapsAndNothingIsLeftBehind(t *testing.T) {
	seed := number("PLAN_SEED", 12)
	if os.Getenv("PLAN_SEED") == "new" {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("PLAN_SEED=%d", seed)
	looks := 0
	for n := range number("PLAN_ROUNDS", 400) {
		w := newStory(t, rand.New(rand.NewPCG(seed, n)), newRegistry(rand.New(rand.NewPCG(seed, n+1<<32))))
		w.live()
		looks += w.looks
		if t.Failed() {
			t.Fatalf("PLAN_SEED=%d, history %d, healing %v:\n%s", seed, n, w.policy.Heal, strings.Join(w.story, "\n"))
		}
	}
	t.Logf("%d looks", looks)
}

func number(variable string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(variable), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// story is a robot whose steps are watched.
type story struct {
	*robot
	t *testing.T
}

func newStory(t *testing.T, rng *rand.Rand, images *registry) *story {
	g := generator{rng}
	h := &host{g: g, registry: images, forgets: g.often(), networks: map[string]*network{}, volumes: map[string]volumeOf{}, images: map[string]string{}, digests: map[string]string{}, content: map[string]bool{}, files: map[string]bool{}}
	r := &robot{
		host: h, now: noon(), policy: Policy{Heal: g.often(), AllowEmpty: g.rarely(), KeepEdits: g.often()}, faults: true,
		commits: map[string]head{}, edited: map[string]bool{}, memory: map[string]Record{}, suspended: map[string]Suspension{}, done: map[string]string{}, ups: map[string]*look{},
	}
	if images.rng.IntN(2) == 0 {
		r.policy.MinAge = 5 * time.Minute
	}
	if images.rng.IntN(3) == 0 {
		var err error
		if r.policy.Window, err = ParseWindow("allow 12:05-12:12; allow 12:20-12:25", time.UTC); err != nil {
			t.Fatal(err)
		}
	}
	w := &story{r, t}
	h.wrong = t.Errorf
	h.starts, r.judge, r.begins, h.registry.free = w.starts, w.judge, w.begins, w.comes
	var first head
	if g.often() {
		first = append(first, ownUnit())
	}
	for n := range 3 {
		first = append(first, g.unit(n))
	}
	w.push(g.tidy(first))
	r.local, r.known = r.remote, r.remote
	for _, u := range first {
		if u.parts[0].own {
			s := u.stack(nil)
			h.have(s.Services[0].Image)
			h.networks[s.Networks[0].Name] = &network{h.next("net"), s.Networks[0].Hash, s.Name, true}
			p, _ := h.create(s, u, s.Services[0], 1)
			p.Self, p.State = true, "running"
		}
		if u.env && g.often() {
			h.files[u.dotenv()] = true
		}
	}
	return w
}

func (w *story) push(h head) {
	w.remote = fmt.Sprintf("%07d", len(w.commits)+1)
	w.commits[w.remote] = h
	var all []string
	for _, u := range h {
		what := ""
		for word, is := range map[string]bool{" broken": u.broken, " ignored": u.ignored, " .env": u.env, " needs " + u.needs: u.needs != "", " makes " + u.named: u.named != ""} {
			if is {
				what += word
			}
		}
		all = append(all, fmt.Sprintf("%s: %s in %s n%d%s %v", u.key, u.project(), u.dir, u.network, what, u.parts))
	}
	w.tell("commit %s\n  %s", w.remote, strings.Join(all, "\n  "))
}

func (w *story) live() {
	w.look()
	for step := range 70 {
		switch n := w.g.IntN(40); {
		case n < 3:
			w.push(w.g.commit(w.commits[w.remote], 10+step))
		case n < 6:
			w.happen()
		case n < 11:
			w.look()
		case n == 11:
			w.offline = !w.offline
		case n == 12 && w.g.IntN(3) == 0:
			w.restart()
		default:
			w.proceed()
		}
		w.publish()
		w.suspend()
		w.now = w.now.Add(time.Duration(w.g.IntN(40)) * time.Second)
		if w.t.Failed() {
			return
		}
	}
	w.rest()
}

// rest lets the faults end, and sees that everything becomes as it is wanted.
func (w *story) rest() {
	w.tell("the faults end")
	w.faults, w.offline, w.edited, w.suspended = false, false, map[string]bool{}, map[string]Suspension{}
	for range 40 {
		for w.proceed() {
		}
		if len(w.jobs) > 0 {
			if w.now = w.now.Add(Patience); w.proceed() {
				continue
			}
			w.t.Errorf("%s never begins", w.jobs[0].ID)
			return
		}
		l := w.look()
		if w.t.Failed() {
			return
		}
		if len(l.plan.Ops) == 0 && l.plan.Wake.IsZero() {
			w.settled(l)
			return
		}
		if len(l.plan.Ops) == 0 {
			w.now = l.plan.Wake
		}
	}
	w.t.Error("it does not come to rest")
}

// settled holds a host at rest to what is wanted.
func (w *story) settled(l *look) {
	held := map[string]Held{}
	stuck := false
	for _, h := range l.plan.Held {
		held[h.File] = h
		switch h.Reason {
		case HeldNeeds:
		case HeldName:
			if !w.clashes(l, h) {
				w.t.Errorf("at rest, and nobody else has or wants that name: %s", h)
			}
			stuck = true
		case HeldBusy, HeldRetry, HeldWindow, HeldSuspended, HeldLocal, HeldOffline, HeldVersion, HeldAge:
			w.t.Errorf("at rest: %s", h)
		default:
			stuck = true
		}
	}
	if len(l.state.Wanted) == 0 || held[""].Reason == HeldEmpty {
		return
	}
	if w.local != w.remote {
		w.t.Errorf("at rest the clone is at %s, and not at %s", w.local, w.remote)
	}
	for _, s := range l.state.Wanted {
		stuck = stuck || s.Mode == Ignored
	}
	for _, s := range l.state.Wanted {
		for _, svc := range s.Services {
			for _, name := range svc.Joins {
				_, made := providers(l.state.Wanted)[Requirement{Kind: "container", Name: name}]
				stuck = stuck || !made
			}
		}
	}
	for _, rec := range w.memory {
		stuck = stuck || rec.Ignored // and git does not have it any more
	}
	for _, s := range l.state.Wanted {
		h, is := held[s.File]
		if rec := w.memory[s.Name]; !is && len(s.Hooks.After) > 0 && s.Invalid == "" && rec.Applied != s.Digest {
			w.t.Errorf("at rest the after hooks of %s have not succeeded", s.Name)
		}
		switch {
		case h.Reason == HeldNeeds && !stuck:
			w.t.Errorf("at rest, and nothing else is held: %s", h)
		case is || s.Mode == Ignored:
			continue
		}
		for _, svc := range s.Services {
			n := 0
			for _, p := range w.of(s.Name) {
				if svc.NetworkFrom != "" && p.Service == svc.Name && p.up() {
					if leader := w.named(svc.NetworkFrom); leader == nil || leader.ID != p.SharesNetworkOf || leader.life != p.joined {
						w.t.Errorf("at rest %s of %s lives in a network of %s that is no more", svc.Name, s.Name, svc.NetworkFrom)
					}
				}
				if svc.ContainerName != "" && p.Service == svc.Name && p.Name != svc.ContainerName {
					w.t.Errorf("at rest %s of %s is named %s, and not %s", svc.Name, s.Name, p.Name, svc.ContainerName)
				}
				if p.Service == svc.Name && p.Hash == svc.Hash && p.State == "running" && p.Image == w.idOf(svc.Image) {
					n++
				}
			}
			if svc.Every > 0 && svc.Scale > 0 && w.images[svc.Image] != w.registry.at(svc.Image) {
				w.t.Errorf("at rest %s is %s, and not %s", svc.Image, w.images[svc.Image], w.registry.at(svc.Image))
			}
			if n != svc.Scale {
				w.t.Errorf("at rest %s of %s runs %d times, not %d", svc.Name, s.Name, n, svc.Scale)
			}
		}
	}
}

// clashes says whether a stack wants a container's name that it can't have.
func (w *story) clashes(l *look, h Held) bool {
	for _, s := range l.state.Wanted {
		for _, svc := range s.Services {
			p := w.named(svc.ContainerName)
			switch {
			case svc.ContainerName == "" || s.File != h.File:
			case p != nil && (p.project != s.Name || p.file != s.File), p != nil && !has(s, p.Service):
				return true
			case slices.ContainsFunc(l.state.Wanted, func(other Stack) bool {
				return other.File != s.File && slices.ContainsFunc(other.Services, func(v Service) bool { return v.ContainerName == svc.ContainerName })
			}):
				return true
			}
		}
	}
	return false
}

// happen is something that a person or a crash does.
func (w *story) happen() {
	units := w.commits[w.local]
	switch n := w.g.IntN(9); {
	case n < 3 && len(w.pods) > 0:
		p := w.pods[w.g.IntN(len(w.pods))]
		switch {
		case p.Self:
		case n == 0:
			p.State, p.ExitCode = "exited", 1
			w.tell("crash of %s of %s", p.Service, p.project)
		case n == 1:
			w.pods = slices.DeleteFunc(w.pods, func(q *pod) bool { return q == p })
			w.tell("%s of %s is removed by hand", p.Service, p.project)
		}
	case n == 3 && len(units) > 0: // somebody else is on a network, or has a name
		p := &pod{Container: Container{ID: w.next("pod"), State: "running", Networks: map[string]string{}}}
		p.Name = "other-" + p.ID
		if name := fmt.Sprint("c", w.g.IntN(4)); w.g.often() && w.named(name) == nil {
			p.Name = name
		}
		u := units[w.g.IntN(len(units))]
		switch w.g.IntN(3) {
		case 0:
			p.project, p.Service = w.g.name(99), "app"
		case 1:
			p.project, p.Service = "foreign", "app"
			fallthrough
		default:
			if net := w.networks[u.networkName()]; net != nil {
				p.Networks[u.networkName()] = net.id
			}
		}
		if p.project != "foreign" && (len(w.of(p.project)) > 0 || w.state().Busy[p.project]) {
			return // two of one name on one engine are a mess that nobody plans for
		}
		w.pods = append(w.pods, p)
		w.tell("%s of %q comes, on %v", p.Name, p.project, p.Networks)
	case n == 4 && w.g.rarely() && len(w.pods) > 0:
		if p := w.pods[w.g.IntN(len(w.pods))]; !p.Self {
			p.Name = "renamed-" + p.ID
			w.tell("%s of %s is renamed by hand", p.Service, p.project)
		}
	case n == 4:
		w.pods = slices.DeleteFunc(w.pods, func(p *pod) bool { return !p.ours && w.g.often() })
		w.tell("some of the others go")
	case n == 5 && len(units) > 0:
		u := units[w.g.IntN(len(units))]
		w.edited[u.file()] = !w.edited[u.file()]
		w.tell("%s is edited: %v", u.file(), w.edited[u.file()])
	case n == 6 && len(units) > 0:
		u := units[w.g.IntN(len(units))]
		w.files[u.dotenv()] = true
		w.tell("%s is written", u.dotenv())
	case n >= 7: // a person does as a hold says
		for _, h := range w.last.Held {
			u, ok := w.commits[w.remote].of(h.File)
			if h.Reason != HeldDataLoss || !ok {
				continue
			}
			w.tell("the data of %s is moved by hand", h.File)
			for _, p := range u.parts {
				for _, m := range p.mounts(u) {
					w.content[m.Source] = true
					if m.Type == MountVolume && w.volumes[m.Source].hash == "" {
						w.volumes[m.Source] = volumeOf{}
					}
				}
			}
			w.files[u.dotenv()] = u.env
		}
	}
}

// suspend lets a person suspend a stack or all now and then, and go on.
func (w *story) suspend() {
	rng := w.registry.rng
	if rng.IntN(20) > 0 {
		return
	}
	key := Everything
	if units := w.commits[w.local]; len(units) > 0 && rng.IntN(4) > 0 {
		key = units[rng.IntN(len(units))].project()
	}
	if _, is := w.suspended[key]; is {
		delete(w.suspended, key)
		w.tell("%s is resumed", key)
		return
	}
	s := Suspension{By: "mia", Since: w.now}
	if rng.IntN(2) == 0 {
		s.Until = w.now.Add(5 * time.Minute)
	}
	w.suspended[key] = s
	w.tell("%s is suspended until %s", key, s.Until)
}

// judge holds a plan to what must never be in one.
func (w *story) judge(l *look) {
	legal(w.t, l.state, l.plan)
	ids := map[ID]bool{}
	for _, op := range l.plan.Ops {
		for _, key := range []string{op.Stack, Everything} {
			if s, is := l.state.Suspended[key]; is && !s.over(l.state.Now) && op.Kind != Checkout {
				w.t.Errorf("%s is planned, and %s is suspended", op.ID, key)
			}
		}
		if rec := l.state.Memory[op.Stack]; !w.policy.Window.Open(l.state.Now) {
			changes := op.Kind == Up && (op.Cause.Why == New || op.Cause.Why == Changed || op.Cause.Why == Moved)
			for _, s := range l.state.Wanted {
				changes = changes && !(s.Name == op.Stack && rec.Tried == s.Digest) && rec.Tried != RoomDigest
			}
			if changes || op.Kind == Stop && op.Cause.Why == Removed && rec.Failed != StopDigest && slices.ContainsFunc(w.of(op.Stack), func(p *pod) bool { return p.ours }) {
				w.t.Errorf("%s is planned, and its window is not open", op.ID)
			}
		}
		if ids[op.ID] {
			w.t.Errorf("two operations are %s", op.ID)
		}
		ids[op.ID] = true
	}
	for _, h := range l.plan.Held {
		if h.Reason != HeldDrift {
			continue
		}
		for _, s := range l.state.Wanted {
			if s.File == h.File && w.done[s.Name] != s.Digest {
				w.t.Errorf("what git changed is held: %s", h)
			}
		}
		if w.first[h.Stack] {
			w.t.Errorf("what the first look after the start was to repair is held: %s", h)
		}
	}
}

// begins holds an operation to what must be before it.
func (w *story) begins(j *job) {
	for _, other := range w.jobs {
		if other != j && other.Stack != "" && other.Stack == j.Stack && !other.begun.IsZero() && !other.ended {
			w.t.Errorf("%s begins while %s runs", j.ID, other.ID)
		}
	}
	if j.Kind == Up {
		w.ups[j.Stack] = j.look
	}
	if j.Kind == Before {
		for _, svc := range j.stack.Hooks.Before {
			if w.images[svc.Image] == "" {
				w.t.Errorf("%s begins, and image %s is not here", j.ID, svc.Image)
			}
		}
	}
	if j.Kind != Stop {
		return
	}
	for _, p := range w.of(j.Stack) {
		was := w.commits[j.look.state.Local].ignores(p.unit, p.file)
		if j.look.head.ignores(p.unit, p.file) || was && j.look.head.ignores(p.unit, "") {
			w.t.Errorf("%s begins, and %s is ignored", j.ID, p.unit)
		}
		if p.ours && j.Services == nil && j.look.head.breaks(p.unit) {
			w.t.Errorf("%s begins, and the file of %s does not load", j.ID, p.unit)
		}
	}
	for _, s := range j.look.state.Wanted {
		u, _ := j.look.head.of(s.File)
		heir := slices.ContainsFunc(w.of(j.Stack), func(p *pod) bool { return p.unit == u.key && j.look.head.whose(p.part, "") == u.key })
		if !heir || s.Invalid != "" || s.Mode == Ignored || j.Services != nil {
			continue
		}
		for _, h := range j.look.plan.Held {
			if h.File == s.File && h.Stack == s.Name && h.Reason != HeldDrift {
				w.t.Errorf("%s begins, and who takes its place is held: %s", j.ID, h)
			}
		}
		if j.look.jobs[idOf(Up, s.Name)] == nil {
			continue
		}
		if hook := j.look.jobs[idOf(Before, s.Name)]; hook != nil && (!hook.ended || hook.err != nil) {
			w.t.Errorf("%s begins, and the before hook of who takes its place has not succeeded", j.ID)
		}
		for _, svc := range s.Services {
			if w.images[svc.Image] == "" {
				w.t.Errorf("%s begins, and image %s of who takes its place is not here", j.ID, svc.Image)
			}
		}
	}
}

// starts holds a container that is about to run to what must not be then.
func (w *story) starts(p *pod, s Stack, svc Service) {
	l := w.ups[s.Name]
	for _, q := range w.pods {
		if was, known := l.pods[q.ID]; q.project == p.project || l.handsOff(q.project) || !q.ours || !q.up() || !known || !was.up() {
			continue
		}
		switch {
		case q.unit == p.unit && l.head.whose(q.part, p.unit) == p.unit:
			w.t.Errorf("%s of %s starts while %s of %s runs, which is the same stack", p.Name, p.project, q.Name, q.project)
		case q.part == p.part && !broken(l, q.unit):
			w.t.Errorf("%s of %s starts while %s of %s runs, which is the same service", p.Name, p.project, q.Name, q.project)
		}
		for _, k := range keysOf(svc) {
			if slices.Contains(keysOf(Service{Ports: q.Ports, Mounts: q.Mounts}), k) && w.gives(l, q, k) {
				w.t.Errorf("%s of %s starts while %s of %s has %s", p.Name, p.project, q.Name, q.project, k.text())
			}
		}
	}
	if _, before := l.pods[p.ID]; !before {
		w.made(p, l, svc)
	}
}

// broken says whether the file of a stack is invalid, so that nobody knows what
// has moved away from it, or ignored.
func broken(l *look, unit string) bool {
	for _, u := range l.head {
		if u.key == unit {
			return slices.ContainsFunc(l.state.Wanted, func(s Stack) bool { return s.File == u.file() && (s.Invalid != "" || s.Mode == Ignored) })
		}
	}
	return false
}

// handsOff says whether a project is of a stack that was ignored in a file which
// no stack has any more: it is left alone, and nobody can tell which stack it is.
func (l *look) handsOff(project string) bool { return slices.Contains(l.plan.HandsOff, project) }

// gives says whether a container has to give something up in a plan.
func (w *story) gives(l *look, q *pod, k key) bool {
	for _, s := range l.state.Wanted {
		if s.Name == q.project {
			keeps := slices.ContainsFunc(s.Services, func(v Service) bool { return v.Name == q.Service && slices.Contains(keysOf(v), k) })
			return s.Invalid == "" && s.Mode != Ignored && !keeps && !q.Self
		}
	}
	return !l.state.Memory[q.project].Ignored
}

// made looks for data that a new container does not go on with.
func (w *story) made(p *pod, l *look, svc Service) {
	for _, q := range l.pods {
		if l.handsOff(q.project) {
			continue
		}
		if q.unit == p.unit && q.env && !p.env && q.ours {
			u, _ := l.head.of(p.file)
			if old := path.Dir(q.file) + "/.env"; u.env && l.files[old] && old != u.dotenv() {
				w.t.Errorf("%s of %s starts without %s", p.Name, p.project, old)
			}
		}
		if q.part != p.part || !q.ours || svc.NewData || q.unit != p.unit && broken(l, q.unit) {
			continue
		}
		for _, m := range p.Mounts {
			old, ok := mountAt(q.Container, m.Target)
			before := l.content[old.Source] || old.Type == MountClone && w.commits[l.state.Local].tracks(old.Source)
			if ok && old != m && before && !w.has(l.head, m) {
				w.t.Errorf("%s of %s starts with %s, and its data is in %s", p.Name, p.project, m.text(), old.text())
			}
		}
	}
}
