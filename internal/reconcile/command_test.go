package reconcile

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

func (d *daemon) command(action plan.Action, stack string, s plan.Suspension) {
	d.t.Helper()
	if err := d.r.Do(d.t.Context(), plan.Command{Action: action, Stack: stack, Suspension: s}); err != nil {
		d.t.Errorf("%s %s: %v", action, stack, err)
	}
	pass(0)
}

func TestPeopleSuspendStacks(t *testing.T) {
	mia := plan.Suspension{By: "mia", Reason: "migrating"}
	bubble(t, "and what waits is done when they go on", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w)
		d.did()
		d.command(plan.Suspend, "web", mia)
		w.push("c2", version(2, stack("web")), version(2, stack("db")))
		d.look()
		w.crash("web")
		pass(time.Hour)
		d.expect("did", d.did(), "checkout c2, pull db, up db c2")
		s := d.status("web")
		if s.Held != "suspended" || s.Suspended == nil || s.Suspended.By != "mia" || s.Suspended.Reason != "migrating" || s.Suspended.Since.IsZero() {
			t.Errorf("it is %+v, %+v", s, s.Suspended)
		}
		d.command(plan.Resume, "web", plan.Suspension{})
		d.expect("did", d.did(), "pull web, up web c2")
		d.expect("picture", d.last(), "db=running/synced web=running/synced")
		d.stop()
	})
	bubble(t, "for a time, over restarts", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		d.did()
		until := mia
		until.Until = time.Now().Add(2 * time.Hour)
		d.command(plan.Suspend, "web", until)
		d.stop()
		w.push("c2", version(2, stack("web")))
		d = start(t, w, sameJournal(d))
		pass(time.Hour)
		d.expect("did", d.did(), "checkout c2")
		pass(time.Hour)
		d.expect("did", d.did(), "pull web, up web c2")
		if len(d.r.journal.Suspended) > 0 {
			t.Errorf("it is remembered: %v", d.r.journal.Suspended)
		}
		d.stop()
	})
	bubble(t, "and those that git removes stay", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w)
		d.did()
		d.command(plan.Suspend, "web", mia)
		w.push("c2", stack("db"))
		d.look()
		d.expect("did", d.did(), "checkout c2")
		d.expect("picture", d.last(), "db=running/synced web=running/held(suspended)")
		d.command(plan.Resume, "web", plan.Suspension{})
		d.expect("did", d.did(), "down web")
		d.stop()
	})
	bubble(t, "all at once", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w)
		d.did()
		d.command(plan.Suspend, plan.Everything, mia)
		w.crash("web")
		w.push("c2", stack("web"), version(2, stack("db")))
		d.look()
		d.expect("did", d.did(), "checkout c2")
		d.expect("who", d.status("db").Suspended.By, "mia")
		d.command(plan.Resume, plan.Everything, plan.Suspension{})
		if did := d.did(); !strings.Contains(did, "up web c2") || !strings.Contains(did, "up db c2") {
			t.Errorf("did %s", did)
		}
		d.stop()
	})
	bubble(t, "and are reminded of it each day, of a label as well", func(t *testing.T) {
		labelled := stack("db")
		labelled.Suspend = true
		w := newWorld(t, stack("web"), labelled)
		d := start(t, w, func(o *Options) { o.Interval = 10 * time.Minute })
		d.command(plan.Suspend, "web", mia)
		reminded := func() int { return strings.Count(d.logs.String(), "stack is still suspended") }
		pass(23 * time.Hour)
		if n := reminded(); n > 0 {
			t.Errorf("%d times within a day", n)
		}
		pass(25 * time.Hour)
		if n := reminded(); n != 4 {
			t.Errorf("%d times in two days:\n%s", n, d.logs.String())
		}
		d.expect("since", time.Since(d.status("db").Suspended.Since).Round(time.Hour).String(), "48h0m0s")
		d.stop()
	})
	bubble(t, "which there are", func(t *testing.T) {
		d := start(t, newWorld(t, stack("web")))
		for _, action := range []plan.Action{plan.Suspend, plan.Resume, plan.Retry} {
			if err := d.r.Do(t.Context(), plan.Command{Action: action, Stack: "nobody"}); !errors.Is(err, plan.ErrNoStack) {
				t.Errorf("%s: %v", action, err)
			}
		}
		if err := d.r.Do(t.Context(), plan.Command{Action: "dance", Stack: "web"}); err == nil {
			t.Error("it dances")
		}
		d.stop()
		if err := d.r.Do(t.Context(), plan.Command{Action: plan.Retry, Stack: "web"}); err == nil {
			t.Error("a daemon that has ended answers")
		}
	})
}

func TestPeopleTryAgain(t *testing.T) {
	bubble(t, "what failed, without its pause", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("up web", func(context.Context) error { return errors.New("no") })
		d := start(t, w)
		pass(24 * time.Hour)
		d.did()
		w.on("up web", nil)
		d.command(plan.Retry, "web", plan.Suspension{By: "mia"})
		d.expect("did", d.did(), "up web c1")
		d.expect("picture", d.last(), "web=running/synced")
		d.stop()
	})
	bubble(t, "what was rolled back from", func(t *testing.T) {
		w := newWorld(t, rolling(stack("web")))
		d := start(t, w)
		w.spoil("web2", true)
		w.push("c2", rolling(version(2, stack("web"))))
		d.look()
		d.did()
		w.spoil("web2", false)
		d.command(plan.Retry, plan.Everything, plan.Suspension{})
		d.expect("runs", d.runs(), "web=web2")
		d.expect("picture", d.last(), "web=running/synced")
		d.stop()
	})
	bubble(t, "the remote", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		d.did()
		w.push("c2", version(2, stack("web")))
		d.command(plan.Sync, plan.Everything, plan.Suspension{})
		d.expect("runs", d.runs(), "web=web2")
		d.stop()
	})
}

func TestUpdatesWaitForTheirWindow(t *testing.T) {
	window, err := plan.ParseWindow("allow 02:00-05:00", time.UTC) // a bubble begins at midnight UTC
	if err != nil {
		t.Fatal(err)
	}
	gated := func(o *Options) { o.Window = window }
	bubble(t, "and are done when it opens, without anybody who asks", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, gated)
		d.expect("did", d.did(), "")
		d.expect("picture", d.last(), "web=running/held(window)")
		pass(2*time.Hour - time.Minute)
		d.expect("did", d.did(), "")
		pass(2 * time.Minute)
		d.expect("did", d.did(), "pull web, up web c1")
		pass(3 * time.Hour)
		w.push("c2", version(2, stack("web")))
		d.look()
		w.crash("web")
		pass(time.Minute)
		d.expect("did", d.did(), "checkout c2")
		pass(22 * time.Hour)
		d.expect("did", d.did(), "pull web, up web c2")
		d.stop()
	})
	bubble(t, "or at once if a person wants that", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w, gated)
		d.command(plan.Retry, "web", plan.Suspension{By: "mia"})
		d.expect("did", d.did(), "pull web, up web c1")
		w.push("c2", stack("db"))
		d.look()
		d.expect("did", d.did(), "checkout c2")
		d.command(plan.Retry, "web", plan.Suspension{By: "mia"})
		d.expect("did", d.did(), "down web")
		// What was wanted once is not wanted for good.
		d.command(plan.Retry, "db", plan.Suspension{})
		d.expect("did", d.did(), "pull db, up db c2")
		w.push("c3", version(2, stack("db")))
		d.look()
		w.push("c4", stack("db"))
		d.look()
		w.push("c5", version(2, stack("db")))
		d.look()
		d.expect("did", d.did(), "checkout c3, checkout c4, checkout c5")
		w.push("c6", stack("db"))
		d.look()
		d.command(plan.Retry, "db", plan.Suspension{}) // of what is as it is wanted: a tag that moves later has to wait
		d.expect("what passes", d.r.journal.peek("db").Passed, "")
		d.stop()
	})
}

func TestWhatIsDoneIsTold(t *testing.T) {
	bubble(t, "once, with its reason, its end and who wanted it", func(t *testing.T) {
		var told []string
		w := newWorld(t, stack("web"))
		w.on("settle web", func(context.Context) error { time.Sleep(time.Second); return nil })
		d := start(t, w, func(o *Options) {
			o.Happened = func(e report.Event) {
				told = append(told, strings.Join(strings.Fields(strings.Join([]string{e.Trigger, e.By, e.Operation, e.Stack, e.Commit, e.Cause, (e.Took + e.Settled).String(), e.Error}, " ")), " "))
				if e.At.IsZero() {
					t.Error("it has no time")
				}
			}
		})
		pass(time.Minute)
		w.on("up web", func(context.Context) error { return errors.New("no") })
		w.push("c2", version(2, stack("web")))
		d.look()
		d.command(plan.Suspend, "web", plan.Suspension{By: "mia", Reason: "migrating"})
		d.command(plan.Resume, plan.Everything, plan.Suspension{By: "mia"})
		d.expect("told", strings.Join(told, "\n"), `start pull web c1 new 0s
start up web c1 new 1s
webhook checkout c2 from c1 0s
webhook pull web c2 changed: web-app-1 has another configuration 0s
webhook up web c2 changed: web-app-1 has another configuration 0s no
mia suspend web migrating 0s
mia resume 0s`)
		d.stop()
	})
}
