package plan

import (
	"fmt"
	"slices"
	"strconv"
)

// This file is about what takes the place of something else: a stack that has
// another name or folder now, a service that is in another stack now, a port, a
// container's name or a folder that changes hands. The old one ends, and ends
// well, before the new one starts; the images of the new one are here before
// the old one ends; and while the new one is held, the old one goes on.

// lineage finds the heir of each project of ours that no wanted stack
// continues: the stack that takes its place. By the first of these:
//
//	it has the project's file, under another name
//	it has the same compose file, by git's id, in another folder
//	it is new, and at least half of the project's services are in it, by name
//	and image
//
// A project's file is the one of the stack that was last applied as it, of the
// clone's head, or else of its containers' labels: those say what was true when
// they were made. Where two stacks swap names, each one's project is displaced
// by the other.
func (b *builder) lineage() {
	for _, r := range b.state.Observed.Running {
		file := b.fileOf(r)
		s, wanted := b.wanted[r.Project]
		if !wanted && b.removed(r) {
			if heir, ok := b.findHeir(r, file); ok {
				b.heir[r.Project] = heir
			}
		}
		if !wanted || !r.Ours {
			continue
		}
		i := slices.IndexFunc(b.state.Wanted, func(t Stack) bool { return t.File == file && t.Name != r.Project })
		if i >= 0 && s.File != file && s.Invalid == "" && s.Mode != Ignored && hasContainers(r) {
			b.displaced[r.Project], b.heir[r.Project] = true, b.state.Wanted[i].Name
		}
	}
}

func (b *builder) fileOf(r Running) string {
	for _, s := range b.state.Before {
		if s.Name == r.Project && s.Invalid == "" {
			return s.File
		}
	}
	if file := b.state.Memory[r.Project].File; file != "" {
		return file
	}
	return r.File
}

func (b *builder) findHeir(r Running, file string) (string, bool) {
	blob := b.state.Memory[r.Project].Blob
	for _, s := range b.state.Before {
		if s.Name == r.Project && s.Blob != "" {
			blob = s.Blob
		}
	}
	best, most := "", 0
	for _, s := range b.state.Wanted {
		switch {
		case file != "" && s.File == file:
			return s.Name, true
		case !b.isNew(s) || b.wereBeside(s, r, file):
		case blob != "" && s.Blob == blob:
			best, most = s.Name, len(r.Containers)+1
		default:
			if n := alike(s, r); n > most {
				best, most = s.Name, n
			}
		}
	}
	return best, best != ""
}

// isNew says whether nothing of a stack runs, and nothing ever did.
func (b *builder) isNew(s Stack) bool {
	return !hasContainers(b.running[s.Name]) && b.state.Memory[s.Name].Applied == ""
}

// wereBeside says whether the clone's head has a stack beside the one that a
// project is of, so that neither came from the other. A head that has only the
// heir is of a move that is not over: the heir was held, and the clone went on.
func (b *builder) wereBeside(s Stack, r Running, file string) bool {
	had := func(is func(was Stack) bool) bool { return slices.ContainsFunc(b.state.Before, is) }
	return had(func(was Stack) bool { return was.File == s.File }) &&
		had(func(was Stack) bool { return was.Name == r.Project || was.File == file })
}

// alike counts the services of a project that a stack has as well, if they are
// at least half of them.
func alike(s Stack, r Running) int {
	services := map[string]bool{} // of the project: is it in the stack?
	n := 0
	for _, c := range r.Containers {
		if c.OneOff || services[c.Service] {
			continue
		}
		services[c.Service] = slices.ContainsFunc(s.Services, func(v Service) bool { return v.Name == c.Service && sameImage(v, c) })
		if services[c.Service] {
			n++
		}
	}
	if 2*n < len(services) {
		return 0
	}
	return n
}

func sameImage(s Service, c Container) bool {
	return c.Reference != "" && Repository(s.Image) == Repository(c.Reference)
}

// movesFrom says whether a service of a stack was in another project of ours
// that goes on without it.
func (b *builder) movesFrom(old Running, s Stack, svc Service) bool {
	had, wanted := b.wanted[old.Project]
	if !wanted || !old.Ours || b.displaced[old.Project] || had.Invalid != "" || had.Mode == Ignored || old.Project == s.Name {
		return false
	}
	if has(had, svc.Name) || slices.Contains(had.Disabled, svc.Name) {
		return false
	}
	hadIt := func(file string) bool {
		return slices.ContainsFunc(b.state.Before, func(was Stack) bool { return was.File == file && has(was, svc.Name) })
	}
	if hadIt(s.File) && hadIt(had.File) { // else it moved before, and its new stack was held since
		return false
	}
	if slices.ContainsFunc(b.of(s).Containers, func(c Container) bool { return c.Service == svc.Name }) {
		return false
	}
	return slices.ContainsFunc(old.Containers, func(c Container) bool {
		return c.Service == svc.Name && !c.OneOff && !c.Self && sameImage(svc, c)
	})
}

func has(s Stack, service string) bool {
	return slices.ContainsFunc(s.Services, func(v Service) bool { return v.Name == service })
}

// dep is what an Up waits for because it takes something's place.
type dep struct {
	// project is stopped as a whole, or some of its services are, to make room
	// until they come up again, or it is brought up without what it had.
	project     string
	whole, room bool
	// broken says that the room is made because two would wait for each other.
	broken bool
	// services of it are what is in the way.
	services []string
	// what is taken over, for people.
	what string
	// named says that it is a container's name: stopping does not free it.
	named bool
	// images says that the images of who waits have to be here before.
	images bool
}

// findDeps finds what each Up takes the place of.
func (b *builder) findDeps() {
	claims := b.claims()
	for _, name := range b.comes() {
		s := b.wanted[name]
		if b.displaced[name] {
			b.depend(name, dep{project: name, whole: true, what: "its name", images: true})
		}
		for project, heir := range b.heir {
			if heir == name {
				b.depend(name, dep{project: project, whole: true, what: "its place", images: true})
			}
		}
		for _, svc := range s.Services {
			for _, old := range b.state.Observed.Running {
				if b.movesFrom(old, s, svc) {
					b.depend(name, dep{project: old.Project, services: []string{svc.Name}, what: "service " + svc.Name, images: true})
				}
			}
			if svc.Scale == 0 {
				continue
			}
			for _, key := range keysOf(svc) {
				for _, c := range claims[key] {
					b.contend(s, svc, key, c)
				}
			}
		}
	}
}

// comes are the stacks that are brought up or handed over to, sorted.
func (b *builder) comes() []string {
	names := sortedKeys(b.up)
	if b.over != nil && !slices.Contains(names, b.over.Stack) {
		names = append(names, b.over.Stack)
	}
	return names
}

// depend adds a dep, to one for the same project if there is one.
func (b *builder) depend(name string, d dep) {
	for i, have := range b.deps[name] {
		if have.project != d.project || have.whole != d.whole || have.room != d.room {
			continue
		}
		for _, s := range d.services {
			if !slices.Contains(have.services, s) {
				b.deps[name][i].services = append(b.deps[name][i].services, s)
			}
		}
		b.deps[name][i].named = have.named || d.named
		b.deps[name][i].images = have.images || d.images
		return
	}
	b.deps[name] = append(b.deps[name], d)
}

// key is something that only one container should have at a time.
type key struct {
	kind  string // name, port, volume or path
	value string
}

func (k key) text() string {
	if k.kind == "name" {
		return "container name " + k.value
	}
	return k.kind + " " + k.value
}

// claim is a container that has something.
type claim struct {
	project   string
	container Container
	ip        string // of a port
}

// claims are what containers of ours have.
func (b *builder) claims() map[key][]claim {
	m := map[key][]claim{}
	for _, r := range b.state.Observed.Running {
		if !r.Ours || r.Ignored {
			continue
		}
		for _, c := range r.Containers {
			if c.OneOff {
				continue
			}
			add := func(k key, ip string) { m[k] = append(m[k], claim{r.Project, c, ip}) }
			add(key{"name", c.Name}, "")
			for _, p := range c.Ports {
				for _, k := range portKeys(p) {
					add(k, p.IP)
				}
			}
			if c.State != "exited" && c.State != "created" && c.State != "dead" {
				for _, k := range mountKeys(c.Mounts) {
					add(k, "")
				}
			}
		}
	}
	return m
}

// keysOf are what a service's containers want to have.
func keysOf(svc Service) []key {
	var ks []key
	if svc.ContainerName != "" {
		ks = append(ks, key{"name", svc.ContainerName})
	}
	for _, p := range svc.Ports {
		ks = append(ks, portKeys(p)...)
	}
	return append(ks, mountKeys(svc.Mounts)...)
}

func portKeys(p Port) []key {
	var ks []key
	for n := int(p.First); n <= int(p.Last); n++ {
		ks = append(ks, key{"port", strconv.Itoa(n) + "/" + p.Protocol})
	}
	return ks
}

// mountKeys are the folders and named volumes that two programs should not
// write to at the same time. Files of the system that many containers mount are
// none.
func mountKeys(ms []Mount) []key {
	var ks []key
	for _, m := range ms {
		switch {
		case m.Type == MountVolume:
			ks = append(ks, key{"volume", m.Source})
		case m.Type == MountClone:
			ks = append(ks, key{"path", "./" + m.Source})
		case m.Type == MountHost && !system(m.Source):
			ks = append(ks, key{"path", m.Source})
		}
	}
	return ks
}

func system(path string) bool {
	for _, dir := range []string{"/etc", "/run", "/var/run", "/var/lib/docker", "/dev", "/proc", "/sys", "/usr", "/lib", "/boot"} {
		if path == "/" || path == dir || len(path) > len(dir) && path[:len(dir)+1] == dir+"/" {
			return true
		}
	}
	return false
}

// contend lets a service wait for a container that has what it wants and gives
// it up in this plan.
func (b *builder) contend(s Stack, svc Service, k key, c claim) {
	if c.project == s.Name && !b.displaced[s.Name] {
		return
	}
	if k.kind == "port" && !overlap(svc, k, c.ip) {
		return
	}
	d := dep{project: c.project, services: []string{c.container.Service}, what: k.text(), named: k.kind == "name", images: k.kind == "name" || k.kind == "port"}
	had, wanted := b.wanted[c.project]
	switch {
	case b.removed(b.running[c.project]):
		d.whole, d.services = true, nil
		b.depend(s.Name, d)
	case wanted && !c.container.Self && d.images && (had.Invalid != "" || had.Mode == Ignored):
		b.depend(s.Name, d) // nobody knows whether it gives that up
	case !wanted, had.Invalid != "", had.Mode == Ignored, c.container.Self:
	case slices.ContainsFunc(had.Services, func(v Service) bool { return v.Name == c.container.Service && slices.Contains(keysOf(v), k) }):
		// Both want it, which they have to agree on.
	case slices.Contains(had.Disabled, c.container.Service):
	default:
		b.depend(s.Name, d)
	}
}

func overlap(svc Service, k key, ip string) bool {
	return slices.ContainsFunc(svc.Ports, func(p Port) bool {
		return slices.Contains(portKeys(p), k) && (p.IP == "" || ip == "" || p.IP == ip)
	})
}

// holdSuccessors holds stacks whose place is not free in this plan.
func (b *builder) holdSuccessors() (changed bool) {
	for _, name := range b.comes() {
		s := b.wanted[name]
		for _, d := range b.deps[name] {
			if b.givesWay(d) {
				continue
			}
			key := b.wanted[d.project].File
			if d.whole {
				key = "~" + d.project
			}
			b.withdraw(name)
			b.hold(s, HeldNeeds, fmt.Sprintf("%s is still taken by %s, which does not give it up yet%s", d.what, d.project, b.because(key)))
			changed = true
			break
		}
	}
	return changed
}

// givesWay says whether what an Up waits for happens in this plan.
func (b *builder) givesWay(d dep) bool {
	_, stops := b.stop[d.project]
	_, makesRoom := b.makeRoom[d.project]
	_, ups := b.up[d.project]
	switch {
	case d.whole:
		return stops
	case d.room:
		return makesRoom
	default:
		return ups
	}
}

// keepOld leaves projects alone whose heir is held: they go on meanwhile.
func (b *builder) keepOld() (changed bool) {
	for _, project := range sortedKeys(b.stop) {
		if b.keeps(project) {
			delete(b.stop, project)
			changed = true
		}
	}
	return changed
}

// keeps says whether the heir of a project is held for what keeps it from
// taking its place.
func (b *builder) keeps(project string) bool {
	heir, ok := b.wanted[b.heir[project]]
	if !ok {
		return false
	}
	h := b.held[heir.File]
	return h.Reason != "" && h.Reason != HeldDrift
}

// keepMoved leaves services where they are that moved to a stack which is held.
func (b *builder) keepMoved() (changed bool) {
	for _, s := range b.state.Wanted {
		h := b.held[s.File]
		if h.Reason == "" || h.Reason == HeldDrift || s.Invalid != "" {
			continue
		}
		for _, svc := range s.Services {
			for _, old := range b.state.Observed.Running {
				if _, up := b.up[old.Project]; !up || b.stays[old.Project][svc.Name] || !b.movesFrom(old, s, svc) {
					continue
				}
				if b.stays[old.Project] == nil {
					b.stays[old.Project] = map[string]bool{}
				}
				b.stays[old.Project][svc.Name] = true
				b.redo(b.wanted[old.Project])
				changed = true
			}
		}
	}
	return changed
}

// redo decides again about the Up of a stack of which some services stay.
func (b *builder) redo(s Stack) {
	op := b.up[s.Name]
	delete(b.up, s.Name)
	diffs := slices.DeleteFunc(slices.Clone(b.differences(s)), func(d Difference) bool {
		return b.stays[s.Name][d.Service] && !has(s, d.Service)
	})
	b.diffs[s.File] = diffs
	b.update(s, b.of(s), b.state.Memory[s.Name], diffs, op.Services)
	if op, ok := b.up[s.Name]; ok {
		op.Orders.Orphans = slices.DeleteFunc(op.Orders.Orphans, func(name string) bool { return b.stays[s.Name][name] })
		b.up[s.Name] = op
	}
}
