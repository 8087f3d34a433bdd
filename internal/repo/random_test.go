package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

// names are few, so that files, folders and links come to the same places again
// and again, and odd enough to break what joins or quotes them carelessly.
var names = []string{"a", "b", "c.txt", "a.b", "a-b", "ä ö", "日本", "-dash", "with space", "new\nline", "tab\t\"q\"", "*?[x]", "\xff\xfe", "A", "con", ".hidden"}

// generator changes a work tree at random.
type generator struct {
	*rand.Rand
	root string
}

func (g *generator) path() string {
	depth := 1 + g.IntN(3)
	parts := make([]string, depth)
	for i := range parts {
		parts[i] = names[g.IntN(len(names))]
	}
	return strings.Join(parts, "/")
}

// clear makes way for a file or folder at path.
func (g *generator) clear(path string) {
	full := filepath.Join(g.root, path)
	for d := filepath.Dir(full); d != g.root; d = filepath.Dir(d) {
		if fi, err := os.Lstat(d); err == nil && !fi.IsDir() {
			os.Remove(d)
		}
	}
	os.RemoveAll(full)
	os.MkdirAll(filepath.Dir(full), 0o755)
}

func (g *generator) content() []byte {
	switch g.IntN(5) {
	case 0:
		return nil
	case 1:
		return []byte("line\r\nline\r\n")
	case 2:
		b := make([]byte, 1+g.IntN(3000))
		for i := range b {
			b[i] = byte(g.IntN(256))
		}
		return b
	}
	return []byte(strconv.Itoa(g.IntN(4)))
}

func (g *generator) tracked() []string {
	var out []string
	filepath.WalkDir(g.root, func(p string, d fs.DirEntry, err error) error {
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			rel, _ := filepath.Rel(g.root, p)
			out = append(out, rel)
		}
		return err
	})
	return out
}

func (g *generator) step() {
	list := g.tracked()
	pick := func() string {
		if len(list) == 0 {
			return g.path()
		}
		return list[g.IntN(len(list))]
	}
	switch g.IntN(8) {
	case 0, 1, 2: // a new file, or another kind of thing at a used path
		p := g.path()
		g.clear(p)
		os.WriteFile(filepath.Join(g.root, p), g.content(), fs.FileMode(0o644|g.IntN(2)*0o111))
	case 3: // an edit
		p := filepath.Join(g.root, pick())
		if fi, err := os.Lstat(p); err == nil && fi.Mode().IsRegular() {
			os.WriteFile(p, g.content(), 0o644)
		}
	case 4:
		os.Remove(filepath.Join(g.root, pick()))
	case 5: // a mode
		p := filepath.Join(g.root, pick())
		if fi, err := os.Lstat(p); err == nil && fi.Mode().IsRegular() {
			os.Chmod(p, fi.Mode().Perm()^0o111)
		}
	case 6: // a link, also a dangling one
		p := g.path()
		g.clear(p)
		os.Symlink([]string{"a", "../b", "nowhere", "ä ö"}[g.IntN(4)], filepath.Join(g.root, p))
	case 7: // a rename
		from, to := pick(), g.path()
		if b, err := os.ReadFile(filepath.Join(g.root, from)); err == nil {
			os.Remove(filepath.Join(g.root, from))
			g.clear(to)
			os.WriteFile(filepath.Join(g.root, to), b, 0o644)
		}
	}
}

// untracked is what a person has put into the clone.
type untracked struct {
	content string
	mode    fs.FileMode
	inode   uint64
}

func inode(fi fs.FileInfo) uint64 { return fi.Sys().(*syscall.Stat_t).Ino }

// litter puts untracked files where they don't touch what git has now.
func litter(t *testing.T, g *generator, clone string, known map[string]untracked) {
	t.Helper()
	for range 1 + g.IntN(2) {
		p := filepath.Join(clone, g.path())
		if g.IntN(2) == 0 {
			p = filepath.Join(filepath.Dir(p), "data", "db "+strconv.Itoa(g.IntN(50)))
		}
		if _, err := os.Lstat(p); err == nil {
			continue
		}
		// Not through a link, and not below a file.
		real, err := filepath.EvalSymlinks(filepath.Dir(p))
		if err == nil && real != filepath.Dir(p) || err != nil && !errors.Is(err, fs.ErrNotExist) || os.MkdirAll(filepath.Dir(p), 0o755) != nil {
			continue
		}
		if real, err = filepath.EvalSymlinks(filepath.Dir(p)); err != nil || real != filepath.Dir(p) {
			continue
		}
		content := fmt.Sprintf("precious %d", g.Uint64())
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		fi, _ := os.Lstat(p)
		known[p] = untracked{content, fi.Mode(), inode(fi)}
	}
}

func checkUntracked(t *testing.T, known map[string]untracked) {
	t.Helper()
	for p, want := range known {
		fi, err := os.Lstat(p)
		if err != nil {
			t.Errorf("an untracked file is gone: %q", p)
			continue
		}
		b, _ := os.ReadFile(p)
		if got := (untracked{string(b), fi.Mode(), inode(fi)}); got != want {
			t.Errorf("untracked %q is %v, was %v", p, got, want)
		}
	}
}

func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("REPO_ROUNDS")); err == nil {
		return n
	}
	return 120
}

func seed(t testing.TB) uint64 {
	s, err := strconv.ParseUint(os.Getenv("REPO_SEED"), 10, 64)
	if err != nil {
		s = rand.Uint64()
	}
	t.Logf("REPO_SEED=%d", s)
	return s
}

// TestRandomHistoriesAreCheckedOutAsGitDoes makes random commits, lets the
// clone jump forth and back between them, and holds it against the git command.
// Where an untracked file is in the way the checkout must refuse and change
// nothing.
func TestRandomHistoriesAreCheckedOutAsGitDoes(t *testing.T) {
	w := newWorld(t)
	gittest.Git(t, w.bare, "config", "core.quotepath", "false")
	g := &generator{rand.New(rand.NewPCG(seed(t), 1)), w.work}
	r := w.open()
	known := map[string]untracked{}
	at := mustFetch(t, r).Local
	commits := []string{at}
	moved, refused := 0, 0
	for i := range rounds() {
		target := commits[g.IntN(len(commits))]
		if g.IntN(4) > 0 {
			for range 1 + g.IntN(8) {
				g.step()
			}
			target = w.push("round " + strconv.Itoa(i))
			commits = append(commits, target)
		} else {
			gittest.Git(t, w.work, "reset", "-q", "--hard", target)
			gittest.Git(t, w.work, "clean", "-q", "-fdx")
			gittest.Git(t, w.work, "push", "-q", "-f", "origin", "HEAD:main")
		}
		if g.IntN(3) == 0 {
			litter(t, g, w.clone, known)
		}
		h, fetched := r.Fetch(t.Context())
		if h.Local != at || h.Remote != target {
			t.Fatalf("round %d: heads %+v, want %s and %s", i, h, at, target)
		}
		tree, err := r.Stage(t.Context(), target)
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		staged := listing(t, tree.Dir())
		if err := tree.Close(); err != nil {
			t.Fatal(err)
		}
		before := listing(t, w.clone)
		err = r.Checkout(t.Context(), target)
		if IsBlocked(fetched) != IsBlocked(err) || (fetched == nil) != (err == nil) {
			t.Errorf("round %d: the fetch says %v, the checkout %v", i, fetched, err)
		}
		switch {
		case err == nil:
			at = target
			moved++
			if got := listing(t, w.clone); got != staged {
				t.Errorf("round %d: the staged tree was\n%s\nthe clone is\n%s", i, staged, got)
			}
		case IsBlocked(err) && strings.Contains(err.Error(), "untracked"):
			refused++
			if got := listing(t, w.clone); got != before {
				t.Errorf("round %d: refused, but the clone changed", i)
			}
			outOfTheWay(t, w.clone, err, known)
			if err := r.Checkout(t.Context(), target); err != nil {
				t.Fatalf("round %d: all that was named is away, and still: %v", i, err)
			}
			at = target
		default:
			t.Fatalf("round %d: %v", i, err)
		}
		w.agrees(at)
		checkUntracked(t, known)
		if t.Failed() {
			t.Fatalf("round %d", i)
		}
		if len(known) > 12 {
			for p := range known {
				os.Remove(p)
				delete(known, p)
			}
		}
	}
	t.Logf("%d checkouts, %d refused, %d commits", moved, refused, len(commits))
}

// outOfTheWay removes what a refusal names, which must be untracked.
func outOfTheWay(t *testing.T, clone string, err error, known map[string]untracked) {
	t.Helper()
	var b *BlockedError
	if !errors.As(err, &b) || len(b.Paths) == 0 {
		t.Fatalf("%v names no paths", err)
	}
	for _, p := range b.Paths {
		full := filepath.Join(clone, p)
		if _, err := gittest.Try(clone, "ls-files", "--error-unmatch", "--", ":(literal)"+p); err == nil {
			t.Errorf("%q is named and is tracked", p)
		}
		if _, err := os.Lstat(full); err != nil {
			t.Errorf("%q is named and is not there", p)
		}
		os.RemoveAll(full)
		for k := range known {
			if k == full || strings.HasPrefix(k, full+"/") {
				delete(known, k)
			}
		}
	}
}

// listing describes every file that can be reached at root, links to untracked
// or unchanged things in a staged tree followed.
func listing(t *testing.T, root string) string {
	t.Helper()
	var out []string
	var walk func(dir, rel string)
	walk = func(dir, rel string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			full, name := filepath.Join(dir, e.Name()), filepath.Join(rel, e.Name())
			if rel == "" && e.Name() == ".git" {
				continue
			}
			fi, err := os.Lstat(full)
			if err != nil {
				t.Fatal(err)
			}
			if fi.Mode()&fs.ModeSymlink != 0 {
				target, _ := os.Readlink(full)
				if !filepath.IsAbs(target) { // the generator's links are relative, the stage's absolute
					out = append(out, fmt.Sprintf("%q -> %q", name, target))
					continue
				}
				full = target
				if fi, err = os.Lstat(full); err != nil {
					t.Fatal(err)
				}
			}
			if fi.IsDir() {
				walk(full, name)
				continue
			}
			b, err := os.ReadFile(full)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%q %o %q", name, fi.Mode().Perm()&0o700, b))
		}
	}
	walk(root, "")
	slices.Sort(out)
	return strings.Join(out, "\n")
}
