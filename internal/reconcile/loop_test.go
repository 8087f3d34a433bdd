package reconcile

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// bubble runs a scenario in synthetic time.
func bubble(t *testing.T, name string, scenario func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, scenario) })
}

func TestWhenItLooks(t *testing.T) {
	bubble(t, "at start, and everything that should run does", func(t *testing.T) {
		d := start(t, newWorld(t, stack("web"), stack("db")))
		d.expect("runs", d.runs(), "db=db1 web=web1")
		d.expect("picture", d.last(), "db=running/synced web=running/synced")
		d.expect("counts", d.counts(), "started db, started web")
		d.stop()
	})
	bubble(t, "when the interval is over", func(t *testing.T) {
		d := start(t, newWorld(t, stack("web")), every(5*time.Minute))
		pass(5*time.Minute - time.Second)
		d.expect("looks", fmt.Sprint(d.looks()), "1")
		pass(time.Second)
		d.expect("looks", fmt.Sprint(d.looks()), "2")
		pass(50 * time.Minute)
		d.expect("looks", fmt.Sprint(d.looks()), "12")
		d.stop()
	})
	bubble(t, "never by itself without an interval and without failures", func(t *testing.T) {
		d := start(t, newWorld(t, stack("web")))
		pass(1000 * time.Hour)
		d.expect("looks", fmt.Sprint(d.looks()), "1")
		d.stop()
	})
	bubble(t, "once for a storm of triggers, and once more for those during that look", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		w.on("fetch", takes(time.Second)) // or each is over before the next is asked for
		for range 1000 {
			d.r.Trigger("webhook")
		}
		pass(10 * time.Second)
		if got := d.triggers(); got != "start webhook" && got != "start webhook webhook" {
			t.Errorf("looks: %s", got)
		}
		d.stop()
	})
	bubble(t, "once more for triggers during a look, which are never lost", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		w.on("fetch", takes(time.Second))
		d.look()
		for range 1000 {
			d.r.Trigger("webhook")
		}
		pass(time.Minute)
		d.expect("triggers", d.triggers(), "start webhook webhook")
		d.stop()
	})
	bubble(t, "once more for a push during a checkout", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		w.on("checkout", takes(time.Second))
		w.push("c2", version(2, stack("web")))
		d.look()
		w.push("c3", version(3, stack("web")))
		d.r.Trigger("webhook")
		pass(time.Minute)
		d.expect("runs", d.runs(), "web=web3")
		d.stop()
	})
	bubble(t, "when the engine tells of a crash, within seconds", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, w.watched)
		w.did()
		w.crash("web")
		for range 60 {
			w.events <- plan.Event{Project: "web"}
		}
		pass(2 * time.Second)
		d.expect("did", w.did(), "up web c1")
		d.expect("triggers", d.triggers(), "start engine")
		d.stop()
	})
	bubble(t, "when somebody makes the network that a stack is held for, within a second", func(t *testing.T) {
		w := newWorld(t, stack("web", "proxy"), stack("api"))
		d := start(t, w, w.watched)
		d.expect("picture", d.last(), "api=running/synced web=failed/held(needs)")
		w.did()
		w.crash("api")
		w.tell("api")
		pass(2 * time.Second) // from now on, events wait for their pause
		w.did()
		pass(time.Second)
		w.mu.Lock()
		w.byHand = append(w.byHand, "proxy_default")
		w.mu.Unlock()
		w.events <- plan.Event{Made: plan.Requirement{Kind: "network", Name: "another"}}
		w.events <- plan.Event{Made: plan.Requirement{Kind: "network", Name: "proxy_default"}}
		pass(time.Second)
		d.expect("did", w.did(), "pull web, up web c1")
		d.stop()
	})
	bubble(t, "not more often than each ten seconds for a container that crashes again and again", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, w.watched)
		for range 600 {
			w.tell("web")
			pass(100 * time.Millisecond)
		}
		if n := d.looks(); n < 5 || n > 8 {
			t.Errorf("%d looks in a minute", n)
		}
		d.stop()
	})
	bubble(t, "not for containers of projects that are nobody's business, and without asking the remote for its own", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, w.watched)
		pass(time.Minute) // the last event of its own may come late
		looks := d.looks()
		for range 600 {
			w.tell("other")
			pass(time.Second)
		}
		d.expect("looks", fmt.Sprint(d.looks()-looks), "0")
		w.tell("web")
		pass(10 * time.Second)
		d.expect("looks", fmt.Sprint(d.looks()-looks), "1")
		d.expect("fetches", fmt.Sprint(w.asked()), "1")
		d.stop()
	})
	bubble(t, "not for what its own operations cause", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("old"))
		d := start(t, w, w.watched)
		w.on("settle web", takes(5*time.Second))
		w.on("down old", takes(5*time.Second))
		w.push("c2", version(2, stack("web")))
		d.look()
		for range 100 {
			w.tell("web")
			w.tell("old")
			pass(49 * time.Millisecond)
		}
		pass(time.Minute)
		if got := d.triggers(); strings.Count(got, "engine") > 2 { // the last words of each lane may be read after its end
			t.Errorf("looks: %s", got)
		}
		d.stop()
	})
	bubble(t, "when something crashed after the look and before its operations", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w, w.watched)
		pass(time.Minute)
		w.on("checkout", func(context.Context) error { w.crash("db"); w.tell("db"); return nil })
		w.push("c2", version(2, stack("web")), stack("db"))
		d.look()
		pass(eventPause + eventDelay)
		d.expect("runs", d.runs(), "db=db1 web=web2")
		d.stop()
	})
	bubble(t, "when a stack crashed whose lane had ended during a slow look", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, w.watched)
		pass(time.Minute)
		w.on("settle web", takes(2*time.Second))
		w.on("fetch", takes(5*time.Second))
		w.push("c2", version(2, stack("web")))
		d.look()
		pass(5 * time.Second)
		d.look() // web settles meanwhile, and crashes
		pass(3 * time.Second)
		w.crash("web")
		w.tell("web")
		pass(time.Minute)
		d.expect("runs", d.runs(), "web=web2")
		d.stop()
	})
	bubble(t, "and lives on when the engine's events end", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, w.watched)
		close(w.events)
		w.events = make(chan plan.Event, 64)
		d.look()
		d.expect("triggers", d.triggers(), "start webhook")
		d.stop()
	})
}

func TestPlanTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, stack("web"))
		r := New(Options{Source: w, Loader: w, Engine: w, Heal: true})
		w.push("c2", version(2, stack("web")))
		p, err := r.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := p.String(), "checkout c2: from c1\npull web: new\nup web: new\n"; got != want {
			t.Errorf("got %s", got)
		}
		if got := w.did(); got != "" {
			t.Errorf("did %s", got)
		}
	})
}
