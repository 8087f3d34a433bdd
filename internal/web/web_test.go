package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// face is a running server and what it was asked for.
type face struct {
	*testing.T
	url       string
	client    *http.Client
	history   *report.History
	triggered chan string
	log       *buffer
	stop      func() error
}

// serve starts a server on a free port.
func serve(t *testing.T, change func(*Options)) *face {
	t.Helper()
	f := &face{T: t, client: &http.Client{}, triggered: make(chan string, 10000), log: &buffer{}}
	f.history = report.NewHistory(func(context.Context) error { return nil })
	o := Options{
		Address: "127.0.0.1:0", Version: "1.2.3", Branch: "main", History: f.history, Gatherer: prometheus.NewRegistry(),
		Log:     slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Trigger: func(reason string) { f.triggered <- reason },
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	f.url = "http://" + s.Addr()
	f.stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		f.client.CloseIdleConnections()
		return err
	}
	t.Cleanup(func() { _ = f.stop() })
	return f
}

// do sends a request, with headers as "Name: value", and gives status and body.
func (f *face) do(method, path, body string, headers ...string) (*http.Response, string) {
	f.Helper()
	request, err := http.NewRequestWithContext(f.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		request.Header.Set(name, value)
	}
	response, err := f.client.Do(request)
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		f.Fatal(err)
	}
	return response, string(content)
}

// expect compares the status and the body of an answer.
func (f *face) expect(method, path string, code int, body string) {
	f.Helper()
	response, got := f.do(method, path, "")
	if response.StatusCode != code || got != body {
		f.Errorf("%s %s: got %d %q, want %d %q", method, path, response.StatusCode, got, code, body)
	}
}

func TestHealthIsAboutTheProcessAndReadinessAboutItsWork(t *testing.T) {
	var down error
	h := report.NewHistory(func(context.Context) error { return down })
	f := serve(t, func(o *Options) { o.History = h })
	f.expect("GET", "/healthz", 200, "ok\n")
	f.expect("GET", "/readyz", 503, "not ready: no check has looked yet\n")
	h.Looked(report.Look{At: time.Now()})
	f.expect("GET", "/readyz", 200, "ready\n")
	down = errors.New("connection refused")
	f.expect("GET", "/readyz", 503, "not ready: the engine does not answer: connection refused\n")
	h.Looked(report.Look{At: time.Now(), Error: "remote is down"})
	f.expect("GET", "/readyz", 503, "not ready: the last check failed: remote is down\n")
	f.expect("GET", "/healthz", 200, "ok\n")
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	f := serve(t, func(o *Options) {
		o.DisableWebhook = true
		o.Gatherer = nil
	})
	for _, path := range []string{"/nowhere", "/webhook", "/metrics", "/debug/pprof/", "/api/v1/status/x", "/webhook/x"} {
		for _, method := range []string{"GET", "POST"} {
			if response, _ := f.do(method, path, ""); response.StatusCode != 404 {
				t.Errorf("%s %s: got %d", method, path, response.StatusCode)
			}
		}
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	f := serve(t, nil)
	for path, allow := range map[string]string{"/webhook": "POST", "/metrics": "GET, HEAD", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD", "/api/v1/status": "GET, HEAD"} {
		response, _ := f.do("DELETE", path, "")
		if response.StatusCode != 405 || response.Header.Get("Allow") != allow {
			t.Errorf("%s: got %d, Allow: %s", path, response.StatusCode, response.Header.Get("Allow"))
		}
	}
}

func TestEveryAnswerCarriesSecurityHeaders(t *testing.T) {
	f := serve(t, nil)
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/api/v1/status", "/webhook", "/nowhere"} {
		response, _ := f.do("GET", path, "")
		for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Cache-Control"} {
			if response.Header.Get(name) == "" {
				t.Errorf("%s: no %s", path, name)
			}
		}
	}
}

func TestMetricsComeFromTheRegistryThatWasGiven(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "of_this_test_total", Help: "Help."})
	reg.MustRegister(c)
	f := serve(t, func(o *Options) { o.Gatherer = reg })
	f.expect("GET", "/metrics", 200, "# HELP of_this_test_total Help.\n# TYPE of_this_test_total counter\nof_this_test_total 0\n")
}

func TestTheStatusIsWhatWasReported(t *testing.T) {
	f := serve(t, func(o *Options) { o.Remote = func() string { return "https://alice:hunter2@example.com/ops/host.git" } })
	at := time.Date(2026, 11, 22, 17, 0, 0, 0, time.UTC)
	look := report.Look{At: at, Trigger: "tick", From: "1a2b3c4", To: "9f3c21e"}
	web := report.Stack{Name: "web", File: "web/compose.yaml", Mode: "managed", Status: report.Running, Sync: report.Synced}
	bad := report.Stack{Name: "bad", File: "bad/compose.yaml", Mode: "managed", Status: report.Invalid, Sync: report.Deferred, Held: "invalid", Reason: "services.app.image must be a string"}
	look.Stacks = []report.Stack{web, bad}
	f.history.Looked(look)
	f.history.Ended(report.Check{Look: look, Ended: at.Add(time.Second), Final: look.Stacks, Operations: []report.Operation{
		{Kind: "up", Stack: "web", Cause: "changed", Started: at, Took: time.Second},
	}})
	response, body := f.do("GET", "/api/v1/status", "")
	if got := response.Header.Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("Content-Type: %s", got)
	}
	if strings.Contains(body, "hunter2") {
		t.Errorf("a secret: %s", body)
	}
	before, rest, _ := strings.Cut(body, `  "now": `)
	_, after, _ := strings.Cut(rest, "\n")
	const want = `{
  "version": "1.2.3",
  "repository": "example.com/ops/host",
  "branch": "main",
  "ready": true,
  "synced": false,
  "last_success": "2026-11-22T17:00:01Z",
  "look": {
    "at": "2026-11-22T17:00:00Z",
    "trigger": "tick",
    "from": "1a2b3c4",
    "to": "9f3c21e"
  },
  "stacks": [
    {
      "name": "bad",
      "file": "bad/compose.yaml",
      "mode": "managed",
      "status": "invalid",
      "sync": "held",
      "reason": "services.app.image must be a string",
      "held": "invalid"
    },
    {
      "name": "web",
      "file": "web/compose.yaml",
      "mode": "managed",
      "status": "running",
      "sync": "synced"
    }
  ],
  "checks": [
    {
      "at": "2026-11-22T17:00:00Z",
      "trigger": "tick",
      "from": "1a2b3c4",
      "to": "9f3c21e",
      "ended": "2026-11-22T17:00:01Z",
      "operations": [
        {
          "kind": "up",
          "stack": "web",
          "cause": "changed",
          "started": "2026-11-22T17:00:00Z",
          "took_ns": 1000000000
        }
      ]
    }
  ]
}
`
	if got := before + after; got != want {
		t.Errorf("got %s", got)
	}
}

func TestBeforeTheFirstLookTheStatusHasListsAndNoLook(t *testing.T) {
	f := serve(t, nil)
	_, body := f.do("GET", "/api/v1/status", "")
	for _, want := range []string{`"ready": false`, `"reason": "no check has looked yet"`, `"stacks": []`, `"checks": []`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	if strings.Contains(body, "look\":") {
		t.Errorf("got %s", body)
	}
}

func TestAShutdownEndsRunWithoutAnError(t *testing.T) {
	f := serve(t, nil)
	f.expect("GET", "/healthz", 200, "ok\n")
	if err := f.stop(); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestAnAddressThatIsTakenEndsTheStart(t *testing.T) {
	f := serve(t, nil)
	_, err := New(Options{Address: strings.TrimPrefix(f.url, "http://")})
	if err == nil || !strings.HasPrefix(err.Error(), "HTTP_ADDRESS: listen tcp ") {
		t.Errorf("got %v", err)
	}
}

func TestLocationsOfARepository(t *testing.T) {
	for remote, want := range map[string]string{
		"https://alice:pw@example.com/ops/host.git": "example.com/ops/host",
		"ssh://git@example.com:2222/ops/host.git":   "example.com:2222/ops/host",
		"git@example.com:ops/host.git":              "example.com/ops/host",
		"/srv/git/host.git":                         "",
		"file:///srv/git/host.git":                  "",
		"":                                          "",
	} {
		if got := locate(remote).String(); got != want {
			t.Errorf("%s: got %q, want %q", remote, got, want)
		}
	}
}
