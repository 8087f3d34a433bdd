package plan

import (
	"fmt"
	"slices"
)

// own decides about the daemon's own stack, which differs. The container that
// the daemon runs in is never touched by an Up: it is replaced by a hand-over,
// after everything else. The first row that fits decides:
//
//	the stack                                   what happens
//	---------                                   ------------
//	only carries the label: the daemon does
//	not run in a container of it                hold: controller
//	has no service any more that is the
//	daemon's, or wants several of it            hold: controller
//	has another container of that service       hold: controller
//	redefines a network that the daemon is on   hold: controller
//	changes or strands a volume                 hold: data
//	differs in other services                   up, of those, as any stack
//
// and then, for the daemon's own service:
//
//	the service                                 what happens
//	-----------                                 ------------
//	does not differ                             nothing
//	failed with this version for good           hold: version
//	failed with this version, pause not over    hold: retry
//	only drifted, healing is off                hold: drift
//	needs what is not there, of a stack that
//	does not come up in this plan               hold: needs
//	otherwise                                   pull (if the image lacks), hand over
//
// The daemon's service is the one that its container was made for; if the
// stack does not have that any more, the one that carries gitops.controller.
func (b *builder) own(s Stack, r Running, rec Record, diffs []Difference) {
	i := slices.IndexFunc(r.Containers, func(c Container) bool { return c.Self })
	if i < 0 {
		b.hold(s, HeldController, "it carries gitops.controller=true, and the daemon does not run in a container of it; take the label off, or apply the change by hand: docker compose up -d")
		return
	}
	self := r.Containers[i]
	svc, why := ownService(s, self)
	if why == "" {
		why = beside(r, svc, self)
	}
	if why == "" {
		why = underfoot(s, r, self)
	}
	if why != "" {
		b.hold(s, HeldController, why)
		return
	}
	if detail := redefines(s, r); detail != "" {
		b.hold(s, HeldDataLoss, detail)
		return
	}
	if reason, detail := b.endangers(s, r); detail != "" {
		b.hold(s, reason, detail)
		return
	}
	others := []string{} // nil would mean all
	for _, v := range s.Services {
		if v.Name != svc.Name && v.Name != self.Service {
			others = append(others, v.Name)
		}
	}
	var mine, rest []Difference
	for _, d := range diffs {
		if d.Service == svc.Name || d.Service == self.Service || d.Service == "" && len(others) == 0 {
			mine = append(mine, d)
		} else {
			rest = append(rest, d)
		}
	}
	b.update(s, r, rec, rest, others)
	var cause Why
	if up, comes := b.up[s.Name]; comes && len(mine) == 0 { // then it is as much of a change as that is
		for _, d := range rest {
			if slices.Contains(svc.Follows, d.Service) {
				cause, mine = up.Cause.Why, []Difference{{Service: svc.Name, Text: svc.Name + " follows " + d.Service + ", which is brought up"}}
			}
		}
	}
	if len(mine) > 0 {
		b.handOver(s, svc, rec.Own, cause, mine)
	}
}

// ownService finds the service that the daemon's next container is made for.
func ownService(s Stack, self Container) (Service, string) {
	var labelled []Service
	found := Service{}
	for _, v := range s.Services {
		if v.Name == self.Service {
			found = v
		}
		if v.Own {
			labelled = append(labelled, v)
		}
	}
	if found.Name == "" && len(labelled) == 1 {
		found = labelled[0]
	}
	switch {
	case found.Name == "":
		return found, fmt.Sprintf("service %s, which the daemon runs as, is not in it any more; put it back, or set gitops.controller=true on the one service that takes its place", self.Service)
	case found.Scale != 1:
		return found, fmt.Sprintf("service %s, which the daemon runs as, is to have %d containers, and can only have 1", found.Name, found.Scale)
	default:
		return found, ""
	}
}

// beside finds another container of the daemon's service, as of somebody who
// scaled it: it may be a second daemon, and only one of them can be handed over.
func beside(r Running, svc Service, self Container) string {
	for _, c := range r.Containers {
		if c.Service == svc.Name && !c.Self && !c.OneOff {
			return fmt.Sprintf("service %s has another container, %s, beside the daemon's, %s; remove it: docker rm -f %s", svc.Name, c.Name, self.Name, c.Name)
		}
	}
	return ""
}

// underfoot finds a network that would have to be replaced while the daemon
// is on it.
func underfoot(s Stack, r Running, self Container) string {
	for _, n := range s.Networks {
		have, ok := find(r.Networks, n.Name)
		if _, on := self.Networks[n.Name]; ok && on && have.Hash != "" && n.Hash != "" && have.Hash != n.Hash {
			return fmt.Sprintf("the definition of network %s changed, which the daemon itself is on; give the network another name, or apply the change by hand: docker compose up -d", n.Name)
		}
	}
	return ""
}

// handOver plans the hand-over of the daemon's service, or holds it. why is what
// the cause is, if that is known already.
func (b *builder) handOver(s Stack, svc Service, own Own, why Why, diffs []Difference) {
	version := svc.Version(b.state.Observed)
	config := slices.ContainsFunc(diffs, func(d Difference) bool { return d.Config })
	switch moved := slices.ContainsFunc(diffs, func(d Difference) bool { return d.Moved }); {
	case why != "":
	case moved: // be it by hand, of which the version says nothing
		why = Changed
	case own.Applied == version, own.Applied == "" && !config:
		why = Drifted
	default:
		why = Changed
	}
	cause := Cause{Why: why, Detail: texts(diffs)}
	if why == Changed {
		cause.Changes = b.changes(s, diffs)
	}
	switch {
	case own.Failed == version && own.RetryAt.IsZero():
		b.hold(s, HeldVersion, "handing over to this version failed, and is not tried again until git changes: "+own.Error)
	case own.Failed == version && b.state.Now.Before(own.RetryAt):
		b.hold(s, HeldRetry, own.Error)
	case cause.Why == Drifted && !b.policy.Heal && own.Failed == "" && !b.state.Repair[s.Name]:
		b.holdDrift(s, cause)
	case b.gated(s, b.state.Memory[s.Name], cause) != "":
		b.hold(s, HeldWindow, b.gated(s, b.state.Memory[s.Name], cause))
	case b.state.Offline != "":
		b.hold(s, HeldOffline, "the hand-over to the other version waits until the remote can be asked again: "+b.state.Offline)
	case len(b.state.Busy) > 0:
		b.hold(s, HeldBusy, "the hand-over waits until no other operation runs")
	default:
		b.over = &Op{Kind: HandOver, Stack: s.Name, File: s.File, Cause: cause, Services: []string{svc.Name}, Version: version}
	}
}
