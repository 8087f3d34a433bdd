package reconcile

import (
	"context"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// view is what one look saw and what follows from it.
type view struct {
	at       time.Time
	heads    Heads
	projects map[string]render.Project // by name, valid ones
	wanted   []plan.Stack
	observed plan.Observed
	plan     plan.Plan
	close    func()
}

// look observes everything anew and plans. It touches nothing.
func (r *Reconciler) look(ctx context.Context) (view, error) {
	v := view{at: time.Now(), projects: map[string]render.Project{}, close: func() {}}
	heads, err := r.o.Source.Fetch(ctx)
	if err != nil {
		return v, verb(err, "fetch")
	}
	v.heads = heads
	before, err := r.stackFiles(ctx, heads)
	if err != nil {
		return v, err
	}
	tree, err := r.o.Source.Stage(ctx, heads.Remote)
	if err != nil {
		return v, verb(err, "stage %s", heads.Remote)
	}
	v.close = func() {
		if err := tree.Close(); err != nil {
			r.o.Logger.Warn("staged files could not be removed", "err", err)
		}
	}
	projects, err := r.o.Loader.Load(ctx, tree)
	if err != nil {
		v.close()
		return v, verb(err, "load %s", heads.Remote)
	}
	if v.observed, err = r.o.Engine.Observe(ctx); err != nil {
		v.close()
		return v, err
	}
	for _, p := range projects {
		v.wanted = append(v.wanted, p.Stack)
		if p.Invalid == "" {
			v.projects[p.Name] = p
		}
	}
	v.plan = plan.Build(plan.State{
		Now: v.at, Local: heads.Local, Remote: heads.Remote,
		Wanted: v.wanted, Before: before, Observed: v.observed,
		Memory: r.journal.memory(), Busy: r.busy,
	}, plan.Policy{Heal: r.o.Heal || r.first, AllowEmpty: r.o.AllowEmpty})
	return v, nil
}

// stackFiles lists the stacks of the local head, which tell a removed stack
// that was started by hand from a folder that git never had.
func (r *Reconciler) stackFiles(ctx context.Context, heads Heads) ([]string, error) {
	if heads.Local == heads.Remote || heads.Local == "" {
		return nil, nil // then those of the remote head are the same, and wanted
	}
	tree, err := r.o.Source.Stage(ctx, heads.Local)
	if err != nil {
		return nil, verb(err, "stage %s", heads.Local)
	}
	return render.Discover(tree), verb(tree.Close(), "clean up")
}

// check is one comparison with the remote and what followed from it. It
// returns when the operations are on their way; it has ended when they have.
//
//	look       fetch, stage, load, observe, plan: nothing touched yet
//	stop       what git no longer has
//	checkout   fast-forward the clone
//	apply      pull, up, settle: a lane each
func (r *Reconciler) check(ctx, lanes context.Context, trigger string) {
	v, err := r.look(ctx)
	c := &check{Check: report.Check{Look: report.Look{At: v.at, Trigger: trigger, From: v.heads.Local, To: v.heads.Remote}}, view: v}
	if err != nil {
		if ctx.Err() == nil {
			r.lookFailed(c, err)
		}
		return
	}
	defer v.close()
	r.looked(c)
	r.head.Store(v.heads.Local)
	r.launch(lanes, c, plan.Stop)
	r.await(c, patience)
	if err := r.checkout(ctx, c); err != nil {
		r.checkoutFailed(c, err)
		return
	}
	r.launch(lanes, c, plan.Up)
	c.launched = true
	if len(c.pending) == 0 {
		r.ended(c)
	}
}

// checkout takes the clone to the new head, alone as far as patience goes.
func (r *Reconciler) checkout(ctx context.Context, c *check) error {
	for _, op := range c.view.plan.Ops {
		if op.Kind != plan.Checkout {
			continue
		}
		started := time.Now()
		err := r.alone(ctx, c, func() error {
			// A checkout survives being killed, but is not to be cut short.
			return r.o.Source.Checkout(context.WithoutCancel(ctx), c.view.heads.Remote)
		})
		c.add(report.Operation{Kind: string(op.Kind), Cause: op.Cause.String(), Started: started, Took: time.Since(started), Error: text(err)})
		r.logOperation(op, string(op.Kind), time.Since(started), c.To, err)
		if err == nil {
			r.head.Store(c.view.heads.Remote)
		}
		return err
	}
	return nil
}

// alone runs do while no operation touches containers, if that can be had
// within patience.
func (r *Reconciler) alone(ctx context.Context, c *check, do func() error) error {
	got := make(chan bool, 1)
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	go func() { got <- r.gate.Acquire(wait, everybody) == nil }()
	for {
		select {
		case mine := <-got:
			if mine {
				defer r.gate.Release(everybody)
			}
			return do()
		case res := <-r.results:
			r.finish(res)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
