package secrets

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

func newAgeKey(t testing.TB, dir string) Keys {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	check(t, err)
	return Keys{AgeFile: writeFile(t, filepath.Join(dir, "age"), []byte(identity.String()))}
}

func TestKeysAreNamedByTheirPublicPartOnly(t *testing.T) {
	dir := t.TempDir()
	x25519, err := age.GenerateX25519Identity()
	check(t, err)
	hybrid, err := age.GenerateHybridIdentity()
	check(t, err)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	entity := newPGP(t)
	keys := Keys{
		Age:     "\n# a comment\n " + x25519.String() + "\r\n\n",
		AgeFile: writeFile(t, filepath.Join(dir, "age"), []byte("# created: today\n"+x25519.String()+"\n\n"+hybrid.String())),
		SSHFile: writeSSH(t, filepath.Join(dir, "ssh"), private, ""),
		PGPFile: writePGP(t, filepath.Join(dir, "pgp"), entity, true),
	}
	got, err := keys.Public()
	check(t, err)
	pq := hybrid.Recipient().String()
	want := []string{
		x25519.Recipient().String() + " (SOPS_AGE_KEY)",
		x25519.Recipient().String() + " (SOPS_AGE_KEY_FILE)",
		pq[:24] + "…" + pq[len(pq)-12:] + " (SOPS_AGE_KEY_FILE)",
		authorized(t, private.Public()) + " (SOPS_AGE_SSH_PRIVATE_KEY_FILE)",
		fmt.Sprintf("%X (SOPS_PGP_KEY_FILE)", entity.PrimaryKey.Fingerprint),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAKeyThatCannotBeUsedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	entity := newPGP(t)
	var public bytes.Buffer
	check(t, entity.Serialize(&public))
	identity, err := age.GenerateX25519Identity()
	check(t, err)
	damaged := identity.String()[:40] + "Q" + identity.String()[41:]
	if damaged == identity.String() {
		damaged = identity.String()[:40] + "P" + identity.String()[41:]
	}
	file := func(content string) string { return writeFile(t, filepath.Join(t.TempDir(), "key"), []byte(content)) }
	for name, c := range map[string]struct {
		keys Keys
		says string
	}{
		"a damaged key":   {Keys{Age: "# x\n" + damaged}, "SOPS_AGE_KEY: the key in line 2 is damaged"},
		"a damaged pq":    {Keys{AgeFile: file("AGE-SECRET-KEY-PQ-1HUNTER2")}, "SOPS_AGE_KEY_FILE: the key in line 1 is damaged"},
		"a plugin":        {Keys{AgeFile: file("AGE-PLUGIN-YUBIKEY-1HUNTER2")}, "needs a plugin"},
		"a public key":    {Keys{Age: identity.Recipient().String()}, "line 1 has a public key"},
		"an encrypted":    {Keys{AgeFile: file("-----BEGIN AGE ENCRYPTED FILE-----\n")}, "encrypted with a passphrase"},
		"another text":    {Keys{AgeFile: file("hunter2")}, "line 1 is not an age key"},
		"nothing":         {Keys{AgeFile: file("# hunter2\n")}, "there is no key in it"},
		"a folder":        {Keys{AgeFile: dir}, "is a directory"},
		"a large file":    {Keys{AgeFile: file(strings.Repeat("#\n", 1<<20))}, "too large"},
		"a locked SSH":    {Keys{SSHFile: writeSSH(t, filepath.Join(dir, "l"), private, "hunter2")}, "SOPS_AGE_SSH_PRIVATE_KEY_FILE: the key is protected with a passphrase"},
		"an ECDSA key":    {Keys{SSHFile: writeSSH(t, filepath.Join(dir, "e"), ec, "")}, "neither ed25519 nor RSA"},
		"no SSH key":      {Keys{SSHFile: file("hunter2")}, "not a private key of SSH's"},
		"no PGP key":      {Keys{PGPFile: file("hunter2")}, "SOPS_PGP_KEY_FILE: the file holds no keys"},
		"a broken armor":  {Keys{PGPFile: file("-----BEGIN PGP PRIVATE KEY BLOCK-----\nhunter2")}, "the file holds no keys"},
		"a public PGP":    {Keys{PGPFile: file(public.String())}, "public keys only"},
		"a lost password": {Keys{PGPFile: writePGP(t, filepath.Join(dir, "p"), entity, true), PGPPassphraseFile: filepath.Join(dir, "none")}, "SOPS_PGP_PASSPHRASE_FILE: open"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.keys.Public()
			refused(t, err, BadKey, c.says)
			// Others do their work all the same.
			encrypted, plain := example(t, "example.env")
			with := c.keys
			if with.Age == "" {
				with.Age = string(readFile(t, testKeyFile))
			} else {
				with.AgeFile = testKeyFile
			}
			if got, err := Decrypt("a.env", encrypted, with); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("with a good key beside: %s, %v", got, err)
			}
		})
	}
}

func TestKeysAreReadAtEachUse(t *testing.T) {
	encrypted, plain := example(t, "example.json")
	keys := newAgeKey(t, t.TempDir())
	_, err := Decrypt("a.json", encrypted, keys)
	refused(t, err, NoKeyFits)
	writeFile(t, keys.AgeFile, append(append(readFile(t, keys.AgeFile), '\n'), readFile(t, testKeyFile)...))
	if got, err := Decrypt("a.json", encrypted, keys); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("with the key added: %s, %v", got, err)
	}
}

func TestALockedPGPKeyNeedsItsPassphrase(t *testing.T) {
	s := newSops(t)
	path := s.path("a.env")
	encrypted := s.encrypt(t, path, "A=hunter2\n", s.to["pgp-locked"]...)
	keys := s.keys["pgp-locked"]

	_, err := Decrypt(path, encrypted, Keys{PGPFile: keys.PGPFile})
	refused(t, err, BadKey, "SOPS_PGP_KEY_FILE: the key ", "is protected with a passphrase, and SOPS_PGP_PASSPHRASE_FILE is not set", s.to["pgp"][1])

	wrong := Keys{PGPFile: keys.PGPFile, PGPPassphraseFile: writeFile(t, s.path("wrong"), []byte("hunter2-wrong"))}
	_, err = Decrypt(path, encrypted, wrong)
	refused(t, err, BadKey, "SOPS_PGP_PASSPHRASE_FILE: the passphrase is not that of the key ")

	other := Keys{PGPFile: writePGP(t, s.path("other"), newPGP(t), true)}
	_, err = Decrypt(path, encrypted, other)
	refused(t, err, NoKeyFits, s.to["pgp"][1], "(SOPS_PGP_KEY_FILE): add that to .sops.yaml")

	_, err = Decrypt(path, encrypted, testKeys())
	refused(t, err, NoKeyFits, s.to["pgp"][1], "SOPS_AGE_KEY_FILE")
}

func TestAnExpiredPGPKeyStillDecrypts(t *testing.T) {
	then := func() time.Time { return time.Now().Add(-time.Hour) }
	entity, err := openpgp.NewEntity("old", "", "old@example.org", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: 60, Time: then,
	})
	check(t, err)
	var sealed bytes.Buffer
	a, err := armor.Encode(&sealed, "PGP MESSAGE", nil)
	check(t, err)
	w, err := openpgp.Encrypt(a, []*openpgp.Entity{entity}, nil, nil, &packet.Config{Time: then})
	check(t, err)
	key := bytes.Repeat([]byte{7}, dataKeySize)
	_, err = w.Write(key)
	check(t, err)
	check(t, w.Close())
	check(t, a.Close())

	r := &ring{}
	r.addPGP(Keys{PGPFile: writePGP(t, filepath.Join(t.TempDir(), "old"), entity, true)})
	check(t, r.problem())
	if got, ok := r.openPGP(sealed.String()); !ok || !bytes.Equal(got, key) {
		t.Errorf("the data key is %x, %t", got, ok)
	}
	changed := strings.Replace(sealed.String(), "\n\n", "\n\nA", 1)
	if got, ok := r.openPGP(changed); ok {
		t.Errorf("of a damaged message the data key is %x", got)
	}
}
