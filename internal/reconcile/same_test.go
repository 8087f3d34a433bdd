package reconcile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// described counts the looks that did not find the same as the one before.
func described(n *int) func(*Options) {
	return func(o *Options) {
		o.Describe = func(hash string) (report.Commit, error) {
			*n++
			return report.Commit{Hash: hash}, nil
		}
	}
}

func TestALookThatFindsNothingNewPlansNothing(t *testing.T) {
	const failing = "app has no image"
	for _, c := range []struct {
		name   string
		first  func(w *world)
		change func(w *world, d *daemon)
		plans  bool
	}{
		{"nothing", nil, func(*world, *daemon) {}, false},
		{"time goes by", nil, func(*world, *daemon) { pass(time.Hour) }, false},
		{"a container that crashed", nil, func(w *world, _ *daemon) { w.crash("web") }, true},
		{"a commit", nil, func(w *world, _ *daemon) { w.push("c2", stack("web")) }, true},
		{"a commit that changes no stack", nil, func(w *world, _ *daemon) { w.push("c2", stack("web"), stack("db")) }, true},
		{"a file that was changed by hand", nil, func(w *world, _ *daemon) { w.edited = []string{"web/compose.yaml"} }, true},
		{"somebody else's project", nil, func(w *world, _ *daemon) { w.visit(true) }, true},
		{"a pause that is not over", func(w *world) { w.on("up web", fails(failing)) }, func(*world, *daemon) { pass(time.Second) }, false},
		{"a pause that is over", func(w *world) { w.on("up web", fails(failing)) }, func(*world, *daemon) { pass(time.Hour) }, true},
		{"a remote that is away", nil, func(w *world, _ *daemon) { w.on("fetch", fails("away")) }, true},
		{"a fake that does not know its versions", nil, func(_ *world, d *daemon) { d.r.o.Engine = ageless{d.world} }, true},
	} {
		bubble(t, c.name, func(t *testing.T) {
			w := newWorld(t, stack("web"), stack("db"))
			if c.first != nil {
				c.first(w)
			}
			n := 0
			d := start(t, w, described(&n))
			d.look()
			d.look()
			before := d.last()
			c.change(w, d)
			n = 0
			d.look()
			if plans := n > 0; plans != c.plans {
				t.Errorf("planned: %t, want %t", plans, c.plans)
			}
			if !c.plans {
				d.expect("picture", d.last(), before)
			}
			looks := d.looksSoFar()
			if last := looks[len(looks)-1]; last.At.Before(time.Now()) || last.Error == "" && last.To != w.remote {
				t.Errorf("the look says %+v at %s", last, time.Now())
			}
			d.stop()
		})
	}
}

// ageless is an engine whose snapshots have no version.
type ageless struct{ *world }

func (a ageless) Observe(ctx context.Context) (plan.Observed, error) {
	o, err := a.world.Observe(ctx)
	o.Version = 0
	return o, err
}

func (a ageless) Load(ctx context.Context, t render.Tree) (render.Loaded, error) {
	l, err := a.world.Load(ctx, t)
	l.Version = 0
	return l, err
}

// Whatever happens, a daemon that leaves out the plan where nothing has changed
// does and shows the same as one that plans at each look.
func TestLooksThatRestFindWhatOthersFind(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for n := range uint64(30) {
		t.Run(fmt.Sprint("round ", n), func(t *testing.T) {
			rested, planned := 0, 0
			var with, without []string
			synctest.Test(t, func(t *testing.T) {
				with = play(t, rand.New(rand.NewPCG(seed, n)), described(&rested))
			})
			synctest.Test(t, func(t *testing.T) {
				without = play(t, rand.New(rand.NewPCG(seed, n)), described(&planned), func(o *Options) {
					w := ageless{o.Engine.(*world)}
					o.Engine, o.Loader = w, w
				})
			})
			for i := range with {
				if with[i] != without[i] {
					t.Fatalf("step %d\nwith     %s\nwithout  %s\nbefore   %s", i, with[i], without[i], strings.Join(with[max(0, i-3):i], "\n         "))
				}
			}
			if rested >= planned {
				t.Errorf("%d looks planned of %d: none rested", rested, planned)
			}
		})
	}
}

// play is a while in the life of a daemon, step by step: what happened, what was
// done, and the picture after it.
func play(t *testing.T, rng *rand.Rand, change ...func(*Options)) (steps []string) {
	h := history{rng: rng}
	h.add()
	h.add()
	w := newWorld(t, h.stacks()...)
	keep := rng.IntN(2) == 0
	settings := append(slices.Clone(change), func(o *Options) {
		o.Interval, o.Heal, o.KeepEdits, o.Events, o.Parallel = 5*time.Minute, rng.IntN(2) == 0, keep, w.events, 1
	})
	d := start(t, w, settings...)
	for step := range 40 {
		what := ""
		switch rng.IntN(9) {
		case 0:
			h.move()
			what = "push"
			w.push(fmt.Sprint("n", step), h.stacks()...)
		case 1:
			name := pool[rng.IntN(len(pool))]
			if strings.Contains(" "+w.runs(), " "+name+"=") {
				what = "crash " + name
				w.crash(name)
				w.tell(name)
			}
		case 2:
			name := pool[rng.IntN(len(pool))]
			what = "fails: " + name
			w.on("up "+name, fails("no room"))
		case 3:
			name := pool[rng.IntN(len(pool))]
			what = "works: " + name
			w.on("up "+name, nil)
		case 4:
			what = "visit"
			w.visit(rng.IntN(2) == 0)
		case 5:
			what = "edit"
			w.edit(rng)
		case 6:
			what = "away"
			w.on("fetch", fails("away"))
		case 7:
			what = "back"
			w.on("fetch", nil)
		}
		d.look()
		pass(time.Duration(rng.IntN(600)) * time.Second)
		d.look() // of a failure and a look at the same moment, either comes first
		did := strings.Split(d.did(), ", ")
		slices.Sort(did)                          // those of different stacks come in any order
		counts := strings.Split(d.counts(), ", ") // of two that end at the same moment, either comes first
		slices.Sort(counts)
		steps = append(steps, fmt.Sprintf("%s: %s; %s; %s", what, did, d.last(), strings.Join(counts, ", ")))
	}
	d.stop()
	return steps
}
