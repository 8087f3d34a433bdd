package plan

import (
	"slices"
	"strings"
	"time"
)

// Patience is how long, from the look on, a checkout waits for an Up of an earlier
// check on a stack whose files it moves. One that is slow holds up the other stacks
// for no longer; the stack that takes its place waits for it all the same.
const Patience = 30 * time.Second

// StopPatience is how long a checkout waits for a stop before it, for the same
// reason: containers that end may still read the folders that they mount. It is
// what the engine gives a container to end if nothing else is said, and who asks
// for more has to do without what the commit takes away; what git does not track is
// never touched.
const StopPatience = 10 * time.Second

// order makes operations of what was decided, and says what comes after what:
//
//	operation        comes after
//	---------        -----------
//	stop             the stops of projects on its networks, and of stacks that depended
//	                 on it, however they end
//	                 the pulls and before hooks of the stacks that take its place
//	checkout         the stops of what uses files of the clone, however they end,
//	                 each for at most ten seconds, unless they wait for a pull or a
//	                 before hook
//	pull             the checkout, if no stop waits for it, or if it builds
//	before hook      the checkout, its pull
//	                 the ups of the stacks that it needs, if they don't come after it
//	up               the checkout, its pull and its before hook
//	                 the pulls and before hooks of the stacks that take something over
//	                 from it
//	                 the ups of the stacks that it needs
//	                 the stop, or the up, of what it takes the place of
//	                 the stop that made room, and the up that this was for
//	hand over        everything else, however that ends, and then its pull
//
// What an operation comes after has to end well, unless it says otherwise.
func (b *builder) order() {
	b.breakCircles()
	g := &graph{ops: map[ID]*Op{}}
	b.addPulls(g)
	b.addBefore(g)
	b.addStops(g)
	b.addUps(g)
	b.orderBefore(g)
	b.addCheckout(g)
	b.addHandOver(g)
	b.plan.Ops = g.sorted()
}

type graph struct {
	ops map[ID]*Op
	ids []ID // as they are shown, but for what has to come before
}

func idOf(kind Kind, stack string) ID {
	return ID(strings.TrimSpace(string(kind) + " " + stack))
}

func (g *graph) add(op Op) *Op {
	if op.ID == "" {
		op.ID = idOf(op.Kind, op.Stack)
	}
	op.After = nil
	g.ops[op.ID] = &op
	g.ids = append(g.ids, op.ID)
	return &op
}

// after adds an edge, if there is such an operation.
func (g *graph) after(op *Op, a After) {
	if _, ok := g.ops[a.ID]; !ok || a.ID == op.ID {
		return
	}
	i := slices.IndexFunc(op.After, func(have After) bool { return have.ID == a.ID })
	switch {
	case i < 0:
		op.After = append(op.After, a)
	case op.After[i].Ended && !a.Ended:
		op.After[i] = a // to end well is more
	}
}

// sorted gives the operations, each after those that it waits for.
func (g *graph) sorted() []Op {
	var out []Op
	begun, done := map[ID]bool{}, map[ID]bool{}
	var visit func(id ID)
	visit = func(id ID) {
		if begun[id] {
			return
		}
		begun[id] = true
		op := g.ops[id]
		slices.SortFunc(op.After, func(a, b After) int { return strings.Compare(string(a.ID), string(b.ID)) })
		for _, a := range op.After {
			visit(a.ID)
		}
		// Only projects on each other's networks can wait in a circle: one of them
		// does not.
		op.After = slices.DeleteFunc(op.After, func(a After) bool { return !done[a.ID] })
		if len(op.After) == 0 {
			op.After = nil
		}
		done[id] = true
		out = append(out, *op)
	}
	for _, id := range g.ids {
		visit(id)
	}
	return out
}

// pullOver is the id of the pull for a hand-over: its stack may have another.
func pullOver(stack string) ID { return idOf(Pull, stack) + " to hand over" }

// addPulls adds the pulls that Ups and the hand-over need. They are shown with
// them.
func (b *builder) addPulls(g *graph) {
	for _, name := range sortedKeys(b.up) {
		op := b.up[name]
		if pull := b.pull(op); pull != nil {
			g.ops[pull.ID] = pull
		}
	}
	if b.over == nil {
		return
	}
	if pull := b.pull(*b.over); pull != nil {
		pull.ID = pullOver(pull.Stack)
		g.ops[pull.ID] = pull
	}
}

// pull is the pull that an Up or a hand-over needs; nil if it needs none.
func (b *builder) pull(op Op) *Op {
	s := b.wanted.at(op.Stack)
	digests := b.digests(s)
	var hooks []string
	if _, before := b.hooked[op.Stack]; before || len(op.Hooks) > 0 {
		s.Services = append(slices.Clip(s.Services), s.Hooks.All()...)
		hooks = hookNames(s.Hooks.All())
	}
	if !needsPull(s, op.Services, b.state.Observed, digests, op.Cause.Why) {
		return nil
	}
	return &Op{ID: idOf(Pull, op.Stack), Kind: Pull, Stack: op.Stack, File: op.File, Cause: op.Cause, Services: op.Services, Hooks: hooks, Digests: digests}
}

// needsPull says whether images have to come. A repair takes what is here: it
// must work without the registry, and is not to bring another version.
func needsPull(s Stack, only []string, o Observed, digests map[string]string, why Why) bool {
	return slices.ContainsFunc(s.Services, func(v Service) bool {
		switch v = v.Due(o, digests); {
		case only != nil && !slices.Contains(only, v.Name):
			return false
		case slices.ContainsFunc(v.MountedImages, func(ref string) bool { return o.Images[ref] == "" }):
			return true
		case v.Pull == PullNever:
			return false
		case why != Drifted && (v.Pull == PullAlways || v.Pull == PullBuild):
			return true
		case why != Drifted && v.Platform != "": // the one that is here may be for another
			return true
		default:
			return o.Images[v.Image] == ""
		}
	})
}

// builds says whether a stack's images are built, which wants the files of the
// new commit in the clone.
func builds(s Stack) bool {
	return slices.ContainsFunc(s.Services, func(v Service) bool { return v.Pull == PullBuild })
}

func (b *builder) addStops(g *graph) {
	for _, name := range union(sortedKeys(b.stop), sortedKeys(b.makeRoom)) {
		op, whole := b.stop[name]
		if !whole {
			op = b.makeRoom[name]
		}
		g.add(op)
	}
	for name := range b.stop {
		op := g.ops[idOf(Stop, name)]
		op.Leave = b.leaves(b.running.at(name))
		if kept := b.kept(b.running.at(name), op.Leave); kept != "" {
			op.Cause.Detail = strings.TrimPrefix(op.Cause.Detail+"; "+kept, "; ")
		}
		for _, user := range append(b.projectsOn(b.running.at(name)), b.dependants(name)...) {
			g.after(op, After{ID: idOf(Stop, user), Ended: true})
		}
	}
	for _, name := range b.comes() {
		for _, d := range b.deps[name] {
			if op := g.ops[idOf(Stop, d.project)]; op != nil && b.awaited(name, d) && (d.whole || d.room) {
				g.after(op, After{ID: b.ready(name)})
			}
		}
	}
	for name := range b.makeRoom {
		g.after(g.ops[idOf(Stop, name)], After{ID: b.ready(name)})
	}
}

// projectsOn are the projects with containers on r's networks, which are to be
// stopped before it is: the reverse of the order in which they came up.
func (b *builder) projectsOn(r Running) []string {
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

func (b *builder) addCheckout(g *graph) {
	if b.state.Local == b.state.Remote {
		return
	}
	checkout := &Op{ID: idOf(Checkout, ""), Kind: Checkout, Cause: Cause{Detail: "from " + short(b.state.Local)}}
	g.ops[checkout.ID] = checkout
	stops := len(b.stop) + len(b.makeRoom)
	g.ids = slices.Insert(g.ids, stops, checkout.ID)
	first := map[ID]bool{} // pulls that stops wait for
	for _, id := range g.ids[:stops] {
		op := g.ops[id]
		for _, a := range op.After {
			if g.ops[a.ID].Kind == Pull {
				first[a.ID] = true
			}
		}
		if b.usesFiles(b.running.at(op.Stack)) && !g.awaitsPull(id, map[ID]bool{}) { // which is nobody else's business
			g.after(checkout, After{ID: id, Ended: true, AtMost: StopPatience})
		}
	}
	for id, op := range g.ops {
		switch op.Kind {
		case Pull:
			if !first[id] || builds(b.wanted.at(op.Stack)) {
				g.after(op, After{ID: checkout.ID})
			}
		case Up, Before:
			g.after(op, After{ID: checkout.ID})
		}
	}
}

// awaitsPull says whether an operation comes after a pull, or after a before hook, which
// comes after the checkout; through others too.
func (g *graph) awaitsPull(id ID, seen map[ID]bool) bool {
	seen[id] = true
	return slices.ContainsFunc(g.ops[id].After, func(a After) bool {
		return g.ops[a.ID].Kind == Pull || g.ops[a.ID].Kind == Before || !seen[a.ID] && g.awaitsPull(a.ID, seen)
	})
}

// usesFiles says whether what runs of a project may use files that a checkout
// moves: it mounts something of the clone, and its stack, as the clone has it,
// uses what git tracks. If the clone does not have it, its files are gone.
func (b *builder) usesFiles(r Running) bool {
	s, known := b.ix.before.find(b.fileOf(r))
	return known && (s.Invalid != "" || s.UsesFiles()) && slices.ContainsFunc(r.Containers, func(c Container) bool {
		return slices.ContainsFunc(c.Mounts, func(m Mount) bool { return m.Type == MountClone })
	})
}

func (b *builder) addUps(g *graph) {
	rooms := b.rooms()
	for _, name := range sortedKeys(b.up) {
		if _, ok := g.ops[idOf(Pull, name)]; ok {
			g.ids = append(g.ids, idOf(Pull, name))
		}
		b.showBefore(g, name)
		g.add(b.up[name])
	}
	for _, name := range sortedKeys(b.up) {
		op := g.ops[idOf(Up, name)]
		g.after(op, After{ID: idOf(Pull, name)})
		g.after(op, After{ID: idOf(Before, name)})
		for _, up := range b.waitsFor(name, rooms) {
			g.after(op, After{ID: idOf(Up, up)})
		}
		for _, d := range b.deps[name] {
			if d.whole || d.room {
				g.after(op, After{ID: idOf(Stop, d.project)})
			} else if up := g.ops[idOf(Up, d.project)]; up != nil && b.awaited(name, d) {
				g.after(up, After{ID: b.ready(name)})
			}
		}
		if _, ok := b.makeRoom[name]; ok {
			g.after(op, After{ID: idOf(Stop, name)})
		}
	}
}

// waitsFor are the stacks whose Up a stack's Up comes after.
func (b *builder) waitsFor(name string, rooms map[string][]string) []string {
	var out []string
	for _, req := range b.wanted.at(name).needs() {
		if p, ok := b.providers()[req]; ok && p.Name != name {
			out = append(out, p.Name)
		}
	}
	for _, d := range b.deps[name] {
		if !d.whole && !d.room {
			out = append(out, d.project)
		}
	}
	out = append(out, rooms[name]...)
	return slices.DeleteFunc(out, func(up string) bool { _, comes := b.up[up]; return !comes })
}

// rooms are the stacks for which room is made, by the project that makes it and
// comes up after them.
func (b *builder) rooms() map[string][]string {
	rooms := map[string][]string{}
	for _, name := range sortedKeys(b.up) {
		for _, d := range b.deps[name] {
			if d.room && !d.broken && d.project != name && !slices.Contains(rooms[d.project], name) {
				rooms[d.project] = append(rooms[d.project], name)
			}
		}
	}
	return rooms
}

// breakCircles finds stacks that take things from each other, so that neither
// can come up before the other has: those services are stopped first.
func (b *builder) breakCircles() {
	rooms := b.rooms()
	needs := map[string][]string{}
	for _, name := range sortedKeys(b.up) {
		needs[name] = b.waitsFor(name, rooms)
	}
	for _, name := range sortedKeys(b.up) {
		for i, d := range b.deps[name] {
			if d.whole || d.room || pathTo(needs, d.project, name, map[string]bool{}) == nil {
				continue
			}
			b.deps[name][i].room, b.deps[name][i].broken = true, true
			b.room(d.project, Cause{Why: Changed, Detail: d.what + " goes to " + name}, d.services, d.named)
		}
	}
}

func (b *builder) addHandOver(g *graph) {
	if b.over == nil {
		return
	}
	all := slices.Clone(g.ids)
	name := b.over.Stack
	last := []*Op{}
	if pull, ok := g.ops[pullOver(name)]; ok {
		g.ids = append(g.ids, pull.ID)
		last = append(last, pull)
	}
	op := g.add(*b.over)
	for _, op := range append(last, op) {
		for _, id := range all {
			g.after(op, After{ID: id, Ended: true})
		}
		g.after(op, After{ID: idOf(Checkout, "")})
	}
	g.after(op, After{ID: pullOver(name)})
	for _, req := range b.wanted.at(name).needs() {
		g.after(op, After{ID: idOf(Up, b.providers()[req].Name)})
	}
	for _, d := range b.deps[name] {
		g.after(op, After{ID: idOf(Stop, d.project)})
	}
}
