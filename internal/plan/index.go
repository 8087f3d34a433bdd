package plan

import "cmp"

// index finds what a plan looks up for each stack, so that the time that a plan
// takes grows with the stacks, and not with their square.
type index struct {
	// wanted are the stacks of the remote head by file.
	wanted lookup[Stack]
	// before are the stacks of the clone's head by file, named the valid ones of
	// them by name.
	before, named lookup[Stack]
	// files are the files of projects, see fileOf; runs are the projects of ours
	// with containers by file.
	files map[string]string
	runs  map[string][]string
	// with are the projects that have a container of a service, by the service's
	// name and the image's, in the order in which they were observed.
	with map[program][]*Running
}

// lookup finds parts of the state by a name or a file, without a copy of each.
type lookup[V any] map[string]*V

func (l lookup[V]) find(key string) (v V, ok bool) {
	p := l[key]
	if p != nil {
		v = *p
	}
	return v, p != nil
}

// at is the zero value for what is not known.
func (l lookup[V]) at(key string) V {
	v, _ := l.find(key)
	return v
}

// program is a service by its name and its image without the version.
type program struct{ service, repository string }

func newIndex(st State) index {
	wanted, before, running := len(st.Wanted), len(st.Before), len(st.Observed.Running)
	ix := index{
		wanted: make(lookup[Stack], wanted), before: make(lookup[Stack], before), named: make(lookup[Stack], before),
		files: make(map[string]string, running), runs: make(map[string][]string, running), with: make(map[program][]*Running, running),
	}
	for i, s := range st.Wanted {
		ix.wanted[s.File] = &st.Wanted[i]
	}
	for i, s := range st.Before {
		ix.before[s.File] = &st.Before[i]
		if ix.named[s.Name] == nil && s.Invalid == "" {
			ix.named[s.Name] = &st.Before[i]
		}
	}
	for i, r := range st.Observed.Running {
		file := cmp.Or(st.Memory[r.Project].File, r.File)
		ix.files[r.Project] = file
		if s, known := ix.named.find(r.Project); known {
			if _, there := ix.before.find(file); !there {
				ix.files[r.Project] = s.File
			}
		}
		if r.Ours && hasContainers(r) {
			ix.runs[ix.files[r.Project]] = append(ix.runs[ix.files[r.Project]], r.Project)
		}
		project := &st.Observed.Running[i]
		for _, c := range r.Containers {
			p := program{c.Service, Repository(c.Reference)}
			with := ix.with[p]
			if !c.OneOff && !c.Self && (len(with) == 0 || with[len(with)-1] != project) {
				ix.with[p] = append(with, project)
			}
		}
	}
	return ix
}

// having are the projects that have a container of a service, of whatever
// version.
func (ix index) having(svc Service) []*Running {
	return ix.with[program{svc.Name, Repository(svc.Image)}]
}

// providers are the stacks that create networks and volumes.
func (b *builder) providers() map[Requirement]Stack {
	if b.provide == nil {
		b.provide = providers(b.state.Wanted)
	}
	return b.provide
}
