package repo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

// world is a remote, a person's work tree that pushes to it, and a clone.
type world struct {
	t                 testing.TB
	bare, work, clone string
}

// newWorld has one commit in all three places.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, bare: gittest.Bare(t)}
	w.work = gittest.Work(t, w.bare)
	w.write("app/compose.yaml", "services: {}\n")
	w.write("README", "hello\n")
	w.push("first")
	w.clone = filepath.Join(t.TempDir(), "clone")
	gittest.Git(t, "", "clone", "-q", w.bare, w.clone)
	return w
}

func (w *world) write(path, content string) { gittest.Write(w.t, w.work, path, content) }

func (w *world) push(message string) string { return gittest.Push(w.t, w.work, message) }

func (w *world) git(args ...string) string { return gittest.Git(w.t, w.clone, args...) }

func (w *world) options() Options { return Options{Path: w.clone, Branch: "main"} }

func (w *world) open(change ...func(*Options)) *Repository {
	w.t.Helper()
	o := w.options()
	for _, c := range change {
		c(&o)
	}
	r, err := Open(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = r.Close() })
	return r
}

// agrees holds the clone against git: nothing but untracked files differs from
// commit.
func (w *world) agrees(commit string) {
	w.t.Helper()
	if got := w.git("rev-parse", "HEAD"); got != commit {
		w.t.Errorf("head is %s, want %s", got, commit)
	}
	if got := w.git("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"); got != "" {
		w.t.Errorf("git status: %s", got)
	}
	if got := w.git("diff", "HEAD", "--ignore-submodules=all"); got != "" {
		w.t.Errorf("git diff HEAD: %s", got)
	}
	if got, want := w.git("ls-files", "-s"), gittest.Git(w.t, w.clone, "ls-tree", "-r", "--format=%(objectmode) %(objectname) 0%x09%(path)", commit); got != want {
		w.t.Errorf("git ls-files -s:\n%s\nwant\n%s", got, want)
	}
	if got, err := gittest.Try(w.clone, "fsck", "--connectivity-only"); err != nil {
		w.t.Errorf("git fsck: %s", got)
	}
}

func mustFetch(t testing.TB, r *Repository) Heads {
	t.Helper()
	h, err := r.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustCheckout(t testing.TB, r *Repository, commit string) {
	t.Helper()
	if err := r.Checkout(t.Context(), commit); err != nil {
		t.Fatal(err)
	}
}

// wantBlocked holds an error against what a person should be told.
func wantBlocked(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil || !IsBlocked(err) {
		t.Fatalf("got %v, want a blocked error", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

func TestANewCommitIsFetchedAndCheckedOut(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	old := w.git("rev-parse", "HEAD")
	if h := mustFetch(t, r); h.Local != old || h.Remote != old || h.Rewritten || h.Edited != nil {
		t.Fatalf("got %+v", h)
	}
	w.write("app/compose.yaml", "services: {a: {}}\n")
	w.write("new/deep/file", "x")
	os.Remove(filepath.Join(w.work, "README"))
	commit := w.push("second")
	if h := mustFetch(t, r); h.Local != old || h.Remote != commit || h.Rewritten || h.Edited != nil {
		t.Fatalf("got %+v", h)
	}
	mustCheckout(t, r, commit)
	w.agrees(commit)
	if h := mustFetch(t, r); h.Local != commit || h.Remote != commit || h.Rewritten || h.Edited != nil {
		t.Fatalf("got %+v", h)
	}
	c, err := r.Describe(commit)
	if err != nil || c.Subject != "second" || c.Author != "Ann Author <ann@example.org>" || c.Time.IsZero() {
		t.Errorf("got %+v, %v", c, err)
	}
	w.git("pull", "-q")
}

func TestAnEmptyFolderIsClonedFromTheURL(t *testing.T) {
	w := newWorld(t)
	url := gittest.Serve(t, w.bare, "ann", "s3cret")
	w.clone = filepath.Join(t.TempDir(), "fresh")
	r, err := Open(t.Context(), Options{
		Path: w.clone, URL: url, Branch: "main",
		Credentials: func() (string, string, error) { return "ann", "s3cret", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := mustFetch(t, r)
	w.agrees(h.Remote)
	if h.Local != h.Remote {
		t.Errorf("got %+v", h)
	}
	w.write("b", "b")
	commit := w.push("second")
	mustFetch(t, r)
	mustCheckout(t, r, commit)
	w.agrees(commit)
}

func TestAStagedTreeDoesNotShowWhatALinkOfTheOldCommitLeadsTo(t *testing.T) {
	w := newWorld(t)
	w.write("a/b/tracked", "1")
	os.Symlink("a", filepath.Join(w.work, "link"))
	w.push("a link")
	w.git("pull", "-q")
	os.Remove(filepath.Join(w.work, "link"))
	w.write("link/b/new", "2")
	commit := w.push("a folder")
	r := w.open()
	mustFetch(t, r)
	tree, err := r.Stage(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	staged := listing(t, tree.Dir())
	mustCheckout(t, r, commit)
	w.agrees(commit)
	if got := listing(t, w.clone); got != staged {
		t.Errorf("staged\n%s\nchecked out\n%s", staged, got)
	}
}

func TestAStagedTreeShowsTheCommitAndTheClonesUntrackedFiles(t *testing.T) {
	w := newWorld(t)
	w.write("same/compose.yaml", "same\n")
	w.write("gone/compose.yaml", "gone\n")
	w.push("base")
	w.git("pull", "-q")
	gittest.Write(t, w.clone, "app/.env", "SECRET=1")
	gittest.Write(t, w.clone, "same/.env", "SECRET=2")
	gittest.Write(t, w.clone, "gone/data/db", "precious")
	r := w.open()
	w.write("app/compose.yaml", "changed\n")
	w.write("app/run.sh", "#!/bin/sh\n")
	os.Chmod(filepath.Join(w.work, "app/run.sh"), 0o755)
	gittest.Git(t, w.work, "rm", "-q", "-r", "gone")
	commit := w.push("change")
	mustFetch(t, r)
	tree, err := r.Stage(context.Background(), commit)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"app/compose.yaml": "changed\n", "app/.env": "SECRET=1", "same/.env": "SECRET=2",
		"same/compose.yaml": "same\n", "gone/data/db": "precious", "README": "hello\n",
	} {
		if b, err := os.ReadFile(filepath.Join(tree.Dir(), path)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v; want %q", path, b, err, want)
		}
	}
	if _, err := os.Lstat(filepath.Join(tree.Dir(), "gone/compose.yaml")); err == nil {
		t.Error("a removed file is shown")
	}
	if fi, err := os.Stat(filepath.Join(tree.Dir(), "app/run.sh")); err != nil || fi.Mode()&0o100 == 0 {
		t.Error("the exec bit is not there")
	}
	if got := strings.Join(tree.Find("compose.yaml"), " "); got != "app/compose.yaml same/compose.yaml" {
		t.Errorf("found %s", got)
	}
	for names, want := range map[string]string{
		"*": "README app/compose.yaml app/run.sh same/compose.yaml", "c*.yaml": "app/compose.yaml same/compose.yaml", "*.yaml run.sh": "app/compose.yaml app/run.sh same/compose.yaml",
		"*o*p*.*l": "app/compose.yaml same/compose.yaml", "**": "README app/compose.yaml app/run.sh same/compose.yaml", "compose.yaml*x": "", "run.sh*run.sh": "", "*.yml": "", "app/*": "",
	} {
		if got := strings.Join(tree.Find(strings.Fields(names)...), " "); got != want {
			t.Errorf("of %s found %s, want %s", names, got, want)
		}
	}
	if got, want := tree.ID("app"), gittest.Git(t, w.work, "rev-parse", "HEAD:app"); got != want {
		t.Errorf("id %s, want %s", got, want)
	}
	if tree.ID("app/.env") != "" || tree.ID("gone") != "" {
		t.Error("ids for what is not tracked")
	}
	w.agrees(w.git("rev-parse", "HEAD"))
	if err := errors.Join(tree.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(tree.Dir()); err == nil {
		t.Error("the staged tree is still there")
	}
	if b, _ := os.ReadFile(filepath.Join(w.clone, "gone/data/db")); string(b) != "precious" {
		t.Error("closing the tree has reached into the clone")
	}
}
