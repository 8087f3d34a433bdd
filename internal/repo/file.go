package repo

import (
	"bufio"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
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
			src := newObjects(dir)
			src.dirs = append(src.dirs, alternates(src.dirs[0], 5)...)
			return &fileSession{r: r, dir: dir, src: src}, nil
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
		err := writePack(w, s.src, list)
		if err == nil {
			err = w.Flush()
		}
		pw.CloseWithError(err)
	}()
	err = store(pr)
	_ = pr.CloseWithError(err) // ends the encoder if store gave up
	return err
}

// alternates are object folders that a repository borrows from.
func alternates(objectDir string, depth int) []string {
	b, err := os.ReadFile(filepath.Join(objectDir, "info", "alternates"))
	if err != nil || depth == 0 {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if !filepath.IsAbs(line) {
			line = filepath.Join(objectDir, line)
		}
		out = append(append(out, line), alternates(line, depth-1)...)
	}
	return out
}

// wanted is an object that goes into a pack.
type wanted struct {
	hash plumbing.Hash
	kind plumbing.ObjectType
}

// missing lists what the clone lacks. Whatever the clone has, it has with all
// that it refers to, so the walk ends there; unless the clone is being repaired.
func (s *fileSession) missing(ctx context.Context, want plumbing.Hash) ([]wanted, error) {
	var list []wanted
	seen := map[plumbing.Hash]bool{}
	fresh := func(h plumbing.Hash, kind plumbing.ObjectType) bool {
		if seen[h] || !s.r.refetch.Load() && s.r.objects.listed(h) {
			return false
		}
		seen[h] = true
		list = append(list, wanted{h, kind})
		return true
	}
	var trees func(plumbing.Hash) error
	trees = func(h plumbing.Hash) error {
		if !fresh(h, plumbing.TreeObject) {
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
				fresh(e.hash, plumbing.BlobObject)
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
		if !fresh(h, plumbing.CommitObject) {
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

// writePack writes objects as a pack without deltas.
func writePack(to io.Writer, src *objects, list []wanted) error {
	sum := sha1.New()
	w := io.MultiWriter(to, sum)
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("PACK"), 2), uint32(len(list)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	z := zlib.NewWriter(w)
	for _, o := range list {
		obj, err := src.read(o.kind, o.hash)
		if err != nil {
			return err
		}
		if err := writePackObject(w, z, obj); err != nil {
			return fmt.Errorf("read %s %s: %w", o.kind, o.hash, err)
		}
	}
	_, err := to.Write(sum.Sum(nil))
	return err
}

func writePackObject(w io.Writer, z *zlib.Writer, obj *object) error {
	b := []byte{byte(obj.kind)<<4 | byte(obj.size&15)}
	for n := obj.size >> 4; n > 0; n >>= 7 {
		b[len(b)-1] |= 0x80
		b = append(b, byte(n&0x7f))
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	r, err := obj.reader()
	if err != nil {
		return err
	}
	defer r.Close()
	z.Reset(w)
	if _, err := io.Copy(z, r); err != nil {
		return err
	}
	return z.Close()
}
