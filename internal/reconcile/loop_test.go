package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
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
		d := start(t, newWorld(t, stack("web")))
		for range 1000 {
			d.r.Trigger("webhook")
		}
		synctest.Wait()
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
			w.events <- "web"
		}
		pass(2 * time.Second)
		d.expect("did", w.did(), "up web c1")
		d.expect("triggers", d.triggers(), "start engine")
		d.stop()
	})
	bubble(t, "not more often than each ten seconds for a container that crashes again and again", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, w.watched)
		for range 600 {
			w.tell("other")
			pass(100 * time.Millisecond)
		}
		if n := d.looks(); n < 5 || n > 8 {
			t.Errorf("%d looks in a minute", n)
		}
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
		w.events = make(chan string, 64)
		d.look()
		d.expect("triggers", d.triggers(), "start webhook")
		d.stop()
	})
}

func TestAChecksFailure(t *testing.T) {
	bubble(t, "the remote is down at start: said once, tried again, and recovered from", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("fetch", fails("no route to host"))
		d := start(t, w)
		pass(time.Hour)
		d.expect("runs", d.runs(), "")
		if n := strings.Count(d.logs.String(), "check failed"); n != 1 {
			t.Errorf("said %d times:\n%s", n, d.logs)
		}
		if n := d.looks(); n < 15 || n > 25 {
			t.Errorf("%d looks in an hour", n)
		}
		w.on("fetch", nil)
		pass(5 * time.Minute)
		d.expect("runs", d.runs(), "web=web1")
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
		if got := d.r.journal.peek("web").Outcomes[0].Cause; got != "changed: app has another configuration" {
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

func TestSlowStacks(t *testing.T) {
	bubble(t, "a slow pull delays no other stack's next commit, and is taken up at that commit", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w)
		w.did()
		w.on("pull web", takes(10*time.Minute))
		w.push("c2", version(2, stack("web")), stack("db"))
		d.look()
		w.push("c3", version(2, stack("web")), version(3, stack("db")))
		pass(time.Minute)
		d.look()
		d.expect("did", w.did(), "checkout c2, checkout c3, pull db, up db c3")
		pass(10 * time.Minute)
		d.expect("did", w.did(), "pull web, up web c3")
		d.expect("counts", d.counts(), "started db, started web, updated db, updated web")
		d.expect("triggers", d.triggers(), "start webhook webhook lane")
		d.stop()
	})
	bubble(t, "a slow healthcheck delays neither others nor, when it is over, the stack's own next commit", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"), stack("slow"))
		d := start(t, w)
		w.on("settle web", takes(2*time.Minute))
		w.on("settle slow", takes(4*time.Minute))
		w.push("c2", version(2, stack("web")), stack("db"), version(2, stack("slow")))
		d.look()
		w.push("c3", version(3, stack("web")), version(3, stack("db")), version(2, stack("slow")))
		d.look()
		d.expect("runs", d.runs(), "db=db3 slow=slow2 web=web2")
		d.expect("checkouts", w.head(), "c3")
		w.on("settle web", nil)
		pass(2 * time.Minute)
		d.expect("runs", d.runs(), "db=db3 slow=slow2 web=web3")
		pass(2 * time.Minute)
		d.expect("picture", d.last(), "db=running/synced slow=running/synced web=running/synced")
		d.stop()
	})
	bubble(t, "a slow stop delays the next commit by no more than patience", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("old"))
		d := start(t, w)
		w.on("down old", takes(10*time.Minute))
		w.push("c2", version(2, stack("web")))
		d.look()
		pass(2 * patience)
		d.expect("runs", d.runs(), "old=old1 web=web2")
		pass(10 * time.Minute)
		d.expect("runs", d.runs(), "web=web2")
		d.stop()
	})
	bubble(t, "a stack that was removed while its pull ran does not come up any more", func(t *testing.T) {
		w := newWorld(t, stack("db"))
		d := start(t, w)
		w.did()
		w.on("pull web", takes(10*time.Minute))
		w.push("c2", stack("db"), stack("web"))
		d.look()
		w.push("c3", stack("db"))
		d.look()
		pass(time.Hour)
		d.expect("did", w.did(), "checkout c2, checkout c3, pull web")
		d.expect("picture", d.last(), "db=running/synced")
		d.stop()
	})
	bubble(t, "a stack that was removed while its healthcheck was waited for is stopped after that", func(t *testing.T) {
		w := newWorld(t, stack("db"))
		d := start(t, w)
		w.did()
		w.on("settle web", takes(2*time.Minute))
		w.push("c2", stack("db"), stack("web"))
		d.look()
		w.push("c3", stack("db"))
		d.look()
		d.expect("picture", words(d.looksSoFar()[2].Stacks), "db=running/synced web=failed/applying")
		pass(time.Hour)
		d.expect("did", w.did(), "checkout c2, pull web, up web c2, checkout c3, down web")
		d.expect("picture", d.last(), "db=running/synced")
		d.stop()
	})
	bubble(t, "nothing is begun while a checkout runs that could not wait any longer", func(t *testing.T) {
		w := newWorld(t, stack("x"), stack("y"))
		w.on("up x", takes(2*time.Minute))
		w.on("pull y", takes(patience+10*time.Second))
		d := start(t, w)
		w.on("checkout", takes(20*time.Second))
		w.push("c2", version(2, stack("x")), stack("y"))
		d.look()
		pass(time.Hour)
		d.expect("runs", d.runs(), "x=x2 y=y1")
		d.stop()
	})
	bubble(t, "images come while the stacks that are needed start", func(t *testing.T) {
		w := newWorld(t, stack("a", "b"), stack("b"))
		w.on("settle b", takes(time.Minute))
		d := start(t, w)
		if did := w.did(); !strings.Contains(did, "pull a") || strings.Contains(did, "up a") {
			t.Errorf("did %s", did)
		}
		pass(time.Minute)
		d.stop()
	})
	bubble(t, "a stack that others need is waited for", func(t *testing.T) {
		w := newWorld(t, stack("a", "b"), stack("b"))
		w.on("settle b", takes(time.Minute))
		d := start(t, w)
		d.expect("runs", d.runs(), "b=b1")
		pass(time.Minute)
		d.expect("runs", d.runs(), "a=a1 b=b1")
		d.stop()
	})
	bubble(t, "a stack that needs a failed one is held with the reason, and comes up after it", func(t *testing.T) {
		w := newWorld(t, stack("a", "b"), stack("b"), stack("c"))
		w.on("up b", fails("port is taken"))
		d := start(t, w)
		d.expect("runs", d.runs(), "c=c1")
		d.expect("picture", d.last(), "a=failed/held(needs) b=failed/retrying(retry) c=running/synced")
		w.on("up b", nil)
		pass(10 * time.Second)
		d.expect("runs", d.runs(), "a=a1 b=b1 c=c1")
		d.stop()
	})
	bubble(t, "no more stacks are brought up at once than allowed", func(t *testing.T) {
		var all []plan.Stack
		w := newWorld(t)
		for i := range 10 {
			s := stack(fmt.Sprint("s", i))
			all = append(all, s)
			w.on("up "+s.Name, takes(time.Minute))
		}
		w.commits["c1"] = all
		d := start(t, w, func(o *Options) { o.Parallel = 2 })
		pass(4*time.Minute + time.Second)
		d.expect("up", fmt.Sprint(len(strings.Fields(d.runs()))), "8")
		pass(time.Hour)
		d.stop()
	})
}

func TestWhatIsCounted(t *testing.T) {
	bubble(t, "invalid and ignored stacks are counted when they are first seen", func(t *testing.T) {
		w := newWorld(t, invalid(stack("bad")), ignored(stack("own")), stack("web"))
		d := start(t, w, every(time.Minute))
		pass(time.Hour)
		d.expect("counts", d.counts(), "ignored own, invalid bad, started web")
		d.expect("picture", d.last(), "bad=invalid/held(invalid) own=ignored/unknown web=running/synced")
		w.push("c2", invalid(stack("bad")), ignored(stack("own")), stack("web"))
		pass(time.Hour)
		d.expect("counts at another commit", d.counts(), "ignored own, invalid bad, started web, invalid bad")
		d.stop()
	})
	bubble(t, "a failure is counted once for the same reason at the same commit", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		var n atomic.Int32
		w.on("up web", func(context.Context) error { return fmt.Errorf("container 0123456789abcdef%02d failed", n.Add(1)) })
		d := start(t, w)
		pass(time.Hour)
		d.expect("counts", d.counts(), "failed web")
		w.on("up web", fails("port is taken"))
		pass(2 * time.Hour)
		d.expect("counts for another reason", d.counts(), "failed web, failed web")
		w.push("c2", version(2, stack("web")))
		d.look()
		d.expect("counts at another commit", d.counts(), "failed web, failed web, failed web")
		d.stop()
	})
}

func TestThePicture(t *testing.T) {
	bubble(t, "has a removed stack that can't be stopped beside the one that took its file", func(t *testing.T) {
		w := newWorld(t, stack("old"))
		d := start(t, w)
		w.on("down old", fails("the engine hung up"))
		renamed := stack("new")
		renamed.File = "old/compose.yaml"
		w.push("c2", renamed)
		d.look()
		d.expect("picture", d.last(), "new=running/synced old=failed/retrying")
		d.look()
		d.expect("picture", d.last(), "new=running/synced old=failed/retrying(retry)")
		w.on("down old", nil)
		pass(10 * time.Second)
		d.expect("picture", d.last(), "new=running/synced")
		d.stop()
	})
	bubble(t, "has two files with one name as two", func(t *testing.T) {
		other := invalid(stack("web"))
		other.File = "other/compose.yaml"
		d := start(t, newWorld(t, invalid(stack("web")), other))
		d.expect("picture", d.last(), "web=invalid/held(invalid) web=invalid/held(invalid)")
		d.stop()
	})
	bubble(t, "shows a stack as running while it is updated, and as what it was while its healthcheck is quiet", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		w.on("settle web", takes(time.Minute))
		w.push("c2", version(2, stack("web")))
		d.look()
		d.expect("look", words(d.looksSoFar()[1].Stacks), "web=running/applying")
		d.look()
		d.expect("look while it is busy", words(d.looksSoFar()[2].Stacks), "web=running/applying")
		pass(time.Minute)
		w.host("web", func(c *plan.Container) { c.Health = "starting" })
		d.look()
		d.expect("picture", d.last(), "web=running/synced")
		d.stop()
	})
	bubble(t, "keeps the reason and the commit of what failed beside what runs", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		w.on("pull web", fails("no such image"))
		w.push("c2", version(2, stack("web")))
		d.look()
		d.stop()
		s := d.ended[len(d.ended)-1].Final[0]
		if s.Error != "no such image" || s.Reason != "pull failed" || s.Commit != "c1" || s.Attempted != "c2" || s.NextRetry.IsZero() || s.Outcomes[0].Operation != "pull" {
			t.Errorf("stack: %+v", s)
		}
	})
	bubble(t, "of a check that a newer one overtook is the one at its end", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w)
		w.on("settle web", takes(time.Minute))
		w.push("c2", version(2, stack("web")), stack("db"))
		d.look()
		w.push("c3", version(2, stack("web")), stack("new"))
		d.look()
		pass(time.Minute)
		d.stop()
		overtaken := d.ended[2]
		if overtaken.To != "c2" || words(overtaken.Final) != "new=running/synced web=running/synced" {
			t.Errorf("%s: %s", overtaken.To, words(overtaken.Final))
		}
	})
}

func TestAnEmptyRepositoryIsAPictureToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, func(o *Options) { o.AllowEmpty = true })
		w.push("c2")
		d.look()
		d.expect("runs", d.runs(), "")
		if s := d.looksSoFar()[1].Stacks; s == nil || len(s) > 0 {
			t.Errorf("picture: %v", s)
		}
		d.stop()
	})
}

func TestShutdown(t *testing.T) {
	for _, at := range []string{"fetch", "observe", "down old", "checkout", "pull web", "up web", "settle web"} {
		for _, after := range []time.Duration{0, 5 * time.Second, 20 * time.Second} {
			bubble(t, fmt.Sprintf("during %s, %s before it would end, ends in time, is no failure and is finished by the next start", at, after), func(t *testing.T) {
				w := newWorld(t, stack("web"), stack("old"))
				d := start(t, w)
				counted := len(d.counts())
				w.push("c2", version(2, stack("web")))
				if at != "checkout" { // which is never cut short
					w.on(at, takes(after))
				}
				d.r.Trigger("webhook")
				if after > 0 {
					synctest.Wait()
				}
				asked := time.Now()
				d.stop()
				if took := time.Since(asked); took > grace {
					t.Errorf("took %s", took)
				}
				if got := d.counts()[counted:]; strings.Contains(got, "failed") {
					t.Errorf("counts: %s", got)
				}
				if logs := d.logs.String(); strings.Contains(logs, "level=ERROR") || strings.Contains(logs, "level=WARN") {
					t.Errorf("logs: %s", logs)
				}
				w.on(at, nil)
				d = start(t, w, sameJournal(d))
				d.expect("runs", d.runs(), "web=web2")
				d.expect("picture", d.last(), "web=running/synced")
				d.stop()
			})
		}
	}
	bubble(t, "lets a checkout end", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		w.on("checkout", takes(5*time.Second))
		w.push("c2", version(2, stack("web")))
		d.look()
		d.stop()
		d.expect("clone", w.head(), "c2")
		d.expect("runs", d.runs(), "web=web1")
	})
	bubble(t, "nothing is begun after it", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("old"))
		d := start(t, w)
		w.did()
		w.on("down old", takes(5*time.Second))
		w.push("c2", version(2, stack("web")))
		d.look()
		d.stop()
		d.expect("did", w.did(), "down old")
	})
}

func TestTheJournal(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"lost":    os.Remove,
		"corrupt": func(path string) error { return os.WriteFile(path, []byte(`{"stacks": {"web": nul`), 0o600) },
		"strange": func(path string) error { return os.WriteFile(path, []byte(`{"stacks": {"web": null}}`), 0o600) },
	} {
		bubble(t, name+" costs history and no correctness", func(t *testing.T) {
			w := newWorld(t, stack("web"), stack("db"))
			d := start(t, w)
			d.stop()
			w.did()
			if err := damage(d.o.Journal); err != nil {
				t.Fatal(err)
			}
			w.crash("db")
			d = start(t, w, sameJournal(d))
			d.expect("did", w.did(), "up db c1")
			d.expect("picture", d.last(), "db=running/synced web=running/synced")
			d.stop()
		})
	}
	bubble(t, "that can't be written stops nothing, and is said once", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w, func(o *Options) { o.Journal = "/dev/null/journal.json" })
		d.expect("runs", d.runs(), "db=db1 web=web1")
		if n := strings.Count(d.logs.String(), "can't be written"); n != 1 {
			t.Errorf("said %d times", n)
		}
		d.stop()
	})
	bubble(t, "keeps ten outcomes, newest first, and forgets stacks that are gone", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("old"))
		d := start(t, w)
		for v := range 12 {
			w.push(fmt.Sprint("v", v), version(v+2, stack("web")))
			d.look()
		}
		d.stop()
		j := openJournal(d.o.Journal, d.o.Logger)
		if len(j.Stacks) != 1 || len(j.peek("web").Outcomes) != 10 || j.peek("web").Outcomes[0].Commit != "v11" || j.peek("web").Commit != "v11" {
			t.Errorf("journal: %+v", j.peek("web"))
		}
	})
}

func TestWhatTheStatusPageIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, stack("web"))
		var mu sync.Mutex
		var due time.Time
		begin := time.Now()
		d := start(t, w, every(time.Minute), func(o *Options) {
			o.Scheduled = func(next time.Time) { mu.Lock(); defer mu.Unlock(); due = next }
			o.Describe = func(commit string) (report.Commit, error) {
				if commit == "c1" {
					return report.Commit{}, errors.New("unknown")
				}
				return report.Commit{Hash: commit, Subject: "more"}, nil
			}
		})
		expectDue := func(want time.Time) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if !due.Equal(want) {
				t.Errorf("due %s, and should be %s", due, want)
			}
		}
		expectDue(begin.Add(time.Minute))
		w.on("fetch", fails("remote is down"))
		d.look()
		expectDue(begin.Add(5 * time.Second))
		w.on("fetch", nil)
		w.push("c2", version(2, stack("web")))
		pass(5 * time.Second)
		if got := fmt.Sprint(d.looksSoFar()[2].Commits); !strings.Contains(got, "c2 more") || len(d.looksSoFar()[2].Commits) != 1 {
			t.Errorf("commits: %s", got)
		}
		d.expect("look", words(d.looksSoFar()[2].Stacks), "web=running/applying")
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
