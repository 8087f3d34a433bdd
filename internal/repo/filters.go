package repo

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/go-git/go-git/v5/config"
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
	guess bool // but not in what looks like no text
	ident bool // $Id$ has become $Id: <id> $
	// encoding is what UTF-8 has become, in capitals; "" for none.
	encoding string
	// filter is a command of a configuration; "" for none.
	filter string
}

// filterLFS is the one filter whose effect can be told without running it.
const filterLFS = "lfs"

// converted says whether a regular file is a blob after git's conversion. Of a file
// that goes through another filter, or has an encoding that is not known here, nobody
// can tell who does not run git: it counts as unchanged, which is said once.
func (w *worktree) converted(path string, s fileState, blob plumbing.Hash) (bool, error) {
	c := w.conversionOf(path)
	unsure := ""
	switch {
	case c.filter == filterLFS:
		if is, err := w.pointsTo(path, s, blob); is || err != nil {
			return is, err
		}
		c.filter = "" // in a clone without LFS, it may be a pointer with other line endings
	case c.filter != "":
		unsure = "filter=" + c.filter
	case c.encoding != "" && !utf16s(c.encoding):
		unsure = "working-tree-encoding=" + c.encoding
	}
	switch {
	case unsure != "":
		if w.unsure != nil {
			w.unsure(path, unsure)
		}
		return true, nil
	case !c.crlf && !c.ident && c.encoding == "" && s.st.Size > largeObject:
		return false, nil
	}
	b, err := w.read(path)
	if err != nil {
		return false, err
	}
	if c.encoding != "" {
		b = fromUTF16(b, c.encoding)
	}
	if c.crlf && (!c.guess || looksLikeText(b)) {
		b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	}
	if c.ident {
		b = regexp.MustCompile(`\$Id:[^$\n]*\$`).ReplaceAll(b, []byte("$$Id$$"))
	}
	return hashObject("blob", b) == blob, nil
}

// utf16s says whether an encoding is one of UTF-16's that git can read.
func utf16s(encoding string) bool {
	return slices.Contains([]string{"UTF-16", "UTF-16LE", "UTF-16BE", "UTF-16LE-BOM"}, encoding)
}

// fromUTF16 gives text as UTF-8. What is not in the encoding stays as it is, as with
// git, and so does what lacks the mark of its byte order or has one too many.
func fromUTF16(b []byte, encoding string) []byte {
	order := binary.ByteOrder(binary.LittleEndian)
	text, little := bytes.CutPrefix(b, []byte{0xff, 0xfe})
	text, big := bytes.CutPrefix(text, []byte{0xfe, 0xff})
	if big || encoding == "UTF-16BE" {
		order = binary.BigEndian
	}
	switch marked := little || big; {
	case len(text)%2 != 0, marked && (encoding == "UTF-16LE" || encoding == "UTF-16BE"), !marked && encoding == "UTF-16":
		return b
	}
	var units []uint16
	for pair := range slices.Chunk(text, 2) {
		units = append(units, order.Uint16(pair))
	}
	runes := utf16.Decode(units)
	if !slices.Equal(utf16.Encode(runes), units) { // half of a pair
		return b
	}
	return []byte(string(runes))
}

// looksLikeText is git's guess.
func looksLikeText(b []byte) bool {
	printable, other := 0, 0
	for i, c := range b {
		switch {
		case c == 0, c == '\r' && (i+1 == len(b) || b[i+1] != '\n'):
			return false
		case c == '\r', c == '\n':
		case c >= ' ' && c != 0x7f, c == '\b', c == '\t', c == 0x1b, c == '\f':
			printable++
		case c == 0x1a && i+1 == len(b): // the end of a file to DOS
		default:
			other++
		}
	}
	return printable>>7 >= other
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

// conversionOf tells what the attributes of a path ask for.
func (w *worktree) conversionOf(path string) conversion {
	values := w.attributes(path)
	c := conversion{encoding: encodingOf(values["working-tree-encoding"]), filter: valueOf(values["filter"])}
	if ident := values["ident"]; ident != nil && ident.IsSet() {
		c.ident = true
	}
	// A filter that nothing configures is none to git. LFS is told without it.
	if c.filter != "" && c.filter != filterLFS && w.filters != nil && !w.filters(c.filter) {
		c.filter = ""
	}
	text := kindOf(values["text"])
	if text == "" {
		text = kindOf(values["crlf"])
	}
	eol := valueOf(values["eol"])
	switch {
	case text == "no":
	case text == "auto":
		c.crlf, c.guess = true, true
	case text == "yes", eol == "lf", eol == "crlf":
		c.crlf = true
	default:
		c.crlf, c.guess = w.autocrlf, true
	}
	return c
}

// kindOf is what text says of a file: yes, no, auto, or "" for nothing.
func kindOf(text gitattributes.Attribute) string {
	switch value := valueOf(text); {
	case text == nil:
		return ""
	case text.IsSet(), value == "input":
		return "yes"
	case text.IsUnset():
		return "no"
	case value == "auto":
		return value
	}
	return ""
}

// valueOf is what stands behind the = of an attribute.
func valueOf(a gitattributes.Attribute) string {
	if a == nil || !a.IsValueSet() {
		return ""
	}
	return a.Value()
}

// encodingOf gives an encoding as its only spelling, and "" for UTF-8.
func encodingOf(a gitattributes.Attribute) string {
	name := strings.ToUpper(valueOf(a))
	if rest, ok := strings.CutPrefix(name, "UTF"); ok {
		name = "UTF-" + strings.TrimPrefix(rest, "-")
	}
	if name == "UTF-8" {
		return ""
	}
	return name
}

// attributes reads those that count for a path: the ones in its folder over the ones
// in folders above, these over core.attributesFile, and info/attributes over all. What
// can't be read says nothing. The person's own default, in their home, is not read:
// their configuration, which may name another, is not seen here either.
func (w *worktree) attributes(path string) map[string]gitattributes.Attribute {
	parts := strings.Split(path, "/")
	rules := attributeRules(strings.NewReader("[attr]binary -diff -merge -text"), nil)
	take := func(file string, domain []string) {
		if f, err := os.Open(file); err == nil {
			defer f.Close()
			rules = append(rules, attributeRules(f, domain)...)
		}
	}
	if w.attributesFile != "" {
		take(w.attributesFile, nil)
	}
	for n := range parts {
		dir := parts[:n:n]
		take(w.abs(strings.Join(append(dir, ".gitattributes"), "/")), dir)
	}
	take(filepath.Join(w.root, ".git", "info", "attributes"), nil)

	values, macros := map[string]gitattributes.Attribute{}, map[string]gitattributes.MatchAttribute{}
	for _, rule := range rules {
		if rule.Pattern == nil {
			macros[rule.Name] = rule
		}
	}
	// As git does: the last that says something counts, and what a macro stands for is
	// said where the macro is.
	var say func(list []gitattributes.Attribute)
	say = func(list []gitattributes.Attribute) {
		for _, a := range slices.Backward(list) {
			if values[a.Name()] != nil {
				continue
			}
			values[a.Name()] = a
			if a.IsSet() {
				say(macros[a.Name()].Attributes)
			}
		}
	}
	for _, rule := range slices.Backward(rules) {
		if rule.Pattern != nil && rule.Pattern.Match(parts) {
			say(rule.Attributes)
		}
	}
	return values
}

// attributeRules reads the lines that say something, as git does. Macros have no
// pattern, and are at the top only.
func attributeRules(from io.Reader, domain []string) []gitattributes.MatchAttribute {
	var rules []gitattributes.MatchAttribute
	for lines := bufio.NewScanner(from); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, `""`) || strings.HasPrefix(line, "!") { // no pattern to git
			continue
		}
		rule, err := gitattributes.ParseAttributesLine(line, domain, len(domain) == 0)
		name := strings.TrimPrefix(rule.Name, "/")
		if err != nil || name == "" || rule.Pattern != nil && (strings.HasSuffix(name, "/") || strings.Contains(name, "//")) {
			continue // git takes no such line, or it never is a file
		}
		rules = append(rules, rule)
	}
	return rules
}

// attributesFile is what core.attributesFile of a clone's configuration names.
func attributesFile(cfg *config.Config) string {
	path := cfg.Raw.Section("core").Option("attributesfile")
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		path = filepath.Join(home, rest)
	}
	if !filepath.IsAbs(path) {
		return "" // it depends on where git is run
	}
	return path
}

// configuredFilter says whether a clone's configuration has a command for a filter,
// or includes another one, which may.
func configuredFilter(cfg *config.Config) func(name string) bool {
	includes := cfg.Raw.HasSection("include") || cfg.Raw.HasSection("includeIf")
	driver := cfg.Raw.Section("filter")
	return func(name string) bool {
		return includes || driver.HasSubsection(name) && (driver.Subsection(name).Option("clean") != "" || driver.Subsection(name).Option("process") != "")
	}
}

// sayUnsure warns of a file that goes through a conversion that is not made here.
func (r *Repository) sayUnsure(path, attribute string) {
	if r.once(attribute) {
		r.log.Warn("it can't be told whether files were changed by hand that go through a filter or an encoding of git's, which the daemon does not run; they count as unchanged",
			"path", path, "cause", attribute+" in .gitattributes")
	}
}

// small gives a blob that is not larger than some bytes, and nil for others.
func (r *Repository) small(blob plumbing.Hash, most int64) ([]byte, error) {
	if size, err := r.objects.blobSize(blob); err != nil || size > most {
		return nil, err
	}
	return r.objects.bytes(plumbing.BlobObject, blob)
}
