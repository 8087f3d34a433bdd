package plan

import (
	"slices"
	"strings"
)

// This file is about services that live in the namespace of a container of another
// stack, as behind a VPN: network_mode: container:vpn, also ipc: and pid:. What they
// are bound to is the one container, and not its name: when it is replaced, they go
// on without a network, and can't be started again.

// shortest is how many digits of a container's id stand for it at least.
const shortest = 12

// container finds a container by its name, or its id.
func (o Observed) container(name string) (Container, bool) {
	is := func(c Container) bool {
		return c.Name == name || len(name) >= shortest && strings.HasPrefix(c.ID, name)
	}
	for _, r := range o.Running {
		if i := slices.IndexFunc(r.Containers, is); i >= 0 {
			return r.Containers[i], true
		}
	}
	if i := slices.IndexFunc(o.Others, is); i >= 0 {
		return o.Others[i], true
	}
	return Container{}, false
}

// formerLeader finds a container that a service's joins and that is another one
// now than when c was made. Which container's network c lives in the engine tells;
// of the rest it only tells when they were made, in whole seconds.
func formerLeader(svc Service, c Container, o Observed) string {
	for _, name := range svc.Joins {
		leader, there := o.container(name)
		switch {
		case name == svc.NetworkFrom && c.SharesNetworkOf != "" && c.SharesNetworkOf != name:
			if leader.ID != c.SharesNetworkOf {
				return name
			}
		case there && leader.Created.After(c.Created):
			return name
		}
	}
	return ""
}

// follow brings services up again that join a container of another stack which is
// replaced or started in this plan. They are made anew after it. Who is held, or
// differs by it at the next look, is left alone.
func (b *builder) follow() {
	for again := true; again; {
		again = false
		for _, s := range b.state.Wanted {
			for _, svc := range s.Services {
				owner, leader := b.leaderOf(s, svc)
				if owner == "" || !b.mayFollow(s, svc) {
					continue
				}
				b.bringAlong(s, svc, owner, leader)
				again = true
			}
		}
	}
}

// leaderOf finds the stack, and the container of it, that a service joins and that
// is replaced or started.
func (b *builder) leaderOf(s Stack, svc Service) (owner, leader string) {
	for _, name := range svc.Joins {
		p, ok := b.providers()[Requirement{Kind: "container", Name: name}]
		if !ok || p.Name == s.Name || !b.comesUp(p) {
			continue
		}
		i := slices.IndexFunc(p.Services, func(v Service) bool { return slices.Contains(namesOf(p, v, Running{}), name) })
		if b.isTouched(p, p.Services[i], map[string]bool{}) {
			return p.Name, name
		}
	}
	return "", ""
}

// isTouched says whether the containers of a service of a stack that comes up are
// made, replaced or started: they differ, or follow such, or are to be replaced.
func (b *builder) isTouched(s Stack, svc Service, seen map[string]bool) bool {
	op := b.up[s.Name]
	if seen[svc.Name] || op.Services != nil && !slices.Contains(op.Services, svc.Name) {
		return false
	}
	seen[svc.Name] = true
	differs := slices.ContainsFunc(b.differences(s), func(d Difference) bool { return d.Service == svc.Name })
	return op.Fresh || differs || slices.Contains(op.Orders.Recreate, svc.Name) || slices.Contains(op.Orders.Halt, svc.Name) ||
		slices.ContainsFunc(s.Services, func(v Service) bool { return slices.Contains(svc.Follows, v.Name) && b.isTouched(s, v, seen) })
}

// mayFollow says whether a service is there to be made anew, and is not yet to be.
func (b *builder) mayFollow(s Stack, svc Service) bool {
	r := b.of(s)
	op, comes := b.up[s.Name]
	switch {
	case s.Invalid != "" || s.Mode != Managed || r.Controller || b.held[s.File].Reason != "" || b.state.Busy[s.Name]:
		return false
	case comes && (op.Fresh || slices.Contains(op.Orders.Recreate, svc.Name)):
		return false
	default:
		return slices.ContainsFunc(r.Containers, func(c Container) bool { return c.Service == svc.Name && !c.OneOff && !svc.Finished(c) })
	}
}

func (b *builder) bringAlong(s Stack, svc Service, owner, leader string) {
	op, comes := b.up[s.Name]
	if !comes {
		cause := Cause{Why: b.up[owner].Cause.Why, Detail: svc.Name + " follows " + leader + " of " + owner + ", which is brought up"}
		op = Op{Kind: Up, Stack: s.Name, File: s.File, Cause: cause, Orders: OrdersFor(s, b.of(s), b.state.Observed, nil)}
	}
	if had, there := b.state.Observed.container(leader); there && !runs(had) {
		// It may be the same one that is started, which nobody could tell afterwards if
		// what follows were cut off.
		b.room(s.Name, op.Cause, []string{svc.Name}, false)
		b.depend(owner, dep{project: s.Name, room: true, services: []string{svc.Name}, what: "container " + leader, images: true})
	}
	op.Orders.Recreate = union(op.Orders.Recreate, []string{svc.Name})
	op.Orders.Halt = slices.DeleteFunc(slices.Clone(op.Orders.Halt), func(name string) bool { return name == svc.Name })
	b.up[s.Name] = op
}
