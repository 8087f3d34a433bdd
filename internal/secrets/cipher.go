package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Why a value isn't decrypted; where it stands, the caller knows.
var (
	errNotEncrypted = errors.New("is not encrypted, as the rules in the file say that it is")
	errChanged      = errors.New("was changed after it was encrypted, or comes from another place or file")
	errType         = errors.New("is of a type that this version does not know")
)

const (
	usualNonce = 32 // bytes; AES-GCM has 12 elsewhere
	tagSize    = 16
	maxNonce   = 64
)

// box opens the values of one file.
type box struct {
	block cipher.Block
	usual cipher.AEAD
	// opened are the texts of what was opened.
	opened []string
}

func newBox(key []byte) (*box, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	usual, err := cipher.NewGCMWithNonceSize(block, usualNonce)
	return &box{block: block, usual: usual}, err
}

// open decrypts what sops writes for a value: ENC[AES256_GCM,data:...,iv:...,tag:...,
// type:...]. place binds it to where it stands. The empty string is never encrypted.
func (b *box) open(sealed, place string) (any, error) {
	if sealed == "" {
		return "", nil
	}
	rest, ok := strings.CutPrefix(sealed, Mark)
	if !ok {
		return nil, errNotEncrypted
	}
	if rest, ok = strings.CutSuffix(rest, "]"); !ok || strings.ContainsAny(rest, "\r\n") { // which base64 overlooks
		return nil, errChanged
	}
	fields := strings.Split(rest, ",")
	if len(fields) != 4 {
		return nil, errChanged
	}
	for i, name := range []string{"data:", "iv:", "tag:", "type:"} {
		if fields[i], ok = strings.CutPrefix(fields[i], name); !ok {
			return nil, errChanged
		}
	}
	var raw [3][]byte
	for i := range raw {
		// Strict, so that one value has one spelling and no change goes unseen.
		var err error
		if raw[i], err = base64.StdEncoding.Strict().DecodeString(fields[i]); err != nil {
			return nil, errChanged
		}
	}
	data, nonce, tag := raw[0], raw[1], raw[2]
	if len(tag) != tagSize || len(nonce) == 0 || len(nonce) > maxNonce {
		return nil, errChanged
	}
	gcm := b.usual
	if len(nonce) != usualNonce {
		var err error
		if gcm, err = cipher.NewGCMWithNonceSize(b.block, len(nonce)); err != nil {
			return nil, errChanged
		}
	}
	opened, err := gcm.Open(nil, nonce, append(data, tag...), []byte(place))
	if err != nil {
		return nil, errChanged
	}
	b.opened = append(b.opened, string(opened))
	return typed(string(opened), fields[3])
}

// typed gives a decrypted value its type, which neither its own authentication nor the
// MAC covers: 1 may be made "1", as both are written the same way.
func typed(s, kind string) (any, error) {
	var v any
	var err error
	switch kind {
	case "str", "bytes":
		v = s
	case "int":
		v, err = strconv.ParseInt(s, 10, 64)
	case "float":
		v, err = strconv.ParseFloat(s, 64)
	case "bool":
		v, err = strconv.ParseBool(s)
	case "time":
		var t time.Time
		err = t.UnmarshalText([]byte(s))
		v = t
	case "comment":
		v = comment(s)
	default:
		return nil, errType
	}
	if err != nil { // which quotes the value
		return nil, errChanged
	}
	return v, nil
}
