package handover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// Options of a HandOver.
type Options struct {
	Engine Engine
	// Dir gives the daemon's folder within .git, which is there once the clone is.
	Dir   func() (string, error)
	Clone Clone
	// Self is the container that the daemon runs in.
	Self   string
	Logger *slog.Logger
}

// HandOver is a daemon's part in hand-overs: it asks for them, and it may be
// the old one, the new one, or one that came in between. As a report.Reporter it
// tells the helper that waits for it when it is ready.
type HandOver struct {
	o Options

	mu   sync.Mutex
	sign *sign // what it says of itself while it is on probation
	// first is when the first check began that could look.
	first *time.Time
	done  chan struct{} // closed when the daemon is ready and that check has ended
}

// New makes a HandOver.
func New(o Options) *HandOver { return &HandOver{o: o, done: make(chan struct{})} }

// Outcome is how a hand-over ended.
type Outcome struct {
	Request
	Started, Ended time.Time
	// Gap is the time in which no daemon ran, as far as is known.
	Gap time.Duration
	// Image is the id of the old container's image, Reference what it was called.
	Image, Reference string
	// Error is why it was taken back; empty if it was not. Detail are the new
	// daemon's last words then.
	Error, Detail string
	// Again says that the version is not to blame for that.
	Again bool
}

func (h *HandOver) worker(dir string) *worker {
	ready := func() bool {
		select {
		case <-h.done:
			return true
		default:
			return false
		}
	}
	return &worker{engine: h.o.Engine, dir: dir, log: h.o.Logger, load: noLoad, me: h.o.Self, ready: ready}
}

// Over asks for a hand-over to what a project wants of a service, and waits. As
// a rule it ends with ctx, when the daemon is stopped. It returns nil when the
// hand-over has ended and this daemon is still here: see Outcome for why. An
// error says that nothing was begun.
func (h *HandOver) Over(ctx context.Context, p render.Project, r Request) error {
	dir, err := h.o.Dir()
	if err != nil {
		return err
	}
	image, entrypoint, err := h.o.Engine.Successor(ctx, p, r.Service)
	if err != nil {
		return err
	}
	self, there, err := h.o.Engine.Live(ctx, h.o.Self)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("the engine does not know the daemon's container %s", h.o.Self)
	}
	w := h.worker(dir)
	if err := h.ask(ctx, w, self, image, entrypoint, r); err != nil {
		if !h.Pending() {
			return err
		}
		h.o.Logger.Warn("the hand-over has begun badly", "err", err)
	}
	return w.attend(ctx, old)
}

// ask writes the record and starts the helpers, with the lock held: they wait
// for it.
func (h *HandOver) ask(ctx context.Context, w *worker, self engine.Live, image string, entrypoint []string, r Request) error {
	release, err := lock(filepath.Join(w.dir, lockFile))
	if err != nil {
		return fmt.Errorf("begin the hand-over: %w", err)
	}
	defer release()
	if rec, err := read(w.dir); err != nil || rec != nil {
		return errors.Join(err, errors.New("another hand-over has not ended"))
	}
	if err := os.RemoveAll(filepath.Join(w.dir, signFile)); err != nil {
		return err
	}
	w.rec = &Record{V: recordFormat, Request: r, Clone: h.o.Clone, Old: Container{ID: self.ID, Name: self.Name, Image: self.Image, Reference: self.Reference, Restart: self.Policy}}
	if err := w.rec.save(w.dir, Asked); err != nil {
		return err
	}
	if w.rec.Guard, err = w.startHelper(ctx, guard, self.ID, self.Image, nil); err != nil {
		h.o.Logger.Warn("the hand-over has no guard", "err", err)
	}
	if w.rec.Helper, err = w.startHelper(ctx, helper, self.ID, image, entrypoint); err != nil {
		again := engine.Unreachable(err) || ctx.Err() != nil
		return w.giveUp(ctx, fmt.Sprintf("the new image can't do the hand-over: %v", err), again)
	}
	return w.rec.save(w.dir, Helped)
}

func (w *worker) startHelper(ctx context.Context, as role, like, image string, entrypoint []string) (id string, err error) {
	return w.engine.StartHelper(ctx, engine.Helper{
		Name:  "gitops-compose-" + string(as) + "-" + w.rec.Old.ID[:min(12, len(w.rec.Old.ID))],
		Owner: w.rec.Clone.owner(), Like: like, Image: image, Entrypoint: entrypoint,
		Args: []string{Command, string(as), w.dir},
	})
}

// Command is the subcommand that helpers run; its arguments are the role and
// the folder of the record.
const Command = "hand-over"

// Start is called before a daemon's first look. It waits until no hand-over is
// under way that is to end this daemon, and removes what earlier ones left.
func (h *HandOver) Start(ctx context.Context) error {
	w, rec, err := h.record()
	if w == nil || err != nil {
		return err
	}
	switch {
	case rec == nil || rec.Step == Done:
		return h.tidy(ctx, w.dir)
	case rec.New.ID == h.o.Self && !rec.back():
		h.o.Logger.Info("taking over from the daemon before", "commit", rec.Commit[:min(7, len(rec.Commit))])
		h.mu.Lock()
		h.sign = &sign{Container: h.o.Self}
		h.mu.Unlock()
		return nil
	case rec.Old.ID == h.o.Self && rec.back():
		return nil
	case rec.New.ID == h.o.Self:
		h.o.Logger.Info("waiting for the end of a hand-over that is taken back")
		return w.attend(ctx, successor)
	case rec.Old.ID == h.o.Self:
		h.o.Logger.Info("waiting for the hand-over that is under way")
		return w.attend(ctx, old)
	default:
		h.o.Logger.Info("waiting for a hand-over between two other containers")
		return w.attend(ctx, bystander)
	}
}

// record reads the record; all is nil before there is a clone.
func (h *HandOver) record() (*worker, *Record, error) {
	dir, err := h.o.Dir()
	if err != nil {
		return nil, nil, nil //nolint:nilerr // there is no clone yet, and so no hand-over
	}
	rec, err := read(dir)
	return h.worker(dir), rec, err
}

// Attend sees a hand-over to its end that is under way when this daemon starts
// to work. It calls ended then.
func (h *HandOver) Attend(ctx context.Context, ended func()) error {
	w, rec, err := h.record()
	if w == nil || rec == nil || err != nil {
		return err
	}
	as := old
	if rec.New.ID == h.o.Self {
		as = successor
	}
	if err := w.attend(ctx, as); err != nil {
		return err
	}
	ended()
	return nil
}

// tidy removes helpers that nobody needs any more, and what the last new daemon
// said of itself.
func (h *HandOver) tidy(ctx context.Context, dir string) error {
	h.mu.Lock()
	h.sign = nil
	h.mu.Unlock()
	return errors.Join(sweep(ctx, h.o.Engine, h.o.Clone.owner(), ""), os.RemoveAll(filepath.Join(dir, signFile)))
}

// Pending says whether a hand-over has not ended, or has and is not forgotten:
// until its outcome is known, another one may be to the version that failed.
func (h *HandOver) Pending() bool {
	_, rec, err := h.record()
	return err != nil || rec != nil
}

// Outcome tells how the last hand-over ended, until Forget is called; false if
// there is none.
func (h *HandOver) Outcome() (Outcome, bool) {
	_, rec, err := h.record()
	if err != nil || rec == nil || rec.Step != Done {
		return Outcome{}, false
	}
	o := Outcome{Request: rec.Request, Started: rec.At[Asked], Ended: rec.At[Done], Image: rec.Old.Image, Reference: rec.Old.Reference, Error: rec.Reason, Detail: rec.Detail, Again: rec.Again}
	if since, until := rec.At[Disarmed], rec.At[Started]; !since.IsZero() && until.After(since) {
		o.Gap = until.Sub(since)
	}
	return o, true
}

// Forget drops the record of a hand-over that has ended, and what is left of
// its old container and of its helpers.
func (h *HandOver) Forget(ctx context.Context) error {
	w, rec, err := h.record()
	if err != nil || rec == nil || rec.Step != Done {
		return err
	}
	left, err := h.o.Engine.Asides(ctx, rec.Stack)
	for _, id := range left {
		err = errors.Join(err, h.o.Engine.Remove(ctx, id))
	}
	return errors.Join(err, h.tidy(ctx, w.dir), os.Remove(filepath.Join(w.dir, recordFile)))
}

// Looked tells a helper that waits whether the daemon is ready.
func (h *HandOver) Looked(l report.Look) {
	h.say(func(s *sign) {
		s.Ready, s.Error, s.Blocked = l.Error == "", l.Error, l.Blocked
		if s.Ready && h.first == nil {
			h.first = &l.At
		}
	})
}

// Updated says nothing to helpers.
func (h *HandOver) Updated(report.Stack) {}

// Ended tells a helper that waits that a check has ended: the first one that got
// to its operations. Later ones may end before it, and have less to do.
func (h *HandOver) Ended(c report.Check) {
	h.say(func(s *sign) { s.Ended = s.Ended || h.first != nil && c.At.Equal(*h.first) })
}

func (h *HandOver) say(change func(*sign)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sign == nil {
		return
	}
	before := *h.sign
	change(h.sign)
	if *h.sign == before {
		return
	}
	if h.sign.Ready && h.sign.Ended {
		select {
		case <-h.done:
		default:
			close(h.done)
		}
	}
	dir, err := h.o.Dir()
	if err == nil {
		err = writeFile(filepath.Join(dir, signFile), h.sign)
	}
	if err != nil {
		h.o.Logger.Warn("the hand-over can't be told that this daemon is ready", "err", err)
	}
}
