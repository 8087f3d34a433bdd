package render

import (
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// entry is what the load of a stack came to, with all that it depended on. A
// stack is loaded again when something of that is another, be it at the same
// commit, and not when nothing is, be it at another commit.
type entry struct {
	project Project
	// root is git's id of the tree that ids were last compared with; if it is the
	// same, all of them are.
	root string
	ids  []idsOf
	// env is the version of the environment of the load.
	env int
	// files are the paths that were there.
	files []seen
	// absent are the ones that were looked for and not there.
	absent []absence
	// unsure says that it may depend on more, or on what changed while it was
	// loaded. Then it only serves to confirm the next load.
	unsure bool
	// used is the round of the Loader that last needed it.
	used int
}

// idsOf are git's ids of what a load looked at in one folder; empty for what is
// not tracked. If the folder's own id is the same, all of them are, and what is
// a link.
type idsOf struct {
	folder, id string
	paths, ids []string
}

// seen is a path that a load looked at.
type seen struct {
	path string // see inputs.paths
	how  how
	// place says that only where it leads counts, and not what is in it.
	place bool
	// target is where it leads, see inputs.target; stamp is that of the target.
	// Both are empty by id.
	target string
	stamp  stamp
}

// how is what tells whether something changed.
type how int

const (
	// byID: git tracks it, it is no link, and nobody changed it by hand.
	byID how = iota
	// byTarget: it is a link, or behind one, to what byID is for.
	byTarget
	// byStamp: git says nothing of it.
	byStamp
)

// absence are paths of one folder that are not there. They are not looked for
// one by one as long as the folder is as it was.
type absence struct {
	folder string
	stamp  stamp
	paths  []string
}

// ages are the times of tracked paths that services use, as far as they were asked
// for, and where they were taken from. Git's ids do not tell of times: those of
// another commit, or of another place, are other ones, and so are those of what is
// changed by hand.
type ages struct {
	commit, dir string
	known       map[string]time.Time
}

// agesIn gives those of a tree. Without another id, times only change with a
// checkout.
func (l *Loader) agesIn(tree Tree) *ages {
	if a := l.ages; a == nil || a.commit != tree.Commit() || a.dir != tree.Dir() {
		l.ages = newAges(tree)
	}
	return l.ages
}

func newAges(tree Tree) *ages {
	return &ages{commit: tree.Commit(), dir: tree.Dir(), known: map[string]time.Time{}}
}

// touched is when what a service uses was last written, as plan.Service has it.
func (p Project) touched(service string) time.Time {
	return latest(p.aged[service], func(rel string) time.Time {
		if filepath.IsAbs(rel) || p.tree.ID(rel) == "" {
			return age(p.tree, rel) // it may change at any time
		}
		at, known := p.ages.known[rel]
		if !known {
			at = age(p.tree, rel)
			p.ages.known[rel] = at
		}
		return at
	})
}

// look compares entries with one tree. It is for one goroutine.
type look struct {
	loader *Loader
	tree   Tree
	root   string
	edited bool              // something in the tree is
	known  map[string]string // ids that were asked for
	ages   *ages
	began  time.Time
}

func (l *Loader) newLook(tree Tree) *look {
	return &look{
		loader: l, tree: tree, root: tree.ID(""), edited: tree.Edited(""), known: map[string]string{}, ages: l.agesIn(tree), began: time.Now(),
	}
}

// another is a look of the same moment for another goroutine.
func (k *look) another() *look {
	other := *k
	other.known = map[string]string{}
	return &other
}

func (k *look) id(p string) string {
	id, ok := k.known[p]
	if !ok {
		id = k.tree.ID(p)
		k.known[p] = id
	}
	return id
}

// find gives the entry of a stack that a load of the tree would come to.
func (k *look) find(entries []*entry) *entry {
	for _, e := range entries {
		if k.holds(e) {
			return e
		}
	}
	return nil
}

func (k *look) holds(e *entry) bool {
	if e.unsure || e.env != k.loader.env.version {
		return false
	}
	moved, ok := k.sameIDs(e)
	if !ok {
		return false
	}
	for i := range e.files {
		if !k.same(&e.files[i], moved) {
			return false
		}
	}
	for i := range e.absent {
		if !k.stillAbsent(&e.absent[i]) {
			return false
		}
	}
	if e.root != k.root || k.root == "" {
		for i := range e.ids {
			e.ids[i].id = k.id(e.ids[i].folder)
		}
		e.root = k.root
	}
	return true
}

// sameIDs compares git's ids. moved are the folders that have another, though
// what was looked at in them has not: there, a file may have become a link.
func (k *look) sameIDs(e *entry) (moved []string, ok bool) {
	if k.root != "" && e.root == k.root {
		return nil, true
	}
	for _, of := range e.ids {
		if of.id != "" && of.id == k.id(of.folder) {
			continue
		}
		for i, p := range of.paths {
			if k.id(p) != of.ids[i] {
				return nil, false
			}
		}
		moved = append(moved, of.folder)
	}
	return moved, true
}

func (k *look) same(s *seen, moved []string) bool {
	leads := func() string { return k.loader.target(k.tree, place(k.tree, s.path)) }
	if s.how == byID {
		edited := k.edited && k.tree.Edited(s.path)
		if edited || slices.Contains(moved, folderOf(s.path)) {
			return (s.place || !edited) && leads() == s.path
		}
		return true
	}
	now := stampOf(place(k.tree, s.path))
	if now == s.stamp || s.place && now.file() == s.stamp.file() {
		return true
	}
	if s.how == byStamp && !s.place || leads() != s.target || s.how == byTarget && k.tree.Edited(s.target) {
		return false
	}
	if s.place || now.settled(k.began, k.loader.tick) {
		s.stamp = now
	}
	return true
}

func (k *look) stillAbsent(a *absence) bool {
	now := stampOf(place(k.tree, a.folder)) // before its entries are looked at
	if now == a.stamp && now.missing == 0 {
		return true
	}
	for _, p := range a.paths {
		if !nothing(place(k.tree, p)) {
			return false
		}
	}
	a.stamp = stamp{}
	if now.settled(k.began, k.loader.tick) {
		a.stamp = now
	}
	return true
}

// give gives the project as a load of the tree would.
func (k *look) give(e *entry) Project {
	e.project.ages = k.agesOf(e.project)
	p := e.project
	p.Commit, p.tree = k.tree.Commit(), k.tree
	return p
}

// agesOf are new ones with each look where something was changed by hand.
func (k *look) agesOf(p Project) *ages {
	if k.edited {
		for _, paths := range p.aged {
			if slices.ContainsFunc(paths, k.tree.Edited) {
				return newAges(k.tree)
			}
		}
	}
	return k.ages
}

// forget drops what neither this round nor the two before it needed: a tree
// that is looked at in turns with another one keeps its entries.
func (l *Loader) forget() {
	for file, entries := range l.cache {
		entries = slices.DeleteFunc(entries, func(e *entry) bool { return e.used < l.round-2 })
		if l.cache[file] = entries; len(entries) == 0 {
			delete(l.cache, file)
			delete(l.warned, file)
		}
	}
}

// target is where a path leads once all links are followed: relative to the
// repository if that is inside of it, else in full; "" if it can't be told.
func (l *Loader) target(tree Tree, full string) string {
	real, err := filepath.EvalSymlinks(full)
	if err != nil {
		return ""
	}
	rel, inside := l.rel(tree, real)
	switch {
	case !inside:
		return real
	case rel == "":
		return "."
	default:
		return filepath.ToSlash(rel)
	}
}

// folderOf is the folder of a path of the repository; "" is the root.
func folderOf(p string) string {
	if dir := path.Dir(p); dir != "." {
		return dir
	}
	return ""
}

// entry makes the entry of a load that has ended. What was written, came or went
// since it began may have been read before or after that: then it is unsure.
func (in *inputs) entry(p Project) *entry {
	e := &entry{project: p, root: in.tree.ID(""), unsure: in.volatile, env: in.loader.env.version}
	absent := map[string][]string{}
	for p := range in.paths {
		if nothing(place(in.tree, p)) {
			in.id(p)
			absent[path.Dir(p)] = append(absent[path.Dir(p)], p)
			continue
		}
		s := in.seen(p, false)
		e.files = append(e.files, s)
		e.unsure = e.unsure || s.how == byStamp && !in.settled(s.path, s.stamp)
	}
	for p := range in.places {
		if !in.paths[p] {
			e.files = append(e.files, in.seen(p, true))
		}
	}
	for folder, paths := range absent {
		e.absent = append(e.absent, absence{folder: folder, paths: paths})
		e.unsure = e.unsure || !in.settledFolder(folder)
	}
	byFolder := map[string]*idsOf{}
	for p, id := range in.ids {
		folder := folderOf(p)
		of := byFolder[folder]
		if of == nil {
			of = &idsOf{folder: folder, id: in.tree.ID(folder)}
			byFolder[folder] = of
		}
		of.paths, of.ids = append(of.paths, p), append(of.ids, id)
	}
	for _, of := range byFolder {
		e.ids = append(e.ids, *of)
	}
	return e
}

// seen takes down a path as it is after the load.
func (in *inputs) seen(p string, only bool) seen {
	full := place(in.tree, p)
	s := seen{path: p, place: only, how: byStamp, target: in.loader.target(in.tree, full), stamp: stampOf(full)}
	fixed := func(p string) bool { return p != "" && in.id(p) != "" && !in.tree.Edited(p) }
	switch {
	case s.target == p && fixed(p):
		return seen{path: p, place: only, how: byID}
	case !only && s.target != p && fixed(s.target):
		s.how = byTarget
	}
	return s
}

// settled says whether a file is as it was when the load began. Since when one
// can't be looked at is not known; it is enough if the last load met it so.
func (in *inputs) settled(p string, s stamp) bool {
	if s.missing == 0 {
		return s.settled(in.began, in.loader.tick)
	}
	return slices.ContainsFunc(in.before, func(e *entry) bool {
		return slices.ContainsFunc(e.files, func(f seen) bool { return f.path == p && f.stamp == s })
	})
}

// settledFolder says whether nothing came or went in a folder since the load
// began. If there is none, that goes for the one above. In a staged tree nobody
// changes anything.
func (in *inputs) settledFolder(folder string) bool {
	full := place(in.tree, folder)
	s := stampOf(full)
	for s.missing == syscall.ENOENT && full != filepath.Dir(full) {
		full = filepath.Dir(full)
		s = stampOf(full)
	}
	return s.settled(in.began, in.loader.tick) || in.staged(full)
}

// staged says whether a path lies in a staged tree, and not in the clone.
func (in *inputs) staged(full string) bool {
	dir := in.tree.Dir()
	if dir == in.loader.o.Root || dir == in.loader.realRoot {
		return false
	}
	real, err := filepath.EvalSymlinks(full)
	root, rootErr := filepath.EvalSymlinks(dir)
	_, inside := within(root, real)
	return err == nil && rootErr == nil && root != in.loader.realRoot && inside
}
