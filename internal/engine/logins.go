package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	clitypes "github.com/docker/cli/cli/config/types"
	helpers "github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
	"github.com/docker/docker/api/types/registry"
	"golang.org/x/sync/errgroup"
)

const (
	// loginTimeout bounds the check of one login, the helper's time included.
	loginTimeout = 10 * time.Second
	// loginsAtOnce is how many are checked at the same time.
	loginsAtOnce = 4
	// hubKey is the name that Docker Hub's login has in config.json.
	hubKey = "https://index.docker.io/v1/"
)

// login is one to be checked, by the key that pulls find it with.
type login struct {
	key string
	get func(context.Context) (clitypes.AuthConfig, error)
	// ours says that the daemon's own configuration has it, which is for a
	// registry that is needed. A config.json may have others.
	ours bool
}

// CheckLogins tries the logins of the daemon's configuration and those in
// Docker's config.json, each at its own registry, and warns of those that a
// registry does not take. It is no reason not to start: stacks that need none
// of them are not concerned. It returns in bounded time.
func (e *Engine) CheckLogins(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(loginsAtOnce)
	for _, l := range e.logins() {
		g.Go(func() error {
			e.checkLogin(ctx, l)
			return nil
		})
	}
	_ = g.Wait() // of no error
}

// logins lists what there is to check: one for each registry, the one that a
// pull would take. A store that has the logins of all registries is not asked,
// as it may have more than this daemon should look at.
func (e *Engine) logins() []login {
	var all []login
	known := map[string]bool{}
	add := func(l login) {
		if !known[l.key] {
			known[l.key] = true
			all = append(all, l)
		}
	}
	for _, r := range e.o.Registries {
		add(login{key: registryKey(r.Host), ours: true, get: func(context.Context) (clitypes.AuthConfig, error) {
			password, err := r.Password()
			return clitypes.AuthConfig{Username: r.Username, Password: password}, err
		}})
	}
	file, err := config.Load(config.Dir())
	if err != nil {
		e.o.Logger.Warn("config.json can't be read: no image can be pulled", "err", err)
		return all
	}
	for key, helper := range file.CredentialHelpers {
		if helper != "" && key == registryKey(key) { // pulls look for no other form
			add(login{key: key, get: func(ctx context.Context) (clitypes.AuthConfig, error) { return askHelper(ctx, helper, key) }})
		}
	}
	if file.CredentialsStore != "" {
		e.checkStore(file)
		return all
	}
	for name := range file.AuthConfigs {
		key := registryKey(name)
		if known[key] {
			continue
		}
		if auth, err := file.GetAuthConfig(key); err == nil && (auth.Password != "" || auth.IdentityToken != "") {
			add(login{key: key, get: func(context.Context) (clitypes.AuthConfig, error) { return auth, nil }})
		}
	}
	return all
}

// checkStore warns of a store of all logins that is not there.
func (e *Engine) checkStore(file *configfile.ConfigFile) {
	if _, err := exec.LookPath(helperName(file.CredentialsStore)); err != nil {
		e.o.Logger.Warn("credential store of config.json is not installed here: images can be pulled of registries with a login of their own only", "cause", helperName(file.CredentialsStore))
	}
}

func (e *Engine) checkLogin(ctx context.Context, l login) {
	limited, cancel := context.WithTimeoutCause(ctx, loginTimeout, fmt.Errorf("no answer within %s", loginTimeout))
	defer cancel()
	name := l.key
	if name == hubKey {
		name = "docker.io"
	}
	err := e.tryLogin(limited, l)
	switch {
	case err == nil, ctx.Err() != nil:
	case credentials.IsErrCredentialsNotFound(err):
		e.o.Logger.Debug("credential helper has no login for a registry", "registry", name)
	case l.ours || refused(err):
		e.o.Logger.Warn("registry login does not work: images from there can't be pulled", "registry", name, "err", err)
	default:
		e.o.Logger.Debug("registry login could not be tried", "registry", name, "err", err)
	}
}

func (e *Engine) tryLogin(ctx context.Context, l login) error {
	auth, err := l.get(ctx)
	if err != nil {
		return causeOr(ctx, err)
	}
	_, err = e.api.RegistryLogin(ctx, registry.AuthConfig{
		Username: auth.Username, Password: auth.Password, IdentityToken: auth.IdentityToken, ServerAddress: l.key,
	})
	switch {
	case err == nil:
		return nil
	case errdefs.IsUnauthorized(err):
		err = wrongLogin{err}
	}
	return withoutSecret(withoutSecret(causeOr(ctx, err), auth.Password), auth.IdentityToken)
}

// wrongLogin is what a registry answers to a login that it does not take, or
// why there is none to be had.
type wrongLogin struct{ error }

func (w wrongLogin) Unwrap() error { return w.error }

// refused tells a login that does not work from a registry that can't be
// reached, which may be needed by nobody. Engines say it in words only when the
// registry has no token server.
func refused(err error) bool {
	var wrong wrongLogin
	return errors.As(err, &wrong) || regexp.MustCompile(`(?i)\bunauthorized\b|\bstatus: 40[13]\b`).MatchString(err.Error())
}

// askHelper gets a login from a credential helper, which is a program.
func askHelper(ctx context.Context, helper, key string) (clitypes.AuthConfig, error) {
	name := helperName(helper)
	if _, err := exec.LookPath(name); err != nil {
		return clitypes.AuthConfig{}, wrongLogin{fmt.Errorf("the credential helper %s, which config.json names for it, is not installed here", name)}
	}
	found, err := helpers.Get(func(args ...string) helpers.Program {
		cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the user names his helpers, as for docker itself
		cmd.WaitDelay = time.Second                    // what it started may hold its output open
		return program{cmd}
	}, key)
	switch {
	case credentials.IsErrCredentialsNotFound(err):
		return clitypes.AuthConfig{}, err
	case err != nil:
		return clitypes.AuthConfig{}, wrongLogin{fmt.Errorf("ask the credential helper %s: %w", name, causeOr(ctx, err))}
	case found.Username == "<token>":
		return clitypes.AuthConfig{IdentityToken: found.Secret}, nil
	}
	return clitypes.AuthConfig{Username: found.Username, Password: found.Secret}, nil
}

func helperName(helper string) string { return "docker-credential-" + helper }

// program is a credential helper that ends when its context does.
type program struct{ *exec.Cmd }

// Input implements helpers.Program.
func (p program) Input(in io.Reader) { p.Stdin = in }

// loginFor finds the login of a registry, and of no other.
func (e *Engine) loginFor(host string) (clitypes.AuthConfig, error) {
	file, err := e.configFile()
	if err != nil {
		return clitypes.AuthConfig{}, err
	}
	login, err := file.GetAuthConfig(registryKey(host))
	if err != nil {
		return clitypes.AuthConfig{}, fmt.Errorf("login of registry %s: %w", host, err)
	}
	return login, nil
}

// withoutSecret takes a password out of an error's text.
func withoutSecret(err error, secret string) error {
	text := err.Error()
	if secret == "" || !strings.Contains(text, secret) {
		return err
	}
	safe := errors.New(strings.ReplaceAll(text, secret, "***"))
	var wrong wrongLogin
	if errors.As(err, &wrong) {
		return wrongLogin{safe}
	}
	return safe
}
