package config

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestASecretIsMaskedByEveryVerb(t *testing.T) {
	const secret = "hunter2"
	type holder struct{ inner Secret }
	s := NewSecret(secret)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s); got != masked {
			t.Errorf("%s of a secret: %s", verb, got)
		}
		if got := fmt.Sprintf(verb, holder{s}); strings.Contains(got, secret) || strings.Contains(got, fmt.Sprintf("%x", secret)) {
			t.Errorf("%s of an unexported field: %s", verb, got)
		}
	}
	if got, err := json.Marshal(map[string]any{"s": s, "p": &s}); err != nil || string(got) != `{"p":"***","s":"***"}` {
		t.Errorf("as JSON: %s, %v", got, err)
	}
	if got := fmt.Sprint(Secret{}); got != "" {
		t.Errorf("no secret: %q", got)
	}
}

func TestASecretInAFileIsReadAtEachUse(t *testing.T) {
	path := file(t, "first\r\n")
	c := load(t, "WEBHOOK_SECRET_FILE="+path)
	if got := value(t, c.WebhookSecret); got != "first" {
		t.Errorf("got %q", got)
	}
	if err := os.WriteFile(path, []byte("second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := value(t, c.WebhookSecret); got != "second" {
		t.Errorf("after a rotation: got %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WebhookSecret.Value(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("after the file is gone: got %v", err)
	}
}

func TestAnEmptySecretFileIsAMistake(t *testing.T) {
	_, err := Load([]string{"REPOSITORY_PASSWORD_FILE=" + file(t, "\n")})
	if err == nil || !strings.Contains(err.Error(), "want a file with the value: file is empty") {
		t.Errorf("got %v", err)
	}
}

func TestAUserNameCanComeFromAFile(t *testing.T) {
	path := file(t, "alice\n")
	c := load(t, "REPOSITORY_USERNAME_FILE="+path, "REPOSITORY_PASSWORD=pw")
	if got := value(t, c.RepositoryUsername); got != "alice" {
		t.Errorf("got %q", got)
	}
	if got := c.String(); !strings.Contains(got, "REPOSITORY_USERNAME=alice") {
		t.Errorf("the banner is %s", got)
	}
	if err := os.WriteFile(path, []byte("bob\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := value(t, c.RepositoryUsername); got != "bob" {
		t.Errorf("after a change: got %q", got)
	}
}
