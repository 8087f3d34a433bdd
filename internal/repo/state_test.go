package repo

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

func TestATrackedFileChangedByHandBlocksUntilItIsMended(t *testing.T) {
	for name, c := range map[string]struct {
		break_ func(w *world)
		says   string
	}{
		"edited":          {func(w *world) { gittest.Write(t, w.clone, "README", "mine\n") }, "README (changed)"},
		"same size":       {func(w *world) { gittest.Write(t, w.clone, "README", "hellO\n") }, "README (changed)"},
		"deleted":         {func(w *world) { os.Remove(filepath.Join(w.clone, "README")) }, "README (deleted)"},
		"exec bit":        {func(w *world) { os.Chmod(filepath.Join(w.clone, "README"), 0o755) }, "README (changed)"},
		"staged":          {func(w *world) { gittest.Write(t, w.clone, "x", "x"); w.git("add", "x") }, "x (staged)"},
		"removed from it": {func(w *world) { w.git("rm", "-q", "--cached", "README") }, "README (staged)"},
		"folder a link": {func(w *world) {
			os.Rename(filepath.Join(w.clone, "app"), filepath.Join(w.clone, "elsewhere"))
			os.Symlink("elsewhere", filepath.Join(w.clone, "app"))
		}, "app/compose.yaml (deleted)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.t = t
			r := w.open()
			mustFetch(t, r)
			w.write("README", "theirs\n")
			w.write("app/compose.yaml", "theirs\n")
			commit := w.push("second")
			c.break_(w)
			before := w.git("status", "--porcelain", "-uall")
			h, err := r.Fetch(t.Context())
			wantBlocked(t, err, c.says, "git restore")
			if h.Remote != commit {
				t.Errorf("got %+v", h)
			}
			wantBlocked(t, r.Checkout(t.Context(), commit))
			if got := w.git("status", "--porcelain", "-uall"); got != before {
				t.Errorf("the clone was changed: %s, was %s", got, before)
			}
			os.RemoveAll(filepath.Join(w.clone, "elsewhere"))
			w.git("reset", "-q", "--hard")
			os.Remove(filepath.Join(w.clone, "x"))
			mustFetch(t, r)
			mustCheckout(t, r, commit)
			w.agrees(commit)
		})
	}
}

func TestATouchedOrCopiedCloneIsNotDirty(t *testing.T) {
	w := newWorld(t)
	past := time.Now().Add(-time.Hour)
	os.Chtimes(filepath.Join(w.clone, "README"), past, past)
	mustFetch(t, w.open())
	c := w.copyOf(t)
	mustFetch(t, c.open())
	if out, err := exec.Command("cp", "-r", w.clone, w.clone+"2").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	c.clone = w.clone + "2"
	mustFetch(t, c.open())
}

func TestOwnCommitsBlockUntilTheyArePushed(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	mustFetch(t, r)
	gittest.Write(t, w.clone, "mine", "1")
	w.git("add", ".")
	w.git("commit", "-q", "-m", "my own work")
	_, err := r.Fetch(t.Context())
	wantBlocked(t, err, "my own work", "push")
	w.write("theirs", "1")
	w.push("second")
	_, err = r.Fetch(t.Context())
	wantBlocked(t, err, "my own work")
	w.git("pull", "-q", "--rebase")
	_, err = r.Fetch(t.Context())
	wantBlocked(t, err, "my own work")
	w.git("push", "-q")
	h := mustFetch(t, r)
	if h.Local != h.Remote {
		t.Errorf("got %+v", h)
	}
}

func TestARewrittenBranchIsFollowedWhenTheHeadCameFromTheRemote(t *testing.T) {
	w := newWorld(t)
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	r := w.open(func(o *Options) { o.Logger = log })
	mustFetch(t, r)
	rewrite := map[string]func() string{
		"amended": func() string {
			w.write("README", "amended\n")
			gittest.Git(t, w.work, "add", "-A")
			gittest.Git(t, w.work, "commit", "-q", "--amend", "-m", "amended")
			gittest.Git(t, w.work, "push", "-q", "-f", "origin", "HEAD:main")
			return gittest.Git(t, w.work, "rev-parse", "HEAD")
		},
		"another history": func() string {
			gittest.Git(t, w.work, "checkout", "-q", "--orphan", "other")
			w.write("README", "other\n")
			return w.push("other")
		},
		"rolled back": func() string {
			gittest.Git(t, w.work, "checkout", "-q", "-B", "main", "HEAD")
			w.write("x", "1")
			w.push("one more")
			mustCheckout(t, r, mustFetch(t, r).Remote)
			gittest.Git(t, w.work, "reset", "-q", "--hard", "HEAD^")
			gittest.Git(t, w.work, "push", "-q", "-f", "origin", "HEAD:main")
			return gittest.Git(t, w.work, "rev-parse", "HEAD")
		},
	}
	for _, name := range []string{"amended", "another history", "rolled back"} {
		logged.Reset()
		commit := rewrite[name]()
		strict := w.open(func(o *Options) { o.FastForwardOnly = true })
		_, err := strict.Fetch(t.Context())
		wantBlocked(t, err, "rewritten", "fast-forward-only")
		for range 2 { // the second time the tracking ref has moved on
			if h := mustFetch(t, r); !h.Rewritten || h.Remote != commit {
				t.Fatalf("%s: got %+v", name, h)
			}
		}
		if got := strings.Count(logged.String(), "level=WARN"); got != 1 {
			t.Errorf("%s: %d warnings: %s", name, got, &logged)
		}
		mustCheckout(t, r, commit)
		w.agrees(commit)
	}
}

func TestARewrittenBranchIsFollowedAfterARestart(t *testing.T) {
	w := newWorld(t)
	w.write("README", "2")
	gittest.Git(t, w.work, "add", "-A")
	gittest.Git(t, w.work, "commit", "-q", "--amend", "-m", "amended")
	gittest.Git(t, w.work, "push", "-q", "-f", "origin", "HEAD:main")
	mustFetch(t, w.open())
	os.RemoveAll(filepath.Join(w.clone, ".git", "logs"))
	r := w.open()
	h := mustFetch(t, r)
	if !h.Rewritten {
		t.Errorf("got %+v", h)
	}
	mustCheckout(t, r, h.Remote)
	w.agrees(h.Remote)
}

func TestTheWrongBranchOrNoneBlocks(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	w.git("checkout", "-q", "-b", "mine")
	_, err := r.Fetch(t.Context())
	wantBlocked(t, err, "on branch mine", "git switch main")
	w.git("checkout", "-q", "--detach")
	_, err = r.Fetch(t.Context())
	wantBlocked(t, err, "no branch")
	other := w.open(func(o *Options) { o.Branch = "mine" })
	w.git("checkout", "-q", "mine")
	_, err = other.Fetch(t.Context())
	wantBlocked(t, err, "has no branch mine")
}

func TestAnUnfinishedMergeBlocks(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	gittest.Write(t, w.clone, "README", "mine\n")
	w.git("commit", "-q", "-a", "-m", "mine")
	w.write("README", "theirs\n")
	w.push("theirs")
	gittest.Try(w.clone, "pull", "-q", "--no-rebase")
	_, err := r.Fetch(t.Context())
	wantBlocked(t, err, "README (in conflict)", "git merge --abort")
}

func TestManyFindingsAreCounted(t *testing.T) {
	w := newWorld(t)
	for i := range 25 {
		w.write(fmt.Sprintf("f%02d", i), "1")
	}
	w.push("many")
	w.git("pull", "-q")
	for i := range 25 {
		gittest.Write(t, w.clone, fmt.Sprintf("f%02d", i), "2")
	}
	_, err := w.open().Fetch(t.Context())
	wantBlocked(t, err, "f00", "f09", "15 more")
	if strings.Contains(err.Error(), "f10") {
		t.Errorf("too long: %v", err)
	}
}

func TestLayoutsThatAreNotSupportedAreNamedAtTheStart(t *testing.T) {
	for name, c := range map[string]struct {
		make func(w *world)
		says string
	}{
		"no git":        {func(w *world) { os.RemoveAll(filepath.Join(w.clone, ".git")) }, "not a git repository"},
		"no folder":     {func(w *world) { os.RemoveAll(w.clone) }, "REPOSITORY_URL"},
		"no origin":     {func(w *world) { w.git("remote", "remove", "origin") }, "no remote named origin"},
		"sparse":        {func(w *world) { w.git("sparse-checkout", "set", "app") }, "sparse"},
		"split index":   {func(w *world) { w.git("update-index", "--split-index") }, "split index"},
		"worktree":      {func(w *world) { w.git("worktree", "add", "-q", "-b", "wt", w.clone+"-wt"); w.clone += "-wt" }, "linked worktree"},
		"partial clone": {func(w *world) { w.git("config", "remote.origin.promisor", "true") }, "partial clone"},
		"alternates":    {func(w *world) { gittest.Write(t, w.clone, ".git/objects/info/alternates", w.bare+"/objects\n") }, "alternates"},
		"shallow":       {func(w *world) { gittest.Write(t, w.clone, ".git/shallow", w.git("rev-parse", "HEAD")+"\n") }, "shallow"},
		"extension": {func(w *world) {
			w.git("config", "core.repositoryformatversion", "1")
			w.git("config", "extensions.refstorage", "reftable")
		}, "refstorage"},
		"bare":             {func(w *world) { w.git("config", "core.bare", "true") }, "bare"},
		"strange protocol": {func(w *world) { w.git("remote", "set-url", "origin", "git://example.org/x") }, "git://"},
		"damaged index":    {func(w *world) { os.Truncate(filepath.Join(w.clone, ".git/index"), 70) }, "damaged index"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.make(w)
			_, err := Open(t.Context(), w.options())
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestASparseCheckoutThatWasDisabledIsFine(t *testing.T) {
	w := newWorld(t)
	w.git("sparse-checkout", "set", "app")
	w.git("sparse-checkout", "disable")
	mustFetch(t, w.open())
}

func TestTheURLMustBeTheClonesOrigin(t *testing.T) {
	w := newWorld(t)
	w.git("remote", "set-url", "origin", "https://ann:s3cret@example.org/stacks.git")
	o := w.options()
	o.URL = "https://example.org/other"
	_, err := Open(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "https://example.org/other") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
	o.URL = "https://bob:token@EXAMPLE.org:443/stacks/"
	r, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Identity(); got != "https://example.org/stacks#main" {
		t.Errorf("identity %s", got)
	}
}

func TestAFolderWithSomethingElseInItIsNotClonedInto(t *testing.T) {
	dir := t.TempDir()
	gittest.Write(t, dir, "data", "x")
	_, err := Open(t.Context(), Options{Path: dir, URL: "https://example.org/x", Branch: "main"})
	if err == nil || !strings.Contains(err.Error(), "not a git repository") {
		t.Errorf("got %v", err)
	}
}

func TestALiveGitIsRespectedAndAStaleLockOfOursIsNot(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	w.write("README", "2")
	commit := w.push("second")
	mustFetch(t, r)
	lock := filepath.Join(w.clone, ".git", "index.lock")
	gittest.Write(t, w.clone, ".git/index.lock", "")
	err := r.Checkout(t.Context(), commit)
	if err == nil || IsBlocked(err) || !strings.Contains(err.Error(), lock) {
		t.Errorf("got %v", err)
	}
	old := time.Now().Add(-time.Hour)
	os.Chtimes(lock, old, old)
	wantBlocked(t, r.Checkout(t.Context(), commit), "remove the file")
	if _, err := os.Stat(lock); err != nil {
		t.Error("git's lock is gone")
	}
	os.WriteFile(lock, []byte(lockText), 0o600)
	mustCheckout(t, r, commit)
	w.agrees(commit)
}

func TestAFolderThatCannotBeReadDoesNotDisturb(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can read everything; the end-to-end tests run this as another user")
	}
	w := newWorld(t)
	gittest.Write(t, w.clone, "app/data/db", "x")
	os.Chmod(filepath.Join(w.clone, "app/data"), 0)
	defer os.Chmod(filepath.Join(w.clone, "app/data"), 0o700)
	w.write("app/compose.yaml", "2")
	commit := w.push("second")
	r := w.open()
	mustFetch(t, r)
	tree, err := r.Stage(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	mustCheckout(t, r, commit)
	w.agrees(commit)
}

func TestSubmodulesAreLeftAloneWithOneWarning(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	var logged bytes.Buffer
	r := w.open(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	gittest.Git(t, w.work, "submodule", "-q", "add", other.bare, "sub")
	gittest.Git(t, w.work, "submodule", "-q", "add", other.bare, "sub2")
	commit := w.push("with a submodule")
	mustFetch(t, r)
	tree, err := r.Stage(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	tree.Close()
	mustCheckout(t, r, commit)
	w.agrees(commit)
	if got := w.git("status", "--porcelain"); got != "" {
		t.Errorf("git status: %s", got)
	}
	gittest.Write(t, w.clone, "sub/mine", "x")
	gittest.Git(t, w.work, "rm", "-q", "-f", "sub", "sub2")
	commit = w.push("without")
	mustFetch(t, r)
	mustCheckout(t, r, commit)
	w.agrees(commit)
	if b, _ := os.ReadFile(filepath.Join(w.clone, "sub/mine")); string(b) != "x" {
		t.Error("a submodule's content was removed")
	}
	if n := strings.Count(logged.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings: %s", n, &logged)
	}
}

func TestLFSPointersAreWarnedAboutOnce(t *testing.T) {
	w := newWorld(t)
	var logged bytes.Buffer
	r := w.open(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
	w.write("big.bin", pointer)
	w.write("big2.bin", pointer)
	commit := w.push("lfs")
	mustFetch(t, r)
	mustCheckout(t, r, commit)
	w.agrees(commit)
	if n := strings.Count(logged.String(), "git LFS"); n != 1 {
		t.Errorf("%d warnings: %s", n, &logged)
	}
}

func TestAReadOnlyRepositoryChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.write("README", "2\n")
	commit := w.push("second")
	snapshot := func() string {
		out, err := exec.Command("find", w.clone, "-printf", "%p %i %m %s %T@ %C@\n").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	before := snapshot()
	r := w.open(func(o *Options) { o.ReadOnly = true })
	if h := mustFetch(t, r); h.Remote != commit {
		t.Fatalf("got %+v", h)
	}
	tree, err := r.Stage(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(tree.Dir(), "README")); string(b) != "2\n" {
		t.Errorf("README is %q", b)
	}
	if err := r.Checkout(t.Context(), commit); err == nil {
		t.Error("checked out")
	}
	if _, err := r.StateDir(); err != nil {
		t.Error(err)
	}
	tree.Close()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if after := snapshot(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if _, err := os.Stat(r.overlay); err == nil {
		t.Error("the temporary folder is still there")
	}
}

func TestTheReflogSaysWhatGitsWould(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	w.write("README", "2")
	commit := w.push("second")
	mustFetch(t, r)
	mustCheckout(t, r, commit)
	for _, ref := range []string{"HEAD", "main", "origin/main"} {
		if got := w.git("rev-parse", ref+"@{0}"); got != commit {
			t.Errorf("%s@{0} is %s", ref, got)
		}
	}
	if got := w.git("reflog", "-1", "HEAD"); !strings.Contains(got, "Fast-forward") {
		t.Errorf("reflog: %s", got)
	}
}

func TestUnsafePathsInACommitAreRefused(t *testing.T) {
	for _, name := range []string{".git", ".GIT", "git~1", "..", ".g\u200cit", ".git "} {
		if unsafeName(name) == "" {
			t.Errorf("%q is allowed", name)
		}
	}
	for _, name := range []string{".gitignore", ".gitmodules", "git", "a.git", "...", "con", "ä\n"} {
		if why := unsafeName(name); why != "" {
			t.Errorf("%q is refused: %s", name, why)
		}
	}
	w := newWorld(t)
	blob := gittest.Git(t, w.work, "rev-parse", "HEAD:README")
	cmd := exec.Command("git", "mktree", "--missing")
	cmd.Dir, cmd.Env = w.work, gittest.Env()
	cmd.Stdin = strings.NewReader("100644 blob " + blob + "\thooks\n")
	out, _ := cmd.Output()
	cmd = exec.Command("git", "mktree")
	cmd.Dir, cmd.Env = w.work, gittest.Env()
	cmd.Stdin = strings.NewReader("040000 tree " + strings.TrimSpace(string(out)) + "\t.GIT\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	commit := gittest.Git(t, w.work, "commit-tree", "-p", "HEAD", "-m", "evil", strings.TrimSpace(string(out)))
	gittest.Git(t, w.work, "push", "-q", "-f", "origin", commit+":main")
	r := w.open()
	_, err = r.Fetch(t.Context())
	wantBlocked(t, err, ".GIT/hooks")
	_, err = r.Stage(t.Context(), commit)
	wantBlocked(t, err, ".GIT")
	wantBlocked(t, r.Checkout(context.Background(), commit), ".GIT/hooks")
}

func TestAMissingObjectIsFetchedAgain(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	w.write("README", "2")
	commit := w.push("second")
	mustFetch(t, r)
	// What a remote that sends half a pack would leave.
	packs, _ := filepath.Glob(filepath.Join(w.clone, ".git/objects/pack/*"))
	for _, p := range packs {
		if fi, _ := os.Stat(p); fi.ModTime().After(time.Now().Add(-time.Minute)) {
			os.Remove(p)
		}
	}
	r.objects.reset()
	if _, err := r.Stage(t.Context(), commit); err == nil {
		t.Fatal("staged")
	}
	mustFetch(t, r)
	mustCheckout(t, r, commit)
	w.agrees(commit)
}

func TestWhatKilledFetchesLeaveIsRemovedAtTheStart(t *testing.T) {
	w := newWorld(t)
	old := time.Now().Add(-48 * time.Hour)
	for _, path := range []string{".git/gitops-compose/incoming/objects/pack/tmp_pack_1", ".git/objects/pack/tmp_pack_2", ".git/objects/pack/tmp_pack_3"} {
		gittest.Write(t, w.clone, path, "half")
	}
	os.Chtimes(filepath.Join(w.clone, ".git/objects/pack/tmp_pack_2"), old, old)
	w.open()
	for path, want := range map[string]bool{".git/gitops-compose/incoming": false, ".git/objects/pack/tmp_pack_2": false, ".git/objects/pack/tmp_pack_3": true} {
		if _, err := os.Lstat(filepath.Join(w.clone, path)); (err == nil) != want {
			t.Errorf("%s is there: %t", path, !want)
		}
	}
}

func TestRootLeavesNothingThatTheClonesOwnerCannotChange(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	w := newWorld(t)
	if out, err := exec.Command("chown", "-R", "12345:12345", w.clone).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	w.write("new/folder/file", "x")
	w.write("README", "2")
	os.Symlink("README", filepath.Join(w.work, "link"))
	commit := w.push("second")
	r := w.open()
	mustFetch(t, r)
	mustCheckout(t, r, commit)
	out, err := exec.Command("find", w.clone, "-not", "-uid", "12345", "-not", "-path", "*/.git/gitops-compose*").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("belongs to root: %s", out)
	}
	w.agrees(commit)
}

func TestAFolderThatBecomesALinkToItselfIsNoObstacle(t *testing.T) {
	w := newWorld(t)
	w.write("a/b/one", "1")
	w.write("a/b/two", "1")
	w.write("a/c", "1")
	w.push("folders")
	w.git("pull", "-q")
	os.RemoveAll(filepath.Join(w.work, "a/b"))
	os.Symlink("b", filepath.Join(w.work, "a/b"))
	commit := w.push("a link")
	r := w.open()
	mustFetch(t, r)
	mustCheckout(t, r, commit)
	w.agrees(commit)
}

func TestFoldersWithoutFilesAreInNobodysWay(t *testing.T) {
	for _, c := range []struct{ name, file, says string }{
		{"nothing but folders", "", ""},
		{"a file in one of them", "f/empty/deep/mine", "f/empty (untracked, in a folder that becomes a file)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.write("f/a", "1")
			w.push("a folder")
			w.git("pull", "-q")
			if err := os.MkdirAll(filepath.Join(w.clone, "f/empty/deep"), 0o755); err != nil {
				t.Fatal(err)
			}
			if c.file != "" {
				gittest.Write(t, w.clone, c.file, "mine")
			}
			gittest.Git(t, w.work, "rm", "-q", "-r", "f")
			w.write("f", "a file")
			commit := w.push("a file")
			r := w.open()
			_, err := r.Fetch(t.Context())
			if c.says != "" {
				wantBlocked(t, err, c.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mustCheckout(t, r, commit)
			w.agrees(commit)
		})
	}
}

// What stands in the way, and one command that is named, run as it is said, removes
// it: then the same commit is checked out, and what stood there is kept.
func TestTheCommandThatARefusalNamesHelps(t *testing.T) {
	cases := map[string]struct {
		before func(w *world) // the first commit, and what a person does in the clone
		commit func(w *world) // the second one
		kept   map[string]string
	}{
		"an untracked .env comes into git": {
			before: func(w *world) { gittest.Write(t, w.clone, "app/.env", "A=mine") },
			commit: func(w *world) { w.write("app/.env", "A=git") },
			kept:   map[string]string{"app/.env.before": "A=mine", "app/.env": "A=git"},
		},
		"it was moved aside before": {
			before: func(w *world) {
				gittest.Write(t, w.clone, "app/.env", "A=mine")
				gittest.Write(t, w.clone, "app/.env.before", "A=older")
			},
			commit: func(w *world) { w.write("app/.env", "A=git") },
			kept:   map[string]string{"app/.env.before": "A=older", "app/.env.before1": "A=mine", "app/.env": "A=git"},
		},
		"two files, whose names need care": {
			before: func(w *world) {
				gittest.Write(t, w.clone, "a b/it's", "1")
				gittest.Write(t, w.clone, "-x", "2")
			},
			commit: func(w *world) { w.write("a b/it's", "new"); w.write("-x", "new") },
			kept:   map[string]string{"a b/it's.before": "1", "-x.before": "2"},
		},
		"a submodule becomes a folder": {
			before: withSubmodule,
			commit: func(w *world) {
				gittest.Git(t, w.work, "rm", "-q", "-f", "sub")
				w.write("sub/app/compose.yaml", "own")
				w.write("sub/more", "own")
			},
			kept: map[string]string{"sub/app/compose.yaml": "own", "sub/more": "own"},
		},
		"a submodule becomes a folder with nothing of it": {
			before: withSubmodule,
			commit: func(w *world) {
				gittest.Git(t, w.work, "rm", "-q", "-f", "sub")
				w.write("sub/other/compose.yaml", "own")
			},
			kept: map[string]string{"sub/other/compose.yaml": "own"},
		},
		"a submodule becomes a file": {
			before: withSubmodule,
			commit: func(w *world) {
				gittest.Git(t, w.work, "rm", "-q", "-f", "sub")
				w.write("sub", "own")
			},
			kept: map[string]string{"sub": "own"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.before(w)
			c.commit(w)
			commit := w.push("second")
			r := w.open()
			_, err := r.Fetch(t.Context())
			if !IsBlocked(err) {
				t.Fatalf("it was not refused: %v", err)
			}
			_, command, ok := strings.Cut(err.Error(), "run in the clone: ")
			if !ok {
				t.Fatalf("no command: %v", err)
			}
			cmd := exec.Command("sh", "-ec", command)
			cmd.Dir = w.clone
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", command, err, out)
			}
			mustFetch(t, r)
			mustCheckout(t, r, commit)
			w.agrees(commit)
			for path, want := range c.kept {
				if got, err := os.ReadFile(filepath.Join(w.clone, path)); err != nil || string(got) != want {
					t.Errorf("%s is %q, not %q: %v", path, got, want, err)
				}
			}
		})
	}
}

// withSubmodule gives the world a submodule, which git has filled in the clone.
func withSubmodule(w *world) {
	w.t.Helper()
	other := newWorld(w.t)
	gittest.Git(w.t, w.work, "submodule", "-q", "add", other.bare, "sub")
	commit := w.push("with a submodule")
	r := w.open()
	mustFetch(w.t, r)
	mustCheckout(w.t, r, commit)
	gittest.Git(w.t, w.clone, "submodule", "-q", "update", "--init")
}
