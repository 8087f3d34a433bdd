package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestProfilesHaveAnAddressOfTheirOwn(t *testing.T) {
	p, err := NewProfiler("127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	for path, want := range map[string]string{
		"/debug/pprof/":                  "goroutine",
		"/debug/pprof/goroutine?debug=1": "TestProfilesHaveAnAddressOfTheirOwn",
		"/debug/pprof/cmdline":           ".test",
		"/metrics":                       "404",
		"/":                              "404",
	} {
		answer, err := http.Get("http://" + p.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s: %v, %.200s", path, err, body)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := NewProfiler("256.0.0.1:1", slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "PPROF_ADDRESS") {
		t.Errorf("error %v", err)
	}
}

func TestTheDaemonsOwnAddressHasNoProfiles(t *testing.T) {
	f := serve(t, nil)
	if answer, _ := f.do("GET", "/debug/pprof/", ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("status %d", answer.StatusCode)
	}
}
