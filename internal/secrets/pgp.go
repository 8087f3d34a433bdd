package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

// pgpKeys are secret keys of PGP's, which may be locked with a passphrase.
type pgpKeys struct {
	entities   openpgp.EntityList
	passphrase []byte
}

// addPGP reads PGP's keys. They stay locked until one is used.
func (r *ring) addPGP(k Keys) {
	content, ok := r.read(settingPGP, k.PGPFile)
	if !ok {
		return
	}
	read := openpgp.ReadKeyRing
	if bytes.Contains(content, []byte("-----BEGIN PGP")) {
		read = openpgp.ReadArmoredKeyRing
	}
	entities, err := safely(func() (openpgp.EntityList, error) { return read(bytes.NewReader(content)) })
	if err != nil {
		r.failed(settingPGP, "the file holds no keys of PGP's: write it with \"gpg --export-secret-keys\"")
		return
	}
	for _, e := range entities {
		if !hasSecret(e) {
			continue
		}
		r.pgp.entities = append(r.pgp.entities, e)
		r.public = append(r.public, public{fmt.Sprintf("%X", e.PrimaryKey.Fingerprint), settingPGP})
	}
	if len(r.pgp.entities) == 0 {
		r.failed(settingPGP, "the file holds public keys only: write it with \"gpg --export-secret-keys\"")
		return
	}
	if passphrase, ok := r.read(settingPassphrase, k.PGPPassphraseFile); ok {
		passphrase = bytes.TrimSuffix(passphrase, []byte("\n"))
		r.pgp.passphrase = bytes.TrimSuffix(passphrase, []byte("\r"))
	}
}

func hasSecret(e *openpgp.Entity) bool {
	for _, sub := range e.Subkeys {
		if sub.PrivateKey != nil {
			return true
		}
	}
	return e.PrivateKey != nil
}

// openPGP decrypts a data key that was encrypted for a key of PGP's.
func (r *ring) openPGP(sealed string) ([]byte, bool) {
	if len(r.pgp.entities) == 0 {
		return nil, false
	}
	block, err := armor.Decode(strings.NewReader(sealed))
	if err != nil {
		return nil, false
	}
	key, err := safely(func() ([]byte, error) {
		message, err := openpgp.ReadMessage(block.Body, r.pgp.entities, r.unlock, nil)
		if err != nil {
			return nil, err
		}
		return readKey(message.UnverifiedBody)
	})
	return key, err == nil
}

// unlock is called with the keys that a message is encrypted for, if they are locked.
func (r *ring) unlock(keys []openpgp.Key, _ bool) ([]byte, error) {
	unlocked := false
	for _, key := range keys {
		if key.PrivateKey == nil || !key.PrivateKey.Encrypted {
			continue
		}
		name := fmt.Sprintf("%X", key.PublicKey.Fingerprint)
		switch {
		case r.pgp.passphrase == nil:
			r.failed(settingPGP, "the key %s is protected with a passphrase, and %s is not set", name, settingPassphrase)
		case key.PrivateKey.Decrypt(r.pgp.passphrase) != nil:
			r.failed(settingPassphrase, "the passphrase is not that of the key %s", name)
		default:
			unlocked = true
		}
	}
	if !unlocked {
		return nil, errors.New("locked") // else it would be asked again
	}
	return nil, nil
}
