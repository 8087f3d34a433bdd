package reconcile

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

func TestAStackGoesBackWhenANewVersionFails(t *testing.T) {
	v := func(n int) plan.Stack { return rolling(version(n, stack("web"))) }
	// failing is a daemon in whose second commit web is not well.
	failing := func(t *testing.T, second plan.Stack, change ...func(*Options)) (*world, *daemon) {
		w := newWorld(t, rolling(stack("web")), stack("db"))
		d := start(t, w, change...)
		d.did()
		w.spoil(second.Digest, true)
		w.push("c2", second, stack("db"))
		d.look()
		return w, d
	}
	const held = "it runs in the version of c1, as that of c2 failed: app exited (1). That one is tried again once git changes the stack, or a tag that it uses has moved"

	bubble(t, "at once, and stays there", func(t *testing.T) {
		w, d := failing(t, v(2))
		d.expect("did", d.did(), "checkout c2, pull web, up web c2, up web c1")
		d.expect("runs", d.runs(), "db=db1 web=web1")
		d.expect("picture", d.last(), "db=running/synced web=failed/held(rollback)")
		d.expect("kept", w.keeps(), "web.app=id of web:1")
		pass(24 * time.Hour)
		d.look()
		d.expect("did later", d.did(), "")
		s := d.status("web")
		d.expect("reason", s.Reason, held)
		d.expect("commits", s.Commit+" "+s.Attempted+" "+s.Held+" "+s.Error, "c1 c2 rollback app exited (1)")
		d.stop()
	})
	bubble(t, "until git changes it, and no other stack", func(t *testing.T) {
		w, d := failing(t, v(2))
		d.did()
		w.push("c3", v(2), version(2, stack("db")))
		d.look()
		d.expect("did", d.did(), "checkout c3, pull db, up db c3")
		d.expect("runs", d.runs(), "db=db2 web=web1")
		w.push("c4", v(3), version(2, stack("db")))
		d.look()
		d.expect("did", d.did(), "checkout c4, pull web, up web c4")
		d.expect("picture", d.last(), "db=running/synced web=running/synced")
		d.expect("kept", w.keeps(), "")
		// And from there.
		w.spoil("web4", true)
		w.push("c5", v(4), version(2, stack("db")))
		d.look()
		d.expect("runs", d.runs(), "db=db2 web=web3")
		d.stop()
	})
	bubble(t, "and is as wanted when git goes back, too", func(t *testing.T) {
		w, d := failing(t, v(2))
		d.did()
		w.push("c3", rolling(stack("web")), stack("db"))
		d.look()
		d.expect("did", d.did(), "checkout c3")
		d.expect("picture", d.last(), "db=running/synced web=running/synced")
		w.push("c4", v(2), stack("db")) // a person wants it to be tried again
		w.spoil("web2", false)
		d.look()
		d.expect("runs", d.runs(), "db=db1 web=web2")
		d.stop()
	})
	bubble(t, "until it is not to go back any more", func(t *testing.T) {
		w, d := failing(t, v(2))
		d.did()
		w.push("c3", version(2, stack("web")), stack("db"))
		w.spoil("web2", false)
		d.look()
		d.expect("did", d.did(), "checkout c3, up web c3")
		d.expect("picture", d.last(), "db=running/synced web=running/synced")
		d.expect("kept", w.keeps(), "")
		d.stop()
	})
	bubble(t, "and is repaired there", func(t *testing.T) {
		w, d := failing(t, v(2))
		d.did()
		w.crash("web")
		d.look()
		d.expect("did", d.did(), "up web c1")
		d.expect("runs", d.runs(), "db=db1 web=web1")
		d.expect("picture", d.last(), "db=running/synced web=failed/held(rollback)")
		d.stop()
	})
	bubble(t, "also after the daemon was killed in between", func(t *testing.T) {
		for _, at := range []string{"up web", "settle web", "keep web", "back web"} {
			w := newWorld(t, rolling(stack("web")), stack("db"))
			d := start(t, w)
			w.spoil("web2", true)
			w.push("c2", v(2), stack("db"))
			w.on(at, func(ctx context.Context) error {
				<-ctx.Done() // until the daemon is told to end
				return ctx.Err()
			})
			d.look()
			d.cancel()
			pass(time.Minute)
			w.on(at, nil)
			d.stop()
			d = start(t, w, sameJournal(d))
			pass(time.Hour)
			d.expect("runs after "+at, d.runs(), "db=db1 web=web1")
			d.expect("picture", d.last(), "db=running/synced web=failed/held(rollback)")
			d.stop()
		}
	})
	bubble(t, "not before it ran well once", func(t *testing.T) {
		w := newWorld(t, v(2))
		w.spoil("web2", true)
		d := start(t, w)
		d.expect("did", d.did(), "pull web, up web c1")
		w.spoil("web3", true)
		w.push("c2", v(3))
		d.look()
		d.expect("did", d.did(), "checkout c2, pull web, up web c2")
		d.stop()
	})
	bubble(t, "not if it does not want to", func(t *testing.T) {
		_, d := failing(t, version(2, stack("web")))
		d.expect("did", d.did(), "checkout c2, pull web, up web c2")
		d.stop()
	})
	bubble(t, "not for what is no fault of its containers", func(t *testing.T) {
		w := newWorld(t, rolling(stack("web")))
		d := start(t, w)
		d.did()
		w.on("up web", fails("port is already allocated"))
		w.push("c2", v(2))
		d.look()
		d.expect("did", d.did(), "checkout c2, pull web")
		d.expect("picture", d.last(), "web=failed/retrying")
		d.stop()
	})
	bubble(t, "not for a drift", func(t *testing.T) {
		w := newWorld(t, rolling(stack("web")))
		d := start(t, w)
		d.did()
		w.spoil("web1", true)
		w.crash("web")
		d.look()
		d.expect("did", d.did(), "up web c1")
		d.expect("held", d.status("web").Held, "")
		d.stop()
	})
	bubble(t, "and says both reasons if it can't be brought up there", func(t *testing.T) {
		w := newWorld(t, rolling(stack("web")))
		d := start(t, w)
		d.did()
		w.spoil("web2", true)
		w.push("c2", v(2))
		w.on("keep web", func(context.Context) error {
			if w.runs() == "web=web2(exited)" {
				return errors.New("no such image")
			}
			return nil
		})
		d.look()
		d.expect("error", d.status("web").Error, "going back to c1 failed: no such image; that of c2 had failed: app exited (1)")
		w.on("keep web", nil)
		pass(time.Hour)
		d.expect("runs", d.runs(), "web=web1")
		d.stop()
	})
	bubble(t, "and stays in the new version, with the reason, if it can't be what it was", func(t *testing.T) {
		w := newWorld(t, rolling(stack("web")))
		d := start(t, w)
		d.did()
		w.spoil("web2", true)
		w.on("back web", fails("conf has something in it that git does not track"))
		w.push("c2", v(2))
		d.look()
		d.expect("did", d.did(), "checkout c2, pull web, up web c2")
		d.expect("error", d.status("web").Error, "app exited (1); it can't be rolled back to c1: conf has something in it that git does not track")
		pass(3 * time.Hour) // it is tried as others are
		w.spoil("web2", false)
		pass(time.Hour)
		d.expect("picture", d.last(), "web=running/synced")
		d.stop()
	})
	bubble(t, "to the version of before an ignored one never", func(t *testing.T) {
		w := newWorld(t, rolling(stack("web")))
		d := start(t, w)
		w.push("c2", ignored(rolling(stack("web"))))
		d.look()
		w.spoil("web2", true)
		w.push("c3", v(2))
		d.look()
		d.expect("runs", d.runs(), "web=web2(exited)")
		d.stop()
	})
	bubble(t, "and its images are named no more once it has gone", func(t *testing.T) {
		w, d := failing(t, v(2))
		w.push("c3", stack("db"))
		d.look()
		d.expect("runs", d.runs(), "db=db1")
		d.expect("kept", w.keeps(), "")
		d.stop()
	})
	bubble(t, "when a tag moves to an image that is bad, until it moves on", func(t *testing.T) {
		w := newTagged(newWorld(t, rolling(watching("web", "app:1", time.Hour))))
		w.move("app:1", "d1")
		d := start(t, w.world, w.use)
		d.did()
		w.on("settle web", func(context.Context) error { // it is the image that is bad
			w.mu.Lock()
			defer w.mu.Unlock()
			if image := w.running["web"].Containers[0].Image; image == "id of d2" {
				return blamed{errors.New("app exited (1)"), "app", image}
			}
			return nil
		})
		w.move("app:1", "d2")
		pass(time.Hour + time.Second)
		d.expect("did", d.did(), "pull web, up web c1, up web c1")
		d.expect("runs", d.runs(), "web=web1 kept")
		d.expect("kept", w.keeps(), "web.app=id of d1")
		pass(24 * time.Hour)
		d.expect("did", d.did(), "")
		d.expect("held", d.status("web").Held, "rollback")
		w.move("app:1", "d3")
		pass(time.Hour + time.Second)
		d.expect("did", d.did(), "pull web, up web c1")
		d.expect("picture", d.last(), "web=running/synced")
		d.expect("kept", w.keeps(), "")
		d.stop()
	})
	bubble(t, "when a tag moves to an image that is bad, until the next one has its age", func(t *testing.T) {
		w := newTagged(newWorld(t, rolling(watching("web", "app:1", time.Hour))))
		w.move("app:1", "d1")
		d := start(t, w.world, w.use, aged)
		d.did()
		w.on("settle web", func(context.Context) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if image := w.running["web"].Containers[0].Image; image == "id of d2" {
				return blamed{errors.New("app exited (1)"), "app", image}
			}
			return nil
		})
		w.move("app:1", "d2")
		pass(4*time.Hour + time.Second)
		d.expect("did", d.did(), "pull web, up web c1, up web c1")
		d.expect("held", d.status("web").Held, "rollback")
		w.move("app:1", "d3")
		pass(4*time.Hour - 2*time.Second)
		d.expect("before", d.did(), "")
		d.expect("held", d.status("web").Held, "rollback")
		pass(2 * time.Second)
		d.expect("did", d.did(), "pull web, up web c1")
		d.expect("picture", d.last(), "web=running/synced")
		d.stop()
	})
}
