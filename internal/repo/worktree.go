package repo

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sys/unix"
)

const remedyDirty = "commit and push the change, or undo it with git restore or git stash; untracked files are fine"

// worktree answers whether paths are as git says. It remembers the contents
// that it had to read, so that files whose stamp proves nothing (a copied
// clone, files as young as the index) are read once and not at every check.
type worktree struct {
	root     string
	fileMode bool // core.fileMode: the exec bit counts
	eol      bool // line endings may have been converted by git
	verified map[string]verified
}

type verified struct {
	stamp stamp
	hash  plumbing.Hash
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
		return true, nil
	}
	ok, err := contentIs(w.abs(path), s, want.hash, w.eol)
	// Younger than the clock's resolution, a file may change and keep its stamp.
	if ok && time.Since(time.Unix(s.st.Ctim.Unix())) > 2*time.Second {
		if w.verified == nil {
			w.verified = map[string]verified{}
		}
		w.verified[path] = verified{now, want.hash}
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

// check compares head, index and work tree and returns a BlockedError that
// names what a person changed. A path that is already as an interrupted
// checkout (pending) wants it is no change.
func (r *Repository) check(ctx context.Context, head plumbing.Hash, pending *journal) error {
	x, err := r.readIndex()
	if err != nil {
		return err
	}
	if err := r.checkIndex(ctx, x, head, pending); err != nil {
		return err
	}
	if pending == nil {
		return r.checkFiles(ctx, x, nil)
	}
	changes, err := r.changes(ctx, pending.from(), pending.to())
	if err != nil {
		return err
	}
	states := make(map[string][2]treeEntry, len(changes))
	for _, c := range changes {
		states[c.path] = [2]treeEntry{c.from, c.to}
	}
	return r.checkFiles(ctx, x, states)
}

// checkIndex refuses conflicts and anything staged.
func (r *Repository) checkIndex(ctx context.Context, x *index, head plumbing.Hash, pending *journal) error {
	var conflicts []finding
	for i := range x.entries {
		if x.entries[i].stage() != 0 && (i == 0 || x.entries[i-1].path != x.entries[i].path) {
			conflicts = append(conflicts, finding{x.entries[i].path, "in conflict"})
		}
	}
	if conflicts != nil {
		return refuse("a merge was not finished in the clone", conflicts, "finish it, or undo it with git merge --abort")
	}
	want, err := r.objects.rootTree(head)
	if err != nil {
		return err
	}
	if want.IsZero() {
		want = plumbing.NewHash(emptyTree)
	}
	got := x.tree()
	if got == want {
		return nil
	}
	if pending != nil {
		to, err := r.objects.rootTree(pending.to())
		if err != nil {
			return err
		}
		if got == to {
			return nil
		}
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
		return err
	}
	var list []finding
	for _, c := range staged {
		list = append(list, finding{c.path, "staged"})
	}
	return refuse("the clone has changes that are not committed", list, remedyDirty)
}

// checkFiles compares the tracked files with the index: one lstat each.
func (r *Repository) checkFiles(ctx context.Context, x *index, also map[string][2]treeEntry) error {
	w := &r.work
	rootFD, err := unix.Open(w.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: w.root, Err: err}
	}
	defer unix.Close(rootFD)
	var list []finding
	folder := "" // the last folder seen to be a real one
	for i := range x.entries {
		e := &x.entries[i]
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
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
	if list == nil {
		return nil
	}
	return refuse("tracked files in the clone were changed by hand", list, remedyDirty)
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
