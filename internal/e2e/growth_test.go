//go:build engine

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// What may not grow with the number of stacks, see BenchmarkGrowth.
const (
	growthChecks  = 100
	growthChanges = 7

	// Until then a new container has proved to stay up, and that has been looked at.
	growthLasts = 3 * time.Second

	growthMostCheckCPU  = 10.0 // ms
	growthMostCalls     = 2.0
	growthMostChange    = 1.15 // of git fetch and the raw engine
	growthMostGap       = 1.1  // of the raw engine
	growthMostChangeCPU = 60.0 // ms
	growthMostReady     = 1.0  // s, with as many stacks as growthReadyUpTo
	growthReadyUpTo     = 100

	// After as many checks, at as many stacks, memory may have grown by a tenth.
	growthMany     = 10_000
	growthManyAt   = 100
	growthMostLeak = 1.1
)

// growthMostRSS is how much memory a daemon may take, in MB, by its stacks.
func growthMostRSS(stacks int) float64 {
	if stacks <= 100 {
		return 55
	}
	return 80
}

// growth is what one number of stacks costs.
type growth struct {
	stacks                    int
	checkCPU, calls, requests float64       // a check with nothing to do; ms
	change, gap               time.Duration // one push that changes one stack
	changeCPU                 float64       // ms
	fetch, raw, rawGap        time.Duration // the same by hand
	rss, ready                float64       // MB; s from a start to being ready
	before, later             float64       // MB, before and after many checks; 0 if not measured
}

// BenchmarkGrowth measures what a check costs that finds nothing to do, a commit
// that changes one stack, and a start, with more and more stacks on the host;
// beside git and the raw engine, which do the same by hand. The stacks have no
// networks: how many of those an engine can have is another matter. Where
// BENCH_SVG names a file, the costs are drawn into it.
func BenchmarkGrowth(b *testing.B) {
	e := newBenchEngine(b)
	binary := benchBinary(b)
	var all []growth
	for b.Loop() {
		all = nil
		h := newGrowingHost(b, e)
		d := h.start(b, binary, 1)
		for _, n := range []int{1, 10, 100, 500} {
			h.grow(b, n)
			d.checks(b, 1)
			d.settled(b)
			g := growth{stacks: n}
			h.measureChecks(b, d, &g)
			h.measureChanges(b, d, &g)
			g.rss = d.rss(b)
			if n == growthManyAt {
				g.before = g.rss
				d.checks(b, growthMany)
				g.later = d.rss(b)
			}
			d = h.measureStart(b, d, binary, &g)
			all = append(all, g)
			b.Logf("%+v", g)
		}
		d.stop(b)
		e.clear(b)
	}
	var rows []testenv.Row
	for _, g := range all {
		rows = append(rows, g.rows()...)
	}
	testenv.Tabulate(b, rows...)
	if path := os.Getenv("BENCH_SVG"); path != "" {
		if err := os.WriteFile(path, growthDrawing(all), 0o644); err != nil {
			b.Error(err)
		}
	}
}

func (g growth) rows() []testenv.Row {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	rows := []testenv.Row{
		testenv.Line("CPU of a check; limit", g.stacks, "ms", g.checkCPU, growthMostCheckCPU, 1),
		testenv.Line("engine calls of a check; limit", g.stacks, "", g.calls, growthMostCalls, 1.01), // a look that came in between is not whole
		testenv.Line("requests to the remote; limit", g.stacks, "", g.requests, 1, 1.01),
		testenv.Line("push to new container; git fetch + raw engine", g.stacks, "ms", ms(g.change), ms(g.fetch+g.raw), growthMostChange),
		testenv.Line("without a container; raw engine", g.stacks, "ms", ms(g.gap), ms(g.rawGap), growthMostGap),
		testenv.Line("CPU of a change; limit", g.stacks, "ms", g.changeCPU, growthMostChangeCPU, 1),
		testenv.Line("memory; limit", g.stacks, "MB", g.rss, growthMostRSS(g.stacks), 1),
	}
	if g.stacks <= growthReadyUpTo {
		rows = append(rows, testenv.Line("start to ready; limit", g.stacks, "s", g.ready, growthMostReady, 1))
	}
	if g.later > 0 {
		rows = append(rows, testenv.Line(fmt.Sprintf("memory after %d checks; before", growthMany), g.stacks, "MB", g.later, g.before, growthMostLeak))
	}
	return rows
}

// growingHost is a host whose repository gets more and more stacks.
type growingHost struct {
	*benchHost
	work, clone string
	stacks      int
	changes     int
	raw         string // the raw container
	hand        client.APIClient
}

// byHand makes a client that speaks to the engine as the daemon does.
func (h *growingHost) byHand(b *testing.B) {
	b.Helper()
	api, err := client.NewClientWithOpts(client.WithHost(h.socket), client.WithAPIVersionNegotiation())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { api.Close() })
	h.hand = api
}

func newGrowingHost(b *testing.B, e benchEngine) *growingHost {
	b.Helper()
	h := &growingHost{}
	h.benchHost, h.work = newBenchHostAt(b, e)
	h.byHand(b)
	h.write(b, 0, 0)
	gittest.Push(b, h.work, "The first stack")
	h.stacks = 1
	h.clone = filepath.Join(b.TempDir(), "by-hand")
	gittest.Git(b, b.TempDir(), "clone", "-q", h.url, h.clone)
	h.replace(b)
	return h
}

func (h *growingHost) write(b *testing.B, i, change int) {
	b.Helper()
	gittest.Write(b, h.work, fmt.Sprintf("gitops-compose-bench-%d/compose.yaml", i), fmt.Sprintf(`services:
  app:
    image: %s
    command: [/bin/busybox, sleep, "2147483647"]
    stop_grace_period: 0s
    network_mode: none
    environment: {CHANGE: "%d"}
    labels: {%s: daemon}
`, benchImage, change, benchLabel))
}

// grow pushes a commit with as many stacks.
func (h *growingHost) grow(b *testing.B, stacks int) {
	b.Helper()
	if stacks == h.stacks {
		return
	}
	for i := h.stacks; i < stacks; i++ {
		h.write(b, i, 0)
	}
	h.stacks = stacks
	gittest.Push(b, h.work, fmt.Sprintf("%d stacks", stacks))
	h.fetch(b)
}

func (h *growingHost) measureChecks(b *testing.B, d *benchDaemon, g *growth) {
	b.Helper()
	d.checks(b, 3) // what the last change left to be looked at
	before := d.cost(b)
	d.triggers(b, growthChecks)
	cost := d.cost(b).since(before)
	g.checkCPU, g.calls, g.requests = cost.cpu, cost.calls, cost.requests
}

// triggers asks for checks and does not wait for what they say: an answer that
// lists all stacks has a cost of its own. Some may become one.
func (d *benchDaemon) triggers(b *testing.B, n int) {
	b.Helper()
	for range n {
		d.push(b, "/webhook", http.StatusAccepted)
		time.Sleep(50 * time.Millisecond)
	}
	d.checks(b, 1)
}

// measureChanges has one stack changed several times; the medians count, and of
// the daemon's CPU, which is told in hundredths of a second, the mean, until the
// change is done with: nobody asks meanwhile how far it is, as an answer that lists
// all stacks has a cost of its own. The rounds take turns with the same by hand.
func (h *growingHost) measureChanges(b *testing.B, d *benchDaemon, g *growth) {
	b.Helper()
	var change, gap, fetch, raw, rawGap []time.Duration
	cpu := 0.0
	for range growthChanges {
		h.changes++
		h.write(b, h.stacks/2, h.changes)
		gittest.Push(b, h.work, fmt.Sprintf("Change %d", h.changes))
		before := d.cpu(b)
		took, away := h.watched(b, "daemon", func() { d.push(b, "/webhook", http.StatusAccepted) })
		time.Sleep(growthLasts)
		cpu += d.cpu(b) - before
		d.settled(b)
		change, gap = append(change, took), append(gap, away)

		fetch = append(fetch, h.fetch(b))
		took, away = h.watched(b, "raw", func() { h.replace(b) })
		raw, rawGap = append(raw, took), append(rawGap, away)
	}
	g.change, g.gap, g.changeCPU = middle(change), middle(gap), cpu/growthChanges
	g.fetch, g.raw, g.rawGap = middle(fetch), middle(raw), middle(rawGap)
}

func middle[T int | float64 | time.Duration](of []T) T {
	slices.Sort(of)
	return of[len(of)/2]
}

// watched does something that replaces one container, and tells how long it took
// until the new one ran, and for how long none did.
func (h *growingHost) watched(b *testing.B, label string, do func()) (took, away time.Duration) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	messages, errs := h.engine.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", "container"), filters.Arg("event", "start"), filters.Arg("event", "die"), filters.Arg("label", benchLabel+"="+label))})
	began := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	defer func() { <-done }()
	var died time.Time
	for {
		select {
		case m := <-messages:
			at := time.Unix(0, m.TimeNano)
			if m.Action == events.ActionDie {
				died = at
				continue
			}
			if !died.IsZero() {
				away = at.Sub(died)
			}
			return at.Sub(began), away
		case err := <-errs:
			b.Fatalf("wait for a container to be replaced: %v", err)
		}
	}
}

// fetch is git's own fetch of what was pushed.
func (h *growingHost) fetch(b *testing.B) time.Duration {
	b.Helper()
	began := time.Now()
	gittest.Git(b, h.clone, "fetch", "-q", "origin")
	return time.Since(began)
}

// replace replaces the raw container as an update does.
func (h *growingHost) replace(b *testing.B) {
	b.Helper()
	ctx := context.Background()
	const name = "gitops-compose-bench-raw"
	grace := 0
	labels := map[string]string{benchLabel: "raw"}
	create := func(name string) string {
		c, err := h.hand.ContainerCreate(ctx,
			&container.Config{Image: benchImage, Cmd: []string{"/bin/busybox", "sleep", "2147483647"}, Labels: labels, StopTimeout: &grace, Env: []string{fmt.Sprintf("CHANGE=%d", h.changes)}},
			&container.HostConfig{NetworkMode: "none"}, nil, nil, name)
		if err != nil {
			b.Fatal(err)
		}
		return c.ID
	}
	if h.raw == "" {
		h.raw = create(name)
		if err := h.hand.ContainerStart(ctx, h.raw, container.StartOptions{}); err != nil {
			b.Fatal(err)
		}
		return
	}
	for _, err := range []error{
		h.hand.ContainerStop(ctx, h.raw, container.StopOptions{}),
		h.hand.ContainerRemove(ctx, h.raw, container.RemoveOptions{}),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
	h.raw = create(name)
	if err := h.hand.ContainerStart(ctx, h.raw, container.StartOptions{}); err != nil {
		b.Fatal(err)
	}
}

// measureStart starts the daemon anew and tells how long it takes to be ready.
func (h *growingHost) measureStart(b *testing.B, d *benchDaemon, binary string, g *growth) *benchDaemon {
	b.Helper()
	d.stop(b)
	began := time.Now()
	d = h.restart(b, d, binary)
	for {
		response, err := http.Get(d.url + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(began) > time.Minute {
			b.Fatalf("not ready\n%s", d.said)
		}
		time.Sleep(5 * time.Millisecond)
	}
	g.ready = time.Since(began).Seconds()
	d.settled(b)
	return d
}

// growthDrawing draws what grows: CPU of a check and of a change, and memory.
func growthDrawing(all []growth) []byte {
	const width, height, left, top = 260, 150, 40, 40
	var s strings.Builder
	label := func(x, y float64, text string) {
		fmt.Fprintf(&s, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x, y, text)
	}
	panel := func(at int, title, unit string, most float64, of func(growth) float64) {
		for _, g := range all {
			most = max(most, of(g))
		}
		x := func(i int) float64 { return float64(at+left) + float64(i)*float64(width-left-20)/float64(len(all)-1) }
		y := func(v float64) float64 { return top + height - v/most*height }
		fmt.Fprintf(&s, `<text x="%d" y="20" font-weight="bold">%s</text>`+"\n", at+left, title)
		fmt.Fprintf(&s, `<path d="M%d %dV%dH%d" fill="none" stroke="#888"/>`+"\n", at+left, top, top+height, at+width-10)
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%.0f %s</text><text x="%d" y="%d" text-anchor="end">0</text>`+"\n", at+left-4, top+8, most, unit, at+left-4, top+height)
		var points []string
		for i, g := range all {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(i), y(of(g))))
			label(x(i), y(of(g))-8, fmt.Sprintf("%.1f", of(g)))
			label(x(i), top+height+16, strconv.Itoa(g.stacks))
			fmt.Fprintf(&s, `<circle cx="%.1f" cy="%.1f" r="3" fill="#06c"/>`+"\n", x(i), y(of(g)))
		}
		fmt.Fprintf(&s, `<polyline points="%s" fill="none" stroke="#06c" stroke-width="2"/>`+"\n", strings.Join(points, " "))
		label(float64(at)+(left+width)/2, top+height+34, "stacks")
	}
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", 3*width, top+height+46)
	s.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	panel(0, "CPU of a check", "ms", growthMostCheckCPU, func(g growth) float64 { return g.checkCPU })
	panel(width, "CPU of a commit that changes one", "ms", growthMostChangeCPU, func(g growth) float64 { return g.changeCPU })
	panel(2*width, "Memory", "MB", growthMostRSS(500), func(g growth) float64 { return g.rss })
	s.WriteString("</svg>\n")
	return []byte(s.String())
}

// restart starts a daemon like another one that has ended, on its clone.
func (h *growingHost) restart(b *testing.B, old *benchDaemon, binary string) *benchDaemon {
	b.Helper()
	d := &benchDaemon{host: h.benchHost, said: old.said, url: old.url}
	d.cmd = exec.Command(binary)
	d.cmd.Env = old.cmd.Env
	d.cmd.Stderr = d.said
	if err := d.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.cmd.Process.Kill(); d.cmd.Wait() })
	return d
}
