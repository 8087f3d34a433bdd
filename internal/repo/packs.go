package repo

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
)

// Each fetch leaves a pack, and a reader has to look into all of them. When
// there are many, the small ones are joined: their entries are copied as they
// are, one pack after the other, which keeps every delta valid because a delta
// names its base by distance or by id. Nothing is decompressed.
const (
	manyPacks  = 24
	maxJoined  = 512 << 20
	packHeader = 12
)

type pack struct {
	base string // path without suffix
	size int64
}

// consolidate joins packs if there are many; the caller is the only one who
// fetches. Its failure is no failure of the fetch.
func (r *Repository) consolidate(ctx context.Context) {
	packs, err := r.joinable()
	if err == nil && len(packs) > manyPacks {
		err = r.join(ctx, smallest(packs))
	}
	if err != nil {
		r.log.Warn("packs not joined", "err", err)
	}
}

// joinable lists packs that nothing else refers to by name.
func (r *Repository) joinable() ([]pack, error) {
	entries, err := os.ReadDir(packDir(r.gitDir))
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	if names["multi-pack-index"] {
		return nil, nil // it names packs; git keeps house here
	}
	var out []pack
	for name := range names {
		base, ok := strings.CutSuffix(name, ".pack")
		if !ok || !names[base+".idx"] || names[base+".keep"] || names[base+".bitmap"] || names[base+".promisor"] || names[base+".mtimes"] {
			continue
		}
		fi, err := os.Stat(filepath.Join(packDir(r.gitDir), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // git gc was faster
		}
		if err != nil {
			return nil, err
		}
		out = append(out, pack{filepath.Join(packDir(r.gitDir), base), fi.Size()})
	}
	return out, nil
}

// smallest picks the packs to join: as long as the next one is not much larger
// than all before it together. So a big pack is copied rarely, and the number of
// packs grows with the logarithm of what was fetched.
func smallest(packs []pack) []pack {
	slices.SortFunc(packs, func(a, b pack) int { return int(a.size - b.size) })
	var sum int64
	for i, p := range packs {
		if sum+p.size > maxJoined || i >= manyPacks/2 && p.size > 2*sum {
			return packs[:i]
		}
		sum += p.size
	}
	return packs
}

func (r *Repository) join(ctx context.Context, packs []pack) error {
	slices.Reverse(packs) // the largest first: what a killed run left is then found in it
	seen := map[plumbing.Hash]bool{}
	var take, redundant []pack
	var indexes []*idxfile.MemoryIndex
	for _, p := range packs {
		idx, err := readPackIndex(p.base + ".idx")
		if err != nil {
			return err
		}
		known, total, err := overlap(idx, seen)
		switch {
		case err != nil:
			return err
		case known == total:
			redundant = append(redundant, p)
		case known == 0:
			take, indexes = append(take, p), append(indexes, idx)
			if err := collect(idx, seen); err != nil {
				return err
			}
		} // partly the same: stays as it is
	}
	if len(take) > 1 {
		if err := r.writeJoined(ctx, take, indexes, len(seen)); err != nil {
			return err
		}
		redundant = append(redundant, take...)
	}
	return r.objects.withdraw(func() error { return r.removePacks(redundant) })
}

func readPackIndex(path string) (*idxfile.MemoryIndex, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	idx := idxfile.NewMemoryIndex()
	if err := idxfile.NewDecoder(f).Decode(idx); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return idx, nil
}

func eachEntry(idx *idxfile.MemoryIndex, do func(*idxfile.Entry) error) error {
	it, err := idx.Entries()
	if err != nil {
		return err
	}
	defer func() { _ = it.Close() }()
	for {
		e, err := it.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := do(e); err != nil {
			return err
		}
	}
}

func overlap(idx *idxfile.MemoryIndex, seen map[plumbing.Hash]bool) (known, total int, err error) {
	err = eachEntry(idx, func(e *idxfile.Entry) error {
		total++
		if seen[e.Hash] {
			known++
		}
		return nil
	})
	return known, total, err
}

func collect(idx *idxfile.MemoryIndex, seen map[plumbing.Hash]bool) error {
	return eachEntry(idx, func(e *idxfile.Entry) error { seen[e.Hash] = true; return nil })
}

// writeJoined makes one pack of several and takes it in like a fetched one.
func (r *Repository) writeJoined(ctx context.Context, packs []pack, indexes []*idxfile.MemoryIndex, count int) error {
	dir := r.state(incoming)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.MkdirAll(packDir(dir), 0o700); err != nil {
		return err
	}
	tmp := filepath.Join(packDir(dir), "joined")
	f, err := r.disk.create(tmp, 0o444)
	if err != nil {
		return err
	}
	sum, idx, err := joinInto(ctx, f, packs, indexes, count)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	name := filepath.Join(packDir(dir), "pack-"+sum.String())
	if err := writePackIndex(name+".idx", idx); err != nil {
		return err
	}
	if err := r.disk.rename(tmp, name+".pack"); err != nil {
		return err
	}
	return r.takeIn(dir)
}

func joinInto(ctx context.Context, f io.Writer, packs []pack, indexes []*idxfile.MemoryIndex, count int) (sum plumbing.Hash, idx *idxfile.Writer, err error) {
	hash := sha1.New()
	w := io.MultiWriter(f, hash)
	idx = new(idxfile.Writer)
	if err := idx.OnHeader(uint32(count)); err != nil {
		return sum, nil, err
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("PACK"), 2), uint32(count))
	if _, err := w.Write(head); err != nil {
		return sum, nil, err
	}
	at := int64(packHeader)
	for i, p := range packs {
		if err := ctx.Err(); err != nil {
			return sum, nil, err
		}
		n, err := copyEntries(w, p)
		if err != nil {
			return sum, nil, err
		}
		err = eachEntry(indexes[i], func(e *idxfile.Entry) error {
			idx.Add(e.Hash, e.Offset+uint64(at-packHeader), e.CRC32)
			return nil
		})
		if err != nil {
			return sum, nil, err
		}
		at += n
	}
	hash.Sum(sum[:0])
	if _, err := f.Write(sum[:]); err != nil {
		return sum, nil, err
	}
	err = idx.OnFooter(sum)
	return sum, idx, err
}

// copyEntries copies what lies between a pack's header and its checksum.
func copyEntries(w io.Writer, p pack) (int64, error) {
	f, err := os.Open(p.base + ".pack")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n := p.size - packHeader - sha1.Size
	if n < 0 {
		return 0, fmt.Errorf("%s is damaged", f.Name())
	}
	return io.Copy(w, io.NewSectionReader(f, packHeader, n))
}

func writePackIndex(path string, w *idxfile.Writer) error {
	idx, err := w.Index()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = idxfile.NewEncoder(f).Encode(idx)
	return errors.Join(err, f.Close())
}

// removePacks deletes packs whose objects are elsewhere, the index first: so
// git never finds one without its pack.
func (r *Repository) removePacks(packs []pack) error {
	for _, p := range packs {
		for _, suffix := range []string{".idx", ".rev", ".pack"} {
			if err := r.disk.remove(p.base + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
