package render

import (
	"bytes"
	"context"
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

// input is a file that git does not track and that a load depended on, or
// would have if it had been there.
type input struct {
	path string // see inputs.paths
	seen stamp
}

// stamp is what tells a changed file without reading it; zero if absent.
type stamp struct {
	size, modified int64
	mode           os.FileMode
}

func stampOf(full string) stamp {
	info, err := os.Stat(full)
	if err != nil {
		return stamp{}
	}
	return stamp{size: info.Size(), modified: info.ModTime().UnixNano(), mode: info.Mode()}
}

// clockTick is how far a file's time may lie behind the clock's.
const clockTick = 20 * time.Millisecond

func unchanged(tree Tree, ins []input) bool {
	for _, in := range ins {
		if stampOf(place(tree, in.path)) != in.seen {
			return false
		}
	}
	return true
}

// place is where a path of inputs is.
func place(tree Tree, p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(tree.Dir(), p)
}

// inputs collects the paths that a load reads.
type inputs struct {
	loader *Loader
	tree   Tree
	// paths are relative to the tree, so that they are the same in a staged one
	// and in the clone; what lies outside of it is absolute.
	paths map[string]bool
	// envs are the env files among them, relative to the repository's root.
	envs     map[string]bool
	began    time.Time
	volatile bool // something was read that leaves no name behind
	// doubtful is volatile if compose-go's own loader has the last word.
	doubtful bool
	// obsolete are the files with a version:, in full.
	obsolete []string
}

func (l *Loader) newInputs(tree Tree) *inputs {
	return &inputs{loader: l, tree: tree, paths: map[string]bool{}, envs: map[string]bool{}, began: time.Now()}
}

// addFolder adds what Compose looks for in a project's folder.
func (in *inputs) addFolder(dir string) {
	for _, name := range slices.Concat(fileNames(), overrideNames(), []string{".env"}) {
		in.paths[path.Join(dir, name)] = true
	}
	in.envs[path.Join(dir, ".env")] = true
}

// addConfigs adds the compose files that a load begins with, and the ones that
// were looked for before they were found in a folder above.
func (in *inputs) addConfigs(dir string, files []string) {
	for _, f := range files {
		in.add(f)
	}
	if len(files) == 0 {
		return
	}
	for above := filepath.Dir(files[0]); dir != above; dir = filepath.Dir(dir) {
		if _, ok := within(above, dir); !ok {
			return // named by COMPOSE_FILE
		}
		for _, name := range slices.Concat(fileNames(), overrideNames()) {
			in.add(filepath.Join(filepath.Dir(dir), name))
		}
	}
}

func (in *inputs) add(full string) {
	if rel, ok := within(in.tree.Dir(), full); ok {
		in.paths[rel] = true
	} else if filepath.IsAbs(full) {
		in.paths[filepath.Clean(full)] = true
	}
}

func (in *inputs) addEnv(full string) {
	in.add(full)
	if rel, ok := in.loader.rel(in.tree, full); ok {
		in.envs[rel] = true
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
	for p := range in.paths {
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
			_, alone = o.LoadModel(ctx)
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
		in.add(c.File)
	}
	for _, s := range p.Secrets {
		in.add(s.File)
	}
}

// list gives those that can change without the commit, with their present
// stamps, and the others.
func (in *inputs) list() (out []input, fixed []string) {
	for p := range in.paths {
		if in.fixed(p) {
			fixed = append(fixed, p)
			continue
		}
		seen := stampOf(place(in.tree, p))
		if seen.modified > in.began.Add(-clockTick).UnixNano() {
			seen.size = -1 // written while we read: what we have may be half of it
		}
		out = append(out, input{path: p, seen: seen})
	}
	slices.SortFunc(out, func(a, b input) int { return strings.Compare(a.path, b.path) })
	return out, fixed
}

// fixed says whether a path only changes with the commit: git tracks it, nobody
// changed it by hand, and if it is a link the same goes for what it leads to.
func (in *inputs) fixed(p string) bool {
	if filepath.IsAbs(p) || in.tree.ID(p) == "" || in.tree.Edited(p) {
		return false
	}
	real, err := filepath.EvalSymlinks(place(in.tree, p))
	rel, inside := in.loader.rel(in.tree, real)
	return err == nil && inside && in.tree.ID(rel) != "" && !in.tree.Edited(rel)
}

// untracked gives the env files that were read and that git does not track.
func (in *inputs) untracked() []string {
	var out []string
	for rel := range in.envs {
		if info, err := os.Stat(place(in.tree, rel)); err == nil && !info.IsDir() && in.tree.ID(rel) == "" {
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
