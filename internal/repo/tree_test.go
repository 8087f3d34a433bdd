package repo

import (
	"strings"
	"testing"
)

func TestTreeEntriesAreInTheOrderOfGit(t *testing.T) {
	sortName := func(e treeEntry) string {
		if e.folder() {
			return e.name + "/"
		}
		return e.name
	}
	var all []treeEntry
	for _, name := range []string{"a", "a-b", "a.b", "a/", "a/b", "a0", "ab", "b", "A", "é", "a\x01"} {
		all = append(all, treeEntry{name: name, mode: modeFile}, treeEntry{name: name, mode: modeFolder}, treeEntry{name: name, mode: modeLink})
	}
	for _, x := range all {
		for _, y := range all {
			if got, want := x.compare(y), strings.Compare(sortName(x), sortName(y)); got != want {
				t.Errorf("%q (%o) and %q (%o): %d, want %d", x.name, x.mode, y.name, y.mode, got, want)
			}
		}
	}
}
