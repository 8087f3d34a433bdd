package secrets

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func BenchmarkDecrypt(b *testing.B) {
	s := newSops(b)
	var plain strings.Builder
	for i := range 50 {
		fmt.Fprintf(&plain, "KEY_%d: a value of some length, number %d\n", i, i)
	}
	for _, kind := range []string{"x25519", "hybrid", "ssh-ed25519", "ssh-rsa", "pgp", "pgp-locked"} {
		path := filepath.Join(b.TempDir(), "a.yaml")
		encrypted := s.encrypt(b, path, plain.String(), s.to[kind]...)
		b.Run("50 values in YAML, "+kind, func(b *testing.B) {
			for b.Loop() {
				if _, err := Decrypt(path, encrypted, s.keys[kind]); err != nil {
					b.Fatal(err)
				}
			}
		})
		if kind == "x25519" {
			b.Run("digest of these", func(b *testing.B) {
				for b.Loop() {
					if _, err := Digest(path, encrypted); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkEncrypted(b *testing.B) {
	for name, line := range map[string]string{"text": "A line of an ordinary file, ENC and others\n", "capitals": "EEEEEEEEENEEEEEENC[A", "values": "A=ENC[AES256_GCM,data:x\n"} {
		content := bytes.Repeat([]byte(line), (10<<20)/len(line))
		b.Run("10 MiB of "+name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				if Encrypted(content) {
					b.Fatal("seen as encrypted")
				}
			}
		})
	}
}
