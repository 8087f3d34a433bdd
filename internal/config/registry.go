package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Registry is a registry and what it takes to log in there.
type Registry struct {
	// URL is the address as it was given.
	URL      string
	Username string
	Password Secret
}

// Host is the registry's host in the form that image references use:
// "ghcr.io", "registry.example.com:5000", and "docker.io" for Docker Hub under
// any of its names.
func (r Registry) Host() string {
	host := strings.ToLower(strings.TrimSpace(r.URL))
	if _, rest, ok := strings.Cut(host, "://"); ok {
		host = rest
	}
	host, _, _ = strings.Cut(host, "/")
	switch host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com":
		return "docker.io"
	}
	return host
}

// entry is one element of DOCKER_REGISTRIES.
type entry struct {
	URL      string `json:"url"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// parseRegistries reads DOCKER_REGISTRIES. Its errors name places and keys and
// never a value: any part of the text can be a secret.
func parseRegistries(text string) ([]entry, error) {
	var raw []json.RawMessage
	decoder := json.NewDecoder(strings.NewReader(text))
	if err := decoder.Decode(&raw); err != nil {
		return nil, jsonError(err, text)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is something after the list at byte %d", decoder.InputOffset())
	}
	entries := make([]entry, len(raw))
	for i, message := range raw {
		decoder := json.NewDecoder(bytes.NewReader(message))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&entries[i]); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, jsonError(err, string(message)))
		}
		if missing := entries[i].missing(); missing != "" {
			return nil, fmt.Errorf("entry %d has no %q", i+1, missing)
		}
	}
	return entries, nil
}

func (e entry) missing() string {
	switch {
	case e.URL == "":
		return "url"
	case e.Username == "":
		return "username"
	case e.Password == "":
		return "password"
	}
	return ""
}

// jsonError says where JSON is wrong, without quoting it.
func jsonError(err error, text string) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d of %d", syntax.Offset, len(text))
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("%q has the wrong type", kind.Field)
	case errors.As(err, &kind):
		return errors.New("wrong type")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("not JSON: it ends after %d bytes", len(text))
	}
	if strings.Contains(err.Error(), "unknown field") {
		// The key could be a secret in the wrong place: it is not quoted.
		return errors.New("it has a key that is none of url, username, password")
	}
	return errors.New("not JSON")
}

// listed is the password of an entry of a list in a file: like any secret in a
// file it is read anew each time.
func listed(path, host string) Secret {
	return Secret{read: func() (string, error) {
		text, err := readSecret(path)
		if err != nil {
			return "", err
		}
		entries, err := parseRegistries(text)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		for _, e := range entries {
			if (Registry{URL: e.URL}).Host() == host {
				return e.Password, nil
			}
		}
		return "", fmt.Errorf("read %s: no entry for %s any more", path, host)
	}}
}
