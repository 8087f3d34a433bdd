package plan

import (
	"fmt"
	"slices"
)

// A container can't be made while another one has its name: Compose stops and
// removes the old one of its service first, and then fails. So it has to be seen
// before.

// wish is who wants a container's name.
type wish struct {
	stack   Stack
	service string
}

// holder is who has it.
type holder struct {
	// project is empty for a container of no project.
	project string
	running Running
	Container
}

// holdNames holds stacks that want a name for a container which it can't have:
//
//	the name is                                 what happens
//	-----------                                 ------------
//	its service's already                       nothing
//	wanted by another stack, which has it       hold: name
//	wanted by another stack, and neither has it hold: name, both
//	that of a container which is not ours, or of
//	no project, or of docker compose run, or of
//	a service that profiles switch off, or the
//	daemon's                                    hold: name
//	that of a container of ours                 see contend: it gives it up, or
//	                                            hold: needs
func (b *builder) holdNames() {
	comes := b.comes()
	if len(comes) == 0 {
		return
	}
	asked := map[string]bool{}
	for _, name := range comes {
		s := b.wanted.at(name)
		for _, svc := range s.Services {
			for _, want := range namesOf(s, svc, b.of(s)) {
				asked[want] = true
			}
		}
	}
	has, wants := b.holders(asked), b.wishes(asked)
	for _, name := range comes {
		s := b.wanted.at(name)
		if why := b.nameless(s, has, wants); why != "" {
			b.withdraw(name)
			b.hold(s, HeldName, why+"; give one of them another container_name:, or remove the one that is not needed")
		}
	}
}

// nameless says why a service of a stack can't have a name that it wants.
func (b *builder) nameless(s Stack, has map[string]holder, wants map[string][]wish) string {
	for _, svc := range s.Services {
		for _, want := range namesOf(s, svc, b.of(s)) {
			h, taken := has[want]
			its := h.Service == svc.Name && !h.OneOff && !b.displaced[s.Name]
			if taken && h.project == s.Name && (its || svc.ContainerName == "") {
				continue // or it is in the way with its project's name already
			}
			if why := b.clash(s, svc, want, h, taken, wants[want]); why != "" {
				return why
			}
		}
	}
	return ""
}

// namesOf are the names that containers of a service will be made with.
func namesOf(s Stack, svc Service, r Running) []string {
	switch has := func(c Container) bool { return c.Service == svc.Name && !c.OneOff }; {
	case svc.Scale == 0:
		return nil
	case svc.ContainerName != "":
		return []string{svc.ContainerName}
	case slices.ContainsFunc(r.Containers, has): // then others may be free, too
		return nil
	}
	var names []string
	for n := range svc.Scale {
		names = append(names, fmt.Sprintf("%s-%s-%d", s.Name, svc.Name, n+1))
	}
	return names
}

// holders are the containers that have one of some names, by that.
func (b *builder) holders(asked map[string]bool) map[string]holder {
	m := map[string]holder{}
	for i := range b.state.Observed.Running {
		r := &b.state.Observed.Running[i]
		for n := range r.Containers {
			if c := &r.Containers[n]; asked[c.Name] {
				m[c.Name] = holder{r.Project, *r, *c}
			}
		}
	}
	for _, c := range b.state.Observed.Others {
		if asked[c.Name] {
			m[c.Name] = holder{Container: c}
		}
	}
	return m
}

// wishes are who says in its file that a container is to have one of some names, by
// that.
func (b *builder) wishes(asked map[string]bool) map[string][]wish {
	m := map[string][]wish{}
	for i := range b.state.Wanted {
		s := &b.state.Wanted[i]
		if s.Invalid != "" || s.Mode == Ignored {
			continue
		}
		for n := range s.Services {
			if svc := &s.Services[n]; svc.Scale > 0 && asked[svc.ContainerName] {
				m[svc.ContainerName] = append(m[svc.ContainerName], wish{*s, svc.Name})
			}
		}
	}
	return m
}

// clash says why a service can't have a name for a container.
func (b *builder) clash(s Stack, svc Service, name string, h holder, taken bool, wants []wish) string {
	said := fmt.Sprintf("service %s wants the container name %s", svc.Name, name)
	for _, other := range wants {
		has := taken && h.project == other.stack.Name && h.Service == other.service && !h.OneOff && !b.displaced[h.project]
		switch {
		case other.stack.File == s.File: // the loader refuses two of one stack
		case has:
			return fmt.Sprintf("%s, which service %s of %s (%s) has", said, other.service, other.stack.Name, other.stack.File)
		default:
			return fmt.Sprintf("%s, and so does service %s of %s (%s)", said, other.service, other.stack.Name, other.stack.File)
		}
	}
	switch had := b.wanted.at(h.project); {
	case !taken:
		return ""
	case h.project == "":
		return said + ", which a container has that belongs to no stack"
	case h.OneOff:
		return fmt.Sprintf("%s, which a container has that docker compose run made of service %s of %s", said, h.Service, h.project)
	case h.Self:
		return said + ", which the daemon's own container has"
	case !h.running.Ours:
		return fmt.Sprintf("%s, which a container of project %s has that does not come from this repository (%s)", said, h.project, origin(h.running))
	case b.ignores(h.running):
		return fmt.Sprintf("%s, which service %s of %s has, which is ignored (gitops.ignore=true)", said, h.Service, h.project)
	case had.Invalid == "" && slices.Contains(had.Disabled, h.Service):
		return fmt.Sprintf("%s, which service %s of %s has, which its profiles switch off", said, h.Service, h.project)
	default:
		return ""
	}
}

// misnamed says whether a container has another name than its service is to have:
// that was taken when it was made, or somebody changed it.
func misnamed(svc Service, c Container) bool {
	return svc.ContainerName != "" && c.Name != svc.ContainerName && !c.Replacing && !c.Self
}
