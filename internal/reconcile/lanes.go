package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	starting map[string]bool     // stacks of which a healthcheck has not spoken yet
	digests  map[string][]string // names of local images that have a digest, by id
	pending  map[string]*turn
	launched bool // nothing more will be pending, but for a hand-over
	over     bool // that has begun, or is not to
	// replaced is the daemon's own stack, when another version has taken over.
	replaced *turn
}

func (c *check) add(ops ...report.Operation) { c.Operations = append(c.Operations, ops...) }

func (c *check) count(stack string, result report.Result) {
	c.Counts = append(c.Counts, report.Count{Stack: stack, Result: result})
}

// turn is one stack's share of a check. Others wait for done, and read err
// after it only.
type turn struct {
	check   *check
	stack   string
	file    string
	commit  string
	project render.Project
	pull    *plan.Op
	op      plan.Op
	old     []old    // images that may go afterwards, see prune
	wanted  []string // images that may not
	// again says that the stack ended soon after it had been brought up.
	again bool
	after []*turn
	done  chan struct{}
	err   error
}

// ended says whether the operations have, even if nobody took that in yet.
func (t *turn) ended() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// result is what a lane sends when it is free again.
type result struct {
	turn *turn
	ops  []report.Operation
	// stale says that the plan was made before the clone moved on.
	stale bool
	// cut says that the end of the daemon cut it short.
	cut bool
	// needs names the stack whose failure kept this one from being tried.
	needs string
}

// launch starts the lanes of all operations of a kind.
func (r *Reconciler) launch(ctx context.Context, c *check, kind plan.Kind) {
	for _, op := range c.view.plan.Ops {
		if op.Kind == kind {
			r.begin(ctx, c, op)
		}
	}
	r.journal.save()
}

// begin starts the lane of an operation.
func (r *Reconciler) begin(ctx context.Context, c *check, op plan.Op) {
	t := &turn{
		check: c, stack: op.Stack, file: op.File, commit: c.To, project: c.view.projects[op.Stack],
		pull: pullFor(op, c.view.plan), op: op,
		again: op.Crashed && r.flaps(op.Stack, c.view.projects[op.Stack].Digest, c.At),
		done:  make(chan struct{}),
	}
	t.project.Services = due(t.project.Services, c.view.observed)
	if op.Services != nil {
		t.project = t.project.Only(op.Services)
	}
	if r.o.Pruner != nil && op.Kind == plan.Up && !op.Fresh {
		t.old, t.wanted = images(c.view, op.Stack), names(c.view)
	}
	for _, name := range op.After { // the plan has them before this one
		if other := c.pending[name]; other != nil && other.op.Kind == op.Kind {
			t.after = append(t.after, other)
		}
	}
	c.pending[op.Stack] = t
	r.lanes[op.Stack] = t
	r.starting(t)
	go r.lane(ctx, t)
}

// pullFor finds the pull that a plan has for an operation: the one before it.
func pullFor(op plan.Op, p plan.Plan) *plan.Op {
	i := slices.IndexFunc(p.Ops, func(other plan.Op) bool { return other.Kind == op.Kind && other.Stack == op.Stack })
	if i > 0 && p.Ops[i-1].Kind == plan.Pull && p.Ops[i-1].Stack == op.Stack {
		return &p.Ops[i-1]
	}
	return nil
}

// due decides for each service whether its image is pulled.
func due(services []plan.Service, o plan.Observed) []plan.Service {
	out := slices.Clone(services)
	for i, s := range out {
		out[i] = s.Due(o)
	}
	return out
}

// await takes results in until the check has nothing pending, patience is over
// or the daemon ends.
func (r *Reconciler) await(ctx context.Context, c *check) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.takeIn(func() bool { return len(c.pending) == 0 }, nil, ctx.Done())
}

// errStale ends a turn that was planned for a head that the clone has left.
var errStale = errors.New("the clone moved on")

// lane runs one turn. What was not to be, or was cut short by the end of the
// daemon, is no failure: only what was done is told.
func (r *Reconciler) lane(ctx context.Context, t *turn) {
	res := result{turn: t}
	switch t.op.Kind {
	case plan.Stop:
		t.err = r.runStop(ctx, t, &res)
	case plan.HandOver:
		t.err = r.runOver(ctx, t, &res)
	default:
		t.err = r.runUp(ctx, t, &res)
	}
	res.stale = errors.Is(t.err, errStale)
	res.cut = t.err != nil && errors.Is(context.Cause(ctx), errShutdown)
	if res.stale || res.cut {
		res.ops = slices.DeleteFunc(res.ops, func(o report.Operation) bool { return o.Error != "" })
	}
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
	return r.timed(t.op, res, func() error { return r.touching(ctx, func() error { return r.o.Engine.Stop(ctx, t.op) }) })
}

func (r *Reconciler) runUp(ctx context.Context, t *turn, res *result) error {
	if t.pull != nil {
		if err := r.pullImages(ctx, t, res); err != nil {
			return err
		}
	}
	for _, other := range t.after {
		<-other.done
		if other.err != nil {
			res.needs = other.stack
			return fmt.Errorf("it needs %s, which failed", other.stack)
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
			return r.o.Engine.Up(ctx, t.project, t.op)
		})
		release() // waiting for health costs nothing and may last
		if err == nil {
			err = r.settle(ctx, t)
		}
		if err == nil {
			r.prune(ctx, t)
		}
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return err
	})
}

// settle waits until a stack runs. One that ended again soon after it had been
// brought up is watched for longer, so that its end is seen, with its last
// words, before it counts as up.
func (r *Reconciler) settle(ctx context.Context, t *turn) error {
	if err := r.o.Engine.Settle(ctx, t.project); err != nil || !t.again {
		return err
	}
	watch := time.NewTimer(steady)
	defer watch.Stop()
	select {
	case <-watch.C:
	case <-ctx.Done():
	}
	return r.o.Engine.Settle(ctx, t.project)
}

// pullImages takes no slot, so that slow pulls keep no stack from coming up
// whose images are here. The engine limits what is pulled at once.
func (r *Reconciler) pullImages(ctx context.Context, t *turn, res *result) error {
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
