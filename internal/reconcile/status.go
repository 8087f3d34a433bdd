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
// never nil: no stack is a picture too.
func (r *Reconciler) picture() []report.Stack {
	out := make([]report.Stack, 0, len(r.stacks))
	for _, s := range r.stacks {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b report.Stack) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.File, b.File))
	})
	return out
}

// statuses gives the state of every stack as a look sees it: of the wanted
// ones, and of removed ones that could not be stopped yet.
func (r *Reconciler) statuses(c *check) []report.Stack {
	running := map[string]plan.Running{}
	for _, run := range c.view.observed.Running {
		running[run.Project] = run
	}
	held := map[string]plan.Held{}
	for _, h := range c.view.plan.Held {
		held[key(h.Stack, h.File)] = h
	}
	ops := map[string]plan.Op{}
	for _, op := range c.view.plan.Ops {
		if op.Kind == plan.Up || op.Kind == plan.HandOver && ops[op.Stack].Kind == "" {
			ops[op.Stack] = op
		}
	}
	c.starting = map[string]bool{}
	c.digests = digests(c.view.observed)
	var out []report.Stack
	for _, w := range c.view.wanted {
		k := key(w.Name, w.File)
		out = append(out, r.status(c, w, running[w.Name], held[k], ops[w.Name]))
		delete(held, k)
	}
	for _, h := range held {
		if h.Stack == "" {
			continue // it concerns the whole head
		}
		s := report.Stack{
			Name: h.Stack, File: h.File, Mode: string(plan.Managed), Status: report.Failed,
			Sync: report.Deferred, Held: string(h.Reason), Reason: h.Detail,
		}
		switch h.Reason {
		case plan.HeldBusy:
			s.Sync, s.Held = report.Applying, ""
			if before, ok := r.stacks[key(h.Stack, h.File)]; ok {
				s.Status = before.Status
			}
		case plan.HeldRetry:
			s.Sync = report.Waiting
		case plan.HeldController:
			s.Mode, s.Status = string(plan.Controller), report.Running
		}
		fill(&s, r.journal.peek(h.Stack))
		out = append(out, s)
	}
	return out
}

// status of one wanted stack. The hold decides where there is one, else what
// runs.
func (r *Reconciler) status(c *check, w plan.Stack, run plan.Running, h plan.Held, op plan.Op) report.Stack {
	s := report.Stack{Name: w.Name, File: w.File, Mode: string(w.Mode), Services: services(w, run, c.digests)}
	fill(&s, r.journal.peek(w.Name))
	before, known := r.stacks[key(w.Name, w.File)]
	problems, starting := plan.Settled(w, run, c.view.observed)
	c.starting[w.Name] = starting
	asItRuns := func() {
		s.Status = report.Running
		switch {
		case len(problems) > 0:
			s.Status, s.Reason = report.Failed, strings.Join(problems, ", ")
		case starting: // until its healthchecks speak, it is what it was
			s.Reason = "not healthy yet"
			if known && before.Status == report.Failed {
				s.Status = report.Failed
			}
		}
	}
	s.Held = string(h.Reason)
	switch {
	case h.Reason == plan.HeldInvalid:
		s.Status, s.Sync, s.Reason = report.Invalid, report.Deferred, h.Detail
	case w.Mode == plan.Ignored:
		s.Status, s.Sync = report.Ignored, report.Unknown
	case h.Reason == plan.HeldBusy:
		asItRuns()
		s.Sync, s.Held = report.Applying, ""
		if known {
			s.Status, s.Sync, s.Reason = before.Status, before.Sync, before.Reason
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
		if s.Status == report.Failed && !broken(w, run, c.view.observed, len(problems)) {
			s.Status = report.Running
		}
		s.Sync, s.Reason = report.Applying, op.Cause.String()
	default:
		asItRuns()
		s.Sync = report.Synced
	}
	return s
}

// broken says whether a stack with problems has others than that git wants
// another configuration now: it is not failed for that while it is updated.
func broken(w plan.Stack, run plan.Running, o plan.Observed, problems int) bool {
	ds := plan.Differences(w, run, o)
	return problems > len(ds) || slices.ContainsFunc(ds, func(d plan.Difference) bool { return !d.Config })
}

func hasRunning(run plan.Running) bool {
	return slices.ContainsFunc(run.Containers, func(c plan.Container) bool { return c.State == "running" })
}

// fill takes what is remembered into a status.
func fill(s *report.Stack, e entry) {
	s.Error, s.Commit, s.Attempted = e.Error, e.Commit, e.Attempted
	s.LastSuccess, s.NextRetry = e.LastSuccess, time.Time{}
	if s.Error == "" {
		s.Error = e.Own.Error
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
			s.State, s.Health, s.Digest, s.Since = c.State, c.Health, c.Image, c.Since
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
