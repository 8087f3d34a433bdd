package repo

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

// files tells what a staged folder has, and whether it is still the same file.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(full string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := os.Lstat(full)
		if rel, _ := filepath.Rel(dir, full); err == nil && rel != "." && !fi.IsDir() {
			s := fi.Sys().(*syscall.Stat_t)
			all[rel] = fmt.Sprint(s.Ino, s.Ctim) // an inode's number may be used again at once
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestOnlyWhatDiffersFromTheLastStageIsWritten(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c", "nested/d", "nested/e"} {
		w.write(name+"/compose.yaml", "one\n")
	}
	w.push("base")
	w.git("pull", "-q")
	gittest.Write(t, w.clone, "nested/notes", "mine")
	r := w.open()
	stage := func(commit string) map[string]string {
		t.Helper()
		mustFetch(t, r)
		tree, err := r.Stage(t.Context(), commit)
		if err != nil {
			t.Fatal(err)
		}
		got := files(t, tree.Dir())
		b, err := os.ReadFile(filepath.Join(tree.Dir(), "nested/d/compose.yaml"))
		if want := gittest.Git(t, w.work, "show", commit+":nested/d/compose.yaml"); err != nil || strings.TrimSpace(string(b)) != want {
			t.Errorf("%q, %v; want %q", b, err, want)
		}
		if err := tree.Close(); err != nil {
			t.Fatal(err)
		}
		return got
	}
	w.write("nested/d/compose.yaml", "two\n")
	first := stage(w.push("two"))
	w.write("nested/d/compose.yaml", "three\n")
	w.write("b/compose.yaml", "three\n")
	second := stage(w.push("three"))
	var kept, written []string
	for _, name := range slices.Sorted(maps.Keys(second)) {
		if first[name] == second[name] {
			kept = append(kept, name)
		} else {
			written = append(written, name)
		}
	}
	if got := strings.Join(kept, " "); got != "README a app c nested/e nested/notes" {
		t.Errorf("kept %s", got)
	}
	if got := strings.Join(written, " "); got != "b/compose.yaml nested/d/compose.yaml" {
		t.Errorf("written %s", got)
	}
	if left, err := os.ReadDir(r.state("stage")); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestTreesThatAreStagedAtOnceHaveFoldersOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	w.write("a/compose.yaml", "one\n")
	one := w.push("one")
	w.write("a/compose.yaml", "two\n")
	two := w.push("two")
	r := w.open()
	mustFetch(t, r)
	a, err := r.Stage(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Stage(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	for tree, want := range map[*Tree]string{a: "one\n", b: "two\n"} {
		if got, err := os.ReadFile(filepath.Join(tree.Dir(), "a/compose.yaml")); err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	for _, tree := range []*Tree{a, b} {
		if err := tree.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(r.state("stage")); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestAFolderThatIsShownBecomesWhatIsWanted(t *testing.T) {
	link := func(to string) shownEntry { return shownEntry{link: to} }
	folder := shownEntry{folder: true}
	steps := []shown{
		{"a": link("/x"), "a-b": link("/y"), "d": folder, "d/e": link("/z"), "d/f": folder, "d/f/g": link("/g")},
		{"a": folder, "a/b": link("/x"), "a-b": link("/y"), "d": folder, "d/f": folder, "d/f/g": link("/h")},
		{"a": link("/x"), "d": link("/d")},
		{"d": folder, "d/e": link("/z"), "d/f": folder, "d/f/g": link("/g")},
		{},
	}
	dir := t.TempDir()
	r := &Repository{}
	has := shown{}
	for i, want := range steps {
		if err := r.show(dir, has, maps.Clone(want)); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		got := shown{}
		err := filepath.WalkDir(dir, func(full string, e os.DirEntry, err error) error {
			rel, _ := filepath.Rel(dir, full)
			switch {
			case err != nil || rel == ".":
			case e.IsDir():
				got[rel] = folder
			default:
				to, err := os.Readlink(full)
				if err != nil {
					return err
				}
				got[rel] = link(to)
			}
			return err
		})
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("step %d: %v, has %v, want %v", i, err, got, want)
		}
		has = maps.Clone(want)
	}
}
