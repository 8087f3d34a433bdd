// Package render turns the folders of a commit into projects: it finds the
// compose files, loads and interpolates them as `docker compose` would do in
// that folder on the host, maps paths to where the engine sees them, digests
// what the configuration depends on, and sets the labels that make a project
// ours.
//
// It never reads the daemon's own environment: a stack sees its env files and
// the variables that are given to all stacks, and nothing else, so that no secret
// of the daemon can get into a stack.
package render

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/secrets"
)

// Labels that the daemon reads from compose files and sets on what it starts.
const (
	LabelIgnore     = "gitops.ignore"
	LabelController = "gitops.controller"
	// LabelData says, with the value "new" and on a service, that the service may
	// start with empty volumes and folders where its containers had others with
	// content. It is no part of what the service is: containers are not recreated
	// when it comes or goes, and do not carry it.
	LabelData = "gitops.data"
	// LabelRollback says, as true or false, whether the stack goes back to its last
	// good version when a new one fails. It is no part of what a service is, like
	// LabelData.
	LabelRollback = "gitops.rollback"
	// LabelSuspend says on a service, as true, that its stack is to be left as it is. It is
	// no part of a service either.
	LabelSuspend = "gitops.suspend"
	// LabelWindow says on a service when its stack may be updated, started and stopped, see
	// plan.ParseWindow. It is no part of a service either.
	LabelWindow = "gitops.window"
	// LabelAge says on a service how long the watched tags of its stack have to have
	// pointed to a new image before that is taken. It is no part of a service either.
	LabelAge = "gitops.image-age"
	// LabelRepository and LabelStack say which stack file of which repository
	// something belongs to.
	LabelRepository = "gitops.repository"
	LabelStack      = "gitops.stack"
	// LabelGrace is how long a container has to end once it is asked to: the engine only
	// tells it when asked for that container alone.
	LabelGrace = "gitops.grace"
	// LabelCommit is the commit that a container was created at.
	LabelCommit = "gitops.commit"
	// LabelHook says of a container that it is a run of a hook, and of which kind, see
	// plan.HookKind.
	LabelHook = "gitops.hook"
	// LabelHash is the hash that a container was created from, see
	// plan.Service.Hash.
	LabelHash = "gitops.hash"
	// LabelContent is a digest of the files that a service uses and that
	// compose's own hash does not see. It is no part of that hash, or a person's
	// docker compose up would recreate what we made; releases before had it so, see
	// plan.Orders.Former.
	LabelContent = "gitops.content"
)

// Tree shows a commit: its tracked files by name and id, and a folder on disk
// that has them together with the clone's untracked files. It is used by several
// goroutines at a time.
type Tree interface {
	Commit() string
	// Dir is the folder to load from.
	Dir() string
	// Find lists the tracked files with one of the base names, sorted, with
	// slashes, relative to the root. In a name * stands for any text.
	Find(names ...string) []string
	// ID is git's id of a tracked file or folder, empty if not tracked. The
	// root is "".
	ID(path string) string
	// Edited says whether a tracked file, or one in a tracked folder, was changed
	// by hand in the clone.
	Edited(path string) bool
}

// Hasher gives compose's hashes, by which the engine's side recognises a
// configuration.
type Hasher interface {
	Service(types.ServiceConfig) (string, error)
	Network(types.NetworkConfig) (string, error)
	Volume(types.VolumeConfig) (string, error)
}

// Options of a Loader.
type Options struct {
	// Root is the clone as this process sees it.
	Root string
	// HostRoot is the clone as the engine sees it; empty if that is not known:
	// stacks that mount something of the clone are then invalid.
	HostRoot string
	// HostHome is the home folder that ~ means on the host where Environment has no
	// HOME; empty if that is not known: stacks that use ~ are then invalid.
	HostHome string
	// Environment gives the variables that all stacks see; a stack's .env goes before
	// them. It is asked at each Load. nil: there are none.
	Environment func() (map[string]string, error)
	// Keys decrypt what is encrypted in the repository.
	Keys secrets.Keys
	// HostSecrets is the folder for VolumeFiles as the engine sees it; empty if there is
	// none: stacks that mount something encrypted are then invalid.
	HostSecrets string
	// SecretsDir has variables in files of their names: for all stacks, above
	// Environment, and in folders of their names for single ones. Empty: there is none.
	SecretsDir string
	// StopFirst says that no service starts before its old container has stopped,
	// whatever it says itself.
	StopFirst bool
	// Rollback says that stacks go back to their last good version when a new one
	// fails, if they don't say otherwise themselves.
	Rollback bool
	// Files are the patterns of stack files, see Discover; nil for the names that
	// Compose looks for.
	Files []string
	// Repository identifies the repository in labels. No secret.
	Repository string
	Hasher     Hasher
	Logger     *slog.Logger // nil: nothing is said
}

// Project is one loaded stack.
type Project struct {
	plan.Stack
	Commit string
	// compose has the paths that the engine understands, build the ones that
	// this process can read.
	compose, build *types.Project
	hasher         Hasher
	// aged are the paths whose times are Touched of a service, by its name.
	aged map[string][]string
	// ages are those times, and of other projects, in tree, from which it was loaded.
	ages  *ages
	tree  Tree
	files []VolumeFile
	// words are what is secret in it, the longest first.
	words []string
	// preStop says that a service has pre_stop hooks.
	preStop bool
	// withHooks says that the services that run as hooks are among the others.
	withHooks bool
}

// HasPreStop says whether a service has pre_stop hooks, which run before its
// containers are stopped when the stack goes.
func (p Project) HasPreStop() bool { return p.preStop }

// Compose gives a copy of the project as the engine is to get it; the SDK
// changes what it is given.
func (p Project) Compose() (*types.Project, error) { return p.handOut(p.compose) }

// BuildContext gives a copy with paths that this process can read, to build images
// from. There is none of a stack that builds no image.
func (p Project) BuildContext() (*types.Project, error) { return p.handOut(p.build) }

// handOut copies one of the two and says which commit it is of: what is kept may
// be of many.
func (p Project) handOut(of *types.Project) (*types.Project, error) {
	c, err := copyOf(of)
	if err != nil {
		return nil, err
	}
	if hooks := p.Hooks.All(); !p.withHooks && len(hooks) > 0 {
		var names []string
		for _, hook := range hooks {
			names = append(names, hook.Name)
		}
		c = c.WithServicesDisabled(names...)
	}
	for _, s := range c.Services {
		s.CustomLabels[LabelCommit] = p.Commit
	}
	return c, nil
}

// Only is the project with some of its services only; the others count as
// switched off.
func (p Project) Only(services []string) Project {
	all := p.Services
	p.Services, p.Disabled = nil, slices.Clone(p.Disabled)
	for _, s := range all {
		if slices.Contains(services, s.Name) {
			p.Services = append(p.Services, s)
		} else {
			p.Disabled = append(p.Disabled, s.Name)
		}
	}
	return p
}

// copyOf is deep: WithServicesTransform begins with a deep copy of everything.
func copyOf(p *types.Project) (*types.Project, error) {
	if p == nil {
		return nil, errors.New("the stack has none: it is invalid or ignored, or it builds nothing")
	}
	if len(p.Services) == 0 { // of none, it reads and writes the list at the same time; nobody uses a network or a volume
		return p.WithoutUnnecessaryResources(), nil
	}
	return p.WithServicesTransform(func(_ string, s types.ServiceConfig) (types.ServiceConfig, error) { return s, nil })
}

// Loader loads the stacks of commits. It remembers what it loaded; one Loader
// is used by one goroutine at a time.
type Loader struct {
	o        Options
	realRoot string // Root with links resolved
	key      []byte // of the sums of fields
	schema   func() (*jsonschema.Schema, error)
	tick     time.Duration       // see clockTick
	cache    map[string][]*entry // by file, the newest first
	ages     *ages               // in the tree that was looked at last
	round    int                 // counts calls of Load
	last     last
	found    found
	env      environment
	warned   map[string]string // what was said last, by file
	loads    atomic.Int64      // counts stacks that were loaded
	// library is held while compose-go's own loader runs: it keeps a list of files
	// without a lock.
	library sync.Mutex
}

// Loaded are the stacks of a tree.
type Loaded struct {
	// Projects are sorted by file. They are shared and must not be changed.
	Projects []Project
	// Version is another one whenever Projects may be others. It is never 0.
	Version uint64
}

// New makes a Loader.
func New(o Options) *Loader {
	registerRaw()
	o.Root = filepath.Clean(o.Root)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Loader{o: o, realRoot: o.Root, key: make([]byte, 32), cache: map[string][]*entry{}, warned: map[string]string{}, tick: clockTick, schema: sync.OnceValues(compileSchema)}
	_, _ = rand.Read(l.key) // never fails
	if err := sweepCleared(); err != nil {
		o.Logger.Warn("decrypted files that a crash has left can't be removed", "err", err)
	}
	if real, err := filepath.EvalSymlinks(o.Root); err == nil {
		l.realRoot = real
	}
	return l
}

// Load loads every stack of the tree, sorted by file. A stack that does not
// load is returned with its reason in Invalid. The error is for what concerns
// all: a context that ended, variables for all stacks or a .gitopsignore that can't
// be read.
//
// A stack is loaded anew only when something that its last load looked at has
// changed, see entry; that goes for invalid ones, too. Two trees that are loaded
// in turns do not disturb each other.
func (l *Loader) Load(ctx context.Context, tree Tree) (Loaded, error) {
	if err := l.readEnvironment(); err != nil {
		return Loaded{}, err
	}
	files, err := l.discover(tree)
	if err != nil {
		return Loaded{}, err
	}
	look := l.newLook(tree)
	entries := make([]*entry, len(files))
	sideBySide(len(files), func() func(int) {
		own := look.another()
		return func(i int) { entries[i] = own.find(l.cache[files[i]]) }
	})
	if err := l.loadMissing(ctx, tree, files, entries); err != nil {
		return Loaded{}, err
	}
	l.round++
	for _, e := range entries {
		e.used = l.round
	}
	if l.last.holds(look, entries) {
		return l.last.loaded, nil
	}
	projects := make([]Project, len(files))
	for i, e := range entries {
		projects[i] = look.give(e)
	}
	l.forget()
	refuseDoubles(projects)
	l.last = last{tree.Commit(), tree.Dir(), entries, Loaded{refuseCycles(projects), l.last.loaded.Version + 1}}
	return l.last.loaded, nil
}

// last is what was loaded last, and from where.
type last struct {
	commit, dir string
	entries     []*entry
	loaded      Loaded
}

// holds says whether the same comes out again: from the same stacks at the same
// place, none of which has files whose times git does not tell.
func (l *last) holds(k *look, entries []*entry) bool {
	if l.loaded.Version == 0 || l.commit != k.tree.Commit() || l.dir != k.tree.Dir() || !slices.Equal(l.entries, entries) {
		return false
	}
	return !slices.ContainsFunc(entries, func(e *entry) bool { return k.agesOf(e.project) != e.project.ages })
}

// loadMissing loads, side by side, the stacks that have no entry yet.
func (l *Loader) loadMissing(ctx context.Context, tree Tree, files []string, entries []*entry) error {
	sideBySide(len(files), func() func(int) {
		return func(i int) {
			if entries[i] == nil && ctx.Err() == nil {
				l.loads.Add(1)
				entries[i] = l.load(ctx, tree, files[i])
			}
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, e := range entries {
		if e.used == 0 {
			l.cache[files[i]] = slices.Insert(l.cache[files[i]], 0, e)
			l.warn(e.project.Stack)
		}
	}
	return nil
}

// warn logs the warnings of a stack once, until they are others.
func (l *Loader) warn(s plan.Stack) {
	text := strings.Join(s.Warnings, ", ")
	if text != "" && text != l.warned[s.File] {
		l.o.Logger.Warn("stack has warnings", "stack", s.Name, "cause", text)
	}
	l.warned[s.File] = text
}

// sideBySide does something for each number below n, by as many goroutines as
// there are cores; each of them makes its own way to do it.
func sideBySide(n int, worker func() (do func(int))) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			do := worker()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}

// refuseDoubles makes every stack invalid whose project name another one has
// too: the engine could not tell them apart.
//
// One that does not load has no say in it, as its name is but a guess, and a
// mistake in one file is not to change what becomes of another. It leaves the
// name to the one that loads, and goes by its file, so that names of valid
// stacks stay unique.
func refuseDoubles(ps []Project) {
	valid := make(map[string]int, len(ps)) // how many have a name
	for _, p := range ps {
		if p.Invalid == "" {
			valid[p.Name]++
		}
	}
	byName := map[string][]string{}
	for _, p := range ps {
		if p.Invalid == "" && valid[p.Name] > 1 {
			byName[p.Name] = append(byName[p.Name], p.File)
		}
	}
	for i, p := range ps {
		switch n := valid[p.Name]; {
		case p.Invalid != "" && n > 0:
			ps[i].Name = p.File
		case p.Invalid == "" && n > 1:
			ps[i].Invalid = fmt.Sprintf("the project name %s is used by %s; to tell them apart, give one another name: or COMPOSE_PROJECT_NAME", p.Name, strings.Join(byName[p.Name], " and "))
		}
	}
}

func refuseCycles(ps []Project) []Project {
	joins := func(s plan.Service) bool { return len(s.Joins) > 0 }
	if !slices.ContainsFunc(ps, func(p Project) bool {
		return len(p.Requires)+len(p.DependsOn) > 0 || slices.ContainsFunc(p.Services, joins)
	}) {
		return ps // as in most repositories
	}
	stacks := make([]plan.Stack, len(ps))
	for i, p := range ps {
		stacks[i] = p.Stack
	}
	plan.Cycles(stacks)
	for i := range ps {
		ps[i].Stack = stacks[i]
	}
	return ps
}
