package secrets

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestAValueHasOneSpelling seals values as sops does, and spells the same bytes in
// other ways.
func TestAValueHasOneSpelling(t *testing.T) {
	key := bytes.Repeat([]byte{1}, dataKeySize)
	b, err := newBox(key)
	check(t, err)
	block, err := aes.NewCipher(key)
	check(t, err)
	in := base64.StdEncoding.EncodeToString
	spell := func(data, nonce, tag []byte, kind string) string {
		return fmt.Sprintf("%sdata:%s,iv:%s,tag:%s,type:%s]", Mark, in(data), in(nonce), in(tag), kind)
	}
	for _, size := range []int{usualNonce, 12, 1} {
		gcm, err := cipher.NewGCMWithNonceSize(block, size)
		check(t, err)
		nonce := bytes.Repeat([]byte{2}, size)
		sealed := gcm.Seal(nil, nonce, []byte("hunter2"), []byte("a:b:"))
		cut := len(sealed) - tagSize
		good := spell(sealed[:cut], nonce, sealed[cut:], "str")
		if v, err := b.open(good, "a:b:"); v != "hunter2" || err != nil {
			t.Errorf("with a nonce of %d bytes it is %v, %v", size, v, err)
		}
		for _, bad := range []string{
			spell(sealed[:cut+1], nonce, sealed[cut+1:], "str"),
			spell(sealed[:cut-1], nonce, sealed[cut-1:], "str"),
			spell(sealed, nonce, nil, "str"),
			spell(sealed[:cut], nil, sealed[cut:], "str"),
			spell(sealed[:cut], bytes.Repeat([]byte{2}, maxNonce+1), sealed[cut:], "str"),
			spell(sealed[:cut], nonce, sealed[cut:], "int"),
			spell(sealed[:cut], nonce, sealed[cut:], "float"),
			spell(sealed[:cut], nonce, sealed[cut:], "bool"),
			spell(sealed[:cut], nonce, sealed[cut:], "time"),
			strings.Replace(good, ",iv:", ",iv:x,iv:", 1),
			strings.Replace(good, "data:", "data:\n", 1),
			strings.Replace(good, "=", "", 1),
			strings.TrimSuffix(good, "]"),
			good + " ",
		} {
			if v, err := b.open(bad, "a:b:"); !errors.Is(err, errChanged) {
				t.Errorf("%q is %v, %v", bad, v, err)
			}
		}
		if _, err := b.open(good, "a:c:"); !errors.Is(err, errChanged) {
			t.Errorf("at another place: %v", err)
		}
		if _, err := b.open(" "+good, "a:b:"); !errors.Is(err, errNotEncrypted) {
			t.Errorf("with a space before it: %v", err)
		}
	}
}
