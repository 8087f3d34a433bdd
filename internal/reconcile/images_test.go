package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// tagged is a world in which images have digests, at a registry and here.
type tagged struct {
	*world
	mu     sync.Mutex
	remote map[string]string // by reference
	here   map[string]string
	asked  int
	down   error
	// pushed is when a digest was, minAge how old it has to be to be pulled.
	pushed map[string]time.Time
	minAge time.Duration
}

func newTagged(w *world) *tagged {
	return &tagged{world: w, remote: map[string]string{}, here: map[string]string{}, pushed: map[string]time.Time{}}
}

func (w *tagged) move(ref, digest string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remote[ref], w.pushed[digest] = digest, time.Now()
}

// latest is what a tag points to.
func (w *tagged) latest(ref string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.remote[ref]
}

func (w *tagged) unreachable(down error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

// questions is how often the registry was asked since this was.
func (w *tagged) questions() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.asked
	w.asked = 0
	return fmt.Sprint(n)
}

func (w *tagged) Latest(_ context.Context, ref string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.down != nil {
		return "", w.down
	}
	return w.remote[ref], nil
}

func (w *tagged) Observe(ctx context.Context) (plan.Observed, error) {
	o, err := w.world.Observe(ctx)
	if err != nil {
		return o, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for ref, digest := range w.here {
		o.Images[ref] = "id of " + digest
		o.Images[plan.Repository(ref)+"@"+digest] = "id of " + digest
	}
	w.world.mu.Lock()
	defer w.world.mu.Unlock()
	o.Version = w.version(fmt.Sprint(o))
	return o, nil
}

func (w *tagged) Pull(ctx context.Context, p render.Project) error {
	s := p.Services[0]
	w.mu.Lock()
	latest, here := w.remote[s.Image], w.here[s.Image]
	if replaces := here != "" && s.Pull == plan.PullAlways && s.Every > 0; replaces && w.minAge > 0 {
		if age := time.Since(w.pushed[latest]); s.Digest == "" || s.Digest == latest && age < w.minAge {
			w.t.Errorf("%s of %s is pulled, %s old, and was to be %q", latest, s.Image, age, s.Digest)
		}
	}
	w.mu.Unlock()
	if s.Digest != "" && s.Digest != latest {
		return fmt.Errorf("pull: %w", movedTo{s.Image, latest})
	}
	err := w.world.Pull(ctx, p)
	if err == nil && (s.Pull == plan.PullAlways || here == "") {
		w.bring(s.Image, latest)
	}
	return err
}

// movedTo is the error of a pull that found another digest than it was to bring.
type movedTo struct{ ref, digest string }

func (m movedTo) Error() string             { return m.ref + " is " + m.digest }
func (m movedTo) MovedTo() (string, string) { return m.ref, m.digest }

// bring brings an image here, as docker pull does.
func (w *tagged) bring(ref, digest string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.here[ref] = digest
}

// image is the one that a stack runs.
func (w *tagged) image(stack string) string {
	w.world.mu.Lock()
	defer w.world.mu.Unlock()
	return strings.TrimPrefix(w.running[stack].Containers[0].Image, "id of ")
}

func (w *tagged) Up(ctx context.Context, p render.Project, op plan.Op, turn Turn) error {
	if err := w.world.Up(ctx, p, op, turn); err != nil {
		return err
	}
	w.mu.Lock()
	here, ok := w.here[p.Services[0].Image]
	w.mu.Unlock()
	if !ok { // it is one that is kept
		return nil
	}
	id := "id of " + here
	w.host(p.Name, func(c *plan.Container) { c.Image = id })
	return nil
}

func (w *tagged) use(o *Options) { o.Engine, o.Registry = w, w }

// watching is a stack that wants to know when a tag moves.
func watching(name, image string, every time.Duration) plan.Stack {
	s := stack(name)
	s.Services[0].Image, s.Services[0].Pull, s.Services[0].Every = image, plan.PullRefresh, every
	return s
}

func TestWatchedTags(t *testing.T) {
	bubble(t, "are asked for when they are due, and not before", func(t *testing.T) {
		w := newTagged(newWorld(t, watching("web", "app:1", time.Hour), stack("db")))
		w.move("app:1", "d1")
		d := start(t, w.world, w.use)
		pass(time.Hour - time.Second)
		d.expect("questions", w.questions(), "0")
		pass(10 * time.Hour)
		d.expect("questions", w.questions(), "10")
		d.expect("triggers", d.triggers(), "start image")
		d.stop()
	})
	bubble(t, "that move update their stack, and no other", func(t *testing.T) {
		w := newTagged(newWorld(t, watching("web", "app:1", time.Hour), watching("db", "db:1", time.Hour)))
		w.move("app:1", "d1")
		w.move("db:1", "d1")
		d := start(t, w.world, w.use, noHeal)
		d.did()
		w.move("app:1", "d2")
		pass(time.Hour + time.Second)
		d.expect("did", d.did(), "pull web, up web c1")
		d.expect("triggers", d.triggers(), "start image")
		d.expect("counts", d.counts(), "started db, started web, updated web")
		pass(10 * time.Hour)
		d.expect("did", d.did(), "")
		d.stop()
	})
	bubble(t, "that several stacks want are asked for once, as often as one of them wants", func(t *testing.T) {
		w := newTagged(newWorld(t, watching("a", "app:1", 24*time.Hour), watching("b", "app:1", time.Hour)))
		w.move("app:1", "d1")
		d := start(t, w.world, w.use)
		d.did()
		w.move("app:1", "d2")
		pass(time.Hour + time.Second)
		d.expect("questions", w.questions(), "1")
		if did := d.did(); !strings.Contains(did, "up a c1") || !strings.Contains(did, "up b c1") {
			t.Errorf("did %s", did)
		}
		d.stop()
	})
	bubble(t, "whose registry is down are asked for again, and leave alone what runs", func(t *testing.T) {
		w := newTagged(newWorld(t, watching("web", "app:1", 24*time.Hour)))
		w.move("app:1", "d1")
		d := start(t, w.world, w.use)
		w.unreachable(errors.New("connection refused"))
		pass(24*time.Hour + 30*time.Minute)
		if n := strings.Count(d.logs.String(), "check the registry for a newer image"); n != 1 {
			t.Errorf("said %d times", n)
		}
		d.expect("picture", d.last(), "web=running/synced")
		w.move("app:1", "d2")
		w.unreachable(nil)
		d.did()
		pass(2 * time.Hour)
		d.expect("did", d.did(), "pull web, up web c1")
		d.stop()
	})
	bubble(t, "that moved are not forgotten when the pull fails, over a restart", func(t *testing.T) {
		w := newTagged(newWorld(t, watching("web", "app:1", 24*time.Hour)))
		w.move("app:1", "d1")
		d := start(t, w.world, w.use)
		w.on("pull web", fails("cut off"))
		w.move("app:1", "d2")
		pass(24*time.Hour + time.Second)
		d.expect("runs", d.runs(), "web=web1")
		d.stop()
		w.on("pull web", nil)
		d.did()
		d = start(t, w.world, w.use, sameJournal(d))
		pass(time.Minute)
		d.expect("did", d.did(), "pull web, up web c1")
		d.stop()
	})
	bubble(t, "are not asked for while their registry wants to be left alone", func(t *testing.T) {
		w := newTagged(newWorld(t, watching("web", "app:1", time.Hour)))
		w.move("app:1", "d1")
		d := start(t, w.world, w.use)
		w.unreachable(fmt.Errorf("ask: %w", slowDown(5*time.Hour)))
		pass(time.Hour + time.Second)
		d.expect("questions", w.questions(), "1")
		pass(5*time.Hour - 2*time.Second)
		d.expect("questions", w.questions(), "0")
		w.unreachable(nil)
		pass(2 * time.Second)
		d.expect("questions", w.questions(), "1")
		d.stop()
	})
	bubble(t, "that nobody watches any more are forgotten", func(t *testing.T) {
		w := newTagged(newWorld(t, watching("web", "app:1", time.Hour)))
		d := start(t, w.world, w.use)
		w.push("c2", stack("web"))
		d.look()
		w.questions()
		pass(10 * time.Hour)
		d.expect("questions", w.questions(), "0")
		if len(d.r.journal.Images) > 0 {
			t.Errorf("remembered: %v", d.r.journal.Images)
		}
		d.stop()
	})
}

// slowDown is what a registry that limits the rate makes of a pull.
type slowDown time.Duration

func (s slowDown) Error() string             { return "too many requests" }
func (s slowDown) RetryAfter() time.Duration { return time.Duration(s) }

func TestARegistryThatAsksToWaitIsLeftAloneThatLong(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("pull web", func(context.Context) error { return fmt.Errorf("pull web:1: %w", slowDown(7*time.Minute)) })
		d := start(t, w)
		w.on("pull web", nil)
		pass(7*time.Minute - time.Second)
		d.expect("runs", d.runs(), "")
		pass(2 * time.Second)
		d.expect("runs", d.runs(), "web=web1")
		d.stop()
	})
}

// broom is a Pruner that notes what it is asked for.
type broom struct{ *world }

func (b broom) Prune(_ context.Context, id, name string, wanted []string) (string, error) {
	b.world.mu.Lock()
	defer b.world.mu.Unlock()
	b.note("prune %s (%s) but %v", id, name, wanted)
	return name, nil
}

func TestImagesThatAnUpdateReplacedArePrunedAfterIt(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		w := newWorld(t, stack("db"), stack("web"))
		d := start(t, w, func(o *Options) { o.Pruner = broom{w} })
		if did := d.did(); strings.Contains(did, "prune") {
			t.Errorf("at a first start: %s", did)
		}
		w.host("web", func(c *plan.Container) { c.Reference = "web:1" })
		w.on("settle web", fails("unhealthy"))
		w.push("c2", stack("db"), version(2, stack("web")))
		d.look()
		d.expect("after a failure", d.did(), "checkout c2, pull web, up web c2")
		w.on("settle web", nil)
		w.host("web", func(c *plan.Container) { c.Reference = "web:2" })
		w.push("c3", stack("db"), version(3, stack("web")))
		d.look()
		d.expect("after a success", d.did(), "checkout c3, pull web, up web c3, prune id of web:2 (web:2) but [db:1 web:3]")
		d.stop()
	})
}
