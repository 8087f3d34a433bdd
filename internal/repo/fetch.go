package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Heads is what a fetch found: where the clone is and where it should be.
type Heads struct {
	// Local is the clone's head, in hexadecimal, "" before the first commit. If a
	// checkout was interrupted and the remote has gone back to where it began,
	// Local is where it was going to: the two differ as long as there is work.
	Local  string
	Remote string
	// Rewritten: Remote does not contain Local, which came from the remote too;
	// the branch was rewritten, and is to be followed.
	Rewritten bool
}

// Fetch asks the remote for the branch's head, fetches it if it isn't here, and
// checks that the clone can be moved there: no change by hand, no commits of
// its own. The work tree is not touched; only a clone that is empty is filled.
//
// Heads are filled in as far as they are known, also beside an error. A
// BlockedError needs a person; any other error is worth another try as it is.
func (r *Repository) Fetch(ctx context.Context) (Heads, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	heads, err := r.fetch(ctx)
	if err != nil {
		user, password := r.secrets()
		err = redact(fmt.Errorf("fetch: %w", err), user, password)
	}
	return heads, err
}

// secrets returns what must not be in a message.
func (r *Repository) secrets() (a, b string) {
	if r.opt.Credentials != nil {
		_, a, _ = r.opt.Credentials()
	}
	return a, r.remote.password
}

func (r *Repository) fetch(ctx context.Context) (Heads, error) {
	if r.cloning {
		if err := r.prepareClone(); err != nil {
			return Heads{}, err
		}
	}
	local, err := r.head()
	if err != nil {
		return Heads{}, err
	}
	heads := Heads{Local: text(local)}
	remote, err := r.update(ctx, local)
	if err != nil {
		return heads, err
	}
	heads.Remote = remote.String()
	if local.IsZero() {
		if err := r.fill(ctx, remote); err != nil {
			return heads, err
		}
		local = remote
		heads.Local = heads.Remote
	}
	pending, err := r.pending(local)
	if err != nil {
		return heads, err
	}
	if err := r.check(ctx, local, pending); err != nil {
		return heads, r.distrust(err)
	}
	if pending != nil && local == remote {
		// The remote went back to where an interrupted checkout began: there is
		// something to do, although the heads agree.
		local = pending.to()
		heads.Local = pending.To
	}
	heads.Rewritten, err = r.relate(ctx, local, remote)
	return heads, r.distrust(err)
}

func text(h plumbing.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

// fill makes the first checkout of a clone without commits.
func (r *Repository) fill(ctx context.Context, remote plumbing.Hash) error {
	if r.opt.ReadOnly {
		return fmt.Errorf("the clone has nothing checked out yet: %w", errReadOnly)
	}
	release, err := r.exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	return r.checkout(ctx, remote)
}

// update asks for the remote's head, sees that it is here, and moves the
// tracking ref.
func (r *Repository) update(ctx context.Context, local plumbing.Hash) (plumbing.Hash, error) {
	tracking, err := readRef(r.gitDir, r.trackingRef())
	if err != nil {
		return plumbing.ZeroHash, err
	}
	s, err := r.dial()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer s.close()
	w := newWatch(ctx, r.opt.Timeout)
	defer w.stop()
	remote, err := s.head(w.ctx)
	if err != nil {
		return plumbing.ZeroHash, w.cause(err)
	}
	if remote.IsZero() {
		return plumbing.ZeroHash, blocked("%s has no branch %s; push it, or set REPOSITORY_BRANCH", r.remote.display, r.opt.Branch)
	}
	here := !r.refetch && (remote == local || remote == tracking || r.objects.has(remote))
	if r.opt.ReadOnly {
		if !here {
			err = r.download(w, s, remote, r.haves(local, tracking))
		}
		return remote, err
	}
	if here && remote == tracking {
		return remote, nil
	}
	release, err := r.exclusive(ctx)
	if err != nil {
		return remote, err
	}
	defer release()
	if !here {
		if err := r.download(w, s, remote, r.haves(local, tracking)); err != nil {
			return remote, err
		}
		r.consolidate(ctx)
	}
	if err := r.remember(tracking, remote); err != nil {
		return remote, err
	}
	if tracking == remote {
		return remote, nil
	}
	return remote, r.moveTracking(tracking, remote)
}

// moveTracking tolerates a git fetch that was faster.
func (r *Repository) moveTracking(from, to plumbing.Hash) error {
	err := r.moveRef(r.trackingRef(), from, to, "gitops-compose: fetch")
	if !errors.Is(err, errMoved) {
		return err
	}
	now, rerr := readRef(r.gitDir, r.trackingRef())
	if rerr != nil || now != to {
		return err
	}
	return nil
}

// Offered commits: the remote finds the nearest one it knows. Near the head
// they are dense, for the usual case; further back they thin out, for a branch
// that was rewritten from long ago.
const (
	denseHaves = 16
	maxHaves   = 96
)

// haves lists commits that the clone has in full.
func (r *Repository) haves(tips ...plumbing.Hash) []plumbing.Hash {
	if r.refetch {
		return nil
	}
	var out []plumbing.Hash
	done := map[plumbing.Hash]bool{}
	for _, tip := range tips {
		next, gap := 0, 1
		h := tip
		for n := 0; !h.IsZero() && len(out) < maxHaves && !done[h]; n++ {
			c, err := r.objects.commit(h)
			if err != nil {
				break
			}
			done[h] = true
			if n == next {
				out = append(out, h)
				if n >= denseHaves {
					gap *= 2
				}
				next += gap
			}
			if len(c.parents) == 0 || n > 1<<14 {
				break
			}
			h = c.parents[0]
		}
	}
	return out
}

// incoming is where packs are written until they are whole. git's own
// tmp_pack files can't be told from those of a git at work; what lies here is
// ours.
const incoming = "incoming"

// download fetches want and puts the pack among the clone's, or into the
// temporary folder of a read-only repository.
func (r *Repository) download(w *watch, s session, want plumbing.Hash, haves []plumbing.Hash) error {
	dir := r.state(incoming)
	if r.opt.ReadOnly {
		if r.overlay == "" {
			tmp, err := os.MkdirTemp("", "gitops-compose-fetch-")
			if err != nil {
				return err
			}
			r.overlay = tmp
			r.objects.add(tmp)
		}
		dir = r.overlay
	} else {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	if err := os.MkdirAll(packDir(dir), 0o700); err != nil {
		return err
	}
	w.timer.Reset(r.opt.Timeout) // a new operation
	err := s.fetch(w.ctx, want, haves, func(pack io.Reader) error {
		return storePack(dir, w.pace(pack))
	})
	if err != nil {
		return w.cause(err)
	}
	if !r.opt.ReadOnly {
		if err := r.takeIn(dir); err != nil {
			return err
		}
	}
	r.objects.reset()
	if _, err := r.objects.rootTree(want); err != nil {
		return fmt.Errorf("the remote sent a pack without the commit it named: %w", err)
	}
	r.refetch = false
	return nil
}

// storePack writes a pack and makes its index.
func storePack(gitDir string, pack io.Reader) error {
	s := filesystem.NewStorage(osfs.New(gitDir, osfs.WithBoundOS()), cache.NewObjectLRU(indexCacheSize))
	return packfile.WritePackfileToObjectStorage(s, pack)
}

const indexCacheSize = 16 << 20

// takeIn moves whole packs from dir to the clone, each index before its pack: a
// kill in between leaves an index without a pack, which git and this package
// take no notice of.
func (r *Repository) takeIn(dir string) error {
	entries, err := os.ReadDir(packDir(dir))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(packDir(r.gitDir), 0o777); err != nil {
		return err
	}
	for _, suffix := range []string{".idx", ".pack"} {
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), suffix) {
				continue
			}
			from := filepath.Join(packDir(dir), e.Name())
			if err := r.syncFile(from); err != nil {
				return err
			}
			r.disk.give(from)
			if err := r.disk.rename(from, filepath.Join(packDir(r.gitDir), e.Name())); err != nil {
				return err
			}
		}
	}
	return r.disk.syncDir(packDir(r.gitDir))
}

func (r *Repository) syncFile(path string) error {
	if err := r.disk.step("sync", path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
