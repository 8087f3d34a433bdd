package secrets

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
)

// Digest tells versions of an encrypted file apart, without a key, and can be shown
// to anybody: it is made of the encrypted values with their random parts, so that it
// can't be used to try passwords.
//
// It differs with any value, key, comment or rule, with their order, and with the
// MAC. It stays with `sops updatekeys`, which writes other recipients and the same
// values, and with a layout that says the same. `sops rotate` encrypts all values
// anew, and `sops edit` at least the MAC: it differs after them, even if no value
// does.
//
// Errors are of type *Error.
func Digest(name string, content []byte) (string, error) {
	d, err := read(name, content)
	if err != nil {
		return "", err
	}
	h := digest{sha256.New()}
	m := d.metadata
	// The rule that is in force: updatekeys writes the default where there was none.
	h.part(string(d.format), m.mac, m.modified, strconv.FormatBool(m.onlyEncrypted), m.rule.name, m.rule.pattern)
	for _, document := range d.documents {
		h.value(document)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type digest struct{ hash.Hash }

// part adds texts so that no two lists of them are the same bytes.
func (h digest) part(texts ...string) {
	for _, s := range texts {
		h.Write([]byte(strconv.Itoa(len(s)) + ":" + s))
	}
}

func (h digest) value(value any) {
	switch v := value.(type) {
	case nil:
		h.part("null")
	case mapping:
		h.part("mapping", strconv.Itoa(len(v)))
		for _, e := range v {
			if e.comment {
				h.part("comment", e.key)
				continue
			}
			h.part("key", e.key)
			h.value(e.value)
		}
	case []any:
		h.part("list", strconv.Itoa(len(v)))
		for _, item := range v {
			h.value(item)
		}
	case comment:
		h.part("comment", string(v))
	case string:
		h.part("string", v)
	default:
		h.part("scalar", text(v))
	}
}
