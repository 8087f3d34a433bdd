package config

import (
	"os"
	"strings"
	"testing"
)

func TestTheSingleRegistryAndTheListAreMerged(t *testing.T) {
	c := load(t, "DOCKER_REGISTRY_URL=https://index.docker.io/v1/", "DOCKER_REGISTRY_USERNAME=bob", "DOCKER_REGISTRY_PASSWORD=one",
		`DOCKER_REGISTRIES=[{"url":"Registry.Example.com:5000","username":"eve","password":"two"},{"url":"https://ghcr.io/org","username":"mia","password":"three"}]`)
	var got []string
	for _, r := range c.Registries {
		got = append(got, r.Host()+" "+r.Username+" "+value(t, r.Password))
	}
	const want = "docker.io bob one\nregistry.example.com:5000 eve two\nghcr.io mia three"
	if strings.Join(got, "\n") != want {
		t.Errorf("got %q", got)
	}
}

func TestMistakesInTheListNameThePlaceAndNoValue(t *testing.T) {
	const secret = "hunter2"
	for text, want := range map[string]string{
		`[{"url":"a","username":"u","password":"hunter2"`:                                                                  `not JSON: it ends after 47 bytes`,
		`{"url":"a","username":"u","password":"hunter2"}`:                                                                  `wrong type`,
		`[{"url":"a","username":"u","password":"hunter2"}] hunter2`:                                                        `there is something after the list at byte 50`,
		`[{"url":"a","username":"u","password":hunter2}]`:                                                                  `not JSON at byte 39 of 47`,
		`[{"url":"a","username":"u","passwort":"hunter2"}]`:                                                                `entry 1: it has a key that is none of url, username, password`,
		`[{"url":"a","username":"u","hunter2":"x"}]`:                                                                       `entry 1: it has a key that is none of url, username, password`,
		`[{"url":"a","username":"u","password":["hunter2"]}]`:                                                              `entry 1: "password" has the wrong type`,
		`[{"url":"a","username":"u","password":"x"},"hunter2"]`:                                                            `entry 2: wrong type`,
		`[{"url":"a","username":"u","password":"x"},{"url":"b","password":"hunter2"}]`:                                     `entry 2 has no "username"`,
		`[{"url":"a","username":"u"}]`:                                                                                     `entry 1 has no "password"`,
		`[{"url":"ghcr.io","username":"u","password":"x"},{"url":"https://ghcr.io/","username":"v","password":"hunter2"}]`: `DOCKER_REGISTRIES: entry 2: ghcr.io is listed twice; list each registry once`,
		`[{"url":"https://u:hunter2@ghcr.io/","username":"u","password":"x"}]`:                                             `DOCKER_REGISTRIES: entry 1: want the url as a registry's host, like ghcr.io or registry.example.com:5000`,
	} {
		_, err := Load([]string{"DOCKER_REGISTRIES=" + text})
		if err == nil || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestPasswordsOfAListInAFileAreReadAtEachUse(t *testing.T) {
	path := file(t, `[{"url":"ghcr.io","username":"u","password":"first"}]`+"\n")
	c := load(t, "DOCKER_REGISTRIES_FILE="+path)
	if got := value(t, c.Registries[0].Password); got != "first" {
		t.Errorf("got %q", got)
	}
	if err := os.WriteFile(path, []byte(`[{"url":"https://ghcr.io","username":"u","password":"second"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := value(t, c.Registries[0].Password); got != "second" {
		t.Errorf("after a rotation: got %q", got)
	}
	if err := os.WriteFile(path, []byte(`[]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Registries[0].Password.Value(); err == nil || !strings.Contains(err.Error(), "no entry for ghcr.io any more") {
		t.Errorf("after the entry is gone: got %v", err)
	}
}
