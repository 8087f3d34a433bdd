package repo

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"

	"github.com/go-git/go-git/v5/plumbing"
)

// packFile is a pack and its index, version 2.
type packFile struct {
	idx, pack *os.File
	fan       [256]uint32
	count     int64
	size      int64
	names     []byte // for find

	users int  // streams that read from pack
	left  bool // closed as soon as there are none
}

// leave closes the files, or lets the last stream do it.
func (p *packFile) leave() {
	p.left = true
	p.closeUnused()
}

func (p *packFile) closeUnused() {
	if p.left && p.users == 0 {
		_ = p.idx.Close()
		_ = p.pack.Close()
	}
}

const (
	idxHeader = 8
	idxNames  = idxHeader + 256*4
)

func openPackFile(base string) (p *packFile, err error) {
	p = &packFile{}
	if p.pack, err = os.Open(base + ".pack"); err != nil {
		return nil, err
	}
	if p.idx, err = os.Open(base + ".idx"); err != nil {
		_ = p.pack.Close()
		return nil, err
	}
	if err := p.readHead(); err != nil {
		_ = p.pack.Close()
		_ = p.idx.Close()
		return nil, fmt.Errorf("read %s.idx: %w", base, err)
	}
	return p, nil
}

func (p *packFile) readHead() error {
	fi, err := p.pack.Stat()
	if err != nil {
		return err
	}
	p.size = fi.Size()
	var head [idxNames]byte
	if _, err := p.idx.ReadAt(head[:], 0); err != nil {
		return fmt.Errorf("damaged pack index: %w", err)
	}
	if string(head[:8]) != "\xfftOc\x00\x00\x00\x02" {
		return errors.New("pack index of an unknown version; run git gc in the repository")
	}
	for i := range p.fan {
		p.fan[i] = binary.BigEndian.Uint32(head[idxHeader+4*i:])
		if i > 0 && p.fan[i] < p.fan[i-1] {
			return errors.New("damaged pack index")
		}
	}
	p.count = int64(p.fan[255])
	return nil
}

// find returns where in the pack an object begins.
func (p *packFile) find(h plumbing.Hash) (int64, bool, error) {
	lo, hi := 0, int(p.fan[h[0]])
	if h[0] > 0 {
		lo = int(p.fan[h[0]-1])
	}
	if lo == hi {
		return 0, false, nil
	}
	// A bucket is read at once: for half a million objects it is 40 KB.
	names := slices.Grow(p.names[:0], (hi-lo)*20)[:(hi-lo)*20]
	p.names = names
	if _, err := p.idx.ReadAt(names, idxNames+int64(lo)*20); err != nil {
		return 0, false, fmt.Errorf("damaged pack index: %w", err)
	}
	i := sort.Search(hi-lo, func(i int) bool { return bytes.Compare(names[i*20:i*20+20], h[:]) >= 0 })
	if i == hi-lo || !bytes.Equal(names[i*20:i*20+20], h[:]) {
		return 0, false, nil
	}
	at, err := p.offset(int64(lo + i))
	return at, err == nil, err
}

func (p *packFile) offset(i int64) (int64, error) {
	var b [8]byte
	if _, err := p.idx.ReadAt(b[:4], idxNames+p.count*24+i*4); err != nil {
		return 0, fmt.Errorf("damaged pack index: %w", err)
	}
	at := binary.BigEndian.Uint32(b[:])
	if at&0x80000000 == 0 {
		return int64(at), nil
	}
	if _, err := p.idx.ReadAt(b[:], idxNames+p.count*28+int64(at&0x7fffffff)*8); err != nil {
		return 0, fmt.Errorf("damaged pack index: %w", err)
	}
	return int64(binary.BigEndian.Uint64(b[:])), nil
}

const (
	packOfsDelta = 6
	packRefDelta = 7
	maxDeltas    = 10_000 // git makes chains of 50, at most 4095
)

// packEntry is one entry's header; the deflated content begins at data.
type packEntry struct {
	kind byte
	size int64
	base int64 // of a delta
	data int64
}

func (s *store) entry(p *packFile, at int64) (e packEntry, err error) {
	var buf [64]byte
	n, err := p.pack.ReadAt(buf[:], at)
	if at < packHeader || n < 24 { // the shortest entry, and the checksum behind it
		return e, fmt.Errorf("%w: %w", errObject, unexpectedEOF(err))
	}
	b := buf[:n]
	e.kind = b[0] >> 4 & 7
	e.size = int64(b[0] & 15)
	i := 1
	for shift := 4; b[i-1]&0x80 != 0; shift += 7 {
		if i >= 10 {
			return e, errObject
		}
		e.size |= int64(b[i]&0x7f) << shift
		i++
	}
	switch e.kind {
	case packOfsDelta:
		back := int64(b[i] & 0x7f)
		for i++; b[i-1]&0x80 != 0; i++ {
			if i >= 21 {
				return e, errObject
			}
			back = (back+1)<<7 | int64(b[i]&0x7f)
		}
		if e.base = at - back; back <= 0 || e.base < packHeader {
			return e, errObject
		}
	case packRefDelta:
		if i+20 > len(b) {
			return e, errObject
		}
		base, ok, err := p.find(plumbing.Hash(b[i : i+20]))
		if err != nil || !ok {
			return e, fmt.Errorf("%w: a delta without its base", errObject)
		}
		e.base = base
		i += 20
	}
	e.data = at + int64(i)
	if e.size < 0 {
		return e, errObject
	}
	return e, nil
}

// packed reads an object from a pack, by way of its chain of deltas if it has
// one.
func (s *store) packed(p *packFile, at int64) (*object, error) {
	var deltas [][]byte
	var data []byte
	var kind plumbing.ObjectType
	start := at
	var chain []int64
	for data == nil {
		if k, b, ok := s.bases.get(p, at); ok {
			kind, data = k, b
			break
		}
		e, err := s.entry(p, at)
		if err != nil {
			return nil, err
		}
		switch e.kind {
		case packOfsDelta, packRefDelta:
			delta, err := s.inflate(p, e)
			if err != nil {
				return nil, err
			}
			deltas, chain = append(deltas, delta), append(chain, at)
			if at = e.base; len(deltas) > maxDeltas {
				return nil, fmt.Errorf("%w: deltas without end", errObject)
			}
		case 1, 2, 3, 4:
			kind = plumbing.ObjectType(e.kind)
			if len(deltas) == 0 && e.size > largeObject {
				return &object{kind: kind, size: e.size, pack: p, stream: func() (io.ReadCloser, error) { return p.stream(e) }}, nil
			}
			if data, err = s.inflate(p, e); err != nil {
				return nil, err
			}
			if start != at || kind == plumbing.TreeObject {
				s.bases.put(p, at, kind, data)
			}
		default:
			return nil, errObject
		}
	}
	for i := len(deltas) - 1; i >= 0; i-- {
		var err error
		if data, err = applyDelta(data, deltas[i]); err != nil {
			return nil, err
		}
		s.bases.put(p, chain[i], kind, data)
	}
	return &object{kind: kind, size: int64(len(data)), data: data}, nil
}

func (p *packFile) stream(e packEntry) (io.ReadCloser, error) {
	z, err := zlib.NewReader(bufio.NewReader(io.NewSectionReader(p.pack, e.data, p.size-e.data)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errObject, err)
	}
	return readCloser{io.LimitReader(z, e.size), z}, nil
}

func (s *store) inflate(p *packFile, e packEntry) ([]byte, error) {
	// deflate can't do better than 1:1032; more is a lie that would cost memory.
	if e.size > (p.size-e.data)*1100+1024 {
		return nil, errObject
	}
	in := io.NewSectionReader(p.pack, e.data, p.size-e.data)
	var err error
	if s.z == nil {
		s.source = bufio.NewReader(in)
		err = s.newInflater()
	} else {
		s.source.Reset(in)
		err = s.z.Reset(s.source, nil)
	}
	b := make([]byte, e.size)
	if err == nil {
		_, err = io.ReadFull(s.z, b)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errObject, err)
	}
	return b, nil
}

func (s *store) newInflater() error {
	z, err := zlib.NewReader(s.source)
	if err != nil {
		return err
	}
	var ok bool
	if s.z, ok = z.(inflater); !ok {
		return errors.New("zlib readers can't be used again") // its documentation says they can
	}
	return nil
}

// applyDelta makes an object from its base: sizes of both, then copies from the
// base and bytes of its own.
func applyDelta(base, delta []byte) ([]byte, error) {
	from, n := binary.Uvarint(delta)
	if n <= 0 || from != uint64(len(base)) {
		return nil, errObject
	}
	delta = delta[n:]
	size, n := binary.Uvarint(delta)
	if n <= 0 || size > 1<<40 {
		return nil, errObject
	}
	delta = delta[n:]
	out := make([]byte, 0, min(size, 64<<20))
	for len(delta) > 0 {
		op := delta[0]
		delta = delta[1:]
		switch {
		case op&0x80 != 0:
			var at, n uint32
			for bit := range 7 {
				if op&(1<<bit) == 0 {
					continue
				}
				if len(delta) == 0 {
					return nil, errObject
				}
				if bit < 4 {
					at |= uint32(delta[0]) << (8 * bit)
				} else {
					n |= uint32(delta[0]) << (8 * (bit - 4))
				}
				delta = delta[1:]
			}
			if n == 0 {
				n = 0x10000
			}
			if uint64(at)+uint64(n) > uint64(len(base)) || uint64(len(out))+uint64(n) > size {
				return nil, errObject
			}
			out = append(out, base[at:at+n]...)
		case op == 0 || int(op) > len(delta) || uint64(len(out))+uint64(op) > size:
			return nil, errObject
		default:
			out = append(out, delta[:op]...)
			delta = delta[op:]
		}
	}
	if uint64(len(out)) != size {
		return nil, errObject
	}
	return out, nil
}

// baseCache keeps what deltas were applied to: neighbours in a history have the
// same base. It has two generations, of which the older is dropped when the
// newer is full.
type baseCache struct {
	young, old map[baseKey]base
	size       int
}

type baseKey struct {
	p  *packFile
	at int64
}

type base struct {
	kind plumbing.ObjectType
	data []byte
}

const generation = 8 << 20

func (c *baseCache) get(p *packFile, at int64) (plumbing.ObjectType, []byte, bool) {
	key := baseKey{p, at}
	if b, ok := c.young[key]; ok {
		return b.kind, b.data, true
	}
	b, ok := c.old[key]
	if ok {
		c.put(p, at, b.kind, b.data)
	}
	return b.kind, b.data, ok
}

func (c *baseCache) put(p *packFile, at int64, kind plumbing.ObjectType, data []byte) {
	if len(data) > generation/4 {
		return
	}
	if c.young == nil || c.size+len(data) > generation {
		c.old, c.young, c.size = c.young, map[baseKey]base{}, 0
	}
	c.young[baseKey{p, at}] = base{kind, data}
	c.size += len(data) + 64
}
