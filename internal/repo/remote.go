package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

type remoteKind int

const (
	remoteHTTP remoteKind = iota
	remoteSSH
	remoteFile
)

// remote is where the repository comes from.
type remote struct {
	kind     remoteKind
	url      *url.URL // without credentials; for ssh the path is as the server wants it
	user     string
	password string
	display  string // for people and labels: no credentials, no query
}

// scpLike is git's short form of an ssh address: [user@]host:path, where host
// may be an IPv6 address in brackets.
var scpLike = regexp.MustCompile(`^(?:([^@/:\s]+)@)?(\[[^\]]+\]|[^:/\s]+):(.+)$`)

// parseRemote reads an address as git does; relative paths are taken from dir.
// Its errors don't repeat the address, which may hold a password.
func parseRemote(raw, dir string) (*remote, error) {
	raw = strings.TrimSpace(raw)
	switch scheme, _, ok := strings.Cut(raw, "://"); {
	case raw == "":
		return nil, errors.New("the remote's address is empty")
	case ok && strings.EqualFold(scheme, "file"):
		return fileRemote(raw[len("file://"):]), nil
	case ok:
		return parseRemoteURL(raw)
	}
	if m := scpLike.FindStringSubmatch(raw); m != nil {
		u := &url.URL{Scheme: "ssh", Host: strings.ToLower(m[2]), Path: m[3]}
		r := &remote{kind: remoteSSH, url: u, user: m[1]}
		r.display = "ssh://" + u.Host + tidyPath(m[3])
		return r, nil
	}
	if !filepath.IsAbs(raw) {
		raw = filepath.Join(dir, raw)
	}
	return fileRemote(raw), nil
}

func fileRemote(path string) *remote {
	path = filepath.Clean(path)
	return &remote{kind: remoteFile, url: &url.URL{Scheme: "file", Path: path}, display: "file://" + tidyPath(path)}
}

func parseRemoteURL(raw string) (*remote, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("the remote's address is not a valid URL")
	}
	if u.Host == "" {
		return nil, errors.New("the remote's address has no host")
	}
	r := &remote{url: u}
	if u.User != nil {
		r.user = u.User.Username()
		r.password, _ = u.User.Password()
	}
	u.User = nil
	u.Fragment = ""
	u.Scheme = strings.ToLower(u.Scheme)
	u.Host = strings.ToLower(u.Host)
	port := map[string]string{"http": "80", "https": "443", "ssh": "22"}
	switch u.Scheme {
	case "http", "https":
		r.kind = remoteHTTP
	case "ssh", "git+ssh", "ssh+git":
		r.kind, u.Scheme = remoteSSH, "ssh"
	default:
		return nil, fmt.Errorf("remotes by %s:// are not supported; use https, http, ssh, file or a path", u.Scheme)
	}
	if host, p, err := net.SplitHostPort(u.Host); err == nil && p == port[u.Scheme] {
		u.Host = host
		if strings.Contains(host, ":") {
			u.Host = "[" + host + "]"
		}
	}
	r.display = u.Scheme + "://" + u.Host + tidyPath(u.Path)
	return r, nil
}

// tidyPath makes one form of what git treats as the same repository.
func tidyPath(p string) string {
	p = strings.TrimSuffix(strings.TrimRight(p, "/"), ".git")
	return "/" + strings.Trim(p, "/")
}

// session is one conversation with a remote.
type session interface {
	// head returns the branch's commit, zero if the remote has no such branch.
	head(ctx context.Context) (plumbing.Hash, error)
	// fetch passes the pack with want, and what it needs beyond haves, to store.
	fetch(ctx context.Context, want plumbing.Hash, haves []plumbing.Hash, store func(io.Reader) error) error
	close()
}

func (r *Repository) dial() (session, error) {
	switch r.remote.kind {
	case remoteHTTP:
		return r.dialHTTP()
	case remoteSSH:
		return r.dialSSH()
	default:
		return r.dialFile()
	}
}

// credentials asks for user and password anew at each operation, because the
// files that hold them rotate. What is in the address counts if nothing else is
// given.
func (r *Repository) credentials() (user, password string, err error) {
	if r.opt.Credentials != nil {
		user, password, err = r.opt.Credentials()
		if err != nil {
			return "", "", blockedBy(err, "the credentials for %s can't be read", r.remote.display)
		}
	}
	if user == "" && password == "" {
		user, password = r.remote.user, r.remote.password
	}
	if user == "" && password != "" {
		user = "git" // servers that take a token want some name
	}
	return user, password, nil
}

// watch ends an operation that takes too long. Until the pack begins the limit
// is the whole time; after that a big pack may take as long as it needs, but
// each part of the limit has to bring something.
type watch struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	limit   time.Duration
	timer   *time.Timer
	count   atomic.Int64
	reading atomic.Bool
}

const (
	slowestRate   = 1000 // bytes a second
	longestWindow = 30 * time.Second
	longestFetch  = 30 // times the limit
)

func newWatch(ctx context.Context, limit time.Duration) *watch {
	w := &watch{limit: limit}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(limit, func() {
		w.cancel(fmt.Errorf("the remote gave no answer within %s", limit))
	})
	return w
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// cause replaces the error of a cut-off operation by the reason for it.
func (w *watch) cause(err error) error {
	if err == nil || w.ctx.Err() == nil {
		return err
	}
	if c := context.Cause(w.ctx); c != nil && !errors.Is(c, context.Canceled) {
		return c
	}
	return err
}

// pace goes over from the fixed limit to a lowest rate.
func (w *watch) pace(r io.Reader) io.Reader {
	w.timer.Stop()
	window := min(w.limit/4, longestWindow)
	need := int64(window.Seconds() * slowestRate)
	end := time.Now().Add(longestFetch * w.limit)
	go func() {
		tick := time.NewTicker(window)
		defer tick.Stop()
		last := int64(0)
		for {
			select {
			case <-w.ctx.Done():
				return
			case now := <-tick.C:
				n := w.count.Load()
				// Only the remote's slowness counts, not that of the disk here.
				if w.reading.Load() && n-last < max(need, 1) {
					w.cancel(fmt.Errorf("the remote is too slow: %d bytes in %s", n-last, window))
					return
				}
				if now.After(end) {
					w.cancel(fmt.Errorf("the fetch did not end within %s", longestFetch*w.limit))
					return
				}
				last = n
			}
		}
	}()
	return &pacedReader{w, r}
}

type pacedReader struct {
	w *watch
	r io.Reader
}

func (p *pacedReader) Read(b []byte) (int, error) {
	if err := context.Cause(p.w.ctx); err != nil {
		return 0, err
	}
	p.w.reading.Store(true)
	n, err := p.r.Read(b)
	p.w.reading.Store(false)
	p.w.count.Add(int64(n))
	return n, p.w.cause(err)
}

// redact is the last line of defence: whatever a library or a server has put
// into an error, the secrets that were used don't leave with it.
func redact(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	clean := text
	for _, s := range secrets {
		if len(s) < 3 {
			continue
		}
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s), url.UserPassword("", s).String()[1:]} {
			clean = strings.ReplaceAll(clean, form, "***")
		}
	}
	if clean == text {
		return err
	}
	if IsBlocked(err) {
		return &BlockedError{Reason: clean}
	}
	return errors.New(clean)
}
