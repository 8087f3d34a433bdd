package plan

import (
	"fmt"
	"slices"
	"strings"
)

// shareNetworks sees to networks whose definition changed and on which others
// than the stack's own containers are. The network can only be made anew when
// nobody is on it:
//
//	who else is on it                           what happens
//	-----------------                           ------------
//	nobody                                      up, which makes it anew
//	only stacks that are stopped in this plan   stop them, up
//	managed stacks that are not held            stop their services on it, up, and
//	                                            bring those services up again
//	anybody else                                hold: network, naming them
//
// The network may also be that of a project which is to go, or of which nothing
// but the network is left. One of a stack that does not have it any more is given
// up when that comes up; if it does not, the network is held. It is made anew by the
// stack that has it now, also if containers of that one are on it already.
func (b *builder) shareNetworks() {
	for _, name := range sortedKeys(b.up) {
		s := b.wanted.at(name)
		for _, n := range redefined(s, b.of(s)) {
			b.shareNetwork(s, n)
		}
		for _, r := range b.state.Observed.Running {
			owner := b.wanted.at(r.Project)
			for _, n := range redefined(s, r) {
				switch _, keeps := find(owner.Networks, n); {
				case b.isStopped(r.Project):
					b.shareNetwork(s, n)
					b.takeOver(s, n)
					b.depend(name, dep{project: r.Project, whole: true, what: "network " + n})
				case r.Project == s.Name && !b.displaced[s.Name]: // see above
				case keeps && !b.displaced[r.Project] && owner.Invalid == "":
					b.withdraw(name)
					b.hold(s, HeldNetwork, fmt.Sprintf("network %s is made by %s (%s), too, with another definition; declare it as external in one of the two, or give it another name",
						n, owner.Name, owner.File))
				case b.comesUp(owner) && !b.displaced[r.Project]: // which gives it up
					b.shareNetwork(s, n)
					b.takeOver(s, n)
					b.depend(name, dep{project: owner.Name, what: "network " + n})
				default:
					b.withdraw(name)
					b.hold(s, HeldNetwork, fmt.Sprintf("the definition of network %s changed, and it is still %s's%s; remove it (docker network rm %s), or give the network another name",
						n, r.Project, b.because(owner.File), n))
				}
			}
		}
	}
}

// takeOver lets a stack make a network anew that was another project's.
func (b *builder) takeOver(s Stack, network string) {
	if op, comes := b.up[s.Name]; comes { // else it was held
		op.Orders.Networks = union(op.Orders.Networks, []string{network})
		on := slices.DeleteFunc(on(b.of(s), network), func(name string) bool { return !has(s, name) })
		op.Orders.Recreate = union(op.Orders.Recreate, on)
		b.up[s.Name] = op
	}
}

// comesUp says whether a stack is brought up in this plan.
func (b *builder) comesUp(s Stack) bool {
	_, comes := b.up[s.Name]
	return comes
}

// leaveNetworks takes the stops back that could do nothing: what is left of the
// project are networks, and others are on them.
func (b *builder) leaveNetworks() (changed bool) {
	for _, project := range sortedKeys(b.stop) {
		r := b.running.at(project)
		if left := b.leaves(r); !hasContainers(r) && len(left) == len(r.Networks) {
			delete(b.stop, project)
			changed = true
		}
	}
	return changed
}

// leaves are the networks of a project that is stopped which others are on that
// are neither stopped nor taken off them.
func (b *builder) leaves(r Running) []string {
	var out []string
	for _, n := range r.Networks {
		if len(b.keepers(r, n.Name)) > 0 {
			out = append(out, n.Name)
		}
	}
	slices.Sort(out)
	return out
}

// keepers are who stays on a network of a project that is stopped.
func (b *builder) keepers(r Running, network string) []string {
	var out []string
	for _, other := range b.state.Observed.Running {
		if other.Project != r.Project && !b.isStopped(other.Project) && !subset(on(other, network), b.makeRoom[other.Project].Services) {
			out = append(out, other.Project)
		}
	}
	for _, name := range b.state.Observed.Strangers[network] {
		out = append(out, "container "+name)
	}
	slices.Sort(out)
	return out
}

// kept says of the networks that a stop leaves who uses them.
func (b *builder) kept(r Running, left []string) string {
	var out []string
	for _, network := range left {
		out = append(out, "network "+network+" is kept, used by "+strings.Join(b.keepers(r, network), ", "))
	}
	return strings.Join(out, "; ")
}

func subset(some, all []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

func (b *builder) shareNetwork(s Stack, network string) {
	users, others := b.usersOf(s, network)
	if len(others) > 0 {
		b.withdraw(s.Name)
		b.hold(s, HeldNetwork, fmt.Sprintf("the definition of network %s changed, and %s on it; take them off it, or give the network another name", network, listOthers(others)))
		return
	}
	for _, u := range users {
		r := b.running.at(u)
		b.depend(s.Name, dep{project: u, whole: b.isStopped(u), room: !b.isStopped(u), services: on(r, network), what: "network " + network, images: true})
		if b.isStopped(u) {
			continue
		}
		services := on(r, network)
		cause := Cause{Why: Changed, Detail: "network " + network + " of " + s.Name + " is made anew"}
		b.room(u, cause, services, false)
		up, comes := b.up[u]
		if !comes {
			up = Op{Kind: Up, Stack: u, File: b.wanted.at(u).File, Cause: cause, Orders: OrdersFor(b.wanted.at(u), r, b.state.Observed, nil)}
		}
		up.Orders.Recreate = union(up.Orders.Recreate, services)
		b.up[u] = up
	}
}

func (b *builder) isStopped(project string) bool {
	_, ok := b.stop[project]
	return ok
}

// usersOf tells who is on a network beside its stack: projects that can be
// taken off it, and others that can't, with the reason.
func (b *builder) usersOf(s Stack, network string) (users, others []string) {
	for _, r := range b.state.Observed.Running {
		if r.Project == s.Name || len(on(r, network)) == 0 {
			continue
		}
		u, wanted := b.wanted.find(r.Project)
		h := b.held[u.File]
		switch {
		case b.isStopped(r.Project):
			users = append(users, r.Project)
		case !r.Ours || !wanted:
			others = append(others, "project "+r.Project)
		case u.Invalid != "" || u.Mode != Managed || r.Controller:
			others = append(others, "stack "+r.Project)
		case h.Reason != "":
			others = append(others, fmt.Sprintf("stack %s (held: %s)", r.Project, h.Reason))
		default:
			users = append(users, r.Project)
		}
	}
	for _, name := range b.state.Observed.Strangers[network] {
		others = append(others, "container "+name)
	}
	return users, others
}

// on are the services of a project with containers on a network, and those
// that live in their network.
func on(r Running, network string) []string {
	var out []string
	ids := map[string]bool{}
	for _, c := range r.Containers {
		if _, ok := c.Networks[network]; ok {
			ids[c.ID] = true
			out = append(out, c.Service)
		}
	}
	for _, c := range r.Containers {
		if ids[c.SharesNetworkOf] {
			out = append(out, c.Service)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// keepNetworks takes back what was planned for the users of a network whose
// stack does not come up after all.
func (b *builder) keepNetworks() (changed bool) {
	for _, u := range sortedKeys(b.makeRoom) {
		waits := slices.ContainsFunc(sortedKeys(b.up), func(name string) bool {
			return slices.ContainsFunc(b.deps[name], func(d dep) bool { return d.project == u && d.room })
		})
		_, comes := b.up[u]
		if waits && comes {
			continue
		}
		delete(b.makeRoom, u)
		delete(b.up, u)
		delete(b.hooked, u)
		if s := b.wanted.at(u); !waits && comes { // what it has to do for itself remains
			b.update(s, b.of(s), b.state.Memory[u], b.differences(s), nil)
		}
		changed = true
	}
	return changed
}

func listOthers(others []string) string {
	slices.Sort(others)
	others = slices.Compact(others)
	if len(others) == 1 {
		return others[0] + " is"
	}
	return strings.Join(others[:len(others)-1], ", ") + " and " + others[len(others)-1] + " are"
}

func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}
