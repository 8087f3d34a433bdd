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

// clockTick is how far a file's time may lie behind the clock's.
const clockTick = 20 * time.Millisecond

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
	tree     Tree
	paths    map[string]bool
	began    time.Time
	volatile bool // something was read that leaves no name behind
}

func newInputs(tree Tree) *inputs {
	return &inputs{tree: tree, paths: map[string]bool{}, began: time.Now()}
}

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
		in.volatile = in.volatile || in.longInclude()
		for _, p := range paths {
			in.add(abs(p))
			in.add(filepath.Join(filepath.Dir(abs(p)), ".env"))
		}
	case "extends":
		if p, ok := meta["file"].(string); ok {
			in.add(abs(p))
			// The path may be relative to another file than the stack's.
			rel, inside := within(in.tree.Dir(), abs(p))
			in.volatile = in.volatile || !inside || in.tree.ID(rel) == ""
		}
	}
}

// culprit names the file that an error is about, of which compose's error only
// has the line: one that on its own has the same error, else the stack's.
func (in *inputs) culprit(ctx context.Context, file string, err error) string {
	for p := range in.paths {
		full := filepath.Join(in.tree.Dir(), p)
		if ext := path.Ext(p); ext != ".yaml" && ext != ".yml" || p == file {
			continue
		}
		if _, missing := os.Stat(full); missing != nil {
			continue
		}
		o, alone := cli.NewProjectOptions([]string{full}, cli.WithConsistency(false))
		if alone == nil {
			_, alone = o.LoadModel(ctx)
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
		if b, err := os.ReadFile(filepath.Join(in.tree.Dir(), p)); err == nil && is(b) {
			return true
		}
	}
	return false
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
		if in.tree.ID(p) != "" {
			continue
		}
		seen := stampOf(filepath.Join(in.tree.Dir(), p))
		if seen.modified > in.began.Add(-clockTick).UnixNano() {
			seen.size = -1 // written while we read: what we have may be half of it
		}
		out = append(out, input{path: p, seen: seen})
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
