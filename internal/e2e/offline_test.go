//go:build engine

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// metric gives the value of a series.
func (h *ownHost) metric(series string) string {
	h.t.Helper()
	body, _, err := h.get("/metrics")
	h.must(err)
	for line := range strings.Lines(string(body)) {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	h.t.Fatalf("no series %s", series)
	return ""
}

// comesBack waits until a removed container is replaced, without a trigger.
func (h *ownHost) comesBack(name, service, id string) {
	h.t.Helper()
	h.must(h.api.ContainerRemove(context.Background(), id, container.RemoveOptions{Force: true}))
	h.eventually(service+" of "+name+" comes back", func() error {
		for _, c := range h.containers(name) {
			if c.Labels["com.docker.compose.service"] == service && c.ID != id && c.State == container.StateRunning {
				return nil
			}
		}
		return errors.New("not yet")
	})
}

func TestWithoutTheRemoteWhatTheCloneWantsIsKeptRunning(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.stack("web", two)
	h.stack("old", one)
	h.push("add both")
	s := h.first()
	if s.Look.Offline != "" || !s.Ready || h.metric("gitops_remote_reachable") != "1" {
		t.Fatalf("ready %v, %+v", s.Ready, s.Look)
	}
	before := h.runs("web", "app", "side")
	failed := h.metric(`gitops_check_total{status="error"}`)

	h.down.Store(true)
	h.stack("web", strings.Replace(two, "app: {image", "app: {environment: {A: '1'}, image", 1))
	h.remove("old")
	commit := h.push("change web, remove old")
	s = h.settle()
	if s.Look.Offline == "" || s.Look.Error == "" || s.Ready || s.Checks[0].Error == "" {
		t.Errorf("ready %v, %+v", s.Ready, s.Look)
	}
	if now := h.metric(`gitops_check_total{status="error"}`); now == failed || h.metric("gitops_remote_reachable") != "0" {
		t.Errorf("%s checks have failed, and %s before", now, failed)
	}
	h.comesBack("web", "side", before["side"])
	h.settle()
	if now := h.runs("web", "app", "side"); now["app"] != before["app"] {
		t.Error("what is not drifted was touched")
	}
	h.runs("old", "app")

	h.down.Store(false)
	s = h.settle()
	if s.Look.Offline != "" || !s.Ready {
		t.Errorf("ready %v, %+v", s.Ready, s.Look)
	}
	if now := h.runs("web", "app", "side"); now["app"] == before["app"] {
		t.Error("the pushed change is not applied")
	}
	h.runs("old")
	if head := gittest.Git(t, h.clone, "rev-parse", "HEAD"); head != commit {
		t.Errorf("the clone is at %s", head)
	}
}

func TestAnOfflineStartKeepsRunningWhatTheCloneWants(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.stack("web", two)
	h.push("add web")
	h.first()
	before := h.runs("web", "app", "side")
	h.stop()
	h.down.Store(true)
	h.must(h.api.ContainerRemove(context.Background(), before["side"], container.RemoveOptions{Force: true}))
	s := h.first()
	if now := h.runs("web", "app", "side"); now["app"] != before["app"] {
		t.Error("app was replaced")
	}
	if s.Look.Offline == "" || s.Ready {
		t.Errorf("ready %v, %+v", s.Ready, s.Look)
	}
}

// TestTheGitServerMayBeAStackOfTheVeryRepository has the remote behind a
// container of a stack of it: without the container there is no way to the
// remote.
func TestTheGitServerMayBeAStackOfTheVeryRepository(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	server, err := url.Parse(h.url)
	h.must(err)
	port := freePort(t)
	// The server itself needs git, which no image of the tests has: what the stack
	// runs is the way to it.
	h.stack("git", fmt.Sprintf(`
services:
  app:
    image: BASE
    network_mode: host
    stop_grace_period: 0s
    command: [busybox, nc, -ll, -p, "%d", -e, /bin/busybox, nc, 127.0.0.1, "%s"]
`, port, server.Port()))
	h.stack("web", one)
	h.push("add the server and web")
	server.Host = fmt.Sprintf("127.0.0.1:%d", port)
	// The clone is a person's: nothing can be cloned before the server runs.
	gittest.Git(t, "", "clone", "-q", h.remote, h.clone)
	gittest.Git(t, h.clone, "remote", "set-url", "origin", server.String())
	h.env["REPOSITORY_URL"] = server.String()
	h.first()
	id := h.runs("git", "app")["app"]
	h.runs("web", "app")
	h.online("the server has been started from the clone")

	h.comesBack("git", "app", id)
	h.online("the server has been repaired")
	h.stack("web", strings.Replace(one, "command", "environment: {A: '1'}, command", 1))
	commit := h.push("change web")
	h.settle()
	if c := h.containers("web"); len(c) != 1 || c[0].Labels["gitops.commit"] != commit {
		t.Errorf("the pushed change is not applied: %+v", c)
	}
	s := h.settle()
	for _, name := range []string{"git", "web"} {
		if st := s.stack(t, h.project(name)); st.Status != report.Running {
			t.Errorf("%s is %s: %s", name, st.Status, st.Reason)
		}
	}
}

// online asks for checks until one has reached the remote.
func (h *ownHost) online(when string) {
	h.t.Helper()
	h.eventually("the remote is reached when "+when, func() error {
		if s := h.settle(); s.Look.Offline != "" || !s.Ready {
			return errors.New(s.Look.Error)
		}
		return nil
	})
}
