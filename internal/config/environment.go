package config

import (
	"reflect"
	"strings"
)

// environment is the table of variables: names and defaults are an interface,
// kept by a test that holds it against the README. Texts in `want` are what a
// variable accepts where its type doesn't say it; `secret` marks values that
// are never shown, `twin` those that can be given as a file, `input` those that
// name a file that has to be readable.
type environment struct {
	CheckInterval interval `env:"CHECK_INTERVAL_IN_SECONDS" envDefault:"300" doc:"time between two checks; -1 disables the repeated check"`

	RepositoryPath          string       `env:"REPOSITORY_PATH" envDefault:"/repository" doc:"the clone, as the daemon sees it"`
	RepositoryURL           remote       `env:"REPOSITORY_URL" doc:"clone from here when the path is empty; otherwise the clone's origin must be the same"`
	RepositoryBranch        branch       `env:"REPOSITORY_BRANCH" envDefault:"main" doc:"the branch to follow"`
	RepositoryUsername      string       `env:"REPOSITORY_USERNAME" twin:"true" doc:"user name for an HTTP(S) remote; needed when the remote asks for it; credentials inside the clone's origin URL work too"`
	RepositoryPassword      string       `env:"REPOSITORY_PASSWORD" twin:"true" secret:"true" doc:"password or token for an HTTP(S) remote"`
	RepositorySSHKeyFile    string       `env:"REPOSITORY_SSH_KEY_FILE" input:"true" doc:"private key for an SSH remote"`
	RepositorySSHPassphrase string       `env:"REPOSITORY_SSH_KEY_PASSPHRASE" twin:"true" secret:"true" doc:"passphrase of the private key"`
	RepositorySSHKnownHosts string       `env:"REPOSITORY_SSH_KNOWN_HOSTS_FILE" input:"true" doc:"host keys of SSH remotes; they are always verified"`
	RepositoryCAFile        string       `env:"REPOSITORY_CA_FILE" input:"true" doc:"extra certificate authority for HTTPS remotes"`
	RepositoryHistory       history      `env:"REPOSITORY_HISTORY" envDefault:"follow" doc:"what a rewritten (force-pushed) branch does: follow goes to the new head, with a warning, when the clone's head came from the remote; fast-forward-only stops with an error"`
	RepositoryLocalChanges  localChanges `env:"REPOSITORY_LOCAL_CHANGES" envDefault:"stop" doc:"what a tracked file that was changed in the clone does: stop ends every check with an error; keep lets it stay, and refuses only a commit that changes the same file"`

	RegistryURL      string `env:"DOCKER_REGISTRY_URL" doc:"one private registry"`
	RegistryUsername string `env:"DOCKER_REGISTRY_USERNAME" doc:"its user name"`
	RegistryPassword string `env:"DOCKER_REGISTRY_PASSWORD" twin:"true" secret:"true" doc:"its password or token"`
	Registries       string `env:"DOCKER_REGISTRIES" twin:"true" secret:"true" doc:"several: a JSON list of {\"url\",\"username\",\"password\"}"`

	StackFiles patterns `env:"STACK_FILES" envDefault:"compose.yaml,compose.yml,docker-compose.yml,docker-compose.yaml" doc:"which files are stacks: names, or patterns as in .gitignore like stacks/*.yml, with commas between them; see [above](#repository-layout)"`
	StackEnv   string   `env:"STACK_ENV" twin:"true" secret:"true" doc:"variables for all stacks, as lines of name=value; a stack's own .env wins, see [below](#variables-of-stacks)"`

	SopsAgeKey            string `env:"SOPS_AGE_KEY" twin:"true" secret:"true" doc:"age keys, one a line, that decrypt what is [encrypted in the repository](#secrets-in-git)"`
	SopsSSHKeyFile        string `env:"SOPS_AGE_SSH_PRIVATE_KEY_FILE" input:"true" doc:"a private SSH key that does so, ed25519 or RSA, without a passphrase"`
	SopsPGPKeyFile        string `env:"SOPS_PGP_KEY_FILE" input:"true" doc:"PGP secret keys that do so, as gpg --export-secret-keys writes them"`
	SopsPGPPassphraseFile string `env:"SOPS_PGP_PASSPHRASE_FILE" input:"true" doc:"the passphrase of these"`
	SecretsDir            string `env:"SECRETS_DIR" doc:"a folder with variables for stacks in files of their names, and in folders named as stacks for single ones; see [below](#secrets-from-other-stores)"`
	SecretsPath           string `env:"SECRETS_PATH" envDefault:"/secrets" doc:"a volume of the daemon's own, where what is encrypted and mounted lies in clear"`

	DisableWebhook boolean `env:"DISABLE_WEBHOOK" envDefault:"false" doc:"switch /webhook off (404)"`
	DisableMetrics boolean `env:"DISABLE_METRICS" envDefault:"false" doc:"switch /metrics off (404)"`
	WebhookSecret  string  `env:"WEBHOOK_SECRET" twin:"true" secret:"true" doc:"when set, only requests that prove that they know it trigger; when not, a warning at start"`
	HTTPAddress    address `env:"HTTP_ADDRESS" envDefault:":2112" doc:"where the HTTP server listens"`
	HTTPConfigFile string  `env:"HTTP_CONFIG_FILE" input:"true" doc:"TLS and basic auth in the Prometheus exporter-toolkit web configuration format; counts for everything but /webhook and /healthz"`
	PprofAddress   address `env:"PPROF_ADDRESS" doc:"where /debug/pprof shows profiles of the running daemon, without any protection, like 127.0.0.1:6060; empty: nowhere"`

	MaxParallelStacks count      `env:"MAX_PARALLEL_STACKS" envDefault:"4" doc:"stacks applied at the same time; beside them half as many that failed before are tried again"`
	DeployTimeout     seconds    `env:"DEPLOY_TIMEOUT_IN_SECONDS" envDefault:"300" doc:"how long a stack may take to become running and healthy"`
	Rollback          boolean    `env:"ROLLBACK" envDefault:"false" doc:"go back to the last good version of a stack when a new one fails; gitops.rollback on a service says it for one stack, see [above](#going-back)"`
	StartFirst        StartFirst `env:"START_FIRST" envDefault:"warn" doc:"what a service does that says order: start-first and [can't](#no-gap): warn stops its old container first, with a warning; hold holds the stack; ignore stops the old one first wherever that is said"`
	SelfHeal          boolean    `env:"SELF_HEAL" envDefault:"true" doc:"also repair what changed on the host without a change in git"`
	CreateNetworks    boolean    `env:"CREATE_EXTERNAL_NETWORKS" envDefault:"false" doc:"make external networks that are not there and that no stack makes, as docker network create does (otherwise their stacks are held)"`
	AllowEmpty        boolean    `env:"ALLOW_EMPTY" envDefault:"false" doc:"let a head without any stack remove every stack (otherwise held)"`
	SyncWindows       string     `env:"SYNC_WINDOWS" doc:"when stacks may be updated, started and stopped, like allow Sat,Sun 02:00-05:00 Europe/Berlin; see [above](#windows)"`
	ImageMinAge       age        `env:"IMAGE_MIN_AGE" envDefault:"0" doc:"how long a new image behind a tag that is watched has to have been there before it is taken, like 72h or 3d; see [above](#the-age-of-images)"`
	PruneImages       boolean    `env:"PRUNE_IMAGES" envDefault:"false" doc:"after an update remove images that the stack used before and that nothing uses any more"`

	LogLevel  level  `env:"LOG_LEVEL" envDefault:"info" doc:"debug, info, warn or error"`
	LogFormat format `env:"LOG_FORMAT" envDefault:"text" doc:"text or json"`
}

// Variable is one environment variable of the program.
type Variable struct {
	Name        string
	Default     string
	Description string
	// Secret says that the value is never shown.
	Secret bool
	// File is the name of the twin that names a file with the value; empty if
	// there is none.
	File string

	field string // of environment
	input bool   // the value names a file that has to be readable
}

// Variables are all variables, in the order of the documentation.
func Variables() []Variable {
	var variables []Variable
	for field := range reflect.TypeFor[environment]().Fields() {
		tag := field.Tag
		v := Variable{
			Name:        tag.Get("env"),
			Default:     tag.Get("envDefault"),
			Description: tag.Get("doc"),
			Secret:      tag.Get("secret") == "true",
			field:       field.Name,
			input:       tag.Get("input") == "true",
		}
		if tag.Get("twin") == "true" {
			v.File = v.Name + "_FILE"
		}
		variables = append(variables, v)
	}
	return variables
}

// Table is the table of all variables in markdown, as the README shows it.
func Table() string {
	var b strings.Builder
	b.WriteString("| variable | default | meaning |\n| --- | --- | --- |\n")
	for _, v := range Variables() {
		name := "`" + v.Name + "`"
		if v.File != "" {
			name += ", `" + v.File + "`"
		}
		value := ""
		if v.Default != "" {
			value = "`" + v.Default + "`"
		}
		b.WriteString("| " + name + " | " + value + " | " + v.Description + " |\n")
	}
	return b.String()
}
