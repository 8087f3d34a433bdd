package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"
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
//	file in git, which is invalid, or that may
//	be what an invalid file is now              hold: invalid
//	is busy with an earlier check               hold: busy
//	is suspended (suspend.go)                   hold: suspended
//	is the controller, and differs              see own.go
//	changes a volume's definition               hold: data
//	does not differ, and is rolled back         hold: rollback
//	does not differ, and a watched tag of it
//	points to what is too young (age.go)        hold: age
//	does not differ                             nothing
//	has files that were changed by hand, and
//	those are not to be kept                    hold: local
//	would leave data behind (see data.go)       hold: data
//	would stop a service that is to start
//	first, and that is not wanted               hold: order
//	only drifted, healing is off                hold: drift
//	failed with this digest, pause not over     hold: retry
//	is to be another by git or a tag, and its
//	window is not open (gated)                  hold: window
//	redefines a network that others are on
//	who can't be taken off it (network.go)      hold: network
//	wants a container's name that it can't
//	have (names.go)                             hold: name
//	wants a port of the host that it can't
//	have (ports.go)                             hold: port
//	needs what is not there, of a stack that
//	does not come up in this plan, or of nobody hold: needs
//	takes the place of something that does not
//	go in this plan (moves.go)                  hold: needs
//	otherwise                                   pull (if images are missing), up
//
// A drift whose repair failed goes on as a retry, healing on or off: it was
// begun. So is one that the first check after a start found. A need is for the
// network or the volume alone: where that exists, the state of the stack it
// comes from does not matter.
//
// For each running project that no wanted stack continues:
//
//	the project                                 what happens
//	-----------                                 ------------
//	is not ours                                 nothing
//	is an ignored stack's, or was when git last
//	had it, and no managed stack has its file   nothing
//	was started by hand, from a file that git
//	never had                                   nothing
//	the remote can't be asked                   nothing: git may have it again
//	is the controller                           hold: controller
//	is suspended                                hold: suspended
//	has an heir, a stack that takes its place,
//	that is held                                nothing: it goes on meanwhile
//	may be what an invalid file of git is now   hold: needs
//	is busy                                     hold: busy
//	stop failed, pause not over                 hold: retry
//	its window is not open                      hold: window
//	otherwise                                   stop
//
// A head without any stack, when there are projects to stop, is held as a
// whole (nothing is stopped, the clone stays) unless Policy.AllowEmpty.
//
// The order of the operations is in graph.go.
func Build(st State, p Policy) Plan {
	b := newBuilder(st, p)
	b.build()
	return b.plan
}

// Doubts are the questions whose answers Build wants in State.Losses.
func Doubts(st State, p Policy) []Doubt {
	_, doubts := Draft(st, p)
	return doubts
}

// Draft is Build and Doubts in one: without a doubt, the plan is final.
func Draft(st State, p Policy) (Plan, []Doubt) {
	b := newBuilder(st, p)
	b.build()
	return b.plan, b.doubts
}

func newBuilder(st State, p Policy) *builder {
	st = st.Ripen(p)
	b := &builder{
		ix: newIndex(st), ages: agesOf(st.Wanted, p), state: st, policy: p, plan: Plan{From: st.Local, To: st.Remote},
		running: make(lookup[Running], len(st.Observed.Running)),
		wanted:  make(lookup[Stack], len(st.Wanted)), diffs: make(map[string][]Difference, len(st.Wanted)),
		held: map[string]Held{}, up: map[string]Op{}, hooked: map[string][]string{}, stop: map[string]Op{}, makeRoom: map[string]Op{},
		heir: map[string]string{}, heirFile: map[string]string{}, handsOff: map[string]bool{}, displaced: map[string]bool{}, opens: map[string]time.Time{}, deps: map[string][]dep{}, stays: map[string]map[string]bool{},
	}
	for i, r := range st.Observed.Running {
		b.running[r.Project] = &st.Observed.Running[i]
	}
	for i, s := range st.Wanted {
		if other, ok := b.wanted.find(s.Name); !ok || other.Invalid != "" {
			b.wanted[s.Name] = &st.Wanted[i]
		}
	}
	return b
}

func (b *builder) build() {
	b.lineage()
	if len(b.state.Wanted) == 0 && !b.policy.AllowEmpty && slices.ContainsFunc(b.state.Observed.Running, b.wouldStop) {
		b.plan.Held = append(b.plan.Held, Held{
			Reason: HeldEmpty,
			Detail: "the commit contains no stacks; applying it would stop all running ones. Set ALLOW_EMPTY=true if that is intended",
		})
		b.plan.To = b.state.Local
		b.view()
		return
	}
	for _, s := range b.state.Wanted {
		b.decide(s)
	}
	b.stops()
	b.settle()
	b.follow()
	b.holdYoung()
	b.order()
	for _, k := range sortedKeys(b.held) {
		b.plan.Held = append(b.plan.Held, b.held[k])
	}
	b.plan.Heirs = b.heirs()
	for _, project := range sortedKeys(b.handsOff) {
		if _, wanted := b.wanted.find(project); b.handsOff[project] && (!wanted || b.displaced[project]) {
			b.plan.HandsOff = append(b.plan.HandsOff, project)
		}
	}
	b.view()
	b.wake()
}

// heirs are what is to be remembered of heirs.
func (b *builder) heirs() map[string]Heir {
	heirs := map[string]Heir{}
	for project, rec := range b.state.Memory {
		if s, wanted := b.wanted.find(project); wanted && rec.Heir != "" && rec.File == s.File {
			heirs[project] = Heir{}
		}
	}
	for project, file := range b.heirFile {
		r := b.running.at(project)
		r.Project = project
		heirs[project] = Heir{File: file, Of: b.fileOf(r)}
	}
	if len(heirs) == 0 {
		return nil
	}
	return heirs
}

type builder struct {
	ix       index
	ages     map[string]time.Duration // see agesOf
	provide  map[Requirement]Stack    // see providers
	state    State
	policy   Policy
	plan     Plan
	running  lookup[Running]
	wanted   lookup[Stack] // by name; of two with one name, the valid one
	diffs    map[string][]Difference
	held     map[string]Held     // by file; of removed projects, see holdRemoved
	up       map[string]Op       // by stack
	hooked   map[string][]string // the before hooks of those Ups that have some
	over     *Op                 // the hand-over, if there is one
	stop     map[string]Op       // whole projects, by name
	makeRoom map[string]Op       // Stops of some services of stacks that come up again
	doubts   []Doubt

	// heir is the stack that takes the place of a project of ours, heirFile the file
	// that is to be remembered for it. displaced are those whose name another stack
	// has now.
	heir      map[string]string
	heirFile  map[string]string
	handsOff  map[string]bool // projects of stacks that are ignored, see isHandsOff
	displaced map[string]bool
	opens     map[string]time.Time // when windows open that something waits for, by what they say
	// deps are what an Up waits for, by stack, see moves.go.
	deps map[string][]dep
	// stays are services that moved to a stack which is held: by the stack that
	// had them.
	stays map[string]map[string]bool
}

func (b *builder) hold(s Stack, reason Reason, detail string) {
	b.held[s.File] = Held{Stack: s.Name, File: s.File, Reason: reason, Detail: detail}
}

// holdRemoved holds a project that git no longer has. Its file may be that of
// a wanted stack (the project name changed), or not be known.
func (b *builder) holdRemoved(r Running, reason Reason, detail string) {
	b.held["~"+r.Project] = Held{Stack: r.Project, File: r.File, Reason: reason, Detail: detail}
}

// of gives what runs of a stack. A project that has its name and is another
// stack's of before is none of it.
func (b *builder) of(s Stack) Running {
	if b.displaced[s.Name] {
		return Running{}
	}
	return b.running.at(s.Name)
}

// differences are computed once for each stack. One that has nothing to run
// differs as long as another stack's project has its name: otherwise that would
// count as applied, and what still runs of the other one would be taken for its.
func (b *builder) differences(s Stack) []Difference {
	ds, ok := b.diffs[s.File]
	if !ok {
		ds = Differences(s, b.of(s), b.state.Observed)
		same := !slices.ContainsFunc(ds, func(d Difference) bool { return !d.aside })
		if same && b.state.Memory[s.Name].unpassed(s) {
			ds = append(ds, Difference{Config: true, Text: "its after hook has not succeeded", aside: true})
		}
		if len(ds) == 0 && b.state.Memory[s.Name].unseen(s) {
			ds = append(ds, Difference{Config: true, Text: "it came up when the daemon ended, and was not seen to run well"})
		}
		if len(ds) == 0 && b.displaced[s.Name] {
			ds = append(ds, Difference{Config: true, Text: "what runs as " + s.Name + " is still the stack of " + b.fileOf(b.running.at(s.Name))})
		}
		b.diffs[s.File] = ds
	}
	return ds
}

func (b *builder) decide(s Stack) {
	r := b.of(s)
	switch {
	case s.Invalid != "":
		b.hold(s, HeldInvalid, s.Invalid)
		return
	case s.Mode == Ignored:
		return
	case !r.Ours && len(r.Containers) > 0:
		b.hold(s, HeldForeign, fmt.Sprintf("a project named %s runs already and does not come from this repository (%s); stop it or set another name:", s.Name, origin(r)))
		return
	case b.brokenOwner(s) != "":
		b.hold(s, HeldInvalid, fmt.Sprintf("the project name %s is used by %s too, from which it runs and which does not load; mend or remove that file, or set another name:", s.Name, b.brokenOwner(s)))
		return
	case b.displaced[s.Name] && b.ix.wanted.at(b.heirFile[s.Name]).Invalid != "":
		b.hold(s, HeldInvalid, fmt.Sprintf("what runs as %s may be what %s is now, which does not load; mend or remove that file, or set another name:", s.Name, b.heirFile[s.Name]))
		return
	case b.state.Busy[s.Name]:
		b.hold(s, HeldBusy, "an operation still runs")
		return
	case b.suspended(s.Name, s.Suspend) != "":
		b.hold(s, HeldSuspended, b.suspended(s.Name, s.Suspend))
		return
	case b.displaced[s.Name] && b.running.at(s.Name).Controller:
		b.hold(s, HeldController, "the project of that name is the one that the daemon itself runs in, from "+b.fileOf(b.running.at(s.Name))+"; give the stack another name:")
		return
	}
	diffs := b.differences(s)
	if len(diffs) > 0 && (s.Mode == Controller || r.Controller) {
		b.own(s, r, b.state.Memory[s.Name], diffs)
		return
	}
	if detail := redefines(s, r); detail != "" {
		b.hold(s, HeldDataLoss, detail)
		return
	}
	if len(diffs) == 0 {
		if s.Back != nil {
			b.hold(s, HeldRollback, s.Back.Held())
		}
		return
	}
	if reason, detail := b.endangers(s, r); detail != "" {
		b.hold(s, reason, detail)
		return
	}
	if detail := stopsFirst(s, diffs); detail != "" && b.policy.HoldOrder {
		b.hold(s, HeldOrder, detail)
		return
	}
	b.update(s, r, b.state.Memory[s.Name], diffs, nil)
}

// brokenOwner gives the file that what runs under a stack's name comes from, if
// that is another stack of git which is invalid: its name is not known for
// certain, and its containers are not to change hands by a mistake in it.
func (b *builder) brokenOwner(s Stack) string {
	r := b.running.at(s.Name)
	file := b.fileOf(r)
	if r.Ours && hasContainers(r) && file != s.File && b.ix.wanted.at(file).Invalid != "" {
		return file
	}
	return ""
}

// endangers says what going on with a stack that differs would cost.
func (b *builder) endangers(s Stack, r Running) (Reason, string) {
	if len(s.Edited) > 0 && !b.policy.KeepEdits {
		return HeldLocal, fmt.Sprintf("%s changed by hand in the clone; commit that or undo it there (git checkout -- %s), or set REPOSITORY_LOCAL_CHANGES=keep", list(s.Edited), s.Edited[0])
	}
	return HeldDataLoss, b.loses(s, r)
}

// stopsFirst says which service that differs is to start before the old one stops, and
// can't.
func stopsFirst(s Stack, diffs []Difference) string {
	for _, svc := range s.Services {
		if svc.StopFirst != "" && slices.ContainsFunc(diffs, func(d Difference) bool { return d.Service == svc.Name && d.Config }) {
			return fmt.Sprintf("service %s is to start before the old one stops (order: start-first), and can't: %s; change that, or set START_FIRST=warn", svc.Name, svc.StopFirst)
		}
	}
	return ""
}

// update plans what brings a stack, or only some of its services, to what is
// wanted.
func (b *builder) update(s Stack, r Running, rec Record, diffs []Difference, services []string) {
	if len(diffs) == 0 {
		return
	}
	cause := b.causeOf(s, r, rec, diffs)
	if cause.Why == Drifted && !b.policy.Heal && rec.Failed == "" && !b.state.Repair[s.Name] {
		b.holdDrift(s, cause)
		return
	}
	if rec.Failed == s.Digest && b.state.Now.Before(rec.RetryAt) {
		b.hold(s, HeldRetry, rec.Error)
		return
	}
	if detail := b.gated(s, rec, cause); detail != "" {
		b.hold(s, HeldWindow, detail)
		return
	}
	orders := OrdersFor(s, r, b.state.Observed, services)
	orders.Make = b.made(s)
	op := Op{
		Kind: Up, Stack: s.Name, File: s.File, Cause: cause, Fresh: !hasContainers(r), Services: services,
		Orders:  orders,
		Crashed: slices.ContainsFunc(diffs, func(d Difference) bool { return d.Crashed }),
		Again:   cause.Why == Drifted && b.policy.Heal && rec.flaps(s.Digest, b.state.Now),
		Keep:    rec.keeps(s),
	}
	b.runHooks(s, &op, diffs)
	b.up[s.Name] = op
}

// flapping is the time after a success within which a new drift of the same
// stack counts as a failure: what was repaired does not stay repaired.
const flapping = 5 * time.Minute

// flaps says whether a stack that has drifted was brought up only a while ago.
func (r Record) flaps(digest string, now time.Time) bool {
	return r.Applied == digest && (r.Flaps > 0 || now.Sub(r.LastSuccess) < flapping)
}

// Lasts says whether a stack that is as it is wanted at a time is so for good:
// one that did not last before has to last for a while to be believed.
func (r Record) Lasts(digest string, now time.Time) bool {
	return r.Flaps == 0 || r.Applied != digest || now.Sub(r.LastSuccess) >= flapping
}

func (b *builder) holdDrift(s Stack, cause Cause) {
	b.hold(s, HeldDrift, "drifted ("+cause.text()+"); not repaired because SELF_HEAL=false")
}

// settle takes back what can't be done because of what else is held, until
// nothing more follows. Each round only ever takes operations away, or holds,
// so that it ends.
func (b *builder) settle() {
	b.holdNames()
	b.holdPorts()
	b.shareNetworks()
	b.findDeps()
	for again := true; again; {
		again = b.holdNeedy() || b.holdSuccessors() || b.keepOld() || b.keepMoved() || b.keepNetworks() || b.leaveNetworks()
	}
}

// holdNeedy holds stacks that need something which is not there, and which no
// stack makes that comes up in this plan.
func (b *builder) holdNeedy() (changed bool) {
	for _, s := range b.state.Wanted {
		op, comes := b.up[s.Name]
		if !comes && (b.over == nil || b.over.Stack != s.Name) {
			continue
		}
		for _, req := range s.needs() {
			p, ok := b.providers()[req]
			if _, provided := b.up[p.Name]; ok && p.Name == s.Name || provided || b.there(req) || slices.Contains(op.Orders.Make, req.Name) {
				continue
			}
			b.withdraw(s.Name)
			b.hold(s, HeldNeeds, b.lacks(req, p))
			b.plan.Needs = append(b.plan.Needs, req)
			changed = true
			break
		}
	}
	return changed
}

// made are the external networks of a stack that are made for it, if that is
// wanted: those that are not there and no stack makes.
func (b *builder) made(s Stack) []string {
	if !b.policy.MakeNetworks {
		return nil
	}
	var names []string
	for _, req := range s.Requires {
		if _, provided := b.providers()[req]; req.Kind == "network" && !provided && !b.there(req) {
			names = append(names, req.Name)
		}
	}
	return names
}

// lacks says what of a stack is not there, or of nobody.
func (b *builder) lacks(req Requirement, of Stack) string {
	is := "is not there"
	if _, there := b.state.Observed.container(req.Name); req.Kind == "container" && there {
		is = "does not run"
	}
	switch {
	case req.Kind == "stack":
		return b.lacksStack(req.Name, of)
	case of.Name == "" && req.Kind == "container":
		return fmt.Sprintf("it needs container %s, which %s and which no stack makes", req.Name, is)
	case of.Name == "":
		return fmt.Sprintf("it needs %s %s, which is not there and which no stack makes; make it: docker %[1]s create %[2]s", req.Kind, req.Name)
	}
	return fmt.Sprintf("it needs %s %s of %s, which %s%s", req.Kind, req.Name, of.Name, is, b.because(of.File))
}

// withdraw takes a stack's Up, or hand-over, out of the plan.
func (b *builder) withdraw(stack string) {
	delete(b.up, stack)
	delete(b.hooked, stack)
	if b.over != nil && b.over.Stack == stack {
		b.over = nil
	}
}

func (b *builder) because(key string) string {
	if h, ok := b.held[key]; ok {
		return " (" + string(h.Reason) + ": " + h.Detail + ")"
	}
	return ""
}

func (b *builder) there(req Requirement) bool {
	switch req.Kind {
	case "volume":
		return b.state.Observed.Volumes[req.Name]
	case "container":
		c, there := b.state.Observed.container(req.Name)
		return there && runs(c)
	case "stack":
		return b.thereStack(req.Name)
	default:
		return b.state.Observed.hasNetwork(req.Name)
	}
}

// hasNetwork says whether there is a network of a name, or of an id, which Compose
// takes as well.
func (o Observed) hasNetwork(name string) bool {
	if o.Networks[name] != "" {
		return true
	}
	const short = 12 // digits of an id
	if len(name) < short {
		return false
	}
	for _, id := range o.Networks {
		if strings.HasPrefix(id, name) {
			return true
		}
	}
	return false
}

// needs is what has to be there before a stack is brought up and is not its own.
func (s Stack) needs() []Requirement {
	all := s.Requires
	for _, svc := range s.Services {
		for _, name := range svc.Joins {
			all = append(slices.Clip(all), Requirement{Kind: "container", Name: name})
		}
	}
	for _, name := range s.DependsOn {
		all = append(slices.Clip(all), Requirement{Kind: "stack", Name: name})
	}
	return all
}

func providers(stacks []Stack) map[Requirement]Stack {
	m := make(map[Requirement]Stack, 2*len(stacks)) // most have a network, many a volume
	for _, s := range stacks {
		for _, n := range s.Networks {
			m[Requirement{Kind: "network", Name: n.Name}] = s
		}
		for _, v := range s.Volumes {
			m[Requirement{Kind: "volume", Name: v.Name}] = s
		}
	}
	wantedBy := map[string]bool{}
	for _, s := range stacks {
		for _, name := range s.DependsOn {
			wantedBy[name] = true
		}
	}
	for _, s := range stacks {
		if req := (Requirement{Kind: "stack", Name: s.Name}); wantedBy[s.Name] && (m[req].Name == "" || m[req].Invalid != "") {
			m[req] = s
		}
	}
	joins := func(s Stack) bool {
		return slices.ContainsFunc(s.Services, func(v Service) bool { return len(v.Joins) > 0 })
	}
	if !slices.ContainsFunc(stacks, joins) { // as in most repositories
		return m
	}
	for _, s := range stacks {
		for _, svc := range s.Services {
			for _, name := range namesOf(s, svc, Running{}) {
				m[Requirement{Kind: "container", Name: name}] = s
			}
		}
	}
	return m
}

// Cycles marks stacks invalid that need each other in a circle.
func Cycles(stacks []Stack) {
	prov := providers(stacks)
	needs := map[string][]string{}
	for _, s := range stacks {
		for _, req := range s.needs() {
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

// stops finds projects of ours that git does not want any more.
func (b *builder) stops() {
	for _, r := range b.state.Observed.Running {
		if !b.removed(r) || b.state.Offline != "" {
			continue
		}
		rec := b.state.Memory[r.Project]
		cause := Cause{Why: Removed}
		if heir := b.heir[r.Project]; heir != "" {
			cause = Cause{Why: Moved, Detail: "to " + heir}
		}
		switch {
		case r.Controller && b.displaced[r.Project]: // the stack that has its name says so
		case r.Controller:
			b.holdRemoved(r, HeldController, "the daemon's own stack is no longer in git; it is not stopped: put it back, or stop it by hand")
		case b.suspended(r.Project, false) != "":
			if !b.displaced[r.Project] { // else it is held by that name
				b.holdRemoved(r, HeldSuspended, "it is no longer in git, and is "+b.suspended(r.Project, false))
			}
		case b.state.Busy[r.Project] && b.displaced[r.Project]: // it is held by that name
		case b.state.Busy[r.Project]:
			b.holdRemoved(r, HeldBusy, "an operation still runs")
		case rec.Failed == StopDigest && b.state.Now.Before(rec.RetryAt):
			b.holdRemoved(r, HeldRetry, rec.Error)
		default:
			if detail := b.waitsToStop(r, rec); detail != "" {
				b.holdRemoved(r, HeldWindow, detail)
				continue
			}
			b.stop[r.Project] = Op{Kind: Stop, Stack: r.Project, File: r.File, Cause: cause}
		}
	}
}

// StopDigest stands in Record.Failed for a stop that failed.
const StopDigest = "stop"

// RoomDigest stands in Record.Tried after a Stop that makes room: the stack is
// then not as it was left.
const RoomDigest = "room"

// removed says whether a project is one that git had and no longer has, or
// whose name another stack has now. It carries our labels, or it was started by
// hand from a file that git tracked or that we have applied before; one that was
// started by hand from an untracked folder of the clone is its owner's.
func (b *builder) removed(r Running) bool {
	_, wanted := b.wanted.find(r.Project)
	if !r.Ours || b.handsOff[r.Project] || !(hasContainers(r) || len(r.Networks) > 0) {
		return false
	}
	if wanted && !b.displaced[r.Project] {
		return false
	}
	known := b.state.Memory[r.Project].File
	_, had := b.ix.before.find(r.File)
	return r.Labelled || had || (known != "" && known == r.File)
}

func (b *builder) wouldStop(r Running) bool {
	return b.removed(r) && !r.Controller && hasContainers(r)
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

// list names some things and counts the others: "a, b and 3 more were".
func list(names []string) string {
	const most = 3
	switch n := len(names); {
	case n == 1:
		return names[0] + " was"
	case n <= most:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1] + " were"
	default:
		return fmt.Sprintf("%s and %d more were", strings.Join(names[:most], ", "), n-most)
	}
}
