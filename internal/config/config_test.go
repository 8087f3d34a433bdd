package config

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, environ ...string) Config {
	t.Helper()
	c, err := Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// file writes a file and gives its path.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func value(t *testing.T, s Secret) string {
	t.Helper()
	v, err := s.Value()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAnEmptyEnvironmentGivesTheDefaults(t *testing.T) {
	const want = `CHECK_INTERVAL_IN_SECONDS=300 REPOSITORY_PATH=/repository REPOSITORY_BRANCH=main REPOSITORY_HISTORY=follow REPOSITORY_LOCAL_CHANGES=stop ` +
		`STACK_FILES=compose.yaml,compose.yml,docker-compose.yml,docker-compose.yaml SECRETS_PATH=/secrets ` +
		`DISABLE_WEBHOOK=false DISABLE_METRICS=false HTTP_ADDRESS=:2112 MAX_PARALLEL_STACKS=4 DEPLOY_TIMEOUT_IN_SECONDS=300 ROLLBACK=false START_FIRST=warn ` +
		`SELF_HEAL=true CREATE_EXTERNAL_NETWORKS=false ALLOW_EMPTY=false IMAGE_MIN_AGE=0s PRUNE_IMAGES=false LOG_LEVEL=info LOG_FORMAT=text`
	if got := load(t).String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// Compose sets a variable to nothing where `environment: [X=${X}]` finds none.
	if got := load(t, "LOG_LEVEL=", "REPOSITORY_BRANCH=", "WEBHOOK_SECRET=", "WEBHOOK_SECRET_FILE=").String(); got != want {
		t.Errorf("variables that are set to nothing: got %s", got)
	}
}

func TestValuesArriveWithTheirTypes(t *testing.T) {
	c := load(t, "CHECK_INTERVAL_IN_SECONDS=-1", "REPOSITORY_PATH=/srv/clone", "REPOSITORY_URL=git@example.com:ops/host.git",
		"REPOSITORY_BRANCH=feature/x", "REPOSITORY_USERNAME=alice", "REPOSITORY_PASSWORD=hunter2", "REPOSITORY_HISTORY=fast-forward-only", "REPOSITORY_LOCAL_CHANGES=keep",
		"DISABLE_WEBHOOK=TRUE", "DISABLE_METRICS=1", "HTTP_ADDRESS=127.0.0.1:8080", "PPROF_ADDRESS=127.0.0.1:6060", "MAX_PARALLEL_STACKS=9",
		"DEPLOY_TIMEOUT_IN_SECONDS= 60 ", "ROLLBACK=true", "START_FIRST=hold", "SELF_HEAL=false", "ALLOW_EMPTY=true", "SYNC_WINDOWS=allow Sat; deny Dec 24", "IMAGE_MIN_AGE=3d12h", "LOG_LEVEL=WARN", "LOG_FORMAT=json")
	switch {
	case c.CheckInterval != 0, c.RepositoryPath != "/srv/clone", c.RepositoryURL != "git@example.com:ops/host.git",
		c.RepositoryBranch != "feature/x", value(t, c.RepositoryUsername) != "alice", value(t, c.RepositoryPassword) != "hunter2",
		!c.FastForwardOnly, !c.KeepLocalChanges, !c.DisableWebhook, !c.DisableMetrics, c.HTTPAddress != "127.0.0.1:8080", c.PprofAddress != "127.0.0.1:6060", c.MaxParallelStacks != 9,
		c.DeployTimeout != time.Minute, !c.Rollback, c.StartFirst != StartHold, c.SelfHeal, !c.AllowEmpty, c.ImageMinAge != 84*time.Hour, c.LogLevel != slog.LevelWarn, c.LogFormat != "json":
		t.Errorf("got %s", c)
	}
}

func TestEveryMistakeIsInOneMessage(t *testing.T) {
	_, err := Load([]string{
		"CHECK_INTERVAL_IN_SECONDS=0", "MAX_PARALLEL_STACKS=many", "DEPLOY_TIMEOUT_IN_SECONDS=-5", "SELF_HEAL=on", "REPOSITORY_HISTORY=rewrite", "REPOSITORY_LOCAL_CHANGES=drop",
		"REPOSITORY_BRANCH=refs/heads/main", "REPOSITORY_URL=https://alice:hunter2@/", "LOG_LEVEL=info+1", "LOG_FORMAT=xml", "HTTP_ADDRESS=2112",
		"REPOSITORY_SSH_KEY_FILE=/nowhere/key", "REPOSITORY_SSH_KEY_PASSPHRASE=hunter2", "REPOSITORY_SSH_KEY_PASSPHRASE_FILE=/nowhere/phrase",
		"WEBHOOK_SECRET_FILE=/nowhere/secret", "DOCKER_REGISTRY_USERNAME=bob",
	})
	const want = `configuration: 15 mistakes:
  CHECK_INTERVAL_IN_SECONDS="0": want a whole number of seconds from 1 to 31536000, or -1 to switch it off
  REPOSITORY_URL="https://alice:***@/": want https://host/path, ssh://user@host/path, user@host:path, file:///path or an absolute path
  REPOSITORY_BRANCH="refs/heads/main": want a branch name as git accepts it, without refs/heads/, like main
  REPOSITORY_HISTORY="rewrite": want follow or fast-forward-only
  REPOSITORY_LOCAL_CHANGES="drop": want stop or keep
  HTTP_ADDRESS="2112": want host:port or :port, like :2112 or 127.0.0.1:2112
  MAX_PARALLEL_STACKS="many": want a whole number from 1 to 1000
  DEPLOY_TIMEOUT_IN_SECONDS="-5": want a whole number of seconds from 1 to 31536000
  SELF_HEAL="on": want true or false
  LOG_LEVEL="info+1": want debug, info, warn or error
  LOG_FORMAT="xml": want text or json
  REPOSITORY_SSH_KEY_FILE="/nowhere/key": want a file that can be read: no such file or directory
  REPOSITORY_SSH_KEY_PASSPHRASE and REPOSITORY_SSH_KEY_PASSPHRASE_FILE are both set: want only one of them
  WEBHOOK_SECRET_FILE="/nowhere/secret": want a file with the value: no such file or directory
  DOCKER_REGISTRY_URL, DOCKER_REGISTRY_USERNAME and DOCKER_REGISTRY_PASSWORD: want all three or none (docker.io is Docker Hub)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestOneMistakeIsOneLine(t *testing.T) {
	for environ, want := range map[string]string{
		"CHECK_INTERVAL_IN_SECONDS=-2":    `configuration: CHECK_INTERVAL_IN_SECONDS="-2": want a whole number of seconds from 1 to 31536000, or -1 to switch it off`,
		"CHECK_INTERVAL_IN_SECONDS=1e3":   `configuration: CHECK_INTERVAL_IN_SECONDS="1e3": want a whole number of seconds from 1 to 31536000, or -1 to switch it off`,
		"MAX_PARALLEL_STACKS=0":           `configuration: MAX_PARALLEL_STACKS="0": want a whole number from 1 to 1000`,
		"IMAGE_MIN_AGE=72":                `configuration: IMAGE_MIN_AGE="72": want a time of at most a year like 72h or 3d, or 0 to switch it off`,
		"IMAGE_MIN_AGE=-72h":              `configuration: IMAGE_MIN_AGE="-72h": want a time of at most a year like 72h or 3d, or 0 to switch it off`,
		"IMAGE_MIN_AGE=53w":               `configuration: IMAGE_MIN_AGE="53w": want a time of at most a year like 72h or 3d, or 0 to switch it off`,
		"HTTP_ADDRESS=:http":              `configuration: HTTP_ADDRESS=":http": want host:port or :port, like :2112 or 127.0.0.1:2112`,
		"REPOSITORY_SSH_KEY_PASSPHRASE=x": `configuration: REPOSITORY_SSH_KEY_PASSPHRASE is set and REPOSITORY_SSH_KEY_FILE is not: want the key that it is for`,
		"REPOSITORY_CA_FILE=/":            `configuration: REPOSITORY_CA_FILE="/": want a file that can be read: it is a folder`,
		"STACK_FILES= , ":                 `configuration: STACK_FILES=" , ": want at least one name or pattern, like compose.yaml,stacks/*.yml`,
		"STACK_FILES=a.yml,!b.yml":        `configuration: STACK_FILES="a.yml,!b.yml": want names or patterns of files in the repository, with commas between them, like compose.yaml,stacks/*.yml (which of them don't count says .gitopsignore)`,
		"STACK_FILES=../a.yml":            `configuration: STACK_FILES="../a.yml": want names or patterns of files in the repository, with commas between them, like compose.yaml,stacks/*.yml (which of them don't count says .gitopsignore)`,
		"REPOSITORY_URL=./repo":           `configuration: REPOSITORY_URL="./repo": want https://host/path, ssh://user@host/path, user@host:path, file:///path or an absolute path`,
	} {
		_, err := Load([]string{environ})
		if err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", environ, err, want)
		}
	}
}

func TestRemotesOfEveryFormAreAccepted(t *testing.T) {
	for _, address := range []string{
		"https://example.com/ops/host.git", "http://127.0.0.1:3000/x", "https://user:pass@example.com/x", "ssh://git@example.com:2222/x.git",
		"git@example.com:x.git", "example.com:x.git", "/srv/git/x.git", "file:///srv/git/x.git",
	} {
		if _, err := Load([]string{"REPOSITORY_URL=" + address}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestNoWayOfPrintingShowsASecret(t *testing.T) {
	const secret = "hunter2"
	c := load(t, "WEBHOOK_SECRET="+secret, "REPOSITORY_URL=https://alice:"+secret+"@example.com/x", "REPOSITORY_PASSWORD="+secret,
		"DOCKER_REGISTRY_URL=ghcr.io", "DOCKER_REGISTRY_USERNAME=bob", "DOCKER_REGISTRY_PASSWORD="+secret,
		`DOCKER_REGISTRIES=[{"url":"example.com","username":"eve","password":"`+secret+`"}]`)
	var b bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&b, nil)), slog.New(slog.NewJSONHandler(&b, nil))} {
		log.Info("starting", "cause", c, "op", c.Registries, "err", c.WebhookSecret)
	}
	if strings.Contains(b.String(), secret) {
		t.Errorf("the log shows a secret:\n%s", b.String())
	}
	for _, want := range []string{`cause.WEBHOOK_SECRET=***`, `cause.REPOSITORY_URL=https://alice:***@example.com/x`, `cause.DOCKER_REGISTRIES="ghcr.io example.com"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, b.String())
		}
	}
}

func TestATokenInThePlaceOfAUserNameIsMasked(t *testing.T) {
	c := load(t, "REPOSITORY_USERNAME=ghp_token", "REPOSITORY_URL=https://ghp_token@example.com/x")
	if strings.Contains(c.String(), "ghp_token") {
		t.Errorf("got %s", c)
	}
}

func TestRedactURL(t *testing.T) {
	for address, want := range map[string]string{
		"https://example.com/x":             "https://example.com/x",
		"https://alice:pw@example.com/x":    "https://alice:***@example.com/x",
		"https://alice:p@w/d@example.com/x": "https://alice:***@w/d@example.com/x",
		"https://token@example.com":         "https://***@example.com",
		"ssh://git@example.com:22/x":        "ssh://git@example.com:22/x",
		"git@example.com:x":                 "git@example.com:x",
		"/srv/x":                            "/srv/x",
		"https://a:%zz@example.com/":        "https://a:***@example.com/",
	} {
		if got := RedactURL(address); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}

func TestLikelyTyposAreWarnedOf(t *testing.T) {
	c := load(t, "DISABLE_WEBHOOK=true", "REPOSITORY_PASWORD=hunter2", "MAX_PARALLEL_STACK=2", "WEBHOOK_TOKENS_FOR_ALL=x", "SELFHEAL=no",
		"HTTP_PROXY=http://proxy", "HTTPS_PROXY=http://proxy", "DOCKER_HOST=tcp://x", "DOCKER_CONFIG=/x", "LOG_DRIVER=x", "PATH=/bin", "CHECK_DISK=1")
	const want = `MAX_PARALLEL_STACK is not a variable of this program: did you mean MAX_PARALLEL_STACKS?
REPOSITORY_PASWORD is not a variable of this program: did you mean REPOSITORY_PASSWORD?
SELFHEAL is not a variable of this program: did you mean SELF_HEAL?
WEBHOOK_TOKENS_FOR_ALL is not a variable of this program`
	if got := strings.Join(c.Warnings, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAnOpenWebhookIsWarnedOf(t *testing.T) {
	if w := load(t).Warnings; len(w) != 1 || !strings.Contains(w[0], "WEBHOOK_SECRET is not set") {
		t.Errorf("got %q", w)
	}
	if w := load(t, "WEBHOOK_SECRET=x").Warnings; len(w) != 0 {
		t.Errorf("with a secret: got %q", w)
	}
}

func TestTheTableHasEveryVariable(t *testing.T) {
	table := Table()
	for _, row := range []string{
		"| `CHECK_INTERVAL_IN_SECONDS` | `300` | time between two checks; -1 disables the repeated check |\n",
		"| `WEBHOOK_SECRET`, `WEBHOOK_SECRET_FILE` |  | when set, ",
	} {
		if !strings.Contains(table, row) {
			t.Errorf("no row %s in\n%s", row, table)
		}
	}
	if got, want := strings.Count(table, "\n"), len(Variables())+2; got != want {
		t.Errorf("%d lines, want %d", got, want)
	}
}
