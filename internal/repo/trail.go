package repo

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// trail is the folders of the work tree that lead to the path that was looked at
// last, open, the root first. Whoever looks at paths in order is at the next one
// in one step, and never goes by a link.
type trail []opened

type opened struct {
	path string
	fd   int
}

// look is lstat in git's terms. What lies behind a link is not there.
func (t *trail) look(path string) (fileState, error) {
	dir := parent(path)
	t.leave(dir)
	for t.last().path != dir {
		err := t.enter(dir)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return fileState{}, nil
		}
		if err != nil {
			return fileState{}, err
		}
	}
	var st unix.Stat_t
	err := unix.Fstatat(t.last().fd, path[strings.LastIndexByte(path, '/')+1:], &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err == unix.ENOENT || err == unix.ENOTDIR:
		return fileState{}, nil
	case err != nil:
		return fileState{}, fmt.Errorf("lstat: %w", err)
	}
	return fileState{st: st, mode: modeOf(&st)}, nil
}

func (t *trail) last() opened { return (*t)[len(*t)-1] }

// leave goes back to where the way to a folder branches off. The root stays open.
func (t *trail) leave(dir string) {
	for len(*t) > 1 && !onWay(t.last().path, dir) {
		_ = unix.Close(t.last().fd)
		*t = (*t)[:len(*t)-1]
	}
}

// onWay says whether a folder below the root is another one, or above it.
func onWay(folder, dir string) bool {
	rest, ok := strings.CutPrefix(dir, folder)
	return ok && (rest == "" || rest[0] == '/')
}

// enter goes one folder further on the way to one.
func (t *trail) enter(dir string) error {
	at := t.last()
	rest := strings.TrimPrefix(dir[len(at.path):], "/")
	next, _, _ := strings.Cut(rest, "/")
	path := dir[:len(dir)-len(rest)+len(next)]
	// O_PATH asks for no more rights than lstat does.
	fd, err := unix.Openat(at.fd, next, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	*t = append(*t, opened{path, fd})
	return nil
}
