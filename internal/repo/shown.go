package repo

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// shown is what a staged folder has, by path.
type shown map[string]shownEntry

// shownEntry is one of: a link into the clone, a folder, a tracked file or link.
type shownEntry struct {
	link   string
	folder bool
	blob   treeEntry // without a name
}

// show makes a folder that has `has` have `want`. It need not survive a crash, so
// nothing is synced: the next start removes it.
func (r *Repository) show(dir string, has, want shown) error {
	removed := ""
	for _, path := range slices.Sorted(maps.Keys(has)) {
		if removed != "" && strings.HasPrefix(path, removed+"/") {
			continue // it went with its folder
		}
		e, ok := want[path]
		if ok && e == has[path] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, path)); err != nil {
			return err
		}
		delete(has, path)
		removed = path
	}
	for path := range has {
		for above := parent(path); above != ""; above = parent(above) {
			if _, there := has[above]; !there {
				delete(has, path)
			}
		}
	}
	plain := Repository{objects: r.objects, log: slog.New(slog.DiscardHandler)} // the checkout will warn
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if _, there := has[path]; there {
			continue
		}
		at, e := filepath.Join(dir, path), want[path]
		var err error
		switch {
		case e.folder:
			err = os.Mkdir(at, 0o700)
		case e.link != "":
			err = os.Symlink(e.link, at)
		default:
			err = plain.writeBlob(at, action{change: change{to: e.blob}}, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// spare is a folder that was staged before and that nobody reads any more.
type spare struct {
	mu  sync.Mutex
	dir string
	has shown
}

// take gives the folder to one who stages; nil if there is none.
func (s *spare) take() (dir string, has shown) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir, has = s.dir, s.has
	s.dir, s.has = "", nil
	return dir, has
}

// give takes a folder back, unless there is one: one is all that is staged as a
// rule.
func (s *spare) give(dir string, has shown) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has != nil {
		return os.RemoveAll(dir)
	}
	s.dir, s.has = dir, has
	return nil
}
