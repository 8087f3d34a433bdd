// Package config turns the environment into a validated Config.
//
// The variables are declared once, as tags of the type environment; their
// names, defaults and accepted values are an interface. Load reports every
// mistake at once, so that a person mends them in one go, and no message of it
// holds a secret.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Config is the effective configuration.
type Config struct {
	// CheckInterval is the time between two checks; 0 means never.
	CheckInterval time.Duration

	RepositoryPath string
	// RepositoryURL can hold credentials: show it with RedactURL.
	RepositoryURL    string
	RepositoryBranch string
	// RepositoryUsername is a Secret because hosts take a token in its place.
	RepositoryUsername Secret
	RepositoryPassword Secret
	SSHKeyFile         string
	SSHKeyPassphrase   Secret
	SSHKnownHostsFile  string
	CAFile             string
	// FastForwardOnly stops at a rewritten branch instead of following it.
	FastForwardOnly bool
	// KeepLocalChanges lets changes by hand in the clone stay instead of stopping at
	// them.
	KeepLocalChanges bool

	// Registries have hosts that differ from each other.
	Registries []Registry

	// StackFiles are patterns in the syntax of .gitignore.
	StackFiles []string
	// StackEnv is read by StackEnvironment.
	StackEnv Secret

	// AgeKey and these files decrypt what is in the repository; AgeKey is in
	// AgeKeyFile if that is set.
	AgeKey                                               Secret
	AgeKeyFile, AgeSSHKeyFile, PGPKeyFile, PGPPassphrase string
	SecretsDir                                           string
	// SecretsPath is a folder that need not be there.
	SecretsPath string

	DisableWebhook bool
	DisableMetrics bool
	WebhookSecret  Secret
	HTTPAddress    string
	HTTPConfigFile string
	PprofAddress   string // empty for no profiles

	MaxParallelStacks int
	DeployTimeout     time.Duration
	// StartFirst is for services that are to start before their old container stops.
	StartFirst StartFirst
	SelfHeal   bool
	// Rollback takes stacks back to their last good version when a new one fails.
	Rollback   bool
	AllowEmpty bool
	// CreateExternalNetworks makes external networks that are not there.
	CreateExternalNetworks bool
	// SyncWindows says when stacks may be updated, started and stopped; empty for always.
	SyncWindows string
	// ImageMinAge is how long a watched tag has to have pointed to a new image before
	// that is taken; 0 for no time.
	ImageMinAge time.Duration
	// PruneImages removes images that an update has replaced.
	PruneImages bool

	LogLevel  slog.Level
	LogFormat string // text or json

	// Warnings are for a person, to be logged at start.
	Warnings []string
}

// Load reads the configuration from an environment in the form of os.Environ.
// Its error names every mistake, each with the variable, the value (unless it
// is a secret) and what is accepted.
func Load(environ []string) (Config, error) {
	l := loader{environ: env.ToMap(environ), secrets: map[string]Secret{}}
	raw := l.parse()
	l.files()
	l.stackEnv()
	c := l.config(raw)
	l.relate(c)
	c.Registries = l.registries(raw)
	c.Warnings = append(typos(l.environ), warnings(c)...)
	if len(l.mistakes) > 0 {
		return Config{}, mistakes(l.mistakes)
	}
	return c, nil
}

// HTTP reads where the daemon's HTTP server listens, and its web configuration:
// all that it takes to ask a running daemon something. Mistakes elsewhere, like
// the file of a secret that can't be read for a moment, are not looked for: a
// daemon that lives with them is alive.
func HTTP(environ []string) (address, configFile string, err error) {
	all, some := env.ToMap(environ), map[string]string{}
	for _, name := range []string{"HTTP_ADDRESS", "HTTP_CONFIG_FILE"} {
		some[name] = all[name]
	}
	l := loader{environ: some}
	raw := l.parse()
	if len(l.mistakes) > 0 {
		return "", "", l.mistakes
	}
	return string(raw.HTTPAddress), raw.HTTPConfigFile, nil
}

// mistakes are all that is wrong, as one error.
type mistakes []string

// Error is one line for one mistake, and a line for each when there are more.
func (m mistakes) Error() string {
	if len(m) == 1 {
		return "configuration: " + m[0]
	}
	return fmt.Sprintf("configuration: %d mistakes:\n  %s", len(m), strings.Join(m, "\n  "))
}

// loader collects what it reads and what is wrong with it.
type loader struct {
	environ  map[string]string
	secrets  map[string]Secret // by the name of the variable
	mistakes mistakes
}

// parse lets every variable's type read its value. Secrets come out of here as
// strings, and go into Secrets in files.
func (l *loader) parse() environment {
	var raw environment
	err := env.ParseWithOptions(&raw, env.Options{Environment: l.environ})
	var all env.AggregateError
	if !errors.As(err, &all) {
		return raw
	}
	for _, err := range all.Errors {
		var bad env.ParseError
		if !errors.As(err, &bad) {
			l.mistakes = append(l.mistakes, err.Error())
			continue
		}
		for _, v := range Variables() {
			if v.field == bad.Name {
				l.mistake(v, bad.Err.Error())
			}
		}
	}
	return raw
}

// mistake records that a variable's value is not what it should be.
func (l *loader) mistake(v Variable, want string) {
	l.mistakes = append(l.mistakes, fmt.Sprintf("%s=%s: want %s", v.Name, show(v, l.environ[v.Name]), want))
}

// show is a value as it can be shown.
func show(v Variable, value string) string {
	if v.Secret && value != "" {
		return masked
	}
	const most = 100
	value = RedactURL(value)
	if len(value) > most {
		value = value[:most] + "..."
	}
	return fmt.Sprintf("%q", value)
}

// files looks at every file that a variable names, and makes the secrets.
func (l *loader) files() {
	for _, v := range Variables() {
		value, path := l.environ[v.Name], l.environ[v.File]
		switch {
		case v.input && value != "":
			if err := readable(value); err != nil {
				l.mistake(v, "a file that can be read: "+err.Error())
			}
		case v.File == "" || path == "":
			l.secrets[v.Name] = NewSecret(value)
		case value != "":
			l.mistakes = append(l.mistakes, fmt.Sprintf("%s and %s are both set: want only one of them", v.Name, v.File))
		default:
			if _, err := readSecret(path); err != nil {
				l.mistakes = append(l.mistakes, fmt.Sprintf("%s=%q: want a file with the value: %s", v.File, path, reason(err)))
			}
			l.secrets[v.Name] = SecretFile(path)
		}
	}
}

// readable says why a file can't be read; nil if it can.
func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return errors.New(reason(err))
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		// What the engine makes of a bind mount whose source is missing.
		return errors.New("it is a folder")
	}
	return err
}

// reason is an error without the path, which the message names already.
func reason(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

func (l *loader) config(raw environment) Config {
	return Config{
		CheckInterval:          time.Duration(raw.CheckInterval),
		RepositoryPath:         raw.RepositoryPath,
		RepositoryURL:          string(raw.RepositoryURL),
		RepositoryBranch:       string(raw.RepositoryBranch),
		RepositoryUsername:     l.secrets["REPOSITORY_USERNAME"],
		RepositoryPassword:     l.secrets["REPOSITORY_PASSWORD"],
		SSHKeyFile:             raw.RepositorySSHKeyFile,
		SSHKeyPassphrase:       l.secrets["REPOSITORY_SSH_KEY_PASSPHRASE"],
		SSHKnownHostsFile:      raw.RepositorySSHKnownHosts,
		CAFile:                 raw.RepositoryCAFile,
		FastForwardOnly:        bool(raw.RepositoryHistory),
		KeepLocalChanges:       bool(raw.RepositoryLocalChanges),
		StackFiles:             raw.StackFiles,
		StackEnv:               l.secrets["STACK_ENV"],
		AgeKey:                 l.secrets["SOPS_AGE_KEY"],
		AgeKeyFile:             l.environ["SOPS_AGE_KEY_FILE"],
		AgeSSHKeyFile:          raw.SopsSSHKeyFile,
		PGPKeyFile:             raw.SopsPGPKeyFile,
		PGPPassphrase:          raw.SopsPGPPassphraseFile,
		SecretsDir:             raw.SecretsDir,
		SecretsPath:            raw.SecretsPath,
		DisableWebhook:         bool(raw.DisableWebhook),
		DisableMetrics:         bool(raw.DisableMetrics),
		WebhookSecret:          l.secrets["WEBHOOK_SECRET"],
		HTTPAddress:            string(raw.HTTPAddress),
		HTTPConfigFile:         raw.HTTPConfigFile,
		PprofAddress:           string(raw.PprofAddress),
		MaxParallelStacks:      int(raw.MaxParallelStacks),
		DeployTimeout:          time.Duration(raw.DeployTimeout),
		Rollback:               bool(raw.Rollback),
		StartFirst:             raw.StartFirst,
		SelfHeal:               bool(raw.SelfHeal),
		AllowEmpty:             bool(raw.AllowEmpty),
		CreateExternalNetworks: bool(raw.CreateNetworks),
		SyncWindows:            raw.SyncWindows,
		ImageMinAge:            time.Duration(raw.ImageMinAge),
		PruneImages:            bool(raw.PruneImages),
		LogLevel:               slog.Level(raw.LogLevel),
		LogFormat:              string(raw.LogFormat),
	}
}

// relate finds variables that make no sense without another one.
func (l *loader) relate(c Config) {
	if c.SSHKeyPassphrase.IsSet() && c.SSHKeyFile == "" {
		l.mistakes = append(l.mistakes, "REPOSITORY_SSH_KEY_PASSPHRASE is set and REPOSITORY_SSH_KEY_FILE is not: want the key that it is for")
	}
	if c.PGPPassphrase != "" && c.PGPKeyFile == "" {
		l.mistakes = append(l.mistakes, "SOPS_PGP_PASSPHRASE_FILE is set and SOPS_PGP_KEY_FILE is not: want the keys that it is for")
	}
}

// registries merges the single registry and the list.
func (l *loader) registries(raw environment) []Registry {
	var all []Registry
	password := l.secrets["DOCKER_REGISTRY_PASSWORD"]
	single := Registry{URL: strings.TrimSpace(raw.RegistryURL), Username: raw.RegistryUsername, Password: password}
	switch {
	case single.URL != "" && single.Username != "" && password.IsSet():
		all = l.add(all, "DOCKER_REGISTRY_URL", single)
	case single.URL != "" || single.Username != "" || password.IsSet():
		l.mistakes = append(l.mistakes, "DOCKER_REGISTRY_URL, DOCKER_REGISTRY_USERNAME and DOCKER_REGISTRY_PASSWORD: want all three or none (docker.io is Docker Hub)")
	}
	return l.list(all)
}

// list adds the registries of DOCKER_REGISTRIES.
func (l *loader) list(all []Registry) []Registry {
	const name = "DOCKER_REGISTRIES"
	path := l.environ[name+"_FILE"]
	text, err := l.secrets[name].Value()
	if text == "" || err != nil {
		return all // not set, or reported as unreadable
	}
	entries, err := parseRegistries(text)
	if err != nil {
		l.mistakes = append(l.mistakes, fmt.Sprintf(`%s=%s: want a JSON list of {"url","username","password"}: %s`, name, masked, err))
		return all
	}
	for i, e := range entries {
		r := Registry{URL: strings.TrimSpace(e.URL), Username: e.Username, Password: NewSecret(e.Password)}
		if path != "" {
			r.Password = listed(path, r.Host())
		}
		all = l.add(all, fmt.Sprintf("%s: entry %d", name, i+1), r)
	}
	return all
}

// add adds a registry, unless its host is wrong or there already: which of two
// logins counts should not be left to chance.
func (l *loader) add(all []Registry, place string, r Registry) []Registry {
	host := r.Host()
	if name, _, err := net.SplitHostPort(host); host == "" || strings.ContainsAny(host, "@ \t") || err == nil && name == "" {
		l.mistakes = append(l.mistakes, place+": want the url as a registry's host, like ghcr.io or registry.example.com:5000")
		return all
	}
	for _, other := range all {
		if other.Host() == host {
			l.mistakes = append(l.mistakes, fmt.Sprintf("%s: %s is listed twice; list each registry once", place, host))
			return all
		}
	}
	return append(all, r)
}

// warnings are about what works and may not be meant.
func warnings(c Config) []string {
	var w []string
	if !c.DisableWebhook && !c.WebhookSecret.IsSet() {
		w = append(w, "WEBHOOK_SECRET is not set: whoever reaches /webhook can start a check")
	}
	if c.CheckInterval == 0 && c.DisableWebhook {
		w = append(w, "CHECK_INTERVAL_IN_SECONDS is -1 and DISABLE_WEBHOOK is true: only a restart starts a check")
	}
	return w
}
