package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// masked stands for a secret wherever one would be printed.
const masked = "***"

// Secret is a value that can be used and never printed: every way that fmt,
// slog and encoding know to write it gives "***".
//
// The value sits behind a function, and not in a string field, because fmt
// can't call methods on unexported fields of other types and would print a
// string field of a Secret in there as it is.
type Secret struct {
	read func() (string, error)
}

// NewSecret is a secret with a fixed value; an empty value is no secret.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{read: func() (string, error) { return value, nil }}
}

// SecretFile is a secret that is read from a file each time it is used, so
// that it can be replaced without a restart.
func SecretFile(path string) Secret {
	return Secret{read: func() (string, error) { return readSecret(path) }}
}

// IsSet says whether there is a value (or a file that should hold one).
func (s Secret) IsSet() bool { return s.read != nil }

// Value is the secret itself, or "" when there is none. A secret in a file is
// read again at each call; the error names the file.
func (s Secret) Value() (string, error) {
	if s.read == nil {
		return "", nil
	}
	return s.read()
}

// String is "***" for a secret, "" for none.
func (s Secret) String() string {
	if s.read == nil {
		return ""
	}
	return masked
}

// Format covers all verbs of fmt, also those that would look inside.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// GoString is String.
func (s Secret) GoString() string { return s.String() }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String; encoding/json uses it as well.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// readSecret reads a file of one secret. Editors and `echo` end a file with a
// newline, which is never part of a secret.
func readSecret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err // names the path
	}
	value := strings.TrimRight(string(content), "\r\n")
	if value == "" {
		return "", &os.PathError{Op: "read", Path: path, Err: errors.New("file is empty")}
	}
	return value, nil
}
