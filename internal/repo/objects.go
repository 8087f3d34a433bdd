package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Larger blobs are streamed from their pack instead of held in memory.
const largeObject = 1 << 20

// emptyTree is the id of the tree without entries, which needs no object.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// objects reads from one or more object folders: the clone's, and for a
// read-only repository a temporary one that fetches write to.
//
// It is safe for use by several goroutines, also while a fetch brings packs or
// joins them. A person's `git gc` may replace packs at any time: whatever can't
// be read is looked for once more with fresh pack lists.
type objects struct {
	mu     sync.Mutex
	dirs   []string // objects folders
	stores []*store
	trees  trees
}

// newObjects reads from git folders.
func newObjects(gitDirs ...string) *objects {
	o := &objects{}
	for _, d := range gitDirs {
		o.dirs = append(o.dirs, filepath.Join(d, "objects"))
	}
	return o
}

// add reads from one more git folder.
func (o *objects) add(gitDir string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeAll()
	o.dirs = append(o.dirs, filepath.Join(gitDir, "objects"))
}

// reset closes the packs, so that descriptors are given back and new packs are
// seen. What still reads from one can go on.
func (o *objects) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeAll()
}

// withdraw takes packs away whose objects are elsewhere. Nobody opens any
// meanwhile: who listed them before, and opened them after, would miss both those
// and what replaces them.
func (o *objects) withdraw(remove func() error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.closeAll()
	return remove()
}

func (o *objects) closeAll() {
	for _, s := range o.stores {
		s.close()
	}
	o.stores = nil
}

// open returns with the stores open; the caller holds the lock.
func (o *objects) open() error {
	if o.stores != nil {
		return nil
	}
	for _, d := range o.dirs {
		s, err := openStore(d)
		if err != nil {
			o.closeAll()
			return err
		}
		o.stores = append(o.stores, s)
	}
	return nil
}

// read returns an object and checks its kind.
func (o *objects) read(kind plumbing.ObjectType, h plumbing.Hash) (*object, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	obj, err := o.find(kind, h)
	if err != nil || obj.stream == nil {
		return obj, err
	}
	return &object{kind: kind, size: obj.size, stream: func() (io.ReadCloser, error) { return o.stream(kind, h) }}, nil
}

// find is read with the lock held. The packs are listed twice at most, for
// others may exchange them just while they are.
func (o *objects) find(kind plumbing.ObjectType, h plumbing.Hash) (*object, error) {
	var obj *object
	var err error
	for range 2 {
		obj, err = o.readOnce(h)
		switch {
		case err == nil && obj.kind != kind:
			return nil, fmt.Errorf("read %s %s: it is a %s", kind, h, obj.kind)
		case err == nil:
			return obj, nil
		}
		o.closeAll()
	}
	return nil, fmt.Errorf("read %s %s: %w", kind, h, err)
}

// stream opens a large object. Its pack stays open until the reader is closed,
// whatever others do with the packs meanwhile.
func (o *objects) stream(kind plumbing.ObjectType, h plumbing.Hash) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	obj, err := o.find(kind, h)
	if err != nil {
		return nil, err
	}
	r, err := obj.reader()
	if err != nil || obj.pack == nil {
		return r, err
	}
	obj.pack.users++
	return &lent{Reader: r, o: o, p: obj.pack}, nil
}

// lent is a stream from a pack.
type lent struct {
	io.Reader
	o    *objects
	p    *packFile
	once sync.Once
}

// Close gives the pack back.
func (l *lent) Close() error {
	l.once.Do(func() {
		l.o.mu.Lock()
		defer l.o.mu.Unlock()
		l.p.users--
		l.p.closeUnused()
	})
	return nil
}

func (o *objects) readOnce(h plumbing.Hash) (*object, error) {
	if err := o.open(); err != nil {
		return nil, err
	}
	for _, s := range o.stores {
		obj, err := s.get(h)
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			return obj, err
		}
	}
	return nil, plumbing.ErrObjectNotFound
}

// has tells whether an object is here.
func (o *objects) has(h plumbing.Hash) bool {
	if o.listed(h) {
		return true
	}
	o.reset()
	return o.listed(h)
}

// listed is has for many objects: it doesn't look for new packs.
func (o *objects) listed(h plumbing.Hash) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open() != nil {
		return false
	}
	return slices.ContainsFunc(o.stores, func(s *store) bool { return s.has(h) })
}

// bytes returns the content of a commit or tree. It must not be changed.
func (o *objects) bytes(kind plumbing.ObjectType, h plumbing.Hash) ([]byte, error) {
	obj, err := o.read(kind, h)
	if err != nil {
		return nil, err
	}
	if obj.data != nil {
		return obj.data, nil
	}
	r, err := obj.reader()
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, h, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, h, err)
	}
	return b, nil
}

func (o *objects) tree(h plumbing.Hash) ([]treeEntry, error) {
	if h.IsZero() {
		return nil, nil
	}
	if list, ok := o.trees.get(h); ok {
		return list, nil
	}
	if h.String() == emptyTree {
		return nil, nil
	}
	b, err := o.bytes(plumbing.TreeObject, h)
	if err != nil {
		return nil, err
	}
	list, err := parseTree(b)
	if err != nil {
		return nil, fmt.Errorf("read tree %s: %w", h, err)
	}
	o.trees.put(h, list)
	return list, nil
}

func (o *objects) blobSize(h plumbing.Hash) (int64, error) {
	obj, err := o.read(plumbing.BlobObject, h)
	if err != nil {
		return 0, err
	}
	return obj.size, nil
}

// copyBlob writes a blob's bytes and checks on the way that they are what the
// id promises: a damaged pack must not become a damaged compose file.
func (o *objects) copyBlob(w io.Writer, h plumbing.Hash) error {
	obj, err := o.read(plumbing.BlobObject, h)
	if err != nil {
		return err
	}
	r, err := obj.reader()
	if err != nil {
		return fmt.Errorf("read blob %s: %w", h, err)
	}
	defer r.Close()
	sum := newBlobHash(obj.size)
	if _, err := io.Copy(io.MultiWriter(w, sum), r); err != nil {
		return fmt.Errorf("copy blob %s: %w", h, err)
	}
	if sum.id() != h {
		return fmt.Errorf("blob %s: the object in the clone is damaged; run git fsck", h)
	}
	return nil
}

// commit is what this package needs of a commit object.
type commit struct {
	tree    plumbing.Hash
	parents []plumbing.Hash
	author  string
	when    time.Time // of the committer
	subject string
}

func (o *objects) commit(h plumbing.Hash) (*commit, error) {
	b, err := o.bytes(plumbing.CommitObject, h)
	if err != nil {
		return nil, err
	}
	return parseCommit(h, b)
}

func parseCommit(h plumbing.Hash, b []byte) (*commit, error) {
	c := &commit{}
	head, message, _ := bytes.Cut(b, []byte("\n\n"))
	for line := range bytes.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch key {
		case "tree":
			c.tree = plumbing.NewHash(value)
		case "parent":
			c.parents = append(c.parents, plumbing.NewHash(value))
		case "author":
			c.author, _ = signature(value)
		case "committer":
			_, c.when = signature(value)
		}
	}
	if c.tree.IsZero() {
		return nil, fmt.Errorf("read commit %s: damaged commit object", h)
	}
	subject, _, _ := strings.Cut(strings.TrimLeft(string(message), "\n"), "\n")
	c.subject = strings.ToValidUTF8(strings.TrimSpace(subject), "\uFFFD")
	return c, nil
}

// signature splits "Name <mail> 1700000000 +0100".
func signature(s string) (name string, when time.Time) {
	end := strings.LastIndexByte(s, '>')
	if end < 0 {
		return s, time.Time{}
	}
	name = strings.ToValidUTF8(s[:end+1], "\uFFFD")
	fields := strings.Fields(s[end+1:])
	if len(fields) == 0 {
		return name, time.Time{}
	}
	sec, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return name, time.Time{}
	}
	zone := time.UTC
	if len(fields) > 1 {
		if t, err := time.Parse("-0700", fields[1]); err == nil {
			zone = t.Location()
		}
	}
	return name, time.Unix(sec, 0).In(zone)
}

// rootTree returns the tree of a commit; the zero hash is a branch without
// commits.
func (o *objects) rootTree(h plumbing.Hash) (plumbing.Hash, error) {
	if h.IsZero() {
		return plumbing.ZeroHash, nil
	}
	c, err := o.commit(h)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return c.tree, nil
}

// descends tells whether ancestor is reachable from h (a commit reaches
// itself). The walk goes by breadth and ends at the first hit: one new commit
// costs one read, a rewritten branch a walk over all of its history.
func (o *objects) descends(ctx context.Context, h, ancestor plumbing.Hash) (bool, error) {
	found := false
	err := o.walk(ctx, h, func(x plumbing.Hash, _ *commit) bool {
		found = x == ancestor
		return !found
	})
	return found, err
}

// walk visits the commits reachable from h, each once, until visit says no.
func (o *objects) walk(ctx context.Context, h plumbing.Hash, visit func(plumbing.Hash, *commit) bool) error {
	seen := map[plumbing.Hash]struct{}{h: {}}
	queue := []plumbing.Hash{h}
	for len(queue) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, queue = queue[0], queue[1:]
		c, err := o.commit(h)
		if err != nil {
			return err
		}
		if !visit(h, c) {
			return nil
		}
		for _, p := range c.parents {
			if _, ok := seen[p]; !ok {
				seen[p] = struct{}{}
				queue = append(queue, p)
			}
		}
	}
	return nil
}

func isMissing(err error) bool { return errors.Is(err, plumbing.ErrObjectNotFound) }

func packDir(gitDir string) string { return filepath.Join(gitDir, "objects", "pack") }
