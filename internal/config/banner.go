package config

import (
	"log/slog"
	"strings"
)

// Banner is the effective configuration by variable, for the log at start.
// Secrets are masked, and so are credentials in the repository's address. The
// registry of its own variables is one of DOCKER_REGISTRIES here.
func (c Config) Banner() []slog.Attr {
	username := c.RepositoryUsername.String() // masked: hosts take a token in the place of a user name
	if c.RepositoryPassword.IsSet() {
		username, _ = c.RepositoryUsername.Value() // a fetch will tell if its file is gone
	}
	interval := int64(-1)
	if c.CheckInterval > 0 {
		interval = int64(c.CheckInterval.Seconds())
	}
	history := "follow"
	if c.FastForwardOnly {
		history = "fast-forward-only"
	}
	changes := "stop"
	if c.KeepLocalChanges {
		changes = "keep"
	}
	hosts := make([]string, len(c.Registries))
	for i, r := range c.Registries {
		hosts[i] = r.Host()
	}
	return attrs([]effective{
		{"CHECK_INTERVAL_IN_SECONDS", interval},
		{"REPOSITORY_PATH", c.RepositoryPath},
		{"REPOSITORY_URL", RedactURL(c.RepositoryURL)},
		{"REPOSITORY_BRANCH", c.RepositoryBranch},
		{"REPOSITORY_USERNAME", username},
		{"REPOSITORY_PASSWORD", c.RepositoryPassword},
		{"REPOSITORY_SSH_KEY_FILE", c.SSHKeyFile},
		{"REPOSITORY_SSH_KEY_PASSPHRASE", c.SSHKeyPassphrase},
		{"REPOSITORY_SSH_KNOWN_HOSTS_FILE", c.SSHKnownHostsFile},
		{"REPOSITORY_CA_FILE", c.CAFile},
		{"REPOSITORY_HISTORY", history},
		{"REPOSITORY_LOCAL_CHANGES", changes},
		{"DOCKER_REGISTRIES", strings.Join(hosts, " ")},
		{"STACK_FILES", strings.Join(c.StackFiles, ",")},
		{"STACK_ENV", c.StackEnv},
		{"SOPS_AGE_KEY", c.AgeKey},
		{"SOPS_AGE_SSH_PRIVATE_KEY_FILE", c.AgeSSHKeyFile},
		{"SOPS_PGP_KEY_FILE", c.PGPKeyFile},
		{"SOPS_PGP_PASSPHRASE_FILE", c.PGPPassphrase},
		{"SECRETS_DIR", c.SecretsDir},
		{"SECRETS_PATH", c.SecretsPath},
		{"DISABLE_WEBHOOK", c.DisableWebhook},
		{"DISABLE_METRICS", c.DisableMetrics},
		{"WEBHOOK_SECRET", c.WebhookSecret},
		{"HTTP_ADDRESS", c.HTTPAddress},
		{"HTTP_CONFIG_FILE", c.HTTPConfigFile},
		{"PPROF_ADDRESS", c.PprofAddress},
		{"MAX_PARALLEL_STACKS", c.MaxParallelStacks},
		{"DEPLOY_TIMEOUT_IN_SECONDS", int64(c.DeployTimeout.Seconds())},
		{"ROLLBACK", c.Rollback},
		{"START_FIRST", c.StartFirst},
		{"SELF_HEAL", c.SelfHeal},
		{"CREATE_EXTERNAL_NETWORKS", c.CreateExternalNetworks},
		{"ALLOW_EMPTY", c.AllowEmpty},
		{"SYNC_WINDOWS", c.SyncWindows},
		{"IMAGE_MIN_AGE", c.ImageMinAge},
		{"PRUNE_IMAGES", c.PruneImages},
		{"LOG_LEVEL", strings.ToLower(c.LogLevel.String())},
		{"LOG_FORMAT", c.LogFormat},
	})
}

// effective is a variable and what counts for it.
type effective struct {
	variable string
	value    any
}

// attrs drops what is not set: a banner of empty values hides the others.
func attrs(all []effective) []slog.Attr {
	var some []slog.Attr
	for _, e := range all {
		if a := slog.Any(e.variable, e.value); a.Value.Resolve().String() != "" {
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
