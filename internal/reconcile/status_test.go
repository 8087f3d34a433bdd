package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

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
	bubble(t, "has a removed stack that can't be stopped beside the one that has its file now and waits", func(t *testing.T) {
		w := newWorld(t, stack("old"))
		d := start(t, w)
		w.on("down old", fails("the engine hung up"))
		renamed := stack("new")
		renamed.File = "old/compose.yaml"
		w.push("c2", renamed)
		d.look()
		d.expect("picture", d.last(), "new=failed/held(needs) old=failed/retrying(retry)")
		d.look()
		d.expect("picture", d.last(), "new=failed/held(needs) old=failed/retrying(retry)")
		d.expect("runs", d.runs(), "old=old1")
		w.on("down old", nil)
		pass(10 * time.Second)
		d.expect("picture", d.last(), "new=running/synced")
		d.stop()
	})
	bubble(t, "has a stack whose services are all switched off as idle, with nothing to be done", func(t *testing.T) {
		w := newWorld(t, idle(stack("tools")))
		d := start(t, w)
		d.expect("picture", d.last(), "tools=idle/synced")
		d.expect("runs", d.runs(), "")
		w.push("c2", version(2, stack("tools")))
		d.look()
		d.expect("picture", d.last(), "tools=running/synced")
		w.push("c3", idle(stack("tools")))
		d.look()
		d.expect("picture of one that was switched off while it runs", d.last(), "tools=idle/synced")
		d.expect("runs", d.runs(), "tools=tools2")
		d.stop()
	})
	bubble(t, "has the warnings of a stack", func(t *testing.T) {
		warned := stack("web")
		warned.Warnings = []string{"variable TOKEN is not set"}
		d := start(t, newWorld(t, warned))
		d.expect("picture", d.last(), "web=running/synced")
		d.expect("warnings", strings.Join(d.looksSoFar()[0].Stacks[0].Warnings, ", "), "variable TOKEN is not set")
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
