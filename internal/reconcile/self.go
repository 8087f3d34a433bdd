package reconcile

import (
	"context"
	"slices"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// HandOver replaces the container that the daemon runs in.
type HandOver interface {
	// Over hands over to what p wants of o's service, whose image is here. As a
	// rule the daemon is stopped meanwhile, and ctx ends. Without an error, the
	// hand-over has ended and Outcome says how; an error says that it did not
	// begin.
	Over(ctx context.Context, p render.Project, o Own) error
	// Pending says whether one has not ended, of this daemon's or of another's, or
	// is not forgotten.
	Pending() bool
	// Outcome tells how the last one ended, until it is forgotten; false if
	// there is none.
	Outcome() (Outcome, bool)
	Forget(ctx context.Context) error
}

// Own is what a hand-over is to.
type Own struct {
	Service, Version, Commit string
	Cause                    string
	// Timeout is how long the new daemon may take to be ready.
	Timeout time.Duration
}

// Outcome is how a hand-over ended.
type Outcome struct {
	Own
	Stack, File    string
	Started, Ended time.Time
	// Gap is how long no daemon ran; 0 if that is not known.
	Gap time.Duration
	// Image is the id of the image that the old daemon ran, Reference what it
	// was called.
	Image, Reference string
	// Error is why the old daemon is back; empty if the new one took over. Detail
	// is what the new one said last.
	Error, Detail string
	// Again says that the version is not to blame for that.
	Again bool
}

// blameless is how often a version may fail without being to blame before it
// is refused all the same.
const blameless = 3

// pendingOver keeps a look from planning anything for the daemon's own stack
// while a hand-over has not ended, or has ended since the look began: how is not
// known then.
func (r *Reconciler) pendingOver(observed plan.Observed, busy map[string]bool) {
	if r.o.HandOver == nil || !r.o.HandOver.Pending() {
		return
	}
	for _, run := range observed.Running {
		if run.Controller {
			busy[run.Project] = true
		}
	}
}

// handedOver takes in the end of a hand-over that this daemon has survived, or
// of the pull for it.
func (l *ledger) handedOver(t *task) (report.Stack, bool) {
	if t.err == nil {
		return report.Stack{}, false // how it ended is taken in by the next look
	}
	c, version, reason := t.check, t.Version, report.Reason(t.err)
	if t.Kind == plan.Pull {
		for _, other := range c.tasks {
			if other.Kind == plan.HandOver {
				version = other.Version
			}
		}
	}
	e := l.journal.at(t.Stack)
	e.Attempted, e.Outcomes = c.To, outcomes(e.Outcomes, t)
	l.ownFailed(t.Stack, version, reason, max(0, retryAfter(t.err)), true)
	l.failedOnce(c, t.Stack, c.To, reason)
	l.details[t.Stack] = report.Detail(t.err)
	return l.show(t, func(s *report.Stack) {
		s.Status, s.Sync, s.Reason = report.Failed, report.Waiting, "handing over failed"
	})
}

// ownFailed remembers a version that could not be handed over to. One that is to
// blame is not tried again.
func (l *ledger) ownFailed(stack, version, reason string, pause time.Duration, again bool) {
	own := l.ownVersion(stack, version)
	own.Error, own.RetryAt = reason, time.Time{}
	own.Failures++
	if again {
		own.RetryAt = time.Now().Add(max(backoff(own.Failures), pause))
		l.wakeAt(own.RetryAt)
	}
}

// ownVersion gives what is remembered of failures of a version, to be changed.
func (l *ledger) ownVersion(stack, version string) *plan.Own {
	own := &l.journal.at(stack).Own
	if own.Failed != version {
		own.Failed, own.Failures, own.Interrupted = version, 0, 0
	}
	return own
}

// outcome takes in how a hand-over ended, as a part of the check that hears of
// it first. It gives the image that was replaced, if another version runs now.
func (r *Reconciler) outcome(ctx context.Context, c *check) *task {
	if r.o.HandOver == nil {
		return nil
	}
	o, ok := r.o.HandOver.Outcome()
	if !ok {
		return nil
	}
	replaced := r.ledger.handOverEnded(c, o)
	r.journal.save()
	if err := r.o.HandOver.Forget(ctx); err != nil && ctx.Err() == nil {
		r.o.Logger.Warn("can't remove what a hand-over left behind", "err", err)
	}
	return replaced
}

func (l *ledger) handOverEnded(c *check, o Outcome) (replaced *task) {
	e := l.journal.at(o.Stack)
	e.Attempted = o.Commit
	e.Outcomes = remembered(e.Outcomes, report.Outcome{At: o.Ended, Commit: o.Commit, Operation: string(plan.HandOver), Cause: o.Cause, Error: o.Error})
	if o.Error == "" {
		e.Own = plan.Own{Applied: o.Version}
		e.Commit, e.LastSuccess = o.Commit, o.Ended
		delete(l.failures, o.Stack)
		delete(l.details, o.Stack)
		c.count(o.Stack, report.ResultUpdated)
		replaced = &task{Op: plan.Op{Stack: o.Stack}, old: []old{{o.Image, o.Reference}}}
	} else {
		own := l.ownVersion(o.Stack, o.Version)
		own.Interrupted++
		l.ownFailed(o.Stack, o.Version, o.Error, 0, o.Again && own.Interrupted < blameless)
		l.failedOnce(c, o.Stack, o.Commit, o.Error)
		l.details[o.Stack] = o.Detail
	}
	op := plan.Op{Kind: plan.HandOver, Stack: o.Stack, Cause: plan.Cause{Detail: o.Cause}}
	took := o.Ended.Sub(o.Started)
	c.add(report.Operation{Kind: string(op.Kind), Stack: o.Stack, Cause: o.Cause, Started: o.Started, Took: took, Error: o.Error, Detail: o.Detail})
	l.happened(report.Event{At: o.Ended, Stack: o.Stack, Operation: string(op.Kind), Cause: o.Cause, Trigger: c.Trigger, Commit: o.Commit, Took: took, Error: o.Error})
	logOperation(l.log, op, took, 0, o.Commit, errorOf(o.Error))
	if o.Gap > 0 {
		l.log.Info("no daemon ran meanwhile", "took", o.Gap.Round(time.Millisecond))
	}
	return replaced
}

// pruneReplaced removes the old daemon's image, if images are removed.
func (r *Reconciler) pruneReplaced(operations context.Context, c *check, replaced *task) {
	if r.o.Pruner == nil || replaced == nil {
		return
	}
	replaced.wanted = names(c.view)
	go func() {
		ctx, cancel := context.WithTimeout(operations, time.Minute)
		defer cancel()
		prune(ctx, r.o.Pruner, r.o.Logger, replaced)
	}()
}

// ownSettled notes that the daemon's own service is as it is wanted.
func (l *ledger) ownSettled(w plan.View, v view) {
	self := slices.IndexFunc(w.Running.Containers, func(c plan.Container) bool { return c.Self })
	if self < 0 {
		return
	}
	name := w.Running.Containers[self].Service
	svc := slices.IndexFunc(w.Wanted.Services, func(svc plan.Service) bool { return svc.Name == name })
	if svc < 0 || slices.ContainsFunc(w.Differences, func(d plan.Difference) bool { return d.Service == name }) {
		return
	}
	if own := (plan.Own{Applied: w.Wanted.Services[svc].Version(v.state.Observed)}); l.journal.peek(w.Name).Own != own {
		l.journal.at(w.Name).Own = own
		l.refresh(w.Name, w.File)
	}
}
