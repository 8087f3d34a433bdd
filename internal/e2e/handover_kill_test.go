//go:build engine

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/korbiniankuhn/gitops-compose/internal/handover"
	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// Who can be killed in a hand-over.
const (
	theHelper = "helper"
	theGuard  = "guard"
	helpers   = "helper and guard"
	theOld    = "old daemon"
	theNew    = "new daemon"
	everyone  = "everyone"
)

// How they are killed.
const (
	byEngine = "docker kill" // it stays down
	byPid    = "kill -9"     // the engine starts it again, if its restart policy says so
)

// kill is a scenario: who is killed when.
type kill struct {
	back        bool // in taking back a bad version, or in handing over to a good one
	step        handover.Step
	moment      moment
	victim, how string
}

func (k kill) String() string {
	way := "forward"
	if k.back {
		way = "back"
	}
	return strings.ReplaceAll(fmt.Sprintf("%s, %s %s, %s %s", way, k.moment, k.step, k.how, k.victim), " ", "_")
}

// runs says who runs at a moment of a step.
func (k kill) runs(who string) bool {
	steps := handover.Steps()
	if k.back {
		steps = handover.StepsBack()
	}
	done := slices.Index(steps, k.step)
	if k.moment == after {
		done++
	}
	at := func(from, to handover.Step) bool {
		return slices.Index(steps, from) <= done && done <= slices.Index(steps, to)
	}
	switch {
	case who == theHelper || who == theGuard:
		return k.back || at(handover.Helped, handover.Done)
	case who == theOld && k.back:
		return at(handover.Revived, handover.Done) || k.step == handover.Restored && k.moment == after
	case who == theOld:
		return at(handover.Asked, handover.Disarmed)
	case who == theNew:
		return !k.back && at(handover.Started, handover.Done)
	default:
		return k.runs(theHelper) || k.runs(theOld)
	}
}

// possible says whether a scenario makes sense: somebody has to be left, or to
// be started by the engine. Nobody can do anything about a person who makes the
// engine end everybody. And when all is done, a daemon that is ended like that
// was ended by a person.
func (k kill) possible() bool {
	switch {
	case !k.runs(k.victim), k.victim == helpers && !k.runs(theHelper):
		return false
	case k.how == byPid:
		return true
	case k.victim == everyone:
		return false
	case k.victim == helpers:
		then := k
		if k.moment == late { // the engine is about to do it
			then.moment = after
		}
		return then.runs(theOld) || then.runs(theNew)
	case k.victim == theOld || k.victim == theNew:
		return k.runs(theHelper) && k.step != handover.Done
	default:
		return true
	}
}

// kills are all scenarios.
func kills() []kill {
	var all []kill
	for _, back := range []bool{false, true} {
		steps := handover.Steps()
		if back {
			steps = handover.StepsBack()
		}
		for _, s := range steps {
			for _, m := range moments(s) {
				for _, victim := range []string{theHelper, theGuard, helpers, theOld, theNew, everyone} {
					for _, how := range []string{byEngine, byPid} {
						if k := (kill{back, s, m, victim, how}); k.possible() {
							all = append(all, k)
						}
					}
				}
			}
		}
	}
	return all
}

// moments are those that a step has.
func moments(s handover.Step) []moment {
	switch s {
	case handover.Removed, handover.Revived: // nothing is left to be done
		return []moment{after}
	case handover.Done: // nothing is written any more
		return []moment{before, late}
	case handover.Helped, handover.Started: // what comes next only looks
		return []moment{before, after}
	default:
		return []moment{before, late, after}
	}
}

// someKills are as many that each step has a killed helper, or where there is
// none yet a killed daemon, and each victim and each way to kill has its turn.
func someKills() []kill {
	var some []kill
	seen := map[string]int{}
	take := func(fits func(kill) bool) {
		least := -1
		all := kills()
		for i, k := range all {
			if fits(k) && !slices.Contains(some, k) && (least < 0 || rare(seen, k) < rare(seen, all[least])) {
				least = i
			}
		}
		if least < 0 {
			return
		}
		k := all[least]
		for _, what := range []string{k.victim, k.how, k.victim + k.how, string(k.moment)} {
			seen[what]++
		}
		some = append(some, k)
	}
	for _, k := range kills() {
		same := func(o kill) bool { return o.back == k.back && o.step == k.step }
		if slices.ContainsFunc(some, same) {
			continue
		}
		take(func(o kill) bool { return same(o) && (o.victim == theHelper || !o.runs(theHelper)) })
		take(func(o kill) bool { return same(o) && o.victim != theHelper })
	}
	return some
}

// rare says how often what a scenario is made of has had its turn.
func rare(seen map[string]int, k kill) int {
	return 4*seen[k.victim+k.how] + 2*seen[k.victim] + seen[k.how] + 2*seen[string(k.moment)]
}

// TestAHandOverThatIsKilledAnywhereEndsWithOneDaemon kills at every step that
// is written down, at every other one in each run. HANDOVER_KILLS=all takes every
// step, moment and victim.
func TestAHandOverThatIsKilledAnywhereEndsWithOneDaemon(t *testing.T) {
	const hosts = 4 // most of the time they wait for the pause before a retry
	all := kills()
	chosen := all
	if os.Getenv("HANDOVER_KILLS") != "all" {
		chosen = testenv.Some(t, 2, someKills())
	}
	steps := map[string]bool{}
	for _, k := range chosen {
		steps[fmt.Sprint(k.back, k.step)] = true
	}
	t.Logf("%d steps forward and %d back, %d of them with a kill; %d kills of %d possible",
		len(handover.Steps()), len(handover.StepsBack()), len(steps), len(chosen), len(all))
	onHosts(t, hosts, ownStack, chosen, func(o *own) { o.watchWrites(o.t); o.watchTwo(o.t) }, (*own).scenario)
}

// onHosts goes through scenarios on hosts that work at the same time, for most of
// the time they wait. Each scenario gets the version that runs, and gives the one
// that runs after it. After one that fails, the others get a new host.
func onHosts[S fmt.Stringer](t *testing.T, hosts int, body string, all []S, begin func(*own), scenario func(o *own, s S, runs string) string) {
	t.Helper()
	if err := ownImages(); err != nil {
		t.Fatal(err)
	}
	left := make(chan S, len(all))
	for _, s := range all {
		left <- s
	}
	close(left)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range min(hosts, len(all)) {
		// Not t.Parallel, which allows as many at a time as there are cores.
		wg.Go(func() {
			for n := 1; len(left) > 0; n++ {
				t.Run(fmt.Sprintf("host %d.%d", i+1, n), func(t *testing.T) {
					o := newOwn(t, body)
					begin(o)
					runs := "v1"
					for s := range left {
						if !o.sub(s.String(), func() { runs = scenario(o, s, runs) }) {
							return
						}
					}
				})
			}
		})
	}
}

// sub runs a part of a host's test as a test of its own.
func (o *own) sub(name string, do func()) (good bool) {
	whole := o.t
	defer func() { o.t, o.host.t = whole, whole }()
	return whole.Run(name, func(t *testing.T) { o.t, o.host.t = t, t; do() })
}

// begin pushes a version, or one that can't take over and has never been seen.
func (o *own) begin(version string, bad bool) (head string) {
	o.t.Helper()
	o.version(version)
	if bad {
		o.version(version, "labels:", fmt.Sprintf("command: [nonsense, '%d']\n    labels:", time.Now().UnixNano()))
	}
	return o.push("another version")
}

// scenario lets a version take over, or one that is bad, kills, and gives the
// version that runs at the end.
func (o *own) scenario(k kill, runs string) string {
	o.t.Helper()
	next := map[string]string{"v1": "v2", "v2": "v1"}[runs]
	first := o.runs(o.folder, "daemon")["daemon"]
	head := o.begin(next, k.back)
	g, pass := o.stopAt(k.step, k.moment)
	o.trigger()
	o.reached(g)
	o.kill(k)
	pass()
	if k.back {
		o.refused(runs, first)
		o.version(runs)
		head = o.push("back to the version before")
		o.trigger()
		next = runs
	}
	o.ready(next)
	o.untouched()
	if now, err := gittest.Try(o.clone, "rev-parse", "HEAD"); err != nil || now != head {
		o.t.Errorf("the clone is at %s, want %s (%v)", now, head, err)
	}
	if changed, err := gittest.Try(o.clone, "status", "--porcelain"); err != nil || changed != "" {
		o.t.Errorf("git status of the clone: %s (%v)", changed, err)
	}
	return next
}

// refused waits until a version was given up and the container before is back.
func (o *own) refused(version, id string) {
	o.t.Helper()
	o.eventually("the bad version is refused", func() error {
		s, err := o.status()
		if err != nil {
			return err
		}
		if err := o.single(); err != nil {
			return err
		}
		for _, st := range s.Stacks {
			// A daemon that is killed forgets what the new one said, but not why.
			why := strings.Contains(st.Error, "the new daemon") && (st.Detail == "" || strings.Contains(st.Detail, "nonsense"))
			if st.Name == o.project(o.folder) && (st.Held != "version" || !why) {
				return fmt.Errorf("%s is %s, held %q: %s %s: %s", st.Name, st.Status, st.Held, st.Reason, st.Error, st.Detail)
			}
		}
		return nil
	})
	if now := o.runs(o.folder, "daemon")["daemon"]; now != id {
		o.t.Errorf("%s runs in container %s, want %s", version, now, id)
	}
}

// kill kills, and waits until the victims are dead.
func (o *own) kill(k kill) {
	o.t.Helper()
	victims := []string{k.victim}
	switch k.victim {
	case helpers:
		victims = []string{theHelper, theGuard}
	case everyone:
		victims = slices.DeleteFunc([]string{theHelper, theGuard, theOld, theNew}, func(who string) bool { return !k.runs(who) })
	}
	ids := make([]string, len(victims))
	for i, who := range victims {
		ids[i] = o.who(who)
	}
	for i, id := range ids {
		if err := o.killOne(id, k.how); err != nil {
			o.t.Fatalf("kill the %s: %v", victims[i], err)
		}
	}
}

func (o *own) killOne(id, how string) error {
	ctx := context.Background()
	c, err := o.api.ContainerInspect(ctx, id)
	if err != nil {
		return err
	}
	if c.State.Pid == 0 {
		return fmt.Errorf("it is %s", c.State.Status)
	}
	if how == byEngine {
		return o.api.ContainerKill(ctx, id, "KILL")
	}
	if err := syscall.Kill(c.State.Pid, syscall.SIGKILL); err != nil {
		return err
	}
	o.eventually("it is dead", func() error {
		now, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.State.Pid))
		if err == nil && !strings.Contains(string(now), ") Z ") {
			return errors.New("not yet")
		}
		return nil
	})
	return nil
}

// who finds the container of somebody.
func (o *own) who(who string) string {
	o.t.Helper()
	for _, c := range o.helpers() {
		if strings.HasPrefix(c.Names[0], "/gitops-compose-"+who+"-") {
			return c.ID
		}
	}
	r := o.record()
	for _, c := range o.containers(o.folder) {
		if who == theOld && c.ID == r.Old.ID || who == theNew && c.ID != r.Old.ID {
			return c.ID
		}
	}
	o.t.Fatalf("there is no %s", who)
	return ""
}

// watchTwo fails the test when two daemons work at a time.
func (o *own) watchTwo(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var looks atomic.Int64
	go func() {
		defer close(done)
		again := time.NewTicker(50 * time.Millisecond)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				o.lookForTwo(ctx, t)
				looks.Add(1)
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; t.Logf("looked for a second daemon %d times", looks.Load()) })
}

func (o *own) lookForTwo(ctx context.Context, t *testing.T) {
	list, err := o.api.ContainerList(ctx, container.ListOptions{Filters: projectArgs(o.project(o.folder))})
	if err != nil {
		return
	}
	var working []string
	for _, c := range list {
		for _, n := range c.NetworkSettings.Networks {
			if n.IPAddress != "" && works(ctx, n.IPAddress) {
				working = append(working, n.IPAddress)
			}
		}
	}
	// The first was there before the second and after it: at the same time.
	if len(working) > 1 && works(ctx, working[0]) {
		t.Errorf("two daemons work: %v", working)
	}
}
