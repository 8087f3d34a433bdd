package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// Tree is a commit's content as a folder on disk, with the clone's untracked
// files in it. It is safe for use by several goroutines. It stays until Close,
// but shows the clone's own files where they are the same: once the clone has
// moved on to a third commit, those show that.
type Tree struct {
	r      *Repository
	commit plumbing.Hash
	root   plumbing.Hash
	dir    string
	shown  shown // what dir has; nil if it is the clone's own folder
	edited map[string]bool
	once   sync.Once
}

// Commit returns the commit's id in hexadecimal.
func (t *Tree) Commit() string { return t.commit.String() }

// Dir returns the folder to load files from. If the commit is what the clone
// has checked out, it is the clone itself.
func (t *Tree) Dir() string { return t.dir }

// Close gives the folder back if it was made for this tree.
func (t *Tree) Close() (err error) {
	t.once.Do(func() {
		if t.shown != nil {
			err = t.r.spare.give(t.dir, t.shown)
		}
	})
	return err
}

// Find lists the tracked files whose base name is one of names, with slashes,
// sorted. In a name * stands for any text. Links count as files.
func (t *Tree) Find(names ...string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	list, err := t.r.finder(names).find(t.root)
	if err != nil {
		t.r.log.Error("tree not readable", "commit", t.Commit(), "err", err)
		return nil
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// ID returns the object id of a tracked file or folder, "" for the root; "" if
// nothing tracked has that path. Equal ids mean equal content; the id of a file
// says nothing about its exec bit, that of a folder does.
//
// It is git's, whatever was changed by hand in the clone. See Edited.
func (t *Tree) ID(path string) string {
	path = strings.Trim(filepath.ToSlash(filepath.Clean("/"+path)), "/")
	if path == "" {
		return t.root.String()
	}
	at, err := t.r.entryAt(t.root, path)
	switch {
	case err != nil:
		t.r.log.Error("tree not readable", "commit", t.Commit(), "err", err)
		return ""
	case at.mode == 0:
		return ""
	default:
		return at.hash.String()
	}
}

// Edited tells whether a tracked file, or one in a tracked folder, was changed by
// hand in the clone, as far as was known when the tree was staged.
func (t *Tree) Edited(path string) bool {
	return len(t.edited) > 0 && t.edited[strings.Trim(filepath.ToSlash(filepath.Clean("/"+path)), "/")]
}

// withFolders has paths and all folders above them.
func withFolders(paths []string) map[string]bool {
	if len(paths) == 0 {
		return nil
	}
	all := map[string]bool{"": true}
	for _, p := range paths {
		for ; p != "" && !all[p]; p = parent(p) {
			all[p] = true
		}
	}
	return all
}

// finder answers Find for one set of names and remembers the answer for each
// tree object, so that only folders that are new are read.
type finder struct {
	r     *Repository
	names []string
	mu    sync.Mutex
	known map[plumbing.Hash][]string
	used  map[plumbing.Hash][]string // what the current search needs; see find
}

func (r *Repository) finder(names []string) *finder {
	r.findersMu.Lock()
	defer r.findersMu.Unlock()
	key := strings.Join(names, "\x00")
	f := r.finders[key]
	if f == nil {
		f = &finder{r: r, names: names}
		if r.finders == nil {
			r.finders = map[string]*finder{}
		}
		r.finders[key] = f
	}
	return f
}

func (f *finder) find(root plumbing.Hash) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if list, ok := f.known[root]; ok {
		return list, nil
	}
	f.used = map[plumbing.Hash][]string{}
	list, err := f.folder(root)
	if err != nil {
		return nil, err
	}
	// Folders of trees long gone must not pile up: once they are the greater
	// part, only what this tree needs is kept.
	if f.known == nil || len(f.known) > 2*len(f.used)+4096 {
		f.known = f.used
	} else {
		maps.Copy(f.known, f.used)
	}
	f.used = nil
	return list, nil
}

func (f *finder) folder(h plumbing.Hash) ([]string, error) {
	if list, ok := f.known[h]; ok {
		f.used[h] = list
		return list, nil
	}
	if list, ok := f.used[h]; ok {
		return list, nil
	}
	entries, err := f.r.tree(h)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.folder() {
			below, err := f.folder(e.hash)
			if err != nil {
				return nil, err
			}
			for _, p := range below {
				out = append(out, e.name+"/"+p)
			}
			continue
		}
		if e.mode != modeSubmodule && slices.ContainsFunc(f.names, func(pattern string) bool { return isName(pattern, e.name) }) {
			out = append(out, e.name)
		}
	}
	f.used[h] = out
	return out, nil
}

// isName says whether a pattern of Find is for a name.
func isName(pattern, name string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == name
	}
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return true
}

// Stage shows the tree of a commit as a folder without touching the clone's
// files. Folders that don't differ from the clone's head are one link each, and
// only what differs from the last stage is written.
func (r *Repository) Stage(ctx context.Context, commit string) (*Tree, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(); err != nil {
		return nil, err
	}
	t := &Tree{r: r, commit: plumbing.NewHash(commit), dir: r.work.root}
	if err := r.stage(ctx, t); err != nil {
		_ = t.Close()
		return nil, fmt.Errorf("stage %s: %w", short(commit), err)
	}
	return t, nil
}

func (r *Repository) stage(ctx context.Context, t *Tree) error {
	head, err := r.head()
	if err != nil {
		return err
	}
	if t.root, err = r.objects.rootTree(t.commit); err != nil {
		return r.distrust(err)
	}
	pending, err := r.pending(head)
	if err != nil {
		return err
	}
	if !r.looked {
		if _, err := r.edits(ctx, head, pending, nil); err != nil {
			return r.distrust(err)
		}
	}
	t.edited = withFolders(r.edited)
	if t.commit == head && pending == nil {
		return nil
	}
	base, err := r.objects.rootTree(head)
	if err != nil {
		return err
	}
	x, err := r.readIndex()
	if err != nil {
		return err
	}
	s := &stager{ctx: ctx, r: r, edited: t.edited, want: shown{}, links: x.others().links}
	bases := []plumbing.Hash{base}
	if pending != nil {
		// Half of the clone is the interrupted checkout's: a path may be linked to
		// only if both agree on it.
		half, err := r.objects.rootTree(pending.to())
		if err != nil {
			return err
		}
		bases = append(bases, half)
	}
	if err := r.distrust(s.folder("", bases, t.root)); err != nil {
		return err
	}
	if t.dir, t.shown = r.spare.take(); t.shown == nil {
		if t.dir, err = r.stageFolder(t.commit.String()); err != nil {
			return err
		}
	}
	if err := r.show(t.dir, t.shown, s.want); err != nil {
		return errors.Join(r.distrust(err), os.RemoveAll(t.dir))
	}
	t.shown = s.want
	return nil
}

func (r *Repository) stageFolder(commit string) (string, error) {
	parent := ""
	if !r.opt.ReadOnly {
		if err := r.makeState(); err != nil {
			return "", err
		}
		parent = r.state("stage")
		if err := os.Mkdir(parent, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return os.MkdirTemp(parent, "gitops-compose-"+short(commit)+"-")
}

type stager struct {
	ctx   context.Context
	r     *Repository
	links []string // the paths of all tracked links, sorted

	edited map[string]bool // see Tree
	want   shown
}

// folder wants the tree `want` at path. bases are the trees that the clone's
// folder there may hold; a zero hash is none.
func (s *stager) folder(path string, bases []plumbing.Hash, want plumbing.Hash) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	wanted, err := s.r.tree(want)
	if err != nil {
		return err
	}
	had, err := s.had(bases)
	if err != nil {
		return err
	}
	tracked := make(map[string]bool, len(wanted))
	for _, e := range wanted {
		tracked[e.name] = true
		if why := unsafeName(e.name); why != "" {
			return blocked("the commit has the path %s, which is not safe to write: %s", quotePath(join(path, e.name)), why)
		}
		if err := s.entry(join(path, e.name), had[e.name], e); err != nil {
			return err
		}
	}
	for name, entries := range had {
		if tracked[name] {
			continue
		}
		tracked[name] = true
		// A folder that goes: what is untracked in it stays, and is shown.
		if err := s.gone(join(path, name), entries); err != nil {
			return err
		}
	}
	s.untracked(path, tracked)
	return nil
}

// had returns what the clone may hold under each name: one entry per base.
func (s *stager) had(bases []plumbing.Hash) (map[string][]treeEntry, error) {
	var out map[string][]treeEntry
	for i, b := range bases {
		list, err := s.r.tree(b)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = make(map[string][]treeEntry, len(list))
		}
		room := make([]treeEntry, len(list)*len(bases))
		for _, e := range list {
			if out[e.name] == nil {
				out[e.name], room = room[:len(bases)], room[len(bases):]
			}
			out[e.name][i] = e
		}
	}
	return out, nil
}

func folders(entries []treeEntry) []plumbing.Hash {
	out := make([]plumbing.Hash, len(entries))
	for i, e := range entries {
		if e.folder() {
			out[i] = e.hash
		}
	}
	return out
}

func (s *stager) entry(path string, had []treeEntry, e treeEntry) error {
	unchanged := had != nil && !slices.ContainsFunc(had, func(h treeEntry) bool { return !h.same(e) })
	if unchanged && s.edited[path] {
		if now, err := look(s.r.work.abs(path)); err == nil && now.mode == 0 {
			return nil // deleted by hand
		}
	}
	switch {
	case e.folder():
		// A link that is reached through a linked folder would be followed in the
		// clone, to what another commit has there.
		if !unchanged || s.hasLinks(path) {
			s.want[path] = shownEntry{folder: true}
			return s.folder(path, folders(had), e.hash)
		}
		s.want[path] = shownEntry{link: s.r.work.abs(path)}
	case e.mode == modeSubmodule, unchanged && e.mode != modeLink:
		s.want[path] = shownEntry{link: s.r.work.abs(path)}
	default:
		s.want[path] = shownEntry{blob: treeEntry{mode: e.mode, hash: e.hash}}
	}
	return nil
}

// gone wants what is untracked in a folder that the commit no longer has.
func (s *stager) gone(path string, had []treeEntry) error {
	if !slices.ContainsFunc(had, treeEntry.folder) {
		return nil
	}
	before := len(s.want)
	if err := s.folder(path, folders(had), plumbing.ZeroHash); err != nil {
		return err
	}
	if len(s.want) > before {
		s.want[path] = shownEntry{folder: true}
	}
	return nil
}

// untracked wants links to what the clone has in the folder beside tracked
// files. A folder that the daemon may not read (a database's) is as if empty:
// nothing in it can be part of a stack.
func (s *stager) untracked(path string, tracked map[string]bool) {
	// Only if it is a real folder, all the way: a link would lead elsewhere.
	if !s.r.work.realFolder(path) {
		return
	}
	entries, err := os.ReadDir(s.r.work.abs(path))
	if err != nil {
		s.r.log.Debug("folder not read", "path", path, "err", err)
		return
	}
	for _, e := range entries {
		if !tracked[e.Name()] && (path != "" || e.Name() != ".git") {
			s.want[join(path, e.Name())] = shownEntry{link: s.r.work.abs(join(path, e.Name()))}
		}
	}
}

// hasLinks tells whether a link is tracked below an unchanged folder. The index
// knows: what hasn't changed is what the clone has.
func (s *stager) hasLinks(path string) bool {
	i, _ := slices.BinarySearch(s.links, path+"/")
	return i < len(s.links) && strings.HasPrefix(s.links[i], path+"/")
}
