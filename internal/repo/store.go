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
// stay open until close, so a pack that `git gc` replaces can still be read. A
// store has no lock: that of its objects counts.
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
	pack   *packFile // that stream reads from; nil for a loose object
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
		p.leave()
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

// loose reads a loose object.
func (s *store) loose(h plumbing.Hash) (*object, error) {
	o, r, err := s.openLoose(h)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if o.size > largeObject {
		o.stream = func() (io.ReadCloser, error) {
			_, r, err := s.openLoose(h)
			return r, err
		}
		return o, nil
	}
	o.data = make([]byte, o.size)
	if _, err := io.ReadFull(r, o.data); err != nil {
		return nil, fmt.Errorf("%w: %w", errObject, err)
	}
	return o, nil
}

// openLoose reads the head of "type size\0content", deflated, and returns the
// way to the content.
func (s *store) openLoose(h plumbing.Hash) (o *object, content io.ReadCloser, err error) {
	f, err := os.Open(s.loosePath(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, plumbing.ErrObjectNotFound
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	z, err := zlib.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errObject, err)
	}
	r := bufio.NewReader(z)
	head, err := r.ReadString(0)
	kind, size, ok := strings.Cut(strings.TrimSuffix(head, "\x00"), " ")
	n, numErr := strconv.ParseInt(size, 10, 64)
	typ, kindErr := plumbing.ParseObjectType(kind)
	if err != nil || !ok || numErr != nil || kindErr != nil || n < 0 {
		return nil, nil, errObject
	}
	return &object{kind: typ, size: n}, readCloser{io.LimitReader(r, n), f}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}
