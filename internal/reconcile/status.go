package reconcile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// statuses gives the state of every stack as a look sees it.
func (r *Reconciler) statuses(c *check) []report.Stack {
	running := map[string]plan.Running{}
	for _, run := range c.view.observed.Running {
		running[run.Project] = run
	}
	held := map[string]plan.Held{}
	for _, h := range c.view.plan.Held {
		held[h.File] = h
	}
	ops := map[string]plan.Op{}
	for _, op := range c.view.plan.Ops {
		if op.Kind == plan.Up {
			ops[op.Stack] = op
		}
	}
	var out []report.Stack
	for _, w := range c.view.wanted {
		out = append(out, r.status(c, w, running[w.Name], held[w.File], ops[w.Name]))
	}
	for _, h := range c.view.plan.Held {
		if !slices.ContainsFunc(out, func(s report.Stack) bool { return s.File == h.File }) && h.Stack != "" {
			out = append(out, report.Stack{
				Name: h.Stack, File: h.File, Mode: string(plan.Managed), Status: report.Failed,
				Sync: report.Deferred, Held: string(h.Reason), Reason: h.Detail,
			})
		}
	}
	slices.SortFunc(out, func(a, b report.Stack) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.File, b.File))
	})
	return out
}

// status of one wanted stack. The hold decides where there is one, else what
// runs.
func (r *Reconciler) status(c *check, w plan.Stack, run plan.Running, h plan.Held, op plan.Op) report.Stack {
	s := report.Stack{Name: w.Name, File: w.File, Mode: string(w.Mode), Services: services(w, run)}
	fill(&s, r.journal.peek(w.Name))
	problems, _ := plan.Settled(w, run, c.view.observed)
	asItRuns := func() {
		s.Status = report.Running
		if len(problems) > 0 {
			s.Status, s.Reason = report.Failed, strings.Join(problems, ", ")
		}
	}
	s.Held = string(h.Reason)
	switch {
	case h.Reason == plan.HeldInvalid:
		s.Status, s.Sync, s.Reason = report.Invalid, report.Deferred, h.Detail
	case w.Mode == plan.Ignored:
		s.Status, s.Sync = report.Ignored, report.Unknown
	case h.Reason == plan.HeldBusy:
		s.Held = ""
		if before, ok := r.stacks[w.File]; ok {
			s.Status, s.Sync, s.Reason = before.Status, before.Sync, before.Reason
		} else {
			asItRuns()
		}
	case h.Reason == plan.HeldController:
		asItRuns()
		s.Sync, s.Reason = report.Deferred, h.Detail
		if hasRunning(run) {
			s.Status = report.Running
		}
	case h.Reason == plan.HeldRetry:
		s.Status, s.Sync, s.Reason = report.Failed, report.Waiting, h.Detail
	case h.Reason != "":
		s.Status, s.Sync, s.Reason = report.Failed, report.Deferred, h.Detail
	case op.Kind != "":
		asItRuns()
		s.Sync, s.Reason = report.Applying, op.Cause.String()
	default:
		asItRuns()
		s.Sync = report.Synced
	}
	return s
}

func hasRunning(run plan.Running) bool {
	return slices.ContainsFunc(run.Containers, func(c plan.Container) bool { return c.State == "running" })
}

// fill takes what is remembered into a status.
func fill(s *report.Stack, e entry) {
	s.Error, s.Commit, s.Attempted = e.Error, e.Commit, e.Attempted
	s.LastSuccess, s.NextRetry = e.LastSuccess, e.RetryAt
	s.Outcomes = slices.Clone(e.Outcomes)
}

// services lists a stack's services with what runs of each.
func services(w plan.Stack, run plan.Running) []report.Service {
	out := make([]report.Service, 0, len(w.Services))
	for _, svc := range w.Services {
		s := report.Service{Name: svc.Name, Image: svc.Image, State: "missing"}
		for _, c := range run.Containers {
			if c.Service != svc.Name || c.OneOff {
				continue
			}
			s.State, s.Health, s.Digest, s.Since = c.State, c.Health, c.Image, c.Since
			if c.State != "running" || c.Health == "unhealthy" {
				break // the worst of several is shown
			}
		}
		out = append(out, s)
	}
	return out
}
