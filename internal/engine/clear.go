package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/atomicfile"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// clearFiles is the folder with the files that containers mount, see
// render.VolumeFile. Nobody but root may look into it; a container sees what it mounts.
type clearFiles struct {
	folder string // as this process sees it; empty if there is none
	host   string // as the engine does

	mu sync.Mutex
	// used counts, by folder of a content, the operations that are about to make
	// containers which mount something of it.
	used map[string]int
}

// clearMark is a file that says that a folder is for files in clear, and ours to sweep.
const clearMark = ".gitops-compose"

// forClearFiles says whether a folder is one for files in clear, or may become one: it
// has our mark or is empty.
func forClearFiles(folder string) (bool, error) {
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) == 0 {
		return err == nil, err
	}
	_, err = os.Lstat(filepath.Join(folder, clearMark))
	return err == nil, nil
}

// LocateClear is where files in clear lie for containers to mount, as this process and
// as the engine sees it; both are empty where there is no such folder.
func LocateClear(ctx context.Context, api client.APIClient, path string) (here, host string) {
	here, err := resolve(path)
	if err != nil {
		return "", ""
	}
	if host = Locate(ctx, api, here).HostRoot; host == "" {
		return "", ""
	}
	return here, host
}

// lay writes the files that a project's containers are to mount. Until release is
// called they stay, though no container has them yet.
func (c *clearFiles) lay(files []render.VolumeFile) (release func(), err error) {
	var held []string
	release = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, dir := range held {
			if c.used[dir]--; c.used[dir] == 0 {
				delete(c.used, dir)
			}
		}
	}
	for _, f := range files {
		if c.folder == "" {
			return release, errors.New("there is no folder for files in clear")
		}
		dir := contentOf(f.Path)
		c.mu.Lock()
		if c.used == nil {
			c.used = map[string]int{}
		}
		c.used[dir]++
		held = append(held, dir)
		err := c.write(f)
		c.mu.Unlock()
		if err != nil {
			return release, fmt.Errorf("write a file in clear for containers to mount: %w", err)
		}
	}
	return release, nil
}

// contentOf is the folder of a content, <project>/<digest>, of a path in it.
func contentOf(p string) string {
	parts := strings.SplitN(p, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func (c *clearFiles) write(f render.VolumeFile) error {
	full := filepath.Join(c.folder, filepath.FromSlash(f.Path))
	if c.has(full, f) {
		return nil
	}
	if ours, err := forClearFiles(c.folder); err != nil || !ours {
		return errors.Join(fmt.Errorf("%s is not empty, and not a folder for such files: give the daemon one of its own (SECRETS_PATH)", c.folder), err)
	}
	mark := filepath.Join(c.folder, clearMark)
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	if err := c.folders(f.Path); err != nil {
		return err
	}
	var owned error
	err := atomicfile.Write(full, f.Content, atomicfile.Options{Created: func(temp string) {
		owned = errors.Join(os.Chmod(temp, f.Mode), chown(temp, f))
	}})
	return errors.Join(err, owned)
}

// folders makes those that a file lies in. Only we may look into that of a content; a
// folder that is mounted is for whoever the container runs as.
func (c *clearFiles) folders(p string) error {
	content := filepath.FromSlash(contentOf(p))
	if err := os.MkdirAll(filepath.Join(c.folder, content), 0o700); err != nil {
		return err
	}
	dir := path.Dir(p)
	if dir == contentOf(p) {
		return nil
	}
	at := filepath.Join(c.folder, content)
	for _, name := range strings.Split(strings.TrimPrefix(dir, contentOf(p)+"/"), "/") {
		at = filepath.Join(at, name)
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Chmod(at, 0o755); err != nil { // whatever the umask is
			return err
		}
	}
	return nil
}

// chown gives a file its owner, which only root can.
func chown(full string, f render.VolumeFile) error {
	if f.UID < 0 && f.GID < 0 {
		return nil
	}
	if err := os.Lchown(full, f.UID, f.GID); err != nil {
		return fmt.Errorf("%w: to give it to another user the daemon has to be root, and to have the capability CHOWN", err)
	}
	return nil
}

// has says whether a file is there as it should be.
func (c *clearFiles) has(full string, f render.VolumeFile) bool {
	info, err := os.Lstat(full)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != f.Mode || info.Size() != int64(len(f.Content)) {
		return false
	}
	content, err := os.ReadFile(full)
	return err == nil && string(content) == string(f.Content)
}

// sweep removes what no container of a project mounts any more. It is tidying up,
// which the next operation or start does as well.
func (e *Engine) sweep(ctx context.Context, project string) {
	c := &e.clear
	if c.folder == "" || project == "." || project != filepath.Base(project) || !filepath.IsLocal(project) {
		return // a label that a person has set is no project's name of ours
	}
	if _, err := os.Lstat(filepath.Join(c.folder, clearMark)); err != nil {
		return // it has never been used, or is another's
	}
	contents, err := os.ReadDir(filepath.Join(c.folder, project))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = e.sweepAll(ctx, project, contents)
	}
	if err != nil {
		e.o.Logger.Warn("files in clear that no container mounts can't be removed", "stack", project, "err", err)
	}
}

func (e *Engine) sweepAll(ctx context.Context, project string, contents []fs.DirEntry) error {
	c := &e.clear
	c.mu.Lock()
	defer c.mu.Unlock()
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: projectFilter(project)})
	if err != nil {
		return err
	}
	mounted := map[string]bool{}
	for _, container := range list {
		for _, m := range container.Mounts {
			if rel, inside := strings.CutPrefix(m.Source, strings.TrimSuffix(c.host, "/")+"/"); inside {
				mounted[contentOf(rel)] = true
			}
		}
	}
	for _, content := range contents {
		dir := path.Join(project, content.Name())
		if !mounted[dir] && c.used[dir] == 0 {
			err = errors.Join(err, os.RemoveAll(filepath.Join(c.folder, filepath.FromSlash(dir))))
		}
	}
	if left, readErr := os.ReadDir(filepath.Join(c.folder, project)); readErr == nil && len(left) == 0 {
		err = errors.Join(err, os.Remove(filepath.Join(c.folder, project)))
	}
	return err
}

// SweepSecrets removes the files in clear that no container mounts, as a crash, or a
// person who removed containers, leaves them.
func (e *Engine) SweepSecrets(ctx context.Context) {
	if e.clear.folder == "" {
		return
	}
	projects, _ := os.ReadDir(e.clear.folder)
	for _, p := range projects {
		if p.IsDir() {
			e.sweep(ctx, p.Name())
		}
	}
}
