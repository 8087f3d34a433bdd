package repo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/gitattributes"
	"golang.org/x/sys/unix"
)

// A clone that git has made holds some files otherwise than their blobs: with other
// line endings, with an id written into them, or with what a filter such as LFS has
// put in the place of the blob. As long as nobody touched them, their stamps say that
// they are as git left them; this is for those that were touched.

// conversion is what git does to a file between a blob and the work tree.
type conversion struct {
	crlf  bool // LF may have become CRLF
	ident bool // $Id$ has become $Id: <id> $
	// filter is a command of the clone's configuration; "" for none.
	filter string
}

// filterLFS is the one filter whose effect can be told without running it.
const filterLFS = "lfs"

// converted says whether a regular file is a blob after git's conversion. Of a file
// that goes through another filter nobody can tell who does not run it: it counts as
// unchanged, which is said once.
func (w *worktree) converted(path string, s fileState, blob plumbing.Hash) (bool, error) {
	c := w.conversionOf(path)
	switch {
	case c.filter == filterLFS:
		return w.pointsTo(path, s, blob)
	case c.filter != "":
		if w.unsure != nil {
			w.unsure(path, c.filter)
		}
		return true, nil
	case !c.crlf && !c.ident, s.st.Size > largeObject:
		return false, nil
	}
	b, err := w.read(path)
	if err != nil {
		return false, err
	}
	if c.ident {
		b = regexp.MustCompile(`\$Id:[^$\n]*\$`).ReplaceAll(b, []byte("$$Id$$"))
	}
	if c.crlf {
		b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	}
	return hashObject("blob", b) == blob, nil
}

// read reads a regular file of the work tree.
func (w *worktree) read(path string) ([]byte, error) {
	f, err := w.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, largeObject+1))
}

func (w *worktree) open(path string) (*os.File, error) {
	return os.OpenFile(w.abs(path), os.O_RDONLY|unix.O_NOFOLLOW, 0)
}

// pointsTo says whether a file is the one that an LFS pointer stands for.
func (w *worktree) pointsTo(path string, s fileState, blob plumbing.Hash) (bool, error) {
	const most = 1 << 10 // bytes, of which a pointer has about 130
	if w.blob == nil {
		return false, nil
	}
	text, err := w.blob(blob, most)
	if err != nil || !bytes.HasPrefix(text, []byte(lfsMark)) {
		return false, err
	}
	oid, size := "", int64(-1)
	for line := range strings.Lines(string(text)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key {
		case "oid":
			oid = strings.TrimPrefix(value, "sha256:")
		case "size":
			if size, err = strconv.ParseInt(value, 10, 64); err != nil {
				return false, nil // it is no pointer after all
			}
		}
	}
	if size != s.st.Size {
		return false, nil
	}
	f, err := w.open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return false, err
	}
	return hex.EncodeToString(sum.Sum(nil)) == oid, nil
}

// conversionOf reads the attributes that count for a path: those in its folder over
// those in folders above, and info/attributes over all. What can't be read says
// nothing.
func (w *worktree) conversionOf(path string) conversion {
	parts := strings.Split(path, "/")
	values := map[string]gitattributes.Attribute{}
	take := func(file string, domain []string) {
		f, err := os.Open(file)
		if err != nil {
			return
		}
		defer f.Close()
		rules, _ := gitattributes.ReadAttributes(f, domain, true) // those before an error count
		for _, rule := range rules {                              // a later one counts more
			name := strings.TrimPrefix(rule.Name, "/")
			if rule.Pattern == nil || strings.HasSuffix(name, "/") || strings.Contains(name, "//") || !rule.Pattern.Match(parts) {
				continue // a macro, or what never is a file
			}
			for _, a := range rule.Attributes {
				values[a.Name()] = a
			}
		}
	}
	for n := range parts {
		dir := parts[:n:n]
		take(w.abs(strings.Join(append(dir, ".gitattributes"), "/")), dir)
	}
	take(filepath.Join(w.root, ".git", "info", "attributes"), nil)

	on := func(name string) bool { a := values[name]; return a != nil && a.IsSet() }
	off := func(name string) bool { a := values[name]; return a != nil && a.IsUnset() }
	value := func(name string) string {
		if a := values[name]; a != nil && a.IsValueSet() {
			return a.Value()
		}
		return ""
	}
	c := conversion{ident: on("ident"), filter: value("filter")}
	switch {
	case off("text"), on("binary"): // binary is git's word for -text among others
	case on("text"), value("text") != "", value("eol") != "", on("crlf"):
		c.crlf = true
	default:
		c.crlf = w.autocrlf
	}
	return c
}

// sayUnsure warns of a file that goes through a filter.
func (r *Repository) sayUnsure(path, filter string) {
	if r.once("filter " + filter) {
		r.log.Warn("it can't be told whether files were changed by hand that go through a filter of git's, which the daemon does not run; they count as unchanged",
			"path", path, "cause", fmt.Sprintf("filter=%s in .gitattributes", filter))
	}
}

// small gives a blob that is not larger than some bytes, and nil for others.
func (r *Repository) small(blob plumbing.Hash, most int64) ([]byte, error) {
	if size, err := r.objects.blobSize(blob); err != nil || size > most {
		return nil, err
	}
	return r.objects.bytes(plumbing.BlobObject, blob)
}
