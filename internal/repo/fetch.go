package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	// Edited are tracked files that differ from Local because they were changed by
	// hand: content, exec bit or kind, deleted, or staged. Relative paths with
	// slashes, sorted, no more than MaxEdited.
	Edited []string
}

// MaxEdited is how many paths Heads.Edited has at most.
const MaxEdited = 1000

// Fetch asks the remote for the branch's head, fetches it if it isn't here, and
// checks that the clone can be moved there: no change by hand (unless those are
// to be kept), no unfinished merge, no commits of its own. The work tree is not touched; only a clone that is empty is filled.
//
// It may take as long as the remote does, and holds up nobody but other
// fetches. Local is where the clone is when Fetch returns, also if a Checkout
// has moved it meanwhile.
//
// Heads are filled in as far as they are known, also beside an error. A
// BlockedError needs a person; any other error is worth another try as it is.
func (r *Repository) Fetch(ctx context.Context) (Heads, error) {
	select {
	case r.fetching <- struct{}{}:
	case <-ctx.Done():
		return Heads{}, fmt.Errorf("fetch: another one has not ended: %w", ctx.Err())
	}
	defer func() { <-r.fetching }()
	heads, err := r.fetch(ctx)
	if err != nil {
		err = redact(fmt.Errorf("fetch: %w", err), r.secrets()...)
	}
	return heads, err
}

// Local is Fetch without a remote: the clone's head, as if the remote had the
// same. It answers while a Fetch is under way. An interrupted checkout counts as
// it does there: what it has written already is no change by hand, and Local is
// where it was going to, which is not Remote. Changes by hand are no error, but
// reported.
//
// There is an error while there is no clone, or if HEAD or the index can't be
// worked with.
func (r *Repository) Local(ctx context.Context) (Heads, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, err := r.localHeads(ctx)
	if err != nil {
		return h, fmt.Errorf("read the clone: %w", err)
	}
	return h, nil
}

func (r *Repository) localHeads(ctx context.Context) (Heads, error) {
	if err := r.open(); err != nil {
		return Heads{}, err
	}
	local, err := r.head()
	if err != nil {
		return Heads{}, err
	}
	if local.IsZero() {
		return Heads{}, errors.New("the clone has nothing checked out yet")
	}
	h, _, e, err := r.stand(ctx, local, local, nil)
	if err != nil {
		return h, err
	}
	return h, e.conflict()
}

// secrets returns what must not be in a message: passwords, and a token that is
// in the user's place, which is when there is no password, or the word that
// GitHub has people put there.
func (r *Repository) secrets() []string {
	out := []string{r.remote.password}
	user, password := "", ""
	if r.opt.Credentials != nil {
		user, password, _ = r.opt.Credentials()
		out = append(out, password)
	}
	if user == "" && password == "" && r.remote.kind == remoteHTTP {
		user, password = r.remote.user, r.remote.password
	}
	// A name that is part of the address is none, and the message needs it.
	if (password == "" || password == "x-oauth-basic") && !strings.Contains(r.remote.display, user) { //nolint:gosec // G101: the word is no password
		out = append(out, user)
	}
	return out
}

func (r *Repository) fetch(ctx context.Context) (Heads, error) {
	local, err := r.begin()
	if err != nil {
		return Heads{}, err
	}
	ahead := r.lookAhead(ctx, local)
	remote, err := r.update(ctx, local)
	seen := ahead()
	if err != nil {
		return Heads{Local: r.localHead()}, err
	}
	if local.IsZero() {
		if err := r.fill(ctx, remote); err != nil {
			return Heads{Remote: text(remote)}, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if local, err = r.head(); err != nil {
		return Heads{Remote: text(remote)}, err
	}
	heads, local, e, err := r.stand(ctx, local, remote, seen)
	if err != nil {
		return heads, r.distrust(err)
	}
	refusal := e.any
	if r.opt.KeepLocalChanges {
		refusal = e.conflict
	}
	if err := refusal(); err != nil {
		return heads, err
	}
	if heads.Rewritten, err = r.relate(ctx, local, remote); err == nil {
		err = r.obstacles(ctx, local, remote)
	}
	return heads, r.distrust(err)
}

// obstacles refuses a commit to which Checkout would not move the clone, for
// what a person has put in the way: before anything is done for that commit, and
// again with each Fetch. A checkout that was interrupted has looked already; then
// local is where that was going to, and not the clone's head.
func (r *Repository) obstacles(ctx context.Context, local, remote plumbing.Hash) error {
	if local == remote || r.opt.ReadOnly {
		return nil
	}
	head, err := r.head()
	if err != nil {
		return err
	}
	if pending, err := r.pending(head); err != nil || pending != nil {
		return err
	}
	x, err := r.readIndex()
	if err != nil {
		return err
	}
	changes, err := r.changes(ctx, local, remote)
	if err != nil {
		return err
	}
	_, err = r.preflight(ctx, x, changes)
	return err
}

// begin returns the head from which a fetch starts, zero if there is none. It
// makes the clone if there is none.
func (r *Repository) begin() (plumbing.Hash, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cloning {
		if err := r.prepareClone(); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	return r.head()
}

// localHead is for beside an error.
func (r *Repository) localHead() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	local, err := r.head()
	if err != nil {
		return ""
	}
	return text(local)
}

// lookAhead looks at the tracked files while the remote is waited for, as there
// may be many. The function that it returns waits for what was seen, which is nil
// if that serves nobody.
func (r *Repository) lookAhead(ctx context.Context, local plumbing.Hash) func() *sighting {
	if local.IsZero() {
		return func() *sighting { return nil }
	}
	seen := make(chan *sighting, 1)
	go func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		var s *sighting
		x, err := r.readIndex()
		if err == nil {
			x.tree() // this and others are wanted next
			x.others()
			s, err = r.work.sight(ctx, x)
		}
		if err != nil {
			s = nil // whoever wants to know meets it again
		}
		seen <- s
	}()
	return func() *sighting { return <-seen }
}

// stand compares the clone, whose head is local, with the remote's head; seen, if
// any, is what was seen of its files just now. It also returns Heads.Local as a
// hash.
func (r *Repository) stand(ctx context.Context, local, remote plumbing.Hash, seen *sighting) (Heads, plumbing.Hash, edits, error) {
	heads := Heads{Local: text(local), Remote: text(remote)}
	pending, err := r.pending(local)
	if err != nil {
		return heads, local, edits{}, err
	}
	e, err := r.edits(ctx, local, pending, seen)
	if err != nil {
		return heads, local, e, err
	}
	heads.Edited = slices.Clone(r.edited[:min(len(r.edited), MaxEdited)])
	if pending != nil && local == remote {
		// The remote went back to where an interrupted checkout began: there is
		// something to do, although the heads agree.
		local = pending.to()
		heads.Local = pending.To
	}
	return heads, local, e, nil
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
	r.mu.Lock()
	defer r.mu.Unlock()
	if head, err := r.head(); err != nil || !head.IsZero() {
		return err // somebody else was faster
	}
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
	here := !r.refetch.Load() && (remote == local || remote == tracking || r.objects.has(remote))
	if !here {
		if err := r.download(ctx, w, s, remote, r.haves(local, tracking)); err != nil {
			return remote, err
		}
	}
	if r.opt.ReadOnly || here && remote == tracking {
		return remote, nil
	}
	release, err := r.exclusive(ctx)
	if err != nil {
		return remote, err
	}
	defer release()
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
	if r.refetch.Load() {
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
func (r *Repository) download(ctx context.Context, w *watch, s session, want plumbing.Hash, haves []plumbing.Hash) error {
	dir, leave, err := r.landing(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := os.MkdirAll(packDir(dir), 0o700); err != nil {
		return err
	}
	w.timer.Reset(r.opt.Timeout) // a new operation
	err = s.fetch(w.ctx, want, haves, func(pack io.Reader) error {
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
	r.refetch.Store(false)
	if !r.opt.ReadOnly {
		r.consolidate(ctx)
	}
	return nil
}

// landing returns the empty git folder that a pack is to arrive in; leave removes
// what is left there. For a read-only repository it is read from as it is.
func (r *Repository) landing(ctx context.Context) (dir string, leave func(), err error) {
	if r.opt.ReadOnly {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.overlay == "" {
			if r.overlay, err = os.MkdirTemp("", "gitops-compose-fetch-"); err != nil {
				return "", nil, err
			}
			r.objects.add(r.overlay)
		}
		return r.overlay, func() {}, nil
	}
	release, err := r.flock(ctx, fetchFlock)
	if err != nil {
		return "", nil, err
	}
	dir = r.state(incoming)
	if err := os.RemoveAll(dir); err != nil {
		release()
		return "", nil, err
	}
	return dir, func() {
		_ = os.RemoveAll(dir)
		release()
	}, nil
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
