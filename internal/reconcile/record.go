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

// steady is how much longer a stack is watched then.
const steady = 10 * time.Second

// looked takes a successful look in: status of every stack, what is remembered,
// what is counted once.
func (r *Reconciler) looked(c *check) {
	r.lookedAt = c.At
	clear(r.missed)
	for _, h := range c.view.plan.Held {
		if h.Reason == plan.HeldBusy {
			r.missed[h.Stack] = true
		}
	}
	current := map[string]report.Stack{}
	for _, s := range r.statuses(c) {
		current[key(s.Name, s.File)] = s
	}
	r.stacks = current
	r.countOnce(c)
	r.remember(c)
	r.ownSettled(c.view)
	r.watch(c.view)
	r.journal.save()
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
		if s.Mode == plan.Ignored && s.Invalid == "" && !r.journal.peek(s.Name).Ignored {
			r.journal.at(s.Name).renew(plan.Record{File: s.File, Ignored: true})
		}
		if touched[s.Name] || s.Mode == plan.Ignored || s.Invalid != "" || c.starting[s.Name] {
			continue
		}
		if r.stacks[key(s.Name, s.File)].Status == report.Running {
			r.settled(s, c)
		}
	}
	r.journal.forget(func(stack string) bool { return known[stack] })
}

// settled notes that a stack is as it is wanted without our doing. One that
// did not last before has to last for a while to be believed.
func (r *Reconciler) settled(s plan.Stack, c *check) {
	e := r.journal.peek(s.Name)
	if e.Applied == s.Digest && e.Tried == s.Digest && e.Failed == "" && e.Error == "" && !e.Ignored {
		return
	}
	if e.Flaps > 0 && e.Applied == s.Digest && c.At.Sub(e.LastSuccess) < flapping {
		return
	}
	n := r.journal.at(s.Name)
	if n.Applied != s.Digest || n.LastSuccess.IsZero() {
		n.Commit, n.LastSuccess = c.To, c.At
	}
	n.renew(plan.Record{File: s.File, Applied: s.Digest, Tried: s.Digest})
	n.Flaps = 0
	r.refresh(key(s.Name, s.File), s.Name)
}

// refresh takes what is remembered into a stack's status.
func (r *Reconciler) refresh(k, name string) {
	s := r.stacks[k]
	fill(&s, r.journal.peek(name))
	r.stacks[k] = s
}

// key identifies a stack: two files can want the same name, and a file can
// change its name.
func key(name, file string) string { return name + "\x00" + file }

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
			c.count(h.Stack, report.ResultInvalid)
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
			c.count(s.Name, report.ResultIgnored)
		}
	}
	for id, mark := range r.seen {
		if _, ok := now[id]; ok {
			continue
		}
		if name, ok := strings.CutPrefix(id, failedPrefix); ok {
			if e := r.journal.peek(name); e.Failed != "" || e.Own.Failed != "" {
				now[id] = mark
			}
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
	r.checkFailed(c, err)
	r.o.Reporter.Looked(c.Look)
	c.Ended = time.Now()
	r.o.Reporter.Ended(c.Check)
}

// checkFailed notes that a check as such failed: it is repeated soon. An error
// is said when it begins, and then no more until it changes.
func (r *Reconciler) checkFailed(c *check, err error) {
	r.failedLooks++
	r.lookRetry = time.Now().Add(lookBackoff(r.failedLooks))
	c.Error, c.Blocked = err.Error(), blocked(err)
	level := slog.LevelError
	if r.lastError == c.Error {
		level = slog.LevelDebug
	}
	r.lastError = c.Error
	r.o.Logger.Log(context.Background(), level, "check failed", "trigger", c.Trigger, "err", err)
}

// checkWorks notes that a check got as far as its operations on stacks.
func (r *Reconciler) checkWorks(c *check) {
	if r.lastError != "" {
		r.o.Logger.Info("check works again", "trigger", c.Trigger)
	}
	if c.view.heads.Rewritten {
		r.o.Logger.Warn("the remote's history was rewritten; followed it", "commit", short(c.To))
	}
	r.failedLooks, r.lastError, r.first = 0, "", false
}

// starting notes that a stack's operations begin.
func (r *Reconciler) starting(t *turn) {
	if t.op.Kind == plan.Up {
		r.journal.at(t.stack).Tried = t.project.Digest
	}
	r.show(t, func(s *report.Stack) { s.Sync, s.Reason, s.Held = report.Applying, t.op.Cause.String(), "" })
}

// finish takes a lane's result in: journal, counters, status, log.
func (r *Reconciler) finish(res result) {
	t, c := res.turn, res.turn.check
	delete(r.lanes, t.stack)
	delete(c.pending, t.stack)
	c.add(res.ops...)
	r.again = r.again || r.missed[t.stack] || res.stale || res.needs != ""
	switch {
	case res.stale, res.cut: // as if it had not been begun
	case t.op.Kind == plan.HandOver:
		r.handedOver(t, res)
	case res.needs != "":
		r.needy(t, res.needs)
	case t.err != nil:
		r.failed(t, res)
	case t.op.Kind == plan.Stop:
		r.stopped(t)
	default:
		r.applied(t)
	}
	for _, op := range res.ops {
		r.logOperation(t.op, op.Kind, op.Took, t.commit, errorOf(op.Error))
	}
	r.journal.save()
	if c.launched {
		r.over(c)
	}
	if len(c.pending) == 0 && c.launched {
		r.ended(c)
	}
	r.again = r.again || r.wantsOver && len(r.lanes) == 0
}

func errorOf(s string) error {
	if s == "" {
		return nil
	}
	return errors.New(s)
}

func (r *Reconciler) stopped(t *turn) {
	r.journal.forget(func(stack string) bool { return stack != t.stack })
	delete(r.seen, failedPrefix+t.stack)
	delete(r.stacks, key(t.stack, t.file))
	t.check.count(t.stack, report.ResultStopped)
}

// flaps says whether a stack that has drifted was brought up only a while ago.
func (r *Reconciler) flaps(stack, digest string, now time.Time) bool {
	e := r.journal.peek(stack)
	return r.o.Heal && e.Applied == digest && (e.Flaps > 0 || now.Sub(e.LastSuccess) < flapping)
}

func (r *Reconciler) applied(t *turn) {
	e := r.journal.at(t.stack)
	now := time.Now()
	again := t.op.Cause.Why == plan.Drifted && r.flaps(t.stack, t.project.Digest, now)
	flaps := e.Flaps + 1
	e.renew(plan.Record{File: t.project.File, Applied: t.project.Digest, Tried: t.project.Digest})
	e.Commit, e.Attempted, e.LastSuccess, e.Flaps = t.commit, t.commit, now, 0
	e.Outcomes = outcomes(e.Outcomes, t, t.op.Kind, nil)
	if t.pull != nil {
		r.pulled(t.project.Services)
	}
	if again {
		// It is up, but so it was before: the next repair has to wait.
		e.Flaps, e.Failures, e.Failed = flaps, flaps, t.project.Digest
		e.RetryAt = now.Add(backoff(flaps))
		e.Error = "it does not stay up: " + t.op.Cause.Detail
	}
	delete(r.seen, failedPrefix+t.stack)
	if t.op.Fresh {
		t.check.count(t.stack, report.ResultStarted)
	} else {
		t.check.count(t.stack, report.ResultUpdated)
	}
	r.show(t, func(s *report.Stack) { s.Status, s.Sync, s.Reason = report.Running, report.Synced, "" })
}

func (r *Reconciler) failed(t *turn, res result) {
	kind := t.op.Kind
	if n := len(res.ops); n > 0 {
		kind = plan.Kind(res.ops[n-1].Kind)
	}
	digest := t.project.Digest
	if t.op.Kind == plan.Stop {
		digest = plan.StopDigest
	}
	e := r.journal.at(t.stack)
	if e.Failed != digest {
		e.Failures = 0
	}
	e.Failed, e.Error, e.Attempted, e.Ignored = digest, t.err.Error(), t.commit, false
	e.Failures++
	if t.again { // which is true of the next repair too, however long it waits
		e.Flaps = e.Failures
	}
	e.RetryAt = time.Now().Add(max(backoff(e.Failures), retryAfter(t.err)))
	if e.File == "" {
		e.File = t.file
	}
	e.Outcomes = outcomes(e.Outcomes, t, kind, t.err)
	r.failedOnce(t.check, t.stack, t.commit, t.err.Error())
	if k := key(t.stack, t.file); t.op.Kind == plan.Stop && r.stacks[k].Name == "" {
		r.stacks[k] = report.Stack{Name: t.stack, File: t.file, Mode: string(plan.Managed)}
	}
	r.show(t, func(s *report.Stack) {
		s.Status, s.Sync, s.Reason = report.Failed, report.Waiting, fmt.Sprintf("%s failed", kind)
	})
}

func (r *Reconciler) needy(t *turn, needs string) {
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
	k := key(t.stack, t.file)
	s, ok := r.stacks[k]
	if !ok {
		return
	}
	change(&s)
	fill(&s, r.journal.peek(t.stack))
	r.stacks[k] = s
	r.o.Reporter.Updated(s)
}

func outcomes(old []report.Outcome, t *turn, kind plan.Kind, err error) []report.Outcome {
	return remembered(old, report.Outcome{At: time.Now(), Commit: t.commit, Operation: string(kind), Cause: t.op.Cause.String(), Error: text(err)})
}

func remembered(old []report.Outcome, o report.Outcome) []report.Outcome {
	all := append([]report.Outcome{o}, old...)
	return all[:min(len(all), outcomesKept)]
}

// ended reports a check whose operations have all ended.
func (r *Reconciler) ended(c *check) {
	c.Ended = time.Now()
	c.Final = r.picture()
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
