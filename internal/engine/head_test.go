package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/docker/client"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// seen keeps what servers were asked.
type seen struct {
	mu    sync.Mutex
	lines []string
}

func (s *seen) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// standIn makes a client of an engine on a socket, as it is on a host, that
// answers as told. Paths come without the API's version.
func standIn(t *testing.T, answer http.HandlerFunc) client.APIClient {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine") // the address of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`^/v[0-9.]+`)
	s := &httptest.Server{Listener: l, Config: &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = version.ReplaceAllString(r.URL.Path, "")
		w.Header().Set("Content-Type", "application/json")
		answer(w, r)
	})}}
	s.Start()
	t.Cleanup(func() { s.Close(); _ = os.RemoveAll(dir) })
	api, err := client.NewClientWithOpts(client.WithHost("unix://"+l.Addr().String()), client.WithVersion(OldestAPI))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return api
}

// noEngine must not be asked.
func noEngine(t *testing.T) client.APIClient {
	return standIn(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the engine was asked: %s %s", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusInternalServerError)
	})
}

func serveHTTP(t *testing.T, answer http.HandlerFunc) (address string) {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// configIs gives Docker's config.json a content for the time of a test.
func configIs(t *testing.T, content string) {
	t.Helper()
	dir, before := t.TempDir(), config.Dir()
	config.SetDir(dir)
	t.Cleanup(func() { config.SetDir(before) })
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func loginOf(host string) []Registry {
	return []Registry{{Host: host, Username: "puller", Password: func() (string, error) { return "swordfish", nil }}}
}

func manifestAt(w http.ResponseWriter) {
	w.Header().Set("Docker-Content-Digest", someDigest)
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	w.Header().Set("Content-Length", "1000")
	w.WriteHeader(http.StatusOK)
}

func TestATagIsAskedForWithoutAPull(t *testing.T) {
	configIs(t, "{}")
	var asked seen
	registry := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		asked.add("%s %s as %q", r.Method, r.URL.Path, user)
		if user == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		for _, kind := range []string{"docker.distribution.manifest.list", "oci.image.index", "oci.image.manifest"} {
			if !strings.Contains(r.Header.Get("Accept"), kind) {
				t.Errorf("%s is not accepted", kind)
			}
		}
		manifestAt(w)
	})
	e := New(noEngine(t), Options{Registries: loginOf(registry)})
	if got, err := e.Latest(t.Context(), registry+"/team/web:2"); err != nil || got != someDigest {
		t.Errorf("got %s, %v", got, err)
	}
	if got, want := asked.all(), []string{`HEAD /v2/team/web/manifests/2 as ""`, `HEAD /v2/team/web/manifests/2 as "puller"`}; !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
}

func TestATokenIsHadFromTheServerThatTheRegistryNames(t *testing.T) {
	configIs(t, "{}")
	var elsewhere seen
	other := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		elsewhere.add("%s %s %v %v", r.Method, r.URL, r.Header["Authorization"], r.Form)
		w.Header().Set("WWW-Authenticate", `Basic realm="other"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	tokens := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") != "swordfish" || r.FormValue("scope") != "repository:team/web:pull" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		if r.FormValue("service") == "moved" {
			http.Redirect(w, r, "http://"+other+"/token", http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write([]byte(`{"access_token":"of-puller"}`))
	})
	service, moved := "here", false
	registry := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer of-puller":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service=%q,scope="repository:team/web:pull"`, tokens, service))
			w.WriteHeader(http.StatusUnauthorized)
		case moved:
			http.Redirect(w, r, "http://"+other+r.URL.Path, http.StatusTemporaryRedirect)
		default:
			manifestAt(w)
		}
	})
	e := New(noEngine(t), Options{Registries: loginOf(registry)})
	if got, err := e.Latest(t.Context(), registry+"/team/web"); err != nil || got != someDigest {
		t.Errorf("got %s, %v", got, err)
	}
	moved = true
	if _, _, err := e.head(t.Context(), registry+"/team/web"); err == nil {
		t.Error("no error where the registry moved to one that wants another login")
	}
	service = "moved"
	if _, _, err := e.head(t.Context(), registry+"/team/web"); err == nil {
		t.Error("no error where the token server moved")
	}
	for _, line := range elsewhere.all() {
		if strings.Contains(line, "swordfish") || strings.Contains(line, "Basic") || strings.Contains(line, "of-puller") {
			t.Errorf("another server was told: %s", line)
		}
	}
}

func TestWhatARegistrySaidIsNotAskedTwice(t *testing.T) {
	configIs(t, "{}")
	for status, want := range map[int]struct {
		requests int
		text     string
	}{
		http.StatusUnauthorized:    {2, "401"}, // without and with the login
		http.StatusNotFound:        {1, "not found"},
		http.StatusTooManyRequests: {1, "429"},
	} {
		var asked seen
		registry := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			asked.add("%s", r.Method)
			w.Header().Set("WWW-Authenticate", `Basic realm="swordfish"`)
			w.Header().Set("Retry-After", "77")
			w.WriteHeader(status)
		})
		e := New(noEngine(t), Options{Registries: loginOf(registry)})
		_, err := e.Latest(t.Context(), registry+"/web:1")
		if err == nil || !strings.Contains(err.Error(), want.text) || strings.Contains(err.Error(), "swordfish") {
			t.Errorf("%d: %v", status, err)
		}
		if got := len(asked.all()); got != want.requests {
			t.Errorf("%d: %d requests, want %d", status, got, want.requests)
		}
		var wait limited
		if got := errors.As(err, &wait) && wait.RetryAfter() == 77*time.Second; got != (status == http.StatusTooManyRequests) {
			t.Errorf("%d: to wait: %v", status, got)
		}
		after := e.askToWait(t.Context(), registry+"/web:1")
		if (after == 77*time.Second) != (status == http.StatusTooManyRequests) {
			t.Errorf("%d: to wait %s", status, after)
		}
	}
}

func TestTheEngineAsksWhereWeCanNot(t *testing.T) {
	configIs(t, "{}")
	answers := map[string]any{
		"/info": map[string]any{"RegistryConfig": map[string]any{"Mirrors": []string{"https://mirror.example.com/"}}},
	}
	var asked seen
	api := standIn(t, func(w http.ResponseWriter, r *http.Request) {
		asked.add("%s", r.URL.Path)
		answer := answers[r.URL.Path]
		if strings.HasPrefix(r.URL.Path, "/distribution/") {
			answer = map[string]any{"Descriptor": map[string]any{"digest": someDigest}}
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	dead, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	broken := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
	self := serveHTTP(t, func(http.ResponseWriter, *http.Request) { t.Error("our loopback was asked for the engine's") })
	for what, c := range map[string]struct{ ref, self string }{
		"a registry that can't be reached":    {dead.Addr().String() + "/web:1", ""},
		"one that wants to be asked in TLS":   {broken + "/web:1", ""},
		"the engine's loopback":               {self + "/web:1", "a container"},
		"Docker Hub, of which it has mirrors": {"web:1", ""},
	} {
		e := New(api, Options{Self: c.self})
		if got, err := e.Latest(t.Context(), c.ref); err != nil || got != someDigest {
			t.Errorf("%s: %s, %v", what, got, err)
		}
	}
	n := 0
	for _, path := range asked.all() {
		if strings.HasPrefix(path, "/distribution/") {
			n++
		}
	}
	if n != 4 {
		t.Errorf("the engine was asked %d times: %q", n, asked.all())
	}
}

func TestNoLoginGoesOutInTheClear(t *testing.T) {
	w := &witness{base: http.DefaultTransport}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://registry.example.com/v2/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
		t.Error("it was asked")
	}
}
