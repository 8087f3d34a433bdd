package render

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// input is a file that git does not track and that a load depended on, or
// would have if it had been there.
type input struct {
	path string // relative to the tree
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

func unchanged(tree Tree, ins []input) bool {
	for _, in := range ins {
		if stampOf(filepath.Join(tree.Dir(), in.path)) != in.seen {
			return false
		}
	}
	return true
}

// inputs collects the paths that a load reads.
type inputs struct {
	tree  Tree
	paths map[string]bool
}

func newInputs(tree Tree) *inputs { return &inputs{tree: tree, paths: map[string]bool{}} }

// addFolder adds what Compose looks for in a project's folder.
func (in *inputs) addFolder(dir string) {
	for _, name := range slices.Concat(fileNames(), overrideNames(), []string{".env"}) {
		in.paths[path.Join(dir, name)] = true
	}
}

func (in *inputs) add(full string) {
	if rel, ok := within(in.tree.Dir(), full); ok {
		in.paths[rel] = true
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
		for _, p := range paths {
			in.add(abs(p))
			in.add(filepath.Join(filepath.Dir(abs(p)), ".env"))
		}
	case "extends":
		if p, ok := meta["file"].(string); ok {
			in.add(abs(p))
		}
	}
}

func (in *inputs) addProject(p *types.Project) {
	for _, f := range p.ComposeFiles {
		in.add(f)
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

// list gives the untracked ones with their present stamps. Tracked ones can
// only change with the commit.
func (in *inputs) list() []input {
	var out []input
	for p := range in.paths {
		if in.tree.ID(p) == "" {
			out = append(out, input{path: p, seen: stampOf(filepath.Join(in.tree.Dir(), p))})
		}
	}
	slices.SortFunc(out, func(a, b input) int { return strings.Compare(a.path, b.path) })
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
