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
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"golang.org/x/sync/errgroup"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

const (
	benchImage  = "gitops-compose-bench:1"
	benchLabel  = "gitops-compose-bench" // on all that is made here
	benchSecret = "open-sesame"

	// benchRemovals is how many containers are removed at a time: engine 20.10 has
	// hung when it was told to remove a hundred at once.
	benchRemovals = 4
)

// benchBinary builds the daemon as make build does.
func benchBinary(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "gitops-compose")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "../../cmd/gitops-compose")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build the daemon: %v\n%s", err, out)
	}
	return path
}

// benchEngine is the raw engine.
type benchEngine struct{ client.APIClient }

func newBenchEngine(b *testing.B) benchEngine {
	b.Helper()
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		b.Fatal(err)
	}
	e := benchEngine{api}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		b.Skip("the image is made of busybox (Debian: busybox-static)")
	}
	content, err := os.ReadFile(busybox)
	if err != nil {
		b.Fatal(err)
	}
	var root bytes.Buffer
	w := tar.NewWriter(&root)
	_ = w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(content))})
	_, _ = w.Write(content)
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	out, err := api.ImageImport(context.Background(), image.ImportSource{Source: &root, SourceName: "-"}, benchImage, image.ImportOptions{})
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = out.Close()
	b.Cleanup(func() {
		e.clear(b)
		_, _ = api.ImageRemove(context.Background(), benchImage, image.RemoveOptions{})
		_ = api.Close()
	})
	e.clear(b) // what a killed run left
	return e
}

// rawSync does by hand what the first sync comes to.
func (e benchEngine) rawSync(b *testing.B, stacks, parallel int) time.Duration {
	b.Helper()
	started := time.Now()
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(parallel)
	for i := range stacks {
		g.Go(func() error { return e.rawStack(ctx, i, benchImage) })
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(started)
}

// rawStack makes the network and the container of a stack, and starts it.
func (e benchEngine) rawStack(ctx context.Context, i int, ref string) error {
	labels := map[string]string{benchLabel: "raw"}
	name := fmt.Sprintf("gitops-compose-bench-raw-%d", i)
	if _, err := e.NetworkCreate(ctx, name, network.CreateOptions{Labels: labels}); err != nil {
		return err
	}
	grace := 0
	c, err := e.ContainerCreate(ctx,
		&container.Config{Image: ref, Cmd: []string{"/bin/busybox", "sleep", "2147483647"}, Labels: labels, StopTimeout: &grace},
		&container.HostConfig{NetworkMode: container.NetworkMode(name)}, nil, nil, name)
	if err != nil {
		return err
	}
	return e.ContainerStart(ctx, c.ID, container.StartOptions{})
}

// clear removes what was made here, and nothing else.
func (e benchEngine) clear(b *testing.B) {
	b.Helper()
	ctx := context.Background()
	ours := filters.NewArgs(filters.Arg("label", benchLabel))
	list, err := e.ContainerList(ctx, container.ListOptions{All: true, Filters: ours})
	if err != nil {
		b.Fatal(err)
	}
	var g errgroup.Group
	g.SetLimit(benchRemovals)
	for _, c := range list {
		g.Go(func() error { return e.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true}) })
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	networks, err := e.NetworkList(ctx, network.ListOptions{Filters: ours})
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range networks {
		g.Go(func() error { return e.NetworkRemove(ctx, n.ID) })
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

// benchHost has a remote with stacks, and counts what goes to it and to the
// engine.
type benchHost struct {
	engine   benchEngine
	url      string
	socket   string
	parallel int // of MAX_PARALLEL_STACKS; 0 for the default
	requests atomic.Int64
	mu       sync.Mutex
	paths    map[string]int
}

func newBenchHost(b *testing.B, e benchEngine, stacks int) *benchHost {
	b.Helper()
	return newBenchHostOf(b, e, stacks, func(int) string { return benchImage })
}

// newBenchHostOf gives each stack an image.
func newBenchHostOf(b *testing.B, e benchEngine, stacks int, imageOf func(i int) string) *benchHost {
	b.Helper()
	h, work := newBenchHostAt(b, e)
	for i := range stacks {
		gittest.Write(b, work, fmt.Sprintf("gitops-compose-bench-%d/compose.yaml", i), fmt.Sprintf(`
services:
  app:
    image: %s
    command: [/bin/busybox, sleep, "2147483647"]
    stop_grace_period: 0s
    labels: {%s: daemon}
networks:
  default:
    labels: {%[2]s: daemon}
`, imageOf(i), benchLabel))
	}
	gittest.Push(b, work, "All stacks")
	return h
}

// newBenchHostAt has an empty remote, and gives a clone to push to it from.
func newBenchHostAt(b *testing.B, e benchEngine) (h *benchHost, work string) {
	b.Helper()
	h = &benchHost{engine: e, paths: map[string]int{}}
	bare := gittest.Bare(b)
	work = gittest.Work(b, bare)
	backend := gittest.Handler(b, bare, "", "")
	remote := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		backend.ServeHTTP(w, r)
	}))
	b.Cleanup(remote.Close)
	h.url = remote.URL + "/repo.git"
	h.proxy(b)
	return h, work
}

// proxy puts a counter between the daemon and the engine.
func (h *benchHost) proxy(b *testing.B) {
	b.Helper()
	at, err := url.Parse(h.engine.DaemonHost())
	if err != nil {
		b.Fatal(err)
	}
	address := at.Host
	if at.Scheme == "unix" {
		address = at.Path
	} else {
		at.Scheme = "tcp"
	}
	p := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "engine" },
		FlushInterval: -1, // events
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, at.Scheme, address)
		}},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	dir, err := os.MkdirTemp("", "bench") // the address of a socket must be short
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "engine.sock"))
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.paths[r.Method+" "+r.URL.Path]++
		h.mu.Unlock()
		p.ServeHTTP(w, r)
	})}
	go s.Serve(l)
	b.Cleanup(func() { s.Close(); os.RemoveAll(dir) })
	h.socket = "unix://" + l.Addr().String()
}

// byPath gives the calls of the engine's API since the last time.
func (h *benchHost) byPath() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	paths := h.paths
	h.paths = map[string]int{}
	return paths
}

func (h *benchHost) calls() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, count := range h.paths {
		n += count
	}
	return n
}

// benchDaemon is a daemon that runs.
type benchDaemon struct {
	host   *benchHost
	cmd    *exec.Cmd
	said   *bytes.Buffer
	url    string
	synced time.Duration // from start to the start of the last container
}

// start starts a daemon without a clone, and returns when the containers of
// all stacks were started.
func (h *benchHost) start(b *testing.B, binary string, stacks int) *benchDaemon {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	d := &benchDaemon{host: h, said: &bytes.Buffer{}, url: "http://" + address}
	d.cmd = exec.Command(binary)
	d.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + b.TempDir(), "DOCKER_HOST=" + h.socket, "HTTP_ADDRESS=" + address,
		"REPOSITORY_PATH=" + filepath.Join(b.TempDir(), "clone"), "REPOSITORY_URL=" + h.url,
		"CHECK_INTERVAL_IN_SECONDS=-1", "WEBHOOK_SECRET=" + benchSecret, "LOG_LEVEL=warn",
		"PPROF_ADDRESS=" + os.Getenv("BENCH_PPROF"), // to look at what costs, while it runs
	}
	if h.parallel > 0 {
		d.cmd.Env = append(d.cmd.Env, fmt.Sprintf("MAX_PARALLEL_STACKS=%d", h.parallel))
	}
	d.cmd.Stderr = d.said
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	started, errs := h.engine.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", "container"), filters.Arg("event", "start"), filters.Arg("label", benchLabel+"=daemon"))})
	began := time.Now()
	if err := d.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.cmd.Process.Kill(); d.cmd.Wait() })
	for range stacks {
		select {
		case <-started:
		case err := <-errs:
			b.Fatalf("wait for %d stacks: %v\n%s", stacks, err, d.said)
		}
	}
	d.synced = time.Since(began)
	return d
}

func (d *benchDaemon) stop(b *testing.B) {
	b.Helper()
	d.cmd.Process.Signal(syscall.SIGTERM)
	if err := d.cmd.Wait(); err != nil {
		b.Fatalf("the daemon ended with %v\n%s", err, d.said)
	}
}

// settled waits until every stack is as git wants it.
func (d *benchDaemon) settled(b *testing.B) {
	b.Helper()
	var last string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var s struct{ Synced bool }
		last = d.get(b, "/api/v1/status")
		if err := json.Unmarshal([]byte(last), &s); err == nil && s.Synced {
			return
		}
	}
	b.Fatalf("not synced: %s\n%s", last, d.said)
}

func (d *benchDaemon) get(b *testing.B, path string) string {
	b.Helper()
	response, err := http.Get(d.url + path)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	return string(body)
}

// checks has the daemon check n times, one after the other.
func (d *benchDaemon) checks(b *testing.B, n int) {
	b.Helper()
	for range n {
		d.push(b, "/webhook?wait=true", http.StatusOK)
	}
}

// push asks for a check, and wants that status in return.
func (d *benchDaemon) push(b *testing.B, path string, status int) {
	b.Helper()
	request, err := http.NewRequest(http.MethodPost, d.url+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+benchSecret)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || response.StatusCode != status {
		b.Fatalf("check: %s %s", response.Status, errors.Join(err, errors.New(string(body))))
	}
}

// benchCost is what checks cost.
type benchCost struct{ looks, cpu, requests, calls float64 }

// since gives the cost of one look; engine events can have caused some
// besides those that were asked for.
func (c benchCost) since(before benchCost) benchCost {
	n := c.looks - before.looks
	return benchCost{
		looks: n, cpu: (c.cpu - before.cpu) / n,
		requests: (c.requests - before.requests) / n, calls: (c.calls - before.calls) / n,
	}
}

func (d *benchDaemon) cost(b *testing.B) benchCost {
	b.Helper()
	c := benchCost{requests: float64(d.host.requests.Load()), calls: float64(d.host.calls())}
	for line := range strings.Lines(d.get(b, "/metrics")) {
		if strings.HasPrefix(line, "gitops_looks_total{") {
			fields := strings.Fields(line)
			n, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				b.Fatal(err)
			}
			c.looks += n
		}
	}
	c.cpu = d.cpu(b)
	return c
}

// cpu is what the daemon has used of it, in ms.
func (d *benchDaemon) cpu(b *testing.B) (ms float64) {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		b.Skip("this takes Linux's /proc")
	}
	// After the name in brackets come the fields from the third on; 14 and 15
	// are user and system time, in hundredths of a second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			b.Fatal(err)
		}
		ms += 10 * ticks
	}
	return ms
}

// rss is the daemon's resident memory in MB of 1,000,000 bytes.
func (d *benchDaemon) rss(b *testing.B) float64 { return d.memory(b, "VmRSS") }

// memory is what the kernel knows by a name, in MB of 1,000,000 bytes.
func (d *benchDaemon) memory(b *testing.B, name string) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		b.Skip("this takes Linux's /proc")
	}
	lines := strings.Split(string(status), "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
	kib, err := strconv.ParseFloat(strings.Fields(lines[i])[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib * 1024 / 1e6
}
