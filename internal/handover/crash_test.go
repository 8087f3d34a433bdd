package handover

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// scenario is a run: what version 2 is like, the daemon's restart policy, and
// what goes wrong.
type scenario struct {
	policy string
	next   version
	mishap *mishap
	// last says who is started by hand when no daemon works any more: the
	// youngest of those that are there, or the oldest.
	last bool
}

// verdict of a run.
type verdict struct {
	world *world
	// none says that no daemon worked until somebody started one.
	none bool
	// woken says that something was left until the daemon was started again.
	woken bool
}

func simulate(t *testing.T, projects map[string]render.Project, s scenario, seed uint64) (v verdict) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, projects, s.policy, s.next, s.mishap, seed)
		defer w.close()
		v.world = w
		time.Sleep(5 * time.Minute)
		// One that ends as soon as it is started resolves nothing: then the
		// other one is tried.
		for _, last := range []bool{s.last, !s.last} {
			if len(w.working()) == 0 {
				v.none = true
				w.startByHand(last)
				time.Sleep(5 * time.Minute)
			}
		}
		if now := w.working(); len(now) == 1 && len(w.left()) > 0 {
			v.woken = true
			w.note("the daemon is started again")
			w.ok(w.fake.Within("").End(t.Context(), now[0].c.ID))
			w.ok(w.fake.Within("").Start(t.Context(), now[0].c.ID))
			time.Sleep(time.Minute)
		}
		w.judge()
	})
	return v
}

func (w *world) working() []*process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.works)
}

func (w *world) daemons() (all []engine.Live) {
	for _, c := range w.fake.Listed() {
		if !strings.HasPrefix(c.Name, "gitops-compose-") {
			all = append(all, c)
		}
	}
	return all
}

func (w *world) startByHand(last bool) {
	all := w.daemons()
	if len(all) == 0 {
		w.complain("no daemon is left to start")
		return
	}
	c := all[0]
	if rec, _ := read(w.dir()); last && rec != nil && rec.New.ID != "" { // nobody starts one that was not finished
		c = all[len(all)-1]
	}
	w.note("somebody starts %s", c.Name)
	w.ok(w.fake.Within("").Start(w.t.Context(), c.ID))
}

// left lists what is left of a hand-over.
func (w *world) left() (left []string) {
	for _, c := range w.fake.Listed() {
		if strings.HasPrefix(c.Name, "gitops-compose-") || strings.Contains(c.Name, ".replaced-") {
			left = append(left, c.Name+" "+c.State)
		}
	}
	for _, name := range []string{recordFile, signFile} {
		if _, err := os.Stat(filepath.Join(w.dir(), name)); err == nil {
			left = append(left, name+" at "+string(w.step()))
		}
	}
	return left
}

// judge says what is wrong at the end of a run.
func (w *world) judge() {
	if left := w.left(); len(left) > 0 {
		w.complain("left: %s", strings.Join(left, ", "))
	}
	now, all := w.working(), w.daemons()
	if len(now) != 1 || len(all) != 1 {
		w.complain("%d daemons work, in %d containers", len(now), len(all))
		return
	}
	c := all[0]
	if c.Name != "own-daemon-1" || c.Policy.Name != w.policy || c.State != "running" {
		w.complain("the daemon's container is %+v", c)
	}
	if w.fault != nil && w.fault.how == deleted {
		return // how the hand-over ended nobody can know then
	}
	want := "v1"
	if w.next == good {
		want = "v2"
	}
	if got := w.images[c.Image]; got != want {
		w.complain("version %s works, and not %s", got, want)
	}
	if want == "v1" && c.ID != w.old.ID {
		w.complain("the old container is another one")
	}
	w.mu.Lock()
	blamed := w.blamed
	w.mu.Unlock()
	if own := w.next != good && w.next != absent && w.next != deaf; blamed != own {
		w.complain("the version is blamed: %v", blamed)
	}
}

// survey is a run that nothing goes wrong in, for the points that it passes.
func survey(t *testing.T, projects map[string]render.Project, s scenario) []string {
	t.Helper()
	v := simulate(t, projects, s, 1)
	v.world.tell(t, s)
	return v.world.points
}

// tell fails the test when something is wrong.
func (w *world) tell(t *testing.T, s scenario) {
	t.Helper()
	if len(w.wrong) > 0 {
		t.Fatalf("policy %s, version %s, %v (somebody starts the youngest: %v):\n%s\n\n%s", s.policy, s.next, s.mishap, s.last, strings.Join(w.wrong, "\n"), strings.Join(w.trace, "\n"))
	}
}

// hasEffect says whether a point is a call, which can be made and not be answered.
func hasEffect(point string) bool {
	_, call, _ := strings.Cut(point, ": ")
	return !strings.HasPrefix(call, "log ") && call != "look" && call != "looked" && call != "ended"
}

// mishaps are all that can go wrong at some points.
func mishaps(points []string, besides []string, hows ...how) (all []*mishap) {
	for _, p := range points {
		for _, m := range []moment{before, after, later} {
			for _, h := range hows {
				if m == before || hasEffect(p) {
					all = append(all, &mishap{point: p, when: m, how: h, besides: besides})
				}
			}
		}
	}
	return all
}

// mayBeNone says whether it is nobody's fault when no daemon is left: the one
// that there was before the hand-over began, or that there is after its end, ended
// for good. Somebody who kills more than one may leave none too.
func (s scenario) mayBeNone() bool {
	m := s.mishap
	if len(m.besides) > 0 {
		return true
	}
	who, rest, _ := strings.Cut(m.point, " at ")
	step, _, _ := strings.Cut(rest, ":")
	outside := step == "no record" || step == string(Asked) || step == string(Done)
	switch m.how {
	case byHand:
		return outside && (who == "old" || who == "new")
	case crash:
		return outside && (who == "old" || who == "new") && s.policy == "no"
	case outage:
		return outside && s.policy == "no"
	default:
		return false
	}
}

// tally counts runs.
type tally struct{ runs, none, woken, missed int }

func (c tally) String() string {
	return fmt.Sprintf("%d runs; in %d none was left and one was started by hand, in %d something was left for the next start, %d did not get to the point",
		c.runs, c.none, c.woken, c.missed)
}

func (c *tally) run(t *testing.T, projects map[string]render.Project, s scenario) {
	t.Helper()
	v := simulate(t, projects, s, uint64(c.runs))
	if v.none && !s.mayBeNone() {
		v.world.complain("no daemon worked until somebody started one")
	}
	v.world.tell(t, s)
	c.runs++
	for n, is := range map[*int]bool{&c.none: v.none, &c.woken: v.woken, &c.missed: !v.world.hit} {
		if is {
			*n++
		}
	}
}

func TestWhateverIsKilledThereIsOneDaemonAtTheEnd(t *testing.T) {
	seed, share := testenv.Sample(t, 5)
	projects := loadProjects(t)
	for _, s := range []scenario{
		{policy: "unless-stopped", next: good},
		{policy: "unless-stopped", next: ends},
		{policy: "always", next: good},
		{policy: "always", next: ends},
		{policy: "no", next: good},
		{policy: "no", next: ends},
		{policy: "unless-stopped", next: deaf},
		{policy: "unless-stopped", next: silent},
		{policy: "unless-stopped", next: absent},
		{policy: "unless-stopped", next: stuck},
	} {
		t.Run(fmt.Sprintf("%s, %s", s.policy, s.next), func(t *testing.T) {
			t.Parallel()
			var c tally
			points := survey(t, projects, s)
			for i, m := range mishaps(points, nil, crash, byHand, outage, deleted) {
				if s.mishap, s.last = m, i%2 == 0; (i+seed)%share == 0 {
					c.run(t, projects, s)
				}
			}
			t.Logf("%d points, %s", len(points), c)
		})
	}
}

func TestWhoeverIsStartedResolvesWhatSeveralKillsLeft(t *testing.T) {
	seed, share := testenv.Sample(t, 40)
	projects := loadProjects(t)
	for _, s := range []scenario{
		{policy: "unless-stopped", next: good}, {policy: "unless-stopped", next: ends}, {policy: "always", next: good}, {policy: "no", next: silent},
	} {
		t.Run(fmt.Sprintf("%s, %s", s.policy, s.next), func(t *testing.T) {
			t.Parallel()
			var c tally
			points := survey(t, projects, s)
			n := seed
			for _, besides := range [][]string{
				{"guard"}, {"helper"}, {"helper", "guard"}, {"old"}, {"new"}, {"old", "guard"}, {"new", "guard"}, {"old", "helper", "guard"}, {"new", "helper", "guard"},
			} {
				for _, m := range mishaps(points, besides, crash, byHand) {
					for _, last := range []bool{false, true} {
						if n++; n%share == 0 {
							s.mishap, s.last = m, last
							c.run(t, projects, s)
						}
					}
				}
			}
			t.Log(c.String())
		})
	}
}

// Who removes the daemon's containers in the middle of a hand-over is left with no
// daemon, and with nothing else either: helpers end, and say what they have to say
// once.
func TestAHandOverWhoseContainersAreRemovedEnds(t *testing.T) {
	seed, share := testenv.Sample(t, 5)
	projects := loadProjects(t)
	for _, s := range []scenario{
		{policy: "unless-stopped", next: good}, {policy: "unless-stopped", next: ends}, {policy: "always", next: silent},
	} {
		t.Run(fmt.Sprintf("%s, %s", s.policy, s.next), func(t *testing.T) {
			t.Parallel()
			runs := 0
			for i, m := range mishaps(survey(t, projects, s), nil, emptied) {
				if (i+seed)%share != 0 || m.when == later {
					continue
				}
				runs++
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, projects, s.policy, s.next, m, uint64(i))
					defer w.close()
					time.Sleep(10 * time.Minute)
					for _, c := range w.left() { // a new container may have been made since
						if strings.HasPrefix(c, "gitops-compose-") {
							w.complain("left: %s", c)
						}
					}
					w.mu.Lock()
					for text, n := range w.warned {
						if n > 2 {
							w.wrong = append(w.wrong, fmt.Sprintf("said %d times: %s", n, text))
						}
					}
					w.mu.Unlock()
					s.mishap = m
					w.tell(t, s)
				})
			}
			t.Logf("%d runs", runs)
		})
	}
}
