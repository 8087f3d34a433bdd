package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

// gate lets requests through, but for those that it is told to hold.
type gate struct {
	git   http.Handler
	holds string        // in the body of a request
	came  chan struct{} // one that is held has come
	open  chan struct{} // closed to let it through
}

func (g *gate) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	if g.holds != "" && bytes.Contains(body, []byte(g.holds)) {
		g.came <- struct{}{}
		<-g.open
	}
	g.git.ServeHTTP(w, req)
}

// fetched is what a Fetch returned.
type fetched struct {
	heads Heads
	err   error
}

func fetchAside(ctx context.Context, r *Repository) <-chan fetched {
	c := make(chan fetched, 1)
	go func() {
		h, err := r.Fetch(ctx)
		c <- fetched{h, err}
	}()
	return c
}

func TestWhileAFetchWaitsAllElseGoesOn(t *testing.T) {
	for name, holds := range map[string]string{
		"for the list of refs": "command=ls-refs", "for the pack": "command=fetch", "for another daemon that fetches": "", "for another daemon's checkout": "",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := &gate{git: gittest.Handler(t, w.bare, "", ""), came: make(chan struct{}), open: make(chan struct{})}
			s := httptest.NewServer(g)
			t.Cleanup(s.Close)
			w.over(s.URL + "/repo.git")
			r := w.open()
			first := mustFetch(t, r).Local
			w.write("README", "2")
			second := w.push("second")
			mustFetch(t, r)
			w.write("README", "3")
			third := w.push("third")

			let := func() { close(g.open) }
			g.holds = holds
			var waiting <-chan struct{} = g.came
			if holds == "" {
				other := w.open()
				file, taken := fetchFlock, make(chan struct{})
				if name == "for another daemon's checkout" {
					file = cloneFlock
				}
				release, err := other.flock(t.Context(), file)
				if err != nil {
					t.Fatal(err)
				}
				let = release
				close(taken)
				waiting = taken
			}
			ended := fetchAside(t.Context(), r)
			<-waiting

			if h, err := r.Local(t.Context()); err != nil || h.Local != first || h.Remote != first {
				t.Errorf("the clone is at %+v, %v", h, err)
			}
			tree, err := r.Stage(t.Context(), second)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(tree.Find("compose.yaml"), " "); got != "app/compose.yaml" {
				t.Errorf("found %s", got)
			}
			if got, want := tree.ID("README"), gittest.Git(t, w.work, "rev-parse", second+":README"); got != want {
				t.Errorf("id %s, want %s", got, want)
			}
			if c, err := r.Describe(second); err != nil || c.Subject != "second" {
				t.Errorf("got %+v, %v", c, err)
			}
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
			now := first
			if name != "for another daemon's checkout" {
				mustCheckout(t, r, second)
				w.agrees(second)
				now = second
			}
			select {
			case f := <-ended:
				t.Fatalf("the fetch has ended: %+v", f)
			default:
			}

			let()
			f := <-ended
			if f.err != nil || f.heads.Local != now || f.heads.Remote != third || f.heads.Rewritten {
				t.Errorf("fetched %+v, %v; want %s and %s", f.heads, f.err, now, third)
			}
		})
	}
}

func TestAFetchThatWaitsForAnotherEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	g := &gate{git: gittest.Handler(t, w.bare, "", ""), holds: "ls-refs", came: make(chan struct{}), open: make(chan struct{})}
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	w.over(s.URL + "/repo.git")
	r := w.open()
	ended := fetchAside(t.Context(), r)
	<-g.came
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Fetch(ctx); !errors.Is(err, context.Canceled) || IsBlocked(err) {
		t.Errorf("got %v", err)
	}
	close(g.open)
	if f := <-ended; f.err != nil {
		t.Error(f.err)
	}
}

func TestLocalNeedsAClone(t *testing.T) {
	w := newWorld(t)
	r, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "fresh"), URL: w.bare, Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := r.Local(t.Context()); err == nil || !strings.Contains(err.Error(), "not been cloned yet") {
		t.Errorf("got %+v, %v", h, err)
	}
	commit := mustFetch(t, r).Remote
	if h, err := r.Local(t.Context()); err != nil || h.Local != commit || h.Remote != commit {
		t.Errorf("got %+v, %v", h, err)
	}
	r = w.open()
	w.git("checkout", "-q", "--detach")
	_, err = r.Local(t.Context())
	wantBlocked(t, err, "no branch")
}

// TestReadersDontMindPacksThatComeAndGo lets packs arrive, and be joined, while
// trees are staged and read and the clone is moved. A blob that is not small is
// streamed from a pack that goes meanwhile.
func TestReadersDontMindPacksThatComeAndGo(t *testing.T) {
	const fetches = manyPacks + 4
	w := newWorld(t)
	gittest.FastImport(t, w.bare, func(b *strings.Builder) {
		for i := range fetches {
			fmt.Fprintf(b, "commit refs/heads/all\nmark :%d\ncommitter a <a@b> %d +0000\ndata 1\nx", i+1, 1_700_000_000+i)
			if i == 0 {
				b.WriteString("\nfrom refs/heads/main^0")
			}
			big := strings.Repeat(string(rune('a'+i%26)), largeObject+i+1)
			fmt.Fprintf(b, "\nM 644 inline big/file\ndata %d\n%s\n", len(big), big)
			fmt.Fprintf(b, "M 644 inline stack%d/compose.yaml\ndata 1\nx\n", i)
			fmt.Fprintf(b, "reset refs/heads/s%d\nfrom :%d\n\n", i, i+1)
		}
	})
	r := w.open()
	first := mustFetch(t, r).Remote
	ids := map[string]string{first: ""} // of big/file
	var commits []string
	for i := range fetches {
		commit := gittest.Git(t, w.bare, "rev-parse", fmt.Sprintf("s%d", i))
		ids[commit] = gittest.Git(t, w.bare, "rev-parse", commit+":big/file")
		commits = append(commits, commit)
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	known := []string{first}
	last := func(n int) string { // the last commit but n that was fetched
		mu.Lock()
		defer mu.Unlock()
		return known[max(0, len(known)-1-n)]
	}
	var all sync.WaitGroup
	loop := func(what string, do func() error) {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := do(); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	stage := func(n int) func() error {
		return func() error {
			commit := last(n)
			tree, err := r.Stage(t.Context(), commit)
			if err != nil {
				return err
			}
			if got := tree.ID("big/file"); got != ids[commit] {
				return fmt.Errorf("the id at %s is %q, want %q", commit, got, ids[commit])
			}
			if found := tree.Find("compose.yaml"); found[0] != "app/compose.yaml" {
				return fmt.Errorf("found %q", found)
			}
			return tree.Close()
		}
	}
	loop("stage the last commit", stage(0))
	loop("stage one before", stage(3))
	loop("move the clone", func() error { return r.Checkout(t.Context(), last(1)) })
	loop("look at the clone", func() error {
		h, err := r.Local(t.Context())
		if err == nil && h.Local != h.Remote {
			err = fmt.Errorf("heads differ: %+v", h)
		}
		return err
	})
	for i := range fetches {
		gittest.Git(t, w.bare, "update-ref", "refs/heads/main", fmt.Sprintf("refs/heads/s%d", i))
		h, err := r.Fetch(t.Context())
		if err != nil || h.Remote != commits[i] {
			t.Errorf("fetch %d: %+v, %v", i, h, err)
			break
		}
		mu.Lock()
		known = append(known, h.Remote)
		mu.Unlock()
	}
	stop()
	all.Wait()
	mustCheckout(t, r, last(0))
	w.agrees(last(0))
	if packs, _ := filepath.Glob(filepath.Join(w.clone, ".git/objects/pack/*.pack")); len(packs) > manyPacks {
		t.Errorf("%d packs: none were joined", len(packs))
	}
}

func TestWhatIsReadFromAPackCanBeReadToItsEnd(t *testing.T) {
	w := newWorld(t)
	big := make([]byte, 3*largeObject)
	rand.NewChaCha8([32]byte{}).Read(big) // nothing of it fits into a buffer
	w.write("big", string(big))
	w.push("big")
	r := w.open()
	mustFetch(t, r)
	w.git("repack", "-q", "-a", "-d", "-f")
	obj, err := r.objects.read(plumbing.BlobObject, plumbing.NewHash(gittest.Git(t, w.work, "rev-parse", "HEAD:big")))
	if err != nil {
		t.Fatal(err)
	}
	r.objects.reset()
	stream, err := obj.reader()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, stream, 10); err != nil {
		t.Fatal(err)
	}
	lent := stream.(*lent)
	r.objects.reset()
	if n, err := io.Copy(io.Discard, stream); err != nil || n != 3*largeObject-10 {
		t.Errorf("%d bytes, %v", n, err)
	}
	for range 2 {
		if err := stream.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := lent.p.pack.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the pack is still open: %v", err)
	}
}

func TestNobodyOpensPacksWhileSomeAreTakenAway(t *testing.T) {
	w := newWorld(t)
	var r *Repository
	removed := 0
	r, err := openWith(t.Context(), w.options(), disk{hook: func(op, path string) error {
		if op == "remove" && strings.Contains(path, "/objects/pack/") {
			removed++
			if r.objects.mu.TryLock() {
				r.objects.mu.Unlock()
				t.Errorf("%s goes, and others may look for it", path)
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	const fetches = manyPacks + 2
	gittest.FastImport(t, w.bare, func(b *strings.Builder) {
		for i := range fetches {
			fmt.Fprintf(b, "commit refs/heads/s%d\nmark :%d\ncommitter a <a@b> %d +0000\ndata 1\nx\n", i, i+1, 1_700_000_000+i)
			if i == 0 {
				b.WriteString("from refs/heads/main^0\n")
			} else {
				fmt.Fprintf(b, "from :%d\n", i)
			}
			fmt.Fprintf(b, "M 644 inline README\ndata 2\n%02d\n", i)
		}
	})
	for i := range fetches {
		gittest.Git(t, w.bare, "update-ref", "refs/heads/main", fmt.Sprintf("refs/heads/s%d", i))
		mustFetch(t, r)
	}
	if removed == 0 {
		t.Error("the test does not test: no packs were joined")
	}
}
