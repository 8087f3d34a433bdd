package repo

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// sshServer is a real sshd on loopback that lets the current user in with one
// key.
type sshServer struct {
	dir, port, user string
}

func (s *sshServer) file(name string) string { return filepath.Join(s.dir, name) }

func (s *sshServer) url(path string) string {
	return fmt.Sprintf("ssh://%s@127.0.0.1:%s%s", s.user, s.port, path)
}

func keygen(t *testing.T, path, passphrase string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %s", out)
	}
}

func startSSH(t *testing.T, options string) *sshServer {
	t.Helper()
	path, err := exec.LookPath("sshd")
	if err != nil {
		path = "/usr/sbin/sshd"
		if _, err := os.Stat(path); err != nil {
			testenv.Missing(t, "there is no sshd: apt-get install openssh-server")
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &sshServer{dir: t.TempDir(), user: me.Username}
	for _, k := range []string{"host", "other-host", "key", "stranger"} {
		keygen(t, s.file(k), "")
	}
	keygen(t, s.file("locked"), "open sesame")
	pub, _ := os.ReadFile(s.file("key.pub"))
	locked, _ := os.ReadFile(s.file("locked.pub"))
	if err := os.WriteFile(s.file("authorized"), append(pub, locked...), 0o600); err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" {
		_ = os.MkdirAll("/run/sshd", 0o755)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	config := fmt.Sprintf(`ListenAddress 127.0.0.1:%s
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
%s
`, s.port, s.file("host"), s.file("authorized"), options)
	if err := os.WriteFile(s.file("config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-D", "-e", "-f", s.file("config"))
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("sshd: %s", &log)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", "127.0.0.1:"+s.port)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("sshd does not listen: %s", &log)
		}
	}
	s.know(t, "known", "host")
	return s
}

// know writes a known hosts file.
func (s *sshServer) know(t *testing.T, file, key string) {
	t.Helper()
	pub, err := os.ReadFile(s.file(key + ".pub"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file(file), []byte("[127.0.0.1]:"+s.port+" "+string(pub)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *sshServer) with(key, known string) func(*Options) {
	return func(o *Options) {
		o.SSHKeyFile, o.SSHKnownHostsFile = s.file(key), s.file(known)
	}
}

func TestARepositoryIsFetchedBySSHInEitherVersion(t *testing.T) {
	for name, options := range map[string]string{"version 2": "AcceptEnv GIT_PROTOCOL", "version 0": ""} {
		t.Run(name, func(t *testing.T) {
			s := startSSH(t, options)
			w := newWorld(t)
			odd := filepath.Join(t.TempDir(), "it's a repo")
			if err := os.Rename(w.bare, odd); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(odd, w.bare); err != nil {
				t.Fatal(err)
			}
			w.over(s.url(strings.ReplaceAll(odd, " ", "%20")))
			r := w.open(s.with("key", "known"))
			mustFetch(t, r)
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
			o := fresh.options()
			o.URL = s.user + "@127.0.0.1:" + w.bare
			s.with("key", "known")(&o)
			if _, err := Open(t.Context(), o); err != nil { // port 22: not asked here
				t.Fatal(err)
			}
			o.URL = s.url(w.bare)
			r, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			fresh.agrees(mustFetch(t, r).Remote)
			if got, want := fresh.git("remote", "get-url", "origin"), s.url(w.bare); got != want {
				t.Errorf("origin is %s, want %s", got, want)
			}
		})
	}
}

func TestSSHHostKeysAreVerifiedAndErrorsToldApart(t *testing.T) {
	s := startSSH(t, "AcceptEnv GIT_PROTOCOL")
	w := newWorld(t)
	w.over(s.url(w.bare))
	_, err := w.open(s.with("stranger", "known")).Fetch(t.Context())
	wantBlocked(t, err, "refuses the SSH key")
	s.know(t, "wrong", "other-host")
	_, err = w.open(s.with("key", "wrong")).Fetch(t.Context())
	wantBlocked(t, err, "is not the one in the known hosts")
	if err := os.WriteFile(s.file("empty"), []byte("# nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = w.open(s.with("key", "empty")).Fetch(t.Context())
	wantBlocked(t, err, "is not known")
	_, err = w.open(s.with("key", "none")).Fetch(t.Context())
	wantBlocked(t, err, "known hosts can't be read")
	_, err = w.open(s.with("none", "known")).Fetch(t.Context())
	wantBlocked(t, err, "SSH key can't be read")

	_, err = w.open(s.with("locked", "known")).Fetch(t.Context())
	wantBlocked(t, err, "REPOSITORY_SSH_KEY_PASSPHRASE")
	phrase := "wrong phrase"
	r := w.open(s.with("locked", "known"), func(o *Options) { o.SSHPassphrase = func() (string, error) { return phrase, nil } })
	_, err = r.Fetch(t.Context())
	wantBlocked(t, err, "passphrase is wrong")
	phrase = "open sesame"
	mustFetch(t, r)

	w.over(s.url("/no/such/repository"))
	_, err = w.open(s.with("key", "known")).Fetch(t.Context())
	wantBlocked(t, err, "there is no repository")

	// A server that has changed its key.
	w.over(s.url(w.bare))
	r = w.open(s.with("key", "known"))
	mustFetch(t, r)
	s.know(t, "known", "other-host")
	_, err = r.Fetch(t.Context())
	wantBlocked(t, err, "is not the one in the known hosts")
	s.know(t, "known", "host")
	mustFetch(t, r)
}

func TestASilentSSHServerIsCutOff(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := newWorld(t)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s := &sshServer{dir: t.TempDir(), port: port, user: "git"}
	keygen(t, s.file("key"), "")
	s.know(t, "known", "key")
	w.over(s.url("/x"))
	_, err = w.open(s.with("key", "known"), func(o *Options) { o.Timeout = 200 * time.Millisecond }).Fetch(t.Context())
	if err == nil || IsBlocked(err) || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("got %v", err)
	}
}
