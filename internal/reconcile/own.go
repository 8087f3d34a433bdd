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
	// Error is why the old daemon is back; empty if the new one took over.
	Error string
	// Again says that the version is not to blame for that.
	Again bool
}

// blameless is how often a version may fail without being to blame before it
// is refused all the same.
const blameless = 3

// pendingOver keeps a look from planning anything for the daemon's own stack
// while a hand-over has not ended, or has ended since the check began: how is not
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

// planned gives the hand-over of a plan.
func planned(p plan.Plan) (plan.Op, bool) {
	i := slices.IndexFunc(p.Ops, func(op plan.Op) bool { return op.Kind == plan.HandOver })
	if i < 0 {
		return plan.Op{}, false
	}
	return p.Ops[i], true
}

// over begins the hand-over that a check has planned, after all that it did
// else. While other operations run, or something is to be looked at again, it is
// left to the look that follows: none is to come while it is under way.
func (r *Reconciler) over(c *check) {
	op, ok := planned(c.view.plan)
	if !ok || c.over || r.stopping || len(c.pending) > 0 {
		return
	}
	if len(r.lanes) > 0 || r.again || !c.At.Equal(r.lookedAt) {
		r.wantsOver = true
		return
	}
	c.over, r.wantsOver = true, false
	ctx, cancel := context.WithCancelCause(r.runs)
	r.handing = cancel
	r.o.Logger.Info("handing over to another version of the daemon", "stack", op.Stack, "cause", op.Cause.String(), "commit", short(c.To))
	r.begin(ctx, c, op)
}

// runOver pulls the new image and hands over. When the daemon is told to stop
// meanwhile, that is how it is meant to end.
func (r *Reconciler) runOver(ctx context.Context, t *turn, res *result) error {
	if t.pull != nil {
		if err := r.pullImages(ctx, t, res); err != nil {
			return err
		}
	}
	return r.o.HandOver.Over(ctx, t.project, Own{
		Service: t.op.Services[0], Version: t.op.Version, Commit: t.commit, Cause: t.op.Cause.String(), Timeout: r.o.DeployTimeout,
	})
}

// handedOver ends a turn that this daemon has survived.
func (r *Reconciler) handedOver(t *turn, res result) {
	r.handing(nil)
	r.handing = nil
	if t.err == nil {
		r.again = true // the outcome is taken in at the beginning of a check
		return
	}
	kind := plan.Pull // which tells of itself
	if n := len(res.ops); n == 0 || res.ops[n-1].Error == "" {
		kind = plan.HandOver
		t.check.add(report.Operation{Kind: string(kind), Stack: t.stack, Cause: t.op.Cause.String(), Started: t.check.At, Took: time.Since(t.check.At), Error: t.err.Error()})
		r.logOperation(t.op, string(kind), time.Since(t.check.At), t.commit, t.err)
	}
	e := r.journal.at(t.stack)
	e.Attempted, e.Outcomes = t.commit, outcomes(e.Outcomes, t, kind, t.err)
	r.ownFailed(t.stack, t.op.Version, t.err.Error(), max(0, retryAfter(t.err)), true)
	r.failedOnce(t.check, t.stack, t.commit, t.err.Error())
	r.show(t, func(s *report.Stack) {
		s.Status, s.Sync, s.Reason = report.Failed, report.Waiting, "handing over failed"
	})
}

// ownFailed remembers a version that could not be handed over to. One that is to
// blame is not tried again.
func (r *Reconciler) ownFailed(stack, version, reason string, pause time.Duration, again bool) {
	own := r.ownVersion(stack, version)
	own.Error, own.RetryAt = reason, time.Time{}
	own.Failures++
	if again {
		own.RetryAt = time.Now().Add(max(backoff(own.Failures), pause))
	}
}

// ownVersion gives what is remembered of failures of a version, to be changed.
func (r *Reconciler) ownVersion(stack, version string) *plan.Own {
	own := &r.journal.at(stack).Own
	if own.Failed != version {
		own.Failed, own.Failures, own.Interrupted = version, 0, 0
	}
	return own
}

// outcome takes in how a hand-over ended, as a part of the check that hears of it
// first.
func (r *Reconciler) outcome(ctx context.Context, c *check) {
	if r.o.HandOver == nil {
		return
	}
	o, ok := r.o.HandOver.Outcome()
	if !ok {
		return
	}
	e := r.journal.at(o.Stack)
	e.Attempted = o.Commit
	e.Outcomes = remembered(e.Outcomes, report.Outcome{At: o.Ended, Commit: o.Commit, Operation: string(plan.HandOver), Cause: o.Cause, Error: o.Error})
	if o.Error == "" {
		e.Own = plan.Own{Applied: o.Version}
		e.Commit, e.LastSuccess = o.Commit, o.Ended
		delete(r.seen, failedPrefix+o.Stack)
		c.count(o.Stack, report.ResultUpdated)
		c.replaced = &turn{stack: o.Stack, old: []old{{o.Image, o.Reference}}}
	} else {
		own := r.ownVersion(o.Stack, o.Version)
		own.Interrupted++
		r.ownFailed(o.Stack, o.Version, o.Error, 0, o.Again && own.Interrupted < blameless)
		r.failedOnce(c, o.Stack, o.Commit, o.Error)
	}
	op := plan.Op{Kind: plan.HandOver, Stack: o.Stack, Cause: plan.Cause{Detail: o.Cause}}
	took := o.Ended.Sub(o.Started)
	c.add(report.Operation{Kind: string(op.Kind), Stack: o.Stack, Cause: o.Cause, Started: o.Started, Took: took, Error: o.Error})
	r.logOperation(op, string(op.Kind), took, o.Commit, errorOf(o.Error))
	if o.Gap > 0 {
		r.o.Logger.Info("no daemon ran meanwhile", "took", o.Gap.Round(time.Millisecond))
	}
	r.journal.dirty = true
	r.journal.save()
	if err := r.o.HandOver.Forget(ctx); err != nil && ctx.Err() == nil {
		r.o.Logger.Warn("what a hand-over left could not be removed", "err", err)
	}
}

// pruneReplaced removes the old daemon's image, if images are removed.
func (r *Reconciler) pruneReplaced(c *check) {
	if r.o.Pruner == nil || c.replaced == nil {
		return
	}
	c.replaced.wanted = names(c.view)
	go func() {
		ctx, cancel := context.WithTimeout(r.runs, time.Minute)
		defer cancel()
		r.prune(ctx, c.replaced)
	}()
}

// failedOnce counts a failure of a stack, but not again for the same reason at
// the same commit.
func (r *Reconciler) failedOnce(c *check, stack, commit, reason string) {
	mark := commit + sameReason(reason)
	if r.seen[failedPrefix+stack] != mark {
		r.seen[failedPrefix+stack] = mark
		c.count(stack, report.ResultFailed)
	}
}

// stopOver lets a hand-over that is under way go on without this daemon.
func (r *Reconciler) stopOver() {
	if r.handing != nil {
		r.handing(errShutdown)
	}
}

// ownSettled notes that the daemon's own service is as it is wanted.
func (r *Reconciler) ownSettled(v view) {
	for _, run := range v.observed.Running {
		self := slices.IndexFunc(run.Containers, func(c plan.Container) bool { return c.Self })
		stack := slices.IndexFunc(v.wanted, func(s plan.Stack) bool { return s.Name == run.Project && s.Invalid == "" })
		if self < 0 || stack < 0 {
			continue
		}
		s, name := v.wanted[stack], run.Containers[self].Service
		svc := slices.IndexFunc(s.Services, func(svc plan.Service) bool { return svc.Name == name })
		if svc < 0 || slices.ContainsFunc(plan.Differences(s, run, v.observed), func(d plan.Difference) bool { return d.Service == name }) {
			continue
		}
		if own := (plan.Own{Applied: s.Services[svc].Version(v.observed)}); r.journal.peek(s.Name).Own != own {
			r.journal.at(s.Name).Own = own
			r.refresh(key(s.Name, s.File), s.Name)
		}
	}
}
