package repo

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

// crowd is a clone with more tracked files than one goroutine takes at a time, in
// folders of folders, of which some have names that begin like others.
func crowd(t *testing.T) (*world, *Repository, []string) {
	t.Helper()
	w := &world{t: t, bare: gittest.Bare(t), clone: filepath.Join(t.TempDir(), "clone")}
	var names []string
	gittest.FastImport(t, w.bare, func(b *strings.Builder) {
		fmt.Fprint(b, "commit refs/heads/main\ncommitter a <a@b> 1600000000 +0000\ndata 1\nx\n")
		for i := range 3*lookedAtOnce + 7 {
			dir := []string{"", "a/", "a/b/", "a/b/c/d/", "a/b.d/", "a/bb/", "ab/", "z/y/x/"}[i/3%8]
			names = append(names, fmt.Sprintf("%sf%04d", dir, i))
			fmt.Fprintf(b, "M 644 inline %s\ndata 2\nx\n\n", names[i])
		}
	})
	gittest.Git(t, "", "clone", "-q", w.bare, w.clone)
	slices.Sort(names)
	return w, w.open(), names
}

func (w *world) edited(r *Repository) []string {
	w.t.Helper()
	h, err := r.Local(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return h.Edited
}

func TestWhateverIsChangedAmongManyFilesIsFound(t *testing.T) {
	w, r, names := crowd(t)
	if got := w.edited(r); got != nil {
		t.Fatalf("a new clone has changes: %s", got)
	}
	n := lookedAtOnce
	var want []string
	for k, i := range []int{0, 1, n - 1, n, n + 1, 2*n - 1, 2 * n, len(names) - 1} {
		full := filepath.Join(w.clone, names[i])
		switch k % 4 {
		case 0:
			gittest.Write(t, w.clone, names[i], "another\n")
		case 1:
			os.Remove(full)
		case 2:
			os.Chmod(full, 0o755)
		default:
			os.Remove(full)
			os.Symlink(names[0], full)
		}
		want = append(want, names[i])
	}
	if got := w.edited(r); !slices.Equal(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatLiesBehindALinkAmongManyFilesIsNotThere(t *testing.T) {
	w, r, names := crowd(t)
	os.Rename(filepath.Join(w.clone, "a/b"), filepath.Join(w.clone, "elsewhere"))
	os.Symlink("../elsewhere", filepath.Join(w.clone, "a/b"))
	os.RemoveAll(filepath.Join(w.clone, "z"))
	gittest.Write(t, w.clone, "z", "a file\n")
	os.RemoveAll(filepath.Join(w.clone, "ab"))
	want := slices.DeleteFunc(names, func(p string) bool {
		return !strings.HasPrefix(p, "a/b/") && !strings.HasPrefix(p, "z/") && !strings.HasPrefix(p, "ab/")
	})
	want = want[:MaxEdited]
	if got := w.edited(r); !slices.Equal(got, want) {
		t.Errorf("%d are changed, want %d", len(got), len(want))
	}
}

// Where a folder can't be opened for that reason, the files in it are not taken for
// deleted ones. The limit is the process's; no other test runs meanwhile.
func TestTooManyOpenFilesAreNoChange(t *testing.T) {
	_, r, _ := crowd(t)
	x, err := r.readIndex()
	if err != nil {
		t.Fatal(err)
	}
	root, err := unix.Open(r.work.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	found, err := r.work.suspects(root, x, x.entries)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, unix.EMFILE) || found != nil {
		t.Errorf("%d suspects, error %v", len(found), err)
	}
}

// What was seen while the remote was waited for counts for a moment only, and
// beside the index that it was seen by.
func TestAnEarlierSightingCountsForAMoment(t *testing.T) {
	w := newWorld(t)
	w.t = t
	r := w.open()
	x, err := r.readIndex()
	if err != nil {
		t.Fatal(err)
	}
	x.mtimeSec++ // as if the files had been there for a while
	seen, err := r.work.sight(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	gittest.Write(t, w.clone, "README", "mine\n")
	old, other := *seen, *seen
	old.began = old.began.Add(-sightingLasts)
	other.index = &index{entries: x.entries}
	for name, c := range map[string]struct {
		seen *sighting
		want int
	}{
		"a moment ago": {seen, 0}, "a while ago": {&old, 1}, "by another index": {&other, 1}, "never": {nil, 1},
	} {
		if got, err := r.changedFiles(t.Context(), x, nil, c.seen); err != nil || len(got) != c.want {
			t.Errorf("seen %s: %v, error %v", name, got, err)
		}
	}
}

func TestWhatWasPutRightSinceItWasSeenIsNoChange(t *testing.T) {
	w := newWorld(t)
	w.t = t
	r := w.open()
	x, err := r.readIndex()
	if err != nil {
		t.Fatal(err)
	}
	gittest.Write(t, w.clone, "README", "mine, and longer\n")
	os.Remove(filepath.Join(w.clone, "app/compose.yaml"))
	seen, err := r.work.sight(t.Context(), x)
	if err != nil || len(seen.suspects) != 2 {
		t.Fatalf("suspects are %v, error %v", seen.suspects, err)
	}
	gittest.Write(t, w.clone, "README", "hello\n")
	if got, err := r.changedFiles(t.Context(), x, nil, seen); err != nil || !slices.Equal(got, []finding{{path: "app/compose.yaml", why: "deleted"}}) {
		t.Errorf("got %v, error %v", got, err)
	}
	gittest.Write(t, w.clone, "app/compose.yaml", "services: {}\n")
	if got, err := r.changedFiles(t.Context(), x, nil, seen); err != nil || got != nil {
		t.Errorf("got %v, error %v", got, err)
	}
}

// While the remote is waited for, files are looked at; what is changed then, and
// as long as that takes, is seen all the same.
func TestWhatChangesWhileTheRemoteIsWaitedForIsSeen(t *testing.T) {
	w := newWorld(t)
	w.t = t
	g := &gate{git: gittest.Handler(t, w.bare, "", ""), holds: "command=ls-refs", came: make(chan struct{}), open: make(chan struct{})}
	s := httptest.NewServer(g)
	defer s.Close()
	w.over(s.URL + "/repo.git")
	r := w.open()
	done := fetchAside(t.Context(), r)
	<-g.came
	gittest.Write(t, w.clone, "README", "mine\n")
	<-time.After(sightingLasts)
	close(g.open)
	if f := <-done; !IsBlocked(f.err) || !slices.Equal(f.heads.Edited, []string{"README"}) {
		t.Errorf("got %+v, error %v", f.heads, f.err)
	}
}
