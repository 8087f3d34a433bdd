package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// check is one check while its operations run. The goroutine of Run has it;
// lanes see only their turn.
type check struct {
	report.Check
	view     view
	pending  map[string]*turn
	launched bool
}

func (c *check) add(ops ...report.Operation) { c.Operations = append(c.Operations, ops...) }

// turn is one stack's share of a check. Others wait for done, and read err
// after it only.
type turn struct {
	check   *check
	stack   string
	commit  string
	project render.Project
	pull    *plan.Op
	op      plan.Op
	after   []*turn
	done    chan struct{}
	err     error
}

// result is what a lane sends when it is free again.
type result struct {
	turn *turn
	ops  []report.Operation
	// stale says that the plan was made before the clone moved on.
	stale bool
	// needs names the stack whose failure kept this one from being tried.
	needs string
}

// launch starts the lanes of all operations of a kind.
func (r *Reconciler) launch(ctx context.Context, c *check, kind plan.Kind) {
	if c.pending == nil {
		c.pending = map[string]*turn{}
	}
	turns := map[string]*turn{}
	var pull *plan.Op
	for _, op := range c.view.plan.Ops {
		switch {
		case op.Kind == plan.Pull:
			pull = &op
		case op.Kind == kind:
			t := &turn{check: c, stack: op.Stack, commit: c.To, project: c.view.projects[op.Stack], op: op, done: make(chan struct{})}
			if pull != nil && pull.Stack == op.Stack {
				t.pull = pull
			}
			for _, name := range op.After {
				if other := turns[name]; other != nil { // the plan has them in order
					t.after = append(t.after, other)
				}
			}
			turns[op.Stack] = t
			c.pending[op.Stack] = t
			r.busy[op.Stack] = true
			r.starting(t)
			go r.lane(ctx, t)
		}
	}
}

// await takes results in until the check has nothing pending, or time is over.
func (r *Reconciler) await(c *check, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for len(c.pending) > 0 {
		select {
		case res := <-r.results:
			r.finish(res)
		case <-timer.C:
			return
		}
	}
}

// errStale ends a turn that was planned for a head that the clone has left.
var errStale = errors.New("the clone moved on")

// lane runs one turn.
func (r *Reconciler) lane(ctx context.Context, t *turn) {
	res := result{turn: t}
	if t.op.Kind == plan.Stop {
		t.err = r.runStop(ctx, t, &res)
	} else {
		t.err = r.runUp(ctx, t, &res)
	}
	res.stale = errors.Is(t.err, errStale)
	close(t.done)
	r.results <- res
}

func (r *Reconciler) runStop(ctx context.Context, t *turn, res *result) error {
	for _, other := range t.after {
		<-other.done // whether it could be stopped or not: the network says
	}
	if err := r.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	defer r.slots.Release(1)
	return r.timed(t.op, res, func() error { return r.touching(ctx, func() error { return r.o.Engine.Down(ctx, t.stack) }) })
}

func (r *Reconciler) runUp(ctx context.Context, t *turn, res *result) error {
	for _, other := range t.after {
		<-other.done
		if other.err != nil {
			res.needs = other.stack
			return fmt.Errorf("it needs %s, which failed", other.stack)
		}
	}
	if t.pull != nil {
		if err := r.pullImages(ctx, t, res); err != nil {
			return err
		}
	}
	if err := r.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	release := sync.OnceFunc(func() { r.slots.Release(1) })
	defer release()
	// The stack's time begins when its turn has come.
	ctx, cancel := context.WithTimeoutCause(ctx, r.o.DeployTimeout, fmt.Errorf("not up within %s (DEPLOY_TIMEOUT_IN_SECONDS)", r.o.DeployTimeout))
	defer cancel()
	return r.timed(t.op, res, func() error {
		err := r.touching(ctx, func() error {
			if head, _ := r.head.Load().(string); head != t.commit {
				return errStale
			}
			return r.o.Engine.Up(ctx, t.project)
		})
		release() // waiting for health costs nothing and may last
		if err != nil {
			return err
		}
		return r.o.Engine.Settle(ctx, t.project)
	})
}

// pullImages has its own limit, so that slow pulls keep no stack from coming
// up whose images are here.
func (r *Reconciler) pullImages(ctx context.Context, t *turn, res *result) error {
	if err := r.pulls.Acquire(ctx, 1); err != nil {
		return err
	}
	defer r.pulls.Release(1)
	return r.timed(*t.pull, res, func() error { return r.o.Engine.Pull(ctx, t.project) })
}

// touching runs do at a time when no checkout runs.
func (r *Reconciler) touching(ctx context.Context, do func() error) error {
	if err := r.gate.Acquire(ctx, 1); err != nil {
		return err
	}
	defer r.gate.Release(1)
	return do()
}

func (r *Reconciler) timed(op plan.Op, res *result, do func() error) error {
	started := time.Now()
	err := do()
	res.ops = append(res.ops, report.Operation{
		Kind: string(op.Kind), Stack: op.Stack, Cause: op.Cause.String(),
		Started: started, Took: time.Since(started), Error: text(err),
	})
	return err
}
