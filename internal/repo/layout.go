package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/config"
)

// leftover is the folder that a first clone is prepared in.
const leftover = ".gitops-compose-clone"

// emptyFolder tells whether a first clone may be made at path.
func emptyFolder(path string) (bool, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the repository path: %w", err)
	}
	for _, e := range entries {
		// A mounted disk comes with lost+found.
		if e.Name() != leftover && e.Name() != "lost+found" {
			return false, nil
		}
	}
	return true, nil
}

// inspect checks that the clone at path is one that this package can work with
// and returns its origin's address and what matters of its configuration.
func inspect(path string) (origin string, cfg *config.Config, err error) {
	gitDir := filepath.Join(path, ".git")
	fi, err := os.Stat(gitDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil, fmt.Errorf("%s is not a git repository: it has no .git folder; clone the stacks' repository there, or empty the folder and set REPOSITORY_URL", path)
	case err != nil:
		return "", nil, fmt.Errorf("read the clone: %w", err)
	case !fi.IsDir():
		return "", nil, fmt.Errorf("%s is a linked worktree or a submodule (.git is a file), which is not supported; use a clone of its own", path)
	}
	f, err := os.Open(filepath.Join(gitDir, "config"))
	if err != nil {
		return "", nil, fmt.Errorf("%s is not a git repository: %w", path, err)
	}
	defer f.Close()
	cfg, err = config.ReadConfig(f)
	if err != nil {
		return "", nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if err := supported(path, gitDir, cfg); err != nil {
		return "", nil, err
	}
	remote := cfg.Remotes["origin"]
	if remote == nil || len(remote.URLs) == 0 {
		return "", nil, fmt.Errorf("the clone %s has no remote named origin; add it with git remote add origin URL", path)
	}
	return remote.URLs[0], cfg, nil
}

// extensions that don't change how objects, refs and index are to be read.
func harmlessExtension(name string) bool {
	switch strings.ToLower(name) {
	case "noop", "noop-v1", "preciousobjects":
		return true
	}
	return false
}

func supported(path, gitDir string, cfg *config.Config) error {
	refuse := func(what, remedy string) error {
		return fmt.Errorf("the clone %s %s, which is not supported; %s", path, what, remedy)
	}
	const again = "clone the repository again without it"
	raw := cfg.Raw
	core := raw.Section("core")
	switch v := string(cfg.Core.RepositoryFormatVersion); v {
	case "", "0", "1":
	default:
		return refuse("has repository format "+v, "clone the repository again with an older git")
	}
	switch {
	case cfg.Core.IsBare:
		return refuse("is bare: it has no files", "clone without --bare")
	case core.Option("worktree") != "":
		return refuse("has its work tree elsewhere (core.worktree)", again)
	case isTrue(core.Option("sparsecheckout")):
		return refuse("is a sparse checkout", "run git sparse-checkout disable there")
	}
	for _, o := range raw.Section("extensions").Options {
		name, value := strings.ToLower(o.Key), strings.ToLower(o.Value)
		switch {
		case harmlessExtension(name), name == "objectformat" && value == "sha1", name == "refstorage" && value == "files",
			name == "worktreeconfig" && !isTrue(value):
		case name == "worktreeconfig":
			if sparse(filepath.Join(gitDir, "config.worktree")) {
				return refuse("is a sparse checkout", "run git sparse-checkout disable there")
			}
		case name == "partialclone":
			return refuse("is a partial clone", "clone again without --filter")
		case name == "objectformat":
			return refuse("has "+value+" object ids", again)
		default:
			return refuse("uses the extension "+o.Key+" = "+o.Value, again)
		}
	}
	for _, s := range raw.Section("remote").Subsections {
		if isTrue(s.Option("promisor")) || s.Option("partialclonefilter") != "" {
			return refuse("is a partial clone", "clone again without --filter")
		}
	}
	switch {
	case isFile(filepath.Join(gitDir, "shallow")):
		return refuse("is shallow (made with --depth)", "run git fetch --unshallow there")
	case isFile(filepath.Join(gitDir, "objects", "info", "alternates")):
		return refuse("borrows objects from another repository (alternates)", "run git repack -a -d there and remove .git/objects/info/alternates")
	case isFile(filepath.Join(gitDir, "commondir")):
		return refuse("is a linked worktree", "use a clone of its own")
	}
	if _, err := readIndex(filepath.Join(gitDir, "index")); err != nil {
		return indexProblem(path, err)
	}
	return nil
}

// sparse reads the configuration that git sparse-checkout keeps for a work tree.
func sparse(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	cfg, err := config.ReadConfig(f)
	return err != nil || isTrue(cfg.Raw.Section("core").Option("sparsecheckout"))
}

// indexProblem says what to do about an index that can't be read.
func indexProblem(path string, err error) error {
	switch {
	case errors.Is(err, errSplitIndex):
		return fmt.Errorf("the clone %s has a split index, which is not supported; run git update-index --no-split-index there", path)
	case errors.Is(err, errSparseIndex):
		return fmt.Errorf("the clone %s has a sparse index, which is not supported; run git sparse-checkout disable there", path)
	case errors.Is(err, errIndex):
		return blockedBy(err, "the clone %s has a damaged index; remove .git/index and run git reset there", path)
	}
	return err
}

func isTrue(s string) bool {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return true
	}
	return false
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}
