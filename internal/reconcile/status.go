package reconcile

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// picture is the state of every stack now, in the order of their names. It is
// never nil: no stack is a picture too. It is shared, and never changed.
func (l *ledger) picture() []report.Stack {
	if l.drawn != nil {
		return l.drawn
	}
	out := make([]report.Stack, 0, len(l.stacks))
	for _, s := range l.stacks {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b report.Stack) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.File, b.File))
	})
	l.drawn = out
	return out
}

// statuses gives the state of every stack as a plan views it: of the wanted
// ones, and of removed ones that could not be stopped yet.
func (l *ledger) statuses(v view) map[string]report.Stack {
	refs := digests(v.state.Observed)
	ops := map[plan.ID]plan.Op{}
	for _, op := range v.plan.Ops {
		ops[op.ID] = op
	}
	out := map[string]report.Stack{}
	for _, w := range v.plan.Views {
		var s report.Stack
		switch {
		case w.Wanted != nil:
			s = l.status(w, ops, refs)
		case w.Held != nil:
			s = l.removedStatus(w)
		default:
			continue // it is about to go
		}
		l.fill(&s)
		out[key(w.Name, w.File)] = s
	}
	return out
}

// removedStatus is the state of a project that git no longer has.
func (l *ledger) removedStatus(w plan.View) report.Stack {
	s := report.Stack{
		Name: w.Name, File: w.File, Mode: string(plan.Managed), Status: report.Failed,
		Sync: report.Deferred, Held: string(w.Held.Reason), Reason: w.Held.Detail,
	}
	switch w.Held.Reason {
	case plan.HeldBusy:
		s.Sync, s.Held = report.Applying, ""
		if before, ok := l.stacks[key(w.Name, w.File)]; ok {
			s.Status = before.Status
		}
	case plan.HeldRetry:
		s.Sync = report.Waiting
	case plan.HeldWindow:
		s.Status = report.Running
	case plan.HeldSuspended:
		s.Status = report.Running
		s.Suspended = l.suspension(w.Name)
	case plan.HeldNeeds: // it goes on, and nothing is wrong with it
		s.Status = report.Running
	case plan.HeldController:
		s.Mode, s.Status = string(plan.Controller), report.Running
	}
	return s
}

// status of one wanted stack. The hold decides where there is one, else what
// runs.
func (l *ledger) status(w plan.View, ops map[plan.ID]plan.Op, refs map[string][]string) report.Stack {
	s := report.Stack{
		Name: w.Name, File: w.File, Mode: string(w.Wanted.Mode), Services: services(*w.Wanted, w.Running, refs),
		Edited: w.Wanted.Edited, Warnings: w.Wanted.Warnings,
	}
	for _, d := range w.Differences {
		s.Differences = append(s.Differences, d.Text)
	}
	before, known := l.stacks[key(w.Name, w.File)]
	asItRuns := func() {
		s.Status = report.Running
		switch {
		case w.Settled() && w.Wanted.Idle():
			s.Status, s.Reason = report.Idle, "no service is active, see its profiles: "+strings.Join(w.Wanted.Profiles, ", ")
		case !w.Settled():
			s.Status, s.Reason = report.Failed, strings.Join(slices.Concat(slices.Compact(slices.Clone(s.Differences)), w.Problems), ", ")
		case w.Starting: // until its healthchecks speak, it is what it was
			s.Reason = "not healthy yet"
			if known && before.Status == report.Failed {
				s.Status = report.Failed
			}
		}
	}
	var held plan.Held
	if w.Held != nil {
		held = *w.Held
		s.Held = string(held.Reason)
	}
	op, comes := nextOf(w, ops)
	switch {
	case held.Reason == plan.HeldInvalid:
		s.Status, s.Sync, s.Reason = report.Invalid, report.Deferred, held.Detail
	case w.Wanted.Mode == plan.Ignored:
		s.Status, s.Sync = report.Ignored, report.Unknown
	case held.Reason == plan.HeldBusy:
		asItRuns()
		s.Sync, s.Held = report.Applying, ""
		if known {
			s.Status, s.Sync, s.Reason = before.Status, before.Sync, before.Reason
		}
	case held.Reason == plan.HeldController:
		asItRuns()
		s.Sync, s.Reason = report.Deferred, held.Detail
		if hasRunning(w.Running) {
			s.Status = report.Running
		}
	case held.Reason == plan.HeldSuspended, held.Reason == plan.HeldWindow: // an update that waits is nothing wrong
		asItRuns()
		if s.Status == report.Failed && (!w.Broken() || held.Reason == plan.HeldWindow) {
			s.Status = report.Running
		}
		s.Sync, s.Reason = report.Deferred, held.Detail
		if held.Reason == plan.HeldSuspended {
			s.Suspended = l.suspension(w.Name)
		}
	case held.Reason == plan.HeldAge: // nothing is wrong with what runs
		asItRuns()
		s.Sync, s.Reason = report.Deferred, cmp.Or(s.Reason, held.Detail)
	case held.Reason == plan.HeldRetry:
		s.Status, s.Sync, s.Reason = report.Failed, report.Waiting, held.Detail
	case held.Reason != "":
		s.Status, s.Sync, s.Reason = report.Failed, report.Deferred, held.Detail
	case comes:
		asItRuns()
		if s.Status == report.Failed && !w.Broken() {
			s.Status = report.Running
		}
		s.Sync, s.Reason = report.Applying, op.Cause.String()
	default:
		asItRuns()
		s.Sync = report.Synced
	}
	return s
}

// nextOf is the operation that a stack waits for: its Up, or else its hand-over.
func nextOf(w plan.View, ops map[plan.ID]plan.Op) (op plan.Op, comes bool) {
	for _, id := range w.Next {
		if o := ops[id]; o.Kind == plan.Up || o.Kind == plan.HandOver && op.ID == "" {
			op, comes = o, true
		}
	}
	return op, comes
}

func hasRunning(run plan.Running) bool {
	return slices.ContainsFunc(run.Containers, func(c plan.Container) bool { return c.State == "running" })
}

// fill takes what is remembered into a status.
func (l *ledger) fill(s *report.Stack) {
	e := l.journal.peek(s.Name)
	s.Error, s.Commit, s.Attempted = e.Error, e.Commit, e.Attempted
	s.LastSuccess, s.NextRetry = e.LastSuccess, time.Time{}
	if s.Error == "" {
		s.Error = e.Own.Error
	}
	s.Detail = ""
	if s.Error != "" {
		s.Detail = l.details[s.Name] // the journal has none
	}
	for _, at := range []time.Time{e.RetryAt, e.Own.RetryAt} {
		if at.After(time.Now()) && (s.NextRetry.IsZero() || at.Before(s.NextRetry)) {
			s.NextRetry = at
		}
	}
	s.Outcomes = slices.Clone(e.Outcomes)
}

// services lists a stack's services with what runs of each.
func services(w plan.Stack, run plan.Running, digests map[string][]string) []report.Service {
	out := make([]report.Service, 0, len(w.Services))
	for _, svc := range w.Services {
		s := report.Service{Name: svc.Name, Image: svc.Image, State: "missing"}
		for _, c := range run.Containers {
			if c.Service != svc.Name || c.OneOff {
				continue
			}
			s.State, s.Health, s.Digest, s.Since, s.Said = c.State, c.Health, c.Image, c.Since, c.Said
			s.RepoDigest = digestOf(svc.Image, digests[c.Image])
			if c.State != "running" || c.Health == "unhealthy" {
				break // the worst of several is shown
			}
		}
		out = append(out, s)
	}
	return out
}

// digests lists the names with a digest of the local images, by id.
func digests(o plan.Observed) map[string][]string {
	m := map[string][]string{}
	for ref, id := range o.Images {
		if strings.Contains(ref, "@") {
			m[id] = append(m[id], ref)
		}
	}
	return m
}

// digestOf finds the digest that an image has in its own registry.
func digestOf(image string, refs []string) string {
	for _, ref := range refs {
		if name, digest, _ := strings.Cut(ref, "@"); name == plan.Repository(image) {
			return digest
		}
	}
	return ""
}
