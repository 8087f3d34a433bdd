package reconcile

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

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
	bubble(t, "a slow stop delays its commit by ten seconds where it uses files that this takes away", func(t *testing.T) {
		w := newWorld(t, stack("web"), files(stack("old")))
		d := start(t, w)
		w.on("down old", takes(10*time.Minute))
		w.push("c2", version(2, stack("web")))
		d.look()
		pass(9 * time.Second)
		d.expect("head", w.head(), "c1")
		pass(2 * time.Second)
		d.expect("head", w.head(), "c2")
		d.expect("runs", d.runs(), "old=old1 web=web2")
		w.push("c3", version(3, stack("web")))
		d.look()
		d.expect("runs", d.runs(), "old=old1 web=web3")
		pass(10 * time.Minute)
		d.expect("runs", d.runs(), "web=web3")
		d.stop()
	})
	bubble(t, "the ten seconds begin when the stop does, if it does so in time", func(t *testing.T) {
		for others, want := range map[int]time.Duration{1: lingering + 10*time.Second, 20: 10 * time.Second} { // each has the only slot before
			stacks := []plan.Stack{files(stack("old")), stack("web")}
			for n := range others {
				stacks = append(stacks, stack(fmt.Sprint("before", n)))
			}
			w := newWorld(t, stacks...)
			d := start(t, w, func(o *Options) { o.Parallel = 1 })
			for n := range others {
				w.on(fmt.Sprint("down before", n), takes(time.Minute))
			}
			w.on("down old", takes(10*time.Minute))
			w.push("c2", version(2, stack("web")))
			d.look()
			pass(want - time.Second)
			d.expect("head", w.head(), "c1")
			pass(2 * time.Second)
			d.expect("head", w.head(), "c2")
			pass(time.Hour)
			d.expect("runs", d.runs(), "web=web2")
			d.stop()
		}
	})
	bubble(t, "an Up of an earlier check delays the next commit by half a minute where it uses files that this changes", func(t *testing.T) {
		w := newWorld(t, stack("web"), files(stack("db")))
		d := start(t, w)
		w.on("up db", takes(10*time.Minute))
		w.push("c2", stack("web"), version(2, files(stack("db"))))
		d.look()
		w.push("c3", version(3, stack("web")), version(3, files(stack("db"))))
		d.look()
		pass(29 * time.Second)
		d.expect("head", w.head(), "c2")
		pass(2 * time.Second)
		d.expect("head", w.head(), "c3")
		d.stop()
	})
	bubble(t, "it delays the commit until it has ended, if that is sooner", func(t *testing.T) {
		w := newWorld(t, stack("web"), files(stack("db")))
		d := start(t, w)
		w.on("up db", takes(10*time.Second))
		w.push("c2", stack("web"), version(2, files(stack("db"))))
		d.look()
		w.push("c3", version(3, stack("web")), version(3, files(stack("db"))))
		d.look()
		pass(9 * time.Second)
		d.expect("runs", d.runs(), "db=db1 web=web1")
		pass(2 * time.Second)
		d.expect("runs", d.runs(), "db=db2 web=web3")
		pass(10 * time.Second)
		d.expect("runs", d.runs(), "db=db3 web=web3")
		d.stop()
	})
	bubble(t, "a service that waits for another starts all the same after a commit that does not change its stack", func(t *testing.T) {
		w := newWorld(t, files(stack("db")), stack("web"))
		d := start(t, w)
		w.did()
		w.on("wait db", takes(time.Minute))
		w.push("c2", version(2, files(stack("db"))), stack("web"))
		d.look()
		w.on("checkout", takes(20*time.Second))
		w.push("c3", version(2, files(stack("db"))), version(3, stack("web")))
		pass(50 * time.Second)
		d.look()
		d.expect("did", w.did(), "checkout c2, pull db, up db c2")
		pass(19 * time.Second) // what it waited for is there, and the checkout not over
		d.expect("runs", d.runs(), "db=db2(created) web=web1")
		pass(2 * time.Second)
		if did := w.did(); !strings.Contains(did, "start db") || strings.Contains(did, "up db") {
			t.Errorf("did %s", did)
		}
		d.expect("runs", d.runs(), "db=db2 web=web3")
		d.stop()
	})
	bubble(t, "a service that waits for another does not start after a commit that changes its stack, which is brought up anew", func(t *testing.T) {
		w := newWorld(t, files(stack("db")), stack("web"))
		d := start(t, w)
		w.did()
		w.on("wait db", takes(time.Minute))
		w.push("c2", version(2, files(stack("db"))), stack("web"))
		d.look()
		w.push("c3", version(3, files(stack("db"))), stack("web"))
		d.look()
		d.expect("did", w.did(), "checkout c2, pull db, up db c2, checkout c3")
		pass(time.Hour)
		d.expect("did", w.did(), "pull db, up db c3, start db")
		d.expect("counts", d.counts(), "started db, started web, updated db")
		d.expect("picture", d.last(), "db=running/synced web=running/synced")
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
		w := newWorld(t, files(stack("x")), stack("y"))
		w.on("up x", takes(2*time.Minute))
		w.on("pull y", takes(plan.Patience+10*time.Second))
		d := start(t, w)
		w.on("checkout", takes(20*time.Second))
		w.push("c2", version(2, files(stack("x"))), stack("y"))
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
	bubble(t, "what an operation does and what it waits for are told apart", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("up web", takes(3*time.Second))
		w.on("settle web", takes(20*time.Second))
		d := start(t, w)
		pass(time.Minute)
		ops := d.ended[0].Operations
		up := ops[len(ops)-1]
		d.expect("up", fmt.Sprint(up.Kind, " ", up.Took, " ", up.Settled), "up 3s 20s")
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
	bubble(t, "stacks that wait for a slow pull hold up nobody else's, however many they are", func(t *testing.T) {
		w := newWorld(t)
		all := []plan.Stack{stack("z")}
		for i := range 30 {
			s := stack(fmt.Sprint("s", i))
			all = append(all, s)
			w.on("pull "+s.Name, takes(time.Hour))
		}
		w.commits["c1"] = all
		d := start(t, w)
		d.expect("runs", d.runs(), "z=z1")
		pass(time.Hour)
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
	bubble(t, "a stack that becomes healthy is none of them", func(t *testing.T) {
		w := newWorld(t, stack("a"), stack("b"))
		w.images["a:1"], w.images["b:1"] = true, true
		w.on("up a", takes(time.Second))
		w.on("settle a", takes(time.Minute))
		d := start(t, w, func(o *Options) { o.Parallel = 1 })
		d.expect("runs", d.runs(), "")
		pass(2 * time.Second)
		d.expect("runs", d.runs(), "a=a1 b=b1")
		d.stop()
	})
	bubble(t, "half as many that failed before are tried again beside them", func(t *testing.T) {
		for parallel, want := range map[int]int{1: 1, 2: 1, 4: 2, 5: 2} {
			w := newWorld(t)
			var at, most int // under the world's lock
			count := func(n int) {
				w.mu.Lock()
				defer w.mu.Unlock()
				at += n
				most = max(most, at)
			}
			var all []plan.Stack
			for i := range 10 {
				s := stack(fmt.Sprint("s", i))
				all = append(all, s)
				w.on("up "+s.Name, fails("port is taken"))
			}
			w.commits["c1"] = all
			d := start(t, w, func(o *Options) { o.Parallel = parallel })
			for _, s := range all {
				w.on("up "+s.Name, func(ctx context.Context) error {
					count(1)
					defer count(-1)
					return takes(10 * time.Second)(ctx)
				})
			}
			pass(time.Hour)
			d.expect("up", fmt.Sprint(len(strings.Fields(d.runs()))), "10")
			d.expect("at once", fmt.Sprint(most), fmt.Sprint(want))
			d.stop()
		}
	})
}
