package plan

import (
	"maps"
	"slices"
)

// OrdersFor decides what an Up does to what runs of a stack, beyond what Compose
// sees by itself: Compose compares configurations, images and, of containers that run
// by then, networks. only are the services that the Up concerns; nil for all.
// Nothing of the service that the daemon itself runs as is ever in an order.
//
//	of a service                                   order
//	------------                                   -----
//	is to start before the old one stops, and can  beside
//	was made from another configuration            recreate
//	has another name than container_name: says     recreate
//	is on a network that is gone, or not on one
//	of its networks                                recreate
//	is on a network that is made anew              recreate
//	follows a younger container                    recreate
//	joins a container that was replaced            recreate
//	was made by a release whose marks were in
//	Compose's hash, from what is wanted            former
//	runs once, and runs or has ended with 0        done
//	shares a namespace of one that is started,
//	and is not recreated itself                    halt
//
// Containers that have done their work are not recreated for a network.
// Orphans and networks concern the stack as a whole, whatever only says: nobody
// else sees to them.
func OrdersFor(s Stack, r Running, o Observed, only []string) Orders {
	d := decider{stack: s, observed: o, running: map[string][]Container{}, anew: redefined(s, r)}
	own := ""
	for _, c := range r.Containers {
		if c.Self {
			own = c.Service
		}
		if !c.OneOff {
			d.running[c.Service] = append(d.running[c.Service], c)
		}
	}
	for name, of := range d.running {
		d.running[name] = slices.DeleteFunc(slices.Clone(of), func(c Container) bool { return cleared(c, of) })
	}
	for _, svc := range s.Services {
		if svc.Name != own && (only == nil || slices.Contains(only, svc.Name)) {
			d.concerned = append(d.concerned, svc)
		}
	}
	orders := Orders{Networks: d.anew, Volumes: relabelled(s, r), Orphans: orphans(s, d.running, own), Spare: spare(s, r, o)}
	for _, svc := range d.concerned {
		switch {
		case d.beside(svc):
			orders.Beside = append(orders.Beside, svc.Name)
		case d.stale(svc):
			orders.Recreate = append(orders.Recreate, svc.Name)
		}
	}
	replaced := d.replaced(orders.Recreate)
	started := func(name string) bool { return replaced[name] || d.started(name) }
	for _, svc := range d.concerned {
		if replaced[svc.Name] || slices.Contains(orders.Beside, svc.Name) {
			continue
		}
		if d.former(svc) {
			orders.Former = append(orders.Former, svc.Name)
		}
		if d.done(svc) {
			orders.Done = append(orders.Done, svc.Name)
		}
		if slices.ContainsFunc(svc.Shares, started) && slices.ContainsFunc(d.running[svc.Name], runs) {
			orders.Halt = append(orders.Halt, svc.Name)
		}
	}
	return orders
}

// decider is what one call of OrdersFor goes by.
type decider struct {
	stack    Stack
	observed Observed
	// running are the containers by service, without those that are cleared.
	running map[string][]Container
	// concerned are the services that the Up is about.
	concerned []Service
	// anew are the networks that are made anew.
	anew []string
}

// cleared says whether a container is removed before an Up begins, as what a
// replacement or the engine left half-way.
func cleared(c Container, of []Container) bool {
	return c.State == "dead" || c.Replacing && slices.ContainsFunc(of, func(other Container) bool { return !other.Replacing && other.Number == c.Number })
}

// runs says whether a container is not to be started by an Up; a paused one goes
// on before it.
func runs(c Container) bool { return c.State == "running" || c.State == "paused" }

// Finished says whether a container of the service has done its work.
func (s Service) Finished(c Container) bool {
	return s.Completes && c.State == "exited" && c.ExitCode == 0
}

// redefined are the networks that run with another definition than is wanted.
func redefined(s Stack, r Running) []string {
	var out []string
	for _, n := range s.Networks {
		if have, ok := find(r.Networks, n.Name); ok && have.differs(n) {
			out = append(out, n.Name)
		}
	}
	slices.Sort(out)
	return out
}

// orphans are the services with containers that the stack does not have.
func orphans(s Stack, running map[string][]Container, own string) []string {
	var out []string
	for _, name := range sortedKeys(running) {
		known := slices.Contains(s.Disabled, name) || slices.ContainsFunc(s.Services, func(svc Service) bool { return svc.Name == name })
		if !known && (own == "" || name != own) && len(running[name]) > 0 {
			out = append(out, name)
		}
	}
	return out
}

// spare are networks that we made for the stack, that it does not have any more
// and that no other project's containers are on.
func spare(s Stack, r Running, o Observed) []string {
	var out []string
	for _, n := range r.Networks {
		_, wanted := find(s.Networks, n.Name)
		if n.Labelled && !wanted && !slices.Contains(s.Requires, Requirement{Kind: "network", Name: n.Name}) && !usedBesides(r.Project, n.Name, o) {
			out = append(out, n.Name)
		}
	}
	slices.Sort(out)
	return out
}

func usedBesides(project, network string, o Observed) bool {
	return slices.ContainsFunc(o.Running, func(r Running) bool {
		return r.Project != project && slices.ContainsFunc(r.Containers, func(c Container) bool { _, on := c.Networks[network]; return on })
	})
}

// stale says whether containers of a service have to be replaced although
// Compose may not see it.
func (d decider) stale(svc Service) bool {
	return slices.ContainsFunc(d.running[svc.Name], func(c Container) bool {
		return !svc.Made(c) || misnamed(svc, c) || formerLeader(svc, c, d.observed) != "" || !svc.Finished(c) && (d.onAnew(c) || d.cutOff(svc, c)) || youngerLeader(svc, c, d.running) != ""
	})
}

// beside says whether containers of a service may be replaced by others that start
// first: if one runs and is otherwise as it should be. What an image has in volumes
// without a name, a container that starts beside it would not have.
func (d decider) beside(svc Service) bool {
	of := d.running[svc.Name]
	if !svc.StartFirst || !slices.ContainsFunc(of, runs) || !d.mayDiffer(svc) {
		return false
	}
	if slices.ContainsFunc(d.stack.Services, func(other Service) bool { return slices.Contains(other.Follows, svc.Name) }) {
		return false
	}
	if slices.ContainsFunc(of, func(c Container) bool { return d.givesUp(svc, c) }) {
		return false
	}
	return !slices.ContainsFunc(of, func(c Container) bool {
		anonymous := slices.ContainsFunc(c.Mounts, func(m Mount) bool { return m.Type == MountAnonymous })
		return anonymous || d.onAnew(c) || c.Replacing || formerLeader(svc, c, d.observed) != "" || runs(c) && offNetwork(svc, c, d.observed) != "" || !runs(c) && d.cutOff(svc, c)
	})
}

// givesUp says whether a container has what its service no longer wants and another one
// of the stack does, which would start while it still has that.
func (d decider) givesUp(svc Service, c Container) bool {
	wants := keysOf(svc)
	return slices.ContainsFunc(keysOf(Service{ContainerName: c.Name, Ports: c.Ports, Mounts: c.Mounts}), func(k key) bool {
		return !slices.Contains(wants, k) && slices.ContainsFunc(d.stack.Services, func(other Service) bool {
			return other.Name != svc.Name && slices.Contains(keysOf(other), k)
		})
	})
}

// mayDiffer says whether containers of a service are not what is wanted, or may not be
// once images have come.
func (d decider) mayDiffer(svc Service) bool {
	image := d.observed.Images[svc.Image]
	return HasMoved(svc, d.observed) || svc.Pull == PullAlways || svc.Pull == PullBuild || slices.ContainsFunc(d.running[svc.Name], func(c Container) bool {
		return !svc.Made(c) || image != "" && c.Image != "" && c.Image != image
	})
}

// cutOff says whether a container is bound to a network that is gone: it can't
// be started. Or it is not on one of its networks, which engine 29 takes from a
// container that it can't start (a port is in use): started again, it would run
// without that network and without its ports.
func (d decider) cutOff(svc Service, c Container) bool {
	if offNetwork(svc, c, d.observed) != "" {
		return true
	}
	there := slices.Collect(maps.Values(d.observed.Networks))
	for _, id := range c.Networks {
		if id != "" && !slices.Contains(there, id) {
			return true
		}
	}
	return false
}

func (d decider) onAnew(c Container) bool {
	return slices.ContainsFunc(d.anew, func(n string) bool { _, on := c.Networks[n]; return on })
}

// replaced are the services whose containers will be replaced, by order or
// because Compose sees a difference, and all that follow them.
func (d decider) replaced(recreate []string) map[string]bool {
	out := map[string]bool{}
	for _, name := range recreate {
		out[name] = true
	}
	for again := true; again; {
		again = false
		for _, svc := range d.concerned {
			if !out[svc.Name] && (d.differs(svc) || slices.ContainsFunc(svc.Follows, func(name string) bool { return out[name] })) {
				out[svc.Name], again = true, true
			}
		}
	}
	return out
}

// differs says whether Compose replaces a container for what it sees itself.
func (d decider) differs(svc Service) bool {
	image := d.observed.Images[svc.Image]
	return slices.ContainsFunc(d.running[svc.Name], func(c Container) bool {
		return image != "" && c.Image != "" && c.Image != image
	})
}

// started says whether a container of a service is to be started.
func (d decider) started(name string) bool {
	i := slices.IndexFunc(d.concerned, func(svc Service) bool { return svc.Name == name })
	if i < 0 {
		return false
	}
	svc, of := d.concerned[i], d.running[name]
	return len(of) < svc.Scale || !d.done(svc) && slices.ContainsFunc(of, func(c Container) bool { return !runs(c) })
}

// former says whether the containers of a service were made by a release whose
// marks were in Compose's hash. Of some that were and some that were not, Compose
// replaces those that were.
func (d decider) former(svc Service) bool {
	of := d.running[svc.Name]
	return len(of) > 0 && !slices.ContainsFunc(of, func(c Container) bool { return !c.Former })
}

// done says whether a service is not started again once it has done its work.
// One that still runs may have done it before the Up comes to it.
func (d decider) done(svc Service) bool {
	of := d.running[svc.Name]
	return svc.Completes && len(of) > 0 && !slices.ContainsFunc(of, func(c Container) bool { return !runs(c) && !svc.Finished(c) })
}
