// Package gittest has what tests need of the real git: repositories made by its
// command, and a smart HTTP server around git http-backend.
package gittest

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Git runs git in dir and returns what it prints, without the last line feed.
// Neither the person's nor the system's configuration counts. The test ends if
// git fails.
func Git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := Try(dir, args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Try is Git for commands that may fail.
func Try(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = Env()
	out, err := cmd.CombinedOutput()
	return strings.TrimSuffix(string(out), "\n"), err
}

// Env is the environment that makes git the same everywhere.
func Env() []string {
	return append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ann Author", "GIT_AUTHOR_EMAIL=ann@example.org",
		"GIT_COMMITTER_NAME=Carl Committer", "GIT_COMMITTER_EMAIL=carl@example.org",
		"GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always",
		"GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*",
		"LC_ALL=C",
	)
}

// Bare makes an empty bare repository whose branch is main.
func Bare(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "remote.git")
	Git(t, "", "init", "-q", "--bare", "-b", "main", dir)
	return dir
}

// Work makes a work tree that pushes to bare.
func Work(t testing.TB, bare string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "work")
	Git(t, "", "clone", "-q", bare, dir)
	Git(t, dir, "symbolic-ref", "HEAD", "refs/heads/main")
	return dir
}

// Push commits everything in the work tree and pushes it; it returns the commit.
func Push(t testing.TB, work, message string) string {
	t.Helper()
	Git(t, work, "add", "-A")
	Git(t, work, "commit", "-q", "--allow-empty", "-m", message)
	Git(t, work, "push", "-q", "-f", "origin", "HEAD:main")
	return Git(t, work, "rev-parse", "HEAD")
}

// Write puts a file into dir, with the folders above it.
func Write(t testing.TB, dir, path, content string) {
	t.Helper()
	full := filepath.Join(dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// FastImport makes commits in bare out of what feed writes, which is the input of
// git fast-import: for more files or commits than Push could make in a test.
func FastImport(t testing.TB, bare string, feed func(w *strings.Builder)) {
	t.Helper()
	var b strings.Builder
	feed(&b)
	cmd := exec.Command("git", "fast-import", "--quiet", "--force")
	cmd.Dir, cmd.Env, cmd.Stdin = bare, Env(), strings.NewReader(b.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %s", out)
	}
}

// Handler serves a bare repository by smart HTTP as /repo.git. With a user it
// asks for basic authentication.
func Handler(t testing.TB, bareDir, user, pass string) http.Handler {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatalf("git --exec-path: %v", err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env: append(Env(),
			"GIT_PROJECT_ROOT="+bareDir,
			"GIT_HTTP_EXPORT_ALL=1",
			"REMOTE_USER="+user),
	}
	return http.StripPrefix("/repo.git", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user != "" {
			if u, p, ok := req.BasicAuth(); !ok || u != user || p != pass {
				w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
		}
		b := *backend
		b.Env = append(b.Env[:len(b.Env):len(b.Env)], "GIT_PROTOCOL="+req.Header.Get("Git-Protocol"))
		b.ServeHTTP(w, req)
	}))
}

// Serve starts a server with Handler on loopback for the length of the test and
// returns the repository's address, without credentials.
func Serve(t testing.TB, bareDir, user, pass string) (url string) {
	t.Helper()
	s := httptest.NewServer(Handler(t, bareDir, user, pass))
	t.Cleanup(s.Close)
	return s.URL + "/repo.git"
}
