package secrets

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// Keys are where the private keys are that files are decrypted with. Files are read
// at each use, so that a key can be exchanged while the daemon runs. Empty fields are
// keys that there are not.
//
// Messages name a key by the setting that it has for sops, or would have.
type Keys struct {
	// Age is the text of age keys, one a line.
	Age string
	// AgeFile is a file of such lines, in which some may be empty or comments.
	AgeFile string
	// SSHFile is a private key of SSH's, ed25519 or RSA, without a passphrase.
	SSHFile string
	// PGPFile holds exported secret keys, armored or not.
	PGPFile string
	// PGPPassphraseFile has the passphrase of all of these, perhaps with a line's end.
	PGPPassphraseFile string
}

// The settings' names, which messages have.
const (
	settingAge        = "SOPS_AGE_KEY"
	settingAgeFile    = "SOPS_AGE_KEY_FILE"
	settingSSH        = "SOPS_AGE_SSH_PRIVATE_KEY_FILE"
	settingPGP        = "SOPS_PGP_KEY_FILE"
	settingPassphrase = "SOPS_PGP_PASSPHRASE_FILE" //nolint:gosec // a name, and no passphrase
)

// Public are the public parts of all keys, each with the setting that it comes from, to
// be shown to a person. The error, of type *Error, says which keys can't be used; those
// that can are there all the same.
func (k Keys) Public() ([]string, error) {
	r := k.ring()
	r.addPGP(k)
	return r.shown(), r.problem()
}

// Files are the files that keys are read from.
func (k Keys) Files() []string {
	var files []string
	for _, f := range []string{k.AgeFile, k.SSHFile, k.PGPFile, k.PGPPassphraseFile} {
		if f != "" {
			files = append(files, f)
		}
	}
	return files
}

// None says that there are no keys.
func (k Keys) None() bool {
	k.PGPPassphraseFile = ""
	return k == Keys{}
}

// ring is what was found where keys are said to be.
type ring struct {
	identities []age.Identity
	pgp        pgpKeys
	public     []public
	problems   []string
}

type public struct{ name, setting string }

func (r *ring) shown() []string {
	var all []string
	for _, p := range r.public {
		all = append(all, shown(p.name)+" ("+p.setting+")")
	}
	return all
}

func (r *ring) problem() error {
	if len(r.problems) == 0 {
		return nil
	}
	return fail(BadKey, "%s", strings.Join(r.problems, "; "))
}

func (r *ring) failed(setting, format string, args ...any) {
	r.problems = append(r.problems, setting+": "+fmt.Sprintf(format, args...))
}

func (r *ring) add(setting, name string, i age.Identity) {
	r.identities = append(r.identities, i)
	r.public = append(r.public, public{name, setting})
}

// ring reads all keys but those of PGP, see addPGP.
func (k Keys) ring() *ring {
	r := &ring{}
	if k.Age != "" {
		r.addAge(settingAge, []byte(k.Age))
	}
	if content, ok := r.read(settingAgeFile, k.AgeFile); ok {
		r.addAge(settingAgeFile, content)
	}
	if content, ok := r.read(settingSSH, k.SSHFile); ok {
		r.addSSH(content)
	}
	return r
}

// maxKeyFile in bytes; a key has a few hundred to a few thousand.
const maxKeyFile = 1 << 20

// read gives the content of a key's file; false if there is none to be had.
func (r *ring) read(setting, path string) ([]byte, bool) {
	if path == "" {
		return nil, false
	}
	f, err := os.Open(path)
	if err != nil {
		r.failed(setting, "%v", err)
		return nil, false
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(content) > maxKeyFile {
		err = errors.New("the file is too large for a key")
	}
	if err != nil {
		r.failed(setting, "%v", err)
		return nil, false
	}
	return content, true
}

// addAge adds age's keys, one a line. age's own errors are not passed on: they may
// quote a part of the key.
func (r *ring) addAge(setting string, content []byte) {
	number, before := 0, len(r.identities)
	lines(content, func(line []byte) bool {
		number++
		switch s := string(bytes.TrimSpace(line)); {
		case s == "" || s[0] == '#':
		case strings.HasPrefix(s, "AGE-SECRET-KEY-PQ-1"):
			i, err := age.ParseHybridIdentity(s)
			if err != nil {
				r.failed(setting, "the key in line %d is damaged", number)
				return false
			}
			r.add(setting, i.Recipient().String(), i)
		case strings.HasPrefix(s, "AGE-SECRET-KEY-1"):
			i, err := age.ParseX25519Identity(s)
			if err != nil {
				r.failed(setting, "the key in line %d is damaged", number)
				return false
			}
			r.add(setting, i.Recipient().String(), i)
		case strings.HasPrefix(s, "AGE-PLUGIN-"):
			r.failed(setting, "the key in line %d needs a plugin, which is a program that would have to be started: use a key that age-keygen makes", number)
			return false
		case strings.HasPrefix(s, "age-encryption.org/") || strings.HasPrefix(s, "-----BEGIN AGE ENCRYPTED"):
			r.failed(setting, "the keys are encrypted with a passphrase, for which nobody is here to be asked")
			return false
		case strings.HasPrefix(s, "age1"):
			r.failed(setting, "line %d has a public key, where a private one (AGE-SECRET-KEY-…) is needed", number)
			return false
		default:
			r.failed(setting, "line %d is not an age key (AGE-SECRET-KEY-…)", number)
			return false
		}
		return true
	})
	if len(r.identities) == before && len(r.problems) == 0 {
		r.failed(setting, "there is no key in it")
	}
}

func (r *ring) addSSH(content []byte) {
	raw, err := ssh.ParseRawPrivateKey(content)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		r.failed(settingSSH, "the key is protected with a passphrase, for which nobody is here to be asked: use a copy without one (ssh-keygen -p)")
		return
	}
	if err != nil {
		r.failed(settingSSH, "the file is not a private key of SSH's")
		return
	}
	var i age.Identity
	var held any
	switch key := raw.(type) {
	case *ed25519.PrivateKey:
		held = key.Public()
		i, err = agessh.NewEd25519Identity(*key)
	case ed25519.PrivateKey:
		held = key.Public()
		i, err = agessh.NewEd25519Identity(key)
	case *rsa.PrivateKey:
		held = key.Public()
		i, err = agessh.NewRSAIdentity(key)
	default:
		r.failed(settingSSH, "the key is neither ed25519 nor RSA, and age knows no others")
		return
	}
	key, publicErr := ssh.NewPublicKey(held)
	if err != nil || publicErr != nil {
		r.failed(settingSSH, "the key can't be used with age")
		return
	}
	r.add(settingSSH, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), i)
}

// dataKeySize is that of the key that all values of a file are encrypted with.
const dataKeySize = 32

// dataKey decrypts a file's data key with the first key that fits. The public part
// of a recipient, which a file may have wrong, is for messages only.
func dataKey(file string, m *metadata, keys Keys) ([]byte, error) {
	if keys.None() {
		return nil, fail(NoKeys, "the file is encrypted for %s, and the daemon has no key: set %s (or %s, %s)",
			listed(m.recipients), settingAgeFile, settingSSH, settingPGP)
	}
	ours, pgp := 0, false
	for _, to := range m.recipients {
		if to.kind == "age" || to.kind == "pgp" {
			ours++
		}
		pgp = pgp || to.kind == "pgp"
	}
	if ours == 0 {
		return nil, fail(Unsupported, "the file is encrypted only for %s, which the daemon does not ask: add an age or PGP key to .sops.yaml and run %s",
			listed(m.recipients), updateCommand(file))
	}
	r := keys.ring()
	for _, to := range m.recipients {
		if to.kind == "age" {
			if key, ok := openAge(to.sealed, r.identities); ok {
				return key, nil
			}
		}
	}
	r.addPGP(keys) // slow, so last: its passphrase is made to be
	if pgp {
		for _, to := range m.recipients {
			if to.kind == "pgp" {
				if key, ok := r.openPGP(to.sealed); ok {
					return key, nil
				}
			}
		}
	}
	return nil, noKeyFits(file, m, r)
}

func noKeyFits(file string, m *metadata, r *ring) error {
	kind, has := NoKeyFits, "no key that can be used"
	if list := r.shown(); len(list) > 0 {
		has = strings.Join(list, ", ")
	}
	text := fmt.Sprintf("the file is encrypted for %s; the daemon has %s", listed(m.recipients), has)
	if err := r.problem(); err != nil {
		return fail(BadKey, "%s; %v", text, err)
	}
	for _, to := range m.recipients {
		for _, p := range r.public {
			if sameKey(to.name, p.name) {
				return fail(Malformed, "the file is encrypted for %s, which the daemon has (%s), but the data key in it is damaged: run %s with another key",
					shown(to.name), p.setting, updateCommand(file))
			}
		}
	}
	return fail(kind, "%s: add that to .sops.yaml and run %s", text, updateCommand(file))
}

func updateCommand(file string) string { return `"sops updatekeys ` + shown(file) + `"` }

// listed are recipients for a message; the first ones, if there are many.
func listed(all []recipient) string {
	const most = 8
	var names []string
	for i, r := range all {
		if i == most {
			names = append(names, fmt.Sprintf("%d others", len(all)-most))
			break
		}
		names = append(names, shown(r.name))
	}
	return strings.Join(names, ", ")
}

// sameKey compares public keys; those of SSH's may have a comment behind, and
// fingerprints may be in small letters.
func sameKey(a, b string) bool {
	if x, y := strings.Fields(a), strings.Fields(b); len(x) >= 2 && len(y) >= 2 {
		return x[0] == y[0] && x[1] == y[1]
	}
	return a != "" && strings.EqualFold(a, b)
}

func openAge(sealed string, identities []age.Identity) ([]byte, bool) {
	if len(identities) == 0 {
		return nil, false
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), identities...)
	if err != nil {
		return nil, false
	}
	key, err := readKey(r)
	return key, err == nil
}

func readKey(r io.Reader) ([]byte, error) {
	key, err := io.ReadAll(io.LimitReader(r, 4*dataKeySize)) // to the end, which authenticates it
	if err == nil && len(key) != dataKeySize {
		err = errors.New("not a data key")
	}
	return key, err
}
