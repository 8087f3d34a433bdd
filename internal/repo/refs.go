package repo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sys/unix"
)

// readRef returns the id that a ref holds, loose or packed; zero if there is no
// such ref.
func readRef(gitDir, name string) (plumbing.Hash, error) {
	b, err := os.ReadFile(filepath.Join(gitDir, filepath.FromSlash(name)))
	if err == nil {
		text := strings.TrimSpace(string(b))
		if !plumbing.IsHash(text) {
			return plumbing.ZeroHash, fmt.Errorf("read %s: not an object id", name)
		}
		return plumbing.NewHash(text), nil
	}
	var pe *fs.PathError
	if !errors.Is(err, fs.ErrNotExist) && !(errors.As(err, &pe) && isFolder(pe.Path)) && !isNotDir(err) {
		return plumbing.ZeroHash, err
	}
	return packedRef(gitDir, name)
}

func packedRef(gitDir, name string) (plumbing.Hash, error) {
	f, err := os.Open(filepath.Join(gitDir, "packed-refs"))
	if errors.Is(err, fs.ErrNotExist) {
		return plumbing.ZeroHash, nil
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if id, ref, ok := bytes.Cut(s.Bytes(), []byte(" ")); ok && string(ref) == name {
			return plumbing.NewHash(string(id)), nil
		}
	}
	return plumbing.ZeroHash, s.Err()
}

// readHead returns the branch (refs/heads/...) that HEAD names, or "" and the
// commit when it is detached.
func readHead(gitDir string) (branch string, detached plumbing.Hash, err error) {
	b, err := os.ReadFile(filepath.Join(gitDir, "HEAD"))
	if err != nil {
		return "", plumbing.ZeroHash, err
	}
	text := strings.TrimSpace(string(b))
	if name, ok := strings.CutPrefix(text, "ref:"); ok {
		return strings.TrimSpace(name), plumbing.ZeroHash, nil
	}
	if plumbing.IsHash(text) {
		return "", plumbing.NewHash(text), nil
	}
	return "", plumbing.ZeroHash, fmt.Errorf("read HEAD: neither a branch nor a commit")
}

// moveRef sets a ref from one value to another under git's own lock, and fails
// with errMoved if someone else was faster.
func (r *Repository) moveRef(name string, from, to plumbing.Hash, message string) error {
	path := filepath.Join(r.gitDir, filepath.FromSlash(name))
	if err := r.disk.mkdirAll(r.gitDir, filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("move %s: %w", name, err)
	}
	unlock, err := r.lock(path + ".lock")
	if err != nil {
		return fmt.Errorf("move %s: %w", name, err)
	}
	defer unlock()
	now, err := readRef(r.gitDir, name)
	if err != nil {
		return fmt.Errorf("move %s: %w", name, err)
	}
	if now != from {
		return fmt.Errorf("move %s: %w", name, errMoved)
	}
	if err := r.disk.replace(path, r.state("ref.new"), 0o666, []byte(to.String()+"\n")); err != nil {
		return fmt.Errorf("move %s: %w", name, err)
	}
	// The log is for people; the ref is what counts, and it has moved.
	logs := []string{name}
	if head, _, err := readHead(r.gitDir); err == nil && head == name {
		logs = append(logs, "HEAD")
	}
	for _, l := range logs {
		if err := r.appendReflog(l, from, to, message); err != nil {
			r.log.Warn("reflog not written", "ref", l, "err", err)
		}
	}
	return nil
}

var errMoved = errors.New("someone else moved it meanwhile")

// appendReflog adds a line as git would, where git keeps a log.
func (r *Repository) appendReflog(name string, from, to plumbing.Hash, message string) error {
	logs := filepath.Join(r.gitDir, "logs")
	if !isFolder(logs) {
		return nil
	}
	path := filepath.Join(logs, filepath.FromSlash(name))
	if err := r.disk.mkdirAll(logs, filepath.Dir(path), 0o777); err != nil {
		return err
	}
	if err := r.disk.step("append", path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	r.disk.give(path)
	now := time.Now()
	_, err = fmt.Fprintf(f, "%s %s gitops-compose <gitops-compose@localhost> %d %s\t%s\n",
		from, to, now.Unix(), now.Format("-0700"), message)
	return errors.Join(err, f.Close())
}

// reflog returns the ids that a ref has held, newest last.
func reflog(gitDir, name string) []plumbing.Hash {
	f, err := os.Open(filepath.Join(gitDir, "logs", filepath.FromSlash(name)))
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []plumbing.Hash
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		fields := strings.SplitN(s.Text(), " ", 3)
		if len(fields) == 3 && plumbing.IsHash(fields[1]) {
			out = append(out, plumbing.NewHash(fields[1]))
		}
	}
	return out
}

func isFolder(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

func isNotDir(err error) bool {
	return errors.Is(err, unix.ENOTDIR)
}
