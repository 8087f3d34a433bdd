package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// back gives the version that a stack was rolled back to, which is wanted instead of
// what git has; false if it was not rolled back, or can't be. now shows what git has.
func (r *Reconciler) back(ctx context.Context, p render.Project, now Tree, o plan.Observed, run plan.Running) (render.Project, bool, error) {
	rec := r.journal.peek(p.Name).Record
	if p.Invalid != "" || rec.Bad.Digest == "" {
		return p, false, nil
	}
	if rec.Bad.Digest == p.Digest && rec.Bad.Services == nil { // which images those were can be told since
		rec.Bad = plan.VersionOf(p.Stack, rec.Bad.Commit, o)
		r.journal.at(p.Name).Bad = rec.Bad
	}
	if !rec.IsBad(p.Stack, o) {
		return p, false, nil
	}
	was, err := r.loadBack(ctx, rec, now, o, run)
	if ctx.Err() != nil {
		return p, false, ctx.Err()
	}
	if err != nil {
		r.ledger.noWayBack(p.Name, rec, err)
		return p, false, nil
	}
	was.Back = &plan.Back{To: rec.Good.Commit, From: rec.Bad.Commit, Error: rec.BadError}
	return was, true, nil
}

func (r *Reconciler) loadBack(ctx context.Context, rec plan.Record, now Tree, o plan.Observed, run plan.Running) (p render.Project, err error) {
	then, err := r.o.Source.Stage(ctx, rec.Good.Commit)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, then.Close()) }()
	if p, err = r.o.Loader.Back(ctx, then, now, render.Past{Version: rec.Good, Local: o.Images}); err != nil {
		return p, err
	}
	p.Stack, err = p.ByHand(run)
	return p, err
}

// noWayBack notes that a stack stays in the version that failed.
func (l *ledger) noWayBack(stack string, rec plan.Record, err error) {
	e := l.journal.at(stack)
	e.Bad, e.BadError = plan.Version{}, ""
	e.Error = fmt.Sprintf("%s; it can't be rolled back to %s: %v", cmp.Or(rec.BadError, e.Error), short(rec.Good.Commit), err)
	l.log.Error("stack can't be rolled back", "stack", stack, "commit", short(rec.Good.Commit), "err", err)
}

// blames gives the service whose container an error is about, and the image that it was
// made from; "" if none is to blame.
func blames(err error) (service, image string) {
	var b interface {
		Blames() (service, image string)
	}
	if !errors.As(err, &b) {
		return "", ""
	}
	return b.Blames()
}

// rollsBack notes that a stack goes back to its last good version, if its failure is a
// reason for that.
func (l *ledger) rollsBack(t *task, reason string) bool {
	e := l.journal.at(t.Stack)
	if t.Kind != plan.Up || !e.RollsBack(t.project.Stack, t.Cause, t.blamed()) {
		return false
	}
	e.Bad = plan.Version{Commit: t.check.To, File: t.File, Digest: t.project.Digest}
	e.BadError = reason
	return true
}

// reasonOf is why an operation failed, and of one that was to go back also why it was.
func reasonOf(t *task, reason string) string {
	if t.project.Back == nil || t.Kind != plan.Up {
		return reason
	}
	return fmt.Sprintf("going back to %s failed: %s; that of %s had failed: %s", short(t.project.Back.To), reason, short(t.project.Back.From), t.project.Back.Error)
}
