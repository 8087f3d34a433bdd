package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// helper puts a credential helper that is a shell script into the PATH.
func helper(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestEveryLoginIsTriedAtItsOwnRegistry(t *testing.T) {
	helper(t, "vault", `read -r host; echo "{\"ServerURL\":\"$host\",\"Username\":\"vault\",\"Secret\":\"of-$host\"}"`)
	helper(t, "empty", `echo "credentials not found in native keychain"; exit 1`)
	helper(t, "broken", `echo "the vault is sealed"; exit 1`)
	configIs(t, `{
		"auths": {
			"https://index.docker.io/v1/": {"auth": "aHViOmh1Yi1wYXNz"},
			"https://old.example.com/v1/": {"auth": "b2xkOm9sZC1wYXNz"},
			"token.example.com": {"identitytoken": "a-token"},
			"away.example.com": {"auth": "b2xkOm9sZC1wYXNz"},
			"wrong.example.com": {"auth": "b2xkOm9sZC1wYXNz"},
			"words.example.com": {"auth": "b2xkOm9sZC1wYXNz"},
			"own.example.com": {"auth": "b2xkOm9sZC1wYXNz"},
			"nothing.example.com": {}
		},
		"credHelpers": {
			"vault.example.com": "vault", "empty.example.com": "empty", "broken.example.com": "broken",
			"missing.example.com": "is-not-installed", "https://unused.example.com/": "is-not-installed"
		}
	}`)
	var asked seen
	api := standIn(t, func(w http.ResponseWriter, r *http.Request) {
		var a struct{ Username, Password, IdentityToken, ServerAddress string }
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil || r.URL.Path != "/auth" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		asked.add("%s %s:%s%s", a.ServerAddress, a.Username, a.Password, a.IdentityToken)
		fail := func(code int, text string) {
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
		}
		switch a.ServerAddress {
		case "wrong.example.com":
			fail(http.StatusUnauthorized, "unauthorized: incorrect username or password, it was "+a.Password)
		case "words.example.com":
			fail(http.StatusInternalServerError, "login attempt to https://words.example.com/v2/ failed with status: 401 Unauthorized")
		case "away.example.com", "own2.example.com":
			fail(http.StatusInternalServerError, `Get "https://away.example.com/v2/": dial tcp: lookup away.example.com: no such host`)
		default:
			_, _ = w.Write([]byte(`{"Status": "Login Succeeded"}`))
		}
	})
	var said bytes.Buffer
	e := New(api, Options{
		Logger:     slog.New(slog.NewTextHandler(&said, nil)), // warnings, without the debugging
		Registries: append(loginOf("own.example.com"), loginOf("own2.example.com")...),
	})
	e.CheckLogins(t.Context())
	want := []string{
		"away.example.com old:old-pass",
		"https://index.docker.io/v1/ hub:hub-pass",
		"old.example.com old:old-pass",
		"own.example.com puller:swordfish",
		"own2.example.com puller:swordfish",
		"token.example.com :a-token",
		"vault.example.com vault:of-vault.example.com",
		"words.example.com old:old-pass",
		"wrong.example.com old:old-pass",
	}
	if got := slices.Sorted(slices.Values(asked.all())); !slices.Equal(got, want) {
		t.Errorf("tried\n%s", strings.Join(got, "\n"))
	}
	warned := map[string]string{
		"wrong.example.com": "incorrect username", "words.example.com": "status: 401", "own2.example.com": "no such host",
		"broken.example.com": "the vault is sealed", "missing.example.com": "docker-credential-is-not-installed",
	}
	lines := slices.Collect(strings.Lines(said.String()))
	for host, why := range warned {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "registry="+host+" ") && strings.Contains(l, why) }) {
			t.Errorf("no warning of %s", host)
		}
	}
	if len(lines) != len(warned) {
		t.Errorf("said\n%s", said.String())
	}
	for _, secret := range []string{"old-pass", "hub-pass", "a-token", "swordfish", "of-vault"} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

func TestLoginsThatHangHoldNobodyUp(t *testing.T) {
	helper(t, "slow", "while [ -d "+t.TempDir()+" ]; do sleep 0.1; done") // until the test has ended
	configIs(t, `{"credHelpers": {"slow.example.com": "slow"}}`)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	New(noEngine(t), Options{}).CheckLogins(ctx) // it returns, which is all there is to see
}

func TestAStoreOfLoginsThatIsNotInstalledIsSaidOnce(t *testing.T) {
	configIs(t, `{"credsStore": "is-not-installed", "auths": {"a.example.com": {}, "b.example.com": {}}}`)
	var said bytes.Buffer
	New(noEngine(t), Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}).CheckLogins(t.Context())
	if got := said.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "docker-credential-is-not-installed") {
		t.Errorf("said %s", got)
	}
}

func TestAConfigThatCanNotBeReadIsSaid(t *testing.T) {
	configIs(t, `{"auths": `)
	var said bytes.Buffer
	New(noEngine(t), Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}).CheckLogins(t.Context())
	if got := said.String(); !strings.Contains(got, "config.json") {
		t.Errorf("said %s", got)
	}
}
