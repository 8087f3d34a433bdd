//go:build engine

package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// backHost is a host whose daemon takes stacks back.
type backHost struct {
	*host
	folder string // the daemon's volume
}

func newBackHost(t *testing.T) *backHost {
	t.Helper()
	h := &backHost{newHost(t), t.TempDir()}
	h.env["ROLLBACK"], h.env["SECRETS_PATH"] = "true", h.folder
	return h
}

// web is a stack with a service that changes and one that does not. What app says at
// /said comes from a file and a folder that it mounts.
func (h *backHost) web(command, said string) {
	h.t.Helper()
	h.stack("web", `
services:
  app:
    image: BASE
    command: ["/bin/sh", "-c", "`+command+`"]
    stop_grace_period: 0s
    volumes: ["./said.txt:/said:ro", "./conf:/conf", "./data:/data"]
    deploy: {update_config: {monitor: 1s}}
  db: {image: BASE, command: RUN, stop_grace_period: 0s, deploy: {update_config: {monitor: 1s}}}
`)
	h.write("web/said.txt", said)
	h.write("web/conf/deep/said.txt", said)
}

const (
	runsOn = "trap 'exit 0' TERM; while true; do sleep 1; done"
	ends   = "exit 7"
)

// rolledBack waits until the stack is held as rolled back and runs in its old version,
// in which it says something.
func (h *backHost) rolledBack(said string) report.Stack {
	h.t.Helper()
	st := h.becomes("web", func(st report.Stack) bool {
		return st.Held == string(plan.HeldRollback) && st.Sync == report.Deferred
	})
	app := h.runs("web", "app", "db")["app"]
	if got := h.exec(app, "cat", "/said", "/conf/deep/said.txt"); got != said+said {
		h.t.Errorf("it says %q, want %q twice", got, said)
	}
	return st
}

// kept are the images that have a name for the stack to go back to.
func (h *backHost) kept() int {
	h.t.Helper()
	list, err := h.api.ImageList(h.t.Context(), image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", plan.KeptRepository))})
	if err != nil {
		h.t.Fatal(err)
	}
	n := 0
	for _, i := range list {
		for _, tag := range i.RepoTags {
			if strings.HasPrefix(tag, plan.KeptRepository+":"+h.project("web")+".") {
				n++
			}
		}
	}
	return n
}

func (h *backHost) laid() int {
	h.t.Helper()
	dirs, _ := filepath.Glob(filepath.Join(h.folder, "*", "*"))
	return len(dirs)
}

func TestAStackGoesBackToItsLastGoodVersion(t *testing.T) {
	t.Parallel()
	h := newBackHost(t)
	h.web(runsOn, "one")
	first := h.push("one")
	h.first()
	before := h.runs("web", "app", "db")
	h.exec(before["app"], "touch", "/data/file") // in the clone, and not in git

	h.web(ends, "two")
	second := h.push("two")
	h.trigger()
	st := h.rolledBack("one")
	for _, want := range []string{first[:7], second[:7], "app exited (7)"} {
		if !strings.Contains(st.Reason, want) {
			t.Errorf("the reason has no %q: %s", want, st.Reason)
		}
	}
	if st.Commit != first || st.Attempted != second {
		t.Errorf("commits are %s and %s", st.Commit, st.Attempted)
	}
	back := h.runs("web", "app", "db")
	if back["db"] != before["db"] {
		t.Error("the service that did not change was replaced")
	}
	if h.laid() != 2 || h.kept() == 0 {
		t.Errorf("%d contents in the volume, %d images kept", h.laid(), h.kept())
	}
	metrics, _, err := h.get("/metrics")
	for _, want := range []string{`gitops_rollbacks_total{result="success"} 1`, `gitops_stack_held{reason="rollback",stack="` + h.project("web") + `"} 1`} {
		if err != nil || !strings.Contains(string(metrics), want) {
			t.Errorf("the metrics have no %s: %v", want, err)
		}
	}

	// Neither a restart nor another commit changes that, and what ends is repaired there.
	h.stop()
	h.stack("other", one)
	h.push("another stack")
	h.first()
	h.eventually("the other stack runs", func() error {
		if len(h.containers("other")) != 1 {
			return errors.New("it does not")
		}
		return nil
	})
	if now := h.rolledBack("one"); now.Commit != first || h.runs("web", "app", "db")["app"] != back["app"] {
		t.Errorf("it was touched: %+v", now)
	}
	if err := h.api.ContainerKill(t.Context(), back["app"], "KILL"); err != nil {
		t.Fatal(err)
	}
	h.trigger()
	h.eventually("it is repaired", func() error {
		c, err := h.api.ContainerInspect(t.Context(), back["app"])
		if err == nil && !c.State.Running {
			err = errors.New("it does not run")
		}
		return err
	})
	h.rolledBack("one")

	// A version that runs ends it.
	h.web(runsOn, "three")
	h.push("three")
	h.trigger()
	h.becomes("web", running)
	app := h.runs("web", "app", "db")["app"]
	if got := h.exec(app, "cat", "/said", "/conf/deep/said.txt", "/data/file"); got != "threethree" {
		t.Errorf("it says %q", got)
	}
	if h.laid() != 0 || h.kept() != 0 {
		t.Errorf("%d contents in the volume, %d images kept", h.laid(), h.kept())
	}
}

func TestAStackGoesBackToTheImageThatItsTagNamed(t *testing.T) {
	t.Parallel()
	h := newBackHost(t)
	i := h.newImages(false)
	ref := i.put("app:latest", "one", 0)
	h.env["PRUNE_IMAGES"] = "true"
	h.stack("web", `
services:
  app:
    image: `+ref+`
    pull_policy: every_1s
    command: ["/bin/sh", "-c", "test $(cat /version) != two || exit 7; `+runsOn+`"]
    stop_grace_period: 0s
    deploy: {update_config: {monitor: 1s}}
`)
	h.push("web")
	h.first()
	i.put("app:latest", "two", 0)
	h.becomes("web", func(st report.Stack) bool { return st.Held == string(plan.HeldRollback) })
	if got := h.version("web"); got != "one" {
		t.Errorf("it runs %s", got)
	}
	id := h.runs("web", "app")["app"]
	time.Sleep(3 * time.Second) // the registry is asked, and says the same
	if now := h.runs("web", "app")["app"]; now != id || h.version("web") != "one" || h.kept() != 1 {
		t.Errorf("it runs %s in %s, was %s; %d images kept", h.version("web"), now, id, h.kept())
	}
	i.put("app:latest", "three", 0)
	h.becomes("web", running)
	if got := h.version("web"); got != "three" || h.kept() != 0 {
		t.Errorf("it runs %s, %d images kept", got, h.kept())
	}
}

// Where an old version would be half of one, the new one stays, and says why.
func TestAStackStaysWhereItCantGoBack(t *testing.T) {
	t.Parallel()
	h := newBackHost(t)
	h.web(runsOn, "one")
	h.push("one")
	h.first()
	h.exec(h.runs("web", "app", "db")["app"], "touch", "/conf/state")
	h.web(ends, "two")
	h.push("two")
	h.trigger()
	st := h.becomes("web", func(st report.Stack) bool { return strings.Contains(st.Error, "can't be rolled back") })
	if !strings.Contains(st.Error, "app exited (7)") || !strings.Contains(st.Error, "web/conf has changed since, and has something in it that git does not track: web/conf/state") {
		t.Errorf("it says %s", st.Error)
	}
	if st.Held == string(plan.HeldRollback) {
		t.Errorf("it is %+v", st)
	}
}

// Whenever the daemon is killed, the stack ends in its old version.
func TestADaemonKilledWhileItGoesBack(t *testing.T) {
	t.Parallel()
	h := newBackHost(t)
	h.web(runsOn, "one")
	h.push("one")
	h.first()
	for n := range 8 {
		h.web(fmt.Sprint(ends, "; : ", n), "bad")
		h.push(fmt.Sprint("bad ", n))
		h.trigger()
		time.Sleep(time.Duration(n) * 350 * time.Millisecond) // another step each time
		h.daemon.kill()
		h.start()
		h.rolledBack("one")
		if list := h.containers("web"); len(list) != 2 {
			t.Errorf("containers are %+v", list)
		}
	}
	h.remove("web")
	h.stack("other", one)
	h.push("away")
	h.trigger()
	h.eventually("all of it is gone", func() error {
		if h.laid()+h.kept()+len(h.containers("web")) > 0 {
			return fmt.Errorf("%d contents, %d images, %v", h.laid(), h.kept(), h.containers("web"))
		}
		return nil
	})
}
