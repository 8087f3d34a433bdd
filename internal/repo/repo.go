package repo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
)

// Options says which clone, which remote, and how to reach it.
type Options struct {
	// Path is the clone.
	Path string
	// URL is where to clone from when Path is empty or missing; otherwise the
	// clone's origin must be the same repository. May be "".
	URL string
	// Branch is the one branch that is followed, without refs/heads/.
	Branch string

	// Credentials is asked at each remote operation by HTTP(S), because the files
	// that hold them rotate. nil or two empty strings: those inside the address
	// count, if there are any.
	Credentials func() (username, password string, err error)
	// SSHKeyFile is a private key in a format of OpenSSH's or in PEM; "" means the
	// usual names in ~/.ssh.
	SSHKeyFile string
	// SSHKnownHostsFile is in OpenSSH's format; "" means its usual places. An
	// unknown host is refused.
	SSHKnownHostsFile string
	// SSHPassphrase is asked if the key has one.
	SSHPassphrase func() (string, error)
	// CAFile has certificates in PEM to trust beside the system's.
	CAFile string

	// FastForwardOnly refuses a rewritten branch instead of following it.
	FastForwardOnly bool
	// KeepLocalChanges lets changes of tracked files by hand stay, and refuses only
	// commits that change the same files. Otherwise Fetch refuses all.
	KeepLocalChanges bool
	// ReadOnly leaves the work tree and .git as they are; what is fetched goes to
	// a temporary folder.
	ReadOnly bool

	// Timeout limits each remote operation up to the first byte of a pack, and
	// with it how long a pack may stand still; 0 means two minutes.
	Timeout time.Duration
	// Logger gets what is not an error; nil means none.
	Logger *slog.Logger
}

const defaultTimeout = 2 * time.Minute

// Repository is a clone and its remote. It is safe for use by several
// goroutines. One fetch runs at a time, and while it waits for the remote all
// else goes on; other operations run one at a time.
type Repository struct {
	opt    Options
	log    *slog.Logger
	gitDir string
	remote *remote
	disk   disk

	// fetching has room for the one who fetches, to whom these belong.
	fetching chan struct{}
	http     httpMemory

	// changing has room for the one who changes the clone, see exclusive.
	changing chan struct{}

	// refetch: an object was missing, and the next fetch gets everything.
	refetch atomic.Bool

	// mu is of everything below but what has its own, and of the work tree. It is
	// held for as long as a local step takes, never while somebody is waited for:
	// see lock.go.
	mu      sync.Mutex
	cloning bool // there is no clone yet
	objects *objects
	work    worktree
	overlay string // temporary git folder of a read-only repository

	indexCache *index
	indexStamp stamp
	edited     []string // see edits.paths
	looked     bool     // edited is known
	related    relation
	warned     map[string]bool

	spare spare

	findersMu sync.Mutex
	finders   map[string]*finder
}

// Open looks at the clone, without the network. Its errors are for the start of
// the program: no clone and no URL, a folder with something else in it, an
// origin that is not URL, a layout that isn't supported. With URL set and Path
// empty it succeeds, and the first Fetch makes the clone.
//
// It removes what a killed daemon has left: its lock files, half-fetched packs,
// staged trees. A checkout that was interrupted is finished by Checkout.
func Open(ctx context.Context, o Options) (*Repository, error) {
	return openWith(ctx, o, disk{})
}

func openWith(ctx context.Context, o Options, d disk) (*Repository, error) {
	path, err := filepath.Abs(o.Path)
	if err != nil || o.Path == "" {
		return nil, errors.New("open the repository: the path is empty")
	}
	if o.Branch == "" || strings.HasPrefix(o.Branch, "-") || plumbing.NewBranchReferenceName(o.Branch).Validate() != nil {
		return nil, fmt.Errorf("open the repository: %q is not a branch name", o.Branch)
	}
	o.Path = path
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Repository{
		opt: o, log: o.Logger, disk: d, gitDir: filepath.Join(path, ".git"), work: worktree{root: path},
		fetching: make(chan struct{}, 1), changing: make(chan struct{}, 1),
	}
	if err := r.attach(); err != nil {
		return nil, err
	}
	if !r.cloning && !o.ReadOnly {
		if err := r.tidy(ctx); err != nil {
			return nil, fmt.Errorf("open the repository: %w", err)
		}
	}
	return r, nil
}

// attach finds out what is at the path.
func (r *Repository) attach() error {
	var wanted *remote
	if r.opt.URL != "" {
		var err error
		if wanted, err = parseRemote(r.opt.URL, r.opt.Path); err != nil {
			return fmt.Errorf("REPOSITORY_URL: %w", err)
		}
	}
	empty, err := emptyFolder(r.opt.Path)
	if err != nil {
		return err
	}
	if empty {
		switch {
		case wanted == nil:
			return fmt.Errorf("there is no clone at %s; clone the stacks' repository there, or set REPOSITORY_URL", r.opt.Path)
		case r.opt.ReadOnly:
			return fmt.Errorf("there is no clone at %s yet; start the daemon once to make it", r.opt.Path)
		}
		r.remote, r.cloning = wanted, true
		return nil
	}
	origin, cfg, err := inspect(r.opt.Path)
	if err != nil {
		return err
	}
	found, err := parseRemote(origin, r.opt.Path)
	if err != nil {
		return fmt.Errorf("the clone %s: %w", r.opt.Path, err)
	}
	if wanted != nil {
		if wanted.display != found.display {
			return fmt.Errorf("the clone %s comes from %s, but REPOSITORY_URL is %s; change one of them, or empty the folder",
				r.opt.Path, found.display, wanted.display)
		}
		if found.user == "" && found.password == "" {
			found.user, found.password = wanted.user, wanted.password
		}
	}
	if r.remote == nil { // others read it without a lock, so a first clone doesn't change it
		r.remote = found
	}
	r.use(cfg)
	return nil
}

// use takes up a clone that is there.
func (r *Repository) use(cfg *config.Config) {
	core := cfg.Raw.Section("core")
	r.work.fileMode = !core.HasOption("filemode") || isTrue(core.Option("filemode"))
	switch strings.ToLower(core.Option("autocrlf")) {
	case "", "false", "no", "off", "0":
		r.work.autocrlf = false
	default:
		r.work.autocrlf = true
	}
	r.work.attributesFile, r.work.filters = attributesFile(cfg), configuredFilter(cfg)
	r.work.blob, r.work.unsure = r.small, r.sayUnsure
	r.disk.owner = ownerOf(r.gitDir)
	r.objects = newObjects(r.gitDir)
	r.cloning = false
}

// tidy removes a killed daemon's leftovers. It waits only a moment for another
// daemon: one that is at work needs its own.
func (r *Repository) tidy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	release, err := r.exclusive(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		r.log.Warn("another daemon is at work in the clone")
		return nil
	}
	if err != nil {
		return err
	}
	defer release()
	if err := r.removeStaleLocks(); err != nil {
		return err
	}
	if err := r.tidyIncoming(ctx); err != nil {
		return err
	}
	for _, name := range []string{"stage", "new", "index.new", "ref.new", "lock.new", "seen.new", "checkout.new"} {
		if err := os.RemoveAll(r.state(name)); err != nil {
			return err
		}
	}
	r.tidyPacks()
	return r.tidyJournal()
}

// tidyIncoming removes a pack that has not arrived whole, unless another daemon
// is fetching it.
func (r *Repository) tidyIncoming(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel() // don't wait
	release, err := r.flock(ctx, fetchFlock)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return err
	}
	defer release()
	return os.RemoveAll(r.state(incoming))
}

// A temporary file of git's that is older than this is that of a killed git.
const tempPackAge = 24 * time.Hour

// tidyPacks removes what a git command that was killed in a fetch has left: it
// can be as large as the repository, and git itself waits for two weeks.
func (r *Repository) tidyPacks() {
	list, _ := filepath.Glob(filepath.Join(packDir(r.gitDir), "tmp_*"))
	for _, path := range list {
		if fi, err := os.Lstat(path); err == nil && fi.Mode().IsRegular() && time.Since(fi.ModTime()) > tempPackAge {
			r.log.Info("removing what a killed fetch has left", "path", path)
			_ = r.disk.remove(path)
		}
	}
}

// tidyJournal drops a journal that no longer says anything: the head has moved.
// If it does, the temporary files in the work tree that it knows of go.
func (r *Repository) tidyJournal() error {
	head, err := readRef(r.gitDir, r.branchRef())
	if err != nil {
		return nil // Fetch will say it better
	}
	j, err := r.readJournal()
	if err != nil || j == nil {
		return err
	}
	if j.from() != head {
		return r.dropJournal()
	}
	return r.removeBeside(j)
}

// Close removes the staged trees. The clone stays as it is. A fetch that is
// under way is waited for: end its context first.
func (r *Repository) Close() error {
	r.fetching <- struct{}{}
	defer func() { <-r.fetching }()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.http.transport != nil {
		r.http.transport.CloseIdleConnections()
	}
	if dir, has := r.spare.take(); has != nil {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if r.overlay != "" {
		return os.RemoveAll(r.overlay)
	}
	if r.opt.ReadOnly || r.cloning {
		return nil
	}
	return os.RemoveAll(r.state("stage"))
}

// Remote is the origin's address, without credentials and query.
func (r *Repository) Remote() string { return r.remote.display }

// Identity names repository and branch for labels: the origin's address without
// credentials, query and .git, then # and the branch.
func (r *Repository) Identity() string { return r.remote.display + "#" + r.opt.Branch }

// Commit describes a commit to people.
type Commit struct {
	Hash    string
	Subject string
	Author  string    // "Name <mail>"
	Time    time.Time // of the commit
}

// Describe returns what a commit says about itself.
func (r *Repository) Describe(commit string) (Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(); err != nil {
		return Commit{}, err
	}
	c, err := r.objects.commit(plumbing.NewHash(commit))
	if err != nil {
		return Commit{}, fmt.Errorf("describe %s: %w", short(commit), err)
	}
	return Commit{Hash: commit, Subject: c.subject, Author: c.author, Time: c.when}, nil
}

// cloned is open for callers without the lock.
func (r *Repository) cloned() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open()
}

func (r *Repository) open() error {
	if r.cloning {
		return errors.New("the repository has not been cloned yet")
	}
	return nil
}

// tree reads a tree object; it may be called without the lock, for objects is
// set once and has its own.
func (r *Repository) tree(h plumbing.Hash) ([]treeEntry, error) { return r.objects.tree(h) }

// head returns the commit that the clone has checked out; zero before the
// first.
func (r *Repository) head() (plumbing.Hash, error) {
	branch, detached, err := readHead(r.gitDir)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("read the clone's head: %w", err)
	}
	switch {
	case branch == "":
		return plumbing.ZeroHash, blocked("the clone has commit %s checked out and no branch; run git switch %s there", short(detached.String()), r.opt.Branch)
	case branch != r.branchRef():
		return plumbing.ZeroHash, blocked("the clone is on branch %s and not on %s; run git switch %s there, or set REPOSITORY_BRANCH",
			strings.TrimPrefix(branch, "refs/heads/"), r.opt.Branch, r.opt.Branch)
	}
	return readRef(r.gitDir, branch)
}

// once is true for the first call with a key: what can't be changed soon must
// not fill the log.
func (r *Repository) once(key string) bool {
	if r.warned[key] {
		return false
	}
	if r.warned == nil {
		r.warned = map[string]bool{}
	}
	r.warned[key] = true
	return true
}

// distrust notes that an object is missing, so that the next fetch asks for
// everything again instead of for what is new.
func (r *Repository) distrust(err error) error {
	if isMissing(err) {
		r.refetch.Store(true)
	}
	return err
}

func statFile(path string) (stamp, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{mtimeSec: uint32(fi.ModTime().Unix()), mtimeNsec: uint32(fi.ModTime().Nanosecond()), size: uint32(fi.Size())}, nil
}
