package secrets

import "fmt"

// Kind says who can mend an error, and how.
type Kind string

const (
	// NoKeys is that none is configured at all.
	NoKeys Kind = "no key is configured"
	// NoKeyFits is that the file is encrypted for others.
	NoKeyFits Kind = "no key fits"
	// BadKey is that a key that is configured can't be used, and no other fits.
	BadKey Kind = "a key can't be used"
	// Changed is that the file isn't as sops has encrypted it.
	Changed Kind = "changed after encryption"
	// Unsupported is what sops can read, and this package can't.
	Unsupported Kind = "not supported"
	// Malformed is what isn't in sops's format, or is broken.
	Malformed Kind = "malformed"
	// TooLarge is what is beyond the limit of size.
	TooLarge Kind = "too large"
)

// Error is what is wrong with an encrypted file, or with the keys for it, in one
// line that a person can act on. It never holds a value of the file, a private key or
// a passphrase.
type Error struct {
	Kind Kind
	text string
}

func (e *Error) Error() string { return e.text }

func fail(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, text: fmt.Sprintf(format, args...)}
}
