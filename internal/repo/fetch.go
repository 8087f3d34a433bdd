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

// relation is the answer to the last question of relate: nothing changes it but
// other heads.
type relation struct {
	local, remote plumbing.Hash
	rewritten     bool
	err           error
}

// relate tells a rewritten branch from a person's own commits:
//
//	remote contains local                      fast forward
//	else, local once was or was part of the
//	remote's branch                            rewritten: follow, or refuse if so set
//	else                                       diverged: refuse
func (r *Repository) relate(ctx context.Context, local, remote plumbing.Hash) (bool, error) {
	if local == remote {
		return false, nil
	}
	if r.related.local == local && r.related.remote == remote {
		return r.related.rewritten, r.related.err
	}
	contained, err := r.objects.descends(ctx, remote, local)
	if err != nil {
		return false, err
	}
	rel := relation{local: local, remote: remote}
	if !contained {
		known, err := r.fromRemote(ctx, local)
		if err != nil {
			return false, err
		}
		switch {
		case !known:
			if rel.err, err = r.diverged(ctx, local, remote); err != nil {
				return false, err
			}
			// A push or a fetch by a person can make it known: ask again.
			return false, rel.err
		case r.opt.FastForwardOnly:
			rel.err = blocked("the branch %s was rewritten on the remote: %s is not part of %s any more; REPOSITORY_HISTORY is fast-forward-only, so run git reset --keep %s in the clone if this is wanted",
				r.opt.Branch, short(local.String()), short(remote.String()), short(remote.String()))
		default:
			rel.rewritten = true
			r.log.Warn("the branch was rewritten on the remote; following it", "from", local.String(), "to", remote.String())
		}
	}
	r.related = rel
	return rel.rewritten, rel.err
}

// fromRemote tells whether a commit is known to have been on the remote's
// branch.
func (r *Repository) fromRemote(ctx context.Context, h plumbing.Hash) (bool, error) {
	known := append(reflog(r.gitDir, r.trackingRef()), r.seen()...)
	if tracking, err := readRef(r.gitDir, r.trackingRef()); err == nil {
		known = append(known, tracking)
	}
	tried := map[plumbing.Hash]bool{}
	for i := len(known) - 1; i >= 0; i-- {
		if known[i] == h {
			return true, nil
		}
	}
	for i := len(known) - 1; i >= 0; i-- {
		if tried[known[i]] || known[i].IsZero() {
			continue
		}
		tried[known[i]] = true
		ok, err := r.objects.descends(ctx, known[i], h)
		if isMissing(err) {
			continue // pruned meanwhile
		}
		if err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

// diverged names the commits that only the clone has.
func (r *Repository) diverged(ctx context.Context, local, remote plumbing.Hash) (blockedErr, err error) {
	theirs := map[plumbing.Hash]bool{}
	err = r.objects.walk(ctx, remote, func(h plumbing.Hash, _ *commit) bool {
		theirs[h] = true
		return true
	})
	if err != nil {
		return nil, err
	}
	var own []string
	count := 0
	seen := map[plumbing.Hash]bool{local: true}
	for queue := []plumbing.Hash{local}; len(queue) > 0; queue = queue[1:] {
		h := queue[0]
		if theirs[h] {
			continue
		}
		c, err := r.objects.commit(h)
		if err != nil {
			return nil, err
		}
		if count++; len(own) < 5 {
			own = append(own, fmt.Sprintf("%s %q", short(h.String()), firstBytes(c.subject, 60)))
		}
		for _, p := range c.parents {
			if !seen[p] {
				seen[p] = true
				queue = append(queue, p)
			}
		}
	}
	list := strings.Join(own, ", ")
	if more := count - len(own); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return blocked("the clone has commits that the remote's %s doesn't have: %s; push them, or drop them with git reset --keep origin/%s",
		r.opt.Branch, list, r.opt.Branch), nil
}
