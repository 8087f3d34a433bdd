package repo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// httpSession talks to a smart HTTP server (gitprotocol-http).
type httpSession struct {
	r        *Repository
	client   *http.Client
	base     *url.URL // where redirects have led
	user     string
	password string
	advert   *advert
}

// httpMemory is what one fetch leaves for the next: a server known to speak
// version 2 is asked straight away, without its greeting first.
type httpMemory struct {
	base      *url.URL
	transport *http.Transport
	caStamp   stamp
}

func (r *Repository) dialHTTP() (session, error) {
	user, password, err := r.credentials()
	if err != nil {
		return nil, err
	}
	t, err := r.transport()
	if err != nil {
		return nil, err
	}
	s := &httpSession{r: r, base: r.remote.url, user: user, password: password}
	s.client = &http.Client{Transport: t, CheckRedirect: s.redirect}
	return s, nil
}

// transport is made once, and again when the CA file has changed.
func (r *Repository) transport() (*http.Transport, error) {
	var now stamp
	if r.opt.CAFile != "" {
		s, err := statFile(r.opt.CAFile)
		if err != nil {
			return nil, blockedBy(err, "the CA file can't be read")
		}
		now = s
	}
	if r.http.transport != nil && r.http.caStamp == now {
		return r.http.transport, nil
	}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // packs are compressed, and the rest is small
		MaxIdleConns:        1,
		IdleConnTimeout:     30 * time.Second,
		TLSHandshakeTimeout: min(30*time.Second, r.opt.Timeout),
	}
	if r.opt.CAFile != "" {
		pool, err := caPool(r.opt.CAFile)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	r.http.transport, r.http.caStamp = t, now
	return t, nil
}

func caPool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, blockedBy(err, "the CA file can't be read")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, blocked("the CA file %s holds no certificate in PEM form", path)
	}
	return pool, nil
}

func (s *httpSession) close() { s.client.CloseIdleConnections() }

// redirect allows what git allows: the first request may be sent elsewhere,
// never from https to http, and credentials stay with the host they are for.
func (s *httpSession) redirect(req *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet {
		return http.ErrUseLastResponse
	}
	if len(via) >= 5 {
		return errors.New("too many redirects")
	}
	if req.URL.Scheme != "https" && req.URL.Scheme != "http" {
		return fmt.Errorf("redirect to %s:// is not followed", req.URL.Scheme)
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme == "http" {
		return errors.New("redirect from https to http is not followed")
	}
	req.Header.Del("Authorization")
	req.Header.Del("Referer")
	req.URL.User = nil
	for _, hop := range append(via[1:], req) {
		if !sameHost(s.r.remote.url, hop.URL) {
			return nil
		}
	}
	s.authorize(req)
	return nil
}

// sameHost tells whether credentials for a may go to b: the same scheme, host
// and port, or the same host with its own https instead of http.
func sameHost(a, b *url.URL) bool {
	if !strings.EqualFold(a.Hostname(), b.Hostname()) {
		return false
	}
	if a.Scheme == b.Scheme {
		return portOf(a) == portOf(b)
	}
	return a.Scheme == "http" && b.Scheme == "https" && portOf(a) == "80" && portOf(b) == "443"
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

func (s *httpSession) authorize(req *http.Request) {
	if s.user != "" && sameHost(s.r.remote.url, req.URL) {
		req.SetBasicAuth(s.user, s.password)
	}
}

func (s *httpSession) head(ctx context.Context) (plumbing.Hash, error) {
	ref := s.r.branchRef()
	if base := s.r.http.base; base != nil {
		s.base, s.advert = base, &advert{v2: true}
		h, err := s.list(ctx, ref)
		if err == nil {
			return h, nil
		}
		// A moved repository or another server: its greeting will tell what is the
		// matter.
		s.r.http.base, s.base = nil, s.r.remote.url
		if ctx.Err() != nil {
			return h, err
		}
	}
	if err := s.greet(ctx, ref); err != nil {
		return plumbing.ZeroHash, err
	}
	if !s.advert.v2 {
		return s.advert.head, nil
	}
	h, err := s.list(ctx, ref)
	if err == nil {
		s.r.http.base = s.base
	}
	return h, err
}

// greet reads the server's greeting and follows its redirects.
func (s *httpSession) greet(ctx context.Context, ref string) error {
	u := *s.base
	u.Path = strings.TrimRight(u.Path, "/") + "/info/refs"
	u.RawPath = ""
	q := u.Query()
	q.Set("service", "git-upload-pack")
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return errors.New("the remote's address is not a valid URL")
	}
	res, err := s.do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	const suffix = "/info/refs"
	final := *res.Request.URL
	if !strings.HasSuffix(final.Path, suffix) {
		return fmt.Errorf("%s redirects to a page that is not a git repository", s.r.remote.display)
	}
	final.Path, final.RawPath = strings.TrimSuffix(final.Path, suffix), ""
	final.RawQuery = s.base.RawQuery
	s.base = &final
	if t := res.Header.Get("Content-Type"); t != "application/x-git-upload-pack-advertisement" {
		return fmt.Errorf("%s: %w: it answers with %q", s.r.remote.display, errProtocol, firstBytes(t, 80))
	}
	s.advert, err = readAdvert(newPktReader(res.Body), ref)
	return err
}

func (s *httpSession) list(ctx context.Context, ref string) (plumbing.Hash, error) {
	res, err := s.post(ctx, lsRefs(ref))
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer res.Body.Close()
	return readRefs(newPktReader(res.Body), ref)
}

func (s *httpSession) fetch(ctx context.Context, want plumbing.Hash, haves []plumbing.Hash, store func(io.Reader) error) error {
	body := fetchV2(want, haves)
	if !s.advert.v2 {
		var err error
		if body, err = fetchV0(s.advert, want, haves); err != nil {
			return err
		}
	}
	res, err := s.post(ctx, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	pack, err := openPack(newPktReader(res.Body), s.advert.v2)
	if err != nil {
		return err
	}
	return store(pack)
}

func (s *httpSession) post(ctx context.Context, body []byte) (*http.Response, error) {
	u := *s.base
	u.Path = strings.TrimRight(u.Path, "/") + "/git-upload-pack"
	u.RawPath = ""
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the remote's address is not a valid URL")
	}
	req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	req.Header.Set("Accept", "application/x-git-upload-pack-result")
	res, err := s.do(req)
	if err != nil {
		return nil, err
	}
	if t := res.Header.Get("Content-Type"); t != "application/x-git-upload-pack-result" {
		res.Body.Close()
		return nil, fmt.Errorf("%s: %w: it answers with %q", s.r.remote.display, errProtocol, firstBytes(t, 80))
	}
	return res, nil
}

// do sends a request and turns what can go wrong into words that help.
func (s *httpSession) do(req *http.Request) (*http.Response, error) {
	// Servers tell git clients from browsers by this prefix.
	req.Header.Set("User-Agent", "git/2.0 (gitops-compose)")
	if s.advert == nil || s.advert.v2 {
		req.Header.Set("Git-Protocol", "version=2")
	}
	s.authorize(req)
	res, err := s.client.Do(req)
	if err != nil {
		return nil, s.networkError(err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	where := s.r.remote.display
	switch code := res.StatusCode; {
	case code == http.StatusUnauthorized && s.user == "":
		return nil, blocked("%s asks for credentials; set REPOSITORY_USERNAME and REPOSITORY_PASSWORD", where)
	case code == http.StatusUnauthorized && !sameHost(s.r.remote.url, res.Request.URL):
		return nil, blocked("%s redirects to %s, which asks for credentials, and they are not sent to another host; change the clone's origin to the new address",
			where, res.Request.URL.Host)
	case code == http.StatusUnauthorized:
		return nil, blocked("%s refuses the credentials (401)", where)
	case code == http.StatusForbidden:
		return nil, blocked("%s denies access to the repository (403); check what the user or token may do", where)
	case code == http.StatusNotFound || code == http.StatusGone:
		return nil, blocked("there is no repository at %s, or the credentials may not see it (%d)", where, code)
	case code == http.StatusProxyAuthRequired:
		return nil, blocked("the proxy asks for credentials (407)")
	default:
		return nil, fmt.Errorf("%s answers with status %d", where, code)
	}
}

func (s *httpSession) networkError(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // its text repeats the address
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch where := s.r.remote.display; {
	case errors.As(err, &unknown):
		return blockedBy(err, "the certificate of %s is not from a known authority; set REPOSITORY_CA_FILE", where)
	case errors.As(err, &host), errors.As(err, &invalid):
		return blockedBy(err, "the certificate of %s is not valid", where)
	default:
		return fmt.Errorf("connect to %s: %w", where, err)
	}
}
