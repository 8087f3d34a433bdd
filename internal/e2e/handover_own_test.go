//go:build engine

package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/handover"
	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

const besideIt = `
  side: {image: BASE, command: RUN, stop_grace_period: 0s, labels: {gen: '1'}}
`

func TestOnlyWhatChangedOfTheDaemonsStackIsReplaced(t *testing.T) {
	t.Parallel()
	o := newOwn(t, ownStack+besideIt)
	first := o.runs(o.folder, "daemon", "side")

	o.version("v1", "gen: '1'", "gen: '2'")
	o.push("change the service beside the daemon")
	o.settle()
	second := o.runs(o.folder, "daemon", "side")
	if second["daemon"] != first["daemon"] || second["side"] == first["side"] {
		t.Errorf("the containers were %v, and are %v", first, second)
	}
	o.counts(`gitops_handovers_total{result="success"}`, "0")

	o.version("v2", "gen: '1'", "gen: '3'")
	o.push("change both")
	o.trigger()
	o.ready("v2")
	third := o.runs(o.folder, "daemon", "side")
	if third["daemon"] == second["daemon"] || third["side"] == second["side"] {
		t.Errorf("the containers were %v, and are %v", second, third)
	}
	o.counts(`gitops_handovers_total{result="success"}`, "1")

	// It mounts all of the repository, and so what changes in it.
	o.write(o.folder+"/notes.txt", "remember\n")
	o.push("change another file")
	o.settle()
	if now := o.runs(o.folder, "daemon", "side"); now["daemon"] != third["daemon"] || now["side"] != third["side"] {
		t.Errorf("the containers were %v, and are %v", third, now)
	}
	o.ready("v2")
	o.untouched()
}

func TestTheDaemonsStackIsNotStoppedWhenItIsRemovedFromGit(t *testing.T) {
	t.Parallel()
	o := newOwn(t, ownStack+besideIt)
	first := o.runs(o.folder, "daemon", "side")
	o.remove(o.folder)
	o.push("remove the daemon")
	st := o.settle().stack(t, o.project(o.folder))
	if st.Status != report.Running || st.Sync != report.Deferred || st.Held != "controller" || !strings.Contains(st.Reason, "no longer in git") {
		t.Errorf("%+v", st)
	}
	if now := o.runs(o.folder, "daemon", "side"); fmt.Sprint(now) != fmt.Sprint(first) {
		t.Errorf("the containers were %v, and are %v", first, now)
	}
	log, err := exec.Command("docker", "logs", first["daemon"]).CombinedOutput()
	if err != nil || !strings.Contains(string(log), "level=WARN msg=\"stack held\" stack="+o.project(o.folder)) {
		t.Errorf("nothing warns of it: %v\n%s", err, log)
	}

	// And back.
	o.version("v2")
	o.push("put it back, in another version")
	o.trigger()
	o.ready("v2")
	o.untouched()
}

func TestALabelledStackIsHeldByADaemonOutsideOfAContainer(t *testing.T) {
	h := newHost(t)
	const labelled = `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, labels: {gitops.controller: "true"}}
`
	h.stack("me", labelled)
	h.push("a stack that says it is the daemon's")
	held := func(s status) {
		t.Helper()
		st := s.stack(t, h.project("me"))
		if st.Status != report.Failed || st.Held != "controller" || !strings.Contains(st.Reason, "does not run in a container of it") {
			t.Errorf("%+v", st)
		}
	}
	held(h.first())
	if n := len(h.containers("me")); n != 0 {
		t.Errorf("%d containers run", n)
	}
	h.stack("me", strings.Replace(labelled, "labels: {", "labels: {gen: '2', ", 1))
	h.push("change it")
	held(h.settle())
}

func TestWhatIsPushedDuringAHandOverIsAppliedByTheSuccessor(t *testing.T) {
	t.Parallel()
	o := newOwn(t, ownStack)
	o.watchWrites(t)
	o.version("v2")
	o.push("version 2")
	g, pass := o.stopAt(handover.Created, before)
	o.trigger()
	o.reached(g)
	o.stack("web", strings.Replace(one, "RUN", "RUN, labels: {gen: '2'}", 1))
	head := o.push("change another stack")
	o.trigger() // it is answered, and has to wait
	if gen := o.containers("web")[0].Labels["gen"]; gen != "" {
		t.Fatal("the old daemon went on with its work")
	}
	pass()
	o.ready("v2")
	if gen := o.containers("web")[0].Labels["gen"]; gen != "2" {
		t.Error("the change was not applied")
	}
	if now := gittest.Git(t, o.clone, "rev-parse", "HEAD"); now != head {
		t.Errorf("the clone is at %s, want %s", now, head)
	}
	s, err := o.status()
	if err != nil {
		t.Fatal(err)
	}
	// Others that the engine's events began may have ended before it.
	first := s.Checks[max(0, slices.IndexFunc(s.Checks, func(c report.Check) bool { return c.Trigger == "start" }))]
	up := slices.ContainsFunc(first.Operations, func(op report.Operation) bool { return op.Kind == "up" && op.Stack == o.project("web") })
	if first.Trigger != "start" || !up {
		t.Errorf("the successor's first check: %+v", first)
	}
}

func TestTheSuccessorTellsOfTheHandOver(t *testing.T) {
	t.Parallel()
	o := newOwn(t, ownStack)
	o.version("v2")
	head := o.push("version 2")
	o.trigger()
	o.ready("v2")
	o.counts(`gitops_handovers_total{result="success"}`, "1")
	o.counts(`gitops_handovers_total{result="error"}`, "0")
	s, err := o.status()
	if err != nil {
		t.Fatal(err)
	}
	st := s.stack(t, o.project(o.folder))
	if len(st.Outcomes) == 0 || st.Outcomes[0].Operation != "hand over" || st.Outcomes[0].Error != "" || st.Outcomes[0].Commit != head || st.Commit != head {
		t.Errorf("%+v", st)
	}
	if st.Status != report.Running || st.Sync != report.Synced || st.LastSuccess.IsZero() {
		t.Errorf("%+v", st)
	}
	if n := o.inspect(o.runs(o.folder, "daemon")["daemon"]).RestartCount; n != 0 {
		t.Errorf("the new container was started again %d times", n)
	}
}
