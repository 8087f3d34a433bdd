package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// flapping is the time after a success within which a new drift of the same
// stack counts as a failure: what was repaired does not stay repaired.
const flapping = 5 * time.Minute

// looked takes a successful look in: status of every stack, what is remembered,
// what is counted once.
func (r *Reconciler) looked(c *check) {
	if r.lastError != "" {
		r.o.Logger.Info("check works again", "trigger", c.Trigger)
	}
	r.failedLooks, r.lastError, r.first = 0, "", false
	if c.view.heads.Rewritten {
		r.o.Logger.Warn("the remote's history was rewritten; following it", "commit", c.To)
	}
	for _, h := range c.view.plan.Held {
		r.missed = r.missed || h.Reason == plan.HeldBusy
	}
	c.Stacks = r.statuses(c)
	current := make(map[string]report.Stack, len(c.Stacks))
	for _, s := range c.Stacks {
		current[s.File] = s
	}
	r.stacks = current
	r.countOnce(c)
	r.remember(c)
	r.journal.save()
	r.o.Reporter.Looked(c.Look)
}

// remember notes what the look itself settles: a stack without a difference is
// applied, and one that nobody wants and nothing runs of is forgotten.
func (r *Reconciler) remember(c *check) {
	known := map[string]bool{}
	for _, run := range c.view.observed.Running {
		known[run.Project] = run.Ours
	}
	touched := map[string]bool{}
	for _, op := range c.view.plan.Ops {
		touched[op.Stack] = true
	}
	for _, h := range c.view.plan.Held {
		touched[h.Stack] = true
	}
	for _, s := range c.view.wanted {
		known[s.Name] = true
		if touched[s.Name] || r.busy[s.Name] || s.Mode == plan.Ignored || s.Invalid != "" {
			continue
		}
		e := r.journal.peek(s.Name)
		if r.stacks[s.File].Status == report.Running && (e.Applied != s.Digest || e.Failed != "" || e.Error != "") {
			n := r.journal.at(s.Name)
			n.Applied, n.File, n.Failed, n.Error, n.Failures = s.Digest, s.File, "", "", 0
			n.RetryAt = time.Time{}
			n.Commit = c.To
			if n.LastSuccess.IsZero() {
				n.LastSuccess = c.At
			}
		}
	}
	r.journal.forget(func(stack string) bool { return known[stack] })
}

// countOnce counts and logs invalid and ignored stacks and holds when they are
// first seen, or for another reason or at another commit.
func (r *Reconciler) countOnce(c *check) {
	now := map[string]string{}
	held := map[string]plan.Held{}
	for _, h := range c.view.plan.Held {
		if h.Reason == plan.HeldBusy || h.Reason == plan.HeldRetry {
			continue
		}
		held[h.Stack+" ("+h.File+")"] = h
	}
	for key, h := range held {
		id := heldPrefix + key
		mark := string(h.Reason) + h.Detail
		if h.Reason == plan.HeldInvalid {
			mark += c.To
		}
		now[id] = mark
		if r.seen[id] == mark {
			continue
		}
		r.o.Logger.Warn("stack held", "stack", h.Stack, "cause", string(h.Reason)+": "+h.Detail, "commit", short(c.To))
		if h.Reason == plan.HeldInvalid {
			c.Counts = append(c.Counts, report.Count{Stack: h.Stack, Result: report.ResultInvalid})
		}
	}
	for _, s := range c.view.wanted {
		if s.Mode != plan.Ignored || s.Invalid != "" {
			continue
		}
		id := ignoredPrefix + s.File
		now[id] = "seen"
		if r.seen[id] == "" {
			r.o.Logger.Info("stack ignored", "stack", s.Name, "cause", "gitops.ignore=true")
			c.Counts = append(c.Counts, report.Count{Stack: s.Name, Result: report.ResultIgnored})
		}
	}
	for id, mark := range r.seen {
		if _, ok := now[id]; ok {
			continue
		}
		if strings.HasPrefix(id, failedPrefix) {
			now[id] = mark
		} else if file, ok := strings.CutPrefix(id, heldPrefix); ok {
			r.o.Logger.Info("stack no longer held", "stack", file)
		}
	}
	r.seen = now
}

// Prefixes of what seen remembers.
const (
	failedPrefix  = "failed "
	heldPrefix    = "held "
	ignoredPrefix = "ignored "
)

// lookFailed reports a check that ended before anything was touched.
func (r *Reconciler) lookFailed(c *check, err error) {
	r.failedLooks++
	c.Error, c.Blocked = err.Error(), blocked(err)
	r.logCheckError(c, err)
	r.o.Reporter.Looked(c.Look)
	c.Ended = time.Now()
	r.o.Reporter.Ended(c.Check)
}

// checkoutFailed reports a check whose checkout failed: nothing is started
// from files that are not there.
func (r *Reconciler) checkoutFailed(c *check, err error) {
	r.failedLooks++
	c.Error, c.Blocked = "checkout: "+err.Error(), blocked(err)
	r.logCheckError(c, err)
	r.o.Reporter.Looked(c.Look)
	r.ended(c)
}

// logCheckError says an error when it begins, and then is quiet until it
// changes.
func (r *Reconciler) logCheckError(c *check, err error) {
	level := slog.LevelError
	if r.lastError == c.Error {
		level = slog.LevelDebug
	}
	r.lastError = c.Error
	r.o.Logger.Log(context.Background(), level, "check failed", "trigger", c.Trigger, "err", err)
}

// starting shows a stack whose operations begin.
func (r *Reconciler) starting(t *turn) {
	s, ok := r.stacks[t.project.File]
	if !ok {
		return
	}
	s.Sync = report.Applying
	s.Reason = t.op.Cause.String()
	r.stacks[t.project.File] = s
	r.o.Reporter.Updated(s)
}

// finish takes a lane's result in: journal, counters, status, log. A lane that
// was cut off by the end of the daemon leaves no mark: it is no failure.
func (r *Reconciler) finish(res result) {
	t := res.turn
	delete(r.busy, t.stack)
	c := t.check
	c.add(res.ops...)
	delete(c.pending, t.stack)
	switch {
	case res.stale, errors.Is(t.err, errShutdown):
		r.missed = true
	case res.needs != "":
		r.needy(t, res.needs)
	case t.err != nil:
		r.failed(t)
	case t.op.Kind == plan.Stop:
		r.stopped(t)
	default:
		r.applied(t)
	}
	for _, op := range res.ops {
		r.logOperation(t.op, op.Kind, op.Took, t.commit, errorOf(op.Error))
	}
	r.journal.save()
	if len(c.pending) == 0 && c.launched {
		r.ended(c)
	}
}

func errorOf(s string) error {
	if s == "" {
		return nil
	}
	return errors.New(s)
}

func (r *Reconciler) stopped(t *turn) {
	e := r.journal.at(t.stack)
	e.Outcomes = outcomes(e.Outcomes, t, nil)
	delete(r.journal.Stacks, t.stack)
	delete(r.seen, failedPrefix+t.stack)
	t.check.Counts = append(t.check.Counts, report.Count{Stack: t.stack, Result: report.ResultStopped})
}

func (r *Reconciler) applied(t *turn) {
	e := r.journal.at(t.stack)
	now := time.Now()
	again := t.op.Cause.Why == plan.Drifted && e.Applied == t.project.Digest && now.Sub(e.LastSuccess) < flapping
	e.Applied, e.File, e.Commit, e.Attempted = t.project.Digest, t.project.File, t.commit, t.commit
	e.LastSuccess = now
	e.Outcomes = outcomes(e.Outcomes, t, nil)
	e.Failed, e.Error = "", ""
	if again {
		// It is up, but so it was before: the next repair has to wait.
		e.Failures++
		e.RetryAt = now.Add(backoff(e.Failures))
		e.Error = "it does not stay up: " + t.op.Cause.Detail
	} else {
		e.Failures, e.RetryAt = 0, time.Time{}
	}
	delete(r.seen, failedPrefix+t.stack)
	result := report.ResultUpdated
	if t.op.Fresh {
		result = report.ResultStarted
	}
	t.check.Counts = append(t.check.Counts, report.Count{Stack: t.stack, Result: result})
	r.show(t, func(s *report.Stack) { s.Status, s.Sync, s.Reason = report.Running, report.Synced, "" })
}

func (r *Reconciler) failed(t *turn) {
	e := r.journal.at(t.stack)
	digest := t.project.Digest
	if t.op.Kind == plan.Stop {
		digest = plan.StopDigest
	}
	if e.Failed != digest {
		e.Failures = 0
	}
	e.Failed, e.Error, e.Attempted = digest, t.err.Error(), t.commit
	e.Failures++
	e.RetryAt = time.Now().Add(backoff(e.Failures))
	if e.File == "" {
		e.File = t.project.File
	}
	e.Outcomes = outcomes(e.Outcomes, t, t.err)
	mark := t.commit + sameReason(t.err.Error())
	if r.seen[failedPrefix+t.stack] != mark {
		r.seen[failedPrefix+t.stack] = mark
		t.check.Counts = append(t.check.Counts, report.Count{Stack: t.stack, Result: report.ResultFailed})
	}
	r.show(t, func(s *report.Stack) {
		s.Status, s.Sync, s.Reason = report.Failed, report.Waiting, fmt.Sprintf("%s failed", t.op.Kind)
	})
}

func (r *Reconciler) needy(t *turn, needs string) {
	r.missed = true
	r.show(t, func(s *report.Stack) {
		s.Status, s.Sync, s.Held = report.Failed, report.Deferred, string(plan.HeldNeeds)
		s.Reason = fmt.Sprintf("it needs %s, which failed", needs)
	})
}

// sameReason takes ids and numbers out of an error, which differ from try to
// try.
func sameReason(s string) string {
	return regexp.MustCompile(`[0-9a-f]{12,}|[0-9]+`).ReplaceAllString(s, "#")
}

// show changes a stack's status and tells.
func (r *Reconciler) show(t *turn, change func(*report.Stack)) {
	s, ok := r.stacks[t.project.File]
	if !ok {
		return
	}
	change(&s)
	fill(&s, r.journal.peek(t.stack))
	r.stacks[t.project.File] = s
	r.o.Reporter.Updated(s)
}

func outcomes(old []report.Outcome, t *turn, err error) []report.Outcome {
	o := report.Outcome{At: time.Now(), Commit: t.commit, Operation: string(t.op.Kind), Cause: t.op.Cause.String(), Error: text(err)}
	all := append([]report.Outcome{o}, old...)
	return all[:min(len(all), outcomesKept)]
}

// ended reports a check whose operations have all ended.
func (r *Reconciler) ended(c *check) {
	c.Ended = time.Now()
	c.Final = make([]report.Stack, 0, len(r.stacks))
	for _, s := range c.Stacks {
		if now, ok := r.stacks[s.File]; ok {
			c.Final = append(c.Final, now)
		}
	}
	r.o.Reporter.Ended(c.Check)
	level := slog.LevelDebug
	if len(c.Operations) > 0 {
		level = slog.LevelInfo
	}
	failures := 0
	for _, op := range c.Operations {
		if op.Error != "" {
			failures++
		}
	}
	r.o.Logger.Log(context.Background(), level, "check done", "trigger", c.Trigger, "commit", short(c.To),
		"operations", len(c.Operations), "failed", failures, "took", c.Ended.Sub(c.At))
}

func (r *Reconciler) logOperation(op plan.Op, kind string, took time.Duration, commit string, err error) {
	args := []any{"op", kind, "cause", op.Cause.String(), "commit", short(commit), "took", took.Round(time.Millisecond)}
	if op.Stack != "" {
		args = append([]any{"stack", op.Stack}, args...)
	}
	if err != nil {
		r.o.Logger.Error("operation failed", append(args, "err", err)...)
		return
	}
	r.o.Logger.Info("operation done", args...)
}

func short(commit string) string { return commit[:min(7, len(commit))] }
