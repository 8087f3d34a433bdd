package repo

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// alike is how many percent of the larger of two files have to be in the other for
// git to take one for the other.
const alike = 50

// Renamed tells which of some files of a commit are which files of an earlier one,
// as git finds renames: by what is in them. Left out are those that both have. A
// file of the earlier commit is one later file only, the one most like it.
func (r *Repository) Renamed(ctx context.Context, from, to string, were, are []string) (map[string]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(); err != nil {
		return nil, err
	}
	gone, err := r.texts(ctx, from, were, are)
	if err != nil {
		return nil, err
	}
	come, err := r.texts(ctx, to, are, were)
	if err != nil {
		return nil, err
	}
	return pairs(gone, come), nil
}

// version is a file and what is in it.
type version struct {
	path    string
	hash    plumbing.Hash
	content []byte
}

// texts reads those files of a commit that are not among others. One that is too
// large to be compared has no content.
func (r *Repository) texts(ctx context.Context, commit string, files, others []string) ([]version, error) {
	root, err := r.objects.rootTree(plumbing.NewHash(commit))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", short(commit), err)
	}
	var out []version
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if slices.Contains(others, f) {
			continue
		}
		e, err := r.entryAt(root, f)
		if err != nil {
			return nil, fmt.Errorf("find %s in %s: %w", f, short(commit), err)
		}
		if e.mode != modeFile && e.mode != modeExec {
			continue
		}
		t := version{path: f, hash: e.hash}
		if size, err := r.objects.blobSize(e.hash); err == nil && size <= largeObject {
			t.content, err = r.objects.bytes(plumbing.BlobObject, e.hash)
			if err != nil {
				return nil, fmt.Errorf("read %s of %s: %w", f, short(commit), err)
			}
		} else if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", f, short(commit), err)
		}
		out = append(out, t)
	}
	return out, nil
}

// entryAt finds a path in a tree; the mode is 0 if nothing is there.
func (r *Repository) entryAt(root plumbing.Hash, path string) (treeEntry, error) {
	at := treeEntry{mode: modeFolder, hash: root}
	for name := range strings.SplitSeq(path, "/") {
		if !at.folder() {
			return treeEntry{}, nil
		}
		list, err := r.tree(at.hash)
		if err != nil {
			return treeEntry{}, err
		}
		var ok bool
		if at, ok = entries(list).find(name); !ok {
			return treeEntry{}, nil
		}
	}
	return at, nil
}

// pairs gives the old path by the new one. The same file comes before one that is
// only like it, and of two that are as much alike one with the same name.
func pairs(gone, come []version) map[string]string {
	type pair struct {
		from, to string
		score    int
		named    bool
	}
	var all []pair
	for _, to := range come {
		for _, from := range gone {
			p := pair{from: from.path, to: to.path, named: path.Base(from.path) == path.Base(to.path)}
			if from.hash == to.hash {
				p.score = 101 // more than any other
			} else {
				p.score = similarity(from.content, to.content)
			}
			if p.score >= alike {
				all = append(all, p)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b pair) int {
		switch {
		case a.score != b.score:
			return cmp.Compare(b.score, a.score)
		case a.named != b.named && a.named:
			return -1
		case a.named != b.named:
			return 1
		default:
			return cmp.Or(strings.Compare(a.to, b.to), strings.Compare(a.from, b.from))
		}
	})
	out, taken := map[string]string{}, map[string]bool{}
	for _, p := range all {
		if out[p.to] == "" && !taken[p.from] {
			out[p.to], taken[p.from] = p.from, true
		}
	}
	return out
}

// similarity is how many percent of the larger of two texts are lines that the
// other has as well.
func similarity(a, b []byte) int {
	most := max(len(a), len(b))
	if min(len(a), len(b))*100 < alike*most || most == 0 {
		return 0
	}
	lines := map[string]int{}
	for line := range bytes.Lines(a) {
		lines[string(bytes.TrimRight(line, "\r\n"))]++
	}
	same := 0
	for line := range bytes.Lines(b) {
		key := string(bytes.TrimRight(line, "\r\n"))
		if lines[key] > 0 {
			lines[key]--
			same += len(line)
		}
	}
	return min(same*100/most, 100)
}
