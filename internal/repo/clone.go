package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// prepareClone makes a .git folder without commits in an empty place. It comes
// into being by one rename; whatever follows (the fetch, the first checkout)
// can be interrupted and goes on at the next Fetch.
func (r *Repository) prepareClone() error {
	if err := os.MkdirAll(r.opt.Path, 0o777); err != nil {
		return fmt.Errorf("clone: %w", err)
	}
	empty, err := emptyFolder(r.opt.Path)
	if err != nil {
		return err
	}
	if empty {
		if err := r.initClone(); err != nil {
			return fmt.Errorf("clone: %w", err)
		}
	}
	return r.attach()
}

func (r *Repository) initClone() error {
	tmp := filepath.Join(r.opt.Path, leftover)
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	for _, dir := range []string{"objects/pack", "objects/info", "refs/heads", "refs/tags", "logs/refs/heads", "logs/refs/remotes/origin", "info"} {
		if err := os.MkdirAll(filepath.Join(tmp, dir), 0o777); err != nil {
			return err
		}
	}
	files := map[string]string{
		"HEAD":   "ref: " + r.branchRef() + "\n",
		"config": r.cloneConfig(),
		// git keeps a log where it has kept one.
		"logs/HEAD":               "",
		"logs/" + r.branchRef():   "",
		"logs/" + r.trackingRef(): "",
		"info/exclude":            "",
		"description":             "Unnamed repository; edit this file 'description' to name the repository.\n",
	}
	for name, content := range files {
		path := filepath.Join(tmp, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(tmp, "gitops-compose"), 0o700); err != nil {
		return err
	}
	r.disk.owner = ownerOf(r.opt.Path)
	if err := filepath.WalkDir(tmp, func(path string, _ fs.DirEntry, err error) error {
		r.disk.give(path)
		return err
	}); err != nil {
		return err
	}
	err := r.disk.rename(tmp, r.gitDir)
	if errors.Is(err, fs.ErrExist) {
		return nil // another daemon was faster
	}
	return err
}

// cloneConfig is what git clone would write. The address is without
// credentials: the file can be read by everybody.
func (r *Repository) cloneConfig() string {
	url := r.remote.url.String()
	switch r.remote.kind {
	case remoteFile:
		url = r.remote.url.Path
	case remoteSSH:
		user := ""
		if r.remote.user != "" {
			user = r.remote.user + "@"
		}
		url = "ssh://" + user + r.remote.url.Host + r.remote.url.Path
		if !strings.HasPrefix(r.remote.url.Path, "/") { // host:path is below the home folder
			url = user + r.remote.url.Host + ":" + r.remote.url.Path
		}
	}
	return fmt.Sprintf(`[core]
	repositoryformatversion = 0
	filemode = true
	bare = false
	logallrefupdates = true
[remote "origin"]
	url = %s
	fetch = +refs/heads/*:refs/remotes/origin/*
[branch %s]
	remote = origin
	merge = %s
`, quoteConfig(url), quoteConfig(r.opt.Branch), r.branchRef())
}

// quoteConfig writes a value so that git's configuration reader gives it back.
func quoteConfig(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
