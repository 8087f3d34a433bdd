package config

import (
	"log/slog"
	"strings"
)

// Banner is the effective configuration by variable, for the log at start.
// Secrets are masked, and so are credentials in the repository's address.
func (c Config) Banner() []slog.Attr {
	username := c.RepositoryUsername
	if username != "" && !c.RepositoryPassword.IsSet() {
		username = masked // hosts take a token in the place of a user name
	}
	interval := int64(-1)
	if c.CheckInterval > 0 {
		interval = int64(c.CheckInterval.Seconds())
	}
	history := "follow"
	if c.FastForwardOnly {
		history = "fast-forward-only"
	}
	hosts := make([]string, len(c.Registries))
	for i, r := range c.Registries {
		hosts[i] = r.Host()
	}
	attrs := []slog.Attr{
		slog.Int64("CHECK_INTERVAL_IN_SECONDS", interval),
		slog.String("REPOSITORY_PATH", c.RepositoryPath),
		slog.String("REPOSITORY_URL", RedactURL(c.RepositoryURL)),
		slog.String("REPOSITORY_BRANCH", c.RepositoryBranch),
		slog.String("REPOSITORY_USERNAME", username),
		slog.Any("REPOSITORY_PASSWORD", c.RepositoryPassword),
		slog.String("REPOSITORY_SSH_KEY_FILE", c.SSHKeyFile),
		slog.Any("REPOSITORY_SSH_KEY_PASSPHRASE", c.SSHKeyPassphrase),
		slog.String("REPOSITORY_SSH_KNOWN_HOSTS_FILE", c.SSHKnownHostsFile),
		slog.String("REPOSITORY_CA_FILE", c.CAFile),
		slog.String("REPOSITORY_HISTORY", history),
		slog.String("DOCKER_REGISTRIES", strings.Join(hosts, " ")),
		slog.Bool("DISABLE_WEBHOOK", c.DisableWebhook),
		slog.Bool("DISABLE_METRICS", c.DisableMetrics),
		slog.Any("WEBHOOK_SECRET", c.WebhookSecret),
		slog.String("HTTP_ADDRESS", c.HTTPAddress),
		slog.String("HTTP_CONFIG_FILE", c.HTTPConfigFile),
		slog.Int("MAX_PARALLEL_STACKS", c.MaxParallelStacks),
		slog.Int64("DEPLOY_TIMEOUT_IN_SECONDS", int64(c.DeployTimeout.Seconds())),
		slog.Bool("SELF_HEAL", c.SelfHeal),
		slog.Bool("ALLOW_EMPTY", c.AllowEmpty),
		slog.String("LOG_LEVEL", strings.ToLower(c.LogLevel.String())),
		slog.String("LOG_FORMAT", c.LogFormat),
	}
	return set(attrs)
}

// set drops what is not set: a banner of empty values hides the others.
func set(attrs []slog.Attr) []slog.Attr {
	var some []slog.Attr
	for _, a := range attrs {
		if a.Value.Resolve().String() != "" {
			some = append(some, a)
		}
	}
	return some
}

// LogValue is the Banner, so that a Config never logs a secret.
func (c Config) LogValue() slog.Value { return slog.GroupValue(c.Banner()...) }

// String is the Banner as text, for the same reason.
func (c Config) String() string {
	var b strings.Builder
	for i, a := range c.Banner() {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(a.String())
	}
	return b.String()
}
