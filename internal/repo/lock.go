package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Two kinds of lock protect the clone.
//
// Against another daemon (a hand-over has two for a moment): flock on files in
// the state folder, which the kernel gives back when a process dies. One is for
// those who change the clone, one for those who fetch: a pack may take hours to
// arrive, and a checkout must not wait for it.
//
// Within the daemon: Repository.fetching and Repository.changing, which are the
// same two without the kernel, and Repository.mu, which nobody holds who waits
// for a remote or for one of the others. So mu is taken last.
//
// Against git: its own *.lock files. Those have no owner, so one that a killed
// daemon left behind would stop everybody for good. Ours therefore hold a line
// of text that git never writes, and come into being by link(2) with the text
// already in them: whoever holds the flock and finds a lock file with that text
// knows that its maker is dead.

const lockText = "gitops-compose holds this lock\n"

// A lock file of git's that is older than this is not that of a command at
// work, but only a person can be sure.
const staleAfter = 10 * time.Minute

// errBusy is the plain kind of error: look again later.
var errBusy = errors.New("another git command is at work in the clone")

// Files for flock.
const (
	cloneFlock = "flock"
	fetchFlock = "fetch.flock"
)

// exclusive waits until nobody else changes the clone. It ends with ctx.
func (r *Repository) exclusive(ctx context.Context) (release func(), err error) {
	select {
	case r.changing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("lock the clone: it is being changed: %w", ctx.Err())
	}
	unlock, err := r.flock(ctx, cloneFlock)
	if err != nil {
		<-r.changing
		return nil, err
	}
	return func() {
		unlock()
		<-r.changing
	}, nil
}

// flock waits for one of the files; when ctx has ended it tries once.
func (r *Repository) flock(ctx context.Context, name string) (release func(), err error) {
	if err := r.makeState(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(r.state(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the clone: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		// Some network file systems have no flock: then git's locks alone must do.
		if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOSYS) {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock the clone: %w", err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("lock the clone: another daemon is at work in it: %w", ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// lock takes one of git's lock files; the caller holds the flock.
func (r *Repository) lock(path string) (unlock func(), err error) {
	mark := r.state("lock")
	if err := r.breakStale(path); err != nil {
		return nil, err
	}
	if b, err := os.ReadFile(mark); err != nil || string(b) != lockText {
		if err := r.disk.replace(mark, r.state("lock.new"), 0o600, []byte(lockText)); err != nil {
			return nil, err
		}
	}
	err = r.disk.link(mark, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without hard links: the text comes a moment later.
		err = r.disk.write(path, 0o600, true, func(w io.Writer) error { _, err := io.WriteString(w, lockText); return err })
	}
	if errors.Is(err, fs.ErrExist) {
		return nil, r.foreignLock(path)
	}
	if err != nil {
		return nil, err
	}
	return func() {
		if err := r.disk.remove(path); err != nil {
			r.log.Warn("lock file not removed", "path", path, "err", err)
		}
	}, nil
}

// breakStale removes a lock file of a dead daemon. The caller holds the flock.
func (r *Repository) breakStale(path string) error {
	b, err := os.ReadFile(path)
	if err != nil || string(b) != lockText {
		return nil // none, or git's: taking the lock will tell
	}
	r.log.Info("removing the lock of a daemon that was killed", "path", path)
	return r.disk.remove(path)
}

func (r *Repository) foreignLock(path string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return errBusy
	}
	age := time.Since(fi.ModTime())
	if age < staleAfter {
		return fmt.Errorf("%w (it holds %s)", errBusy, path)
	}
	return blockedBy(errBusy, "%s has been there for %s; if no git command is running in the clone, remove the file",
		path, age.Round(time.Minute))
}

// removeStaleLocks is done at start: those that this branch's work can leave.
func (r *Repository) removeStaleLocks() error {
	for _, p := range []string{"index", r.branchRef(), r.trackingRef()} {
		if err := r.breakStale(filepath.Join(r.gitDir, filepath.FromSlash(p)) + ".lock"); err != nil {
			return err
		}
	}
	return nil
}

// StateDir returns the folder inside the clone's .git folder that belongs to
// the daemon, and creates it (a read-only repository names it only).
func (r *Repository) StateDir() (string, error) {
	if !r.opt.ReadOnly {
		if err := r.makeState(); err != nil {
			return "", err
		}
	}
	return r.state(""), nil
}

func (r *Repository) makeState() error {
	if r.opt.ReadOnly {
		return errReadOnly
	}
	if err := os.Mkdir(r.state(""), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create the state folder: %w", err)
	}
	return nil
}

// state names a file in the state folder.
func (r *Repository) state(name string) string {
	return filepath.Join(r.gitDir, "gitops-compose", name)
}

func (r *Repository) branchRef() string   { return "refs/heads/" + r.opt.Branch }
func (r *Repository) trackingRef() string { return "refs/remotes/origin/" + r.opt.Branch }

var errReadOnly = errors.New("the repository was opened read-only")
