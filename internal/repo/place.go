package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// place makes the work tree the new one: first what goes, deepest first, then
// what comes.
func (r *Repository) place(actions []action, next *index, j *journal) error {
	touched := map[string]bool{}
	for i := len(actions) - 1; i >= 0; i-- {
		a := &actions[i]
		if a.done && a.to.mode != 0 {
			continue
		}
		if err := r.takeAway(a, next, touched); err != nil {
			return fmt.Errorf("remove %s: %w", quotePath(a.path), err)
		}
	}
	for i := range actions {
		a := &actions[i]
		if a.done || a.to.mode == 0 {
			continue
		}
		if err := r.put(a, r.scratch(i), j); err != nil {
			return fmt.Errorf("write %s: %w", quotePath(a.path), err)
		}
		touched[parent(a.path)] = true
	}
	if len(touched) > manyFiles {
		return r.disk.syncAll(r.work.root)
	}
	for dir := range touched {
		if dir != "" && !r.work.realFolder(dir) {
			continue // gone since, or a file or link now
		}
		if err := r.disk.syncDir(r.work.abs(dir)); err != nil && !errors.Is(err, fs.ErrPermission) { // writable and not readable
			return err
		}
	}
	return nil
}

// takeAway deletes a path that goes, and the folders above it that this leaves
// empty; what changes its content only is left for put.
func (r *Repository) takeAway(a *action, next *index, touched map[string]bool) error {
	path := r.work.abs(a.path)
	switch {
	case a.to.mode == 0 && a.from.mode != modeSubmodule:
		if !a.done {
			if err := r.unchangedSince(a); err != nil {
				return err
			}
			if err := r.disk.remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	case a.from.mode == modeSubmodule && a.was.mode == modeFolder:
		if err := r.disk.rmdir(path); err != nil && a.to.mode != 0 {
			return err
		}
	case a.to.mode == modeSubmodule && a.was.mode != 0 && a.was.mode != modeFolder:
		if err := r.disk.remove(path); err != nil {
			return err
		}
	case a.was.mode == modeFolder: // without files, or emptied by the deletions below it
		if err := r.removeHollow(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	default:
		return nil
	}
	// A folder that the new commit still has keeps its inode: containers may
	// have it mounted.
	dir := parent(a.path)
	for ; dir != "" && !next.hasFolder(dir); dir = parent(dir) {
		if err := r.disk.rmdir(r.work.abs(dir)); errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
			continue
		} else if err != nil {
			break // not empty: something untracked lives here
		}
	}
	touched[dir] = true
	return nil
}

// removeHollow deletes a folder that has nothing but folders in it.
func (r *Repository) removeHollow(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := r.removeHollow(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	return r.disk.rmdir(path)
}

// put renames a new file into its place.
func (r *Repository) put(a *action, from string, j *journal) error {
	path := r.work.abs(a.path)
	if err := r.disk.mkdirAll(r.work.root, filepath.Dir(path), 0o777); err != nil {
		return err
	}
	if a.to.mode == modeSubmodule {
		return r.disk.mkdirAll(filepath.Dir(path), path, 0o777)
	}
	if a.was.mode == 0 || a.was.mode == modeFolder {
		err := r.disk.renameNew(from, path)
		if errors.Is(err, unix.EXDEV) {
			return r.putBeside(a, from, path, j)
		}
		return err
	}
	if err := r.unchangedSince(a); err != nil {
		return err
	}
	err := r.disk.rename(from, path)
	if errors.Is(err, unix.EXDEV) {
		return r.putBeside(a, from, path, j)
	}
	return err
}

// putBeside is for a folder on another file system than .git: the file is
// copied next to its place, which the journal knows of, and renamed there.
func (r *Repository) putBeside(a *action, from, path string, j *journal) error {
	tmp := join(parent(a.path), ".gitops-compose-"+a.to.hash.String()[:12])
	j.Beside = append(j.Beside, tmp)
	if err := r.writeJournal(j); err != nil {
		return err
	}
	if err := r.disk.remove(r.work.abs(tmp)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := r.writeBlob(r.work.abs(tmp), *a, true); err != nil {
		return err
	}
	if err := r.disk.rename(r.work.abs(tmp), path); err != nil {
		return err
	}
	return r.disk.remove(from)
}

// errTouched: the world has changed since the preflight; the next try looks
// again.
var errTouched = errors.New("the file was changed while the checkout was under way")

func (r *Repository) unchangedSince(a *action) error {
	now, err := look(r.work.abs(a.path))
	if err != nil {
		return err
	}
	if now.mode != a.was.mode || stampOf(&now.st) != stampOf(&a.was.st) {
		return errTouched
	}
	return nil
}
