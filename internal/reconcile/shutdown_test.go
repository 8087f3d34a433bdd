package reconcile

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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
		w := newWorld(t, stack("web"), files(stack("old")))
		d := start(t, w)
		w.did()
		w.on("down old", takes(5*time.Second))
		w.push("c2", version(2, stack("web")))
		d.look()
		d.stop()
		d.expect("did", w.did(), "down old")
	})
	bubble(t, "what waits for a slot is not begun after it", func(t *testing.T) {
		w := newWorld(t, stack("a"), stack("b"))
		w.on("up a", takes(5*time.Second))
		w.on("pull b", takes(time.Second))
		d := start(t, w, func(o *Options) { o.Parallel = 1 })
		pass(2 * time.Second)
		d.stop()
		d.expect("runs", d.runs(), "a=a1")
	})
}
