package secrets

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzFiles checks that no file makes a panic, whatever its name: that an error is one
// of ours and has no secret in it, that what is decrypted is seen as encrypted, and that
// the same file has the same digest.
func FuzzFiles(f *testing.F) {
	for _, name := range examples() {
		encrypted, plain := example(f, name)
		f.Add(name, encrypted)
		f.Add(name, plain)
		f.Add("file", encrypted)
		for _, cut := range []int{3, 7} {
			f.Add(name, append(bytes.Clone(encrypted[:len(encrypted)/cut]), encrypted[len(encrypted)*2/cut:]...))
		}
	}
	f.Add("a.yaml", []byte("a: &a [*a]\nsops:\n  mac: "+Mark))
	f.Add("a.json", []byte(`{"sops":{"mac":"`+Mark+`"}}`))
	f.Add("a.ini", []byte("[sops]\nmac = "+Mark+"\nage__list_0__map_enc = \"\"\"\n"))
	keys := Keys{Age: string(readFile(f, testKeyFile))}
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		encrypted := Encrypted(content)
		plain, err := Decrypt(name, content, keys)
		var e *Error
		switch {
		case err == nil && !encrypted:
			t.Errorf("decrypted, and not seen to be encrypted: %q", plain)
		case err != nil && !errors.As(err, &e):
			t.Errorf("an error of another type: %v", err)
		case err != nil && plain != nil:
			t.Errorf("with the error %v there is %q", err, plain)
		case err != nil && !bytes.Contains(content, []byte("hunter2")):
			harmless(t, err)
		}
		first, err := Digest(name, content)
		second, again := Digest(name, content)
		if first != second || (err == nil) != (again == nil) || (err == nil) != (first != "") {
			t.Errorf("the digests are %q, %v and %q, %v", first, err, second, again)
		}
		if plain != nil && err != nil {
			t.Errorf("decrypted, and there is no digest: %v", err)
		}
	})
}
