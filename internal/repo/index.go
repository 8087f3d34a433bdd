package repo

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sys/unix"
)

// The index is read and written here and not by go-git because go-git forgets
// the assume-unchanged bit, writes in place and needs reflection for each field:
// at 100,000 files that is the greater part of a check. The format is git's
// Documentation/gitformat-index, versions 2 to 4.

const (
	flagAssumeValid  = 0x8000
	flagExtended     = 0x4000
	flagStageMask    = 0x3000
	flagNameMask     = 0x0fff
	extSkipWorktree  = 0x4000
	extIntentToAdd   = 0x2000
	indexHeaderSize  = 12
	indexEntryFixed  = 62
	indexTrailerSize = sha1.Size
)

var errIndex = errors.New("the index is damaged")

// stamp is what lstat says about a file, in the width that the index keeps.
type stamp struct {
	ctimeSec, ctimeNsec uint32
	mtimeSec, mtimeNsec uint32
	dev, ino            uint32
	uid, gid            uint32
	size                uint32
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{
		ctimeSec: uint32(st.Ctim.Sec), ctimeNsec: uint32(st.Ctim.Nsec),
		mtimeSec: uint32(st.Mtim.Sec), mtimeNsec: uint32(st.Mtim.Nsec),
		dev: uint32(st.Dev), ino: uint32(st.Ino),
		uid: st.Uid, gid: st.Gid, size: uint32(st.Size),
	}
}

// same compares what git compares by default: not the device, which changes
// with a reboot; and the parts of a second only when both sides have them.
func (s stamp) same(o stamp) bool {
	if s.ctimeNsec == 0 || o.ctimeNsec == 0 {
		s.ctimeNsec, o.ctimeNsec = 0, 0
	}
	if s.mtimeNsec == 0 || o.mtimeNsec == 0 {
		s.mtimeNsec, o.mtimeNsec = 0, 0
	}
	s.dev, o.dev = 0, 0
	return s == o
}

type indexEntry struct {
	stamp
	mode  uint32
	hash  plumbing.Hash
	flags uint16 // without the name's length
	ext   uint16
	path  string
}

func (e *indexEntry) stage() int { return int(e.flags&flagStageMask) >> 12 }

type index struct {
	entries []indexEntry
	// when the file was written: an entry that is not older may have been
	// changed after it within the clock's resolution, so its stamp proves nothing
	// (git's racy-git problem).
	mtimeSec, mtimeNsec uint32

	root plumbing.Hash // see tree
	rare *rare         // see others
}

// rare are entries of which most indexes have none.
type rare struct {
	conflicts []finding // of a merge that was not finished
	links     []string  // sorted
}

// others finds them, once: it takes a look at every entry.
func (x *index) others() *rare {
	if x.rare != nil {
		return x.rare
	}
	x.rare = &rare{}
	for i := range x.entries {
		e := &x.entries[i]
		if e.stage() != 0 && (i == 0 || x.entries[i-1].path != e.path) {
			x.rare.conflicts = append(x.rare.conflicts, finding{path: e.path, why: "in conflict"})
		}
		if e.mode == modeLink {
			x.rare.links = append(x.rare.links, e.path)
		}
	}
	return x.rare
}

// tree returns the id of the tree that the index would be committed as.
func (x *index) tree() plumbing.Hash {
	if x.root.IsZero() {
		x.root = indexTrees(x, nil)
	}
	return x.root
}

func (x *index) racy(e *indexEntry) bool {
	if e.mtimeSec != x.mtimeSec {
		return e.mtimeSec > x.mtimeSec
	}
	return e.mtimeNsec >= x.mtimeNsec
}

// find returns the position of path (stage 0), or where it would be inserted.
func (x *index) find(path string) (int, bool) {
	i := sort.Search(len(x.entries), func(i int) bool { return x.entries[i].path >= path })
	return i, i < len(x.entries) && x.entries[i].path == path
}

// entry returns what the index has at path; mode 0 for nothing.
func (x *index) entry(path string) treeEntry {
	i, ok := x.find(path)
	if !ok {
		return treeEntry{}
	}
	return treeEntry{mode: canonicalMode(x.entries[i].mode), hash: x.entries[i].hash}
}

// hasFolder tells whether anything tracked lies below dir.
func (x *index) hasFolder(dir string) bool {
	i, _ := x.find(dir + "/")
	return i < len(x.entries) && strings.HasPrefix(x.entries[i].path, dir+"/")
}

// readIndex reads the index file; a clone without one has an empty index.
func readIndex(path string) (*index, error) {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &index{}, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	x.mtimeSec, x.mtimeNsec = uint32(fi.ModTime().Unix()), uint32(fi.ModTime().Nanosecond())
	return x, nil
}

func parseIndex(data []byte) (*index, error) {
	if len(data) < indexHeaderSize+indexTrailerSize || string(data[:4]) != "DIRC" {
		return nil, errIndex
	}
	body, sum := data[:len(data)-indexTrailerSize], data[len(data)-indexTrailerSize:]
	// index.skipHash leaves zeros.
	if got := sha1.Sum(body); !bytes.Equal(got[:], sum) && !bytes.Equal(sum, make([]byte, sha1.Size)) {
		return nil, fmt.Errorf("%w: wrong checksum", errIndex)
	}
	version := binary.BigEndian.Uint32(body[4:])
	if version < 2 || version > 4 {
		return nil, fmt.Errorf("%w: version %d is not known", errIndex, version)
	}
	count := int(binary.BigEndian.Uint32(body[8:]))
	rest := body[indexHeaderSize:]
	if count < 0 || count > len(rest)/(indexEntryFixed-20) {
		return nil, errIndex
	}
	x := &index{entries: make([]indexEntry, count)}
	p := paths{ends: make([]int, 0, count)}
	for i := range x.entries {
		n, err := x.entries[i].parse(rest, version, &p)
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	all := string(p.text)
	start := 0
	for i, end := range p.ends {
		x.entries[i].path, start = all[start:end], end
	}
	return x, checkExtensions(rest)
}

// paths are those of an index, one behind the other, and where each ends. As one
// string they are one thing to be looked at when garbage is collected, and not
// one for each file.
type paths struct {
	text []byte
	ends []int
}

// last is the path that was added last.
func (p *paths) last() []byte {
	switch n := len(p.ends); n {
	case 0:
		return nil
	case 1:
		return p.text
	default:
		return p.text[p.ends[n-2]:]
	}
}

// add adds a path that begins as the last one did.
func (p *paths) add(same int, rest []byte) {
	p.text = append(append(p.text, p.last()[:same]...), rest...)
	p.ends = append(p.ends, len(p.text))
}

// parse reads an entry, but for its path, which it adds to those of the index. It
// returns how long the entry is.
func (e *indexEntry) parse(b []byte, version uint32, p *paths) (n int, err error) {
	if len(b) < indexEntryFixed {
		return 0, errIndex
	}
	be := binary.BigEndian
	e.stamp = stamp{
		ctimeSec: be.Uint32(b), ctimeNsec: be.Uint32(b[4:]),
		mtimeSec: be.Uint32(b[8:]), mtimeNsec: be.Uint32(b[12:]),
		dev: be.Uint32(b[16:]), ino: be.Uint32(b[20:]),
		uid: be.Uint32(b[28:]), gid: be.Uint32(b[32:]), size: be.Uint32(b[36:]),
	}
	e.mode = be.Uint32(b[24:])
	copy(e.hash[:], b[40:60])
	flags := be.Uint16(b[60:])
	e.flags = flags &^ flagNameMask
	n = indexEntryFixed
	if flags&flagExtended != 0 {
		if len(b) < n+2 {
			return 0, errIndex
		}
		e.ext = be.Uint16(b[n:])
		n += 2
	}
	if version == 4 {
		strip, used := varint(b[n:])
		if used == 0 || strip > len(p.last()) {
			return 0, errIndex
		}
		n += used
		end := bytes.IndexByte(b[n:], 0)
		if end < 0 {
			return 0, errIndex
		}
		p.add(len(p.last())-strip, b[n:n+end])
		return n + end + 1, nil
	}
	// The length field holds at most 4095; the terminating NUL is always there.
	end := bytes.IndexByte(b[n:], 0)
	if end < 0 {
		return 0, errIndex
	}
	p.add(0, b[n:n+end])
	n = (n + end + 8) &^ 7
	if n > len(b) {
		return 0, errIndex
	}
	return n, nil
}

// varint is git's offset encoding, as in packs.
func varint(b []byte) (v, n int) {
	for n < len(b) && n < 5 {
		c := b[n]
		n++
		v |= int(c & 0x7f)
		if c&0x80 == 0 {
			return v, n
		}
		v = (v + 1) << 7
	}
	return 0, 0
}

// checkExtensions refuses what changes the meaning of the entries. Optional
// extensions are caches: git makes them again.
func checkExtensions(b []byte) error {
	for len(b) > 0 {
		if len(b) < 8 {
			return errIndex
		}
		name, size := string(b[:4]), int(binary.BigEndian.Uint32(b[4:]))
		if size < 0 || size > len(b)-8 {
			return errIndex
		}
		switch {
		case name == "link":
			return errSplitIndex
		case name == "sdir":
			return errSparseIndex
		case name[0] < 'A' || name[0] > 'Z':
			return fmt.Errorf("%w: extension %q is not known", errIndex, name)
		}
		b = b[8+size:]
	}
	return nil
}

var (
	errSplitIndex  = errors.New("the index is split")
	errSparseIndex = errors.New("the index is sparse")
)

// encode writes version 2, or 3 if an entry needs the extended flags.
func (x *index) encode() []byte {
	version := uint32(2)
	size := indexHeaderSize + indexTrailerSize
	for i := range x.entries {
		if x.entries[i].ext != 0 {
			version = 3
		}
		size += indexEntryFixed + 10 + len(x.entries[i].path)
	}
	be := binary.BigEndian
	b := make([]byte, 0, size)
	b = append(b, "DIRC"...)
	b = be.AppendUint32(b, version)
	b = be.AppendUint32(b, uint32(len(x.entries)))
	for i := range x.entries {
		e := &x.entries[i]
		start := len(b)
		for _, v := range [...]uint32{
			e.ctimeSec, e.ctimeNsec, e.mtimeSec, e.mtimeNsec,
			e.dev, e.ino, e.mode, e.uid, e.gid, e.size,
		} {
			b = be.AppendUint32(b, v)
		}
		b = append(b, e.hash[:]...)
		flags := e.flags &^ flagExtended
		if e.ext != 0 {
			flags |= flagExtended
		}
		b = be.AppendUint16(b, flags|uint16(min(len(e.path), flagNameMask)))
		if e.ext != 0 {
			b = be.AppendUint16(b, e.ext)
		}
		b = append(b, e.path...)
		for pad := 8 - (len(b)-start)%8; pad > 0; pad-- {
			b = append(b, 0)
		}
	}
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}
