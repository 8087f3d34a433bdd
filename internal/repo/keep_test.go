package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

func keep(o *Options) { o.KeepLocalChanges = true }

// gitsEdits is what git says differs from the head.
func (w *world) gitsEdits() []string {
	w.t.Helper()
	w.git("update-index", "-q", "--refresh")
	var out []string
	for _, args := range [][]string{{"diff", "--name-only", "-z", "--no-renames", "HEAD"}, {"diff", "--cached", "--name-only", "-z", "--no-renames", "HEAD"}} {
		for p := range strings.SplitSeq(w.git(args...), "\x00") {
			if p != "" {
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// state is all that a checkout may change: index, work tree, and what git makes
// of them.
func (w *world) state() string {
	w.t.Helper()
	return w.git("rev-parse", "HEAD") + "\n" + w.git("ls-files", "-s") + "\n" + w.git("status", "--porcelain", "-uall", "--no-renames") + "\n" + listing(w.t.(*testing.T), w.clone)
}

func TestLocalChangesThatAreKept(t *testing.T) {
	base := newWorld(t)
	base.write("other/file", "other\n")
	base.write("goes", "1\n")
	first := base.push("base")
	base.git("pull", "-q")
	base.write("README", "theirs\n")
	base.write("comes", "theirs\n")
	os.Remove(filepath.Join(base.work, "goes"))
	second := base.push("second")
	remove := func(path string) func(*world) {
		return func(w *world) { os.Remove(filepath.Join(w.clone, path)) }
	}
	for name, c := range map[string]struct {
		by     func(w *world) // by hand, in the clone
		edited string
		inWay  string // as the refusal has it; "" if it is not in the way
	}{
		"nothing": {func(*world) {}, "", ""},
		"an edit elsewhere": {
			func(w *world) { gittest.Write(w.t, w.clone, "other/file", "mine\n") }, "other/file", "",
		},
		"an edit that is staged": {
			func(w *world) { gittest.Write(w.t, w.clone, "other/file", "mine\n"); w.git("add", "other/file") }, "other/file", "",
		},
		"a new file that is staged": {
			func(w *world) { gittest.Write(w.t, w.clone, "other/new", "mine\n"); w.git("add", "other/new") }, "other/new", "",
		},
		"an edit of the same size": {
			func(w *world) { gittest.Write(w.t, w.clone, "other/file", "othEr\n") }, "other/file", "",
		},
		"an exec bit": {
			func(w *world) { os.Chmod(filepath.Join(w.clone, "other/file"), 0o755) }, "other/file", "",
		},
		"a file that is gone": {remove("other/file"), "other/file", ""},
		"a folder that is gone": {
			func(w *world) { os.RemoveAll(filepath.Join(w.clone, "other")) }, "other/file", "",
		},
		"a file that is a link now": {
			func(w *world) { remove("other/file")(w); os.Symlink("nowhere", filepath.Join(w.clone, "other/file")) }, "other/file", "",
		},
		"a file that git forgets": {
			func(w *world) { w.git("rm", "-q", "--cached", "other/file") }, "other/file", "",
		},
		"an edit in the way": {
			func(w *world) { gittest.Write(w.t, w.clone, "README", "mine\n") }, "README", "README (changed by hand)",
		},
		"an edit that is staged in the way": {
			func(w *world) { gittest.Write(w.t, w.clone, "README", "mine\n"); w.git("add", "README") }, "README", "README (staged)",
		},
		"an exec bit in the way": {
			func(w *world) { os.Chmod(filepath.Join(w.clone, "README"), 0o755) }, "README", "README (changed by hand)",
		},
		"an edit of what goes": {
			func(w *world) { gittest.Write(w.t, w.clone, "goes", "mine\n") }, "goes", "goes (changed by hand)",
		},
		"a new file that is staged where one comes": {
			func(w *world) { gittest.Write(w.t, w.clone, "comes", "mine\n"); w.git("add", "comes") }, "comes", "comes (staged)",
		},
		"one that git forgets and the commit changes": {
			func(w *world) { w.git("rm", "-q", "--cached", "README") }, "README", "README (staged)",
		},
		"what the commit changes is gone":     {remove("README"), "README", ""},
		"what the commit removes is gone":     {remove("goes"), "goes", ""},
		"git forgets what the commit removes": {func(w *world) { w.git("rm", "-q", "--cached", "goes") }, "goes", ""},
		"the very change, staged": {
			func(w *world) { gittest.Write(w.t, w.clone, "README", "theirs\n"); w.git("add", "README") }, "README", "",
		},
		"the very change, staged, and edited again": {
			func(w *world) {
				gittest.Write(w.t, w.clone, "README", "theirs\n")
				w.git("add", "README")
				gittest.Write(w.t, w.clone, "README", "mine\n")
			}, "README", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := base.copyOf(t)
			c.by(w)
			git := w.copyOf(t)
			before := w.state()

			r := w.open(keep)
			h, refused := r.Fetch(t.Context())
			if c.inWay != "" {
				wantBlocked(t, refused, c.inWay, "commit and push what was changed by hand or undo it")
			} else if refused != nil {
				t.Fatal(refused)
			}
			if got := strings.Join(h.Edited, " "); h.Local != first || h.Remote != second || got != c.edited {
				t.Errorf("fetched %+v, edited %q, want %q", h, got, c.edited)
			}
			if h, err := r.Local(t.Context()); err != nil || strings.Join(h.Edited, " ") != c.edited || h.Remote != first {
				t.Errorf("the clone is %+v, %v", h, err)
			}
			err := r.Checkout(t.Context(), second)
			out, gitErr := gittest.Try(git.clone, "pull", "-q", "--ff-only")
			// git would rather not delete what it no longer knows, and nor do we.
			laxer := name == "git forgets what the commit removes"
			if (gitErr != nil) != (c.inWay != "" || laxer) {
				t.Errorf("git thinks otherwise: %v: %s", gitErr, out)
			}
			if c.inWay != "" {
				wantBlocked(t, err, c.inWay, "commit and push what was changed by hand or undo it")
				if got := w.state(); got != before {
					t.Errorf("refused, but\n%s\nbecame\n%s", before, got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if laxer {
				gittest.Git(t, git.clone, "reset", "-q", "--hard")
				gittest.Git(t, git.clone, "pull", "-q", "--ff-only")
				gittest.Write(t, git.clone, "goes", "1\n")
			}
			if got, want := w.state(), git.state(); got != want {
				t.Errorf("got\n%s\ngit has\n%s", got, want)
			}
			if h := mustFetch(t, r); h.Local != second || strings.Join(h.Edited, " ") != strings.Join(w.gitsEdits(), " ") {
				t.Errorf("fetched again %+v, git has %q", h, w.gitsEdits())
			}
		})
	}
}

func TestLocalChangesAreReportedWhereTheyStop(t *testing.T) {
	w := newWorld(t)
	gittest.Write(t, w.clone, "README", "mine\n")
	r := w.open()
	h, err := r.Fetch(t.Context())
	wantBlocked(t, err, "README (changed)")
	if strings.Join(h.Edited, " ") != "README" {
		t.Errorf("fetched %+v", h)
	}
	if h, err := r.Local(t.Context()); err != nil || strings.Join(h.Edited, " ") != "README" {
		t.Errorf("the clone is %+v, %v", h, err)
	}
}

func TestKeptChangesDontHideOtherTrouble(t *testing.T) {
	for name, c := range map[string]struct {
		by    func(w *world)
		says  string
		local bool // it is trouble without a remote, too
	}{
		"a merge": {func(w *world) {
			gittest.Write(w.t, w.clone, "README", "mine\n")
			w.git("commit", "-q", "-a", "-m", "mine")
			w.write("README", "theirs\n")
			w.push("theirs")
			gittest.Try(w.clone, "pull", "-q", "--no-rebase")
		}, "README (in conflict)", true},
		"own commits": {func(w *world) {
			gittest.Write(w.t, w.clone, "README", "mine\n")
			w.git("commit", "-q", "-a", "-m", "my own work")
		}, "my own work", false},
		"another branch": {func(w *world) { w.git("checkout", "-q", "-b", "mine") }, "on branch mine", true},
		"the index":      {func(w *world) { os.Truncate(filepath.Join(w.clone, ".git/index"), 70) }, "damaged index", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.open(keep)
			mustFetch(t, r)
			c.by(w)
			_, err := r.Fetch(t.Context())
			wantBlocked(t, err, c.says)
			if _, err := r.Local(t.Context()); c.local {
				wantBlocked(t, err, c.says)
			} else if err != nil {
				t.Errorf("local: %v", err)
			}
		})
	}
}

func TestAStagedTreeHasNoIDsForWhatWasChangedByHand(t *testing.T) {
	w := newWorld(t)
	w.write("a/b/file", "1")
	w.write("a/b/gone", "1")
	w.write("a/c/file", "1")
	w.push("base")
	w.git("pull", "-q")
	w.write("README", "2\n")
	commit := w.push("second")
	gittest.Write(t, w.clone, "a/b/file", "mine")
	os.Remove(filepath.Join(w.clone, "a/b/gone"))
	head := w.git("rev-parse", "HEAD")
	mustFetch(t, w.open(keep)) // brings the commit
	for _, what := range []string{head, commit} {
		for _, asked := range []bool{true, false} {
			r := w.open(keep) // which has looked at nothing yet
			if asked {
				mustFetch(t, r)
			}
			tree, err := r.Stage(t.Context(), what)
			if err != nil {
				t.Fatal(err)
			}
			for path, edited := range map[string]bool{"": true, "a": true, "a/b": true, "a/b/file": true, "a/b/gone": true, "a/c": false, "a/c/file": false, "README": false, "app": false} {
				if tree.ID(path) == "" || tree.Edited(path) != edited {
					t.Errorf("%s: %q has the id %q, is edited: %t", short(what), path, tree.ID(path), tree.Edited(path))
				}
			}
			if b, err := os.ReadFile(filepath.Join(tree.Dir(), "a/b/file")); err != nil || string(b) != "mine" {
				t.Errorf("it shows %q, %v", b, err)
			}
			if _, err := os.Lstat(filepath.Join(tree.Dir(), "a/b/gone")); err == nil {
				t.Error("it shows what is gone")
			}
			tree.Close()
			r.Close()
		}
	}
	r := w.open(keep)
	mustFetch(t, r)
	mustCheckout(t, r, commit)
	w.git("checkout", "-q", "a/b")
	mustFetch(t, r)
	tree, err := r.Stage(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	if tree.ID("a/b") == "" || tree.ID("") == "" {
		t.Error("what was undone has no id")
	}
}

func TestManyEditsAreCutOff(t *testing.T) {
	w := newWorld(t)
	for i := range MaxEdited + 5 {
		w.write(fmt.Sprintf("f%04d", i), "1")
	}
	w.push("many")
	w.git("pull", "-q")
	for i := range MaxEdited + 5 {
		gittest.Write(t, w.clone, fmt.Sprintf("f%04d", i), "2")
	}
	r := w.open(keep)
	h := mustFetch(t, r)
	if len(h.Edited) != MaxEdited || h.Edited[MaxEdited-1] != "f0999" {
		t.Errorf("%d, the last is %s", len(h.Edited), h.Edited[len(h.Edited)-1])
	}
	tree, err := r.Stage(t.Context(), h.Local)
	if err != nil {
		t.Fatal(err)
	}
	if !tree.Edited("f1004") {
		t.Error("one behind the end counts as not edited")
	}
}

// TestAnEditAsYoungAsTheIndexIsSeenAfterACheckout has an entry whose stamp says
// nothing, because the index was written in the same moment; the index that a
// checkout writes is younger.
func TestAnEditAsYoungAsTheIndexIsSeenAfterACheckout(t *testing.T) {
	w := newWorld(t)
	w.write("other", "1")
	w.push("base")
	w.git("pull", "-q")
	w.write("README", "2\n")
	commit := w.push("second")
	gittest.Write(t, w.clone, "other", "2")
	// The entry gets the stamp that the edited file has, as if both had been
	// written within one tick of the clock, and so does the index. That is a while
	// ago: git looks at whole seconds only.
	past := time.Now().Add(-time.Hour)
	os.Chtimes(filepath.Join(w.clone, "other"), past, past)
	index := filepath.Join(w.clone, ".git/index")
	x, err := readIndex(index)
	if err != nil {
		t.Fatal(err)
	}
	s, err := look(filepath.Join(w.clone, "other"))
	if err != nil {
		t.Fatal(err)
	}
	i, _ := x.find("other")
	x.entries[i].stamp = stampOf(&s.st)
	if err := os.WriteFile(index, x.encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(index, past, past)
	if got := w.git("--no-optional-locks", "status", "--porcelain"); got != " M other" {
		t.Fatalf("the test does not test: git status says %q", got)
	}
	r := w.open(keep)
	mustFetch(t, r)
	mustCheckout(t, r, commit)
	if got := w.git("status", "--porcelain"); got != " M other" {
		t.Errorf("git status says %q", got)
	}
}

// edit changes tracked files of a clone by hand.
func (g *generator) edit(t *testing.T, clone string) {
	list := strings.Split(strings.TrimSuffix(gittest.Git(t, clone, "ls-files", "-z"), "\x00"), "\x00")
	for range 1 + g.IntN(4) {
		p := list[g.IntN(len(list))]
		full := filepath.Join(clone, p)
		fi, err := os.Lstat(full)
		if err != nil || fi.IsDir() {
			continue
		}
		switch g.IntN(7) {
		case 0, 1:
			if fi.Mode().IsRegular() {
				os.WriteFile(full, g.content(), fi.Mode())
			}
		case 2:
			os.Remove(full)
		case 3:
			if fi.Mode().IsRegular() {
				os.Chmod(full, fi.Mode().Perm()^0o111)
			}
		case 4:
			os.Remove(full)
			os.Symlink("nowhere", full)
		case 5:
			gittest.Try(clone, "rm", "-q", "--cached", "--", ":(literal)"+p)
		case 6: // a new one
			p = filepath.Join(filepath.Dir(p), "mine"+strconv.Itoa(g.IntN(5)))
			if _, err := os.Lstat(filepath.Join(clone, p)); err == nil || os.WriteFile(filepath.Join(clone, p), g.content(), 0o644) != nil {
				continue
			}
			gittest.Try(clone, "add", "--", ":(literal)"+p)
		}
		if g.IntN(3) == 0 {
			gittest.Try(clone, "add", "-u", "--", ":(literal)"+p)
		}
	}
}

// contents are the files of a folder but for .git.
func contents(t *testing.T, root string) map[string]string {
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		rel, _ := filepath.Rel(root, path)
		if target, err := os.Readlink(path); err == nil {
			out[rel] = "-> " + target
			return nil
		}
		b, err := os.ReadFile(path)
		fi, _ := d.Info()
		out[rel] = fi.Mode().String() + string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// lost says whether one of the files that a refusal names is not there any more.
func lost(refusal error, before, after map[string]string) bool {
	var b *BlockedError
	return errors.As(refusal, &b) && slices.ContainsFunc(b.Paths, func(p string) bool {
		had, ok := before[p]
		return ok && after[p] != had
	})
}

// TestRandomEditsAreKeptAsGitKeepsThem holds the clone, with changes by hand in
// it, against git merge --ff-only in a copy. Where git goes on so must we, to the
// same result, unless that loses something: a staged file, where its folder
// becomes a file. Where git refuses and we don't nothing may be lost.
func TestRandomEditsAreKeptAsGitKeepsThem(t *testing.T) {
	w := newWorld(t)
	g := &generator{rand.New(rand.NewPCG(seed(t), 2)), w.work}
	r := w.open(keep)
	mustFetch(t, r)
	moved, refused, laxer, stricter := 0, 0, 0, 0
	for i := range rounds() / 4 { // each costs git a dozen commands
		for range 1 + g.IntN(6) {
			g.step()
		}
		target := w.push("round " + strconv.Itoa(i))
		g.edit(t, w.clone)
		h, fetched := r.Fetch(t.Context())
		if want := w.gitsEdits(); !slices.Equal(h.Edited, want) {
			t.Errorf("round %d: edited %q, git says %q", i, h.Edited, want)
		}
		git := w.copyOf(t)
		before, mine := w.state(), contents(t, w.clone)
		out, gitErr := gittest.Try(git.clone, "merge", "-q", "--ff-only", target)
		err := r.Checkout(t.Context(), target)
		if IsBlocked(fetched) != IsBlocked(err) || (fetched == nil) != (err == nil) {
			t.Errorf("round %d: the fetch says %v, the checkout %v", i, fetched, err)
		}
		switch {
		case err == nil && gitErr == nil:
			moved++
			if got, want := w.state(), git.state(); got != want {
				t.Errorf("round %d: got\n%s\ngit has\n%s\nbefore\n%s", i, got, want, before)
			}
		case err == nil:
			laxer++
			after := contents(t, w.clone)
			for _, p := range h.Edited {
				if content, ok := mine[p]; ok && after[p] != content {
					t.Errorf("round %d: git refuses: %s\nand here %q was %q and is %q", i, out, p, content, after[p])
				}
			}
		case IsBlocked(err) && gitErr != nil:
			refused++
			if got := w.state(); got != before {
				t.Errorf("round %d: refused, but\n%s\nbecame\n%s", i, before, got)
			}
		case IsBlocked(err) && lost(err, mine, contents(t, git.clone)):
			stricter++
			if got := w.state(); got != before {
				t.Errorf("round %d: refused, but\n%s\nbecame\n%s", i, before, got)
			}
		default:
			t.Errorf("round %d: %v; git says %v %s\nbefore\n%s\nthe commit\n%s\nthe head\n%s", i, err, gitErr, out, before, w.git("ls-tree", "-r", target), w.git("ls-tree", "-r", "HEAD"))
		}
		if t.Failed() {
			t.Fatalf("round %d", i)
		}
		os.RemoveAll(git.clone)
		if err != nil || g.IntN(3) == 0 {
			w.git("reset", "-q", "--hard")
			w.git("clean", "-q", "-fdx")
			mustFetch(t, r)
			mustCheckout(t, r, target)
			w.agrees(target)
		}
	}
	t.Logf("%d checkouts, %d refused, %d by git alone, %d by us alone", moved, refused, laxer, stricter)
	if rounds() >= 100 && (moved == 0 || refused == 0) {
		t.Error("the test does not test")
	}
}

// TestAfterAKillChangesByHandAreStillThere is a crash at any step with local
// changes that are kept.
func TestAfterAKillChangesByHandAreStillThere(t *testing.T) {
	w, _, precious := crashWorld(t)
	gittest.Write(t, w.clone, "README", "mine\n")
	os.Chmod(filepath.Join(w.clone, "both/b"), 0o755)
	os.Remove(filepath.Join(w.clone, "app/compose.yaml"))
	gittest.Write(t, w.clone, "lone/mine", "mine\n")
	w.git("add", "lone/mine")
	git := w.copyOf(t)
	gittest.Git(t, git.clone, "pull", "-q", "--ff-only")
	want := git.state()
	steps := 0
	count := disk{hook: func(string, string) error { steps++; return nil }}
	if err := syncOnce(w.copyOf(t).clone, "", count, keep); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d points", steps)
	for _, at := range someSteps(t, steps) {
		t.Run(strconv.Itoa(at), func(t *testing.T) {
			t.Parallel()
			c := w.copyOf(t)
			killed(t, c.clone, "keep", at)
			if err := syncOnce(c.clone, "", disk{}, keep); err != nil {
				t.Errorf("restart: %v", err)
			}
			if got := c.state(); got != want {
				t.Errorf("got\n%s\ngit has\n%s", got, want)
			}
			for path, content := range precious {
				if b, _ := os.ReadFile(filepath.Join(c.clone, path)); string(b) != content {
					t.Errorf("%s is %q", path, b)
				}
			}
			if left, _ := exec.Command("find", c.clone, "-name", "*.lock", "-not", "-name", "fetch.lock").Output(); strings.Contains(string(left), "index.lock") {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}
