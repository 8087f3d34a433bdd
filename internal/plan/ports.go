package plan

import (
	"fmt"
	"slices"
	"strconv"
)

// Compose makes containers and removes the old ones before the engine says that a
// port is taken, and then the stack is down. So that has to be seen before.

// holdPorts holds stacks that want a port of the host which they can't have:
//
//	the port is                                 what happens
//	-----------                                 ------------
//	its own stack's already                     nothing
//	wanted by another stack, which has it       hold: port
//	wanted by another stack, and neither has it hold: port, both
//	that of a running container which is not
//	ours, of no project, or of an ignored stack hold: port
//	that of a container of ours                 see contend: it gives it up, or
//	                                            hold: needs
//
// Of a range the engine may take any port, so that those are left to it.
func (b *builder) holdPorts() {
	comes := b.comes()
	if len(comes) == 0 {
		return
	}
	asked := map[uint16]bool{}
	for _, name := range comes {
		for _, svc := range b.wanted.at(name).Services {
			for _, p := range b.fixedPorts(b.wanted.at(name), svc) {
				asked[p.First] = true
			}
		}
	}
	wants := b.portWishes(asked)
	for _, name := range comes {
		s := b.wanted.at(name)
		if why := b.portless(s, wants); why != "" {
			b.withdraw(name)
			b.hold(s, HeldPort, why+"; publish one of them at another port (ports:), or remove the one that is not needed")
		}
	}
}

// portWish is who wants a port of the host.
type portWish struct {
	stack   Stack
	service string
	port    Port
}

// portWishes are who wants one of some ports, by its number and protocol.
func (b *builder) portWishes(asked map[uint16]bool) map[string][]portWish {
	m := map[string][]portWish{}
	if len(asked) == 0 {
		return m
	}
	for i := range b.state.Wanted {
		s := &b.state.Wanted[i]
		if s.Invalid != "" || s.Mode == Ignored {
			continue
		}
		for n := range s.Services {
			svc := &s.Services[n]
			if !slices.ContainsFunc(svc.Ports, func(p Port) bool { return p.First == p.Last && asked[p.First] }) {
				continue
			}
			for _, p := range b.fixedPorts(*s, *svc) {
				if asked[p.First] {
					m[p.number()] = append(m[p.number()], portWish{*s, svc.Name, p})
				}
			}
		}
	}
	return m
}

// fixedPorts are the single ports that a service of a stack has as soon as it has a
// container: none if that has done its work, and does not do it again.
func (b *builder) fixedPorts(s Stack, svc Service) []Port {
	if svc.Scale == 0 || b.rests(s, svc) {
		return nil
	}
	var fixed []Port
	for _, p := range svc.Ports {
		if p.First == p.Last {
			fixed = append(fixed, p)
		}
	}
	return fixed
}

// rests says whether the containers of a service have done its work, and are what is
// wanted.
func (b *builder) rests(s Stack, svc Service) bool {
	of := 0
	for _, c := range b.of(s).Containers {
		if c.Service != svc.Name || c.OneOff {
			continue
		}
		if of++; !svc.Finished(c) || !svc.Made(c) {
			return false
		}
	}
	return of > 0
}

// number is a single port without the address that it is bound to.
func (p Port) number() string { return strconv.Itoa(int(p.First)) + "/" + p.Protocol }

// meets says whether two ports can't be held at the same time.
func (p Port) meets(other Port) bool {
	return p.Protocol == other.Protocol && p.First <= other.Last && other.First <= p.Last && (p.IP == "" || other.IP == "" || p.IP == other.IP)
}

// portless says why a service of a stack can't have a port that it wants.
func (b *builder) portless(s Stack, wants map[string][]portWish) string {
	for _, svc := range s.Services {
		for _, p := range b.fixedPorts(s, svc) {
			if b.holds(s.Name, p) {
				continue // whatever service of it does
			}
			said := fmt.Sprintf("service %s wants port %s of the host", svc.Name, p.number())
			for _, other := range wants[p.number()] {
				switch {
				case other.stack.File == s.File || !p.meets(other.port):
				case b.holds(other.stack.Name, p):
					return fmt.Sprintf("%s, which service %s of %s (%s) has", said, other.service, other.stack.Name, other.stack.File)
				default:
					return fmt.Sprintf("%s, and so does service %s of %s (%s)", said, other.service, other.stack.Name, other.stack.File)
				}
			}
			if why := b.takenPort(s, p); why != "" {
				return said + why
			}
		}
	}
	return ""
}

// holds says whether a container of a project of ours has a port now.
func (b *builder) holds(project string, p Port) bool {
	r := b.running.at(project)
	return r.Ours && !b.displaced[project] && slices.ContainsFunc(r.Containers, func(c Container) bool { return hasPort(c, p) })
}

func hasPort(c Container, p Port) bool {
	return slices.ContainsFunc(c.Ports, p.meets)
}

// takenPort says which container has a port that nobody takes from it.
func (b *builder) takenPort(s Stack, p Port) string {
	for _, r := range b.state.Observed.Running {
		if r.Project == s.Name || r.Ours && !b.ignores(r) {
			continue
		}
		for _, c := range r.Containers {
			switch {
			case !hasPort(c, p):
			case r.Ours:
				return fmt.Sprintf(", which service %s of %s has, which is ignored (gitops.ignore=true)", c.Service, r.Project)
			default:
				return fmt.Sprintf(", which a container of project %s has that does not come from this repository (%s)", r.Project, origin(r))
			}
		}
	}
	for _, c := range b.state.Observed.Others {
		if hasPort(c, p) {
			return fmt.Sprintf(", which container %s has that belongs to no stack", c.Name)
		}
	}
	return ""
}
