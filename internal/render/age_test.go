package render

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// whole is a tree of a folder in which git tracks the named paths.
type whole struct {
	dir     string
	tracked map[string]bool
}

func (whole) Commit() string          { return "c" }
func (w whole) Dir() string           { return w.dir }
func (whole) Find(...string) []string { return nil }
func (whole) Edited(string) bool      { return false }
func (w whole) ID(p string) string {
	if w.tracked[p] {
		return "id of " + p
	}
	return ""
}

func TestTheAgeOfAFolderIsThatOfItsNewestTrackedFile(t *testing.T) {
	dir := t.TempDir()
	old, recent, newest := time.Unix(1_000_000, 0), time.Unix(2_000_000, 0), time.Unix(3_000_000, 0)
	for name, at := range map[string]time.Time{"web/www/a": old, "web/www/deep/b": recent, "web/www/data/untracked": newest} {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(full, at, at); err != nil {
			t.Fatal(err)
		}
	}
	tree := whole{dir: dir, tracked: map[string]bool{"web/www": true, "web/www/a": true, "web/www/deep": true, "web/www/deep/b": true}}
	c := content{in: New(Options{Root: dir}).newInputs(tree)}
	in := func(rel string) time.Time { return age(tree, rel) }
	if !c.tracked("bind", filepath.Join(dir, "web/www")) || c.ageless || !latest(c.aged, in).Equal(recent) {
		t.Errorf("touched %v, ageless %v", latest(c.aged, in), c.ageless)
	}
	if c.add("config", "inline", "x"); !c.ageless {
		t.Error("it has no age")
	}
}
