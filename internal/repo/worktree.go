package repo

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sys/unix"
)

const remedyDirty = "commit and push the change, or undo it with git restore or git stash; untracked files are fine"

// worktree answers whether paths are as git says. It remembers the contents
// that it had to read, so that files whose stamp proves nothing (a copied
// clone, files as young as the index, files that were changed by hand) are read
// once and not at every check.
type worktree struct {
	root     string
	fileMode bool // core.fileMode: the exec bit counts
	eol      bool // line endings may have been converted by git
	verified map[string]verified
}

// verified says whether a file with that stamp is that blob.
type verified struct {
	stamp stamp
	hash  plumbing.Hash
	is    bool
}

func (w *worktree) abs(path string) string { return filepath.Join(w.root, filepath.FromSlash(path)) }

// holds tells whether what stands at path is the entry. x serves as a cache of
// stamps and may be nil.
func (w *worktree) holds(path string, s fileState, want treeEntry, x *index) (bool, error) {
	if !w.modeIs(s, want.mode) {
		return false, nil
	}
	if want.mode == modeSubmodule {
		return true, nil
	}
	now := stampOf(&s.st)
	if x != nil {
		if i, ok := x.find(path); ok {
			e := &x.entries[i]
			if e.hash == want.hash && e.stamp.same(now) && !x.racy(e) {
				return true, nil
			}
		}
	}
	if v, ok := w.verified[path]; ok && v.stamp == now && v.hash == want.hash {
		return v.is, nil
	}
	ok, err := contentIs(w.abs(path), s, want.hash, w.eol)
	// Younger than the clock's resolution, a file may change and keep its stamp.
	if err == nil && time.Since(time.Unix(s.st.Ctim.Unix())) > 2*time.Second {
		if w.verified == nil {
			w.verified = map[string]verified{}
		}
		w.verified[path] = verified{now, want.hash, ok}
	}
	return ok, err
}

// modeIs compares kinds, and the exec bit where it counts.
func (w *worktree) modeIs(s fileState, want uint32) bool {
	switch want {
	case modeFile, modeExec:
		if !w.fileMode {
			return s.mode == modeFile || s.mode == modeExec
		}
		return s.mode == want
	case modeSubmodule:
		return s.mode == modeFolder
	default:
		return s.mode == want
	}
}

// edits is what was changed by hand in the clone, by a person or a container.
type edits struct {
	conflicts []finding // of a merge that was not finished; then nothing else is known
	staged    []finding // the index differs from the head
	files     []finding // the work tree differs from the index
}

// conflict is the refusal of a clone that nobody can work with before a merge in
// it is finished.
func (e edits) conflict() error {
	if e.conflicts == nil {
		return nil
	}
	return refuse("a merge was not finished in the clone", e.conflicts, "finish it, or undo it with git merge --abort")
}

// any is the refusal of a clone in which anything was changed.
func (e edits) any() error {
	switch {
	case e.conflicts != nil:
		return e.conflict()
	case e.staged != nil:
		return refuse("the clone has changes that are not committed", e.staged, remedyDirty)
	case e.files != nil:
		return refuse("tracked files in the clone were changed by hand", e.files, remedyDirty)
	}
	return nil
}

// paths are all that differ from the head, sorted, each once.
func (e edits) paths() []string {
	var out []string
	for _, list := range [][]finding{e.conflicts, e.staged, e.files} {
		for _, f := range list {
			out = append(out, f.path)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// edits compares head, index and work tree. A path that is already as an
// interrupted checkout (pending) wants it is no change. Its errors say that this
// can't be told.
func (r *Repository) edits(ctx context.Context, head plumbing.Hash, pending *journal) (e edits, err error) {
	x, err := r.readIndex()
	if err != nil {
		return e, err
	}
	var states map[string][2]treeEntry
	if pending != nil {
		changes, err := r.changes(ctx, pending.from(), pending.to())
		if err != nil {
			return e, err
		}
		states = make(map[string][2]treeEntry, len(changes))
		for _, c := range changes {
			states[c.path] = [2]treeEntry{c.from, c.to}
		}
	}
	if e.conflicts = x.conflicts(); e.conflicts == nil {
		if e.staged, err = r.staged(ctx, x, head, states); err != nil {
			return e, err
		}
		if e.files, err = r.changedFiles(ctx, x, states); err != nil {
			return e, err
		}
	}
	r.edited, r.looked = e.paths(), true
	return e, nil
}

func (x *index) conflicts() []finding {
	var list []finding
	for i := range x.entries {
		if x.entries[i].stage() != 0 && (i == 0 || x.entries[i-1].path != x.entries[i].path) {
			list = append(list, finding{x.entries[i].path, "in conflict"})
		}
	}
	return list
}

// staged lists what the index has otherwise than the head, but for what an
// interrupted checkout has put there.
func (r *Repository) staged(ctx context.Context, x *index, head plumbing.Hash, also map[string][2]treeEntry) ([]finding, error) {
	want, err := r.objects.rootTree(head)
	if err != nil {
		return nil, err
	}
	if want.IsZero() {
		want = plumbing.NewHash(emptyTree)
	}
	got := x.tree()
	if got == want {
		return nil, nil
	}
	keep := map[plumbing.Hash][]treeEntry{}
	indexTrees(x, keep)
	staged, err := diff(ctx, func(h plumbing.Hash) ([]treeEntry, error) {
		if list, ok := keep[h]; ok {
			return list, nil
		}
		return r.objects.tree(h)
	}, want, got)
	if err != nil {
		return nil, err
	}
	var list []finding
	for _, c := range staged {
		if states, ok := also[c.path]; !ok || !states[1].same(c.to) {
			list = append(list, finding{c.path, "staged"})
		}
	}
	return list, nil
}

// changedFiles compares the tracked files with the index: one lstat each.
func (r *Repository) changedFiles(ctx context.Context, x *index, also map[string][2]treeEntry) ([]finding, error) {
	w := &r.work
	rootFD, err := unix.Open(w.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: w.root, Err: err}
	}
	defer unix.Close(rootFD)
	var list []finding
	folder := "" // the last folder seen to be a real one
	for i := range x.entries {
		e := &x.entries[i]
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e.mode == modeSubmodule || e.flags&flagAssumeValid != 0 || e.ext&(extSkipWorktree|extIntentToAdd) != 0 {
			continue
		}
		var s fileState
		if dir := parent(e.path); dir == folder || w.realFolder(dir) {
			folder = dir
			if s, err = lookAt(rootFD, e.path); err != nil {
				list = append(list, finding{e.path, "unreadable: " + err.Error()})
				continue
			}
		}
		now := stampOf(&s.st)
		if e.stamp.same(now) && w.modeIs(s, canonicalMode(e.mode)) && !x.racy(e) {
			continue
		}
		states := []treeEntry{{mode: canonicalMode(e.mode), hash: e.hash}}
		if c, ok := also[e.path]; ok {
			states = append(states, c[0], c[1])
		}
		if why := r.differs(e.path, s, states, x); why != "" {
			list = append(list, finding{e.path, why})
		}
	}
	return list, nil
}

// differs says in which way a path is none of the states, or "".
func (r *Repository) differs(path string, s fileState, states []treeEntry, x *index) string {
	why := "changed"
	for _, want := range states {
		if want.mode == 0 && (s.mode == 0 || s.mode == modeFolder) {
			return ""
		}
		ok, err := r.work.holds(path, s, want, x)
		if err != nil {
			why = "unreadable: " + err.Error()
		}
		if ok {
			return ""
		}
	}
	switch {
	case s.mode == 0:
		return "deleted"
	case s.mode == modeFolder || s.mode == modeOther:
		return "no longer a file"
	}
	return why
}

// realFolder tells whether dir and everything above it, below the root, are
// folders and not links to some.
func (w *worktree) realFolder(dir string) bool {
	for d := dir; d != ""; d = parent(d) {
		if s, err := look(w.abs(d)); err != nil || s.mode != modeFolder {
			return false
		}
	}
	return true
}

func lookAt(dirFD int, path string) (fileState, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dirFD, path, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return fileState{}, nil
	}
	if err != nil {
		return fileState{}, fmt.Errorf("lstat: %w", err)
	}
	return fileState{st: st, mode: modeOf(&st)}, nil
}

func parent(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ""
	}
	return path[:i]
}

// readIndex returns the index, parsed anew only when the file has changed.
func (r *Repository) readIndex() (*index, error) {
	path := filepath.Join(r.gitDir, "index")
	s, err := look(path)
	if err != nil {
		return nil, err
	}
	now := stampOf(&s.st)
	if r.indexCache != nil && r.indexStamp == now {
		return r.indexCache, nil
	}
	x, err := readIndex(path)
	if err != nil {
		return nil, indexProblem(r.opt.Path, err)
	}
	r.indexCache, r.indexStamp = x, now
	return x, nil
}

func (r *Repository) changes(ctx context.Context, from, to plumbing.Hash) ([]change, error) {
	a, err := r.objects.rootTree(from)
	if err != nil {
		return nil, err
	}
	b, err := r.objects.rootTree(to)
	if err != nil {
		return nil, err
	}
	return diff(ctx, r.objects.tree, a, b)
}
