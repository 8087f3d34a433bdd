//go:build engine

package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

const (
	firstSyncStacks   = 100
	firstSyncParallel = 4 // the default of MAX_PARALLEL_STACKS
	curveStacks       = 40

	firstSyncMostRatio = 1.1    // of the raw engine
	firstSyncMostCPU   = 1000.0 // ms
	firstSyncMostRSS   = 110.0  // MB
)

// BenchmarkFirstSync measures the time from the start of the daemon, which has
// no clone yet, until the container of the last of 100 stacks was started; beside
// the raw engine, told to create 100 networks and containers and to start them,
// as many at a time.
//
// With BENCH_CURVE set, it does so with 40 stacks, and with 1, 2, 4, 8 and 16 at a
// time: what the default of MAX_PARALLEL_STACKS is chosen from.
func BenchmarkFirstSync(b *testing.B) {
	e := newBenchEngine(b)
	binary := benchBinary(b)
	parallel, stacks, curve := []int{firstSyncParallel}, firstSyncStacks, os.Getenv("BENCH_CURVE") != ""
	if curve {
		parallel, stacks = []int{1, 2, 4, 8, 16}, curveStacks
	}
	h := newBenchHost(b, e, stacks)
	h.socket = e.DaemonHost() // as the raw engine is spoken to
	var rows []testenv.Row
	for b.Loop() {
		rows = nil
		for _, p := range parallel {
			h.parallel = p
			raw := e.rawSync(b, stacks, p)
			e.clear(b)
			d := h.start(b, binary, stacks)
			cpu, peak := d.cpu(b), d.memory(b, "VmHWM")
			d.settled(b)
			d.stop(b)
			e.clear(b)
			rows = append(rows, testenv.Line(fmt.Sprintf("first sync, %d at a time; raw engine", p), stacks, "s", d.synced.Seconds(), raw.Seconds(), firstSyncMostRatio))
			if !curve {
				rows = append(rows,
					testenv.Line("CPU of the first sync; limit", firstSyncStacks, "ms", cpu, firstSyncMostCPU, 1),
					testenv.Line("peak of memory in the first sync; limit", firstSyncStacks, "MB", peak, firstSyncMostRSS, 1))
			}
		}
	}
	testenv.Tabulate(b, rows...)
}
