package render

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/dotenv"
)

// environment are the variables that all stacks see, as docker compose would
// those of the shell it is started in, except that a stack's .env is stronger.
type environment struct {
	vars map[string]string
	// ofStack are those of one stack, by its name, which are stronger than vars.
	ofStack map[string]map[string]string
	// words are values that no message may have.
	words []string
	// version is another one whenever the variables are others.
	version int
}

// readEnvironment asks for the variables of all stacks, and reads those in SecretsDir.
func (l *Loader) readEnvironment() error {
	now := environment{vars: map[string]string{}, version: l.env.version}
	if l.o.Environment != nil {
		vars, err := l.o.Environment()
		if err != nil {
			return fmt.Errorf("read the variables of all stacks: %w", err)
		}
		maps.Copy(now.vars, vars)
	}
	if err := now.readFiles(l.o.SecretsDir); err != nil {
		return fmt.Errorf("read SECRETS_DIR: %w", err)
	}
	same := maps.Equal(now.vars, l.env.vars) && maps.EqualFunc(now.ofStack, l.env.ofStack, maps.Equal[map[string]string, map[string]string])
	if l.env.version == 0 || !same {
		now.version++
		l.env = now
	}
	return nil
}

// maxVariable is how large a file with the value of a variable may be, in bytes: it
// becomes a part of a process's environment.
const maxVariable = 128 << 10

// readFiles adds variables that are in files of their names: in dir for all stacks, and
// in its folders for the stack of that name. What has another name is none of them.
func (e *environment) readFiles(dir string) error {
	if dir == "" {
		return nil
	}
	e.ofStack = map[string]map[string]string{}
	return e.readFolder(dir, func(stack, full string) error {
		below := environment{vars: map[string]string{}}
		if err := below.readFolder(full, nil); err != nil {
			return err
		}
		e.ofStack[stack] = below.vars
		e.words = append(e.words, below.words...)
		return nil
	})
}

// readFolder adds the variables whose files are in one folder. It calls folder, if that
// is not nil, for each that is in it.
func (e *environment) readFolder(dir string, folder func(name, full string) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name, full := entry.Name(), filepath.Join(dir, entry.Name())
		variable := isVariable(name)
		if strings.HasPrefix(name, ".") || !variable && folder == nil {
			continue // an agent's own, which comes and goes
		}
		info, err := os.Stat(full) // agents link to what they have written
		if err != nil {
			if variable {
				return err
			}
			continue // it may be one that an agent is about to rename
		}
		switch {
		case info.IsDir() && folder != nil:
			err = folder(name, full)
		case info.Mode().IsRegular() && variable:
			err = e.readFile(name, full, info.Size())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *environment) readFile(name, full string, size int64) error {
	if size > maxVariable {
		return fmt.Errorf("%s has %d bytes, and a variable %d at most", full, size, maxVariable)
	}
	text, err := os.ReadFile(full)
	if err != nil {
		return err
	}
	if bytes.ContainsRune(text, 0) {
		return fmt.Errorf("%s has a zero byte in it, which no variable can have", full)
	}
	value := strings.TrimRight(string(text), "\r\n")
	e.vars[name] = value
	e.words = append(e.words, value)
	return nil
}

// isVariable says whether a variable can have a name.
func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// variables are those that a stack sees besides its own .env.
func (l *Loader) variables(tree Tree, file string) map[string]string {
	if len(l.env.ofStack) == 0 {
		return l.env.vars
	}
	own := l.env.ofStack[l.guessName(tree, file)]
	if len(own) == 0 {
		return l.env.vars
	}
	vars := maps.Clone(l.env.vars)
	maps.Copy(vars, own)
	return vars
}

// home is the folder that ~ means; empty if it is not known.
func (l *Loader) home() string { return cmp.Or(l.env.vars["HOME"], l.o.HostHome) }

// dotEnv adds what the options' env files say. It is cli.WithDotEnv, except that
// the files may use the variables of all stacks, given, and hide them: what a file has
// said already goes before those.
func (in *inputs) dotEnv(given map[string]string) cli.ProjectOptionsFn {
	return func(o *cli.ProjectOptions) error {
		vars := map[string]string{}
		defer func() { o.Environment.Merge(vars) }() // what is before a mistake helps to guess a name
		lookup := func(name string) (string, bool) {
			for _, m := range []map[string]string{o.Environment, vars, given} {
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
			in.hearEnv(file, text, vars, lookup)
			if err := dotenv.ParseWithFormat(bytes.NewReader(text), file, vars, lookup, dotenv.DotEnv); err != nil {
				return err
			}
		}
		return nil
	}
}

// ofAllStacks adds the variables of all stacks, below what is there already.
func ofAllStacks(given map[string]string) cli.ProjectOptionsFn {
	return func(o *cli.ProjectOptions) error {
		o.Environment.Merge(given)
		return nil
	}
}

// projectFolder makes the folder of the first compose file the project's, as
// Compose does when COMPOSE_FILE names one elsewhere: paths are relative to it, and
// it gives the name. An .env there counts below the one of the stack's folder.
func (in *inputs) projectFolder(given map[string]string) cli.ProjectOptionsFn {
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
		return in.dotEnv(given)(o)
	}
}
