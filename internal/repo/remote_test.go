package repo

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

// over makes the clone's origin an address.
func (w *world) over(url string) { w.git("remote", "set-url", "origin", url) }

func secret(user, password string) func(*Options) {
	return func(o *Options) {
		o.Credentials = func() (string, string, error) { return user, password, nil }
	}
}

func TestAddressesOfOneRepositoryHaveOneIdentity(t *testing.T) {
	for want, list := range map[string][]string{
		"https://example.org/a/b":      {"https://example.org/a/b.git", "https://u:p@EXAMPLE.org:443/a/b/?token=x", "https://example.org/a/b"},
		"http://example.org:8080/a":    {"http://u@example.org:8080/a.git"},
		"ssh://example.org/a/b":        {"git@example.org:a/b.git", "ssh://git:pw@example.org:22/a/b.git", "example.org:/a/b"},
		"ssh://example.org:2222/a":     {"ssh://example.org:2222/a"},
		"ssh://[::1]/a":                {"git@[::1]:a", "ssh://[::1]:22/a"},
		"file:///srv/a":                {"/srv/a.git", "file:///srv/a/", "../../srv/a"},
		"file:///srv/name with: colon": {"/srv/name with: colon"},
	} {
		for _, raw := range list {
			r, err := parseRemote(raw, "/x/y")
			if err != nil || r.display != want {
				t.Errorf("%s: %+v %v, want %s", raw, r, err, want)
			}
		}
	}
	for _, raw := range []string{"", "https://u:s3cret@exa mple/", "https:///x", "git://x/y", "https://u:s3cret@h:port/x"} {
		if r, err := parseRemote(raw, "/x"); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %+v %v", raw, r, err)
		}
	}
}

func TestCredentialsRotateWithoutARestart(t *testing.T) {
	w := newWorld(t)
	w.over(gittest.Serve(t, w.bare, "ann", "right-one"))
	password := "wrong-one"
	r := w.open(func(o *Options) {
		o.Credentials = func() (string, string, error) { return "ann", password, nil }
	})
	_, err := r.Fetch(t.Context())
	wantBlocked(t, err, "refuses the credentials")
	if strings.Contains(err.Error(), password) {
		t.Errorf("the password is in %q", err)
	}
	password = "right-one"
	mustFetch(t, r)
	password = "wrong-one"
	_, err = r.Fetch(t.Context())
	wantBlocked(t, err, "refuses the credentials")
	_, err = w.open().Fetch(t.Context())
	wantBlocked(t, err, "REPOSITORY_USERNAME")
	_, err = w.open(func(o *Options) {
		o.Credentials = func() (string, string, error) { return "", "", errors.New("open /run/secrets/x: gone") }
	}).Fetch(t.Context())
	wantBlocked(t, err, "/run/secrets/x")
}

func TestCredentialsInTheOriginWorkAndAreNotShown(t *testing.T) {
	w := newWorld(t)
	u, _ := url.Parse(gittest.Serve(t, w.bare, "ann", "s3:cr/et"))
	u.User = url.UserPassword("ann", "s3:cr/et")
	w.over(u.String())
	r := w.open()
	mustFetch(t, r)
	if strings.Contains(r.Identity(), "ann") || strings.Contains(r.Identity(), "cr") {
		t.Errorf("identity %s", r.Identity())
	}
	u.User = url.UserPassword("ann", "wrong-secret")
	w.over(u.String())
	_, err := w.open().Fetch(t.Context())
	wantBlocked(t, err)
	if strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("the password is in %q", err)
	}
}

// A server may repeat what it was told, as git's own do in messages of hooks.
func TestATokenInTheUsersPlaceIsNotShown(t *testing.T) {
	for name, c := range map[string]struct {
		address, user, password string // in the origin; given
		hidden, shown           string
	}{
		"given":             {"", "ghp_token", "", "ghp_token", ""},
		"given, GitHub's":   {"", "ghp_token", "x-oauth-basic", "ghp_token", ""},
		"in the origin":     {"ghp_token@", "", "", "ghp_token", ""},
		"a name":            {"", "alice", "s3cret", "s3cret", "alice"},
		"one of the origin": {"alice@", "bob", "s3cret", "s3cret", "alice"},
		"one of the path":   {"repo@", "", "", "", "/repo:"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			said := strings.Join([]string{strings.TrimSuffix(c.address, "@"), c.user, c.password}, " ")
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "you are "+said)
			}))
			t.Cleanup(s.Close)
			w.over(strings.Replace(s.URL, "://", "://"+c.address, 1) + "/repo")
			_, err := w.open(secret(c.user, c.password)).Fetch(t.Context())
			if err == nil || c.hidden != "" && strings.Contains(err.Error(), c.hidden) || !strings.Contains(err.Error(), c.shown) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRemoteErrorsAreToldApart(t *testing.T) {
	w := newWorld(t)
	status := 0
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if status == 200 {
			io.WriteString(rw, "<html>log in")
			return
		}
		http.Error(rw, "no", status)
	}))
	t.Cleanup(s.Close)
	w.over(s.URL + "/x")
	r := w.open()
	for code, isBlocked := range map[int]bool{403: true, 404: true, 407: true, 410: true, 429: false, 500: false, 502: false, 503: false, 200: false} {
		status = code
		if _, err := r.Fetch(t.Context()); err == nil || IsBlocked(err) != isBlocked {
			t.Errorf("%d: %v", code, err)
		}
	}
	s.Close()
	if _, err := r.Fetch(t.Context()); err == nil || IsBlocked(err) || !strings.Contains(err.Error(), "connect to") {
		t.Errorf("remote down: %v", err)
	}
	w.over(gittest.Serve(t, w.bare, "", ""))
	gittest.Git(t, w.bare, "branch", "-m", "main", "trunk")
	_, err := w.open().Fetch(t.Context())
	wantBlocked(t, err, "has no branch main")
}

// traffic counts what a poll costs on the wire.
type traffic struct {
	net.Listener
	requests, bytes atomic.Int64
}

func (l *traffic) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &counted{c, l}, nil
}

type counted struct {
	net.Conn
	l *traffic
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.l.bytes.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.l.bytes.Add(int64(n))
	return n, err
}

func TestAPollCostsAKilobyteHoweverManyRefsThereAre(t *testing.T) {
	w := newWorld(t)
	head := gittest.Git(t, w.bare, "rev-parse", "main")
	var refs bytes.Buffer
	for i := range 10_000 {
		refs.WriteString("create refs/heads/feature/" + strings.Repeat("x", 20) + "-" + string(rune('a'+i%26)) + itoa(i) + " " + head + "\n")
	}
	cmd := exec.Command("git", "update-ref", "--stdin")
	cmd.Dir, cmd.Env, cmd.Stdin = w.bare, gittest.Env(), &refs
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	gittest.Git(t, w.bare, "pack-refs", "--all")
	l := &traffic{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		l.requests.Add(1)
		gittest.Handler(t, w.bare, "ann", "pw").ServeHTTP(rw, req)
	}))
	l.Listener, s.Listener = s.Listener, l
	s.Start()
	t.Cleanup(s.Close)
	w.over(s.URL + "/repo.git")
	r := w.open(secret("ann", "pw"))
	mustFetch(t, r)
	l.requests.Store(0)
	l.bytes.Store(0)
	mustFetch(t, r)
	n, b := l.requests.Load(), l.bytes.Load()
	t.Logf("%d request, %d bytes both ways", n, b)
	if n != 1 || b > 1024 {
		t.Errorf("%d requests, %d bytes", n, b)
	}
}

func itoa(i int) string {
	var b [8]byte
	n := len(b)
	for {
		n--
		b[n] = byte('0' + i%10)
		if i /= 10; i == 0 {
			return string(b[n:])
		}
	}
}

func TestCredentialsAreNotSentToAnotherHostOnRedirect(t *testing.T) {
	w := newWorld(t)
	var seen sync.Map
	git := gittest.Handler(t, w.bare, "", "")
	target := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if a := req.Header.Get("Authorization"); a != "" {
			seen.Store(req.URL.Path, a)
		}
		git.ServeHTTP(rw, req)
	}))
	t.Cleanup(target.Close)
	source := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if _, _, ok := req.BasicAuth(); !ok {
			t.Error("the first host got no credentials")
		}
		http.Redirect(rw, req, target.URL+req.URL.RequestURI(), http.StatusMovedPermanently)
	}))
	t.Cleanup(source.Close)
	w.over(source.URL + "/repo.git")
	r := w.open(secret("ann", "s3cret"))
	w.write("README", "2")
	commit := w.push("second")
	mustFetch(t, r)
	mustCheckout(t, r, commit)
	w.agrees(commit)
	mustFetch(t, r)
	seen.Range(func(path, _ any) bool { t.Errorf("credentials were sent to %s of the other host", path); return true })
}

func TestRedirectsWithinTheHostKeepTheCredentials(t *testing.T) {
	w := newWorld(t)
	git := gittest.Handler(t, w.bare, "ann", "s3cret")
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if path, ok := strings.CutPrefix(req.URL.Path, "/old"); ok {
			http.Redirect(rw, req, "/repo.git"+path+"?"+req.URL.RawQuery, http.StatusMovedPermanently)
			return
		}
		git.ServeHTTP(rw, req)
	}))
	t.Cleanup(s.Close)
	w.over(s.URL + "/old")
	mustFetch(t, w.open(secret("ann", "s3cret")))
}

func TestHTTPSIsNotLeftForHTTP(t *testing.T) {
	w := newWorld(t)
	var plain *httptest.Server
	s := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		http.Redirect(rw, req, plain.URL+req.URL.RequestURI(), http.StatusFound)
	}))
	t.Cleanup(s.Close)
	plain = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	t.Cleanup(plain.Close)
	w.over(s.URL + "/repo.git")
	_, err := w.open(func(o *Options) { o.CAFile = caFile(t, s) }).Fetch(t.Context())
	if err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("got %v", err)
	}
}

func caFile(t *testing.T, s *httptest.Server) string {
	path := filepath.Join(t.TempDir(), "ca.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnExtraCAIsTrustedAndOthersAreNot(t *testing.T) {
	w := newWorld(t)
	s := httptest.NewUnstartedServer(gittest.Handler(t, w.bare, "", ""))
	s.Config.ErrorLog = nil
	s.TLS = &tls.Config{}
	s.StartTLS()
	t.Cleanup(s.Close)
	w.over(s.URL + "/repo.git")
	_, err := w.open().Fetch(t.Context())
	wantBlocked(t, err, "REPOSITORY_CA_FILE")
	ca := caFile(t, s)
	mustFetch(t, w.open(func(o *Options) { o.CAFile = ca }))
	_, err = w.open(func(o *Options) { o.CAFile = filepath.Join(t.TempDir(), "none") }).Fetch(t.Context())
	wantBlocked(t, err, "CA file")
	w.over(strings.Replace(s.URL, "127.0.0.1", "localhost", 1) + "/repo.git")
	_, err = w.open(func(o *Options) { o.CAFile = ca }).Fetch(t.Context())
	wantBlocked(t, err, "not valid")
}

func TestARemoteThatTricklesIsCutOff(t *testing.T) {
	w := newWorld(t)
	big := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(big)
	w.write("big", string(big))
	w.push("big")
	git := gittest.Handler(t, w.bare, "", "")
	for name, slow := range map[string]func(rw http.ResponseWriter, req *http.Request, body []byte){
		"silent from the start": func(_ http.ResponseWriter, req *http.Request, _ []byte) { <-req.Context().Done() },
		"silent in the pack": func(rw http.ResponseWriter, req *http.Request, body []byte) {
			rw.Write(body[:len(body)/2])
			rw.(http.Flusher).Flush()
			<-req.Context().Done()
		},
		"a byte now and then": func(rw http.ResponseWriter, req *http.Request, body []byte) {
			rw.Write(body[:len(body)/2])
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for _, b := range body[len(body)/2:] {
				rw.Write([]byte{b})
				rw.(http.Flusher).Flush()
				select {
				case <-tick.C:
				case <-req.Context().Done():
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
				rec := httptest.NewRecorder()
				git.ServeHTTP(rec, req)
				for k, v := range rec.Header() {
					rw.Header()[k] = v
				}
				if body := rec.Body.Bytes(); len(body) > 10_000 {
					slow(rw, req, body)
				} else {
					rw.Write(body)
				}
			}))
			defer s.Close()
			c := w.copyOf(t)
			c.over(s.URL + "/repo.git")
			start := time.Now()
			_, err := c.open(func(o *Options) { o.Timeout = 800 * time.Millisecond }).Fetch(t.Context())
			if err == nil || IsBlocked(err) || !strings.Contains(err.Error(), "the remote") {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			if left, _ := filepath.Glob(filepath.Join(c.clone, ".git/gitops-compose/incoming*")); left != nil {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestAServerWithoutVersion2IsSpokenToInVersion0(t *testing.T) {
	w := newWorld(t)
	git := gittest.Handler(t, w.bare, "", "")
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		req.Header.Del("Git-Protocol")
		git.ServeHTTP(rw, req)
	}))
	t.Cleanup(s.Close)
	w.over(s.URL + "/repo.git")
	r := w.open()
	for _, content := range []string{"2", "3"} {
		w.write("README", content)
		commit := w.push("next")
		if h := mustFetch(t, r); h.Remote != commit {
			t.Fatalf("got %+v", h)
		}
		mustCheckout(t, r, commit)
		w.agrees(commit)
	}
	fresh := &world{t: t, bare: w.bare, clone: filepath.Join(t.TempDir(), "fresh")}
	if err := syncOnce(fresh.clone, s.URL+"/repo.git", disk{}); err != nil {
		t.Fatal(err)
	}
	fresh.agrees(w.git("rev-parse", "HEAD"))
}

func TestAServerThatMovesIsFoundAgain(t *testing.T) {
	w := newWorld(t)
	git := gittest.Handler(t, w.bare, "", "")
	var moved atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		path, old := strings.CutPrefix(req.URL.Path, "/old")
		if !old {
			path = strings.TrimPrefix(req.URL.Path, "/new")
		}
		if old && moved.Load() {
			http.Redirect(rw, req, "/new"+path+"?"+req.URL.RawQuery, http.StatusMovedPermanently)
			return
		}
		req.URL.Path = "/repo.git" + path
		git.ServeHTTP(rw, req)
	}))
	t.Cleanup(s.Close)
	w.over(s.URL + "/old")
	r := w.open()
	mustFetch(t, r)
	moved.Store(true)
	mustFetch(t, r)
	mustFetch(t, r)
}

func TestTheProxyVariablesCount(t *testing.T) {
	if os.Getenv("REPO_TEST_PROXY") == "" {
		// The proxy is read from the environment once in a process.
		w := newWorld(t)
		git := gittest.Handler(t, w.bare, "", "")
		proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if req.URL.Host != "git.example" {
				http.Error(rw, "not for me", http.StatusBadGateway)
				return
			}
			git.ServeHTTP(rw, req)
		}))
		t.Cleanup(proxy.Close)
		w.over("http://git.example/repo.git")
		cmd := exec.Command(os.Args[0], "-test.run=^TestTheProxyVariablesCount$", "-test.v")
		cmd.Env = append(gittest.Env(), "REPO_TEST_PROXY="+w.clone, "http_proxy="+proxy.URL, "no_proxy=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	r, err := Open(t.Context(), Options{Path: os.Getenv("REPO_TEST_PROXY"), Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	mustFetch(t, r)
}

func TestARepositoryOnThisMachineIsReadWithoutAGitCommand(t *testing.T) {
	w := newWorld(t)
	t.Setenv("PATH", "/nowhere")
	for _, form := range []string{w.bare, "file://" + w.bare, w.work} {
		clone := filepath.Join(t.TempDir(), "clone")
		if err := syncOnce(clone, form, disk{}); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		if b, _ := os.ReadFile(filepath.Join(clone, "README")); string(b) != "hello\n" {
			t.Errorf("%s: README is %q", form, b)
		}
	}
	os.Unsetenv("PATH")
}

func TestAFetchThatIsCancelledEnds(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		cancel()
		<-req.Context().Done()
	}))
	t.Cleanup(s.Close)
	w.over(s.URL + "/repo.git")
	if _, err := w.open().Fetch(ctx); !errors.Is(err, context.Canceled) || IsBlocked(err) {
		t.Errorf("got %v", err)
	}
}
