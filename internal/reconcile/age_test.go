package reconcile

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// aged lets a daemon take images three hours after it has seen them.
func aged(o *Options) { o.MinAge = 3 * time.Hour }

// eager is a stack with pull_policy: always, whose registry is asked each hour.
func eager(v string) plan.Stack {
	s := watching("web", "app:1", time.Hour)
	s.Digest = "web" + v
	s.Services[0].Hash, s.Services[0].Pull = "web"+v, plan.PullAlways
	return s
}

// moved is a daemon that has just seen that the tag of its one stack moved from d1
// to d2, an hour and a second after its start.
func moved(t *testing.T, s plan.Stack, change ...func(*Options)) (*tagged, *daemon) {
	t.Helper()
	w := newTagged(newWorld(t, s))
	w.move("app:1", "d1")
	d := start(t, w.world, append([]func(*Options){w.use, aged}, change...)...)
	d.expect("at first", d.did(), "pull web, up web c1")
	w.move("app:1", "d2")
	pass(time.Hour + time.Second)
	d.expect("when it is seen", d.did(), "")
	d.expect("picture", d.last(), "web=running/held(age)")
	return w, d
}

func TestAnImageIsTakenOnceItHasBeenSeenForAsLongAsIsAskedFor(t *testing.T) {
	bubble(t, "without being asked, at that time", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour))
		pass(3*time.Hour - 2*time.Second)
		d.expect("before", d.did(), "")
		pass(2 * time.Second) // it is also the time of the next question
		d.expect("did", d.did(), "pull web, up web c1")
		d.expect("picture", d.last(), "web=running/synced")
		d.expect("image", w.image("web"), "d2")
		d.expect("triggers", d.triggers(), "start image retry")
		d.expect("counts", d.counts(), "started web, updated web")
		if s := d.logs.String(); strings.Count(s, `level=INFO msg="stack held" stack=web cause="age: app:1 at the registry is a newer image (d2)`) != 1 || strings.Contains(s, "level=WARN") {
			t.Errorf("the log says %s", s)
		}
		pass(10 * time.Hour)
		d.expect("afterwards", d.did(), "")
		d.stop()
	})
	bubble(t, "with healing off", func(t *testing.T) {
		_, d := moved(t, watching("web", "app:1", time.Hour), noHeal)
		pass(3 * time.Hour)
		d.expect("did", d.did(), "pull web, up web c1")
		d.stop()
	})
	bubble(t, "and a stack that asks for no age has it at once", func(t *testing.T) {
		s := watching("web", "app:1", time.Hour)
		s.MinAge = new(time.Duration)
		w := newTagged(newWorld(t, s))
		w.move("app:1", "d1")
		d := start(t, w.world, w.use, aged)
		d.did()
		w.move("app:1", "d2")
		pass(time.Hour + time.Second)
		d.expect("did", d.did(), "pull web, up web c1")
		d.stop()
	})
	bubble(t, "and a newer one starts the clock again", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour))
		pass(time.Hour)
		w.move("app:1", "d3")
		pass(2*time.Hour - 2*time.Second) // d2 would be old enough in a second
		d.expect("picture", d.last(), "web=running/held(age)")
		pass(2 * time.Hour) // d3 was seen an hour after it had come
		d.expect("before", d.did(), "")
		pass(2 * time.Second)
		d.expect("did", d.did(), "pull web, up web c1")
		d.expect("image", w.image("web"), "d3")
		d.stop()
	})
	bubble(t, "and one that is back at what runs is nothing to wait for", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour))
		w.move("app:1", "d1")
		pass(time.Hour)
		d.look()
		d.expect("picture", d.last(), "web=running/synced")
		w.move("app:1", "d2")
		pass(time.Hour) // it counts as new
		pass(3*time.Hour - 2*time.Second)
		d.expect("before", d.did(), "")
		d.expect("picture", d.last(), "web=running/held(age)")
		pass(2 * time.Second)
		d.expect("did", d.did(), "pull web, up web c1")
		d.stop()
	})
	bubble(t, "by hand it passes", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour), noHeal)
		w.bring("app:1", "d2")
		d.look()
		d.expect("did", d.did(), "up web c1")
		d.expect("picture", d.last(), "web=running/synced")
		d.expect("image", w.image("web"), "d2")
		d.stop()
	})
}

func TestTheClockOfAnImageGoesOnOverRestarts(t *testing.T) {
	const untilThen = 3*time.Hour - time.Second
	bubble(t, "with the journal", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour))
		pass(time.Hour)
		d.stop()
		pass(time.Hour)
		d = start(t, w.world, w.use, aged, sameJournal(d))
		d.expect("picture", d.last(), "web=running/held(age)")
		pass(time.Hour - 2*time.Second)
		d.expect("before", d.did(), "")
		pass(2 * time.Second)
		d.expect("did", d.did(), "pull web, up web c1")
		d.stop()
	})
	bubble(t, "and what reached its age meanwhile is taken at the start", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour))
		d.stop()
		pass(5 * time.Hour)
		d = start(t, w.world, w.use, aged, sameJournal(d))
		d.expect("did", d.did(), "pull web, up web c1")
		d.stop()
	})
	bubble(t, "and begins anew without the journal", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour))
		pass(2 * time.Hour)
		d.stop()
		d = start(t, w.world, w.use, aged)
		pass(untilThen)
		d.expect("before", d.did(), "")
		pass(2 * time.Second)
		d.expect("did", d.did(), "pull web, up web c1")
		d.stop()
	})
	bubble(t, "and with a journal that does not say when it was seen", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour))
		pass(2 * time.Hour)
		d.stop()
		b, err := os.ReadFile(d.o.Journal)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, found := strings.Cut(string(b), `,"First":"`)
		_, after, _ := strings.Cut(rest, `"`)
		if !found {
			t.Fatalf("the journal is %s", b)
		}
		if err := os.WriteFile(d.o.Journal, []byte(before+after), 0o600); err != nil {
			t.Fatal(err)
		}
		d = start(t, w.world, w.use, aged, sameJournal(d))
		pass(untilThen)
		d.expect("before", d.did(), "")
		pass(2 * time.Second)
		d.expect("did", d.did(), "pull web, up web c1")
		d.stop()
	})
	bubble(t, "and while the stack is invalid", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour))
		w.push("c2", invalid(watching("web", "app:1", time.Hour)))
		d.look()
		w.push("c3", watching("web", "app:1", time.Hour))
		d.look()
		d.did()
		pass(3*time.Hour - 2*time.Second)
		d.expect("before", d.did(), "")
		pass(2 * time.Second)
		d.expect("did", d.did(), "pull web, up web c3")
		d.stop()
	})
}

func TestWhatGitChangesIsDoneWithoutTheImageThatIsTooYoung(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		w, d := moved(t, eager("1"))
		w.push("c2", eager("2"))
		d.look()
		d.expect("did", d.did(), "checkout c2, up web c2")
		d.expect("image", w.image("web"), "d1")
		d.expect("counts", d.counts(), "started web, updated web")
		d.expect("picture", d.last(), "web=running/held(age)")
		if s := d.logs.String(); strings.Count(s, "stack held") != 1 || strings.Contains(s, "no longer held") {
			t.Errorf("the log says %s", s)
		}
		w.crash("web")
		pass(time.Hour)
		d.look()
		d.expect("repaired", d.did(), "up web c2")
		d.expect("image", w.image("web"), "d1")
		pass(2 * time.Hour)
		d.expect("at its age", d.did(), "pull web, up web c2")
		d.expect("image", w.image("web"), "d2")
		if s := d.logs.String(); strings.Count(s, "stack held") != 1 || strings.Count(s, "no longer held") != 1 {
			t.Errorf("the log says %s", s)
		}
		w.move("app:1", "d3") // which nobody has asked for yet
		w.push("c3", eager("3"))
		d.look()
		d.expect("a change", d.did(), "checkout c3, up web c3")
		d.expect("image", w.image("web"), "d2")
		d.stop()
	})
}

func TestAStackThatIsHeldForAnAgeIsAsItIsWanted(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour))
		s := watching("web", "app:1", time.Hour)
		s.Digest = "another"
		w.push("c2", s)
		d.look()
		d.expect("did", d.did(), "checkout c2")
		d.expect("picture", d.last(), "web=running/held(age)")
		d.expect("applied", d.r.journal.peek("web").Applied, "another")
		d.stop()
	})
}

func TestATagThatMovesAgainWhileItIsPulled(t *testing.T) {
	bubble(t, "is known since then", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour))
		w.on("pull web", takes(90*time.Minute))
		pass(3 * time.Hour) // at four hours the pull begins
		w.move("app:1", "d3")
		pass(2 * time.Hour) // at five it is seen
		w.on("pull web", nil)
		d.expect("did", d.did(), "pull web, up web c1")
		d.expect("image", w.image("web"), "d2")
		d.look()
		d.expect("picture", d.last(), "web=running/held(age)")
		pass(2*time.Hour - 2*time.Second)
		d.expect("before", d.did(), "")
		pass(2 * time.Second)
		d.expect("did", d.did(), "pull web, up web c1")
		d.expect("image", w.image("web"), "d3")
		d.stop()
	})
	bubble(t, "before it is pulled, waits", func(t *testing.T) {
		w, d := moved(t, watching("web", "app:1", time.Hour), func(o *Options) { o.MinAge = 150 * time.Minute })
		pass(2 * time.Hour)
		w.move("app:1", "d3")
		pass(30 * time.Minute) // d2 is old enough, and the tag points to it no more
		d.expect("triggers", d.triggers(), "start image retry lane")
		d.expect("did", d.did(), "")
		d.expect("picture", d.last(), "web=running/held(age)")
		d.expect("image", w.image("web"), "d1")
		d.expect("counts", d.counts(), "started web")
		if e := d.r.journal.peek("web"); e.Failed != "" || e.Error != "" || len(e.Outcomes) != 1 {
			t.Errorf("it is remembered as %+v", e)
		}
		pass(150*time.Minute - 2*time.Second)
		d.expect("before", d.did(), "")
		pass(2 * time.Second)
		d.expect("did", d.did(), "pull web, up web c1")
		d.expect("image", w.image("web"), "d3")
		d.stop()
	})
}

func TestAnImageThatWasMissingIsPulledOnce(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		w := newTagged(newWorld(t, watching("web", "app:1", time.Hour)))
		w.move("app:1", "d1")
		d := start(t, w.world, w.use)
		pass(time.Hour + time.Second)
		d.did()
		w.mu.Lock()
		delete(w.here, "app:1")
		w.mu.Unlock()
		w.world.mu.Lock()
		delete(w.images, "app:1")
		w.world.mu.Unlock()
		w.move("app:1", "d2") // and what the registry said before is no news
		w.crash("web")
		d.look()
		d.look()
		d.expect("did", d.did(), "pull web, up web c1")
		d.expect("image", w.image("web"), "d2")
		d.stop()
	})
}

func TestTheDaemonItselfWaitsForTheAgeOfItsImage(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		own, h := newOwn(t)
		own.commits["c1"] = []plan.Stack{watching("own", "own:1", time.Hour)}
		w := newTagged(own)
		w.move("own:1", "d1")
		w.bring("own:1", "d1")
		own.host("own", func(c *plan.Container) { c.Image = "id of d1" })
		d := start(t, own, w.use, aged, h.option)
		pass(time.Second)
		d.look()
		d.expect("version", d.own().Applied, "own1@d1")
		w.move("own:1", "d2")
		pass(time.Hour)
		d.expect("picture", d.last(), "own=running/held(age)")
		d.expect("version", d.own().Applied, "own1@d1")
		pass(3*time.Hour - 2*time.Second)
		d.expect("before", d.did(), "")
		pass(2 * time.Second)
		d.expect("did", d.did(), "pull own, hand over own c1")
		if h.asked[0].Version != "own1@d2" {
			t.Errorf("it hands over to %s", h.asked[0].Version)
		}
		d.stop()
	})
}
