package repo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// The part of git's wire protocol that a reader of one branch needs: version 2
// (gitprotocol-v2), where one request lists one ref, and version 0
// (gitprotocol-pack) for servers that know nothing newer. go-git speaks version
// 0 only, and with it every poll costs a line for each ref of the repository.

const (
	maxPkt  = 65520 // with its four digits
	agent   = "agent=gitops-compose"
	maxRefs = 1 << 20 // a listing longer than this is refused
)

type pktKind int

const (
	pktData  pktKind = iota
	pktFlush         // 0000
	pktDelim         // 0001
	pktEnd           // 0002
)

var errProtocol = errors.New("the remote doesn't speak git's protocol")

// pktReader reads pkt-lines.
type pktReader struct {
	r   *bufio.Reader
	buf []byte
}

func newPktReader(r io.Reader) *pktReader {
	return &pktReader{r: bufio.NewReaderSize(r, 1<<13)}
}

// next returns the next line; the bytes are good until the following call.
func (p *pktReader) next() ([]byte, pktKind, error) {
	var head [4]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return nil, 0, err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	switch {
	case err != nil || n > maxPkt || n == 3:
		return nil, 0, fmt.Errorf("%w: bad packet length %q", errProtocol, head[:])
	case n < 3:
		return nil, [...]pktKind{pktFlush, pktDelim, pktEnd}[n], nil
	}
	if cap(p.buf) < int(n) {
		p.buf = make([]byte, max(int(n), min(2*cap(p.buf), maxPkt))) // few lines are long, but in a pack all are
	}
	p.buf = p.buf[:n-4]
	if _, err := io.ReadFull(p.r, p.buf); err != nil {
		return nil, 0, unexpectedEOF(err)
	}
	if text, ok := bytes.CutPrefix(p.buf, []byte("ERR ")); ok {
		return nil, 0, &remoteError{strings.TrimSpace(string(text))}
	}
	return p.buf, pktData, nil
}

// line is next for text: without the line feed.
func (p *pktReader) line() (string, pktKind, error) {
	b, kind, err := p.next()
	return strings.TrimSuffix(string(b), "\n"), kind, err
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// remoteError is what a server said in an ERR packet or on the error band.
type remoteError struct{ text string }

func (e *remoteError) Error() string {
	return "the remote says: " + strconv.QuoteToGraphic(strings.ToValidUTF8(firstBytes(e.text, 300), "?"))
}

func firstBytes(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}

func appendPkt(b []byte, line string) []byte {
	return append(fmt.Appendf(b, "%04x", len(line)+4), line...)
}

// advert is what a server says first.
type advert struct {
	v2   bool
	caps map[string]bool
	head plumbing.Hash // of the wanted ref; version 0 only
	refs int
}

// readAdvert reads the greeting of either version. http: with the service
// announcement that precedes it there.
func readAdvert(p *pktReader, ref string) (*advert, error) {
	line, kind, err := p.line()
	if err != nil {
		return nil, advertError(err)
	}
	if kind == pktData && strings.HasPrefix(line, "# service=") {
		if _, kind, err = p.line(); err != nil || kind != pktFlush {
			return nil, fmt.Errorf("%w: no flush after the service line", errProtocol)
		}
		if line, kind, err = p.line(); err != nil {
			return nil, advertError(err)
		}
	}
	a := &advert{caps: map[string]bool{}}
	if line == "version 2" {
		a.v2 = true
	}
	for first := true; kind == pktData; first = false {
		switch {
		case a.v2:
			a.caps[line] = true
		case first && line == "version 1":
		default:
			a.refLine(line, ref)
		}
		if a.refs > maxRefs || len(a.caps) > 1000 {
			return nil, fmt.Errorf("%w: the listing does not end", errProtocol)
		}
		if line, kind, err = p.line(); err != nil {
			return nil, advertError(err)
		}
	}
	if format := a.format(); format != "" && format != "sha1" {
		return nil, blocked("the remote repository uses %s object ids, which are not supported", format)
	}
	return a, nil
}

func advertError(err error) error {
	var re *remoteError
	if errors.As(err, &re) || errors.Is(err, errProtocol) {
		return err
	}
	return fmt.Errorf("read the remote's greeting: %w", unexpectedEOF(err))
}

func (a *advert) refLine(line, ref string) {
	if text, caps, ok := strings.Cut(line, "\x00"); ok {
		for c := range strings.FieldsSeq(caps) {
			a.caps[c] = true
		}
		line = text
	}
	a.refs++
	if id, name, ok := strings.Cut(line, " "); ok && name == ref && plumbing.IsHash(id) {
		a.head = plumbing.NewHash(id)
	}
}

func (a *advert) format() string {
	for c := range a.caps {
		if f, ok := strings.CutPrefix(c, "object-format="); ok {
			return f
		}
	}
	return ""
}

// lsRefs is the request for one ref.
func lsRefs(ref string) []byte {
	b := appendPkt(nil, "command=ls-refs\n")
	b = appendPkt(b, agent+"\n")
	b = append(b, "0001"...)
	b = appendPkt(b, "ref-prefix "+ref+"\n")
	return append(b, "0000"...)
}

// readRefs finds ref in the answer; zero if it isn't there. The prefix also
// matches longer names.
func readRefs(p *pktReader, ref string) (plumbing.Hash, error) {
	var head plumbing.Hash
	for n := 0; ; n++ {
		line, kind, err := p.line()
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("list the remote's branch: %w", unexpectedEOF(err))
		}
		if kind == pktFlush {
			return head, nil
		}
		id, rest, ok := strings.Cut(line, " ")
		if kind != pktData || !ok || n > maxRefs {
			return plumbing.ZeroHash, fmt.Errorf("%w: bad ref listing", errProtocol)
		}
		name, _, _ := strings.Cut(rest, " ") // attributes follow
		if name == ref {
			if !plumbing.IsHash(id) {
				return plumbing.ZeroHash, fmt.Errorf("%w: bad object id %q", errProtocol, firstBytes(id, 64))
			}
			head = plumbing.NewHash(id)
		}
	}
}

// fetchV2 is the request for a commit and all that it needs beyond haves.
func fetchV2(want plumbing.Hash, haves []plumbing.Hash) []byte {
	b := appendPkt(nil, "command=fetch")
	b = appendPkt(b, agent)
	b = append(b, "0001"...)
	b = appendPkt(b, "no-progress\n")
	b = appendPkt(b, "ofs-delta\n")
	b = appendPkt(b, "want "+want.String()+"\n")
	for _, h := range haves {
		b = appendPkt(b, "have "+h.String()+"\n")
	}
	b = appendPkt(b, "done\n")
	return append(b, "0000"...)
}

// fetchV0 is the same in version 0.
func fetchV0(a *advert, want plumbing.Hash, haves []plumbing.Hash) ([]byte, error) {
	if !a.caps["side-band-64k"] {
		return nil, blocked("the remote's git server is too old: it has no side-band-64k")
	}
	line := "want " + want.String() + " side-band-64k"
	for _, c := range []string{"ofs-delta", "no-progress"} {
		if a.caps[c] {
			line += " " + c
		}
	}
	b := appendPkt(nil, line+" "+agent+"\n")
	b = append(b, "0000"...)
	for _, h := range haves {
		b = appendPkt(b, "have "+h.String()+"\n")
	}
	return appendPkt(b, "done\n"), nil
}

// packReader yields the pack from the answer to either fetch request.
type packReader struct {
	p    *pktReader
	rest []byte
	done bool
}

// openPack reads up to where the pack begins.
func openPack(p *pktReader, v2 bool) (*packReader, error) {
	for {
		b, kind, err := p.next()
		if err != nil {
			return nil, fmt.Errorf("fetch: %w", unexpectedEOF(err))
		}
		if v2 {
			if kind == pktData && string(b) == "packfile\n" {
				return &packReader{p: p}, nil
			}
			if kind == pktFlush || kind == pktEnd {
				return nil, fmt.Errorf("fetch: %w: no pack in the answer", errProtocol)
			}
			continue // a section before it: nothing was asked for that matters here
		}
		if kind != pktData {
			return nil, fmt.Errorf("fetch: %w: no pack in the answer", errProtocol)
		}
		if bytes.HasPrefix(b, []byte("ACK ")) || bytes.HasPrefix(b, []byte("NAK")) {
			continue
		}
		r := &packReader{p: p}
		err = r.band(b)
		return r, err
	}
}

func (r *packReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.done {
			return 0, io.EOF
		}
		line, kind, err := r.p.next()
		if err != nil {
			return 0, fmt.Errorf("fetch: %w", unexpectedEOF(err))
		}
		if kind != pktData {
			r.done = true
			continue
		}
		if err := r.band(line); err != nil {
			return 0, err
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// band sorts one packet: 1 is the pack, 2 progress, 3 an error.
func (r *packReader) band(line []byte) error {
	if len(line) == 0 {
		return fmt.Errorf("fetch: %w: empty packet", errProtocol)
	}
	switch line[0] {
	case 1:
		r.rest = line[1:]
	case 2:
	case 3:
		return &remoteError{strings.TrimSpace(string(line[1:]))}
	default:
		return fmt.Errorf("fetch: %w: unknown band %d", errProtocol, line[0])
	}
	return nil
}
