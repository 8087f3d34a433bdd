//go:build engine

package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/handover"
)

// outage is a scenario: what happens to the engine when.
type outage struct {
	back   bool
	step   handover.Step
	moment moment
	what   string
}

// What can happen to an engine.
const (
	killed   = "killed"        // its containers go on, until it is back
	stopped  = "stopped"       // and its containers before it
	powerCut = "without power" // with all that runs
)

func (u outage) String() string {
	return strings.Replace(kill{u.back, u.step, u.moment, "", ""}.String(), ",__", ",_"+u.what, 1)
}

// outages are all scenarios, or a few of them in which each happens to the old
// daemon, to the new one, and to a bad one.
func outages(all bool) []outage {
	if !all {
		return []outage{
			{false, handover.Renamed, before, killed},
			{false, handover.Disarmed, after, powerCut},
			{false, handover.Started, before, stopped},
			{true, handover.Cleared, before, powerCut},
		}
	}
	var out []outage
	for _, what := range []string{killed, stopped, powerCut} {
		for _, back := range []bool{false, true} {
			steps := handover.Steps()
			if back {
				steps = handover.StepsBack()
			}
			for _, s := range steps {
				for _, m := range moments(s) {
					if m != late { // what a dead engine was told is lost
						out = append(out, outage{back, s, m, what})
					}
				}
			}
		}
	}
	return out
}

// alwaysThere is a daemon that an engine starts again that was killed itself. With
// unless-stopped, engine 20.10 takes the end that it makes of containers which
// outlived it for a stop by hand, hand-over or not.
func alwaysThere() string {
	return strings.Replace(ownStack, restartLine, strings.Replace(restartLine, "unless-stopped", "always", 1), 1)
}

// TestAHandOverOutlivesItsEngine ends the engine at steps of a hand-over and
// starts it again. HANDOVER_KILLS=all takes every step.
func TestAHandOverOutlivesItsEngine(t *testing.T) {
	chosen := outages(os.Getenv("HANDOVER_KILLS") == "all")
	t.Logf("%d ends of the engine of %d possible", len(chosen), len(outages(true)))
	left := slices.Clone(chosen)
	for n := 1; len(left) > 0; n++ {
		t.Run(fmt.Sprintf("engine %d", n), func(t *testing.T) {
			e := newPrivateEngine(t)
			e.load(ownVersions...)
			o := newOwnOn(t, e.address, alwaysThere(), func(o *own) { // what is repaired again and again waits longer each time
				o.stack("web", strings.Replace(one, "RUN", "RUN, restart: always", 1))
			})
			o.watchWrites(t)
			o.watchTwo(t)
			runs := "v1"
			for good := true; good && len(left) > 0; left = left[1:] {
				good = o.sub(left[0].String(), func() { runs = o.outlive(left[0], e, runs) })
			}
		})
	}
}

// load takes the daemon's images over from the engine that all tests share.
func (e *privateEngine) load(versions ...string) {
	e.t.Helper()
	if err := ownImages(); err != nil {
		e.t.Fatal(err)
	}
	shared, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		e.t.Fatal(err)
	}
	defer shared.Close()
	var refs []string
	for _, v := range versions {
		refs = append(refs, ownRepository+":"+v)
	}
	images, err := shared.ImageSave(context.Background(), refs)
	if err != nil {
		e.t.Fatal(err)
	}
	defer images.Close()
	answer, err := e.api.ImageLoad(context.Background(), images)
	if err != nil {
		e.t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		e.t.Fatal(err)
	}
}

// outlive lets a version take over, or one that is bad, ends the engine in the
// middle of it, and gives the version that runs at the end.
func (o *own) outlive(u outage, e *privateEngine, runs string) string {
	o.t.Helper()
	next := map[string]string{"v1": "v2", "v2": "v1"}[runs]
	first := o.runs(o.folder, "daemon")["daemon"]
	o.begin(next, u.back)
	g, pass := o.stopAt(u.step, u.moment)
	o.trigger()
	o.reached(g)
	switch u.what {
	case killed:
		e.kill()
	case stopped:
		e.stop()
	default:
		e.cutPower()
	}
	pass()
	down := time.Now()
	e.start()
	if u.back {
		o.refused(runs, first)
		o.version(runs)
		o.push("back to the version before")
		o.trigger()
		next = runs
	}
	o.ready(next)
	o.t.Logf("all is as wanted %s after the engine", time.Since(down).Round(time.Second))
	o.eventually("the other stack runs again", func() error {
		for _, c := range o.containers("web") {
			if c.State == "running" && c.ID == o.others["app"] {
				return nil
			}
		}
		return fmt.Errorf("it is %v", o.containers("web"))
	})
	return next
}
