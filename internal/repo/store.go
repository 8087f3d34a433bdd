package repo

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// store reads one folder of objects, packed and loose. go-git's own reader
// loads the index of every pack into memory and sorts it anew for each process:
// with half a million objects that is a second and 150 MB for three small files.
// This one looks up what it needs in the files. The format is git's
// Documentation/gitformat-pack.
//
// Packs without an index are not seen: a git that was killed leaves them. Files
// stay open until close, so a pack that `git gc` replaces can still be read.
type store struct {
	dir   string
	packs []*packFile
	bases baseCache

	// One inflater serves all small objects: making one costs more than most of
	// them.
	source *bufio.Reader
	z      inflater
}

type inflater interface {
	io.Reader
	zlib.Resetter
}

// object is what a store returns: the bytes, or for a large blob a way to them.
type object struct {
	kind   plumbing.ObjectType
	size   int64
	data   []byte
	stream func() (io.ReadCloser, error)
}

func (o *object) reader() (io.ReadCloser, error) {
	if o.stream != nil {
		return o.stream()
	}
	return io.NopCloser(bytes.NewReader(o.data)), nil
}

var errObject = errors.New("damaged object")

func openStore(dir string) (*store, error) {
	s := &store{dir: dir}
	entries, err := os.ReadDir(filepath.Join(dir, "pack"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// Names are random; the newest pack has what is asked for most.
	type found struct {
		base string
		at   int64
	}
	var list []found
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), ".idx"); ok {
			if fi, err := e.Info(); err == nil {
				list = append(list, found{filepath.Join(dir, "pack", base), fi.ModTime().UnixNano()})
			}
		}
	}
	slices.SortFunc(list, func(a, b found) int { return int(min(max(b.at-a.at, -1), 1)) })
	for _, f := range list {
		p, err := openPackFile(f.base)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no pack to this index, or git gc has just removed both
		}
		if err != nil {
			s.close()
			return nil, err
		}
		s.packs = append(s.packs, p)
	}
	return s, nil
}

func (s *store) close() {
	for _, p := range s.packs {
		_ = p.idx.Close()
		_ = p.pack.Close()
	}
	s.packs = nil
}

func (s *store) loosePath(h plumbing.Hash) string {
	id := h.String()
	return filepath.Join(s.dir, id[:2], id[2:])
}

func (s *store) has(h plumbing.Hash) bool {
	for _, p := range s.packs {
		if _, ok, err := p.find(h); ok && err == nil {
			return true
		}
	}
	_, err := os.Stat(s.loosePath(h))
	return err == nil
}

func (s *store) get(h plumbing.Hash) (*object, error) {
	for i, p := range s.packs {
		at, ok, err := p.find(h)
		if err != nil {
			return nil, err
		}
		if ok {
			// The next one asked for is likely in the same pack.
			copy(s.packs[1:i+1], s.packs[:i])
			s.packs[0] = p
			return s.packed(p, at)
		}
	}
	return s.loose(h)
}

// loose reads "type size\0content", deflated.
func (s *store) loose(h plumbing.Hash) (*object, error) {
	f, err := os.Open(s.loosePath(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, plumbing.ErrObjectNotFound
	}
	if err != nil {
		return nil, err
	}
	z, err := zlib.NewReader(bufio.NewReader(f))
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w: %w", errObject, err)
	}
	r := bufio.NewReader(z)
	head, err := r.ReadString(0)
	kind, size, ok := strings.Cut(strings.TrimSuffix(head, "\x00"), " ")
	n, numErr := strconv.ParseInt(size, 10, 64)
	typ, kindErr := plumbing.ParseObjectType(kind)
	if err != nil || !ok || numErr != nil || kindErr != nil || n < 0 {
		_ = f.Close()
		return nil, errObject
	}
	o := &object{kind: typ, size: n}
	if n > largeObject {
		o.stream = func() (io.ReadCloser, error) { return readCloser{io.LimitReader(r, n), f}, nil }
		return o, nil
	}
	defer f.Close()
	o.data = make([]byte, n)
	if _, err := io.ReadFull(r, o.data); err != nil {
		return nil, fmt.Errorf("%w: %w", errObject, err)
	}
	return o, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}
