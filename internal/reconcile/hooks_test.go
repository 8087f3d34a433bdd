package reconcile

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

func TestHooksRunAroundUpdates(t *testing.T) {
	v := func(n int) plan.Stack { return hooked(version(n, stack("web"))) }
	fails := func(context.Context) error { return errors.New("the hook ended with 1") }

	bubble(t, "before anything is touched, and after all is up", func(t *testing.T) {
		w := newWorld(t, v(1))
		d := start(t, w)
		d.expect("did", d.did(), "pull web, migrate web, up web c1, smoke web")
		w.push("c2", v(2))
		d.look()
		d.expect("did", d.did(), "checkout c2, pull web, migrate web, up web c2, smoke web")
		d.expect("picture", d.last(), "web=running/synced")
		w.crash("web")
		d.look()
		d.expect("did", d.did(), "up web c2")
		d.stop()
	})
	bubble(t, "and nothing is touched if the first fails, until it does not", func(t *testing.T) {
		w := newWorld(t, v(1), stack("db"))
		d := start(t, w)
		d.did()
		w.on("before web", fails)
		w.push("c2", v(2), version(2, stack("db")))
		d.look()
		if did := d.did(); strings.Contains(did, "up web") || !strings.Contains(did, "up db c2") {
			t.Errorf("did %s", did)
		}
		d.expect("runs", d.runs(), "db=db2 web=web1")
		d.expect("picture", d.last(), "db=running/synced web=failed/retrying")
		d.expect("error", d.status("web").Error, "the hook ended with 1")
		w.on("before web", nil)
		pass(time.Hour)
		d.expect("runs", d.runs(), "db=db2 web=web2")
		d.expect("picture", d.last(), "db=running/synced web=running/synced")
		d.stop()
	})
	bubble(t, "and an update whose last one fails has failed, and is tried again", func(t *testing.T) {
		w := newWorld(t, v(1))
		d := start(t, w)
		d.did()
		w.on("after web", fails)
		w.push("c2", v(2))
		d.look()
		d.expect("did", d.did(), "checkout c2, pull web, migrate web, up web c2")
		d.expect("picture", d.last(), "web=failed/retrying")
		pass(time.Minute)
		if did := d.did(); strings.Contains(did, "migrate") || !strings.Contains(did, "up web c2") {
			t.Errorf("the next try did %s", did)
		}
		w.on("after web", nil)
		pass(time.Hour)
		d.expect("picture", d.last(), "web=running/synced")
		d.stop()
	})
	bubble(t, "which takes a stack back that wants that", func(t *testing.T) {
		w := newWorld(t, rolling(v(1)))
		d := start(t, w)
		d.did()
		w.on("after web", fails)
		w.push("c2", rolling(v(2)))
		d.look()
		d.expect("did", d.did(), "checkout c2, pull web, migrate web, up web c2, up web c1")
		d.expect("picture", d.last(), "web=failed/held(rollback)")
		d.expect("error", d.status("web").Error, "the hook ended with 1")
		d.stop()
	})
	bubble(t, "and one that was cut off by the daemon's end is run by the next", func(t *testing.T) {
		for _, at := range []string{"before web", "up web", "settle web", "after web"} {
			w := newWorld(t, v(1))
			d := start(t, w)
			d.did()
			w.on(at, func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			})
			w.push("c2", v(2))
			d.look()
			d.cancel()
			pass(time.Minute)
			w.on(at, nil)
			d.stop()
			d.did()
			d = start(t, w, sameJournal(d))
			pass(time.Hour)
			d.expect("runs after "+at, d.runs(), "web=web2")
			d.expect("picture after "+at, d.last(), "web=running/synced")
			if did := d.did(); !strings.HasSuffix(did, "smoke web") || strings.Contains(did, "migrate") == (at == "after web" || at == "settle web") {
				t.Errorf("after %s it did %s", at, did)
			}
			d.stop()
		}
	})
	bubble(t, "for as long as they may take", func(t *testing.T) {
		waits := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		for limit, want := range map[time.Duration]string{
			0:         "it may take 5m0s (DEPLOY_TIMEOUT_IN_SECONDS; x-gitops.timeout is for hooks alone)",
			time.Hour: "it may take 1h0m0s (x-gitops.timeout)",
		} {
			for _, kind := range []string{"before web", "after web"} {
				s := v(1)
				s.Hooks.Timeout = limit
				w := newWorld(t, s)
				w.on(kind, waits)
				d := start(t, w, func(o *Options) { o.DeployTimeout = 5 * time.Minute })
				d.did()
				pass(max(limit, 5*time.Minute) - time.Minute)
				d.expect("meanwhile there is", d.last(), "no check") // that has ended
				pass(2 * time.Minute)
				d.expect("error", d.status("web").Error, want)
				d.cancel()
				w.on(kind, nil)
				d.stop()
			}
		}
	})
	bubble(t, "and a slow one holds nobody up", func(t *testing.T) {
		w := newWorld(t, v(1), stack("db"))
		d := start(t, w, func(o *Options) { o.Parallel, o.DeployTimeout = 1, time.Hour })
		d.did()
		w.on("before web", func(ctx context.Context) error {
			select {
			case <-time.After(30 * time.Minute):
			case <-ctx.Done():
			}
			return ctx.Err()
		})
		w.push("c2", v(2), stack("db"))
		d.look()
		d.did()
		w.push("c3", v(2), version(2, stack("db")))
		d.look()
		pass(time.Minute)
		d.expect("runs", d.runs(), "db=db2 web=web1")
		pass(time.Hour)
		d.expect("runs", d.runs(), "db=db2 web=web2")
		d.stop()
	})
}
