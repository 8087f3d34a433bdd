package render

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// missing says which files a project's active services need that are not there, all
// of them at once, and where they belong: in a clone that is new on a host, secrets
// that git does not have are missing as a rule, and Compose only tells of the first.
func (l *Loader) missing(tree Tree, p *types.Project, in *inputs) error {
	var absent []string // in full
	var what []string
	note := func(where, full string) {
		if !filepath.IsAbs(full) || !nothing(full) { // ~ is said otherwise
			return
		}
		absent = append(absent, full)
		rel, inside := l.rel(tree, full)
		if !inside {
			what = append(what, fmt.Sprintf("%s: %s does not exist where the daemon looks; mount it there, too", where, full))
			return
		}
		what = append(what, fmt.Sprintf("%s: %s does not exist", where, filepath.ToSlash(rel)))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		for _, f := range s.EnvFiles {
			if f.Required {
				note("services."+name+".env_file", f.Path)
			}
		}
		for _, use := range s.Configs {
			l.noteObject(tree, "configs."+use.Source, types.FileObjectConfig(p.Configs[use.Source]), note)
		}
		for _, use := range s.Secrets {
			l.noteObject(tree, "secrets."+use.Source, types.FileObjectConfig(p.Secrets[use.Source]), note)
		}
	}
	if len(what) == 0 {
		return nil
	}
	slices.Sort(absent)
	var places []string
	for _, full := range slices.Compact(absent) {
		if _, inside := l.rel(tree, full); inside {
			places = append(places, l.hostPath(tree, full)+in.beside(full))
		}
	}
	err := missingError{what: strings.Join(slices.Compact(what), "; ")}
	switch len(places) {
	case 0:
	case 1:
		err.where = "; on the host it belongs at " + places[0]
	default:
		err.where = "; on the host they belong at " + strings.Join(places, ", ")
	}
	return err
}

// missingError is about files that are not there. What it says of the host stays as
// it is; see Loader.explain.
type missingError struct{ what, where string }

func (e missingError) Error() string { return e.what }

// noteObject notes the file of a config or a secret. One that lies elsewhere on the
// host is the engine's to find.
func (l *Loader) noteObject(tree Tree, where string, o types.FileObjectConfig, note func(where, full string)) {
	if _, inside := l.rel(tree, o.File); inside && o.File != "" {
		note(where+".file", o.File)
	}
}

// beside says which example of a file that is not there is beside it; "" for none.
func (in *inputs) beside(full string) string {
	if example := in.exampleOf(full); example != "" {
		return fmt.Sprintf(" (%s is beside it)", path.Base(example))
	}
	return ""
}

// exampleOf finds the example that people keep in git for a file that they do not:
// .env.example, env.example, app.env.sample.
func (in *inputs) exampleOf(full string) string {
	dir, base := filepath.Split(full)
	stem := strings.TrimPrefix(base, ".")
	ext := path.Ext(base)
	for _, word := range []string{"example", "sample", "template", "dist", "default"} {
		for _, name := range []string{base + "." + word, stem + "." + word, word + "." + stem, strings.TrimSuffix(base, ext) + "." + word + ext} {
			if name == base {
				continue
			}
			in.add(dir + name)
			if !nothing(dir + name) {
				return dir + name
			}
		}
	}
	return ""
}

// noEnv says, where variables are not set and there is no .env, which example of one
// is beside it; "" if that is not so.
func (in *inputs) noEnv(file string) string {
	full := place(in.tree, path.Join(path.Dir(file), ".env"))
	if !nothing(full) {
		return ""
	}
	example := in.exampleOf(full)
	if example == "" {
		return ""
	}
	return fmt.Sprintf("there is no .env, which belongs at %s; %s is beside it", in.loader.hostPath(in.tree, full), path.Base(example))
}
