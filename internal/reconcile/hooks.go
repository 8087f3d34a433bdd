package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// before runs the before hooks of a stack. A checkout that moves their files waits, as for
// an Up. It gives back its slot early: what a hook waits for costs the engine nothing.
func (e *executor) before(ctx context.Context, t *task, release func()) error {
	return e.gate.touch(ctx, t, func() error {
		defer time.AfterFunc(lingering, release).Stop()
		return e.hooks(ctx, t, plan.BeforeHook)
	})
}

// after runs the after hooks of a stack that is up. u is the turn of that Up.
func (e *executor) after(ctx context.Context, t *task, u *turn) error {
	if len(t.Hooks) == 0 {
		return nil
	}
	err := u.Touch(ctx, func() error { return e.hooks(ctx, t, plan.AfterHook) })
	if err != nil && !errors.Is(err, errStale) {
		err = &afterFailed{err}
	}
	return err
}

// hooks runs the hooks of an operation, one after the other.
func (e *executor) hooks(ctx context.Context, t *task, kind plan.HookKind) error {
	for _, service := range t.Hooks {
		if err := e.hook(ctx, t, kind, service); err != nil {
			return err
		}
		e.o.Logger.Info("hook done", "stack", t.Stack, "cause", string(kind)+": "+service)
	}
	return nil
}

func (e *executor) hook(ctx context.Context, t *task, kind plan.HookKind, service string) error {
	limit, from := t.project.Hooks.Timeout, "x-gitops.timeout"
	if limit == 0 {
		limit, from = e.o.DeployTimeout, "DEPLOY_TIMEOUT_IN_SECONDS; x-gitops.timeout is for hooks alone"
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it may take %s (%s)", limit, from))
	defer cancel()
	return e.o.Engine.RunHook(ctx, t.project, kind, service)
}

// afterFailed says that a stack came up and its after hook failed.
type afterFailed struct{ error }

func (a *afterFailed) Unwrap() error { return a.error }

// blamed are the services, with the images that their containers were made from, that an
// error of an Up is about: the one whose container is to blame, or all of a stack whose
// after hook failed.
func (t *task) blamed() map[string]string {
	var after *afterFailed
	if errors.As(t.err, &after) {
		return plan.VersionRun(t.project.Stack, t.check.To, t.runs).Images()
	}
	service, image := blames(t.err)
	if service == "" {
		return nil
	}
	return map[string]string{service: image}
}
