package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"
)

// healthz says that the process is alive and answers. It looks at nothing else:
// a restart mends neither the engine nor the remote.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "ok\n")
}

// readyz says whether the engine is reachable and the last check succeeded.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.ready(r.Context()); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return s.o.History.Ready(ctx)
}

// Healthcheck asks a daemon on this host whether it is alive. address is what
// the daemon was told to listen on, configFile its web configuration or "".
func Healthcheck(ctx context.Context, address, configFile string) error {
	c, err := readConfig(configFile)
	if err != nil {
		return err
	}
	host, err := loopback(address)
	if err != nil {
		return err
	}
	scheme, client := "http", &http.Client{Transport: &http.Transport{
		// The name in the certificate is that of the host to others, and the
		// question goes no further than this host.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	}}
	defer client.CloseIdleConnections()
	if c.TLSConfig.IsEnabled() {
		scheme = "https"
	}
	for try := 1; ; try++ {
		// In a flood of connections the server cuts those on which nothing was asked
		// yet, and by chance this one: that it did so says that it is alive.
		err := ask(ctx, client, scheme+"://"+host+"/healthz")
		if try == healthTries || !cutOff(err) {
			return err
		}
		select {
		case <-time.After(time.Duration(try) * healthPause):
		case <-ctx.Done():
			return err
		}
	}
}

const (
	// healthTries is how often a health check asks that was cut off, healthPause the
	// first pause between.
	healthTries = 5
	healthPause = 20 * time.Millisecond
)

// cutOff says whether a connection was made and then closed without an answer.
func cutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func ask(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	var refused *net.OpError
	if errors.As(err, &refused) && refused.Op == "remote error" {
		return nil // a TLS alert: it wants a client certificate, and is alive
	}
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

// loopback is where a server that listens on address can be asked from the
// same host.
func loopback(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("HTTP_ADDRESS: %w", err)
	}
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// readConfig reads a web configuration. It has been validated at start, but is
// read again whenever it is needed, as the exporter-toolkit does.
func readConfig(path string) (toolkit.Config, error) {
	var c toolkit.Config
	if path == "" {
		return c, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("HTTP_CONFIG_FILE: %w", err)
	}
	if err := yaml.Unmarshal(content, &c); err != nil {
		return c, fmt.Errorf("HTTP_CONFIG_FILE %s: not a web configuration", path)
	}
	return c, nil
}
