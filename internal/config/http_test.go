package config

import (
	"strings"
	"testing"
)

func TestWhoAsksADaemonNeedsItsAddressOnly(t *testing.T) {
	for _, c := range []struct{ environ, address, configFile, err string }{
		{"", ":2112", "", ""},
		{"HTTP_ADDRESS=", ":2112", "", ""},
		{"HTTP_ADDRESS=127.0.0.1:80 HTTP_CONFIG_FILE=/nowhere/web.yml", "127.0.0.1:80", "/nowhere/web.yml", ""},
		{"WEBHOOK_SECRET_FILE=/nowhere/secret REPOSITORY_CA_FILE=/nowhere/ca SELF_HEAL=perhaps", ":2112", "", ""},
		{"HTTP_ADDRESS=2112", "", "", `configuration: HTTP_ADDRESS="2112": want host:port or :port, like :2112 or 127.0.0.1:2112`},
	} {
		address, configFile, err := HTTP(strings.Fields(c.environ))
		said := ""
		if err != nil {
			said = err.Error()
		}
		if address != c.address || configFile != c.configFile || said != c.err {
			t.Errorf("%s: got %s, %s, %v", c.environ, address, configFile, err)
		}
	}
}
