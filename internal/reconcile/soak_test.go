package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// TestWhateverHappensTheHostConverges throws commits, crashes, people, faults,
// slowness and restarts at the loop. When they end, the host is as git wants it,
// whatever was left half done. The fakes watch for overlaps on the way.
func TestWhateverHappensTheHostConverges(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for n := range uint64(12) {
		t.Run(fmt.Sprint("round ", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { soak(t, rand.New(rand.NewPCG(seed, n))) })
		})
	}
}

func soak(t *testing.T, rng *rand.Rand) {
	w := newWorld(t, stack("a"), stack("b"))
	faults := rand.New(rand.NewPCG(rng.Uint64(), 1)) // under the world's lock
	calm := false
	trouble := func(ctx context.Context) error {
		w.mu.Lock()
		kind, long := faults.IntN(6), time.Duration(faults.IntN(120))*time.Second
		quiet := calm
		w.mu.Unlock()
		switch {
		case quiet || kind > 2:
			return nil
		case kind == 0:
			return errors.New("cut")
		default:
			return takes(long)(ctx)
		}
	}
	names := []string{"a", "b", "c", "d", "e"}
	for _, what := range []string{"fetch", "observe", "checkout"} {
		w.on(what, trouble)
	}
	for _, name := range names {
		for _, what := range []string{"pull ", "up ", "settle ", "down "} {
			w.on(what+name, trouble)
		}
	}
	watched := rng.IntN(2) == 0
	settings := func(o *Options) {
		o.Interval, o.Parallel = 5*time.Minute, 2
		if watched {
			o.Events = w.events
		}
	}
	d := start(t, w, settings)
	for step := range 60 {
		switch rng.IntN(6) {
		case 0, 1:
			w.push(fmt.Sprint("n", step), randomStacks(rng, names)...)
			d.r.Trigger("webhook")
		case 2:
			name := names[rng.IntN(len(names))]
			if strings.Contains(w.runs(), name+"=") {
				w.crash(name)
				w.tell(name)
			}
		case 3:
			if rng.IntN(4) == 0 {
				d.stop()
				d = start(t, w, settings, sameJournal(d))
			}
		}
		pass(time.Duration(rng.IntN(90)) * time.Second)
	}
	w.mu.Lock()
	calm = true
	w.mu.Unlock()
	pass(3 * time.Hour) // pauses are at most one
	var want []string
	for _, s := range w.commits[w.remote] {
		want = append(want, s.Name+"="+s.Digest)
	}
	d.expect("runs", d.runs(), strings.Join(want, " "))
	if strings.Contains(d.last(), "failed") || strings.Contains(d.last(), "applying") {
		t.Errorf("picture: %s", d.last())
	}
	before := d.did()
	pass(time.Hour)
	if after := d.did(); after != "" {
		t.Errorf("it does not come to rest: %s; before: %s", after, before)
	}
	d.stop()
}

// randomStacks are some of the stacks, each at a random version; those that
// need another come after it.
func randomStacks(rng *rand.Rand, names []string) []plan.Stack {
	all := []plan.Stack{version(rng.IntN(3)+1, stack("a"))}
	for i, name := range names[1:] {
		if rng.IntN(4) == 0 {
			continue
		}
		var needs []string
		if rng.IntN(2) == 0 {
			if before := all[rng.IntN(len(all))].Name; before < name && i >= 0 {
				needs = append(needs, before)
			}
		}
		all = append(all, version(rng.IntN(3)+1, stack(name, needs...)))
	}
	return all
}
