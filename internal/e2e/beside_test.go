//go:build engine

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// serveImage makes an image of testdata/serve.
func (h *host) serveImage() string {
	h.t.Helper()
	binary := filepath.Join(h.t.TempDir(), "serve")
	build := exec.Command("go", "build", "-o", binary, "./testdata/serve")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		h.t.Fatalf("build testdata/serve: %v\n%s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		h.t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err = errors.Join(w.WriteHeader(&tar.Header{Name: "serve", Mode: 0o755, Size: int64(len(content))}), func() error { _, err := w.Write(content); return err }(), w.Close())
	if err != nil {
		h.t.Fatal(err)
	}
	ref := h.prefix + "-serve:1"
	answer, err := h.api.ImageImport(h.t.Context(), image.ImportSource{Source: &layer, SourceName: "-"}, ref, image.ImportOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	defer answer.Close()
	if _, err := io.Copy(io.Discard, answer); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_, _ = h.api.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true})
	})
	return ref
}

// besideHost is a host with a service behind a reverse proxy.
type besideHost struct {
	*host
	image string
}

// web is the stack with a version of the service.
func (h *besideHost) web(version int, more string) {
	h.t.Helper()
	h.stack("web", strings.NewReplacer("SERVE", h.image, "VERSION", fmt.Sprint(version), "MORE", more).Replace(`
services:
  proxy:
    image: SERVE
    command: [/serve, proxy, app]
    stop_grace_period: 1s
  app:
    image: SERVE
    command: [/serve, app, "VERSION"]
    stop_grace_period: 5s
    healthcheck: {test: [CMD, /serve, check], interval: 200ms}
    deploy: {update_config: {order: start-first, monitor: 3s}} # the time in which the network learns of it
    MORE
`))
}

// asker asks the proxy until it is told to stop, and notes what it hears.
type asker struct {
	mu       sync.Mutex
	failed   []string
	requests int
	heard    map[string]bool
}

// ask begins to ask; stop ends it.
func (h *besideHost) ask() (c *asker, stop func()) {
	h.t.Helper()
	id := ""
	for _, c := range h.containers("web") {
		if c.Labels["com.docker.compose.service"] == "proxy" {
			id = c.ID
		}
	}
	proxy, err := h.api.ContainerInspect(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	address := ""
	for _, n := range proxy.NetworkSettings.Networks {
		address = "http://" + n.IPAddress + ":8080"
	}
	c = &asker{heard: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c.request(address)
			}
		})
	}
	return c, func() { cancel(); wg.Wait() }
}

func (c *asker) request(address string) {
	said, err := "", error(nil)
	answer, err := http.Get(address)
	if err == nil {
		var body []byte
		body, err = io.ReadAll(answer.Body)
		answer.Body.Close()
		said = string(body)
		if answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", answer.Status, said)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests++; err != nil {
		c.failed = append(c.failed, time.Now().Format("15:04:05.000 ")+err.Error())
		return
	}
	c.heard[said] = true
}

// is waits until a version is what there is, in one container with a name of Compose's.
func (h *besideHost) is(version int) {
	h.t.Helper()
	h.eventually(fmt.Sprint("version ", version, " runs alone"), func() error {
		s, err := h.status()
		if err != nil || len(s.Stacks) != 1 || s.Stacks[0].Status != report.Running || s.Stacks[0].Sync != report.Synced {
			return fmt.Errorf("%+v, %w", s.Stacks, err)
		}
		list := h.containers("web")
		if len(list) != 2 {
			return fmt.Errorf("%d containers", len(list))
		}
		for _, c := range list {
			if c.Labels["com.docker.compose.service"] != "app" {
				continue
			}
			if c.State != "running" || !strings.HasSuffix(c.Command, fmt.Sprint("app ", version)) {
				return fmt.Errorf("%s is %s: %s", c.Names, c.State, c.Command)
			}
			if want := regexp.MustCompile("^/" + h.project("web") + "-app-[0-9]+$"); !want.MatchString(c.Names[0]) {
				return fmt.Errorf("it is called %s", c.Names)
			}
		}
		return nil
	})
}

func newBesideHost(t *testing.T) *besideHost {
	t.Helper()
	h := &besideHost{host: newHost(t)}
	h.image = h.serveImage()
	h.web(0, "")
	h.push("web")
	h.first()
	h.is(0)
	return h
}

func TestNoRequestFailsWhileAServiceIsReplaced(t *testing.T) {
	t.Parallel()
	h := newBesideHost(t)
	c, stop := h.ask()
	const updates = 20
	for n := 1; n <= updates; n++ {
		h.web(n, "")
		h.push(fmt.Sprint("version ", n))
		h.trigger()
		h.is(n)
	}
	// One that does not come up leaves the old one alone.
	h.web(updates+1, "environment: {GODEBUG: 'x'}\n    read_only: true\n    entrypoint: [/none]")
	h.push("a bad one")
	h.trigger()
	st := h.becomes("web", func(st report.Stack) bool { return st.Sync == report.Waiting })
	if !strings.Contains(st.Error, "none") {
		t.Errorf("it says %s", st.Error)
	}
	if list := h.containers("web"); len(list) != 2 {
		t.Errorf("there are %+v", list)
	}
	stop()
	if len(c.failed) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(c.failed), c.requests, c.failed[:min(5, len(c.failed))])
	}
	for n := range updates + 1 {
		if !c.heard[fmt.Sprint(n)] {
			t.Errorf("version %d was never heard", n)
		}
	}
	if c.heard[fmt.Sprint(updates+1)] {
		t.Error("the bad one was heard")
	}
	t.Logf("%d requests", c.requests)
}

func TestADaemonKilledWhileAServiceIsReplaced(t *testing.T) {
	t.Parallel()
	h := newBesideHost(t)
	c, stop := h.ask()
	for n := 1; n <= 8; n++ {
		h.web(n, "")
		h.push(fmt.Sprint("version ", n))
		h.trigger()
		time.Sleep(time.Duration(n) * 200 * time.Millisecond) // another step each time
		h.daemon.kill()
		if n%2 == 0 { // and it goes on with another version
			h.web(100+n, "")
			h.push(fmt.Sprint("version ", 100+n))
		}
		h.start()
		if n%2 == 0 {
			h.is(100 + n)
		} else {
			h.is(n)
		}
	}
	stop()
	if len(c.failed) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(c.failed), c.requests, c.failed[:min(5, len(c.failed))])
	}
}
