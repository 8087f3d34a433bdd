package reconcile

import (
	"context"
	"fmt"
	"slices"
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
func (r *Reconciler) look(ctx context.Context, heal bool) (view, error) {
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
	v.observed.Latest = r.journal.latest()
	for _, p := range projects {
		v.wanted = append(v.wanted, p.Stack)
		if p.Invalid == "" {
			v.projects[p.Name] = p
		}
	}
	busy := r.busy()
	r.pendingOver(v.observed, busy)
	v.plan = plan.Build(plan.State{
		Now: v.at, Local: heads.Local, Remote: heads.Remote,
		Wanted: v.wanted, Before: before, Observed: v.observed,
		Memory: r.journal.memory(), Busy: busy,
	}, plan.Policy{Heal: heal, AllowEmpty: r.o.AllowEmpty})
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

// busy are the stacks whose operations run.
func (r *Reconciler) busy() map[string]bool {
	m := make(map[string]bool, len(r.lanes))
	for name := range r.lanes {
		m[name] = true
	}
	return m
}

// check is one comparison with the remote and what followed from it. It
// returns when the operations are on their way; it has ended when they have.
//
//	look       fetch, stage, load, observe, plan: nothing touched yet
//	stop       what git no longer has
//	checkout   fast-forward the clone
//	apply      pull, up, settle: a lane each
//	hand over  to another version of the daemon, when all else has ended
//
// The first one that gets to the end heals whatever the policy is, so that
// after a start everything runs that should.
func (r *Reconciler) check(ctx, lanes context.Context, trigger string) {
	r.again, r.wantsOver = false, false
	c := &check{pending: map[string]*turn{}}
	r.outcome(ctx, c)
	v, err := r.look(ctx, r.o.Heal || r.first)
	c.Look, c.view = report.Look{At: v.at, Asked: v.at, Trigger: trigger, From: v.heads.Local, To: v.heads.Remote}, v
	if err != nil {
		if ctx.Err() == nil {
			r.lookFailed(c, err)
		}
		return
	}
	defer v.close()
	c.Commits = r.describe(v.heads)
	r.looked(c)
	r.pruneReplaced(c)
	r.head.Store(v.heads.Local)
	r.launch(lanes, c, plan.Stop)
	r.await(ctx, c)
	err = r.checkout(ctx, c)
	switch {
	case ctx.Err() != nil: // the daemon ends: nothing more is begun
	case err != nil: // nothing is started from files that are not there
		r.checkFailed(c, fmt.Errorf("checkout: %w", err))
	default:
		r.checkWorks(c)
	}
	c.Stacks = r.picture()
	r.o.Reporter.Looked(c.Look)
	if err == nil && ctx.Err() == nil {
		r.launch(lanes, c, plan.Up)
	}
	c.launched, c.over = true, err != nil || ctx.Err() != nil
	r.over(c)
	if len(c.pending) == 0 {
		r.ended(c)
	}
}

// describe says what is known of the commits of a look.
func (r *Reconciler) describe(h Heads) []report.Commit {
	if r.o.Describe == nil {
		return nil
	}
	var commits []report.Commit
	for _, hash := range slices.Compact([]string{h.Local, h.Remote}) {
		c, err := r.o.Describe(hash)
		if err != nil {
			r.o.Logger.Debug("commit can't be described", "commit", short(hash), "err", err)
			continue
		}
		commits = append(commits, c)
	}
	return commits
}

// checkout takes the clone to the new head, alone as far as patience goes.
func (r *Reconciler) checkout(ctx context.Context, c *check) error {
	i := slices.IndexFunc(c.view.plan.Ops, func(op plan.Op) bool { return op.Kind == plan.Checkout })
	if i < 0 || ctx.Err() != nil {
		return nil
	}
	op := c.view.plan.Ops[i]
	release := r.alone(ctx)
	defer release()
	if ctx.Err() != nil {
		return nil
	}
	// When patience was over before it is alone, nothing is begun at least.
	r.head.Store("")
	started := time.Now()
	// A checkout survives being killed, but is not to be cut short.
	err := r.o.Source.Checkout(context.WithoutCancel(ctx), c.view.heads.Remote)
	took := time.Since(started)
	c.add(report.Operation{Kind: string(op.Kind), Cause: op.Cause.String(), Started: started, Took: took, Error: text(err)})
	if err != nil {
		r.head.Store(c.view.heads.Local)
		return err // which is logged once, as the check's
	}
	r.head.Store(c.view.heads.Remote)
	r.logOperation(op, string(op.Kind), took, c.To, nil)
	return nil
}

// alone waits until no operation touches containers, if that can be had within
// patience, and keeps it so until it is released.
func (r *Reconciler) alone(ctx context.Context) (release func()) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got := make(chan struct{})
	var mine bool
	go func() {
		mine = r.gate.Acquire(ctx, everybody) == nil
		close(got)
	}()
	r.takeIn(func() bool { return false }, got, nil)
	if !mine {
		return func() {}
	}
	return func() { r.gate.Release(everybody) }
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
