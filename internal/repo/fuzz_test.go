package repo

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

const fuzzRef = "refs/heads/main"

// FuzzAdvert: whatever a server greets with, reading it ends with an answer or an
// error.
func FuzzAdvert(f *testing.F) {
	f.Add([]byte("001e# service=git-upload-pack\n0000000eversion 2\n0010agent=git/2\n0013object-format=sha1\n0000"))
	f.Add([]byte("004895d09f2b10159347eece71399a7e2e907ea3df4f refs/heads/main\x00ofs-delta x\n0000"))
	f.Add([]byte("000eERR denied"))
	f.Add([]byte("0001"))
	f.Add([]byte("0003"))
	f.Add([]byte("fff1x"))
	f.Add([]byte("-001"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := readAdvert(newPktReader(bytes.NewReader(b)), fuzzRef)
		if err == nil && a == nil {
			t.Error("neither an answer nor an error")
		}
		if err == nil && a.v2 && !a.head.IsZero() {
			t.Error("a head from a greeting that has none")
		}
	})
}

// FuzzRefs: a head comes only from a line that names the ref.
func FuzzRefs(f *testing.F) {
	f.Add([]byte("003d95d09f2b10159347eece71399a7e2e907ea3df4f refs/heads/main\n0000"))
	f.Add([]byte("004195d09f2b10159347eece71399a7e2e907ea3df4f refs/heads/mainline\n0000"))
	f.Add([]byte("0020unborn HEAD symref-target:x\n0000"))
	f.Add([]byte("0000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readRefs(newPktReader(bytes.NewReader(b)), fuzzRef)
		if err == nil && !h.IsZero() && !strings.Contains(strings.ToLower(string(b)), h.String()+" "+fuzzRef) {
			t.Errorf("%s is not in the answer", h)
		}
	})
}

// FuzzPack: what comes out of the bands is never more than what went in.
func FuzzPack(f *testing.F) {
	f.Add([]byte("000dpackfile\n0009\x01PACK000a\x02hello0009\x03oops0000"), true)
	f.Add([]byte("0008NAK\n0009\x01PACK0000"), false)
	f.Add([]byte("0031ACK 95d09f2b10159347eece71399a7e2e907ea3df4f\n0005\x010000"), false)
	f.Fuzz(func(t *testing.T, b []byte, v2 bool) {
		r, err := openPack(newPktReader(bytes.NewReader(b)), v2)
		if err != nil {
			return
		}
		out, err := io.ReadAll(r)
		if len(out) > len(b) {
			t.Errorf("%d bytes out of %d", len(out), len(b))
		}
		if errors.Is(err, io.EOF) {
			t.Error("a bare EOF")
		}
	})
}

// FuzzTree: a tree that can be read gives back the same bytes, but for the modes
// that are brought to one form.
func FuzzTree(f *testing.F) {
	f.Add([]byte("100644 a\x0012345678901234567890"))
	f.Add([]byte("40000 d\x0012345678901234567890120000 l\x0012345678901234567890"))
	f.Add([]byte("100664 x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseTree(b)
		if err != nil {
			return
		}
		for _, e := range list {
			if e.mode == 0 || e.name == "" {
				t.Errorf("entry %+v", e)
			}
			_ = unsafeName(e.name)
		}
	})
}

func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree 95d09f2b10159347eece71399a7e2e907ea3df4f\nparent 95d09f2b10159347eece71399a7e2e907ea3df4f\nauthor A <a@b> 1 +0100\ncommitter C <c@d> 2 -0000\n\nsubject\n\nbody"))
	f.Add([]byte("tree x\nauthor >\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseCommit(plumbing.ZeroHash, b); err == nil && strings.ContainsAny(c.subject, "\n") {
			t.Errorf("subject %q", c.subject)
		}
	})
}

// FuzzIndex: what can be read can be written and read again with the same
// entries.
func FuzzIndex(f *testing.F) {
	for _, x := range []*index{
		{},
		{entries: []indexEntry{{path: "a", mode: modeFile, flags: flagAssumeValid}, {path: "b/" + strings.Repeat("x", 5000), mode: modeLink, ext: extSkipWorktree}}},
	} {
		f.Add(x.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := parseIndex(b)
		if err != nil {
			return
		}
		y, err := parseIndex(x.encode())
		if err != nil {
			t.Fatal(err)
		}
		for i := range x.entries {
			x.entries[i].flags &^= flagExtended
			y.entries[i].flags &^= flagExtended
			if x.entries[i] != y.entries[i] {
				t.Errorf("%+v became %+v", x.entries[i], y.entries[i])
			}
		}
		indexTrees(x, nil)
	})
}

// FuzzDelta: a delta gives what it promises, or an error, and no more memory.
func FuzzDelta(f *testing.F) {
	f.Add([]byte("base content"), []byte("\x0c\x05\x90\x04\x01!"))
	f.Add([]byte(""), []byte("\x00\xff\xff\xff\xff\x0f\x01x"))
	f.Add([]byte("x"), []byte("\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, base, delta []byte) {
		out, err := applyDelta(base, delta)
		if err == nil && len(out) > 0x10000*len(delta) {
			t.Errorf("%d bytes out of a delta of %d", len(out), len(delta))
		}
	})
}
