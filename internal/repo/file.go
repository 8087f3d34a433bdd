package repo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// fileSession reads a repository on this machine without any git command:
// go-git's own way starts git-upload-pack, which the image doesn't have.
type fileSession struct {
	r   *Repository
	dir string // its git folder
	src *objects
}

func (r *Repository) dialFile() (session, error) {
	path := r.remote.url.Path
	for _, dir := range []string{filepath.Join(path, ".git"), path, path + ".git"} {
		if _, err := os.Stat(filepath.Join(dir, "HEAD")); err == nil && isFolder(filepath.Join(dir, "objects")) {
			return &fileSession{r: r, dir: dir, src: newObjects(dir)}, nil
		} else if errors.Is(err, fs.ErrPermission) {
			return nil, blockedBy(err, "the remote repository can't be read")
		}
	}
	return nil, fmt.Errorf("there is no git repository at %s", path)
}

func (s *fileSession) close() { s.src.reset() }

func (s *fileSession) head(context.Context) (plumbing.Hash, error) {
	return readRef(s.dir, s.r.branchRef())
}

func (s *fileSession) fetch(ctx context.Context, want plumbing.Hash, _ []plumbing.Hash, store func(io.Reader) error) error {
	list, err := s.missing(ctx, want)
	if err != nil {
		return err
	}
	pr, pw := io.Pipe()
	go func() {
		w := bufio.NewWriterSize(pw, 1<<16)
		_, err := packfile.NewEncoder(w, openStore(s.dir), false).Encode(list, 0)
		if err == nil {
			err = w.Flush()
		}
		pw.CloseWithError(err)
	}()
	err = store(pr)
	_ = pr.CloseWithError(err) // ends the encoder if store gave up
	return err
}

// missing lists what the clone lacks. Whatever the clone has, it has with all
// that it refers to, so the walk ends there; unless the clone is being repaired.
func (s *fileSession) missing(ctx context.Context, want plumbing.Hash) ([]plumbing.Hash, error) {
	var list []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	fresh := func(h plumbing.Hash) bool {
		if seen[h] || !s.r.refetch && s.r.objects.listed(h) {
			return false
		}
		seen[h] = true
		list = append(list, h)
		return true
	}
	var trees func(plumbing.Hash) error
	trees = func(h plumbing.Hash) error {
		if !fresh(h) {
			return nil
		}
		entries, err := s.src.tree(h)
		if err != nil {
			return err
		}
		for _, e := range entries {
			switch {
			case e.folder():
				if err := trees(e.hash); err != nil {
					return err
				}
			case e.mode != modeSubmodule:
				fresh(e.hash)
			}
		}
		return nil
	}
	queue := []plumbing.Hash{want}
	for len(queue) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h := queue[0]
		queue = queue[1:]
		if !fresh(h) {
			continue
		}
		c, err := s.src.commit(h)
		if err != nil {
			return nil, err
		}
		if err := trees(c.tree); err != nil {
			return nil, err
		}
		queue = append(queue, c.parents...)
	}
	return list, nil
}
