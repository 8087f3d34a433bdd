package repo

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// The modes that git's trees and index know.
const (
	modeFolder    = 0o040000
	modeFile      = 0o100644
	modeExec      = 0o100755
	modeLink      = 0o120000
	modeSubmodule = 0o160000
)

type treeEntry struct {
	name string
	mode uint32 // 0: there is none
	hash plumbing.Hash
}

func (e treeEntry) folder() bool { return e.mode == modeFolder }

// same compares what a checkout would write.
func (e treeEntry) same(o treeEntry) bool { return e.mode == o.mode && e.hash == o.hash }

// compare is git's order of tree entries: a folder counts as "name/".
func (e treeEntry) compare(o treeEntry) int {
	n := min(len(e.name), len(o.name))
	if c := strings.Compare(e.name[:n], o.name[:n]); c != 0 {
		return c // as almost always
	}
	return strings.Compare(e.rest(n), o.rest(n))
}

// rest is what of an entry counts after the first n bytes of its name.
func (e treeEntry) rest(n int) string {
	if e.folder() {
		return e.name[n:] + "/"
	}
	return e.name[n:]
}

var errTree = errors.New("damaged tree object")

// parseTree decodes a tree object and brings the modes that old tools wrote
// (100664, 100600) to the two that git checks out.
func parseTree(data []byte) ([]treeEntry, error) {
	const shortest = len("40000 a\x00") + sha1.Size
	list := make([]treeEntry, 0, min(bytes.Count(data, []byte{0}), len(data)/shortest)) // there are some in the ids, too
	names := string(data)                                                               // all of them as one thing for the garbage collector
	for len(data) > 0 {
		space := bytes.IndexByte(data, ' ')
		if space < 1 {
			return nil, errTree
		}
		mode, err := strconv.ParseUint(string(data[:space]), 8, 32)
		if err != nil {
			return nil, errTree
		}
		data = data[space+1:]
		at := len(names) - len(data)
		end := bytes.IndexByte(data, 0)
		if end < 1 || len(data) < end+1+sha1.Size {
			return nil, errTree
		}
		e := treeEntry{name: names[at : at+end], mode: canonicalMode(uint32(mode))}
		copy(e.hash[:], data[end+1:])
		data = data[end+1+sha1.Size:]
		list = append(list, e)
	}
	// As git has them; what some tool left in another order is put into it.
	if !entries(list).sorted() {
		slices.SortStableFunc(list, treeEntry.compare)
	}
	return list, nil
}

func canonicalMode(mode uint32) uint32 {
	switch mode & 0o170000 {
	case 0o040000:
		return modeFolder
	case 0o100000:
		if mode&0o100 != 0 {
			return modeExec
		}
		return modeFile
	case 0o120000:
		return modeLink
	default:
		return modeSubmodule
	}
}

// lister returns the entries of a tree object; the zero hash is the empty tree.
type lister func(plumbing.Hash) ([]treeEntry, error)

// change is one path that differs between two trees. A file that becomes a
// folder is a deletion of the file and additions below it.
type change struct {
	path     string
	from, to treeEntry
}

// diff lists what differs between two trees, reading only folders that differ.
func diff(ctx context.Context, list lister, from, to plumbing.Hash) ([]change, error) {
	var out []change
	err := diffFolder(ctx, list, "", from, to, &out)
	return out, err
}

func diffFolder(ctx context.Context, list lister, dir string, from, to plumbing.Hash, out *[]change) error {
	if from == to {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	a, err := list(from)
	if err != nil {
		return err
	}
	b, err := list(to)
	if err != nil {
		return err
	}
	for len(a) > 0 || len(b) > 0 {
		var x, y treeEntry
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].compare(b[0]) < 0:
			x, a = a[0], a[1:]
		case len(a) == 0 || b[0].compare(a[0]) < 0:
			y, b = b[0], b[1:]
		default:
			x, y, a, b = a[0], b[0], a[1:], b[1:]
		}
		if x.same(y) {
			continue
		}
		name := x.name
		if name == "" {
			name = y.name
		}
		path := join(dir, name)
		if x.folder() || y.folder() { // equal sort names: then both are, or the other is none
			if err := diffFolder(ctx, list, path, x.hash, y.hash, out); err != nil {
				return err
			}
			continue
		}
		*out = append(*out, change{path: path, from: x, to: y})
	}
	return nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// unsafeName says why a name from a commit must not be written, or "". The
// rules are git's verify_path with its default protections: a commit must not
// reach into .git or out of the work tree, also not on a file system that folds
// case.
func unsafeName(name string) string {
	switch lower := strings.ToLower(name); {
	case name == "" || name == "." || name == "..":
		return "not a file name"
	case strings.ContainsAny(name, "/\x00"):
		return "not a file name"
	case lower == ".git" || lower == "git~1" || strings.HasPrefix(lower, ".git::"),
		strings.TrimRight(lower, " .") == ".git":
		return "reaches into .git"
	case hfsDotGit(lower):
		return "reaches into .git"
	}
	return ""
}

// hfsDotGit recognises ".git" with code points between its letters that HFS+
// ignores.
func hfsDotGit(lower string) bool {
	stripped := strings.Map(func(r rune) rune {
		switch {
		case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e,
			r >= 0x206a && r <= 0x206f, r == 0xfeff:
			return -1
		}
		return r
	}, lower)
	return stripped != lower && stripped == ".git"
}

func unsafePath(path string) string {
	for name := range strings.SplitSeq(path, "/") {
		if why := unsafeName(name); why != "" {
			return why
		}
	}
	return ""
}

// indexTrees computes the tree objects that the index would be committed as:
// comparing the root with the head's tree answers "is anything staged?" without
// reading a tree. keep collects all trees when the answer was no and the paths
// are wanted.
func indexTrees(x *index, keep map[plumbing.Hash][]treeEntry) plumbing.Hash {
	h, _ := hashFolder(x.entries, "", keep)
	return h
}

func hashFolder(entries []indexEntry, prefix string, keep map[plumbing.Hash][]treeEntry) (plumbing.Hash, int) {
	var list []treeEntry
	i := 0
	for i < len(entries) && strings.HasPrefix(entries[i].path, prefix) {
		e := &entries[i]
		name := e.path[len(prefix):]
		if slash := strings.IndexByte(name, '/'); slash >= 0 {
			h, n := hashFolder(entries[i:], e.path[:len(prefix)+slash+1], keep)
			list = append(list, treeEntry{name[:slash], modeFolder, h})
			i += n
			continue
		}
		if e.ext&extIntentToAdd == 0 {
			list = append(list, treeEntry{name, canonicalMode(e.mode), e.hash})
		}
		i++
	}
	// Index order and tree order agree: both compare whole paths by bytes.
	h := hashTree(list)
	if keep != nil {
		keep[h] = list
	}
	return h, i
}

func hashTree(list []treeEntry) plumbing.Hash {
	size := 0
	for _, e := range list {
		size += len(e.name) + 28
	}
	b := make([]byte, 0, size)
	for _, e := range list {
		b = strconv.AppendUint(b, uint64(e.mode), 8)
		b = append(b, ' ')
		b = append(b, e.name...)
		b = append(b, 0)
		b = append(b, e.hash[:]...)
	}
	return hashObject("tree", b)
}

func hashObject(kind string, b []byte) (h plumbing.Hash) {
	s := sha1.New()
	fmt.Fprintf(s, "%s %d\x00", kind, len(b))
	s.Write(b)
	s.Sum(h[:0])
	return h
}
