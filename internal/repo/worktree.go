package repo

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	autocrlf bool // core.autocrlf: git converts line endings
	// attributesFile is core.attributesFile, or "".
	attributesFile string
	// filters says whether a filter is configured; nil if none of them is known.
	filters func(name string) bool
	// blob gives a blob that is not larger than some bytes, and nil for others;
	// unsure is told of files that go through a conversion that is not
	// made here, and of the attribute. Either may be nil.
	blob     func(blob plumbing.Hash, most int64) ([]byte, error)
	unsure   func(path, attribute string)
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
	ok, err := contentIs(w.abs(path), s, want.hash)
	if err == nil && !ok && s.mode != modeLink {
		ok, err = w.converted(path, s, want.hash)
	}
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
// interrupted checkout (pending) wants it is no change. seen may be nil. Its
// errors say that this can't be told.
func (r *Repository) edits(ctx context.Context, head plumbing.Hash, pending *journal, seen *sighting) (e edits, err error) {
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
	if e.conflicts = x.others().conflicts; e.conflicts == nil {
		if e.staged, err = r.staged(ctx, x, head, states); err != nil {
			return e, err
		}
		if e.files, err = r.changedFiles(ctx, x, states, seen); err != nil {
			return e, err
		}
	}
	r.edited, r.looked = e.paths(), true
	return e, nil
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
			list = append(list, finding{path: c.path, why: "staged"})
		}
	}
	return list, nil
}

// changedFiles compares the tracked files with the index.
func (r *Repository) changedFiles(ctx context.Context, x *index, also map[string][2]treeEntry, seen *sighting) ([]finding, error) {
	before := seen.counts(x)
	if !before {
		var err error
		if seen, err = r.work.sight(ctx, x); err != nil {
			return nil, err
		}
	}
	judge := func(s suspect) string {
		states := []treeEntry{{mode: canonicalMode(s.mode), hash: s.hash}}
		if c, ok := also[s.path]; ok {
			states = append(states, c[0], c[1])
		}
		return r.differs(s, states, x)
	}
	var list []finding
	for _, s := range seen.suspects {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		why := judge(s)
		if why != "" && before { // and may have been put right since
			s.now, s.err = r.work.look(s.path)
			why = judge(s)
		}
		if why != "" {
			list = append(list, finding{path: s.path, why: why})
		}
	}
	return list, nil
}

// sighting is what a look at all tracked files came to.
type sighting struct {
	index    *index
	began    time.Time
	suspects []suspect // in the order of the index
}

// suspect is an entry of the index whose file has a stamp that does not prove
// that it is unchanged.
type suspect struct {
	*indexEntry
	now fileState
	err error // now is not known
}

// sightingLasts is for how long a sighting counts. What is changed after it is
// seen by the next one.
const sightingLasts = time.Second

// counts says whether it tells how the files stand now beside an index.
func (s *sighting) counts(x *index) bool {
	return s != nil && s.index == x && time.Since(s.began) < sightingLasts
}

const (
	// lookers is how many goroutines look at files at most: with more, they wait
	// for each other in the kernel.
	lookers = 4
	// lookedAtOnce is how many files one of them takes at a time.
	lookedAtOnce = 1024
)

// sight looks at every tracked file: one lstat each. In a large repository that is
// the greater part of a check, and most of that is waiting for memory, so that
// several share the work.
func (w *worktree) sight(ctx context.Context, x *index) (*sighting, error) {
	s := &sighting{index: x, began: time.Now()}
	root, err := unix.Open(w.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: w.root, Err: err}
	}
	defer unix.Close(root)
	parts := slices.Collect(slices.Chunk(x.entries, lookedAtOnce))
	found, errs := make([][]suspect, len(parts)), make([]error, len(parts))
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), lookers, len(parts)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(parts) && ctx.Err() == nil; i = next.Add(1) - 1 {
				found[i], errs[i] = w.suspects(root, x, parts[i])
			}
		})
	}
	wg.Wait()
	s.suspects = slices.Concat(found...)
	return s, errors.Join(append(errs, ctx.Err())...)
}

// suspects looks at the files of some entries.
func (w *worktree) suspects(root int, x *index, entries []indexEntry) ([]suspect, error) {
	var list []suspect
	trail := trail{{"", root}}
	defer trail.leave("")
	for i := range entries {
		e := &entries[i]
		if e.mode == modeSubmodule || e.flags&flagAssumeValid != 0 || e.ext&(extSkipWorktree|extIntentToAdd) != 0 {
			continue
		}
		s, err := trail.look(e.path)
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) { // it says nothing of the file
			return nil, err
		}
		if err != nil || !e.stamp.same(stampOf(&s.st)) || !w.modeIs(s, canonicalMode(e.mode)) || x.racy(e) {
			list = append(list, suspect{e, s, err})
		}
	}
	return list, nil
}

// differs says in which way a path is none of the states, or "".
func (r *Repository) differs(s suspect, states []treeEntry, x *index) string {
	if s.err != nil {
		return "unreadable: " + s.err.Error()
	}
	why := "changed"
	for _, want := range states {
		if want.mode == 0 && (s.now.mode == 0 || s.now.mode == modeFolder) {
			return ""
		}
		ok, err := r.work.holds(s.path, s.now, want, x)
		if err != nil {
			why = "unreadable: " + err.Error()
		}
		if ok {
			return ""
		}
	}
	switch {
	case s.now.mode == 0:
		return "deleted"
	case s.now.mode == modeFolder || s.now.mode == modeOther:
		return "no longer a file"
	}
	return why
}

// look is lstat in git's terms. What lies behind a link is not there.
func (w *worktree) look(path string) (fileState, error) {
	if !w.realFolder(parent(path)) {
		return fileState{}, nil
	}
	return look(w.abs(path))
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

// keepIndex remembers the index that was just written, so that it need not be read
// again. Nobody else has written one since: the caller holds git's lock.
func (r *Repository) keepIndex(x *index) {
	s, err := look(filepath.Join(r.gitDir, "index"))
	if err != nil {
		return
	}
	now := stampOf(&s.st)
	x.mtimeSec, x.mtimeNsec = now.mtimeSec, now.mtimeNsec
	r.indexCache, r.indexStamp = x, now
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
