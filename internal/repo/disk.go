package repo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/korbiniankuhn/gitops-compose/internal/atomicfile"
)

// disk makes every change that this package makes to a file system. That it is
// one place serves the crash tests: hook is called before each step and may
// return an error (a denied write, a full disk) or never return (a kill).
//
// owner, if set, is who gets what is created: a daemon that runs as root in a
// person's clone must not leave files there that the person can't change.
type disk struct {
	hook  func(op, path string) error
	owner *owner
}

type owner struct{ uid, gid int }

// ownerOf returns the owner of path if the daemon is root and the owner is not.
func ownerOf(path string) *owner {
	var st unix.Stat_t
	if os.Geteuid() != 0 || unix.Stat(path, &st) != nil || st.Uid == 0 {
		return nil
	}
	return &owner{int(st.Uid), int(st.Gid)}
}

// give hands path to the owner. A file system without owners is no reason to
// fail.
func (d *disk) give(path string) {
	if d.owner != nil {
		_ = os.Lchown(path, d.owner.uid, d.owner.gid)
	}
}

func (d *disk) step(op, path string) error {
	if d.hook == nil {
		return nil
	}
	return d.hook(op, path)
}

// write creates path, which must not exist. With durable its content is on the
// disk when write returns.
func (d *disk) write(path string, mode fs.FileMode, durable bool, fill func(io.Writer) error) (err error) {
	f, err := d.create(path, mode)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	if err := d.step("write", path); err != nil {
		return err
	}
	if err := fill(f); err != nil {
		return err
	}
	if !durable {
		return nil
	}
	if err := d.step("sync", path); err != nil {
		return err
	}
	return f.Sync()
}

func (d *disk) create(path string, mode fs.FileMode) (*os.File, error) {
	if err := d.step("create", path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err == nil {
		d.give(path)
	}
	return f, err
}

// replace puts content at path in one step, by way of the temporary file tmp.
func (d *disk) replace(path, tmp string, mode fs.FileMode, content []byte) error {
	return atomicfile.Write(path, content, atomicfile.Options{Temp: tmp, Mode: mode, Created: d.give, Before: d.hook})
}

func (d *disk) rename(from, to string) error {
	if err := d.step("rename", to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// renameNew is rename, but fails where something stands already: it may have
// come after the preflight.
func (d *disk) renameNew(from, to string) error {
	if err := d.step("rename", to); err != nil {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return os.Rename(from, to) // a file system or kernel that can't
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (d *disk) link(from, to string) error {
	if err := d.step("link", to); err != nil {
		return err
	}
	return os.Link(from, to)
}

func (d *disk) symlink(target, path string) error {
	if err := d.step("symlink", path); err != nil {
		return err
	}
	err := os.Symlink(target, path)
	if err == nil {
		d.give(path)
	}
	return err
}

// remove deletes a file or link, never a folder: unlink(2), not os.Remove, which
// falls back to rmdir.
func (d *disk) remove(path string) error {
	if err := d.step("remove", path); err != nil {
		return err
	}
	if err := unix.Unlink(path); err != nil {
		return &fs.PathError{Op: "unlink", Path: path, Err: err}
	}
	return nil
}

// rmdir deletes an empty folder and nothing else.
func (d *disk) rmdir(path string) error {
	if err := d.step("rmdir", path); err != nil {
		return err
	}
	if err := unix.Rmdir(path); err != nil {
		return &fs.PathError{Op: "rmdir", Path: path, Err: err}
	}
	return nil
}

// mkdirAll creates path and the folders above it, below root, which exists.
// It doesn't follow a link that has taken a folder's place.
func (d *disk) mkdirAll(root, path string, mode fs.FileMode) error {
	if path == root || len(path) <= len(root) {
		return nil
	}
	fi, err := os.Lstat(path)
	if err == nil {
		if fi.IsDir() {
			return nil
		}
		return fmt.Errorf("create folder %s: something else is there", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.mkdirAll(root, filepath.Dir(path), mode); err != nil {
		return err
	}
	if err := d.step("mkdir", path); err != nil {
		return err
	}
	err = os.Mkdir(path, mode)
	if err == nil {
		d.give(path)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// syncDir makes renames in a folder durable.
func (d *disk) syncDir(path string) error {
	if err := d.step("syncdir", path); err != nil {
		return err
	}
	return atomicfile.SyncFolder(path)
}

// syncAll makes everything on path's file system durable: with many files it
// costs far less than one fsync each.
func (d *disk) syncAll(path string) error {
	if err := d.step("syncall", path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// free tells how many bytes the daemon may still write on path's file system.
func free(path string) (uint64, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil || st.Blocks == 0 {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}
