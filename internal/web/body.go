package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"mime"
	"net/http"
)

const (
	// maxBody is GitHub's cap for a payload.
	maxBody = 25 << 20
	// maxHead is how much of a payload is kept to be read when it has proved to
	// be authentic. Providers put branch and repository near the front; where a
	// payload says them later, it triggers, and the look finds out.
	maxHead = 256 << 10
)

var errTooLarge = errors.New("the body is larger than 25 MiB")

// body is what is left of a request's body after it has gone by: what is
// needed to verify it, and its head.
type body struct {
	raw      hash.Hash
	standard hash.Hash // with what goes before the body
	decoded  hash.Hash // nil unless the body is a form
	head     head
}

// readBody lets a body go by once, in small pieces. Nothing in it is looked at.
//
// A form holds the payload in one field. GitHub signs the form as it is sent,
// Gitea the payload inside: both sums are made.
func readBody(r *http.Request, secret, prefix string) (*body, error) {
	b := &body{raw: hmac.New(sha256.New, []byte(secret)), standard: hmac.New(sha256.New, standardKey(secret))}
	_, _ = io.WriteString(b.standard, prefix) // a hash never fails
	sink := io.MultiWriter(b.raw, b.standard, &b.head)
	if isForm(r.Header) {
		b.decoded = hmac.New(sha256.New, []byte(secret))
		sink = io.MultiWriter(b.raw, b.standard, &formValue{next: io.MultiWriter(b.decoded, &b.head)})
	}
	n, err := io.Copy(sink, io.LimitReader(r.Body, maxBody+1))
	if err == nil && n > maxBody {
		err = errTooLarge
	}
	return b, err
}

func isForm(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "application/x-www-form-urlencoded"
}

// proves says whether a claim is that of the body. A form without a payload has
// only its own: the signature of nothing is not one of the form.
func (b *body) proves(c claims) bool {
	if signed(c.body, b.raw.Sum(nil)) || signed(c.standard, b.standard.Sum(nil)) {
		return true
	}
	return b.decoded != nil && len(b.head.bytes) > 0 && signed(c.body, b.decoded.Sum(nil))
}

// head keeps the first bytes that are written to it.
type head struct{ bytes []byte }

func (h *head) Write(p []byte) (int, error) {
	h.bytes = append(h.bytes, p[:min(len(p), maxHead-len(h.bytes))]...)
	return len(p), nil
}

// formValue decodes a form whose first field is payload, and passes the value
// on. It works on pieces of any size, and passes on nothing of any other form.
type formValue struct {
	next  io.Writer
	name  int    // how much of "payload=" has been seen
	ended bool   // the value has ended, or this is another form
	hex   []byte // what has been seen of a %XX
}

func (f *formValue) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p))
	for _, c := range p {
		if f.ended {
			break
		}
		out = f.take(out, c)
	}
	if _, err := f.next.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *formValue) take(out []byte, c byte) []byte {
	const name = "payload="
	switch {
	case f.name < len(name):
		f.ended = c != name[f.name]
		f.name++
	case len(f.hex) > 0:
		return f.escape(out, c)
	case c == '%':
		f.hex = append(f.hex, c)
	case c == '&':
		f.ended = true
	case c == '+':
		return append(out, ' ')
	default:
		return append(out, c)
	}
	return out
}

// escape takes a digit of a %XX. A broken one ends the value: what comes out is
// then not what anybody signed.
func (f *formValue) escape(out []byte, c byte) []byte {
	f.hex = append(f.hex, c)
	if len(f.hex) < 3 {
		return out
	}
	var decoded [1]byte
	_, err := hex.Decode(decoded[:], f.hex[1:])
	f.hex = f.hex[:0]
	if err != nil {
		f.ended = true
		return out
	}
	return append(out, decoded[0])
}
