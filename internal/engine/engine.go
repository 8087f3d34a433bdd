// Package engine is the only place that talks to the container engine: it
// observes what runs, pulls and builds images, brings projects up through the
// compose SDK, and takes them down by their labels. It decides nothing.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
)

// OldestAPI is the API of engine 20.10, the oldest that the daemon is tested
// against.
const OldestAPI = "1.41"

// Options of an Engine.
type Options struct {
	// Repository identifies the repository in labels, see render.Options.
	Repository string
	// HostRoot is the clone as the engine sees it; empty if not known.
	HostRoot string
	// Secrets is the folder for files in clear that containers mount, as this process
	// sees it, and HostSecrets as the engine does. Both are empty if there is none.
	Secrets, HostSecrets string
	// Self is the id of the container that the daemon runs in, if it does.
	Self string
	// Registries are logins on top of those in Docker's config.json.
	Registries []Registry
	// Progress is told how far a pull is, at most once a second, and when it
	// has ended. It returns at once. nil if nobody wants to know.
	Progress func(Progress)
	Logger   *slog.Logger
}

// Registry is a login for one registry.
type Registry struct {
	// Host as in image references: "registry.example.com:5000", "docker.io".
	Host     string
	Username string
	// Password is asked for at each pull, so that it can be rotated.
	Password func() (string, error)
}

// Engine acts on one engine. All methods may be called at the same time, for
// different stacks.
type Engine struct {
	o     Options
	api   client.APIClient
	sight *sight
	pulls pulls
	clear clearFiles

	watchers watchers
}

// Connect makes a client from Docker's own environment variables and sees
// that an engine answers that is new enough. Its errors say what to do.
func Connect(ctx context.Context) (client.APIClient, error) {
	if err := refuseHost(os.Getenv("DOCKER_HOST")); err != nil {
		return nil, err
	}
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("the engine's address can't be used (DOCKER_HOST=%s): %w", withoutPassword(os.Getenv("DOCKER_HOST")), err)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ping, err := c.Ping(ctx)
	if err != nil {
		return nil, errors.Join(unreachable(ctx, c.DaemonHost(), err), c.Close())
	}
	if versions.LessThan(ping.APIVersion, OldestAPI) {
		return nil, errors.Join(fmt.Errorf("the engine at %s speaks API %s, and at least %s is needed: update it to 20.10 or newer", c.DaemonHost(), ping.APIVersion, OldestAPI), c.Close())
	}
	version, err := c.ServerVersion(ctx)
	if err != nil {
		return nil, errors.Join(unreachable(ctx, c.DaemonHost(), err), c.Close())
	}
	info, err := c.Info(ctx)
	if err != nil {
		return nil, errors.Join(unreachable(ctx, c.DaemonHost(), err), c.Close())
	}
	return steady{APIClient: c, version: version, info: info}, nil
}

// New makes an Engine on a client that Connect made. What the SDK logs by itself
// goes to the logger from then on.
func New(api client.APIClient, o Options) *Engine {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	takeLogs(o.Logger)
	s := &sight{}
	e := &Engine{o: o, api: noting{naming{api}, s}, sight: s}
	s.read = e.read
	e.clear.folder, e.clear.host = o.Secrets, o.HostSecrets
	return e
}

// Ping says whether the engine answers.
func (e *Engine) Ping(ctx context.Context) error {
	if _, err := e.api.Ping(ctx); err != nil {
		return unreachable(ctx, e.api.DaemonHost(), err)
	}
	return nil
}

// steady answers the calls whose first failure the SDK would remember for the
// life of the process with what the engine said at the start, when it does not
// answer now.
type steady struct {
	client.APIClient
	version types.Version
	info    system.Info
}

func (s steady) ServerVersion(ctx context.Context) (types.Version, error) {
	v, err := s.APIClient.ServerVersion(ctx)
	if err != nil {
		return s.version, nil
	}
	return v, nil
}

func (s steady) Info(ctx context.Context) (system.Info, error) {
	i, err := s.APIClient.Info(ctx)
	if err != nil {
		return s.info, nil
	}
	return i, nil
}

// unreachable says why the engine can't be reached and what to do.
func unreachable(ctx context.Context, host string, err error) error {
	socket, isSocket := strings.CutPrefix(host, "unix://")
	if !isSocket {
		return fmt.Errorf("no engine answers at %s: %w; check DOCKER_HOST", withoutPassword(host), err)
	}
	// The client's own errors have lost the cause.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	conn, dialErr := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	switch {
	case dialErr == nil:
		_ = conn.Close()
		return fmt.Errorf("the engine at %s does not answer as it should: %w", socket, err)
	case errors.Is(dialErr, fs.ErrNotExist):
		return fmt.Errorf("there is no engine socket at %s: start the engine, and mount the socket into the daemon's container (-v /var/run/docker.sock:/var/run/docker.sock)", socket)
	case errors.Is(dialErr, fs.ErrPermission):
		return fmt.Errorf("user %d may not use the engine's socket %s: add the socket's group to the daemon's (group_add: in its compose file, see stat -c %%g %s)", os.Getuid(), socket, socket)
	case errors.Is(dialErr, syscall.ECONNREFUSED):
		return fmt.Errorf("no engine listens at %s: start it (systemctl start docker)", socket)
	default:
		return fmt.Errorf("the engine at %s can't be reached: %w", socket, dialErr)
	}
}

// refuseHost refuses an address that the client would not use as it is meant:
// it ignores a password, and shows it in its errors.
func refuseHost(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil // the client says it better
	case u.Scheme == "ssh":
		return errors.New("DOCKER_HOST is an ssh:// address, which is not supported: forward the engine's socket (ssh -L), or use tcp:// with TLS")
	case u.User != nil:
		return fmt.Errorf("DOCKER_HOST=%s has a user or a password in it, which Docker does not use: take them out", withoutPassword(address))
	default:
		return nil
	}
}

// withoutPassword takes user and password out of an address.
func withoutPassword(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	u.User = nil
	return u.String()
}

// inClone gives a host path relative to the clone, with slashes.
func (e *Engine) inClone(hostPath string) (string, bool) {
	if e.o.HostRoot == "" || hostPath == "" {
		return "", false
	}
	rel, err := filepath.Rel(e.o.HostRoot, hostPath)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", false
	}
	return filepath.ToSlash(rel), true
}
