package plan

import (
	"cmp"
	"fmt"
	"path"
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
//	it was found to be the heir before, and held
//	it has the same compose file, by git's id, in another folder
//	it is invalid and may be the same stack, see mayBe
//	it is new and not ignored, and at least half of the project's services are
//	in it, by name and image: of those that the clone's head has, or of those that run
//
// A project's file is the one of the stack that was last applied as it, or else
// of its containers' labels: those say what was true when they were made. If the
// clone's head does not have that file any more, it is the one that has the
// project's name there: it moved, and what ran was what was wanted.
//
// Where two stacks swap names, each one's project is displaced by the other, and
// where a stack takes the name of one that is no more, what runs of that is.
// What has not been made yet by an operation of an earlier check counts as if it
// ran.
func (b *builder) lineage() {
	for _, r := range b.state.Observed.Running {
		b.handsOff[r.Project] = r.Ours && b.isHandsOff(r)
	}
	for _, r := range b.state.Observed.Running {
		file := b.fileOf(r)
		s, wanted := b.wanted.find(r.Project)
		if !wanted && b.removed(r) {
			if heir, ok := b.findHeir(r, file); ok {
				b.inherits(heir, r.Project)
			}
		}
		if !wanted || !r.Ours {
			continue
		}
		if s.File == file || !hasContainers(r) {
			continue
		}
		t, goesOn := b.ix.wanted.find(file)
		if s.Invalid != "" && !goesOn { // its name is a guess, which may not hold
			b.heirFile[r.Project] = s.File
			continue
		}
		if (!goesOn || t.Name == r.Project) && !b.comesFromAnother(s) && !b.mayBeBroken(r, file) {
			continue
		}
		b.displaced[r.Project] = true
		if heir, ok := b.findHeir(r, file); ok {
			b.inherits(heir, r.Project)
		}
	}
	for _, project := range sortedKeys(b.state.Busy) { // what does not run yet may do so soon
		r, s := b.running.at(project), b.wanted.at(project)
		r.Project = project
		file := b.fileOf(r)
		if b.heir[project] != "" || s.File == file {
			continue
		}
		switch heir, ok := b.findHeir(r, file); {
		case !ok:
		case heir.Name == project && heir.Invalid != "": // what it is called is a guess
			b.heirFile[project] = heir.File
		case heir.Name != project:
			b.inherits(heir, project)
			if s.Name == "" {
				b.holdRemoved(r, HeldBusy, "an operation still runs")
			}
		}
	}
}

// inherits lets a stack be the heir of a project.
func (b *builder) inherits(heir Stack, project string) {
	b.heir[project], b.heirFile[project] = heir.Name, heir.File
}

// mayBe says whether an invalid stack may be the one that a project is of, although
// its file is another one and its name is not known: git takes its file for that
// one's, or for that of the heir found before; or it is in the same folder. If
// nothing at all is known of the project but that it was ours, as after the loss of
// the journal, it may be any stack that is new.
func (b *builder) mayBe(s Stack, r Running, file string) bool {
	if s.Invalid == "" {
		return false
	}
	rec := b.state.Memory[r.Project]
	_, goesOn := b.ix.wanted.find(file)
	unknown := hasContainers(r) && rec.File == "" && rec.Heir == "" && b.state.Local == b.state.Remote
	switch {
	case s.From != "":
		return s.From == file || rec.inherits(s.From)
	case unknown && b.isNew(s):
		return true
	default:
		return file != "" && !goesOn && path.Dir(s.File) == path.Dir(file)
	}
}

// mayBeBroken says whether there is an invalid stack that a project may be of.
func (b *builder) mayBeBroken(r Running, file string) bool {
	rec := b.state.Memory[r.Project]
	return slices.ContainsFunc(b.state.Wanted, func(s Stack) bool {
		return s.Invalid != "" && s.Name != r.Project && (rec.inherits(s.File) || b.mayBe(s, r, file))
	})
}

// ignores says whether a project is nobody's to change.
func (b *builder) ignores(r Running) bool {
	return r.Ignored || b.handsOff[r.Project] || b.wanted.at(r.Project).Mode == Ignored
}

// isHandsOff says whether a project is that of a stack which is ignored, by what
// its containers say, by what git says now, or by what git said when it last had
// it: it goes on under the name that it was started with. It is taken over when
// its file, under another name, is that of a managed stack.
func (b *builder) isHandsOff(r Running) bool {
	file, rec := b.fileOf(r), b.state.Memory[r.Project]
	for _, f := range []string{file, rec.Heir} {
		if s, ok := b.ix.wanted.find(f); ok && s.Invalid == "" {
			return s.Mode == Ignored
		}
	}
	return r.Ignored || rec.Ignored || b.ix.named.at(r.Project).Mode == Ignored || b.ix.before.at(file).Mode == Ignored
}

// comesFromAnother says whether the project of a stack's file runs under another
// name: then the one that has its name is not what it goes on with.
func (b *builder) comesFromAnother(s Stack) bool {
	return slices.ContainsFunc(b.ix.runs[s.File], func(project string) bool { return project != s.Name })
}

// fileOf gives the file that a project is of.
func (b *builder) fileOf(r Running) string {
	file, known := b.ix.files[r.Project]
	if !known { // nothing of it is there yet
		file = cmp.Or(b.state.Memory[r.Project].File, b.ix.named.at(r.Project).File)
		if _, there := b.ix.before.find(file); !there {
			file = cmp.Or(b.ix.named.at(r.Project).File, file)
		}
	}
	return file
}

func (b *builder) findHeir(r Running, file string) (Stack, bool) {
	rec := b.state.Memory[r.Project]
	blobs := []string{rec.Blob}
	for _, s := range b.state.Before {
		if s.Name == r.Project || rec.inherits(s.File) {
			blobs = append(blobs, s.Blob)
		}
	}
	had, run := b.servicesOf(r, file)
	var best Stack
	most := 0
	for _, s := range b.state.Wanted {
		n := 0
		switch {
		case s.File == file || rec.inherits(s.File):
			return s, true
		case b.mayBe(s, r, file):
			n = len(had) + len(run) + 1
		case !b.isNew(s) || b.wereBeside(s, r, file):
		case s.Blob != "" && slices.Contains(blobs, s.Blob):
			n = len(had) + len(run) + 1
		case s.Mode == Ignored: // which never comes up: nothing waits for it
		default:
			n = max(alike(s, had), alike(s, run))
		}
		if n > most || n == most && n > 0 && len(s.Services) < len(best.Services) { // of two, the one with less that is new
			best, most = s, n
		}
	}
	return best, best.Name != ""
}

// isNew says whether nothing of a stack runs, and nothing ever did.
func (b *builder) isNew(s Stack) bool {
	return !hasContainers(b.running.at(s.Name)) && b.state.Memory[s.Name].Applied == ""
}

// wereBeside says whether the clone's head has a stack beside the one that a
// project is of, so that neither came from the other. A head that has only the
// heir is of a move that is not over: the heir was held, and the clone went on.
func (b *builder) wereBeside(s Stack, r Running, file string) bool {
	had := func(is func(was Stack) bool) bool { return slices.ContainsFunc(b.state.Before, is) }
	return had(func(was Stack) bool { return was.File == s.File }) &&
		had(func(was Stack) bool { return was.File != s.File && (was.Name == r.Project || was.File == file) })
}

// alike counts the services of a project that a stack has as well, if they are
// at least half of them.
//
// A stack that is removed and a new one that happens to be like it look just the
// same as a move, and no better evidence is to be had: a file that was edited as
// it moved has another id in git, its project, volumes and labels have the new
// name, and an image's version changes with many a move. So it counts as one. All
// that comes of a mistake is that the new one starts after the old one has
// ended, and is held where a service of the same name had data at a place where
// the new one would have none; the hold says how to go on. More proof would leave
// data behind without a word, which is worse; and less than a whole stack is
// known the same way, see movesFrom.
func alike(s Stack, services map[string]string) int {
	n := 0
	for name, image := range services {
		if slices.ContainsFunc(s.Services, func(v Service) bool { return v.Name == name && sameImage(v, image) }) {
			n++
		}
	}
	if 2*n < len(services) {
		return 0
	}
	return n
}

// servicesOf are the services of a project with their images: those that the
// clone's head has of it or its heir, and those that have containers, which may
// be of an older commit.
func (b *builder) servicesOf(r Running, file string) (had, run map[string]string) {
	had, run = map[string]string{}, map[string]string{}
	for _, s := range b.state.Before {
		for _, v := range s.Services {
			if s.Name == r.Project || s.File == file || s.File == b.state.Memory[r.Project].Heir {
				had[v.Name] = v.Image
			}
		}
	}
	for _, c := range r.Containers {
		if !c.OneOff {
			run[c.Service] = c.Reference
		}
	}
	return had, run
}

func sameImage(s Service, image string) bool {
	return image != "" && Repository(s.Image) == Repository(image)
}

// movesFrom says whether a service of a stack was in another project of ours
// that is wanted without it, or not at all.
func (b *builder) movesFrom(old Running, s Stack, svc Service) bool {
	if !old.Ours || b.handsOff[old.Project] || old.Project == s.Name && !b.displaced[s.Name] || b.heir[old.Project] == s.Name {
		return false
	}
	had, wanted := b.wanted.find(old.Project)
	if !wanted || b.displaced[old.Project] {
		if !b.removed(old) {
			return false
		}
		had = b.wanted.at(b.heir[old.Project])
	}
	if had.Invalid != "" || had.Mode == Ignored || hasSame(had, svc) || slices.Contains(had.Disabled, svc.Name) {
		return false
	}
	hadIt := func(is func(was Stack) bool) bool {
		return slices.ContainsFunc(b.state.Before, func(was Stack) bool { return is(was) && has(was, svc.Name) })
	}
	if hadIt(func(was Stack) bool { return was.File == s.File }) &&
		hadIt(func(was Stack) bool { return was.File != s.File && (was.Name == old.Project || was.File == had.File) }) {
		return false // else it moved before, and its new stack was held since
	}
	if slices.ContainsFunc(b.of(s).Containers, func(c Container) bool { return c.Service == svc.Name }) {
		return false
	}
	return slices.ContainsFunc(old.Containers, func(c Container) bool {
		return c.Service == svc.Name && !c.OneOff && !c.Self && sameImage(svc, c.Reference)
	})
}

// mayStillCome says whether a service of a stack may still be made where it was
// before, by an operation of an earlier check.
func (b *builder) mayStillCome(project string, s Stack, svc Service) bool {
	now := b.wanted.at(project)
	if project == s.Name || b.heir[project] == s.Name || now.Invalid != "" || now.Mode == Ignored || hasSame(now, svc) || slices.Contains(now.Disabled, svc.Name) {
		return false
	}
	had := func(is func(was Stack) bool) bool {
		return slices.ContainsFunc(b.state.Before, func(was Stack) bool { return is(was) && hasSame(was, svc) })
	}
	return had(func(was Stack) bool { return was.Name == project }) && !had(func(was Stack) bool { return was.File == s.File })
}

func has(s Stack, service string) bool {
	return slices.ContainsFunc(s.Services, func(v Service) bool { return v.Name == service })
}

// hasSame says whether a stack has a service of that name and of that image, be
// it another version of it.
func hasSame(s Stack, svc Service) bool {
	return slices.ContainsFunc(s.Services, func(v Service) bool { return v.Name == svc.Name && sameImage(v, svc.Image) })
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
	comes := b.comes()
	if len(comes) == 0 {
		return
	}
	claims := b.claims(comes...)
	for _, name := range comes {
		s := b.wanted.at(name)
		if b.displaced[name] {
			b.depend(name, dep{project: name, whole: true, what: "its name", images: true})
		}
		for project, heir := range b.heir {
			if heir == name && (hasContainers(b.running.at(project)) || b.isStopped(project) || b.state.Busy[project]) {
				b.depend(name, dep{project: project, whole: true, what: "its place", images: true})
			}
		}
		for _, svc := range s.Services {
			for _, old := range b.ix.having(svc) {
				if b.movesFrom(*old, s, svc) {
					d := dep{project: old.Project, services: []string{svc.Name}, what: "service " + svc.Name, images: true}
					if b.removed(*old) {
						d.whole, d.services = true, nil
					}
					b.depend(name, d)
				}
			}
			for _, project := range sortedKeys(b.state.Busy) {
				if b.mayStillCome(project, s, svc) {
					b.depend(name, dep{project: project, services: []string{svc.Name}, what: "service " + svc.Name, images: true})
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

// claims are what containers of ours have of what those of some stacks want.
func (b *builder) claims(stacks ...string) map[key][]claim {
	wanted := map[key]bool{}
	for _, name := range stacks {
		for _, svc := range b.wanted.at(name).Services {
			for _, k := range keysOf(svc) {
				wanted[k] = true
			}
		}
	}
	m := map[key][]claim{}
	for _, r := range b.state.Observed.Running {
		if !r.Ours || r.Ignored {
			continue
		}
		for _, c := range r.Containers {
			if c.OneOff {
				continue
			}
			add := func(k key, ip string) {
				if wanted[k] {
					m[k] = append(m[k], claim{r.Project, c, ip})
				}
			}
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
		b.contendWithin(s, svc, k, c)
		return
	}
	if k.kind == "port" && !overlap(svc, k, c.ip) || b.hasMounted(s, svc, k) {
		return
	}
	d := dep{project: c.project, services: []string{c.container.Service}, what: k.text(), named: k.kind == "name", images: k.kind == "name" || k.kind == "port"}
	had, wanted := b.wanted.find(c.project)
	switch {
	case b.removed(b.running.at(c.project)):
		d.whole, d.services = true, nil
		b.depend(s.Name, d)
	case d.images && !c.container.Self && (!wanted || had.Invalid != "" || had.Mode == Ignored):
		b.depend(s.Name, d) // nobody knows whether it gives that up
	case !wanted, had.Invalid != "", had.Mode == Ignored, c.container.Self:
	case slices.ContainsFunc(had.Services, func(v Service) bool { return v.Name == c.container.Service && slices.Contains(keysOf(v), k) }):
		// Both want it, which they have to agree on.
	case slices.Contains(had.Disabled, c.container.Service):
	default:
		b.depend(s.Name, d)
	}
}

// hasMounted says whether a service's containers have a volume or a folder already,
// beside whoever else does: then nothing changes hands.
func (b *builder) hasMounted(s Stack, svc Service, k key) bool {
	if k.kind != "volume" && k.kind != "path" {
		return false
	}
	return slices.ContainsFunc(b.of(s).Containers, func(c Container) bool {
		return c.Service == svc.Name && !c.OneOff && slices.Contains(mountKeys(c.Mounts), k)
	})
}

// contendWithin sees to a container's name that goes from one service of a stack
// to another: a container can't be made while another has its name.
func (b *builder) contendWithin(s Stack, svc Service, k key, c claim) {
	had := slices.IndexFunc(s.Services, func(v Service) bool { return v.Name == c.container.Service })
	up, comes := b.up[s.Name]
	if k.kind != "name" || c.container.Service == svc.Name || had < 0 || s.Services[had].ContainerName == k.value || c.container.Self || !comes {
		return
	}
	b.depend(s.Name, dep{project: s.Name, room: true, services: []string{c.container.Service}, what: k.text(), named: true})
	b.room(s.Name, Cause{Why: up.Cause.Why, Detail: k.text() + " goes to " + svc.Name}, []string{c.container.Service}, true)
}

// room plans to stop some services of a stack that comes up again, or adds to
// such a plan.
func (b *builder) room(project string, cause Cause, services []string, freeNames bool) {
	room, planned := b.makeRoom[project]
	if !planned {
		room = Op{Kind: Stop, Stack: project, File: b.wanted.at(project).File, Cause: cause}
	}
	room.Services, room.FreeNames = union(room.Services, services), room.FreeNames || freeNames
	b.makeRoom[project] = room
}

func overlap(svc Service, k key, ip string) bool {
	return slices.ContainsFunc(svc.Ports, func(p Port) bool {
		return slices.Contains(portKeys(p), k) && (p.IP == "" || ip == "" || p.IP == ip)
	})
}

// holdSuccessors holds stacks whose place is not free in this plan.
func (b *builder) holdSuccessors() (changed bool) {
	for _, name := range b.comes() {
		s := b.wanted.at(name)
		for _, d := range b.deps[name] {
			if b.givesWay(d) {
				continue
			}
			key := b.wanted.at(d.project).File
			if d.whole {
				key = "~" + d.project
			}
			why := b.because(key)
			if b.handsOff[d.project] || b.wanted.at(d.project).Mode == Ignored && !d.whole {
				why = " (gitops.ignore=true)"
			}
			b.withdraw(name)
			b.hold(s, HeldNeeds, fmt.Sprintf("%s is still taken by %s, which does not give it up yet%s", d.what, d.project, why))
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
		return stops || !hasContainers(b.running.at(d.project)) && !b.state.Busy[d.project]
	case d.room:
		return makesRoom
	default:
		return ups && !slices.ContainsFunc(d.services, func(name string) bool { return b.stays[d.project][name] })
	}
}

// keepOld leaves projects alone whose heir is held: they go on meanwhile.
func (b *builder) keepOld() (changed bool) {
	for _, project := range sortedKeys(b.stop) {
		if b.keeps(project) {
			delete(b.stop, project)
			b.sayMayBe(b.running.at(project))
			changed = true
		}
	}
	return changed
}

// sayMayBe says of a project why it goes on, if the file that it may be of is
// invalid; its own file, or one of its name, says so itself.
func (b *builder) sayMayBe(r Running) {
	file := b.heirFile[r.Project]
	_, named := b.wanted.find(r.Project)
	if b.ix.wanted.at(file).Invalid != "" && file != b.fileOf(r) && !named && hasContainers(r) {
		b.holdRemoved(r, HeldNeeds, fmt.Sprintf("it may be what %s is now, which does not load; it goes on as it is until that file is mended or removed", file))
	}
}

// keeps says whether who takes a project's place, or a service of it, is held for
// what keeps it from doing so.
func (b *builder) keeps(project string) bool {
	return slices.ContainsFunc(b.state.Wanted, func(s Stack) bool {
		h := b.held[s.File]
		if h.Reason == "" || h.Reason == HeldDrift || h.Stack != s.Name {
			return false
		}
		return b.heir[project] == s.Name || s.Invalid == "" && slices.ContainsFunc(s.Services, func(svc Service) bool {
			return b.movesFrom(b.running.at(project), s, svc)
		})
	})
}

// keepMoved leaves services where they are that moved to a stack which is held.
func (b *builder) keepMoved() (changed bool) {
	for _, s := range b.state.Wanted {
		h := b.held[s.File]
		if h.Reason == "" || h.Reason == HeldDrift || s.Invalid != "" {
			continue
		}
		for _, svc := range s.Services {
			for _, old := range b.ix.having(svc) {
				if _, up := b.up[old.Project]; !up || b.stays[old.Project][svc.Name] || !b.movesFrom(*old, s, svc) {
					continue
				}
				if b.stays[old.Project] == nil {
					b.stays[old.Project] = map[string]bool{}
				}
				b.stays[old.Project][svc.Name] = true
				b.redo(b.wanted.at(old.Project))
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
	delete(b.hooked, s.Name)
	diffs := slices.DeleteFunc(slices.Clone(b.differences(s)), func(d Difference) bool {
		return b.stays[s.Name][d.Service] && !has(s, d.Service)
	})
	b.diffs[s.File] = diffs
	b.update(s, b.of(s), b.state.Memory[s.Name], diffs, op.Services)
	if op, ok := b.up[s.Name]; ok {
		op.Orders.Orphans = slices.DeleteFunc(op.Orders.Orphans, func(name string) bool { return b.stays[s.Name][name] })
		b.up[s.Name] = op
	}
	claims := b.claims(s.Name)
	for _, svc := range s.Services {
		if b.stays[s.Name][svc.Name] { // a service of that name, and not that one
			b.withdraw(s.Name)
			b.hold(s, HeldNeeds, fmt.Sprintf("service %s stays what it was until the stack that it goes to is no longer held", svc.Name))
		}
		for _, k := range keysOf(svc) {
			for _, c := range claims[k] {
				if c.project == s.Name && b.stays[s.Name][c.container.Service] && (k.kind == "name" || k.kind == "port") {
					b.withdraw(s.Name)
					b.hold(s, HeldNeeds, fmt.Sprintf("%s is still taken by service %s, which stays until the stack that it goes to is no longer held", k.text(), c.container.Service))
				}
			}
		}
	}
}
