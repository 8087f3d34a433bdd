// Package atomicfile replaces files so that a kill, a full disk or a power cut
// leaves the old content or the new, and never half of one.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Options of Write; the zero value is for a private file.
type Options struct {
	// Temp is where the content is written first: on path's file system, and one
	// writer's at a time. "" means path with .new behind it. What a kill left
	// there is removed.
	Temp string
	// Mode of the new file, less the umask; 0 means 0600.
	Mode fs.FileMode
	// Created is called with Temp once it is there, to give it to its owner; nil
	// means nobody is.
	Created func(temp string)
	// Before is called before each step (remove, create, write, sync, rename and
	// syncdir) and may refuse it. It is for tests of crashes; nil allows all.
	Before func(op, path string) error
}

// Write replaces the file at path, whose folder exists, by content. After an
// error path has its old content, or the new if only the last step failed: then
// a power cut may bring the old one back. Errors name the file.
func Write(path string, content []byte, o Options) error {
	if o.Temp == "" {
		o.Temp = path + ".new"
	}
	if o.Mode == 0 {
		o.Mode = 0o600
	}
	step := func(op, path string, do func() error) error {
		if o.Before != nil {
			if err := o.Before(op, path); err != nil {
				return err
			}
		}
		return do()
	}
	err := step("remove", o.Temp, func() error { return os.Remove(o.Temp) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var f *os.File
	err = step("create", o.Temp, func() (err error) {
		f, err = os.OpenFile(o.Temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, o.Mode)
		return err
	})
	if err != nil {
		return err
	}
	if o.Created != nil {
		o.Created(o.Temp)
	}
	err = step("write", o.Temp, func() error { _, err := f.Write(content); return err })
	if err == nil {
		err = step("sync", o.Temp, f.Sync)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = step("rename", path, func() error { return os.Rename(o.Temp, path) })
	}
	if err != nil {
		_ = os.Remove(o.Temp)
		return err
	}
	folder := filepath.Dir(path)
	return step("syncdir", folder, func() error { return SyncFolder(folder) })
}

// SyncFolder makes renames in a folder durable. File systems that can't do that
// are left as they are.
func SyncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
