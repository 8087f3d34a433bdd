// Package secrets reads files that were encrypted with SOPS.
//
// It gives what `sops decrypt` prints, byte for byte, and differs on purpose in
// five points: the MAC can't be ignored; keys come as values and never from the
// process's environment, a home folder or a running agent; no program is started
// and no network is used; no error holds a value, a private key or a passphrase;
// and in YAML a text of several lines that begins with white space is quoted, as
// sops writes some of these so that they are empty, or no YAML, when they are read.
//
// It refuses some of what sops takes: several groups of keys, a value in clear that
// looks encrypted, another spelling of an encrypted one, and files beyond the limits.
//
// What encryption itself does to a document is done when it comes here. In YAML,
// sops replaces aliases by what they stand for, keeps a merge key as `!!merge <<`,
// drops tags such as Compose's !reset, turns a date into a timestamp and an
// integer beyond 64 bits into a float. In JSON each number is a float of 64 bits.
// In dotenv, empty lines are gone.
//
// What the format does not protect: the keys of values that are left in clear, and
// where one of these ends and the next begins, as the MAC is over nothing but the
// values in their order; comments, null and empty lists and mappings, which are no
// values to it; and the type of a value, so that 1 may become "1".
package secrets

import "bytes"

// maxSize is the largest file that is decrypted, in bytes. A stack's secrets are a
// thousandth of that, and a document in memory is a hundred times its text.
const maxSize = 5 << 20

// What a file may have at most, so that none keeps the daemon from its work: with a
// million lines the parsers need seconds, and the time for YAML's comments and for
// INI's keys without a name grows with their square. Files of the largest size that
// have nothing but encrypted values have fewer, in INI those of a quarter of it.
const (
	maxParts    = 250_000 // lines and commas
	maxComments = 30_000  // in YAML; or other #
	maxLinesINI = 10_000
)

// Encrypted tells whether a file was encrypted by sops, by its content alone: a file
// that it is not needs no more than a search for sops's way to write a value. A file
// that was encrypted and then broken counts too, so that it ends as an error of
// Decrypt and is not taken for plain text.
func Encrypted(content []byte) bool {
	return formatOf(content) != formatNone
}

// Decrypt gives the plaintext of a file that sops has encrypted: YAML, JSON and INI
// as sops lays them out, dotenv line by line, and of any other file the bytes that it
// had. Which it is, the end of its name says, as it does for sops, unless its content
// is plainly another; name is not opened.
//
// Errors are of type *Error. They name no file but in the command that mends them:
// the caller puts the name in front.
func Decrypt(name string, content []byte, keys Keys) ([]byte, error) {
	c, err := Open(name, content, keys)
	return c.Content, err
}

// Clear is an encrypted file in clear.
type Clear struct {
	Content []byte
	// Values are those that were encrypted, comments among them: no message may have
	// one.
	Values []string
}

// Open is Decrypt, and tells which values were encrypted.
func Open(name string, content []byte, keys Keys) (Clear, error) {
	d, err := read(name, content)
	if err != nil {
		return Clear{}, err
	}
	key, err := dataKey(name, &d.metadata, keys)
	if err != nil {
		return Clear{}, err
	}
	values, err := d.decrypt(key)
	if err != nil {
		return Clear{}, err
	}
	text, err := safely(func() ([]byte, error) { return d.format.emit(d.documents) })
	return Clear{text, values}, err
}

// document is an encrypted file as it was read.
type document struct {
	format    format
	documents []mapping // one, except in YAML
	metadata  metadata
}

// read takes an encrypted file apart. Its values are still encrypted.
func read(name string, content []byte) (*document, error) {
	if len(content) > maxSize {
		return nil, fail(TooLarge, "the file has %d bytes: encrypted files may have %d MiB at most", len(content), maxSize>>20)
	}
	f := formatFor(name, content)
	count := func(s string) int { return bytes.Count(content, []byte(s)) }
	switch newlines := count("\n"); {
	case newlines+count(",") > maxParts:
		return nil, fail(TooLarge, "the file has more than %d lines and commas", maxParts)
	case f == formatYAML && count("#") > maxComments:
		return nil, fail(TooLarge, "the file has more than %d comments", maxComments)
	case f == formatINI && newlines > maxLinesINI:
		return nil, fail(TooLarge, "the file has more than %d lines", maxLinesINI)
	}
	if f == formatNone {
		return nil, fail(Malformed, "the file is not encrypted with sops: it has no sops metadata that this daemon can read")
	}
	return safely(func() (*document, error) {
		documents, flat, err := f.load(content)
		if err != nil {
			return nil, err
		}
		m, err := readMetadata(flat)
		if err != nil {
			return nil, err
		}
		return &document{format: f, documents: documents, metadata: m}, nil
	})
}

// safely makes an error of a panic: the parsers below are others', the files are
// anybody's, and one of those must not end the daemon. What the panic says may quote
// the file, so it is not passed on.
func safely[T any](do func() (T, error)) (out T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fail(Malformed, "the file can't be read: its parser breaks on it (%T)", p)
		}
	}()
	return do()
}

// maxDepth of nested lists and mappings; a stack's files have a handful.
const maxDepth = 100

// budget limits what a document may grow to when aliases are replaced by what they
// stand for. Each value costs as much as one that is encrypted has bytes.
type budget int

const (
	fullBudget = budget(2 * maxSize)
	valueCost  = 100
)

func (b *budget) spend(depth, cost int) error {
	if depth > maxDepth {
		return fail(Malformed, "the file is nested more than %d deep", maxDepth)
	}
	if *b -= budget(cost); *b < 0 {
		return fail(TooLarge, "the file has more values than fit into %d MiB", maxSize>>20)
	}
	return nil
}

// lines calls do for each line without its end, until do says that it's enough.
func lines(content []byte, do func(line []byte) (more bool)) {
	for len(content) > 0 {
		line, rest, _ := bytes.Cut(content, []byte("\n"))
		if !do(bytes.TrimSuffix(line, []byte("\r"))) {
			return
		}
		content = rest
	}
}
