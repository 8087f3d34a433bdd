package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// overs is a HandOver that does what a test says.
type overs struct {
	w *world

	mu      sync.Mutex
	pending bool
	outcome *Outcome
	asked   []Own
	// ends is how the next ones end; the last one is repeated. Without any they
	// end with the daemon.
	ends []end
}

// end is how a hand-over ends: after a while, taken back for a reason, or not
// even begun.
type end struct {
	after  time.Duration
	reason string
	again  bool
	err    error
}

func (h *overs) Over(ctx context.Context, p render.Project, o Own) error {
	h.w.mu.Lock()
	h.w.note("hand over %s %s", p.Name, o.Commit)
	if len(p.Services) != 1 || p.Services[0].Name != "app" {
		h.w.t.Errorf("services %v are handed over", p.Services)
	}
	h.w.mu.Unlock()
	h.mu.Lock()
	h.asked = append(h.asked, o)
	if len(h.ends) == 0 {
		h.pending = true
		h.mu.Unlock()
		<-ctx.Done()
		return context.Cause(ctx)
	}
	e := h.ends[0]
	if len(h.ends) > 1 {
		h.ends = h.ends[1:]
	}
	h.pending = e.err == nil
	h.mu.Unlock()
	started := time.Now()
	if err := takes(e.after)(ctx); err != nil || e.err != nil {
		return errors.Join(err, e.err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = false
	h.outcome = &Outcome{Own: o, Stack: p.Name, File: p.File, Started: started, Ended: time.Now(), Error: e.reason, Again: e.again}
	return nil
}

// will says how the next ones end.
func (h *overs) will(ends ...end) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends = ends
}

func (h *overs) Pending() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pending
}

func (h *overs) Outcome() (Outcome, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.outcome == nil {
		return Outcome{}, false
	}
	return *h.outcome, true
}

func (h *overs) Forget(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outcome = nil
	return nil
}

// tries is how often it was handed over.
func (h *overs) tries() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint(len(h.asked))
}

// ended is what the helpers leave behind.
func (h *overs) ended(o Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending, h.outcome = false, &o
}

func (h *overs) option(o *Options) { o.HandOver = h }

// newOwn is a world in which the daemon runs as the first version of the stack
// own, beside others.
func newOwn(t *testing.T, others ...plan.Stack) (*world, *overs) {
	w := newWorld(t, append([]plan.Stack{stack("own")}, others...)...)
	w.runsAs(1)
	return w, &overs{w: w}
}

// runsAs makes the daemon's container one of a version.
func (w *world) runsAs(v int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := version(v, stack("own"))
	w.images[s.Services[0].Image] = true
	w.running["own"] = plan.Running{
		Project: "own", File: s.File, Ours: true, Labelled: true, Controller: true, Networks: s.Networks,
		Containers: []plan.Container{{ID: s.Digest, Service: "app", State: "running", Hash: s.Digest, Image: "id of " + s.Services[0].Image, Self: true}},
	}
}

func (d *daemon) own() plan.Own { return d.r.journal.peek("own").Own }

func (d *daemon) operations() string {
	d.recorder.mu.Lock()
	defer d.recorder.mu.Unlock()
	var out []string
	for _, c := range d.ended {
		for _, op := range c.Operations {
			text := op.Kind
			if op.Stack != "" {
				text += " " + op.Stack
			}
			if op.Error != "" {
				text += " (" + op.Error + ")"
			}
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}

func (d *daemon) final(name string) report.Stack {
	d.recorder.mu.Lock()
	defer d.recorder.mu.Unlock()
	for _, s := range d.ended[len(d.ended)-1].Final {
		if s.Name == name {
			return s
		}
	}
	return report.Stack{}
}

func TestWhenItHandsOver(t *testing.T) {
	bubble(t, "after all else of its check has ended, and only when the image is here", func(t *testing.T) {
		w, h := newOwn(t, stack("web"))
		d := start(t, w, h.option)
		w.did()
		w.on("settle web", takes(time.Minute))
		w.push("c2", version(2, stack("own")), version(2, stack("web")))
		d.look()
		d.expect("did", w.did(), "checkout c2, pull web, up web c2")
		d.expect("picture", words(d.looksSoFar()[1].Stacks), "own=running/applying web=running/applying")
		pass(time.Minute)
		d.expect("did", w.did(), "pull own, hand over own c2")
		d.stop()
		if got := h.asked[0]; got.Service != "app" || got.Version != "own2" || got.Commit != "c2" || got.Timeout != 5*time.Minute {
			t.Errorf("asked for %+v", got)
		}
	})
	bubble(t, "after others have failed", func(t *testing.T) {
		w, h := newOwn(t, stack("web"))
		w.on("up web", fails("port is taken"))
		d := start(t, w, h.option)
		w.did()
		w.push("c2", version(2, stack("own")), version(2, stack("web")))
		d.look()
		d.expect("did", w.did(), "checkout c2, pull web, pull own, hand over own c2")
		d.stop()
	})
	bubble(t, "not while operations of an earlier check run, and at what git says when they have ended", func(t *testing.T) {
		w, h := newOwn(t, stack("web"))
		d := start(t, w, h.option)
		w.did()
		w.on("settle web", takes(2*time.Minute))
		w.push("c2", stack("own"), version(2, stack("web")))
		d.look()
		w.push("c3", version(3, stack("own")), version(2, stack("web")))
		pass(time.Minute)
		d.look()
		d.expect("did", w.did(), "checkout c2, pull web, up web c2, checkout c3")
		w.push("c4", version(4, stack("own")), version(2, stack("web")))
		d.look()
		d.expect("did", w.did(), "checkout c4")
		pass(time.Minute)
		d.expect("did", w.did(), "pull own, hand over own c4")
		d.expect("triggers", d.triggers(), "start webhook webhook webhook lane")
		d.stop()
	})
	bubble(t, "not before what has to be looked at again was", func(t *testing.T) {
		w, h := newOwn(t, stack("a", "b"), stack("b"))
		h.will(end{after: time.Minute, reason: "it ended"})
		w.on("up b", fails("port is taken"))
		w.push("c2", version(2, stack("own")), stack("a", "b"), stack("b"))
		d := start(t, w, h.option)
		if did := w.did(); !strings.HasSuffix(did, "pull own, hand over own c2") {
			t.Errorf("did %s", did)
		}
		pass(59 * time.Second)
		d.expect("no check meanwhile", d.triggers(), "start lane lane")
		d.expect("did", w.did(), "")
		pass(time.Second)
		if got := d.triggers(); !strings.HasPrefix(got, "start lane lane lane") {
			t.Errorf("none after it: %s", got)
		}
		d.stop()
	})
	bubble(t, "and keeps what triggers meanwhile until it has failed", func(t *testing.T) {
		w, h := newOwn(t, stack("web"))
		d := start(t, w, h.option, w.watched, every(10*time.Second))
		h.will(end{after: time.Minute, reason: "it ended"})
		w.push("c2", version(2, stack("own")), stack("web"))
		d.look()
		looks := d.looks()
		w.push("c3", version(2, stack("own")), version(3, stack("web")))
		for range 50 {
			d.r.Trigger("webhook")
			w.tell("web")
			pass(time.Second)
		}
		d.expect("looks meanwhile", fmt.Sprint(d.looks()-looks), "0")
		pass(10 * time.Second)
		d.expect("runs", d.runs(), "own=own1 web=web3")
		d.stop()
	})
	bubble(t, "and ends at once when it is told to stop meanwhile, without a trace of failure", func(t *testing.T) {
		w, h := newOwn(t, stack("web"))
		d := start(t, w, h.option)
		w.push("c2", version(2, stack("own")), stack("web"))
		d.look()
		before := d.counts()
		asked := time.Now()
		d.stop()
		d.expect("took", time.Since(asked).String(), "0s")
		d.expect("counts", d.counts(), before)
		d.expect("operations", d.operations(), "pull web, up web, checkout, pull own")
		if own := d.own(); own.Failed != "" || own.Error != "" || own.Failures != 0 {
			t.Errorf("remembered %+v", own)
		}
		if logs := d.logs.String(); strings.Contains(logs, "level=ERROR") || strings.Contains(logs, "level=WARN") {
			t.Errorf("logs: %s", logs)
		}
	})
	bubble(t, "not when it was told to stop before", func(t *testing.T) {
		w, h := newOwn(t, stack("web"))
		d := start(t, w, h.option)
		w.on("settle web", takes(5*time.Second))
		w.push("c2", version(2, stack("own")), version(2, stack("web")))
		d.look()
		d.stop()
		d.expect("tries", h.tries(), "0")
	})
	bubble(t, "not when the checkout failed", func(t *testing.T) {
		w, h := newOwn(t)
		d := start(t, w, h.option)
		w.on("checkout", fails("disk full"))
		w.push("c2", version(2, stack("own")))
		d.look()
		d.expect("tries", h.tries(), "0")
		d.stop()
	})
	bubble(t, "never to a stack while another hand-over has not ended, but the others go on", func(t *testing.T) {
		w, h := newOwn(t, stack("web"))
		h.pending = true
		w.push("c2", version(2, stack("own")), version(2, stack("web")))
		d := start(t, w, h.option)
		d.expect("runs", d.runs(), "own=own1 web=web2")
		d.expect("picture", d.last(), "own=failed/applying web=running/synced")
		d.expect("tries", h.tries(), "0")
		h.ended(Outcome{Own: Own{Version: "own2", Commit: "c2"}, Stack: "own", Error: "killed", Again: true, Ended: time.Now()})
		d.r.Trigger("hand_over")
		pass(10 * time.Second)
		d.expect("tries", h.tries(), "1")
		d.stop()
	})
}

func TestHowAHandOverEnded(t *testing.T) {
	bubble(t, "the new daemon takes in that it succeeded, once", func(t *testing.T) {
		w, h := newOwn(t)
		w.runsAs(2)
		w.push("c2", version(2, stack("own")))
		w.local = "c2"
		now := time.Now()
		h.ended(Outcome{Own: Own{Service: "app", Version: "own2", Commit: "c2", Cause: "changed: x"}, Stack: "own", File: "own/compose.yaml", Started: now, Ended: now.Add(time.Second), Gap: time.Second})
		d := start(t, w, h.option, every(time.Minute))
		pass(time.Hour)
		d.expect("counts", d.counts(), "updated own")
		d.expect("operations", d.operations(), "hand over own")
		d.expect("picture", d.last(), "own=running/synced")
		s := d.final("own")
		if s.Commit != "c2" || s.Attempted != "c2" || s.LastSuccess.IsZero() || len(s.Outcomes) != 1 || s.Outcomes[0].Operation != "hand over" || s.Outcomes[0].Cause != "changed: x" {
			t.Errorf("stack: %+v", s)
		}
		if own := d.own(); own != (plan.Own{Applied: "own2"}) {
			t.Errorf("remembered %+v", own)
		}
		d.expect("tries", h.tries(), "0")
		d.stop()
	})
	bubble(t, "a version that failed is held, counted once, and not tried again until git changes it", func(t *testing.T) {
		w, h := newOwn(t, stack("web"))
		d := start(t, w, h.option, every(time.Minute))
		h.will(end{after: time.Minute, reason: "the new daemon ended (exit code 1)"})
		w.push("c2", version(2, stack("own")), stack("web"))
		d.look()
		pass(24 * time.Hour)
		d.expect("tries", h.tries(), "1")
		d.expect("counts", d.counts(), "started web, failed own")
		d.expect("operations", d.operations(), "pull web, up web, checkout, pull own, hand over own (the new daemon ended (exit code 1))")
		d.expect("picture", d.last(), "own=failed/held(version) web=running/synced")
		s := d.final("own")
		if s.Error != "the new daemon ended (exit code 1)" || !s.NextRetry.IsZero() || s.Attempted != "c2" || s.Outcomes[0].Error != s.Error {
			t.Errorf("stack: %+v", s)
		}
		w.push("c3", version(2, stack("own")), version(3, stack("web")))
		pass(time.Hour)
		d.expect("tries at a commit that changes others", h.tries(), "1")
		d.stop()
		d = start(t, w, h.option, sameJournal(d), every(time.Minute))
		pass(time.Hour)
		d.expect("tries after a restart", h.tries(), "1")
		w.push("c4", version(4, stack("own")), version(3, stack("web")))
		pass(time.Hour)
		d.expect("tries at a commit that changes it", h.tries(), "2")
		d.stop()
	})
	bubble(t, "a version that failed costs one more try when the journal is lost", func(t *testing.T) {
		w, h := newOwn(t)
		h.will(end{reason: "it ended"})
		w.push("c2", version(2, stack("own")))
		d := start(t, w, h.option, every(time.Minute))
		pass(time.Hour)
		d.stop()
		if err := os.Remove(d.o.Journal); err != nil {
			t.Fatal(err)
		}
		d = start(t, w, h.option, sameJournal(d), every(time.Minute))
		pass(24 * time.Hour)
		d.expect("tries", h.tries(), "2")
		d.expect("picture", d.last(), "own=failed/held(version)")
		d.stop()
	})
	bubble(t, "a failure is over when git takes the version back", func(t *testing.T) {
		w, h := newOwn(t)
		h.will(end{reason: "it ended"})
		w.push("c2", version(2, stack("own")))
		d := start(t, w, h.option)
		w.push("c3", stack("own"))
		d.look()
		d.expect("picture", d.last(), "own=running/synced")
		if s, own := d.final("own"), d.own(); s.Error != "" || own != (plan.Own{Applied: "own1"}) {
			t.Errorf("stack %+v, remembered %+v", s, own)
		}
		w.push("c4", version(2, stack("own")))
		d.look()
		d.expect("tries of the version at another time", h.tries(), "2")
		d.stop()
	})
	bubble(t, "one that was interrupted is tried again after a pause, three times in all", func(t *testing.T) {
		w, h := newOwn(t)
		d := start(t, w, h.option)
		h.will(end{reason: "the helper was removed", again: true})
		w.push("c2", version(2, stack("own")))
		d.look()
		d.expect("tries", h.tries(), "1")
		d.expect("picture", d.last(), "own=failed/retrying(retry)")
		if s := d.final("own"); !s.NextRetry.Equal(time.Now().Add(10 * time.Second)) {
			t.Errorf("next retry %s, now %s", s.NextRetry, time.Now())
		}
		pass(9 * time.Second)
		d.expect("tries", h.tries(), "1")
		pass(time.Second)
		d.expect("tries", h.tries(), "2")
		pass(24 * time.Hour)
		d.expect("tries", h.tries(), "3")
		d.expect("picture", d.last(), "own=failed/held(version)")
		h.will(end{reason: "the helper was removed", again: true}, end{reason: "it ended"})
		w.push("c3", version(3, stack("own")))
		d.look()
		pass(10 * time.Second)
		d.expect("another version has three tries too", h.tries(), "5")
		d.stop()
	})
	bubble(t, "one whose image can't be had is not begun, and is tried again and again", func(t *testing.T) {
		w, h := newOwn(t)
		d := start(t, w, h.option)
		w.on("pull own", fails("registry is down"))
		w.push("c2", version(2, stack("own")))
		d.look()
		d.expect("tries", h.tries(), "0")
		d.expect("picture", d.last(), "own=failed/retrying")
		d.expect("operations", d.operations(), "checkout, pull own (registry is down)")
		d.expect("counts", d.counts(), "failed own")
		pass(time.Hour)
		d.expect("counts", d.counts(), "failed own")
		w.on("pull own", nil)
		h.will(end{reason: "killed", again: true})
		pass(2 * time.Hour)
		d.expect("tries, of which none is lost to the registry", h.tries(), "2")
		pass(24 * time.Hour)
		d.expect("tries", h.tries(), "3")
		d.stop()
	})
	bubble(t, "one that did not begin is a failed operation, and tried again", func(t *testing.T) {
		w, h := newOwn(t)
		d := start(t, w, h.option)
		h.will(end{err: errors.New("the engine hung up")}, end{reason: "it ended"})
		w.push("c2", version(2, stack("own")))
		d.look()
		d.expect("picture", d.last(), "own=failed/retrying")
		d.expect("counts", d.counts(), "failed own")
		d.expect("operations", d.operations(), "checkout, pull own, hand over own (the engine hung up)")
		pass(10 * time.Second)
		d.expect("tries", h.tries(), "2")
		d.expect("picture", d.last(), "own=failed/held(version)")
		d.stop()
	})
	bubble(t, "an outcome is taken in although the check that hears of it fails", func(t *testing.T) {
		w, h := newOwn(t)
		h.ended(Outcome{Own: Own{Version: "own2", Commit: "c2"}, Stack: "own", Error: "it ended", Ended: time.Now()})
		w.push("c2", version(2, stack("own")))
		w.on("fetch", fails("no route to host"))
		d := start(t, w, h.option)
		d.expect("counts", d.counts(), "failed own")
		w.on("fetch", nil)
		pass(time.Minute)
		d.expect("tries", h.tries(), "0")
		d.stop()
	})
}
