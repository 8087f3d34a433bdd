package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

func TestAChecksFailure(t *testing.T) {
	bubble(t, "the remote is down at start: said once, tried again, and recovered from; what the clone has runs", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("fetch", fails("no route to host"))
		d := start(t, w)
		pass(time.Hour)
		d.expect("runs", d.runs(), "web=web1")
		d.expect("picture", d.last(), "web=running/synced")
		for _, l := range d.looksSoFar() {
			if l.Offline != "fetch: no route to host" || l.Error != l.Offline {
				t.Fatalf("look: %+v", l)
			}
		}
		if n := strings.Count(d.logs.String(), "check failed"); n != 1 {
			t.Errorf("said %d times:\n%s", n, d.logs)
		}
		if n := d.looks(); n < 15 || n > 25 {
			t.Errorf("%d looks in an hour", n)
		}
		w.on("fetch", nil)
		w.push("c2", version(2, stack("web")))
		pass(5 * time.Minute)
		d.expect("runs", d.runs(), "web=web2")
		if n := strings.Count(d.logs.String(), "check works again"); n != 1 {
			t.Errorf("the end is said %d times:\n%s", n, d.logs)
		}
		d.stop()
	})
	bubble(t, "a blocked checkout is said when it begins and when it ends, and nothing is started meanwhile", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, every(time.Minute))
		w.did()
		w.on("checkout", func(context.Context) error { return blockedError{} })
		w.push("c2", version(2, stack("web")))
		pass(time.Hour)
		d.expect("did", w.did(), "")
		for _, l := range d.looksSoFar()[1:] {
			if l.Error != "checkout: the clone is dirty" || !l.Blocked || l.Stacks == nil {
				t.Fatalf("look: %+v", l)
			}
		}
		if n := strings.Count(d.logs.String(), "clone is dirty"); n != 1 {
			t.Errorf("said %d times:\n%s", n, d.logs)
		}
		w.on("checkout", nil)
		pass(5 * time.Minute)
		d.expect("runs", d.runs(), "web=web2")
		if n := strings.Count(d.logs.String(), "check works again"); n != 1 {
			t.Errorf("the end is said %d times:\n%s", n, d.logs)
		}
		d.stop()
	})
	bubble(t, "the engine is away: containers are left alone until it is back", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		w.did()
		w.on("observe", fails("no engine"))
		w.push("c2", version(2, stack("web")))
		d.look()
		d.expect("did", w.did(), "")
		w.on("observe", nil)
		pass(time.Minute)
		d.expect("runs", d.runs(), "web=web2")
		d.stop()
	})
	bubble(t, "a check whose checkout failed ends when its slow stop has, with what that did", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("old"))
		d := start(t, w)
		w.on("down old", takes(2*time.Minute))
		w.on("checkout", fails("disk full"))
		w.push("c2", stack("web"))
		d.look()
		pass(70 * time.Second)
		d.expect("ended before the stop", fmt.Sprint(d.open() > 0), "true")
		pass(10 * time.Minute)
		d.expect("counts", d.counts(), "started old, started web, stopped old")
		d.stop()
	})
}

type blockedError struct{}

func (blockedError) Error() string { return "the clone is dirty" }
func (blockedError) Blocked() bool { return true }

func TestAStacksFailure(t *testing.T) {
	bubble(t, "a failed pull leaves the containers alone and is tried again with longer and longer pauses", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w)
		w.did()
		var tries atomic.Int32
		w.on("pull web", func(context.Context) error { tries.Add(1); return errors.New("503 from the registry 10.0.0.7") })
		w.push("c2", version(2, stack("web")), version(2, stack("db")))
		d.look()
		d.expect("did", w.did(), "checkout c2, pull db, up db c2")
		d.expect("runs", d.runs(), "db=db2 web=web1")
		d.expect("picture", d.last(), "db=running/synced web=failed/retrying")
		pass(9 * time.Second)
		d.expect("tries", fmt.Sprint(tries.Load()), "1")
		pass(time.Second)
		d.expect("tries", fmt.Sprint(tries.Load()), "2")
		pass(24 * time.Hour)
		if n := tries.Load(); n < 25 || n > 35 {
			t.Errorf("%d tries in a day", n)
		}
		d.expect("counts", d.counts(), "started db, started web, failed web, updated db")
		w.on("pull web", nil)
		pass(time.Hour)
		d.expect("runs", d.runs(), "db=db2 web=web2")
		d.expect("picture", d.last(), "db=running/synced web=running/synced")
		d.stop()
	})
	bubble(t, "a failed pull is tried again after a restart, with its pause", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("pull web", fails("registry is down"))
		d := start(t, w)
		pass(8 * time.Minute)
		d.stop()
		w.on("pull web", nil)
		d = start(t, w, sameJournal(d))
		d.expect("runs", d.runs(), "")
		d.expect("picture", d.last(), "web=failed/retrying(retry)")
		pass(6 * time.Minute)
		d.expect("runs", d.runs(), "web=web1")
		d.stop()
	})
	bubble(t, "a new commit that changes the stack ends its pause", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("pull web", fails("no such image"))
		d := start(t, w)
		pass(time.Hour)
		w.on("pull web", nil)
		w.push("c2", stack("web"), stack("db"))
		d.look()
		d.expect("another's change does not", d.runs(), "db=db1")
		w.push("c3", version(3, stack("web")), stack("db"))
		d.look()
		d.expect("its own does", d.runs(), "db=db1 web=web3")
		d.stop()
	})
	bubble(t, "pauses are short again for a commit that changed the stack", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("pull web", fails("no such image"))
		d := start(t, w)
		pass(time.Hour)
		w.push("c2", version(2, stack("web")))
		d.look()
		w.on("pull web", nil)
		pass(10 * time.Second)
		d.expect("runs", d.runs(), "web=web2")
		d.stop()
	})
	bubble(t, "a stack whose data could not be looked for is held, and looked at again soon", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		w.did()
		data := plan.Mount{Target: "/data", Type: plan.MountVolume, Source: "web_data"}
		w.host("web", func(c *plan.Container) { c.Mounts = []plan.Mount{data} })
		next := version(2, stack("web"))
		next.Services[0].Mounts = []plan.Mount{{Target: data.Target, Type: data.Type, Source: "other"}}
		var asked atomic.Int32
		w.on("content", func(context.Context) error { asked.Add(1); return errors.New("the engine hung up") })
		w.on("look into web_data", fails("the engine hung up"))
		w.push("c2", next)
		d.look()
		d.expect("did", w.did(), "checkout c2")
		d.expect("picture", d.last(), "web=failed/held(data)")
		pass(time.Hour)
		if n := asked.Load(); n < 12 || n > 20 {
			t.Errorf("asked %d times in an hour", n)
		}
		if n := strings.Count(d.logs.String(), "can't tell whether data would stay behind"); n != 1 {
			t.Errorf("said %d times: %s", n, d.logs)
		}
		w.on("content", func(context.Context) error { return nil })
		pass(5 * time.Minute)
		d.expect("runs", d.runs(), "web=web2")
		d.stop()
	})
	bubble(t, "of a dead container, which shows nothing, the volume tells whether it had data", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		data := plan.Mount{Target: "/data", Type: plan.MountVolume, Source: "web_data"}
		w.host("web", func(c *plan.Container) { c.Mounts, c.State = []plan.Mount{data}, "dead" })
		next := version(2, stack("web"))
		next.Services[0].Mounts = []plan.Mount{{Target: data.Target, Type: data.Type, Source: "other"}}
		w.on("content", fails("could not find the file /data"))
		w.on("look into web_data", func(context.Context) error { return nil })
		w.push("c2", next)
		d.look()
		d.expect("picture with something in it", d.last(), "web=failed/held(data)")
		w.on("look into web_data", nil)
		w.push("c3", next)
		d.look()
		d.expect("picture with nothing in it", d.last(), "web=running/synced")
		d.stop()
	})
	bubble(t, "a failed stop is found again, also after a restart", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("old"))
		d := start(t, w)
		w.on("down old", fails("the engine hung up"))
		w.push("c2", stack("web"))
		d.look()
		d.expect("runs", d.runs(), "old=old1 web=web1")
		d.expect("picture", d.last(), "old=failed/retrying web=running/synced")
		d.stop()
		w.on("down old", nil)
		d = start(t, w, sameJournal(d))
		pass(10 * time.Second)
		d.expect("runs", d.runs(), "web=web1")
		d.expect("picture", d.last(), "web=running/synced")
		d.expect("counts", d.counts(), "stopped old")
		d.stop()
	})
	bubble(t, "a stack that is not up in time fails with the name of the setting", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("settle web", takes(time.Hour))
		d := start(t, w)
		pass(5 * time.Minute)
		d.stop()
		if e := d.r.journal.peek("web"); !strings.Contains(e.Error, "not up within 5m0s (DEPLOY_TIMEOUT_IN_SECONDS)") {
			t.Errorf("error: %q", e.Error)
		}
	})
	bubble(t, "what a stack replaces may take its time to stop", func(t *testing.T) {
		slow := stack("web")
		slow.Services[0].Grace = 9 * time.Minute
		w := newWorld(t, slow)
		w.on("replace web", takes(9*time.Minute))
		w.on("settle web", takes(4*time.Minute))
		d := start(t, w)
		pass(14 * time.Minute)
		d.expect("picture", d.last(), "web=running/synced")
		d.expect("counts", d.counts(), "started web")
		d.stop()
	})
	bubble(t, "also what was to have less time from now on", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		pass(time.Minute)
		w.host("web", func(c *plan.Container) { c.Grace = 9 * time.Minute })
		w.push("c2", version(2, stack("web")))
		w.on("replace web", takes(9*time.Minute))
		w.on("settle web", takes(4*time.Minute))
		pass(15 * time.Minute)
		d.expect("picture", d.last(), "web=running/synced")
		if e := d.r.journal.peek("web"); e.Error != "" {
			t.Errorf("error: %q", e.Error)
		}
		d.stop()
	})
	bubble(t, "but not for ever", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("replace web", takes(time.Hour))
		d := start(t, w)
		pass(10 * time.Minute)
		d.stop()
		if e := d.r.journal.peek("web"); !strings.Contains(e.Error, "its containers are not made within 5m0s") {
			t.Errorf("error: %q", e.Error)
		}
	})
	bubble(t, "a stack that runs, but is unhealthy, is failed and not tried again and again", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("settle web", func(context.Context) error {
			w.host("web", func(c *plan.Container) { c.Health = "unhealthy" })
			return errors.New("web is unhealthy")
		})
		d := start(t, w)
		pass(time.Hour)
		if n := d.looks(); n != 2 { // start, and one when the pause is over
			t.Errorf("%d looks", n)
		}
		d.expect("picture", d.last(), "web=failed/synced")
		w.host("web", func(c *plan.Container) { c.Health = "starting" })
		d.look()
		d.expect("while it starts it is what it was", d.last(), "web=failed/synced")
		d.recorder.mu.Lock()
		if s := d.ended[len(d.ended)-1].Final[0]; s.Error != "web is unhealthy" {
			t.Errorf("its error is forgotten while it starts: %+v", s)
		}
		d.recorder.mu.Unlock()
		w.host("web", func(c *plan.Container) { c.Health = "healthy" })
		d.look()
		d.expect("picture", d.last(), "web=running/synced")
		d.stop()
	})
	bubble(t, "a drift that comes back again and again is repaired with longer and longer pauses", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, every(30*time.Second), w.watched)
		var repairs atomic.Int32
		w.on("up web", func(context.Context) error { repairs.Add(1); return nil })
		for range 24 * 60 {
			if w.runs() == "web=web1" {
				w.crash("web")
				w.tell("web")
			}
			pass(time.Minute)
		}
		if n := repairs.Load(); n < 20 || n > 40 {
			t.Errorf("%d repairs in a day", n)
		}
		pass(2 * time.Hour)
		d.expect("in the end it stays up", d.last(), "web=running/synced")
		w.crash("web")
		w.tell("web")
		pass(11 * time.Second)
		d.expect("and then is repaired at once", d.runs(), "web=web1")
		d.stop()
	})
	bubble(t, "a stack that ends again soon after it was repaired is failed, and its next repair waits", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, w.watched)
		var repairs atomic.Int32
		w.on("up web", func(context.Context) error {
			repairs.Add(1)
			time.AfterFunc(3*time.Second, func() { w.crash("web"); w.tell("web") })
			return nil
		})
		w.crash("web")
		w.tell("web")
		pass(15 * time.Second)
		d.expect("picture", d.last(), "web=failed/retrying")
		pass(24 * time.Hour)
		if n := repairs.Load(); n < 20 || n > 40 {
			t.Errorf("%d repairs in a day", n)
		}
		d.expect("counts", d.counts(), "started web, failed web")
		d.stop()
	})
	bubble(t, "going back in git after a failed update is a change and no drift", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, noHeal)
		w.on("settle web", fails("web is unhealthy"))
		w.push("c2", version(2, stack("web")))
		d.look()
		w.on("settle web", nil)
		w.push("c3", stack("web"))
		d.look()
		d.expect("runs", d.runs(), "web=web1")
		d.stop()
		if got := d.r.journal.peek("web").Outcomes[0].Cause; got != "changed: web-app-1 has another configuration" {
			t.Errorf("cause: %s", got)
		}
	})
	bubble(t, "what is held is not brought up while healing is off, but failed repairs of the first look are repeated", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		d.stop()
		w.crash("web")
		w.on("up web", fails("port is taken"))
		d = start(t, w, sameJournal(d), noHeal)
		d.expect("runs", d.runs(), "web=web1(exited)")
		w.on("up web", nil)
		pass(10 * time.Second)
		d.expect("runs", d.runs(), "web=web1")
		w.crash("web")
		d.look()
		d.expect("runs", d.runs(), "web=web1(exited)")
		d.expect("picture", d.last(), "web=failed/held(drift)")
		d.stop()
	})
}

func TestWhatIsRepairedAgainSaysWhatItIs(t *testing.T) {
	for _, c := range []struct {
		name string
		what func(*plan.Container)
		want string
	}{
		{"a container that ends", func(c *plan.Container) { c.State, c.ExitCode = "exited", 1 }, "it does not stay up: web-app-1 exited (1)"},
		{"one that a person pauses", func(c *plan.Container) { c.State = "paused" }, "it had to be repaired soon after the last time: web-app-1 is paused"},
	} {
		bubble(t, c.name, func(t *testing.T) {
			w := newWorld(t, stack("web"))
			d := start(t, w)
			w.host("web", c.what)
			d.look()
			pass(time.Minute)
			checks := d.ended
			final := checks[len(checks)-1].Final
			d.expect("runs", d.runs(), "web=web1")
			d.expect("error", final[0].Error, c.want)
			d.stop()
		})
	}
}
