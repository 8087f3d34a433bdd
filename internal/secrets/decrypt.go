package secrets

import (
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"slices"
	"strconv"
	"strings"
)

// decrypt replaces the values of a document by their plaintext, and gives those that
// were encrypted. After an error it is of no use.
func (d *document) decrypt(key []byte) ([]string, error) {
	b, err := newBox(key)
	if err != nil {
		return nil, fail(Malformed, "the file's data key is not one of sops's")
	}
	w := &walk{box: b, rule: d.metadata.rule, onlyEncrypted: d.metadata.onlyEncrypted, hash: sha512.New()}
	if w.onlyEncrypted {
		w.hash.Write(onlyEncryptedSeed())
	}
	for _, m := range d.documents {
		if err := w.mapping(m, nil); err != nil {
			return nil, err
		}
	}
	values := b.opened
	opened, err := b.open(d.metadata.mac, d.metadata.modified)
	mac, ok := opened.(string)
	if err != nil || !ok {
		return nil, fail(Changed, "the file was changed after it was encrypted: its MAC or lastmodified is not the one that sops wrote. %s", changedHelp)
	}
	want := strings.ToUpper(hex.EncodeToString(w.hash.Sum(nil)))
	if subtle.ConstantTimeCompare([]byte(mac), []byte(want)) != 1 {
		return nil, fail(Changed, "the file was changed after it was encrypted: its values don't match its MAC. %s", changedHelp)
	}
	return values, nil
}

const changedHelp = "Take the last good version from git and change it with sops edit"

// onlyEncryptedSeed begins the MAC of a file in which only encrypted values are in
// it, so that it is never that of a file with all: the SHA-256 of "sops".
func onlyEncryptedSeed() []byte {
	return []byte{
		0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
		0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
	}
}

// walk goes through values in the order in which sops does, which is the MAC's.
type walk struct {
	box           *box
	rule          rule
	onlyEncrypted bool
	hash          hash.Hash
	// remarked tells, for each list and mapping that the value at hand is in, whether one
	// of the comments before the value there matches the rule.
	remarked []bool
}

func (w *walk) enter() { w.remarked = append(w.remarked, false) }
func (w *walk) leave() { w.remarked = w.remarked[:len(w.remarked)-1] }

// note takes a comment into account for what follows, itself included.
func (w *walk) note(text string) {
	if w.rule.comments && w.rule.match(text) {
		w.remarked[len(w.remarked)-1] = true
	}
}

// passed ends what the comments before a value were good for.
func (w *walk) passed() { w.remarked[len(w.remarked)-1] = false }

// encrypted tells whether the rule wants the value at a path to be encrypted. For sops,
// the comment itself that says that what follows is encrypted is not; here that needs
// no exception, as a comment that can't be decrypted stays as it is.
func (w *walk) encrypted(path []string) bool {
	match := w.rule.comments && slices.Contains(w.remarked, true) || !w.rule.comments && slices.ContainsFunc(path, w.rule.match)
	return match == w.rule.encrypted
}

func (w *walk) mapping(m mapping, path []string) error {
	w.enter()
	defer w.leave()
	for i := range m {
		e := &m[i]
		if e.comment {
			w.note(e.key)
			e.key = w.comment(e.key, path)
			continue
		}
		var err error
		at := slices.Concat(path, []string{e.key})
		if e.value, err = w.value(e.value, at); err != nil {
			return err
		}
		if _, ok := e.value.(comment); ok {
			return fail(Changed, "the value at %s %v. %s", where(at), errChanged, changedHelp)
		}
		w.passed()
	}
	return nil
}

// list decrypts a list. sops writes a comment in one as an item of the list, encrypted:
// it is a comment again afterwards.
func (w *walk) list(l []any, path []string) error {
	w.enter()
	defer w.leave()
	for i, item := range l {
		if c, ok := item.(comment); ok {
			w.note(string(c))
			l[i] = comment(w.comment(string(c), path))
			continue
		}
		var err error
		if l[i], err = w.value(item, path); err != nil {
			return err
		}
		w.passed()
	}
	return nil
}

func (w *walk) value(value any, path []string) (any, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case mapping:
		return v, w.mapping(v, path)
	case []any:
		return v, w.list(v, path)
	}
	encrypted := w.encrypted(path)
	var err error
	if sealed, ok := value.(string); encrypted && ok {
		value, err = w.box.open(sealed, place(path))
	} else if encrypted {
		err = errNotEncrypted
	} else if ok && strings.HasPrefix(sealed, Mark) {
		// Someone has changed the rule. Nobody wants this for a password.
		err = errors.New("is encrypted, as the rules in the file say that it is not")
	}
	if err != nil {
		kind := Changed
		if errors.Is(err, errType) {
			kind = Unsupported
		}
		return nil, fail(kind, "the value at %s %v. %s", where(path), err, changedHelp)
	}
	if _, ok := value.(comment); ok || w.onlyEncrypted && !encrypted {
		return value, nil
	}
	b, err := plain(value)
	if err != nil {
		return nil, err
	}
	w.hash.Write(b)
	return value, nil
}

// comment decrypts a comment. One that can't be decrypted was written by hand since,
// or by a version of sops that did not encrypt comments: it stays as it is. So does
// one that is a value by its type, which someone has made a comment: the MAC tells.
func (w *walk) comment(text string, path []string) string {
	if w.encrypted(path) {
		if opened, err := w.box.open(text, place(path)); err == nil {
			if c, ok := opened.(comment); ok {
				return string(c)
			}
		}
	}
	return text
}

// place is what a value is bound to: its keys, without the positions in lists.
func place(path []string) string { return strings.Join(path, ":") + ":" }

// where is a path for a person.
func where(path []string) string {
	return strconv.Quote(shown(strings.Join(path, ".")))
}
