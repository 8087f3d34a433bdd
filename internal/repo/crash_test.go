package repo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// TestMain lets the test binary be the daemon that is killed: see killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("REPO_CRASH_CLONE"); path != "" {
		at, _ := strconv.Atoi(os.Getenv("REPO_CRASH_AT"))
		crashing(path, os.Getenv("REPO_CRASH_URL"), at)
		return
	}
	os.Exit(m.Run())
}

// crashing is one check of a daemon that dies just before its step number at.
// When the step is a write, half of something has been written by then. The url
// "keep" stands for no url and a daemon that keeps local changes.
func crashing(path, url string, at int) {
	n := 0
	d := disk{hook: func(op, path string) error {
		if n++; n == at {
			if op == "write" || op == "sync" {
				_ = os.WriteFile(path, []byte("torn"), 0o600)
			}
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}}
	change := func(*Options) {}
	if url == "keep" {
		url, change = "", keep
	}
	if err := syncOnce(path, url, d, change); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// syncOnce is what a daemon does at its start.
func syncOnce(path, url string, d disk, change ...func(*Options)) error {
	ctx := context.Background()
	o := Options{Path: path, URL: url, Branch: "main"}
	for _, c := range change {
		c(&o)
	}
	r, err := openWith(ctx, o, d)
	if err != nil {
		return err
	}
	defer r.Close()
	h, err := r.Fetch(ctx)
	if err != nil {
		return err
	}
	tree, err := r.Stage(ctx, h.Remote)
	if err != nil {
		return err
	}
	if err := tree.Close(); err != nil {
		return err
	}
	if h.Local == h.Remote {
		return nil
	}
	return r.Checkout(ctx, h.Remote)
}

// crashWorld is a clone that is behind by every kind of change, with untracked
// files all about.
func crashWorld(t *testing.T) (w *world, old string, precious map[string]string) {
	w = newWorld(t)
	for path, content := range map[string]string{
		"edit": "1", "remove": "1", "exec.sh": "1", "lone/file": "1", "both/a": "1", "both/b": "1",
		"file-folder": "1", "folder-file/x": "1", "folder-file/y/z": "1", "folder-file/y/z2": "1", "link-file": "1", "mixed/tracked": "1",
	} {
		w.write(path, content)
	}
	os.Symlink("edit", filepath.Join(w.work, "link"))
	os.Symlink("both", filepath.Join(w.work, "link-folder"))
	old = w.push("old")
	w.git("pull", "-q")
	precious = map[string]string{"mixed/data/db": "db", "both/.env": "env", "untracked": "u", "lone2/x": "x"}
	for path, content := range precious {
		gittest.Write(t, w.clone, path, content)
	}
	for _, path := range []string{"remove", "lone", "both/a", "file-folder", "folder-file", "link-file", "mixed/tracked", "link-folder", "link"} {
		os.RemoveAll(filepath.Join(w.work, path))
	}
	os.Chmod(filepath.Join(w.work, "exec.sh"), 0o755)
	os.Symlink("nowhere", filepath.Join(w.work, "link-file"))
	os.Symlink("README", filepath.Join(w.work, "link"))
	for path, content := range map[string]string{
		"edit": "2\r\n", "new": "", "deep/er/new": "2", "file-folder/x": "2", "file-folder/y/z": "2", "folder-file": "2", "link-folder/x": "2",
	} {
		w.write(path, content)
	}
	w.push("new")
	return w, old, precious
}

// copyOf is a clone in the same state, at another place.
func (w *world) copyOf(t *testing.T) *world {
	t.Helper()
	c := *w
	c.t, c.clone = t, filepath.Join(t.TempDir(), "clone")
	if out, err := exec.Command("cp", "-a", w.clone, c.clone).CombinedOutput(); err != nil {
		t.Fatalf("cp: %s", out)
	}
	return &c
}

func (w *world) converges(precious map[string]string) {
	w.t.Helper()
	commit := gittest.Git(w.t, w.bare, "rev-parse", "main")
	// Whatever was left must be something that git can work with, too.
	if out, err := gittest.Try(w.clone, "status", "--porcelain"); err != nil {
		w.t.Errorf("git status after the crash: %s", out)
	}
	if err := syncOnce(w.clone, "", disk{}); err != nil {
		w.t.Errorf("restart: %v", err)
	}
	w.agrees(commit)
	for path, content := range precious {
		if b, _ := os.ReadFile(filepath.Join(w.clone, path)); string(b) != content {
			w.t.Errorf("%s is %q", path, b)
		}
	}
	if got := strings.Split(w.git("status", "--porcelain", "-uall"), "\n"); len(got) != len(precious) {
		w.t.Errorf("left behind: %q", got)
	}
	left, _ := filepath.Glob(filepath.Join(w.clone, ".git", "*.lock"))
	refs, _ := filepath.Glob(filepath.Join(w.clone, ".git", "refs", "*", "*.lock"))
	state, _ := os.ReadDir(filepath.Join(w.clone, ".git", "gitops-compose"))
	for _, e := range state {
		switch e.Name() {
		case "flock", "fetch.flock", "lock", "seen", "stage":
		default:
			left = append(left, e.Name())
		}
	}
	if left = append(left, refs...); left != nil {
		w.t.Errorf("left behind: %q", left)
	}
}

func countSteps(t *testing.T, w *world) int {
	n := 0
	if err := syncOnce(w.copyOf(t).clone, "", disk{hook: func(string, string) error { n++; return nil }}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAfterAnErrorAtAnyStepTheNextCheckConverges(t *testing.T) {
	w, _, precious := crashWorld(t)
	steps := countSteps(t, w)
	t.Logf("%d points", steps)
	for _, kind := range []struct {
		name string
		on   func(n, at int) bool
		err  error
	}{
		{"one error", func(n, at int) bool { return n == at }, syscall.EIO},
		{"disk full from then on", func(n, at int) bool { return n >= at }, syscall.ENOSPC},
	} {
		for _, at := range someSteps(t, steps) {
			t.Run(fmt.Sprintf("%s/%d", kind.name, at), func(t *testing.T) {
				c := w.copyOf(t)
				n, what := 0, ""
				err := syncOnce(c.clone, "", disk{hook: func(op, path string) error {
					if n++; kind.on(n, at) {
						if what == "" {
							what = op + " " + path
						}
						return kind.err
					}
					return nil
				}})
				if IsBlocked(err) {
					t.Errorf("%s: %v asks for a person", what, err)
				}
				c.converges(precious)
				if t.Failed() {
					t.Logf("the point was %s, the error %v", what, err)
				}
			})
		}
	}
}

// someSteps are the steps, from 1 on, at which a test has a checkout fail.
func someSteps(t *testing.T, steps int) []int {
	t.Helper()
	var all []int
	for at := 1; at <= steps; at++ {
		all = append(all, at)
	}
	return testenv.Some(t, 3, all)
}

func killed(t *testing.T, clone, url string, at int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(gittest.Env(), "REPO_CRASH_CLONE="+clone, "REPO_CRASH_URL="+url, "REPO_CRASH_AT="+strconv.Itoa(at))
	out, err := cmd.CombinedOutput()
	if ps := cmd.ProcessState; ps == nil || !ps.Sys().(syscall.WaitStatus).Signaled() {
		t.Fatalf("the child was not killed: %v %s", err, out)
	}
}

func TestAfterAKillAtAnyStepARestartConverges(t *testing.T) {
	w, _, precious := crashWorld(t)
	steps := countSteps(t, w)
	t.Logf("%d points", steps)
	for _, at := range someSteps(t, steps) {
		t.Run(strconv.Itoa(at), func(t *testing.T) {
			t.Parallel()
			c := w.copyOf(t)
			killed(t, c.clone, "", at)
			c.converges(precious)
		})
	}
}

func TestAfterAKillTheNextCommitIsReachedToo(t *testing.T) {
	w, old, precious := crashWorld(t)
	steps := countSteps(t, w)
	for _, at := range testenv.Some(t, 2, someSteps(t, steps)) {
		for _, next := range []string{"forward", "back"} {
			t.Run(next+strconv.Itoa(at), func(t *testing.T) {
				c := w.copyOf(t)
				bare := filepath.Join(t.TempDir(), "bare.git")
				gittest.Git(t, "", "clone", "-q", "--bare", w.bare, bare)
				gittest.Git(t, c.clone, "remote", "set-url", "origin", bare)
				killed(t, c.clone, "", at)
				c.bare = bare
				if next == "back" {
					gittest.Git(t, bare, "update-ref", "refs/heads/main", old)
				} else {
					c.work = gittest.Work(t, bare)
					c.write("edit", "3")
					c.write("both/a", "3")
					os.RemoveAll(filepath.Join(c.work, "file-folder"))
					c.write("file-folder", "3")
					c.push("newer")
				}
				c.converges(precious)
			})
		}
	}
}

func TestAFolderOnAnotherFileSystemIsWrittenTo(t *testing.T) {
	w, _, precious := crashWorld(t)
	// From .git nothing can be renamed to another file system.
	seen := map[string]bool{}
	elsewhere := func(op, path string) error {
		if op == "rename" && !strings.Contains(path, "/.git/") && !seen[path] {
			seen[path] = true
			return syscall.EXDEV
		}
		return nil
	}
	broken := w.copyOf(t)
	renames := 0
	err := syncOnce(broken.clone, "", disk{hook: func(op, path string) error {
		if err := elsewhere(op, path); err != nil || op != "rename" || strings.Contains(path, "/.git/") {
			return err
		}
		if renames++; renames == 3 {
			return syscall.EIO
		}
		return nil
	}})
	if err == nil {
		t.Fatal("no error")
	}
	if left, _ := exec.Command("find", broken.clone, "-name", ".gitops-compose-*").Output(); len(left) == 0 {
		t.Error("the test does not test: no temporary file was left")
	}
	clear(seen)
	broken.converges(precious)
	clear(seen)
	if err := syncOnce(w.clone, "", disk{hook: elsewhere}); err != nil {
		t.Fatal(err)
	}
	w.converges(precious)
}

func TestAFirstCloneThatWasKilledIsFinished(t *testing.T) {
	w := newWorld(t)
	w.write("a/b/c", "c")
	w.push("more")
	n := 0
	counted := filepath.Join(t.TempDir(), "clone")
	if err := syncOnce(counted, w.bare, disk{hook: func(string, string) error { n++; return nil }}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d points", n)
	for at := 1; at <= n; at++ {
		t.Run(strconv.Itoa(at), func(t *testing.T) {
			t.Parallel()
			c := &world{t: t, bare: w.bare, clone: filepath.Join(t.TempDir(), "clone")}
			killed(t, c.clone, w.bare, at)
			if err := syncOnce(c.clone, w.bare, disk{}); err != nil {
				t.Fatal(err)
			}
			c.agrees(gittest.Git(t, w.bare, "rev-parse", "main"))
			if left, _ := filepath.Glob(filepath.Join(c.clone, ".gitops*")); left != nil {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}
