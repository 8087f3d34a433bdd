package render

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/dotenv"
)

// environment are the variables that all stacks see, as docker compose would
// those of the shell it is started in, except that a stack's .env is stronger.
type environment struct {
	vars map[string]string
	// version is another one whenever the variables are others.
	version int
}

// readEnvironment asks for the variables of all stacks.
func (l *Loader) readEnvironment() error {
	if l.o.Environment == nil {
		return nil
	}
	vars, err := l.o.Environment()
	if err != nil {
		return fmt.Errorf("read the variables of all stacks: %w", err)
	}
	if !maps.Equal(vars, l.env.vars) {
		l.env = environment{vars: maps.Clone(vars), version: l.env.version + 1}
	}
	return nil
}

// home is the folder that ~ means; empty if it is not known.
func (l *Loader) home() string { return cmp.Or(l.env.vars["HOME"], l.o.HostHome) }

// dotEnv adds what the options' env files say. It is cli.WithDotEnv, except that
// the files may use the variables of all stacks and hide them: what a file has
// said already goes before those.
func (l *Loader) dotEnv(o *cli.ProjectOptions) error {
	vars := map[string]string{}
	defer func() { o.Environment.Merge(vars) }() // what is before a mistake helps to guess a name
	lookup := func(name string) (string, bool) {
		for _, m := range []map[string]string{o.Environment, vars, l.env.vars} {
			if v, ok := m[name]; ok {
				return v, true
			}
		}
		return "", false
	}
	for _, file := range o.EnvFiles {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := dotenv.ParseWithFormat(bytes.NewReader(text), file, vars, lookup, dotenv.DotEnv); err != nil {
			return err
		}
	}
	return nil
}

// ofAllStacks adds the variables of all stacks, below what is there already.
func (l *Loader) ofAllStacks(o *cli.ProjectOptions) error {
	o.Environment.Merge(l.env.vars)
	return nil
}

// projectFolder makes the folder of the first compose file the project's, as
// Compose does when COMPOSE_FILE names one elsewhere: paths are relative to it, and
// it gives the name. An .env there counts below the one of the stack's folder.
func (l *Loader) projectFolder(in *inputs) cli.ProjectOptionsFn {
	return func(o *cli.ProjectOptions) error {
		if len(o.ConfigPaths) == 0 {
			return nil
		}
		dir := filepath.Dir(o.ConfigPaths[0])
		if dir == o.WorkingDir {
			return nil
		}
		o.WorkingDir, o.EnvFiles = dir, nil
		in.addEnv(filepath.Join(dir, ".env"))
		if err := cli.WithEnvFiles()(o); err != nil {
			return err
		}
		return l.dotEnv(o)
	}
}
