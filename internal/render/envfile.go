package render

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/cli/pkg/kvfile"
)

// registerRaw makes compose-go know the env_file format "raw", which the docker
// compose command registers as well: without it such a stack is refused. The
// list of formats is compose-go's own, for the whole process and without a lock.
var registerRaw = sync.OnceFunc(func() { //nolint:gochecknoglobals // as the list that it adds to
	dotenv.RegisterFormat("raw", rawEnv)
})

// rawEnv reads lines of KEY=value as docker run --env-file does: what is behind
// the equals sign is the value, with quotes, dollars and blanks. A name alone
// takes the value that it has where the stack is loaded, if it has one.
func rawEnv(r io.Reader, file string, vars map[string]string, lookup func(string) (string, bool)) error {
	lines, err := kvfile.ParseFromReader(r, lookup)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		vars[name] = value
	}
	return nil
}

// hearEnvFiles hears of the variables that the env files of a project's services use
// and that have no value, as Compose finds them: those of the project first, then those
// of the service, then those of its files before.
func (in *inputs) hearEnvFiles(p *types.Project) {
	for _, s := range p.Services {
		own := maps.Clone(s.Environment).Resolve(p.Environment.Resolve)
		vars := own.ToMapping()
		lookup := func(name string) (string, bool) {
			if value, ok := p.Environment.Resolve(name); ok {
				return value, true
			}
			value := own[name]
			if value == nil {
				return "", false
			}
			return *value, true
		}
		for _, f := range s.EnvFiles {
			text, err := os.ReadFile(f.Path)
			if err != nil {
				continue // it need not be there
			}
			if f.Format == "" {
				in.hearEnv(f.Path, text, vars, lookup)
			}
			if dotenv.ParseWithFormat(bytes.NewReader(text), f.Path, vars, lookup, f.Format) != nil {
				break // which is the loader's to say
			}
		}
	}
}

// hearEnv warns of values in an env file that use a variable which is not set. It names
// them and not the variable, which may be what follows a $ in a password. vars is what is
// said already.
func (in *inputs) hearEnv(file string, text []byte, vars map[string]string, lookup dotenv.LookupFn) {
	if !bytes.ContainsRune(text, '$') {
		return
	}
	plain := map[string]bool{}
	for _, m := range plainly().FindAllSubmatch(regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAll(text, nil), -1) {
		plain[string(m[1])+string(m[2])] = true
	}
	out := maps.Clone(vars)
	if out == nil {
		out = map[string]string{}
	}
	marked := func(name string) (string, bool) {
		if value, ok := lookup(name); ok {
			return value, true
		}
		if value, ok := out[name]; ok {
			return strings.ReplaceAll(value, string(begin), ""), true
		}
		return string(begin), plain[name]
	}
	if dotenv.ParseWithFormat(bytes.NewReader(text), file, out, marked, "") != nil {
		return
	}
	for name, value := range out {
		if strings.ContainsRune(value, begin) {
			in.warnings[fmt.Sprintf("%s: %s uses a variable that is not set, and has nothing in its place; a $ that is meant as one is written $$, or the value in single quotes", in.shown(file), name)] = true
		}
	}
}
