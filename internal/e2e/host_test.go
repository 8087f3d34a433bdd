//go:build engine

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"golang.org/x/crypto/bcrypt"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

const (
	// limit is how long anything may take before a test gives up on it.
	limit = 90 * time.Second
	// baseImage has busybox at /bin/busybox and nothing else.
	baseImage = "gitops-compose-e2e:base"

	gitUser, gitPassword   = "reader", "correct-horse"
	httpUser, httpPassword = "alice", "hunter2"
)

var binary string // the daemon, built once

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gitops-compose-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gitops-compose")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.commit=9f3c21e0", "-o", binary, "../../cmd/gitops-compose")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
		return 1
	}
	if err := importBase(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer removeOwnImages()
	return m.Run()
}

func importBase() error {
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return err
	}
	defer api.Close()
	if _, err := api.ImageInspect(context.Background(), baseImage); err == nil {
		return nil // another id under the tag would be drift to tests that run now
	}
	return importImage(api, baseImage)
}

// importImage makes an image of one layer from nothing.
func importImage(api client.APIClient, ref string) error {
	layer, err := busyboxLayer(nil)
	if err != nil {
		return err
	}
	answer, err := api.ImageImport(context.Background(), image.ImportSource{Source: bytes.NewReader(layer), SourceName: "-"}, ref, image.ImportOptions{Changes: []string{"ENV PATH=/bin"}})
	if err != nil {
		return fmt.Errorf("import image %s: %w", ref, err)
	}
	defer answer.Close()
	_, err = io.Copy(io.Discard, answer)
	return err
}

// busyboxLayer is a file system with busybox, and with more files if there are
// any.
func busyboxLayer(more map[string][]byte) ([]byte, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("busybox-static is needed: %w", err)
	}
	box, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, d := range []string{"bin/", "tmp/"} {
		if err := w.WriteHeader(&tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o777}); err != nil {
			return nil, err
		}
	}
	files := maps.Clone(more)
	if files == nil {
		files = map[string][]byte{}
	}
	files["bin/busybox"] = box
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	for _, applet := range []string{"sh", "sleep", "cat", "false", "test", "touch", "env"} {
		if err := w.WriteHeader(&tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return layer.Bytes(), err
}

// host is one host under test: a remote behind a git server with basic
// authentication, a clone, a person's work tree, and a daemon.
type host struct {
	t      *testing.T
	engine string // as in DOCKER_HOST; empty for the one of this machine
	api    client.APIClient
	prefix string // of all project names of this test
	remote string // the bare repository
	url    string
	down   atomic.Bool // the git server answers 503
	hits   atomic.Int64
	clone  string
	work   string
	env    map[string]string
	// password that pages and API are asked with; empty if they want none.
	password string
	daemon   *daemon
}

// newHost makes a host on the engine that all tests share.
func newHost(t *testing.T) *host {
	t.Helper()
	return newHostOn(t, os.Getenv("DOCKER_HOST"))
}

// newHostOn makes everything but the daemon's process. The clone is empty: the
// first check fills it.
func newHostOn(t *testing.T, engine string) *host {
	t.Helper()
	options := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if engine != "" {
		options = append(options, client.WithHost(engine))
	}
	api, err := client.NewClientWithOpts(options...)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, engine: engine, api: api, prefix: fmt.Sprintf("e2e%x", time.Now().UnixNano()&0xffffffffff), remote: gittest.Bare(t)}
	h.work = gittest.Work(t, h.remote)
	git := gittest.Handler(t, h.remote, gitUser, gitPassword)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.hits.Add(1)
		if h.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		git.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	h.url = s.URL + "/repo.git"
	h.clone = filepath.Join(t.TempDir(), "clone")
	h.env = map[string]string{
		"REPOSITORY_PATH": h.clone, "REPOSITORY_URL": h.url, "REPOSITORY_BRANCH": "main",
		"REPOSITORY_USERNAME": gitUser, "REPOSITORY_PASSWORD": gitPassword,
		"CHECK_INTERVAL_IN_SECONDS": "-1", "HTTP_ADDRESS": "127.0.0.1:0", "LOG_LEVEL": "debug",
		"PATH": os.Getenv("PATH"), "DOCKER_HOST": engine, "DOCKER_CONFIG": t.TempDir(),
	}
	t.Cleanup(h.cleanUp)
	return h
}

// project gives the name of one of this test's projects.
func (h *host) project(name string) string { return h.prefix + "-" + name }

// cleanUp removes what runs under this test's project names, and its volumes.
func (h *host) cleanUp() {
	ctx := context.Background()
	mine := func(labels map[string]string) bool {
		return strings.HasPrefix(labels["com.docker.compose.project"], h.prefix)
	}
	args := filters.NewArgs(filters.Arg("label", "com.docker.compose.project"))
	containers, _ := h.api.ContainerList(ctx, container.ListOptions{All: true, Filters: args})
	for _, c := range containers {
		if mine(c.Labels) {
			_ = h.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		}
	}
	networks, _ := h.api.NetworkList(ctx, network.ListOptions{Filters: args})
	for _, n := range networks {
		if mine(n.Labels) {
			_ = h.api.NetworkRemove(ctx, n.ID)
		}
	}
	volumes, _ := h.api.VolumeList(ctx, volumeList(args))
	for _, v := range volumes.Volumes {
		if mine(v.Labels) {
			_ = h.api.VolumeRemove(ctx, v.Name, true)
		}
	}
	_ = h.api.Close()
}

// stack writes a stack's compose file with the test's project name. BASE
// stands for the base image, RUN for a command that lasts.
func (h *host) stack(name, body string) {
	h.write(name+"/compose.yaml", "name: "+h.project(name)+"\n"+h.expand(body))
}

func (h *host) write(path, content string) {
	h.t.Helper()
	gittest.Write(h.t, h.work, path, content)
}

func (h *host) expand(body string) string {
	return strings.NewReplacer("BASE", baseImage, "RUN", `["sleep","100000"]`, "PREFIX", h.prefix).Replace(body)
}

func (h *host) remove(path string) {
	h.t.Helper()
	if err := os.RemoveAll(filepath.Join(h.work, path)); err != nil {
		h.t.Fatal(err)
	}
}

// push commits and pushes everything in the work tree.
func (h *host) push(message string) string {
	h.t.Helper()
	return gittest.Push(h.t, h.work, message)
}

const one = `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s}
`

// daemon is a running process.
type daemon struct {
	cmd  *exec.Cmd
	log  *logBuffer
	base string // http://127.0.0.1:port
	done chan struct{}
	err  error
}

// start runs the daemon and waits until it listens.
func (h *host) start() {
	h.t.Helper()
	h.run()
	h.eventually("the daemon listens", func() error {
		listens, err := h.daemon.listens()
		if err != nil {
			h.t.Fatal(err)
		}
		if !listens {
			return errors.New("not yet")
		}
		return nil
	})
}

// run begins the daemon's process.
func (h *host) run() {
	h.t.Helper()
	d := &daemon{cmd: exec.Command(binary), log: &logBuffer{}, done: make(chan struct{})}
	for k, v := range h.env {
		if v != "" {
			d.cmd.Env = append(d.cmd.Env, k+"="+v)
		}
	}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() { d.err = d.cmd.Wait(); close(d.done) }()
	h.daemon = d
	h.t.Cleanup(func() {
		d.kill()
		if h.t.Failed() {
			h.t.Logf("log of the daemon:\n%s", d.log.String())
		}
	})
}

func (d *daemon) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// listens says whether the daemon does by now; it is an error that it ended
// before.
func (d *daemon) listens() (bool, error) {
	ended := d.ended() // before its log is read
	_, rest, ok := strings.Cut(d.log.String(), "msg=listening address=")
	if !ok && ended {
		return false, fmt.Errorf("the daemon ended at start: %w\n%s", d.err, d.log.String())
	}
	address, _, _ := strings.Cut(rest, "\n")
	d.base = "http://" + strings.TrimSpace(address)
	return ok, nil
}

func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	<-d.done
}

// stop ends the daemon as an engine would, and expects exit code 0.
func (h *host) stop() {
	h.t.Helper()
	if err := h.daemon.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		h.t.Fatal(err)
	}
	select {
	case <-h.daemon.done:
		if h.daemon.err != nil {
			h.t.Fatalf("exit after SIGTERM: %v", h.daemon.err)
		}
	case <-time.After(limit):
		h.t.Fatal("the daemon does not end after SIGTERM")
	}
}

// logBuffer keeps what a process writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// last gives the last lines of it.
func (l *logBuffer) last(n int) string {
	lines := slices.Collect(strings.Lines(l.String()))
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

func (h *host) eventually(what string, ask func() error) {
	h.t.Helper()
	eventually(h.t, what, ask)
}

// eventually asks again and again until there is no error.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	var err error
	for {
		if err = ask(); err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// status is what the API says.
type status struct {
	Ready   bool           `json:"ready"`
	Synced  bool           `json:"synced"`
	Problem string         `json:"problem"`
	Look    report.Look    `json:"look"`
	Stacks  []report.Stack `json:"stacks"`
	Checks  []report.Check `json:"checks"`
}

func (h *host) status() (status, error) {
	var s status
	body, code, err := h.get("/api/v1/status")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("status %d", code)
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}

func (h *host) get(path string) ([]byte, int, error) {
	request, err := http.NewRequest(http.MethodGet, h.daemon.base+path, http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	if h.password != "" {
		request.SetBasicAuth(httpUser, h.password)
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return b, resp.StatusCode, err
}

// asksForPasswords lets the daemon, from its next start, show pages and API to
// those only who have one, and everything then: details too.
func (h *host) asksForPasswords() {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "web.yml")
	if err := os.WriteFile(file, []byte(h.webConfig()), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.env["HTTP_CONFIG_FILE"] = file
}

// webConfig is what asks for a password, and makes the test give it.
func (h *host) webConfig() string {
	h.t.Helper()
	h.password = httpPassword
	hash, err := bcrypt.GenerateFromPassword([]byte(h.password), bcrypt.MinCost)
	if err != nil {
		h.t.Fatal(err)
	}
	return fmt.Sprintf("basic_auth_users:\n  %s: %s\n", httpUser, hash)
}

// trigger asks for a check, as a webhook does.
func (h *host) trigger() {
	h.t.Helper()
	resp, err := http.Post(h.daemon.base+"/webhook", "application/json", strings.NewReader("{}"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		h.t.Fatalf("POST /webhook: %s", resp.Status)
	}
}

// settle triggers and waits until a check that began afterwards, for the
// remote's head, has ended.
func (h *host) settle() status {
	h.t.Helper()
	since := time.Now()
	h.trigger()
	return h.after(since)
}

// after waits for the end of a check that has asked the remote after a moment.
func (h *host) after(since time.Time) status {
	h.t.Helper()
	var s status
	h.eventually("a check ends", func() (err error) {
		if s, err = h.status(); err != nil {
			return err
		}
		// A check that the engine's events began may have the work.
		for _, st := range s.Stacks {
			if st.Sync == report.Applying {
				return fmt.Errorf("%s is being applied", st.Name)
			}
		}
		for _, c := range s.Checks {
			if c.Asked.After(since) {
				return nil
			}
		}
		return errors.New("no check since")
	})
	return s
}

// first starts the daemon and waits for the end of its first check.
func (h *host) first() status {
	h.t.Helper()
	since := time.Now()
	h.start()
	return h.after(since)
}

func (s status) stack(t *testing.T, name string) report.Stack {
	t.Helper()
	i := slices.IndexFunc(s.Stacks, func(x report.Stack) bool { return x.Name == name })
	if i < 0 {
		t.Fatalf("no stack %s in %+v", name, s.Stacks)
	}
	return s.Stacks[i]
}

// containers lists a project's containers on the engine.
func (h *host) containers(name string) []container.Summary {
	h.t.Helper()
	list, err := h.api.ContainerList(context.Background(), container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+h.project(name))),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b container.Summary) int { return strings.Compare(a.Names[0], b.Names[0]) })
	return list
}

// runs expects that exactly these services of a project run, a container
// each, and gives the containers' ids by service.
func (h *host) runs(name string, services ...string) map[string]string {
	h.t.Helper()
	ids := map[string]string{}
	var have []string
	for _, c := range h.containers(name) {
		service := c.Labels["com.docker.compose.service"]
		if c.State != container.StateRunning {
			service += " " + string(c.State)
		}
		have = append(have, service)
		ids[service] = c.ID
	}
	slices.Sort(have)
	if !slices.Equal(have, services) {
		h.t.Fatalf("%s runs %v, want %v", name, have, services)
	}
	return ids
}

// exec runs a command in a service's container and gives its output.
func (h *host) exec(id string, cmd ...string) string {
	h.t.Helper()
	docker := exec.Command("docker", append([]string{"exec", id}, cmd...)...)
	docker.Env = append(os.Environ(), "DOCKER_HOST="+h.engine)
	out, err := docker.CombinedOutput()
	if err != nil {
		h.t.Fatalf("docker exec %v: %v\n%s", cmd, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (h *host) getJSON(path string, v any) error {
	body, _, err := h.get(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}
