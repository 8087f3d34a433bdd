package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/caarlos0/env/v11"
)

// StackEnvironment reads STACK_ENV, from its file if it is in one: variables by
// name, none if it is not set. A file is read again at each call, so that a change
// counts without a restart. The error names the line and shows no value.
func (c Config) StackEnvironment() (map[string]string, error) {
	text, err := c.StackEnv.Value()
	if err != nil {
		return nil, fmt.Errorf("read STACK_ENV_FILE: %w", err)
	}
	vars, err := parseStackEnv(text)
	if err != nil {
		return nil, fmt.Errorf("read STACK_ENV: %w", err)
	}
	return vars, nil
}

// ForHelper reads what a helper of a hand-over loads the daemon's stack with, and
// nothing else: it must work with a configuration that the daemon refuses.
func ForHelper(environ []string) Config {
	all := env.ToMap(environ)
	l := loader{environ: map[string]string{"STACK_FILES": all["STACK_FILES"]}}
	c := Config{
		StackFiles: l.parse().StackFiles, StackEnv: NewSecret(all["STACK_ENV"]),
		AgeKey: NewSecret(all["SOPS_AGE_KEY"]), AgeKeyFile: all["SOPS_AGE_KEY_FILE"], AgeSSHKeyFile: all["SOPS_AGE_SSH_PRIVATE_KEY_FILE"],
		SecretsDir: all["SECRETS_DIR"], SecretsPath: cmp.Or(all["SECRETS_PATH"], l.parse().SecretsPath), PGPKeyFile: all["SOPS_PGP_KEY_FILE"], PGPPassphrase: all["SOPS_PGP_PASSPHRASE_FILE"],
	}
	if path := all["STACK_ENV_FILE"]; path != "" {
		c.StackEnv = SecretFile(path)
	}
	return c
}

// parseStackEnv reads lines of name=value. Blank lines, and those that begin with
// #, are none. A value is all that is behind the equals sign, without the quotes
// around it if it is in quotes; nothing in it is replaced.
func parseStackEnv(text string) (map[string]string, error) {
	vars := map[string]string{}
	name := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || !name.MatchString(key) {
			return nil, fmt.Errorf("line %d: want lines of name=value", i+1)
		}
		if err := reserved(key); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if _, twice := vars[key]; twice {
			return nil, fmt.Errorf("line %d: %s is there twice", i+1, key)
		}
		vars[key] = unquote(value)
	}
	return vars, nil
}

// reserved refuses what can't be the same for all stacks.
func reserved(name string) error {
	switch name {
	case "PWD":
		return errors.New("PWD is the folder of each stack, and can't be set for all")
	case "COMPOSE_PROJECT_NAME":
		return errors.New("COMPOSE_PROJECT_NAME would give all stacks one name; set it in a stack's .env")
	}
	return nil
}

func unquote(value string) string {
	for _, quote := range []string{`"`, `'`} {
		if inner, ok := strings.CutPrefix(value, quote); ok {
			if inner, ok = strings.CutSuffix(inner, quote); ok {
				return inner
			}
		}
	}
	return value
}

// stackEnv finds mistakes in STACK_ENV.
func (l *loader) stackEnv() {
	text, err := l.secrets["STACK_ENV"].Value()
	if err != nil {
		return // reported as unreadable
	}
	if _, err := parseStackEnv(text); err != nil {
		value := "STACK_ENV=" + masked
		if path := l.environ["STACK_ENV_FILE"]; path != "" {
			value = fmt.Sprintf("STACK_ENV_FILE=%q", path)
		}
		l.mistakes = append(l.mistakes, value+": "+err.Error())
	}
}
