package secrets

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/ssh"

	"github.com/korbiniankuhn/gitops-compose/internal/secrets/sopstest"
)

// The files in testdata were encrypted by sops 3.12.0 for the key in age.txt, which is
// for nothing else; testdata/plain has what they were made of, as sops lays it out.
const testKeyFile = "testdata/age.txt"

func examples() []string {
	return []string{"example.yaml", "example.json", "example.env", "example.ini", "example.bin"}
}

func example(t testing.TB, name string) (encrypted, plain []byte) {
	t.Helper()
	return readFile(t, "testdata/"+name), readFile(t, "testdata/plain/"+name)
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func writeFile(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sopsCommand is the real command, in a folder of its own with keys of all kinds.
type sopsCommand struct {
	tool, dir string
	env       []string
	// to are recipients by kind, and keys those of them, one of each kind.
	to   map[string][]string
	keys map[string]Keys
}

const passphrase = "a passphrase of hunter2-pgp"

// newSops is the sops that make builds. Where it isn't, the test ends.
func newSops(t testing.TB) *sopsCommand {
	t.Helper()
	s := &sopsCommand{tool: sopstest.Tool(t), dir: t.TempDir(), to: map[string][]string{}, keys: map[string]Keys{}}
	s.env = []string{"HOME=" + s.dir, "GNUPGHOME=" + s.dir, "PATH=", "SOPS_DISABLE_VERSION_CHECK=1", "SOPS_AGE_KEY_FILE=" + s.path("x25519")}

	x25519, err := age.GenerateX25519Identity()
	check(t, err)
	s.keys["x25519"] = Keys{AgeFile: writeFile(t, s.path("x25519"), []byte(x25519.String()+"\n"))}
	s.to["x25519"] = []string{"--age", x25519.Recipient().String()}

	hybrid, err := age.GenerateHybridIdentity()
	check(t, err)
	s.keys["hybrid"] = Keys{Age: hybrid.String()}
	s.to["hybrid"] = []string{"--age", hybrid.Recipient().String()}

	public, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	s.keys["ssh-ed25519"] = Keys{SSHFile: writeSSH(t, s.path("ed25519"), private, "")}
	s.to["ssh-ed25519"] = []string{"--age", authorized(t, public)}

	big, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	s.keys["ssh-rsa"] = Keys{SSHFile: writeSSH(t, s.path("rsa"), big, "")}
	s.to["ssh-rsa"] = []string{"--age", authorized(t, &big.PublicKey)}

	entity := newPGP(t)
	var ring bytes.Buffer
	check(t, entity.Serialize(&ring))
	writeFile(t, s.path("pubring.gpg"), ring.Bytes())
	s.keys["pgp"] = Keys{PGPFile: writePGP(t, s.path("pgp"), entity, false)}
	check(t, entity.EncryptPrivateKeys([]byte(passphrase), nil))
	s.keys["pgp-locked"] = Keys{
		PGPFile:           writePGP(t, s.path("pgp-locked"), entity, true),
		PGPPassphraseFile: writeFile(t, s.path("passphrase"), []byte(passphrase+"\n")),
	}
	s.to["pgp"] = []string{"--pgp", fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint)}
	s.to["pgp-locked"] = s.to["pgp"]
	return s
}

func (s *sopsCommand) path(name string) string { return filepath.Join(s.dir, name) }

// run gives what the command prints, or the error that it prints. The last argument is
// the file.
func (s *sopsCommand) run(args ...string) ([]byte, error) {
	c := exec.Command(s.tool, args...)
	c.Dir, c.Env = filepath.Dir(args[len(args)-1]), s.env // .sops.yaml is looked for from there
	var out, stderr bytes.Buffer
	c.Stdout, c.Stderr = &out, &stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("sops %s: %w: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out.Bytes(), nil
}

// encrypt writes a file and encrypts it in place; the options say at least for whom.
func (s *sopsCommand) encrypt(t testing.TB, path, plain string, options ...string) []byte {
	t.Helper()
	encrypted, err := s.tryEncrypt(t, path, plain, options...)
	check(t, err)
	return encrypted
}

// encryptBy encrypts a file as a rule of .sops.yaml says, which has settings that the
// command line has not.
func (s *sopsCommand) encryptBy(t testing.TB, path, plain, rule string) []byte {
	t.Helper()
	writeFile(t, path, []byte(plain))
	s.config(t, path, rule)
	_, err := s.run("encrypt", "--in-place", path)
	check(t, err)
	return readFile(t, path)
}

// config writes the only rule for the files beside path.
func (s *sopsCommand) config(t testing.TB, path, rule string) {
	t.Helper()
	writeFile(t, filepath.Join(filepath.Dir(path), ".sops.yaml"), []byte("creation_rules:\n  - {"+rule+"}\n"))
}

func (s *sopsCommand) tryEncrypt(t testing.TB, path, plain string, options ...string) ([]byte, error) {
	t.Helper()
	writeFile(t, path, []byte(plain))
	if _, err := s.run(append(append([]string{"encrypt", "--in-place"}, options...), path)...); err != nil {
		return nil, err
	}
	return readFile(t, path), nil
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func authorized(t testing.TB, key any) string {
	t.Helper()
	public, err := ssh.NewPublicKey(key)
	check(t, err)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
}

func writeSSH(t testing.TB, path string, key any, passphrase string) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "a comment")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "a comment", []byte(passphrase))
	}
	check(t, err)
	return writeFile(t, path, pem.EncodeToMemory(block))
}

func newPGP(t testing.TB) *openpgp.Entity {
	t.Helper()
	entity, err := openpgp.NewEntity("test", "", "test@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	check(t, err)
	return entity
}

func writePGP(t testing.TB, path string, entity *openpgp.Entity, armored bool) string {
	t.Helper()
	var b bytes.Buffer
	if !armored {
		check(t, entity.SerializePrivateWithoutSigning(&b, nil))
		return writeFile(t, path, b.Bytes())
	}
	w, err := armor.Encode(&b, openpgp.PrivateKeyType, nil)
	check(t, err)
	check(t, entity.SerializePrivateWithoutSigning(w, nil))
	check(t, w.Close())
	return writeFile(t, path, b.Bytes())
}

// refused checks that an error is of a kind, says what it should, and nothing that is
// secret: no value of the test's files, no key, no passphrase.
func refused(t testing.TB, err error, kind Kind, says ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("the error is %v, want one of kind %q", err, kind)
		return
	}
	if e.Kind != kind {
		t.Errorf("the error is of kind %q, want %q: %v", e.Kind, kind, err)
	}
	for _, s := range says {
		if !strings.Contains(e.Error(), s) {
			t.Errorf("the error doesn't say %q: %v", s, err)
		}
	}
	harmless(t, err)
}

func harmless(t testing.TB, err error) {
	t.Helper()
	text := strings.ToLower(err.Error())
	for _, secret := range []string{"hunter2", "secret-key-1", "secret-key-pq-1", "private key-"} {
		if strings.Contains(text, secret) {
			t.Errorf("the error has %q in it: %v", secret, err)
		}
	}
	if strings.ContainsAny(text, "\n\r") {
		t.Errorf("the error has several lines: %q", text)
	}
}
