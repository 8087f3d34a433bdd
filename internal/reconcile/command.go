package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// request is a command that waits for its answer.
type request struct {
	plan.Command
	answer chan error
}

// Do carries out what a person asks for: it is remembered when Do returns, and looked at
// soon. The error says that there is no such stack, or that the context has ended.
func (r *Reconciler) Do(ctx context.Context, c plan.Command) error {
	q := request{c, make(chan error, 1)}
	select {
	case r.requests <- q:
		return <-q.answer
	case <-ctx.Done():
		return fmt.Errorf("the daemon is busy: %w", context.Cause(ctx))
	case <-r.ended:
		return errors.New("the daemon ends")
	}
}

// command carries out a command, in the loop.
func (r *Reconciler) command(c plan.Command) error {
	if c.Stack != plan.Everything && !r.ledger.knows(c.Stack) {
		return fmt.Errorf("%w: %s", plan.ErrNoStack, c.Stack)
	}
	l := r.o.Logger.With("stack", c.Stack, "cause", "by "+c.By)
	switch c.Action {
	case plan.Suspend:
		s := c.Suspension
		s.Since = time.Now()
		r.journal.Suspended[c.Stack] = s
		r.journal.touch()
		l.Info("suspended")
	case plan.Resume:
		delete(r.journal.Suspended, c.Stack)
		r.journal.touch()
		l.Info("resumed")
	case plan.Retry:
		r.retry(c.Stack)
		l.Info("tried again")
	case plan.Sync:
		r.remote.ask("person")
	default:
		return fmt.Errorf("there is no action %q", c.Action)
	}
	r.journal.save()
	r.again = true
	e := report.Event{At: time.Now(), Stack: c.Stack, Operation: string(c.Action), By: c.By, Cause: c.Reason}
	if c.Stack == plan.Everything {
		e.Stack = ""
	}
	r.ledger.happened(e)
	return nil
}

// retry ends pauses, lets what was rolled back from be tried again, and what waits for its
// window go on.
func (r *Reconciler) retry(stack string) {
	wanted := map[string]string{}
	for _, s := range r.loaded.stacks {
		if s.Invalid == "" {
			wanted[s.Name] = s.Digest
		}
	}
	for name := range r.ledger.concerns {
		if name != stack && stack != plan.Everything {
			continue
		}
		e := r.journal.at(name)
		e.Passed = cmp.Or(wanted[name], plan.StopDigest)
		e.RetryAt, e.Bad, e.BadError = time.Time{}, plan.Version{}, ""
		if e.Own.Failed != "" {
			e.Own.Failed, e.Own.Failures, e.Own.RetryAt = "", 0, time.Time{}
		}
	}
}

// knows says whether there is a stack of a name. Before the first look anything may be.
func (l *ledger) knows(stack string) bool {
	_, ok := l.concerns[stack]
	return ok || l.repair == nil
}

// suspensions sees to what is suspended: what is over is forgotten, and so are stacks that
// there are no more; what lasts is said again.
func (l *ledger) suspensions(c *check) {
	j, now := l.journal, c.At
	for key, s := range j.Suspended {
		gone := key != plan.Everything && c.view.state.Offline == "" && !l.knows(key)
		if gone || !s.Until.IsZero() && !now.Before(s.Until) {
			delete(j.Suspended, key)
			j.touch()
			l.log.Info("no longer suspended", "stack", key)
		}
	}
	for _, s := range c.view.state.Wanted {
		switch e := j.peek(s.Name); {
		case s.Suspend && s.Invalid == "" && e.Labelled.IsZero():
			j.at(s.Name).Labelled = now
		case !s.Suspend && !e.Labelled.IsZero():
			j.at(s.Name).Labelled = time.Time{}
		}
	}
	said := map[string]int{}
	for _, h := range c.view.plan.Held {
		if h.Reason != plan.HeldSuspended {
			continue
		}
		said[h.Stack] = l.reminded[h.Stack]
		if since := l.suspension(h.Stack).Since; !since.IsZero() {
			said[h.Stack] = int(now.Sub(since) / plan.Remind)
		}
		if said[h.Stack] > l.reminded[h.Stack] {
			l.log.Warn("stack is still suspended", "stack", h.Stack, "cause", h.Detail)
		}
	}
	l.reminded = said
}

// suspension is what suspends a stack: itself, all, or its label.
func (l *ledger) suspension(stack string) *report.Suspension {
	for _, key := range []string{stack, plan.Everything} {
		if s, is := l.journal.Suspended[key]; is {
			return &report.Suspension{By: s.By, Reason: s.Reason, Since: s.Since, Until: s.Until}
		}
	}
	return &report.Suspension{By: report.ByGit, Since: l.journal.peek(stack).Labelled}
}
