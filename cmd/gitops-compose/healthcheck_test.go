package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheHealthCheckMindsNoMistakeButItsOwn(t *testing.T) {
	alive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	defer alive.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(alive.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		environ []string
		code    int
		stderr  string
	}{
		{[]string{"HTTP_ADDRESS=:" + port}, exitOK, ""},
		{[]string{"HTTP_ADDRESS=:" + port, "WEBHOOK_SECRET_FILE=/nowhere/secret", "SELF_HEAL=perhaps", "REPOSITORY_CA_FILE=/nowhere/ca"}, exitOK, ""},
		{[]string{"HTTP_ADDRESS=" + port}, exitError, "gitops-compose: configuration: HTTP_ADDRESS=\"" + port + "\": want host:port or :port, like :2112 or 127.0.0.1:2112\n"},
		{[]string{"HTTP_ADDRESS=:" + port, "HTTP_CONFIG_FILE=/nowhere/web.yml"}, exitError, "gitops-compose: HTTP_CONFIG_FILE: open /nowhere/web.yml: no such file or directory\n"},
	} {
		var out, errs strings.Builder
		if code := run(t.Context(), []string{"healthcheck"}, c.environ, &out, &errs); code != c.code || errs.String() != c.stderr {
			t.Errorf("%q: got %d, %q", c.environ, code, errs.String())
		}
	}
}
