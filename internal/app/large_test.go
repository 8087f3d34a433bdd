package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/metrics"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/reconcile"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/repo"
	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// What a large repository may cost, see BenchmarkLargeRepository.
const (
	largeStacks  = 2000
	largeFiles   = 100_000
	largeChanges = 9

	largeMostFirst  = 4.0   // s
	largeMostChange = 100.0 // ms
	largeMostRSS    = 250.0 // MB
)

// large is what a large repository costs.
type large struct {
	First     float64   // s from the start to the first plan
	Changes   []float64 // ms from hearing of a commit to the plan for it
	Begun     []float64 // ms until the first operation of the plan begins
	CPU       []float64 // ms of the daemon's until then
	Idle      []float64 // ms of a check that finds nothing to do
	RSS, Peak float64   // MB
	Problem   string    `json:",omitempty"`
}

// BenchmarkLargeRepository measures what the daemon needs for 2,000 stacks in a
// tree of 100,000 files, all of which run as they are wanted: from its start on a
// clone that is there to the first plan; from hearing of a commit that changes one
// stack to the plan for it; and its memory at the end. Medians count. All is the
// daemon's but the engine, which is in memory, and answers at once. The remote is
// git's own, and needs some of the same machine's time.
func BenchmarkLargeRepository(b *testing.B) {
	bare := largeRemote(b)
	dir := b.TempDir()
	clone := filepath.Join(dir, "clone")
	gittest.Git(b, "", "clone", "-q", "--single-branch", gittest.Serve(b, bare, "", ""), clone)
	running := filepath.Join(dir, "running.json")
	standing(b, clone, running)
	var cost large
	for b.Loop() {
		cost = largeDaemon(b, bare, clone, running)
	}
	for _, list := range [][]float64{cost.Changes, cost.Begun, cost.CPU, cost.Idle} {
		slices.Sort(list)
	}
	change := cost.Changes[len(cost.Changes)/2]
	b.Logf("plans after changes %.0f ms; their first operations %.0f ms, with %.0f ms of CPU; checks with nothing to do %.0f ms; at its peak %.0f MB",
		cost.Changes, cost.Begun, cost.CPU, cost.Idle, cost.Peak)
	testenv.Tabulate(b,
		testenv.Line("start to first plan, 100,000 files; limit", largeStacks, "s", cost.First, largeMostFirst, 1),
		testenv.Line("plan after one change, 100,000 files; limit", largeStacks, "ms", change, largeMostChange, 1),
		testenv.Line("memory, 100,000 files; limit", largeStacks, "MB", cost.RSS, largeMostRSS, 1))
}

// largeRemote has the stacks in folders of their own with equally many files; the
// branches s1, s2... continue main by one commit each, which changes one stack.
func largeRemote(b *testing.B) string {
	b.Helper()
	bare := gittest.Bare(b)
	gittest.FastImport(b, bare, func(w *strings.Builder) {
		commit := func(ref string, n int) {
			fmt.Fprintf(w, "commit refs/heads/%s\nmark :%d\ncommitter a <a@b> %d +0000\ndata 1\nx\n", ref, n, 1_600_000_000+n)
			if n > 1 {
				fmt.Fprintf(w, "from :%d\n", n-1)
			}
		}
		file := func(stack int, name, content string) {
			fmt.Fprintf(w, "M 644 inline stack%04d/%s\ndata %d\n%s\n", stack, name, len(content), content)
		}
		commit("main", 1)
		for i := range largeStacks {
			file(i, "compose.yaml", largeStack(i, 0))
			file(i, ".env", fmt.Sprintf("PORT=%d\n", 10_000+i))
			file(i, "nginx.conf", "events {}\n")
			for n := range largeFiles/largeStacks - 3 {
				file(i, fmt.Sprintf("html/page%02d.html", n), fmt.Sprintf("page %d of stack %d\n", n, i))
			}
		}
		for n := range largeChanges {
			commit("s"+strconv.Itoa(n+1), n+2)
			i := n * 331 % largeStacks
			file(i, "compose.yaml", largeStack(i, n+1))
		}
	})
	return bare
}

// largeStack is a stack as most are: one service with its .env, a file and a
// folder of the repository, and a volume.
func largeStack(i, change int) string {
	return fmt.Sprintf(`services:
  app:
    image: registry.example.org/app%d:${TAG:-1.27}
    restart: unless-stopped
    environment:
      CHANGE: "%d"
      PORT: ${PORT}
    ports: ["${PORT}:80"]
    volumes:
      - ./nginx.conf:/etc/nginx/nginx.conf:ro
      - ./html:/usr/share/nginx/html:ro
      - data:/data
    healthcheck:
      test: ["CMD", "wget", "-q", "-O-", "http://localhost/"]
      interval: 30s
    networks: [front]
networks:
  front:
volumes:
  data:
`, i%100, change)
}

// standing writes down what runs when all stacks of the clone do.
func standing(b *testing.B, clone, to string) {
	b.Helper()
	ctx := context.Background()
	r, err := repo.Open(ctx, repo.Options{Path: clone, Branch: "main"})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	h, err := r.Local(ctx)
	if err != nil {
		b.Fatal(err)
	}
	tree, err := r.Stage(ctx, h.Local)
	if err != nil {
		b.Fatal(err)
	}
	defer tree.Close()
	loaded, err := largeLoader(clone, r).Load(ctx, tree)
	if err != nil {
		b.Fatal(err)
	}
	host := &memoryEngine{Running: map[string]plan.Running{}}
	for _, p := range loaded.Projects {
		if p.Invalid != "" {
			b.Fatalf("%s: %s", p.File, p.Invalid)
		}
		_ = host.Up(ctx, p, plan.Op{}, nil)
	}
	text, err := json.Marshal(host.Running)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		b.Fatal(err)
	}
}

func largeLoader(clone string, r *repo.Repository) *render.Loader {
	return render.New(render.Options{Root: clone, HostRoot: clone, Repository: r.Identity(), Hasher: engine.Hasher{}})
}

// memoryEngine is an engine in which all runs as it was last brought up.
type memoryEngine struct {
	mu      sync.Mutex
	Running map[string]plan.Running
	seen    plan.Observed // until something changes
}

func (e *memoryEngine) Observe(context.Context) (plan.Observed, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.seen.Running) > 0 {
		return e.seen, nil
	}
	o := plan.Observed{Version: e.seen.Version + 1, Images: map[string]string{}, Networks: map[string]string{}, Volumes: map[string]bool{}}
	for _, r := range e.Running {
		o.Running = append(o.Running, r)
		for _, c := range r.Containers {
			o.Images[c.Reference] = c.Image
		}
		for _, n := range r.Networks {
			o.Networks[n.Name] = "id of " + n.Name
		}
		for _, v := range r.Volumes {
			o.Volumes[v.Name] = true
		}
	}
	slices.SortFunc(o.Running, func(a, b plan.Running) int { return strings.Compare(a.Project, b.Project) })
	e.seen = o
	return o, nil
}

func (e *memoryEngine) Up(_ context.Context, p render.Project, _ plan.Op, _ reconcile.Turn) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := plan.Running{Project: p.Name, File: p.File, Ours: true, Labelled: true, Networks: p.Networks, Volumes: p.Volumes}
	for _, s := range p.Services {
		c := plan.Container{
			ID: p.Name + "-" + s.Name, Name: p.Name + "-" + s.Name + "-1", Service: s.Name, Number: 1,
			State: "running", Health: "healthy", Hash: s.Hash, Digested: true, Image: "id of " + s.Image, Reference: s.Image,
			Networks: map[string]string{}, Mounts: s.Mounts, Ports: s.Ports, Created: time.Now(),
		}
		for _, n := range s.Networks {
			c.Networks[n] = "id of " + n
		}
		r.Containers = append(r.Containers, c)
	}
	e.Running[p.Name], e.seen.Running = r, nil
	return nil
}

func (e *memoryEngine) Pull(context.Context, render.Project) error { return nil }
func (e *memoryEngine) Settle(context.Context, render.Project) (plan.Running, error) {
	return plan.Running{}, nil
}

func (e *memoryEngine) RunHook(context.Context, render.Project, plan.HookKind, string) error {
	return nil
}

func (e *memoryEngine) Keep(context.Context, string, map[string]string) error { return nil }

func (e *memoryEngine) Stop(_ context.Context, _ render.Project, op plan.Op) error {
	return fmt.Errorf("nothing is to be stopped: %s", op.Stack)
}

func (e *memoryEngine) HasContent(context.Context, string, string) (bool, error) { return true, nil }

func (e *memoryEngine) VolumeEmpty(context.Context, string) (bool, error) { return false, nil }

// largeDaemon runs a daemon in a process of its own, and has it follow the
// branches.
func largeDaemon(b *testing.B, bare, clone, running string) (cost large) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LARGE_CLONE="+clone, "LARGE_RUNNING="+running)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer in.Close()
	answers := bufio.NewScanner(out)
	for n := range largeChanges {
		if !answers.Scan() {
			b.Fatal("the daemon has ended")
		}
		gittest.Git(b, bare, "update-ref", "refs/heads/main", "refs/heads/s"+strconv.Itoa(n+1))
		fmt.Fprintln(in, "pushed")
	}
	in.Close()
	for answers.Scan() {
		if err := json.Unmarshal(answers.Bytes(), &cost); err != nil {
			continue
		}
	}
	if cost.Problem != "" || len(cost.Changes) != largeChanges {
		b.Fatalf("the daemon says %+v", cost)
	}
	return cost
}

// TestMain lets the test binary be the daemon of BenchmarkLargeRepository.
func TestMain(m *testing.M) {
	if clone := os.Getenv("LARGE_CLONE"); clone != "" {
		cost, err := beLarge(clone, os.Getenv("LARGE_RUNNING"))
		if err != nil {
			cost.Problem = err.Error()
		}
		_ = json.NewEncoder(os.Stdout).Encode(cost)
		return
	}
	os.Exit(m.Run())
}

// heard is a Reporter and the part of a Source that tell what happens.
type heard struct {
	source
	looked chan report.Look
	ended  chan report.Check
	plans  chan time.Time // a commit is described as soon as there is a plan for it
	begun  chan time.Time // the first operation after a change is the checkout
}

func (h heard) describe(commit string) (report.Commit, error) {
	select {
	case h.plans <- time.Now():
	default: // the second commit of a plan
	}
	return describe(h.repo)(commit)
}

func (h heard) Looked(l report.Look) { h.looked <- l }
func (h heard) Updated(report.Stack) {}
func (h heard) Ended(c report.Check) { h.ended <- c }
func (h heard) Checkout(ctx context.Context, commit string) error {
	h.begun <- time.Now()
	return h.source.Checkout(ctx, commit)
}

// beLarge is that daemon: it makes its first plan, and then one for each line that
// it reads.
func beLarge(clone, running string) (cost large, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	text, err := os.ReadFile(running)
	if err != nil {
		return cost, err
	}
	host := &memoryEngine{}
	if err := json.Unmarshal(text, &host.Running); err != nil {
		return cost, err
	}

	began := time.Now()
	r, err := repo.Open(ctx, repo.Options{Path: clone, Branch: "main"})
	if err != nil {
		return cost, err
	}
	defer r.Close()
	counters := metrics.New(prometheus.NewRegistry(), metrics.Options{})
	h := heard{
		source: source{repo: r, fetched: counters.Fetched},
		looked: make(chan report.Look, 8), ended: make(chan report.Check, 8), plans: make(chan time.Time, 1), begun: make(chan time.Time, 1),
	}
	reconciler := reconcile.New(reconcile.Options{
		Source: h, Loader: largeLoader(clone, r), Engine: host, Volumes: host,
		Reporter: report.Fan{counters, report.NewHistory(func(context.Context) error { return nil }), h},
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Clone:    clone, Journal: journal(r, clone), Describe: h.describe, Heal: true, Parallel: 4, DeployTimeout: time.Minute,
	})
	growLess()
	forgetStart()
	go func() { _ = reconciler.Run(ctx) }()
	if look := <-h.looked; look.Error != "" {
		return cost, fmt.Errorf("the first check failed: %s", look.Error)
	}
	cost.First = (<-h.plans).Sub(began).Seconds()
	if first := <-h.ended; len(first.Operations) > 0 {
		return cost, fmt.Errorf("the first check had operations: %+v", first.Operations)
	}
	fmt.Println("ready")
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		began, used := time.Now(), usedCPU()
		reconciler.Trigger("webhook")
		cost.Changes = append(cost.Changes, ms((<-h.plans).Sub(began)))
		cost.Begun = append(cost.Begun, ms((<-h.begun).Sub(began)))
		cost.CPU = append(cost.CPU, ms(usedCPU()-used))
		if look, check := <-h.looked, <-h.ended; look.Error != "" || len(check.Operations) != 2 {
			return cost, fmt.Errorf("the check of a change came to %+v", check)
		}
		began = time.Now()
		reconciler.Trigger("webhook")
		if look, check := <-h.looked, <-h.ended; look.Error != "" || len(check.Operations) > 0 {
			return cost, fmt.Errorf("the check after a change came to %+v", check)
		}
		cost.Idle = append(cost.Idle, ms(time.Since(began)))
		select {
		case <-h.plans:
		default: // there is no new one where nothing has changed
		}
		fmt.Println("ready")
	}
	cost.RSS, err = memoryOf("VmRSS")
	if err == nil {
		cost.Peak, err = memoryOf("VmHWM")
	}
	return cost, err
}

// usedCPU is what the process has used so far.
func usedCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memoryOf is a line of /proc/self/status, in MB.
func memoryOf(what string) (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), what+":")
	kB, err := strconv.ParseFloat(strings.Fields(rest + " -")[0], 64)
	return kB / 1024, err
}
