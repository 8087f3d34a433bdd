//go:build engine

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/korbiniankuhn/gitops-compose/internal/handover"
	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

// own is a host whose daemon runs in a container, of an image built from the
// Dockerfile, in a stack of the repository that it keeps the host in step with.
type own struct {
	*host
	t      *testing.T
	proxy  *proxy
	port   int
	folder string // the stack's
	body   string // the compose file, with VERSION for the image's tag
	others map[string]string
	name   string // of the daemon's container
	uid    int    // who owns the clone
	gid    int
	writes *writes // of the record; nil if nobody watches
}

// ownRepository has the daemon's images of this run. Another run at the same
// time has its own: another image under a tag is a reason to hand over.
var ownRepository = fmt.Sprintf("gitops-compose-e2e-own-%x", time.Now().UnixNano()&0xffffffffff)

// ownVersions are the versions of the daemon.
var ownVersions = []string{"v1", "v2", "v3"}

// ownImages makes the daemon's image in several versions, once for all tests.
// The first is built from the Dockerfile; the others are that with the binary of
// another version in it, which spares the time to compile it in the image.
var ownImages = sync.OnceValue(func() error {
	for i, version := range ownVersions {
		build := exec.Command("../../scripts/image.sh", ownRepository+":"+version)
		build.Env = append(os.Environ(), "VERSION="+version)
		if i > 0 {
			dir, err := os.MkdirTemp("", "gitops-compose-e2e-own-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			compile := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version, "-o", dir, "../../cmd/gitops-compose")
			compile.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := compile.CombinedOutput(); err != nil {
				return fmt.Errorf("build the binary: %w\n%s", err, out)
			}
			build = imageFrom(dir, ownRepository+":"+version, "FROM "+ownRepository+":"+ownVersions[0]+"\nCOPY gitops-compose /\n")
		}
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the image: %w\n%s", err, out)
		}
	}
	return nil
})

// imageFrom builds an image in a folder.
func imageFrom(dir, tag, dockerfile string) *exec.Cmd {
	build := exec.Command("docker", "build", "-q", "--network", "none", "--force-rm", "-f", "-", "-t", tag, dir)
	if dir == "" {
		build = exec.Command("docker", "build", "-q", "--network", "none", "--force-rm", "-t", tag, "-")
	}
	build.Stdin = strings.NewReader(dockerfile)
	return build
}

// removeOwnImages is for the end of the run.
func removeOwnImages() {
	for _, version := range ownVersions {
		_ = exec.Command("docker", "image", "rm", ownRepository+":"+version).Run()
	}
}

const ownStack = `
services:
  daemon:
    image: IMAGE:VERSION
    restart: unless-stopped
    ports: ["127.0.0.1:PORT:2112"]
    volumes:
      - ..:/repository
      - REMOTE:REMOTE:ro
      - SOCKET:/var/run/docker.sock
    environment:
      CHECK_INTERVAL_IN_SECONDS: "-1"
      DEPLOY_TIMEOUT_IN_SECONDS: "30"
      LOG_LEVEL: debug
      HTTP_CONFIG_FILE: /repository/web.yml
    labels: {gitops.controller: "true"}
`

// newOwn makes a repository with another stack and the daemon's own, and starts
// version 1 as a person does it.
func newOwn(t *testing.T, body string, prepare ...func(*own)) *own {
	t.Helper()
	return newOwnOn(t, os.Getenv("DOCKER_HOST"), body, prepare...)
}

// newOwnOn does so on an engine.
func newOwnOn(t *testing.T, engine, body string, prepare ...func(*own)) *own {
	t.Helper()
	if err := ownImages(); err != nil {
		t.Fatal(err)
	}
	h := newHostOn(t, engine)
	o := &own{host: h, t: t, proxy: newProxy(t, h.engine), port: freePort(t), folder: "gitops", body: body}
	h.stack("web", one)
	h.write("web.yml", h.webConfig())
	o.name = h.project(o.folder) + "-daemon-1"
	gittest.Git(t, "", "clone", "-q", h.remote, h.clone)
	for _, do := range prepare {
		do(o)
	}
	o.version("v1")
	h.push("the first version")
	gittest.Git(t, h.clone, "pull", "-q")
	chown(t, h.clone, o.uid, o.gid)
	t.Cleanup(func() { o.removeHelpers() })
	h.controller(filepath.Join(h.clone, o.folder))
	h.daemon = &daemon{base: fmt.Sprintf("http://127.0.0.1:%d", o.port), log: &logBuffer{}}
	t.Cleanup(func() {
		if t.Failed() {
			o.logContainers()
		}
	})
	o.ready("v1")
	o.others = h.runs("web", "app")
	return o
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// version writes the daemon's stack for a version. More is replaced in it, first
// of all.
func (o *own) version(v string, more ...string) {
	text := strings.NewReplacer(append(more, // the first that fits is taken
		"IMAGE", ownRepository, "VERSION", v, "PORT", fmt.Sprint(o.port), "REMOTE", o.remote, "SOCKET", o.proxy.socket,
	)...).Replace(o.body)
	o.stack(o.folder, text)
}

// removeHelpers removes what a test that failed has left.
func (o *own) removeHelpers() {
	for _, c := range o.helpers() {
		_ = o.api.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true})
	}
}

// helpers are the helper containers of this host's hand-overs.
func (o *own) helpers() []container.Summary {
	list, err := o.api.ContainerList(context.Background(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "gitops.handover"))})
	if err != nil {
		o.t.Fatal(err)
	}
	var mine []container.Summary
	for _, c := range list {
		if strings.Contains(c.Labels["gitops.handover"], o.clone) {
			mine = append(mine, c)
		}
	}
	return mine
}

func (o *own) logContainers() {
	for _, c := range append(o.containers(o.folder), o.helpers()...) {
		logs := exec.Command("docker", "logs", c.ID)
		logs.Env = append(os.Environ(), "DOCKER_HOST="+o.host.engine)
		out, _ := logs.CombinedOutput()
		o.t.Logf("%s %s %s:\n%s", c.Names[0], c.Image, c.State, out)
	}
	record, _ := os.ReadFile(o.recordFile())
	o.t.Logf("record: %s", record)
}

// step is how far the hand-over is.
func (o *own) step() handover.Step {
	return o.record().Step
}

func (o *own) record() (r handover.Record) {
	if b, err := os.ReadFile(o.recordFile()); err == nil {
		_ = json.Unmarshal(b, &r)
	}
	return r
}

func (o *own) recordFile() string { return filepath.Join(o.clone, ".git/gitops-compose/handover.json") }

// ready waits until exactly one daemon works, of a version, with nothing left of
// a hand-over.
func (o *own) ready(version string) {
	o.t.Helper()
	o.eventually("version "+version+" is ready and nothing is left", func() error {
		var s struct {
			Version       string
			Ready, Synced bool
			Reason        string
		}
		body, _, err := o.get("/api/v1/status")
		if err == nil {
			err = json.Unmarshal(body, &s)
		}
		if err != nil {
			return err
		}
		if s.Version != version || !s.Ready || !s.Synced {
			return fmt.Errorf("version %s, ready %v, synced %v: %s", s.Version, s.Ready, s.Synced, s.Reason)
		}
		return o.single()
	})
}

// single says why there is not just one daemon and nothing else.
func (o *own) single() error {
	var have []string
	for _, c := range o.containers(o.folder) {
		if c.Labels["com.docker.compose.service"] == "daemon" {
			have = append(have, c.Names[0]+" "+string(c.State))
		}
	}
	want := "/" + o.name + " running"
	if len(have) != 1 || have[0] != want {
		return fmt.Errorf("containers %v, want %s", have, want)
	}
	if left := o.helpers(); len(left) > 0 {
		return fmt.Errorf("%d helpers are left", len(left))
	}
	if step := o.step(); step != "" {
		return fmt.Errorf("the record is left at %s", step)
	}
	return nil
}

// untouched expects that the other stacks' containers are as they were.
func (o *own) untouched() {
	o.t.Helper()
	if now := o.runs("web", "app"); now["app"] != o.others["app"] {
		o.t.Errorf("web was recreated")
	}
}

// From version 1 to 2, not to a bad one, and on to 3.
func TestHandOver(t *testing.T) {
	o := newOwn(t, ownStack)
	good := func(version string) {
		t.Helper()
		before := o.runs(o.folder, "daemon")["daemon"]
		o.version(version)
		o.push("another version")
		gap := o.watchHealth()
		o.trigger()
		o.ready(version)
		t.Logf("to %s: without an answer from /healthz for %s", version, gap())
		o.untouched()
		if o.runs(o.folder, "daemon")["daemon"] == before {
			t.Error("the container is the old one")
		}
	}
	good("v2")
	second := o.runs(o.folder, "daemon")["daemon"]
	o.begin("v3", true)
	gap := o.watchHealth()
	o.trigger()
	o.refused("v2", second)
	t.Logf("back from a bad version: without an answer from /healthz for %s", gap())
	o.untouched()
	good("v3")
}

// watchHealth asks /healthz all the time; the function that it gives ends that
// and tells for how long there was no answer at most.
func (o *own) watchHealth() func() time.Duration {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan time.Duration)
	client := &http.Client{Timeout: 500 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		last, longest := time.Now(), time.Duration(0)
		for answered := false; ctx.Err() == nil || !answered; { // a gap ends with an answer
			resp, err := client.Get(o.daemon.base + "/healthz")
			if answered = err == nil; answered {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				longest = max(longest, time.Since(last))
				last = time.Now()
			}
			time.Sleep(5 * time.Millisecond)
		}
		done <- longest
	}()
	return func() time.Duration { cancel(); return <-done }
}
