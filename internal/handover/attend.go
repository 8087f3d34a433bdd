package handover

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// role is what somebody who attends a hand-over is in it.
type role string

const (
	helper    role = "helper"    // from the new image: does the work
	guard     role = "guard"     // from the old image: goes on when the helper can't
	old       role = "old"       // the daemon that is to be replaced
	successor role = "successor" // the daemon that replaces it
	bystander role = "bystander" // a daemon in neither container
)

// attend stays until a hand-over has ended, and does the work when it is this
// one's turn.
func (w *worker) attend(ctx context.Context, as role) error {
	w.since = time.Now()
	for wait := pause; ; {
		rec, err := read(w.dir)
		if err != nil || rec == nil || rec.Step == Done {
			return err
		}
		switch err := w.turn(ctx, as); {
		case err == nil, errors.Is(err, errTaken):
			wait = pause
		case ctx.Err() != nil:
			return context.Cause(ctx)
		default:
			if w.news("stuck", err) {
				w.log.Warn("the hand-over is stuck for the moment", "err", err)
			}
			w.since = time.Now() // nothing could be seen of the others meanwhile
			wait = min(2*wait, longPause)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// turn works on the hand-over if somebody has to and nobody better can. It fails
// with errTaken while another one is at work.
func (w *worker) turn(ctx context.Context, as role) error {
	release, err := lock(filepath.Join(w.dir, lockFile))
	if err != nil {
		return err
	}
	defer release()
	rec, err := read(w.dir)
	if err != nil || rec == nil || rec.Step == Done {
		return err
	}
	w.rec = rec
	if as == helper {
		if rec.back() {
			return w.backward(ctx)
		}
		return w.forward(ctx)
	}
	why, fault, err := w.helpless(ctx)
	if err != nil || why == "" {
		return err
	}
	switch {
	case as == bystander: // somebody else made another container of the daemon
		return w.abandon(ctx, why)
	case as == successor && (rec.back() || !w.ready()):
		return w.sendGuard(ctx)
	case rec.back():
		return w.backward(ctx)
	case as == successor, as == guard && rec.reached(Created):
		return w.forward(ctx)
	default:
		return w.giveUp(ctx, why, !fault)
	}
}

// helpless says why the helper can't be counted on; empty if it can. fault says
// that the new image is to blame; then its last words are in the record.
func (w *worker) helpless(ctx context.Context) (why string, fault bool, err error) {
	if w.rec.Helper == "" {
		return "the hand-over was interrupted before it began", false, nil
	}
	c, there, err := w.engine.Live(ctx, w.rec.Helper)
	begun := w.rec.reached(Begun) || w.rec.back()
	waking := time.Since(w.since) < revival
	switch {
	case err != nil:
		return "", false, err
	case !there:
		return "the helper was removed", false, nil
	case c.Restarts >= hopeless:
		w.rec.Detail = w.engine.LastLines(ctx, w.rec.Helper)
		return fmt.Sprintf("the new image can't do the hand-over: it keeps crashing (exit code %d)", c.ExitCode), !begun, nil
	case c.State == "exited" && waking:
		return "", false, nil
	case c.State == "exited", c.State == "dead":
		return fmt.Sprintf("the helper ended (exit code %d)", c.ExitCode), !begun && !toldTo(c.ExitCode), nil
	case time.Since(latest(w.lastStep(), w.since)) > settling: // it has the lock when it is at work
		w.rec.Detail = w.engine.LastLines(ctx, w.rec.Helper)
		return fmt.Sprintf("the new image did not begin with the hand-over within %s", settling), !begun, nil
	default:
		return "", false, nil
	}
}

// toldTo says whether a process ended with an exit code because it was told to,
// or was killed.
func toldTo(exitCode int) bool { return exitCode == 0 || exitCode >= killed }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (w *worker) lastStep() (last time.Time) {
	for _, at := range w.rec.At {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// sendGuard starts another guard, if the last one ended too, when the new daemon
// can't go on by itself: while it is not known whether it will be ready, or when it
// is to be taken back, it would end itself half-way.
func (w *worker) sendGuard(ctx context.Context) error {
	c, there, err := w.engine.Live(ctx, w.rec.Guard)
	if err != nil || there && (c.State == "running" || c.State == "restarting" || time.Since(w.since) < revival) {
		return err
	}
	w.log.Info("nobody sees to the hand-over any more: another guard is started")
	if w.rec.Guard, err = w.startHelper(ctx, guard, w.me, w.rec.Old.Image, nil); err != nil {
		return err
	}
	return w.rec.save(w.dir, w.rec.Step)
}

// abandon ends a hand-over whose containers somebody else has replaced. What
// still runs of them is left alone.
func (w *worker) abandon(ctx context.Context, why string) error {
	if !w.rec.back() {
		w.rec.Reason, w.rec.Again = why, true
	}
	for _, id := range []string{w.rec.New.ID, w.rec.Old.ID} {
		if id == "" {
			continue
		}
		c, there, err := w.engine.Live(ctx, id)
		if err != nil {
			return err
		}
		if there && c.State != "running" {
			if err := w.engine.Remove(ctx, id); err != nil {
				return err
			}
		}
	}
	return w.end(ctx)
}
