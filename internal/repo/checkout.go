package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing"
)

// Checkout moves the clone's branch, index and work tree to commit, which
// Fetch has brought; another Fetch may be under way. An earlier checkout that was interrupted is finished
// first. The steps, in an order in which a kill after any of them can be
// continued from:
//
//  1. lock git's index; compute the tree difference
//  2. preflight: look at every path that will be touched; refuse all or nothing
//  3. write the new files under .git and make them durable
//  4. write the journal
//  5. delete what goes, rename into place what comes
//  6. replace the index
//  7. move the branch
//
// It returns a BlockedError, with nothing written, if a person's work is in the
// way: with Options.KeepLocalChanges as git merge --ff-only has it, otherwise also
// if anything is staged. Any other error means: try again, the clone can be continued from.
func (r *Repository) Checkout(ctx context.Context, commit string) error {
	if r.opt.ReadOnly {
		return fmt.Errorf("checkout %s: %w", short(commit), errReadOnly)
	}
	if err := r.cloned(); err != nil {
		return err
	}
	release, err := r.exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.objects.reset() // it may be long until the next commit
	if err := r.checkout(ctx, plumbing.NewHash(commit)); err != nil {
		return fmt.Errorf("checkout %s: %w", short(commit), err)
	}
	return nil
}

func (r *Repository) checkout(ctx context.Context, to plumbing.Hash) error {
	head, err := r.head()
	if err != nil {
		return err
	}
	pending, err := r.pending(head)
	if err != nil {
		return err
	}
	if pending != nil && pending.to() != to {
		if err := r.advance(ctx, head, pending.to()); err != nil {
			return fmt.Errorf("finish the interrupted checkout of %s: %w", short(pending.To), err)
		}
		head = pending.to()
	}
	if head == to && pending == nil {
		return r.clean(ctx, head)
	}
	if head == to {
		return nil
	}
	return r.advance(ctx, head, to)
}

// clean refuses what the clone must not have, although nothing is to be done.
func (r *Repository) clean(ctx context.Context, head plumbing.Hash) error {
	e, err := r.edits(ctx, head, nil, nil)
	switch {
	case err != nil:
		return err
	case r.opt.KeepLocalChanges:
		return e.conflict()
	}
	return e.any()
}

// advance is the whole way from one commit to another; the caller holds the
// flock.
func (r *Repository) advance(ctx context.Context, from, to plumbing.Hash) error {
	unlock, err := r.lock(filepath.Join(r.gitDir, "index.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	x, err := r.readIndex()
	if err != nil {
		return err
	}
	r.looked = false
	j := &journal{From: from.String(), To: to.String()}
	changes, err := r.changes(ctx, from, to)
	if err != nil {
		return err
	}
	if err := r.checkIndex(ctx, x, from, changes); err != nil {
		return err
	}
	actions, err := r.preflight(ctx, x, changes)
	if err != nil {
		return err
	}
	next := x.with(actions)
	if err := next.fits(actions); err != nil {
		return err
	}
	if err := r.clearScratch(); err != nil {
		return err
	}
	if last, err := r.readJournal(); err == nil && last != nil {
		if err := r.removeBeside(last); err != nil {
			return err
		}
	}
	if err := r.room(actions); err != nil {
		return err
	}
	if err := r.writeBlobs(ctx, actions); err != nil {
		return err
	}
	// From here on a cancelled context no longer stops the work: the rest is
	// quick, and half a tree serves nobody.
	if err := r.writeJournal(j); err != nil {
		return err
	}
	if err := r.place(actions, next, j); err != nil {
		return err
	}
	if err := r.stampIndex(actions, next); err != nil {
		return err
	}
	r.smudge(x, next)
	if err := r.disk.replace(filepath.Join(r.gitDir, "index"), r.state("index.new"), 0o666, next.encode()); err != nil {
		return fmt.Errorf("write the index: %w", err)
	}
	r.keepIndex(next)
	if err := r.moveRef(r.branchRef(), from, to, r.reason(ctx, from, to)); err != nil {
		return err
	}
	if err := r.dropJournal(); err != nil {
		return err
	}
	return r.clearScratch()
}

// checkIndex refuses conflicts, and what is staged unless that is to be kept.
func (r *Repository) checkIndex(ctx context.Context, x *index, head plumbing.Hash, changes []change) error {
	e := edits{conflicts: x.others().conflicts}
	if e.conflicts == nil && !r.opt.KeepLocalChanges {
		also := make(map[string][2]treeEntry, len(changes))
		for _, c := range changes {
			also[c.path] = [2]treeEntry{c.from, c.to}
		}
		var err error
		if e.staged, err = r.staged(ctx, x, head, also); err != nil {
			return err
		}
	}
	return e.any()
}

// reason is the text of the reflog line, worded as git would.
func (r *Repository) reason(ctx context.Context, from, to plumbing.Hash) string {
	if from.IsZero() {
		return "clone: from " + r.remote.display
	}
	if ok, err := r.objects.descends(ctx, to, from); err == nil && ok {
		return "gitops-compose: Fast-forward"
	}
	return "gitops-compose: moving to " + to.String()
}

// room refuses before the first write what would fill the disk.
func (r *Repository) room(actions []action) error {
	var need int64
	for _, a := range actions {
		if a.done || a.to.mode == 0 || a.to.mode == modeSubmodule {
			continue
		}
		n, err := r.objects.blobSize(a.to.hash)
		if err != nil {
			return err
		}
		need += n + 4096
	}
	if have, ok := free(r.gitDir); ok && uint64(need) > have {
		return fmt.Errorf("not enough room on the disk of %s: %d bytes are needed, %d are free", r.opt.Path, need, have)
	}
	return nil
}

func (r *Repository) scratch(i int) string { return filepath.Join(r.state("new"), strconv.Itoa(i)) }

// clearScratch removes what an earlier try has written aside.
func (r *Repository) clearScratch() error {
	entries, err := os.ReadDir(r.state("new"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := r.disk.remove(filepath.Join(r.state("new"), e.Name())); err != nil {
			return err
		}
	}
	return r.disk.rmdir(r.state("new"))
}

// With more files than this one sync of the file system is cheaper than one
// for each file.
const manyFiles = 64

// writeBlobs puts the new files under .git, durable, ready to be renamed.
func (r *Repository) writeBlobs(ctx context.Context, actions []action) error {
	dir := r.state("new")
	if err := r.disk.mkdirAll(r.gitDir, dir, 0o700); err != nil {
		return err
	}
	count := 0
	for _, a := range actions {
		if !a.done && a.to.mode != 0 {
			count++
		}
	}
	for i, a := range actions {
		if a.done || a.to.mode == 0 || a.to.mode == modeSubmodule {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.writeBlob(r.scratch(i), a, count <= manyFiles); err != nil {
			return fmt.Errorf("write %s: %w", quotePath(a.path), err)
		}
	}
	if count > manyFiles {
		return r.disk.syncAll(dir)
	}
	return r.disk.syncDir(dir)
}

const lfsMark = "version https://git-lfs.github.com/spec/"

func (r *Repository) writeBlob(path string, a action, durable bool) error {
	if a.to.mode == modeLink {
		var target bytes.Buffer
		if err := r.objects.copyBlob(&target, a.to.hash); err != nil {
			return err
		}
		if target.Len() == 0 || bytes.IndexByte(target.Bytes(), 0) >= 0 {
			return errors.New("a symbolic link without a valid target")
		}
		return r.disk.symlink(target.String(), path)
	}
	mode := fs.FileMode(0o666)
	if a.to.mode == modeExec {
		mode = 0o777
	}
	head := &prefixWriter{}
	err := r.disk.write(path, mode, durable, func(w io.Writer) error {
		return r.objects.copyBlob(io.MultiWriter(w, head), a.to.hash)
	})
	if bytes.HasPrefix(head.b, []byte(lfsMark)) && r.once("lfs") {
		r.log.Warn("files kept in git LFS are not downloaded; a pointer is in their place", "path", a.path)
	}
	return err
}

// prefixWriter keeps the first bytes written to it.
type prefixWriter struct{ b []byte }

func (p *prefixWriter) Write(b []byte) (int, error) {
	if n := len(lfsMark) - len(p.b); n > 0 {
		p.b = append(p.b, b[:min(n, len(b))]...)
	}
	return len(b), nil
}

// with returns the index with the actions applied; the stamps come later.
func (x *index) with(actions []action) *index {
	drop := make(map[string]bool, len(actions))
	var add []indexEntry
	for _, a := range actions {
		if a.kept {
			continue
		}
		drop[a.path] = true
		if a.to.mode != 0 {
			add = append(add, indexEntry{mode: a.to.mode, hash: a.to.hash, path: a.path})
		}
	}
	out := &index{entries: make([]indexEntry, 0, len(x.entries)+len(add))}
	for _, e := range x.entries {
		if !drop[e.path] {
			out.entries = append(out.entries, e)
		}
	}
	out.entries = append(out.entries, add...)
	sort.Slice(out.entries, func(i, j int) bool { return out.entries[i].path < out.entries[j].path })
	return out
}

// fits refuses an index in which a path would be both a file and a folder,
// because something is staged where the new commit has the other.
func (x *index) fits(actions []action) error {
	var list []finding
	for _, a := range actions {
		if a.kept || a.to.mode == 0 {
			continue
		}
		if x.hasFolder(a.path) {
			list = append(list, finding{path: a.path, why: "something is staged below it"})
		}
		for d := parent(a.path); d != ""; d = parent(d) {
			if _, ok := x.find(d); ok {
				list = append(list, finding{path: d, why: "staged"})
			}
		}
	}
	if list == nil {
		return nil
	}
	return refuse(cantMove, list, remedyInTheWay)
}

// smudge does what git does to entries as young as the index: the new index is
// younger, so that their stamps would count as proof that nothing was changed.
// Those of files that were are made to prove nothing.
func (r *Repository) smudge(x, next *index) {
	for i := range next.entries {
		e := &next.entries[i]
		if !x.racy(e) || e.mode == modeSubmodule {
			continue
		}
		j, ok := x.find(e.path)
		if !ok || x.entries[j] != *e {
			continue // written just now
		}
		s, err := look(r.work.abs(e.path))
		if err != nil || !e.stamp.same(stampOf(&s.st)) {
			continue
		}
		if ok, err := r.work.holds(e.path, s, treeEntry{mode: canonicalMode(e.mode), hash: e.hash}, x); err == nil && !ok {
			e.size = 0
		}
	}
}

// stampIndex fills in what lstat says about the files that were written.
func (r *Repository) stampIndex(actions []action, next *index) error {
	for _, a := range actions {
		if a.kept || a.to.mode == 0 || a.to.mode == modeSubmodule {
			continue
		}
		i, ok := next.find(a.path)
		if !ok {
			continue
		}
		s, err := look(r.work.abs(a.path))
		if err != nil {
			return err
		}
		next.entries[i].stamp = stampOf(&s.st)
	}
	return nil
}

func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
