//go:build engine

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/google/go-containerregistry/pkg/registry"
	"golang.org/x/sync/errgroup"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

const (
	pullStacks         = 40
	pullParallel       = 4
	benchImages        = 5
	benchImageSize     = 50e6
	benchMostPullRatio = 1.1 // of the daemon's pulls to the raw engine's
)

// BenchmarkFirstPull measures the pulls of a first sync: 40 stacks share 5
// images of 50 MB that the engine has never seen. Beside it the raw engine,
// told to pull 5 such images at the same time, with nothing else to do (alone),
// and with the same to do as the daemon has: once an image is here, its stacks
// are created and started, four at a time.
//
// The pull part goes from the beginning of the first pull to the end of the
// last. The time from the start of the daemon has the clone and the loading of
// 40 compose files in it as well. Stacks that are neighbours in the daemon's
// order share an image, or none do. The rounds take turns, and the best of each
// counts.
func BenchmarkFirstPull(b *testing.B) {
	e := newBenchEngine(b)
	binary := benchBinary(b)
	spread := func(i int) int { return i % benchImages }
	neighbours := func(i int) int { return i * benchImages / pullStacks }
	best := map[string]time.Duration{}
	note := func(what string, took time.Duration) {
		b.Logf("%-40s %7.2fs", what, took.Seconds())
		if old, ok := best[what]; !ok || took < old {
			best[what] = took
		}
	}
	for b.Loop() {
		for range 2 {
			note("raw, alone", e.rawPull(b, nil))
			note("raw", e.rawPull(b, spread))
			start, part := e.daemonPull(b, binary, spread)
			note("pull part", part)
			note("from start", start)
			_, part = e.daemonPull(b, binary, neighbours)
			note("pull part, neighbours", part)
		}
	}
	var rows []testenv.Row
	for _, r := range [][2]string{{"pull part", "raw"}, {"pull part, neighbours", "raw"}, {"from start", "raw"}, {"pull part", "raw, alone"}} {
		rows = append(rows, testenv.Line("first pull, "+r[0]+"; "+r[1], pullStacks, "s", best[r[0]].Seconds(), best[r[1]].Seconds(), benchMostPullRatio))
	}
	testenv.Tabulate(b, rows...)
}

// daemonPull has a new daemon sync stacks that each have one of the images. It
// gives the time from the daemon's start to the end of the last pull, and from
// the beginning of the first.
func (e benchEngine) daemonPull(b *testing.B, binary string, imageOf func(stack int) int) (start, part time.Duration) {
	b.Helper()
	refs := e.coldImages(b)
	h := newBenchHostOf(b, e, pullStacks, func(i int) string { return refs[imageOf(i)] })
	began := time.Now()
	d := h.start(b, binary, pullStacks)
	d.settled(b)
	first, last := d.pulls(b)
	if n := h.byPath()["POST /v"+e.ClientVersion()+"/images/create"]; n != benchImages {
		b.Errorf("%d pulls, want %d", n, benchImages)
	}
	d.stop(b)
	e.clear(b)
	e.removeImages(b, refs)
	return last.Sub(began), last.Sub(first)
}

// rawPull pulls all images at the same time, and starts the stacks that have
// them if there are any. It gives the time to the end of the last pull.
func (e benchEngine) rawPull(b *testing.B, imageOf func(stack int) int) time.Duration {
	b.Helper()
	refs := e.coldImages(b)
	began := time.Now()
	ends := make([]time.Time, benchImages)
	g, ctx := errgroup.WithContext(context.Background())
	slots := make(chan struct{}, pullParallel)
	for n, ref := range refs {
		g.Go(func() error {
			if err := e.pull(ctx, ref); err != nil {
				return err
			}
			ends[n] = time.Now()
			for i := range pullStacks {
				if imageOf == nil || imageOf(i) != n {
					continue
				}
				g.Go(func() error {
					slots <- struct{}{}
					defer func() { <-slots }()
					return e.rawStack(ctx, i, ref)
				})
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	e.clear(b)
	e.removeImages(b, refs)
	last := began
	for _, end := range ends {
		if end.After(last) {
			last = end
		}
	}
	return last.Sub(began)
}

func (e benchEngine) pull(ctx context.Context, ref string) error {
	said, err := e.ImagePull(ctx, ref, image.PullOptions{})
	if err != nil {
		return err
	}
	defer said.Close()
	all, err := io.ReadAll(said)
	if err == nil && bytes.Contains(all, []byte(`"error"`)) {
		err = fmt.Errorf("pull %s: %s", ref, all)
	}
	return err
}

// coldImages gives images in a new registry that nobody has pulled: their
// content is random.
func (e benchEngine) coldImages(b *testing.B) (refs []string) {
	b.Helper()
	i := &images{store: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	s := httptest.NewServer(i)
	b.Cleanup(s.Close)
	for n := range benchImages {
		name := fmt.Sprintf("bench-%d:1", n)
		if err := i.push(name, name, benchImageSize); err != nil {
			b.Fatal(err)
		}
		refs = append(refs, s.Listener.Addr().String()+"/"+name)
	}
	b.Cleanup(func() { // what a failure left
		for _, ref := range refs {
			_, _ = e.ImageRemove(context.Background(), ref, image.RemoveOptions{PruneChildren: true})
		}
	})
	syscall.Sync() // nobody pays for what was written before
	return refs
}

func (e benchEngine) removeImages(b *testing.B, refs []string) {
	b.Helper()
	for _, ref := range refs {
		if _, err := e.ImageRemove(context.Background(), ref, image.RemoveOptions{PruneChildren: true}); err != nil {
			b.Fatal(err)
		}
	}
}

// pulls says when the first of a daemon's pulls began and the last ended.
func (d *benchDaemon) pulls(b *testing.B) (first, last time.Time) {
	b.Helper()
	var s struct{ Checks []report.Check }
	if err := json.Unmarshal([]byte(d.get(b, "/api/v1/status")), &s); err != nil {
		b.Fatal(err)
	}
	n := 0
	for _, check := range s.Checks {
		for _, op := range check.Operations {
			if op.Kind != "pull" {
				continue
			}
			n++
			if op.Error != "" {
				b.Fatalf("pull of %s: %s", op.Stack, op.Error)
			}
			if first.IsZero() || op.Started.Before(first) {
				first = op.Started
			}
			if end := op.Started.Add(op.Took + op.Settled); end.After(last) {
				last = end
			}
		}
	}
	if n != pullStacks {
		b.Fatalf("%d pulls, want one for each of %d stacks", n, pullStacks)
	}
	return first, last
}
