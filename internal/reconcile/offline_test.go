package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

func TestHealingDoesNotNeedTheRemote(t *testing.T) {
	bubble(t, "a crash is repaired while a fetch takes long", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, w.watched)
		w.did()
		w.on("fetch", takes(20*time.Minute))
		w.push("c2", version(2, stack("web")))
		d.look()
		pass(time.Minute)
		w.crash("web")
		w.tell("web")
		pass(15 * time.Second)
		d.expect("did", w.did(), "up web c1")
		d.expect("picture", d.last(), "web=running/synced")
		pass(20 * time.Minute)
		d.expect("did", w.did(), "checkout c2, pull web, up web c2")
		d.stop()
	})
	bubble(t, "the end of a slow operation is reported while a fetch takes long", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w)
		w.on("settle web", takes(time.Minute))
		w.push("c2", version(2, stack("web")))
		d.look()
		w.on("fetch", takes(20*time.Minute))
		d.look()
		pass(time.Minute)
		d.expect("picture", d.last(), "web=running/synced")
		d.stop()
	})
	bubble(t, "the first look waits for a slow remote for a while only", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("fetch", takes(20*time.Minute))
		d := start(t, w)
		pass(startPatience - time.Second)
		d.expect("runs", d.runs(), "")
		pass(2 * time.Second)
		d.expect("runs", d.runs(), "web=web1")
		l := d.looksSoFar()[0]
		if l.Offline != "the remote has not answered yet" || l.Error != "" {
			t.Errorf("look: %+v", l)
		}
		pass(20 * time.Minute)
		d.expect("triggers", d.triggers(), "start start")
		d.stop()
	})
	bubble(t, "a crash is repaired while the remote is down, which counts as an error, and nothing of git is applied", func(t *testing.T) {
		w := newWorld(t, stack("web"), files(stack("old")))
		d := start(t, w, w.watched, every(5*time.Minute))
		w.did()
		w.on("fetch", fails("no route to host"))
		w.push("c2", version(2, stack("web")))
		pass(10 * time.Minute)
		w.crash("web")
		w.tell("web")
		pass(15 * time.Second)
		d.expect("did", w.did(), "up web c1")
		i := slices.IndexFunc(d.looksSoFar(), func(l report.Look) bool { return l.Trigger == "engine" && l.Offline != "" })
		if i < 0 {
			t.Fatal("the engine caused no look")
		}
		if l := d.looksSoFar()[i]; l.Offline != "fetch: no route to host" || l.Error != l.Offline || l.Stacks == nil {
			t.Errorf("look: %+v", l)
		}
		w.on("fetch", nil)
		pass(5 * time.Minute)
		d.expect("did", w.did(), "down old, checkout c2, pull web, up web c2")
		d.stop()
	})
	bubble(t, "a failed operation is tried again while the remote is down", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("up web", fails("port is taken"))
		d := start(t, w)
		w.on("fetch", fails("no route to host"))
		w.on("up web", nil)
		pass(10 * time.Second)
		d.expect("runs", d.runs(), "web=web1")
		d.stop()
	})
	bubble(t, "a stack whose files were changed by hand is left alone, the others are repaired", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w, w.watched)
		w.did()
		w.mu.Lock()
		w.edited = []string{"web/compose.yaml"}
		w.mu.Unlock()
		w.on("fetch", func(context.Context) error { return blockedError{} })
		d.look()
		w.crash("web")
		w.crash("db")
		w.tell("db")
		pass(15 * time.Second)
		d.expect("did", w.did(), "up db c1")
		d.expect("picture", d.last(), "db=running/synced web=failed/held(local)")
		l := d.looksSoFar()[len(d.looksSoFar())-1]
		if !l.Blocked || len(l.Stacks[1].Edited) != 1 {
			t.Errorf("look: %+v", l)
		}
		d.stop()
	})
	bubble(t, "a stack whose files were changed by hand goes on where changes are kept", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, w.watched, func(o *Options) { o.KeepEdits = true })
		w.did()
		w.mu.Lock()
		w.edited = []string{"web/nginx.conf"}
		w.mu.Unlock()
		w.push("c2", version(2, stack("web")))
		d.look()
		d.expect("did", w.did(), "checkout c2, pull web, up web c2")
		if s := d.looksSoFar()[1].Stacks[0]; strings.Join(s.Edited, " ") != "web/nginx.conf" {
			t.Errorf("edited: %v", s.Edited)
		}
		d.stop()
	})
	bubble(t, "a clone that a person moved on is not taken back to what was fetched before", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		d := start(t, w, w.watched)
		w.push("c2", version(2, stack("web")))
		w.mu.Lock()
		w.local = "c2"
		w.mu.Unlock()
		w.did()
		w.tell("web")
		pass(15 * time.Second)
		d.expect("did", w.did(), "pull web, up web c2")
		d.expect("fetches", fmt.Sprint(w.asked()), "2")
		d.stop()
	})
}

func TestHealingOff(t *testing.T) {
	bubble(t, "what the first check could not begin, for another stack failed, is repaired later", func(t *testing.T) {
		w := newWorld(t, stack("a"), stack("b", "a"))
		d := start(t, w, noHeal)
		d.stop()
		w.host("a", func(c *plan.Container) { c.State, c.ExitCode = "exited", 137 })
		w.host("b", func(c *plan.Container) { c.State, c.ExitCode = "exited", 137 })
		var tries int
		w.on("up a", func(context.Context) error {
			if tries++; tries == 1 {
				return errors.New("port is taken")
			}
			return nil
		})
		d = start(t, w, noHeal, sameJournal(d))
		pass(time.Minute)
		d.expect("picture", d.last(), "a=running/synced b=running/synced")
		w.crash("b")
		d.look()
		d.expect("a drift of later is held", d.last(), "a=running/synced b=failed/held(drift)")
		d.stop()
	})
	bubble(t, "what the first check began and a commit overtook is repaired later", func(t *testing.T) {
		w := newWorld(t, stack("a"), stack("b"))
		d := start(t, w, noHeal)
		d.stop()
		w.crash("b")
		w.mu.Lock()
		delete(w.images, "b:1")
		w.mu.Unlock()
		w.on("pull b", takes(time.Minute))
		d = start(t, w, noHeal, sameJournal(d))
		w.push("c2", version(2, stack("a")), stack("b"))
		d.look()
		pass(3 * time.Minute)
		d.expect("picture", d.last(), "a=running/synced b=running/synced")
		d.stop()
	})
	bubble(t, "a stack that is ignored, renamed and then removed goes on under its old name", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w)
		renamed := ignored(stack("site"))
		renamed.File = "web/compose.yaml"
		w.push("c2", renamed, stack("db"))
		d.look()
		w.push("c3", stack("db"))
		d.look()
		pass(time.Hour)
		d.expect("runs", d.runs(), "db=db1 web=web1")
		d.stop()
	})
	bubble(t, "what was begun is no drift after the stack was ignored", func(t *testing.T) {
		w := newWorld(t, stack("db"))
		d := start(t, w, noHeal)
		w.on("up web", func(context.Context) error { return errHalf })
		w.push("c2", stack("web"), stack("db"))
		d.look()
		w.push("c3", ignored(stack("web")), stack("db"))
		d.look()
		pass(time.Minute)
		d.look()
		w.on("up web", nil)
		w.push("c4", stack("web"), stack("db"))
		d.look()
		pass(time.Minute)
		d.expect("runs", d.runs(), "db=db1 web=web1")
		d.stop()
	})
	bubble(t, "a stack that is ignored no more and drifted is stopped when git has it no more", func(t *testing.T) {
		w := newWorld(t, ignored(stack("web")), stack("db"))
		w.mu.Lock()
		w.running["web"] = plan.Running{Project: "web", File: "web/compose.yaml", Ours: true, Labelled: true, Containers: []plan.Container{{ID: "1", Service: "app", State: "exited", Hash: "web1"}}}
		w.mu.Unlock()
		d := start(t, w, noHeal)
		w.push("c2", stack("web"), stack("db"))
		d.look()
		w.push("c3", stack("db"))
		d.look()
		d.expect("runs", d.runs(), "db=db1")
		d.stop()
	})
}

func TestMovesNeverOverlap(t *testing.T) {
	renamed := func() plan.Stack {
		s := stack("new")
		s.File = "old/compose.yaml"
		return s
	}
	bubble(t, "a slow stop is waited for, and other stacks do not wait", func(t *testing.T) {
		w := newWorld(t, stack("old"), stack("web"))
		d := start(t, w)
		w.did()
		w.on("pull new", takes(time.Second))
		w.on("down old", takes(2*time.Minute))
		w.push("c2", renamed(), version(2, stack("web")))
		d.look()
		d.expect("did", w.did(), "checkout c2, pull web, up web c2")
		pass(time.Minute)
		d.expect("did", w.did(), "pull new")
		d.expect("runs", d.runs(), "old=old1 web=web2")
		pass(2 * time.Minute)
		d.expect("did", w.did(), "down old, up new c2")
		d.stop()
	})
	bubble(t, "a stop that fails holds the new one, and is tried again", func(t *testing.T) {
		w := newWorld(t, stack("old"))
		d := start(t, w)
		w.on("down old", fails("the engine hung up"))
		w.push("c2", renamed())
		d.look()
		pass(5 * time.Minute)
		d.expect("runs", d.runs(), "old=old1")
		d.expect("picture", d.last(), "new=failed/held(needs) old=failed/retrying(retry)")
		w.on("down old", nil)
		pass(10 * time.Minute)
		d.expect("runs", d.runs(), "new=new1")
		d.expect("picture", d.last(), "new=running/synced")
		d.stop()
	})
	bubble(t, "a pull that fails leaves the old one running", func(t *testing.T) {
		w := newWorld(t, stack("old"))
		d := start(t, w)
		w.on("pull new", fails("no such image"))
		w.push("c2", renamed())
		d.look()
		pass(time.Hour)
		d.expect("runs", d.runs(), "old=old1")
		w.on("pull new", nil)
		pass(time.Hour)
		d.expect("runs", d.runs(), "new=new1")
		d.stop()
	})
	bubble(t, "a case that differs only", func(t *testing.T) {
		w := newWorld(t, stack("blog"))
		d := start(t, w)
		w.did()
		moved := stack("blog")
		moved.File = "Blog/compose.yaml"
		w.push("c2", moved)
		d.look()
		d.expect("did", w.did(), "checkout c2")
		d.expect("picture", d.last(), "blog=running/synced")
		d.stop()
	})
}
