package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/log"
	"github.com/distribution/reference"
	"github.com/sirupsen/logrus"
)

// headTimeout bounds a question that we put to a registry ourselves.
const headTimeout = 10 * time.Second

// errNotFromHere says that a registry is to be asked by the engine: it knows
// more of that registry than we do.
var errNotFromHere = errors.New("only the engine can ask this registry as it is meant to be asked")

// head asks a registry for the digest of an image without getting its manifest,
// which registries that limit pulls count as one. The engine can't be had to do
// that. final says that the registry has spoken, and that it is of no use to
// have the engine ask as well: it was reached, and a wrong login should not be
// tried twice.
func (e *Engine) head(ctx context.Context, ref string) (digest string, final bool, err error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", true, err
	}
	host := reference.Domain(named)
	if err := e.askedFromHere(ctx, host); err != nil {
		return "", false, err
	}
	login, err := e.loginFor(host)
	if err != nil {
		return "", true, err
	}
	if login.RegistryToken != "" {
		return "", false, errNotFromHere
	}
	if login.IdentityToken != "" {
		login.Username, login.Password = "", login.IdentityToken
	}
	at := host
	if host == "docker.io" {
		at = "registry-1.docker.io"
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: headTimeout}
	defer transport.CloseIdleConnections()
	w := &witness{base: transport}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(
		docker.WithClient(&http.Client{Transport: w, CheckRedirect: withoutLogin}),
		docker.WithPlainHTTP(func(host string) (bool, error) { return loopback(host), nil }),
		docker.WithAuthorizer(docker.NewDockerAuthorizer(
			docker.WithAuthClient(&http.Client{Transport: w, CheckRedirect: sameHost}),
			docker.WithAuthCreds(func(host string) (string, string, error) {
				if host != at { // it sends us elsewhere
					return "", "", nil
				}
				return login.Username, login.Password, nil
			}),
		)),
	)})
	ctx, cancel := context.WithTimeoutCause(ctx, headTimeout, fmt.Errorf("no answer within %s", headTimeout))
	defer cancel()
	_, manifest, err := resolver.Resolve(quiet(ctx), reference.TagNameOnly(named).String())
	if err == nil {
		return manifest.Digest.String(), true, nil
	}
	err = withoutSecret(causeOr(ctx, err), login.Password)
	if w.after > 0 {
		err = limited{err, w.after}
	}
	switch w.last {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusTooManyRequests:
		return "", true, err
	}
	return "", false, err
}

// askedFromHere says whether a registry's name means to us what it means to the
// engine.
func (e *Engine) askedFromHere(ctx context.Context, host string) error {
	switch {
	case loopback(host):
		if e.o.Self != "" || !strings.HasPrefix(e.api.DaemonHost(), "unix://") {
			return errNotFromHere // it is the loopback of another
		}
	case host == "docker.io":
		info, err := e.api.Info(ctx)
		if err != nil {
			return err
		}
		if info.RegistryConfig != nil && len(info.RegistryConfig.Mirrors) > 0 {
			return errNotFromHere // pulls get what the mirror has
		}
	}
	return nil
}

// loopback says whether the engine speaks plain HTTP with a registry by itself.
func loopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// witness sees what is asked and answered while a registry is asked. It ends
// what the resolver would try again at once: a login that was refused, and a
// registry that wants to be left alone.
type witness struct {
	base  http.RoundTripper
	last  int           // status of the last answer; 0 if none came
	after time.Duration // how long a registry wants to be left alone
}

// RoundTrip implements http.RoundTripper.
func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	w.last = 0
	if r.URL.Scheme != "https" && !loopback(r.URL.Host) {
		return nil, fmt.Errorf("refused to ask %s without TLS", r.URL.Host)
	}
	resp, err := w.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	w.last = resp.StatusCode
	refused := resp.StatusCode == http.StatusUnauthorized && r.Header.Get("Authorization") != ""
	busy := resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable
	if busy {
		w.after = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	if refused || resp.StatusCode == http.StatusTooManyRequests || w.after > 0 {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("registry %s answers %s", r.URL.Host, resp.Status)
	}
	return resp, nil
}

// withoutLogin follows to another server, which gets no login. Go would send it
// to another port, too.
func withoutLogin(r *http.Request, via []*http.Request) error {
	if len(via) > 3 {
		return http.ErrUseLastResponse
	}
	if r.URL.Host != via[0].URL.Host {
		r.Header.Del("Authorization")
	}
	return nil
}

// sameHost keeps what a token server is told from going elsewhere.
func sameHost(r *http.Request, via []*http.Request) error {
	if first := via[0].URL; len(via) > 3 || r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

// quiet keeps the resolver from logging by itself: its errors are returned.
func quiet(ctx context.Context) context.Context {
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	return log.WithLogger(ctx, logrus.NewEntry(silent))
}
