package config

import (
	"cmp"
	"slices"
	"strings"
	"testing"
)

// Of a variable that the banner leaves out nobody sees in a log what counted.
func TestTheBannerHasEveryVariable(t *testing.T) {
	some := map[string]string{
		"REPOSITORY_URL": "https://example.com/x", "REPOSITORY_USERNAME": "alice", "REPOSITORY_PASSWORD": "x", "REPOSITORY_SSH_KEY_FILE": file(t, "x"),
		"REPOSITORY_SSH_KEY_PASSPHRASE": "x", "REPOSITORY_SSH_KNOWN_HOSTS_FILE": file(t, "x"), "REPOSITORY_CA_FILE": file(t, "x"),
		"DOCKER_REGISTRY_URL": "ghcr.io", "DOCKER_REGISTRY_USERNAME": "bob", "DOCKER_REGISTRY_PASSWORD": "x",
		"DOCKER_REGISTRIES": `[{"url":"example.com","username":"eve","password":"x"}]`, "STACK_ENV": "A=x", "SYNC_WINDOWS": "allow Sat", "SOPS_AGE_KEY": "x",
		"SOPS_AGE_SSH_PRIVATE_KEY_FILE": file(t, "x"), "SOPS_PGP_KEY_FILE": file(t, "x"), "SOPS_PGP_PASSPHRASE_FILE": file(t, "x"), "SECRETS_DIR": "/run/agent", "WEBHOOK_SECRET": "x", "HTTP_CONFIG_FILE": file(t, "x"), "PPROF_ADDRESS": "127.0.0.1:6060",
	}
	var environ, want, got []string
	for _, v := range Variables() {
		if value := cmp.Or(some[v.Name], v.Default); value != "" {
			environ = append(environ, v.Name+"="+value)
		} else {
			t.Errorf("the test has no value for %s", v.Name)
		}
		if !strings.HasPrefix(v.Name, "DOCKER_REGISTRY_") { // one of the DOCKER_REGISTRIES
			want = append(want, v.Name)
		}
	}
	for _, a := range load(t, environ...).Banner() {
		got = append(got, a.Key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
