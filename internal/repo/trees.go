package repo

import (
	"slices"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// keptEntries is how many entries of trees are kept at least, once as many were
// read; twice as many at most. An entry takes about 100 bytes.
const keptEntries = 8192

// entries are those of a tree object. They are shared: nobody may change them.
type entries []treeEntry

// sorted says whether they are in git's order, as those of all sane tools are.
func (e entries) sorted() bool { return slices.IsSortedFunc(e, treeEntry.compare) }

// find gives the entry with a name.
func (e entries) find(name string) (treeEntry, bool) {
	for _, want := range []treeEntry{{name: name, mode: modeFile}, {name: name, mode: modeFolder}} {
		if i, ok := slices.BinarySearchFunc(e, want, treeEntry.compare); ok {
			return e[i], true
		}
	}
	return treeEntry{}, false
}

// trees remembers trees that were read, as they are asked for again and again:
// one look at 500 stacks reads the root tree 500 times. A tree never changes.
type trees struct {
	mu         sync.Mutex
	young, old map[plumbing.Hash]entries
	count      int // entries in young
}

func (t *trees) get(h plumbing.Hash) (entries, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if list, ok := t.young[h]; ok {
		return list, true
	}
	list, ok := t.old[h]
	if ok {
		t.keep(h, list)
	}
	return list, ok
}

func (t *trees) put(h plumbing.Hash, list entries) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(h, list)
}

func (t *trees) keep(h plumbing.Hash, list entries) {
	if t.young == nil || t.count >= keptEntries {
		t.young, t.old, t.count = map[plumbing.Hash]entries{}, t.young, 0
	}
	t.young[h] = list
	t.count += len(list) + 1
}
