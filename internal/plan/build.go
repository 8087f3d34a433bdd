package plan

import (
	"fmt"
	"slices"
	"strings"
)

// Build derives the plan. It is pure.
//
// For each wanted stack the first row that fits decides:
//
//	the stack                                   what happens
//	---------                                   ------------
//	is invalid                                  hold: invalid
//	is ignored                                  nothing
//	name is taken by a project not ours         hold: foreign
//	name is taken by the project of another
//	file in git, which is invalid               hold: invalid
//	is busy with an earlier check               hold: busy
//	is the controller, and differs              see own.go
//	has another name now and left volumes       hold: data
//	changes a volume's definition               hold: data
//	does not differ                             nothing
//	only drifted, healing is off                hold: drift
//	failed with this digest, pause not over     hold: retry
//	needs what is not there, of a stack that
//	does not come up in this plan               hold: needs
//	otherwise                                   pull (if images lack), up
//
// A drift whose repair failed goes on as a retry, healing on or off: it was
// begun. A need is for the network or the volume alone: where that exists, the
// state of the stack it comes from does not matter.
//
// For each running project that no wanted stack has the name of:
//
//	the project                                 what happens
//	-----------                                 ------------
//	is not ours, or is ignored                  nothing
//	was started by hand, from a file that git
//	never had                                   nothing
//	is the controller                           hold: controller
//	has the file of a wanted stack that can't
//	take its place yet (invalid, foreign, data,
//	needs, controller)                          nothing: it goes on meanwhile
//	is busy                                     hold: busy
//	stop failed, pause not over                 hold: retry
//	otherwise                                   stop
//
// A head without any stack, when there are projects to stop, is held as a
// whole (nothing is stopped, the clone stays) unless Policy.AllowEmpty.
func Build(st State, p Policy) Plan {
	b := &builder{state: st, policy: p, plan: Plan{From: st.Local, To: st.Remote}, held: map[string]Held{}, up: map[string]Op{}}
	b.running = map[string]Running{}
	for _, r := range st.Observed.Running {
		b.running[r.Project] = r
	}
	if len(st.Wanted) == 0 && !p.AllowEmpty && slices.ContainsFunc(st.Observed.Running, b.wouldStop) {
		b.plan.Held = append(b.plan.Held, Held{
			Reason: HeldEmpty,
			Detail: "the head has no stack at all, and would stop every running one; set ALLOW_EMPTY=true if that is meant",
		})
		b.plan.To = st.Local
		return b.plan
	}
	for _, s := range st.Wanted {
		b.decide(s)
	}
	b.holdNeedy()
	b.stops()
	if st.Local != st.Remote {
		b.plan.Ops = append(b.plan.Ops, Op{Kind: Checkout, Cause: Cause{Detail: "from " + short(st.Local)}})
	}
	b.ups()
	for _, k := range sortedKeys(b.held) {
		b.plan.Held = append(b.plan.Held, b.held[k])
	}
	return b.plan
}

type builder struct {
	state   State
	policy  Policy
	plan    Plan
	running map[string]Running
	held    map[string]Held // by file; of removed projects, see holdRemoved
	up      map[string]Op   // by stack
	over    *Op             // the hand-over, if there is one
}

func (b *builder) hold(s Stack, reason Reason, detail string) {
	b.held[s.File] = Held{Stack: s.Name, File: s.File, Reason: reason, Detail: detail}
}

// holdRemoved holds a project that git no longer has. Its file may be that of
// a wanted stack (the project name changed), or not be known.
func (b *builder) holdRemoved(r Running, reason Reason, detail string) {
	b.held["~"+r.Project] = Held{Stack: r.Project, File: r.File, Reason: reason, Detail: detail}
}

func (b *builder) decide(s Stack) {
	r, exists := b.running[s.Name]
	rec := b.state.Memory[s.Name]
	switch {
	case s.Invalid != "":
		b.hold(s, HeldInvalid, s.Invalid)
		return
	case s.Mode == Ignored:
		return
	case exists && !r.Ours && len(r.Containers) > 0:
		b.hold(s, HeldForeign, fmt.Sprintf("a project named %s runs already and does not come from this repository (%s); stop it or set another name:", s.Name, origin(r)))
		return
	case exists && b.brokenOwner(s, r) != "":
		b.hold(s, HeldInvalid, fmt.Sprintf("the project name %s is used by %s too, from which it runs and which does not load; mend or remove that file, or set another name:", s.Name, r.File))
		return
	case b.state.Busy[s.Name]:
		b.hold(s, HeldBusy, "an operation still runs")
		return
	}
	diffs := Differences(s, r, b.state.Observed)
	if len(diffs) > 0 && (s.Mode == Controller || r.Controller) {
		b.own(s, r, rec, diffs)
		return
	}
	if detail := b.dataLoss(s, r); detail != "" {
		b.hold(s, HeldDataLoss, detail)
		return
	}
	b.update(s, r, rec, diffs, nil)
}

// brokenOwner gives the file that what runs under a stack's name comes from, if
// that is another stack of git which is invalid: its name is not known for
// certain, and its containers are not to change hands by a mistake in it.
func (b *builder) brokenOwner(s Stack, r Running) string {
	owns := func(o Stack) bool { return o.File == r.File && o.File != s.File && o.Invalid != "" }
	if r.Ours && hasContainers(r) && slices.ContainsFunc(b.state.Wanted, owns) {
		return r.File
	}
	return ""
}

// dataLoss says what going on would cost.
func (b *builder) dataLoss(s Stack, r Running) string {
	if detail := b.strands(s); detail != "" {
		return detail
	}
	return redefines(s, r)
}

// update plans what brings a stack, or only some of its services, to what is
// wanted.
func (b *builder) update(s Stack, r Running, rec Record, diffs []Difference, services []string) {
	if len(diffs) == 0 {
		return
	}
	cause := causeOf(s, r, rec, diffs)
	if cause.Why == Drifted && !b.policy.Heal && rec.Failed == "" {
		b.holdDrift(s, cause)
		return
	}
	if rec.Failed == s.Digest && b.state.Now.Before(rec.RetryAt) {
		b.hold(s, HeldRetry, rec.Error)
		return
	}
	b.up[s.Name] = Op{
		Kind: Up, Stack: s.Name, File: s.File, Cause: cause, Fresh: !hasContainers(r), Services: services,
		Orders:  OrdersFor(s, r, b.state.Observed, services),
		Crashed: slices.ContainsFunc(diffs, func(d Difference) bool { return d.Crashed }),
	}
}

func (b *builder) holdDrift(s Stack, cause Cause) {
	b.hold(s, HeldDrift, "it has drifted ("+cause.Detail+"), and SELF_HEAL is off")
}

// strands finds a project that comes from the stack's file under another
// name and has volumes, while the stack wants volumes too: they would start
// empty beside the old ones.
func (b *builder) strands(s Stack) string {
	if len(s.Volumes) == 0 {
		return ""
	}
	for _, r := range b.state.Observed.Running {
		if !r.Ours || r.File != s.File || r.Project == s.Name || len(r.Volumes) == 0 || !hasContainers(r) || b.wants(r.Project) {
			continue
		}
		return fmt.Sprintf("the project was named %s and its volumes (%s) would stay behind; set name: %s, or move the data and stop the old project by hand",
			r.Project, names(r.Volumes), r.Project)
	}
	return ""
}

// redefines finds a volume whose definition changed: it could only be applied
// by deleting the volume and what is in it.
func redefines(s Stack, r Running) string {
	for _, v := range s.Volumes {
		have, ok := find(r.Volumes, v.Name)
		if ok && have.Hash != "" && v.Hash != "" && have.Hash != v.Hash {
			return fmt.Sprintf("the definition of volume %s changed, which can only be applied by deleting its data; put the old definition back, or give the volume another name and move the data", v.Name)
		}
	}
	return ""
}

// causeOf tells a change in git from a change on the host. What was applied
// last is not what runs when another digest was tried since: going back to it
// in git is a change. So is a watched tag that has moved.
func causeOf(s Stack, r Running, rec Record, diffs []Difference) Cause {
	known := rec.Applied != ""
	switch {
	case known && slices.ContainsFunc(diffs, func(d Difference) bool { return d.Moved }):
		return Cause{Why: Changed, Detail: texts(diffs)}
	case known && rec.Applied == s.Digest && (rec.Tried == "" || rec.Tried == s.Digest):
		return Cause{Why: Drifted, Detail: texts(diffs)}
	case known:
		return Cause{Why: Changed, Detail: texts(diffs)}
	case !hasContainers(r):
		return Cause{Why: New}
	case slices.ContainsFunc(diffs, func(d Difference) bool { return d.Config }):
		return Cause{Why: Changed, Detail: texts(diffs)}
	default:
		return Cause{Why: Drifted, Detail: texts(diffs)}
	}
}

// holdNeedy holds stacks that need a network or a volume which is not there
// and which a stack provides that will not come up in this plan. Each round
// may hold stacks that others need in turn.
func (b *builder) holdNeedy() {
	providers := providers(b.state.Wanted)
	defer b.holdNeedyOver(providers)
	for again := true; again; {
		again = false
		for _, s := range b.state.Wanted {
			if _, ok := b.up[s.Name]; !ok {
				continue
			}
			op := b.up[s.Name]
			op.After = nil
			for _, req := range s.Requires {
				p, ok := providers[req]
				if !ok || p.Name == s.Name {
					continue
				}
				if _, comes := b.up[p.Name]; comes {
					op.After = append(op.After, p.Name)
				} else if !b.there(req) {
					delete(b.up, s.Name)
					b.holdNeeds(s, req, p)
					again = true
					break
				}
			}
			if _, still := b.up[s.Name]; still {
				slices.Sort(op.After)
				op.After = slices.Compact(op.After)
				b.up[s.Name] = op
			}
		}
	}
}

// holdNeedyOver does the same for the hand-over, which comes after all others.
func (b *builder) holdNeedyOver(providers map[Requirement]Stack) {
	if b.over == nil {
		return
	}
	i := slices.IndexFunc(b.state.Wanted, func(s Stack) bool { return s.Name == b.over.Stack })
	for _, req := range b.state.Wanted[i].Requires {
		p, ok := providers[req]
		if _, comes := b.up[p.Name]; ok && !comes && !b.there(req) {
			b.over = nil
			b.holdNeeds(b.state.Wanted[i], req, p)
			return
		}
	}
}

func (b *builder) holdNeeds(s Stack, req Requirement, p Stack) {
	b.hold(s, HeldNeeds, fmt.Sprintf("it needs %s %s of %s, which is not there%s", req.Kind, req.Name, p.Name, b.because(p)))
}

func (b *builder) because(p Stack) string {
	if h, ok := b.held[p.File]; ok {
		return " (" + string(h.Reason) + ": " + h.Detail + ")"
	}
	return ""
}

func (b *builder) there(req Requirement) bool {
	if req.Kind == "volume" {
		return b.state.Observed.Volumes[req.Name]
	}
	return b.state.Observed.Networks[req.Name] != ""
}

func providers(stacks []Stack) map[Requirement]Stack {
	m := map[Requirement]Stack{}
	for _, s := range stacks {
		for _, n := range s.Networks {
			m[Requirement{Kind: "network", Name: n.Name}] = s
		}
		for _, v := range s.Volumes {
			m[Requirement{Kind: "volume", Name: v.Name}] = s
		}
	}
	return m
}

// Cycles marks stacks invalid that need each other in a circle.
func Cycles(stacks []Stack) {
	prov := providers(stacks)
	needs := map[string][]string{}
	for _, s := range stacks {
		for _, req := range s.Requires {
			if p, ok := prov[req]; ok && p.Name != s.Name {
				needs[s.Name] = append(needs[s.Name], p.Name)
			}
		}
	}
	for i, s := range stacks {
		if path := pathTo(needs, s.Name, s.Name, map[string]bool{}); path != nil && s.Invalid == "" {
			stacks[i].Invalid = "stacks need each other in a circle: " + s.Name + " -> " + strings.Join(path, " -> ")
		}
	}
}

func pathTo(needs map[string][]string, from, to string, seen map[string]bool) []string {
	for _, n := range needs[from] {
		if n == to {
			return []string{n}
		}
		if !seen[n] {
			seen[n] = true
			if rest := pathTo(needs, n, to, seen); rest != nil {
				return append([]string{n}, rest...)
			}
		}
	}
	return nil
}

func (b *builder) wants(project string) bool {
	return slices.ContainsFunc(b.state.Wanted, func(s Stack) bool { return s.Name == project })
}

// stops finds projects of ours that git does not want any more.
func (b *builder) stops() {
	for _, r := range b.state.Observed.Running {
		if !b.removed(r) {
			continue
		}
		rec := b.state.Memory[r.Project]
		switch {
		case r.Controller:
			b.holdRemoved(r, HeldController, "the daemon's own stack is no longer in git; it is not stopped: put it back, or stop it by hand")
		case b.heldInPlace(r.File):
		case b.state.Busy[r.Project]:
			b.holdRemoved(r, HeldBusy, "an operation still runs")
		case rec.Failed == StopDigest && b.state.Now.Before(rec.RetryAt):
			b.holdRemoved(r, HeldRetry, rec.Error)
		default:
			b.plan.Ops = append(b.plan.Ops, Op{Kind: Stop, Stack: r.Project, File: r.File, Cause: Cause{Why: Removed}, After: b.usersOf(r)})
		}
	}
	b.plan.Ops = inOrder(b.plan.Ops)
}

// StopDigest stands in Record.Failed for a stop that failed.
const StopDigest = "stop"

// removed says whether a project is one that git had and no longer has. It
// carries our labels, or it was started by hand from a file that git tracked or
// that we have applied before; one that was started by hand from an untracked
// folder of the clone is its owner's.
func (b *builder) removed(r Running) bool {
	if !r.Ours || r.Ignored || b.state.Memory[r.Project].Ignored || b.wants(r.Project) || !(hasContainers(r) || len(r.Networks) > 0) {
		return false
	}
	known := b.state.Memory[r.Project].File
	return r.Labelled || slices.Contains(b.state.Before, r.File) || (known != "" && known == r.File)
}

func (b *builder) wouldStop(r Running) bool {
	return b.removed(r) && !r.Controller && hasContainers(r)
}

// heldInPlace says whether a wanted stack comes from the file and is held for
// a reason that keeps it from taking the place of what runs. One that is to be
// retried is none: what runs may be what it fails on, a taken port.
func (b *builder) heldInPlace(file string) bool {
	switch b.held[file].Reason {
	case HeldInvalid, HeldForeign, HeldDataLoss, HeldNeeds, HeldController:
		return true
	default:
		return false
	}
}

// usersOf are the projects with containers on r's networks, which are to be
// stopped before it is: the reverse of the order in which they came up.
func (b *builder) usersOf(r Running) []string {
	var users []string
	for _, other := range b.state.Observed.Running {
		if other.Project == r.Project {
			continue
		}
		for _, c := range other.Containers {
			if slices.ContainsFunc(r.Networks, func(n Resource) bool { _, ok := c.Networks[n.Name]; return ok }) {
				users = append(users, other.Project)
				break
			}
		}
	}
	return users
}

func (b *builder) ups() {
	var ups []Op
	for _, name := range sortedKeys(b.up) {
		ups = append(ups, b.up[name])
	}
	for _, op := range inOrder(ups) {
		b.withPull(op)
	}
	if b.over != nil {
		b.withPull(*b.over)
	}
}

// withPull appends an operation, and before it the pull that it needs.
func (b *builder) withPull(op Op) {
	i := slices.IndexFunc(b.state.Wanted, func(s Stack) bool { return s.Name == op.Stack })
	if needsPull(b.state.Wanted[i], op.Services, b.state.Observed, op.Cause.Why) {
		b.plan.Ops = append(b.plan.Ops, Op{Kind: Pull, Stack: op.Stack, File: op.File, Cause: op.Cause, Services: op.Services})
	}
	b.plan.Ops = append(b.plan.Ops, op)
}

// needsPull says whether images have to come. A repair takes what is here: it
// must work without the registry, and is not to bring another version.
func needsPull(s Stack, only []string, o Observed, why Why) bool {
	return slices.ContainsFunc(s.Services, func(v Service) bool {
		switch v = v.Due(o); {
		case only != nil && !slices.Contains(only, v.Name):
			return false
		case v.Pull == PullNever:
			return false
		case why != Drifted && (v.Pull == PullAlways || v.Pull == PullBuild):
			return true
		default:
			return o.Images[v.Image] == ""
		}
	})
}

// inOrder sorts operations by name, each after those that it waits for. A
// circle is broken: one of it doesn't wait.
func inOrder(ops []Op) []Op {
	byName := map[string]Op{}
	for _, op := range ops {
		byName[op.Stack] = op
	}
	var out []Op
	done := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		op, ok := byName[name]
		if !ok || done[name] {
			return
		}
		done[name] = true
		for _, a := range op.After {
			visit(a)
		}
		op.After = slices.DeleteFunc(op.After, func(a string) bool {
			return !slices.ContainsFunc(out, func(o Op) bool { return o.Stack == a })
		})
		out = append(out, op)
	}
	for _, name := range sortedKeys(byName) {
		visit(name)
	}
	return out
}

func hasContainers(r Running) bool {
	return slices.ContainsFunc(r.Containers, func(c Container) bool { return !c.OneOff })
}

func origin(r Running) string {
	if r.Origin == "" {
		return "its containers don't say from where"
	}
	return "it comes from " + r.Origin
}

func names(rs []Resource) string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = r.Name
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
