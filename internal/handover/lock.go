package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockPause is how long somebody who waits for a lock sleeps.
const lockPause = 100 * time.Millisecond

// errTaken says that somebody else holds a lock.
var errTaken = errors.New("somebody else holds it")

// lock takes a lock that the kernel gives back when the process ends, however
// it ends; containers that share a folder share it. path is a file, which is
// made, or a folder. Where the file system has no such locks it is granted.
func lock(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // NFS locks only what is open for writing
	if errors.Is(err, unix.EISDIR) {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case err == nil, errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EBADF):
		return func() { _ = f.Close() }, nil
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EINTR):
		_ = f.Close()
		return nil, errTaken
	default:
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
}

// Claim waits until no other daemon works on a clone, and keeps others away
// until it is released. waiting is called once if it has to wait.
func Claim(ctx context.Context, clone string, waiting func()) (release func(), err error) {
	if err := os.MkdirAll(clone, 0o777); err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		release, err := lock(clone)
		if err == nil || !errors.Is(err, errTaken) {
			return release, err
		}
		if first {
			waiting()
		}
		if err := sleep(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
