package render

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// place is where a path of inputs is.
func place(tree Tree, p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return tree.Dir() + string(filepath.Separator) + p
}

// inputs collects the paths that a load reads.
type inputs struct {
	loader *Loader
	tree   Tree
	// paths are relative to the tree, so that they are the same in a staged one
	// and in the clone; what lies outside of it is absolute.
	paths map[string]bool
	// carried are those whose content containers get as it is.
	carried map[string]bool
	// places are named in the same way; of them only where they lead counts.
	places map[string]bool
	// ids are git's of paths of the repository, "" for what is not tracked.
	ids map[string]string
	// envs are the env files among them, relative to the repository's root.
	envs     map[string]bool
	began    time.Time
	before   []*entry // of earlier loads of the stack
	volatile bool     // something was read that leaves no name behind
	// doubtful is volatile if compose-go's own loader has the last word.
	doubtful bool
	blanks   *blanks
	warnings map[string]bool // see plan.Stack.Warnings
	// remarks are warnings, too, of what does no harm.
	remarks map[string]bool
}

func (l *Loader) newInputs(tree Tree) *inputs {
	warnings, remarks := map[string]bool{}, map[string]bool{}
	return &inputs{loader: l, tree: tree, paths: map[string]bool{}, carried: map[string]bool{}, places: map[string]bool{}, ids: map[string]string{}, envs: map[string]bool{}, began: time.Now(), blanks: newBlanks(l.home(), warnings, remarks), warnings: warnings, remarks: remarks}
}

// addFolder adds what Compose looks for in a project's folder.
func (in *inputs) addFolder(dir string) {
	for _, name := range slices.Concat(fileNames(), overrideNames(), []string{".env"}) {
		in.paths[path.Join(dir, name)] = true
	}
	in.envs[path.Join(dir, ".env")] = true
}

// sources are the files that say what the stack is: compose files, env files and
// what they name. Those that are mounted only are not among them.
func (in *inputs) sources() []string {
	var out []string
	for p := range in.paths {
		if info, err := os.Stat(place(in.tree, p)); err == nil && info.Mode().IsRegular() {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

func (in *inputs) add(full string) {
	if p := in.name(full); p != "" {
		in.paths[p] = true
		delete(in.carried, p)
	}
}

// addCarried adds the file of a config or a secret.
func (in *inputs) addCarried(full string) {
	if p := in.name(full); p != "" && !in.paths[p] {
		in.paths[p], in.carried[p] = true, true
	}
}

// addPlace adds what is mounted or built from: git's ids of it, and of what it
// leads to, count.
func (in *inputs) addPlace(full string) {
	if p := in.name(full); p != "" {
		in.places[p] = true
	}
}

// name gives a path as paths has it, "" if it is none.
func (in *inputs) name(full string) string {
	if _, _, refused := unrefused(full); refused {
		return ""
	}
	if rel, ok := within(in.tree.Dir(), full); ok {
		return cmp.Or(path.Clean(rel), ".")
	}
	if filepath.IsAbs(full) {
		return filepath.Clean(full)
	}
	return ""
}

// id gives git's id of a path of the repository, which from then on counts.
func (in *inputs) id(p string) string {
	if filepath.IsAbs(p) {
		return ""
	}
	id, ok := in.ids[p]
	if !ok {
		id = in.tree.ID(p)
		in.ids[p] = id
	}
	return id
}

func (in *inputs) addEnv(full string) {
	in.add(full)
	if rel, ok := in.loader.rel(in.tree, full); ok {
		in.envs[rel] = true
		in.id(rel)
	}
}

// listen hears of include and extends, which leave no trace in the project.
func (in *inputs) listen(event string, meta map[string]any, dir string) {
	abs := func(p string) string {
		if filepath.IsAbs(p) {
			return p
		}
		if wd, ok := meta["workingdir"].(string); ok && filepath.IsAbs(wd) {
			return filepath.Join(wd, p)
		}
		return filepath.Join(dir, p)
	}
	switch event {
	case "include":
		paths, _ := meta["path"].(types.StringList)
		in.doubtful = in.doubtful || in.longInclude()
		for _, p := range paths {
			in.add(abs(p))
			in.addEnv(filepath.Join(filepath.Dir(abs(p)), ".env"))
		}
	case "extends":
		if p, ok := meta["file"].(string); ok {
			in.add(abs(p))
			// The path may be relative to another file than the stack's.
			rel, inside := within(in.tree.Dir(), abs(p))
			in.doubtful = in.doubtful || !inside || in.tree.ID(rel) == ""
		}
	}
}

// culprit names the file that an error is about, of which compose's error only
// has the line: one that on its own has the same error, else the stack's.
func (in *inputs) culprit(ctx context.Context, file string, err error) string {
	for _, p := range slices.Sorted(maps.Keys(in.paths)) { // of two, always the same
		full := place(in.tree, p)
		if ext := path.Ext(p); ext != ".yaml" && ext != ".yml" || p == file {
			continue
		}
		if _, missing := os.Stat(full); missing != nil {
			continue
		}
		o, alone := cli.NewProjectOptions([]string{full}, cli.WithConsistency(false))
		if alone == nil {
			in.loader.library.Lock()
			_, alone = safely(func() (map[string]any, error) { return o.LoadModel(ctx) })
			in.loader.library.Unlock()
		}
		if alone != nil && alone.Error() == err.Error() {
			return p
		}
	}
	return file
}

// longInclude says whether an include section that was read names env files or
// a folder: nothing tells of those.
func (in *inputs) longInclude() bool {
	section := regexp.MustCompile(`(?m)^include:.*(?:\n(?:[ \t#-].*)?)*`)
	return in.anyFile(func(text []byte) bool {
		if part := section.Find(text); part != nil {
			text = part
		} else if !bytes.Contains(text, []byte("include")) {
			return false
		}
		return bytes.Contains(text, []byte("env_file")) || bytes.Contains(text, []byte("project_directory"))
	})
}

// anyFile says whether one of the compose files that were read is as wanted.
func (in *inputs) anyFile(is func(text []byte) bool) bool {
	for p := range in.paths {
		if ext := path.Ext(p); ext != ".yaml" && ext != ".yml" {
			continue
		}
		if b, err := os.ReadFile(place(in.tree, p)); err == nil && is(b) {
			return true
		}
	}
	return false
}

func (in *inputs) addProject(p *types.Project) {
	for _, f := range p.ComposeFiles {
		in.add(f)
	}
	for _, s := range p.Services {
		for _, f := range s.EnvFiles {
			in.addEnv(f.Path)
		}
	}
	for _, services := range []types.Services{p.Services, p.DisabledServices} {
		for _, s := range services {
			for _, f := range s.EnvFiles {
				in.add(f.Path)
			}
			for _, f := range s.LabelFiles {
				in.add(f)
			}
		}
	}
	for _, c := range p.Configs {
		in.addCarried(c.File)
	}
	for _, s := range p.Secrets {
		in.addCarried(s.File)
	}
}

// untracked gives the env files that were read and that git does not track.
func (in *inputs) untracked() []string {
	var out []string
	for rel := range in.envs {
		if info, err := os.Stat(place(in.tree, rel)); err == nil && !info.IsDir() && in.id(rel) == "" {
			out = append(out, rel)
		}
	}
	slices.Sort(out)
	return out
}

// within gives full relative to root, with slashes, if it lies inside; the
// root itself is "".
func within(root, full string) (string, bool) {
	if full == root {
		return "", true
	}
	rel, ok := strings.CutPrefix(full, strings.TrimSuffix(root, string(filepath.Separator))+string(filepath.Separator))
	return filepath.ToSlash(rel), ok
}
