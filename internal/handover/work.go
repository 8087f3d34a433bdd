package handover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// Engine is what a hand-over does to containers. Each call may be repeated
// after an error or a kill.
type Engine interface {
	// Live looks at a container by id or name; false if there is none.
	Live(ctx context.Context, id string) (engine.Live, bool, error)
	// StartHelper replaces and starts a helper.
	StartHelper(ctx context.Context, h engine.Helper) (id string, err error)
	// Helpers lists an owner's helpers.
	Helpers(ctx context.Context, owner string) ([]string, error)
	// Asides lists containers that gave their name away and do not run.
	Asides(ctx context.Context, project string) ([]string, error)
	// CreateSuccessor makes a service's container beside the old one.
	CreateSuccessor(ctx context.Context, p render.Project, service, old string) (id string, err error)
	// Successor is the image that it is made from, by id, and its entrypoint if
	// that is not the image's own.
	Successor(ctx context.Context, p render.Project, service string) (image string, entrypoint []string, err error)
	Rename(ctx context.Context, id, name string) error
	SetRestart(ctx context.Context, id string, r engine.Restart) error
	End(ctx context.Context, id string) error
	Start(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	LastLines(ctx context.Context, id string) string
}

const (
	// pause is how often what others do is looked at.
	pause = 200 * time.Millisecond
	// longPause is what that grows to while nothing can be done.
	longPause = 30 * time.Second
	// outagePause is what the pause before a step is tried again grows to while the
	// engine can't be reached: a daemon may be stopped meanwhile.
	outagePause = 2 * time.Second
	// tries is how often a step is tried before it counts as failed. An engine
	// that can't be reached is waited for instead.
	tries = 3
	// settling is how long a helper may take from its start to its first step.
	settling = time.Minute
	// revival is how long the engine may take to start a container again after
	// it was started itself.
	revival = 5 * time.Second
	// lasting is how long the old container has to stay as it was, before a
	// hand-over counts as taken back.
	lasting = 2 * time.Second
	// hopeless is how many restarts of a container mean that it can't work.
	hopeless = 3
	// killed is the lowest exit code of a process that a signal ended: nobody's
	// own fault.
	killed = 128
)

// worker does the work of a hand-over. It holds the record's lock.
type worker struct {
	engine Engine
	dir    string // of the record
	log    *slog.Logger
	load   func(context.Context, *Record) (render.Project, error)
	me     string // the container that it runs in
	rec    *Record
	// since is when it began to look at what others do: before that they may
	// have been stopped together with it.
	since time.Time
	said  map[string]string // what it warned of last, by what that was about
	// ready says of a new daemon whether it has nothing more to prove; nil if it
	// is none.
	ready func() bool
}

// fault is why a hand-over is taken back.
type fault struct {
	err error
	// detail are the new daemon's last words, see Record.Detail.
	detail string
	// again says that the version is not to blame.
	again bool
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// forward goes on with a hand-over to its end, or takes it back.
func (w *worker) forward(ctx context.Context) error {
	for _, s := range []struct {
		step Step
		do   func(context.Context) error
	}{
		{Begun, w.begin},
		{Renamed, w.rename},
		{Created, w.create},
		{Disarmed, w.disarm},
		{Stopped, w.stop},
		{Started, w.start},
		{Ready, w.await},
		{Removed, w.remove},
	} {
		if w.rec.reached(s.step) {
			continue
		}
		err := w.step(ctx, s.step, s.do)
		var f *fault
		switch {
		case err == nil:
		case errors.As(err, &f):
			w.rec.Detail = f.detail
			return w.giveUp(ctx, f.err.Error(), f.again)
		default:
			return err
		}
	}
	return w.end(ctx)
}

// giveUp writes down why, and takes the hand-over back.
func (w *worker) giveUp(ctx context.Context, reason string, again bool) error {
	w.log.Warn("the hand-over is taken back", "cause", reason)
	w.rec.Reason, w.rec.Again = reason, again
	if err := w.rec.save(w.dir, Failing); err != nil {
		return err
	}
	return w.backward(ctx)
}

// backward takes a hand-over back. When the old container is gone the new one
// stays, for it is all there is.
func (w *worker) backward(ctx context.Context) error {
	for _, s := range []struct {
		step Step
		do   func(context.Context) error
	}{ // none is left out that was done before: one of these may show that it was in vain
		{Cleared, w.clear},
		{Restored, w.restore},
		{Revived, w.revive},
	} {
		if err := w.step(ctx, s.step, s.do); err != nil {
			return err
		}
	}
	return w.end(ctx)
}

// step does one step and writes it down. An engine that can't be reached is
// waited for. What it could not start is not started again: engine 29 starts it
// without its networks then.
func (w *worker) step(ctx context.Context, step Step, do func(context.Context) error) error {
	wait := pause
	for try := 1; ; try++ {
		err := do(ctx)
		var f *fault
		switch {
		case err == nil:
			if _, again := w.rec.At[step]; !again {
				w.log.Info("hand-over", "op", string(step))
			}
			return w.rec.save(w.dir, step)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case engine.Unreachable(err):
			try = 0
			wait = min(2*wait, outagePause)
		case errors.As(err, &f):
			return err
		case w.rec.back() || w.rec.reached(Ready): // there is no other way to go
			if try == tries {
				return err
			}
		case try == tries, step == Started: // what can't be made or started is the version's fault
			return &fault{err: err, again: step != Created && step != Started}
		}
		if w.news(string(step), err) {
			w.log.Warn("a step of the hand-over failed and is repeated", "op", string(step), "err", err)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// news says whether a warning, which may come again and again, is another one
// than the last about the same.
func (w *worker) news(about string, err error) bool {
	if w.said[about] == err.Error() {
		return false
	}
	if w.said == nil {
		w.said = map[string]string{}
	}
	w.said[about] = err.Error()
	return true
}

func (w *worker) begin(ctx context.Context) error {
	if _, there, err := w.engine.Live(ctx, w.rec.Old.ID); err != nil || there {
		return err
	}
	return &fault{err: errors.New("the daemon's container is gone"), again: true}
}

func (w *worker) rename(ctx context.Context) error {
	return w.engine.Rename(ctx, w.rec.Old.ID, engine.Aside(w.rec.Old.Name, w.rec.Old.ID))
}

func (w *worker) create(ctx context.Context) error {
	p, err := w.load(ctx, w.rec)
	if err != nil {
		return &fault{err: err, again: true}
	}
	id, err := w.engine.CreateSuccessor(ctx, p, w.rec.Service, w.rec.Old.ID)
	if err != nil {
		return err
	}
	w.rec.New.ID = id
	return nil
}

func (w *worker) disarm(ctx context.Context) error {
	return w.engine.SetRestart(ctx, w.rec.Old.ID, engine.Restart{Name: "no"})
}

func (w *worker) stop(ctx context.Context) error { return w.engine.End(ctx, w.rec.Old.ID) }

func (w *worker) start(ctx context.Context) error { return w.engine.Start(ctx, w.rec.New.ID) }

// await waits until the new daemon is ready and its first check has ended. A
// check may take long, as all that it does takes its time: it gets as much again
// as the daemon got to be ready, and then a daemon that is ready will do.
func (w *worker) await(ctx context.Context) error {
	id, deadline := w.rec.New.ID, latest(w.rec.At[Started], w.since).Add(w.rec.Timeout)
	for {
		var s sign
		if _, err := readFile(filepath.Join(w.dir, signFile), &s); err != nil {
			return err
		}
		if s.Container != id {
			s = sign{}
		}
		alive, err := w.alive(ctx, id)
		if err != nil {
			return err
		}
		late := time.Now().After(deadline)
		if alive && s.Ready && (s.Ended || late && time.Now().After(deadline.Add(w.rec.Timeout))) {
			return nil
		}
		if late && !s.Ready {
			said := s.Error
			if said == "" {
				said = "it has said nothing"
			}
			return &fault{err: fmt.Errorf("the new daemon was not ready within %s: %s", w.rec.Timeout, said), detail: w.engine.LastLines(ctx, id), again: s.Error != "" && !s.Blocked}
		}
		if err := sleep(ctx, pause/2); err != nil {
			return err
		}
	}
}

// alive says whether the new daemon runs, and gives a fault when it has ended.
// One that was killed, and that the engine starts again, may go on.
func (w *worker) alive(ctx context.Context, id string) (bool, error) {
	c, there, err := w.engine.Live(ctx, id)
	switch {
	case err != nil:
		return false, err
	case !there:
		return false, &fault{err: errors.New("the new container was removed"), again: true}
	case c.Restarts >= hopeless:
		return false, &fault{err: fmt.Errorf("the new daemon keeps crashing (exit code %d)", c.ExitCode), detail: w.engine.LastLines(ctx, id)}
	case c.State == "running":
		return true, nil
	case c.State == "restarting" && c.ExitCode >= killed, c.State == "exited" && toldTo(c.ExitCode) && time.Since(w.since) < revival:
		return false, nil
	default:
		return false, &fault{err: fmt.Errorf("the new daemon ended (exit code %d)", c.ExitCode), detail: w.engine.LastLines(ctx, id), again: toldTo(c.ExitCode)}
	}
}

// remove removes the old container, unless the new daemon has ended meanwhile.
func (w *worker) remove(ctx context.Context) error {
	for {
		alive, err := w.alive(ctx, w.rec.New.ID)
		if err != nil {
			return err
		}
		if alive {
			return w.engine.Remove(ctx, w.rec.Old.ID)
		}
		if err := sleep(ctx, pause/2); err != nil {
			return err
		}
	}
}

// gone says whether the old container is no more.
func (w *worker) gone(ctx context.Context) (bool, error) {
	_, there, err := w.engine.Live(ctx, w.rec.Old.ID)
	return !there, err
}

// clear removes the new container, and one that has the old one's name: a helper
// that was killed made it, and could not write it down.
func (w *worker) clear(ctx context.Context) error {
	if gone, err := w.gone(ctx); err != nil || gone {
		return err
	}
	for _, id := range []string{w.rec.Old.Name, w.rec.New.ID} {
		if id == "" {
			continue
		}
		c, there, err := w.engine.Live(ctx, id)
		if err != nil {
			return err
		}
		if !there || c.ID == w.rec.Old.ID {
			continue
		}
		if c.State == "running" { // it gets the time to end what it does
			if err := w.engine.End(ctx, c.ID); err != nil {
				return err
			}
		}
		if err := w.engine.Remove(ctx, c.ID); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) restore(ctx context.Context) error {
	if gone, err := w.gone(ctx); err != nil || gone {
		return err
	}
	if err := w.engine.Rename(ctx, w.rec.Old.ID, w.rec.Old.Name); err != nil {
		return err
	}
	return w.engine.SetRestart(ctx, w.rec.Old.ID, w.rec.Old.Restart)
}

// revive starts the old one, and sees that it stays as it was: a call of a helper
// that was killed may have its effect when others are long at work.
func (w *worker) revive(ctx context.Context) error {
	for since := time.Now(); time.Since(since) < lasting; {
		old, there, err := w.engine.Live(ctx, w.rec.Old.ID)
		switch {
		case err != nil:
			return err
		case !there:
			return w.startNew(ctx)
		case old.Name != w.rec.Old.Name || old.Policy != w.rec.Old.Restart:
			since = time.Now()
			if err := w.restore(ctx); err != nil {
				return err
			}
		case old.State != "running" && old.State != "restarting":
			since = time.Now()
			if err := w.engine.Start(ctx, w.rec.Old.ID); err != nil {
				return err
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// startNew starts the new container, which is all there is. Somebody may have
// removed that one as well: then there is no daemon, and nothing left to be done.
func (w *worker) startNew(ctx context.Context) error {
	if w.rec.New.ID != "" {
		_, there, err := w.engine.Live(ctx, w.rec.New.ID)
		if err != nil {
			return err
		}
		if there {
			return w.engine.Start(ctx, w.rec.New.ID)
		}
	}
	w.log.Warn("both containers of the daemon were removed, so no daemon is left; start it again with docker compose up -d in its folder")
	return nil
}

// end writes down that all is done, and removes the helpers: itself it removes
// last, see Help.
func (w *worker) end(ctx context.Context) error {
	if err := w.rec.save(w.dir, Done); err != nil {
		return err
	}
	return errors.Join(w.keep(ctx), sweep(ctx, w.engine, w.rec.Clone.owner(), w.me))
}

// keep starts the daemon that is left, if it was ended since that was looked at:
// nobody else does it when the helpers have gone.
func (w *worker) keep(ctx context.Context) error {
	left := []string{w.rec.New.ID}
	if w.rec.back() {
		left = []string{w.rec.Old.ID, w.rec.New.ID}
	}
	for _, id := range left {
		if id == "" {
			continue
		}
		c, there, err := w.engine.Live(ctx, id)
		switch {
		case err != nil, there && (c.State == "running" || c.State == "restarting"):
			return err
		case there:
			return w.engine.Start(ctx, id)
		}
	}
	return nil
}

// owner is what helpers of this clone are known by.
func (c Clone) owner() string { return c.Identity + " " + c.HostRoot }

// sweep removes an owner's helpers, but not the one that it is called in.
func sweep(ctx context.Context, e Engine, owner, me string) error {
	ids, err := e.Helpers(ctx, owner)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id != me {
			err = errors.Join(err, e.Remove(ctx, id))
		}
	}
	return err
}
