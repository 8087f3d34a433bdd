package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// sshSession talks to git-upload-pack at the other end of an SSH connection:
// one connection for listing and fetching. Version 2 is asked for by the
// GIT_PROTOCOL variable; a server that doesn't let it through speaks version 0.
type sshSession struct {
	r      *Repository
	config *ssh.ClientConfig
	addr   string

	conn   net.Conn
	client *ssh.Client
	shell  *ssh.Session
	in     io.WriteCloser
	out    *pktReader
	said   *tail // what the server writes to stderr
	advert *advert
}

func (r *Repository) dialSSH() (session, error) {
	s := &sshSession{r: r}
	host, port := r.remote.url.Hostname(), r.remote.url.Port()
	if port == "" {
		port = "22"
	}
	s.addr = net.JoinHostPort(host, port)
	user, password := r.remote.user, r.remote.password
	if user == "" {
		user = "git"
	}
	var auth []ssh.AuthMethod
	signers, err := r.sshKeys()
	if err != nil {
		return nil, err
	}
	if len(signers) > 0 {
		auth = append(auth, ssh.PublicKeys(signers...))
	}
	if password != "" {
		auth = append(auth, ssh.Password(password))
	}
	if auth == nil {
		return nil, blocked("%s is reached by SSH and there is no key; set REPOSITORY_SSH_KEY_FILE", r.remote.display)
	}
	known, err := r.knownHosts()
	if err != nil {
		return nil, err
	}
	s.config = &ssh.ClientConfig{
		User: user, Auth: auth,
		HostKeyCallback:   known.HostKeyCallback(),
		HostKeyAlgorithms: known.HostKeyAlgorithms(s.addr),
		ClientVersion:     "SSH-2.0-gitops-compose",
	}
	return s, nil
}

// sshKeys reads the key anew each time: the file may rotate.
func (r *Repository) sshKeys() ([]ssh.Signer, error) {
	if r.opt.SSHKeyFile != "" {
		signer, err := r.sshKey(r.opt.SSHKeyFile)
		if err != nil {
			return nil, err
		}
		return []ssh.Signer{signer}, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, nil
	}
	var out []ssh.Signer
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		path := filepath.Join(home, ".ssh", name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if signer, err := r.sshKey(path); err == nil {
			out = append(out, signer)
		}
	}
	return out, nil
}

func (r *Repository) sshKey(path string) (ssh.Signer, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, blockedBy(err, "the SSH key can't be read")
	}
	signer, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		passphrase := ""
		if r.opt.SSHPassphrase != nil {
			if passphrase, err = r.opt.SSHPassphrase(); err != nil {
				return nil, blockedBy(err, "the passphrase of the SSH key can't be read")
			}
		}
		if passphrase == "" {
			return nil, blocked("the SSH key %s has a passphrase; set REPOSITORY_SSH_KEY_PASSPHRASE", path)
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(passphrase))
		if err != nil {
			return nil, blocked("the SSH key %s can't be decrypted: the passphrase is wrong", path)
		}
	}
	if err != nil {
		// The library's text is about the format, never the content.
		return nil, blockedBy(err, "the SSH key %s is not a private key", path)
	}
	return signer, nil
}

func (r *Repository) knownHosts() (*knownhosts.HostKeyDB, error) {
	var files []string
	if r.opt.SSHKnownHostsFile != "" {
		files = []string{r.opt.SSHKnownHostsFile}
	} else {
		candidates := []string{"/etc/ssh/ssh_known_hosts"}
		if home, err := os.UserHomeDir(); err == nil {
			candidates = append(candidates, filepath.Join(home, ".ssh", "known_hosts"))
		}
		for _, f := range candidates {
			if _, err := os.Stat(f); !errors.Is(err, fs.ErrNotExist) {
				files = append(files, f)
			}
		}
	}
	if files == nil {
		return nil, blocked("%s is reached by SSH and its host key must be known; set REPOSITORY_SSH_KNOWN_HOSTS_FILE", r.remote.display)
	}
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return nil, blockedBy(err, "the known hosts can't be read")
	}
	return db, nil
}

func (s *sshSession) connect(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", s.r.remote.display, err)
	}
	s.conn = conn
	// Nothing in the SSH library takes a context: a closed connection ends it all.
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, chans, reqs, err := ssh.NewClientConn(conn, s.addr, s.config)
	if err != nil {
		return s.sshError(err)
	}
	s.client = ssh.NewClient(c, chans, reqs)
	session, err := s.client.NewSession()
	if err != nil {
		return fmt.Errorf("connect to %s: %w", s.r.remote.display, err)
	}
	if s.in, err = session.StdinPipe(); err != nil {
		return err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return err
	}
	s.said = &tail{}
	session.Stderr = s.said
	_ = session.Setenv("GIT_PROTOCOL", "version=2") // most servers allow just this one
	path := s.r.remote.url.Path
	if strings.HasPrefix(path, "/~") {
		path = path[1:]
	}
	if err := session.Start("git-upload-pack '" + strings.ReplaceAll(path, "'", `'\''`) + "'"); err != nil {
		return fmt.Errorf("connect to %s: %w", s.r.remote.display, err)
	}
	s.out, s.shell = newPktReader(out), session
	return nil
}

func (s *sshSession) sshError(err error) error {
	var key *xknownhosts.KeyError
	where := s.r.remote.display
	switch {
	case errors.As(err, &key) && len(key.Want) > 0:
		return blocked("the host key of %s is not the one in the known hosts: someone may be in between, or the server has a new key; if so, put it into the known hosts file", where)
	case errors.As(err, &key):
		return blocked("the host key of %s is not known; add it to the known hosts file", where)
	case strings.Contains(err.Error(), "no common algorithm for host key"):
		return blockedBy(err, "%s has no host key of the kind in the known hosts", where)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return blocked("%s refuses the SSH key of user %s", where, s.config.User)
	}
	return fmt.Errorf("connect to %s: %w", where, err)
}

func (s *sshSession) head(ctx context.Context) (plumbing.Hash, error) {
	if err := s.connect(ctx); err != nil {
		return plumbing.ZeroHash, err
	}
	ref := s.r.branchRef()
	var err error
	if s.advert, err = readAdvert(s.out, ref); err != nil {
		return plumbing.ZeroHash, s.explain(err)
	}
	if !s.advert.v2 {
		return s.advert.head, nil
	}
	if _, err := s.in.Write(lsRefs(ref)); err != nil {
		return plumbing.ZeroHash, s.explain(err)
	}
	h, err := readRefs(s.out, ref)
	return h, s.explain(err)
}

func (s *sshSession) fetch(_ context.Context, want plumbing.Hash, haves []plumbing.Hash, store func(io.Reader) error) error {
	request := fetchV2(want, haves)
	if !s.advert.v2 {
		var err error
		if request, err = fetchV0(s.advert, want, haves); err != nil {
			return err
		}
	}
	if _, err := s.in.Write(request); err != nil {
		return s.explain(err)
	}
	pack, err := openPack(s.out, s.advert.v2)
	if err != nil {
		return s.explain(err)
	}
	return store(pack)
}

// explain adds what the server said on stderr: the reason is only there.
func (s *sshSession) explain(err error) error {
	var re *remoteError
	if err == nil {
		return nil
	}
	// The reason may come after the end of the output.
	ended := make(chan struct{})
	go func() {
		_ = s.shell.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Second):
	}
	text := s.said.String()
	if errors.As(err, &re) {
		text += re.text
	}
	for _, gone := range []string{"not found", "does not exist", "does not appear to be a git repository", "could not be found", "access denied", "Permission denied"} {
		if strings.Contains(text, gone) {
			return blocked("there is no repository at %s, or the key may not see it: %s", s.r.remote.display, (&remoteError{text}).Error())
		}
	}
	if text != "" && re == nil {
		return fmt.Errorf("%w; %w", err, &remoteError{text})
	}
	return err
}

func (s *sshSession) close() {
	if s.in != nil {
		_, _ = s.in.Write([]byte("0000")) // the polite end
	}
	if s.client != nil {
		_ = s.client.Close()
	}
	if s.conn != nil {
		_ = s.conn.Close()
	}
}
