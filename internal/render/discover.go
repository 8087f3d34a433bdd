package render

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ignoreFile is the file at the repository's root that says, in the syntax of
// .gitignore, which folders and files are no stacks: examples, templates, archives.
const ignoreFile = ".gitopsignore"

// found are the stack files of a tree with an id.
type found struct {
	root  string
	files []string
}

// discover is Discover, which is asked for the same tree again and again.
func (l *Loader) discover(tree Tree) ([]string, error) {
	root, edited := tree.ID(""), tree.Edited(ignoreFile)
	if root != "" && l.found.root == root && !edited {
		return l.found.files, nil
	}
	files, err := Discover(tree, l.o.Files)
	if err != nil {
		return nil, err
	}
	if !edited { // else what was read is not what git has
		l.found = found{root, files}
	}
	return files, nil
}

// Discover lists the stack files of a tree: those that one of the patterns matches,
// in the syntax of .gitignore, and .gitopsignore does not leave out. Of Compose's own
// names there is one a folder, by its order of preference, and override files are
// none; each file of another name is a stack. Without patterns it is Compose's own
// names.
func Discover(tree Tree, patterns []string) ([]string, error) {
	if patterns == nil {
		patterns = fileNames()
	}
	left, err := leftOut(tree)
	if err != nil {
		return nil, err
	}
	var globs []glob
	var names []string
	for _, p := range patterns {
		if g, ok := parseGlob(p); ok && !g.negated && !g.folder {
			globs = append(globs, g)
			names = append(names, nameOfPattern(p))
		}
	}
	var out []string
	preferred := map[string]string{} // of Compose's own names, by folder
	for _, f := range tree.Find(names...) {
		dir, base := path.Split(f)
		if slices.Contains(overrideNames(), base) || ignored(left, f) || !slices.ContainsFunc(globs, func(g glob) bool { return g.matches(f) }) {
			continue
		}
		rank := slices.Index(fileNames(), base)
		if rank < 0 {
			out = append(out, f)
		} else if old, ok := preferred[dir]; !ok || rank < slices.Index(fileNames(), path.Base(old)) {
			preferred[dir] = f
		}
	}
	out = slices.AppendSeq(out, maps.Values(preferred))
	slices.Sort(out)
	return out, nil
}

// nameOfPattern gives the name that Find is to look for. It may find too much.
func nameOfPattern(pattern string) string {
	name := path.Base(pattern)
	if strings.ContainsAny(name, `[\?`) {
		return "*"
	}
	return name
}

// leftOut reads .gitopsignore, if git tracks it.
func leftOut(tree Tree) ([]glob, error) {
	if tree.ID(ignoreFile) == "" {
		return nil, nil
	}
	full := place(tree, ignoreFile)
	info, err := os.Stat(full)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil // deleted by hand
	case err == nil && !info.Mode().IsRegular():
		err = errors.New("it is no file")
	}
	const most = 1 << 20
	var text []byte
	if err == nil {
		var f *os.File
		if f, err = os.Open(full); err == nil {
			defer f.Close()
			text, err = io.ReadAll(io.LimitReader(f, most))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ignoreFile, err)
	}
	return parseGlobs(string(text)), nil
}

// fileNames are the names that Compose looks for, in its order of preference.
func fileNames() []string {
	return []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
}

func overrideNames() []string {
	return []string{"compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"}
}

// named says whether Compose has to be told the stack's file, with -f: it has
// another name than those that it looks for, or it would find another one in the
// folder that is no stack file.
func (l *Loader) named(tree Tree, file string) bool {
	dir, base := path.Split(file)
	rank := slices.Index(fileNames(), base)
	if rank < 0 || l.o.Files == nil {
		return rank < 0
	}
	return slices.ContainsFunc(fileNames()[:rank], func(name string) bool {
		_, err := os.Lstat(filepath.Join(tree.Dir(), filepath.FromSlash(dir), name))
		return err == nil && !slices.ContainsFunc(l.o.Files, func(pattern string) bool {
			g, ok := parseGlob(pattern)
			return ok && g.matches(dir+name)
		})
	})
}
