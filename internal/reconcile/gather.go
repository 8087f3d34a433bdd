package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// Tree is a staged commit, to be closed when it is no longer read.
type Tree interface {
	render.Tree
	Close() error
}

// Loader loads the stacks of a staged commit.
type Loader interface {
	Load(ctx context.Context, tree render.Tree) (render.Loaded, error)
	// Back loads one stack as it was in an earlier commit, see render.Loader.Back.
	Back(ctx context.Context, then, now render.Tree, past render.Past) (render.Project, error)
}

// Volumes tells what is in volumes, without changing anything in them.
type Volumes interface {
	// HasContent says whether what a container, running or not, mounts at a
	// target has anything in it.
	HasContent(ctx context.Context, container, target string) (bool, error)
	// VolumeEmpty says whether an existing volume has nothing in it.
	VolumeEmpty(ctx context.Context, volume string) (bool, error)
}

// view is what one look saw and what follows from it.
type view struct {
	at       time.Time
	heads    Heads
	asked    time.Time
	projects map[string]render.Project // by name, valid ones; earlier versions of those that are rolled back
	git      []render.Project          // valid ones as git has them
	hooked   map[string]render.Project // by name, as rememberHooks has them
	state    plan.State
	plan     plan.Plan
	// unsure says that a question about data could not be answered.
	unsure bool
	// missing says that something is not there that stacks mount: no event tells of it.
	missing bool
	basis   basis
	// same says that it is the last view over again: nothing has changed.
	same bool
}

// gather observes everything anew and plans. It touches nothing. What the
// remote has is what k knows of it; with an error there the clone's head is what
// is wanted.
func (r *Reconciler) gather(ctx context.Context, k *known) (view, error) {
	v := view{at: time.Now(), asked: k.asked, projects: map[string]render.Project{}}
	heads, offline, err := r.heads(ctx, k)
	if err != nil {
		return v, err
	}
	v.heads = heads
	before, had, err := r.before(ctx, heads)
	if err != nil {
		return v, err
	}
	tree, err := r.tree(ctx, heads, k)
	if err != nil {
		return v, err
	}
	defer func() {
		if err := tree.Close(); err != nil {
			r.o.Logger.Warn("can't remove staged files", "err", err)
		}
	}()
	wanted, err := r.o.Loader.Load(ctx, tree)
	if err != nil {
		return v, verb(err, "load %s", heads.Remote)
	}
	observed, err := r.o.Engine.Observe(ctx)
	if err != nil {
		return v, err
	}
	v.basis = basis{heads, offline, wanted.Version, observed.Version, r.journal.version, len(r.ledger.repair)}
	if r.idle() && r.rest.holds(v.basis, v.at) {
		at, asked := v.at, v.asked
		v = r.rest.view
		v.at, v.asked, v.same = at, asked, true
		return v, nil
	}
	observed.Latest, observed.Seen = r.journal.latest()
	v.state = plan.State{
		Now: v.at, Local: heads.Local, Remote: heads.Remote, Offline: offline, Before: before, Observed: observed,
		Busy: r.executor.busy(), Repair: maps.Clone(r.ledger.repair),
		Suspended: maps.Clone(r.journal.Suspended),
	}
	policy := plan.Policy{
		Heal: r.o.Heal, AllowEmpty: r.o.AllowEmpty, MakeNetworks: r.o.MakeNetworks, KeepEdits: r.o.KeepEdits, HoldOrder: r.o.HoldOrder, MinAge: r.o.MinAge, Window: r.o.Window,
	}
	// All that goes by the state takes nothing that is too young, by what git says: a
	// stack that was rolled back waits for the next image as well.
	observed = v.ripen(wanted.Projects, policy)
	running := byProject(observed)
	for _, p := range wanted.Projects {
		if p.Stack, err = p.ByHand(running[p.Name]); err != nil {
			return v, err
		}
		if p.Invalid == "" {
			v.git = append(v.git, p)
		}
		was, isBack, err := r.back(ctx, p, tree, observed, running[p.Name])
		if err != nil {
			return v, err
		}
		if isBack {
			p = was
		}
		p.Edited = editedOf(p.Stack, heads.Edited)
		v.state.Wanted = append(v.state.Wanted, p.Stack)
		if p.Invalid == "" {
			v.projects[p.Name] = p
		}
	}
	v.state.Memory = r.journal.memory()
	r.loaded = loaded{heads.Remote, v.state.Wanted, wanted.Projects}
	if heads.Local == heads.Remote {
		had = wanted.Projects
	}
	r.rememberHooks(had, running)
	v.hooked = maps.Clone(r.hooked)
	if v.state.Wanted, err = r.renamed(ctx, v.state); err != nil {
		return v, err
	}
	if r.ledger.repair == nil { // the first look: whatever drifted is repaired
		v.state.Repair = map[string]bool{}
		for _, s := range v.state.Wanted {
			v.state.Repair[s.Name] = true
		}
	}
	r.pendingOver(observed, v.state.Busy)
	var doubts []plan.Doubt
	var unanswered error
	if v.plan, doubts = plan.Draft(v.state, policy); len(doubts) > 0 {
		v.state.Losses, unanswered = r.losses(ctx, doubts, tree, observed)
		v.unsure = unanswered != nil
		v.plan = plan.Build(v.state, policy)
	}
	r.ledger.doubt(unanswered)
	v.warnMissing(r.o.Clone, r.o.SeesHost)
	return v, nil
}

// ripen sees to the age of images, and gives what is observed then.
func (v *view) ripen(wanted []render.Project, p plan.Policy) plan.Observed {
	st := v.state
	for _, p := range wanted {
		st.Wanted = append(st.Wanted, p.Stack)
	}
	st = st.Ripen(p)
	v.state.Observed, v.state.Young = st.Observed, st.Young
	return st.Observed
}

// byProject gives what runs under each project name.
func byProject(o plan.Observed) map[string]plan.Running {
	m := make(map[string]plan.Running, len(o.Running))
	for _, r := range o.Running {
		m[r.Project] = r
	}
	return m
}

// heads are what a look goes by. A clone that has moved since the remote was
// asked is looked at as it is, until the remote was asked again.
func (r *Reconciler) heads(ctx context.Context, k *known) (h Heads, offline string, err error) {
	if k.fresh && k.err == nil && k.asked.After(r.moved) {
		return k.Heads, "", nil
	}
	local, err := r.o.Source.Local(ctx)
	switch {
	case err != nil && k.err != nil:
		return local, "", k.err // which says more, and is why there is no clone
	case err != nil:
		return local, "", verb(err, "read the clone")
	case k.err != nil:
		return local, k.err.Error(), nil
	case local.Remote == k.Remote: // where a checkout was interrupted there is something to do all the same
		return Heads{Local: local.Local, Remote: k.Remote, Edited: local.Edited}, "", nil
	case local.Remote == k.Local:
		return Heads{Local: k.Local, Remote: k.Remote, Rewritten: k.Rewritten, Edited: local.Edited}, "", nil
	default:
		r.remote.ask("engine")
		return local, "", nil
	}
}

// tree shows the wanted commit: as it was staged beside the loop, or else anew.
func (r *Reconciler) tree(ctx context.Context, h Heads, k *known) (Tree, error) {
	if tree := k.tree; tree != nil && h.Local == k.Local && h.Remote == k.Remote {
		k.tree = nil
		return tree, nil
	}
	if err := k.close(); err != nil {
		return nil, verb(err, "remove staged files")
	}
	tree, err := r.o.Source.Stage(ctx, h.Remote)
	return tree, verb(err, "stage %s", h.Remote)
}

// loaded are the stacks of a commit as they were last loaded.
type loaded struct {
	commit   string
	stacks   []plan.Stack
	projects []render.Project
}

// rememberHooks keeps the projects of the clone's head that have pre_stop hooks
// until nothing runs of them: once git has a stack no more, nothing else tells of
// its hooks. They are forgotten when the daemon ends.
func (r *Reconciler) rememberHooks(had []render.Project, running map[string]plan.Running) {
	for _, p := range had {
		switch {
		case p.Invalid != "":
		case p.HasPreStop():
			r.hooked[p.Name] = p
		default:
			delete(r.hooked, p.Name)
		}
	}
	maps.DeleteFunc(r.hooked, func(name string, _ render.Project) bool { return len(running[name].Containers) == 0 })
}

// before are the stacks of the local head. They tell a removed stack that was
// started by hand from a folder that git never had, and what moved, and what
// changed.
func (r *Reconciler) before(ctx context.Context, h Heads) ([]plan.Stack, []render.Project, error) {
	switch h.Local {
	case "", h.Remote:
		return nil, nil, nil // then they are those of the remote head
	case r.loaded.commit:
		return r.loaded.stacks, r.loaded.projects, nil
	}
	tree, err := r.o.Source.Stage(ctx, h.Local)
	if err != nil {
		return nil, nil, verb(err, "stage %s", h.Local)
	}
	had, err := r.o.Loader.Load(ctx, tree)
	if err := errors.Join(err, tree.Close()); err != nil {
		return nil, nil, verb(err, "load %s", h.Local)
	}
	var stacks []plan.Stack
	for _, p := range had.Projects {
		stacks = append(stacks, p.Stack)
	}
	return stacks, had.Projects, nil
}

// renamed gives the wanted stacks with what those that do not load were before, as
// far as git can tell. Only of them nothing else can be known.
func (r *Reconciler) renamed(ctx context.Context, st plan.State) ([]plan.Stack, error) {
	if len(st.Before) == 0 || !slices.ContainsFunc(st.Wanted, func(s plan.Stack) bool { return s.Invalid != "" }) {
		return st.Wanted, nil
	}
	files := func(all []plan.Stack) (files []string) {
		for _, s := range all {
			files = append(files, s.File)
		}
		return files
	}
	from, err := r.o.Source.Renamed(ctx, st.Local, st.Remote, files(st.Before), files(st.Wanted))
	if err != nil {
		return nil, err
	}
	out := slices.Clone(st.Wanted) // the others are of the commit, whatever the clone has
	for i := range out {
		if out[i].Invalid != "" {
			out[i].From = from[out[i].File]
		}
	}
	return out, nil
}

// editedOf are the edited files that a stack may use: those in its folder, and
// what it mounts of the clone.
func editedOf(s plan.Stack, edited []string) []string {
	var out []string
	for _, f := range edited {
		dir := path.Dir(s.File)
		in := strings.HasPrefix(f, dir+"/") || dir == "." && !strings.Contains(f, "/")
		for _, svc := range s.Services {
			in = in || slices.ContainsFunc(svc.Mounts, func(m plan.Mount) bool {
				return m.Type == plan.MountClone && (f == m.Source || strings.HasPrefix(f, m.Source+"/"))
			})
		}
		if in {
			out = append(out, f)
		}
	}
	return out
}

// losses answers doubts. Where that fails there is no answer but an error, and the plan
// takes it for a loss.
func (r *Reconciler) losses(ctx context.Context, doubts []plan.Doubt, tree Tree, o plan.Observed) (map[plan.Doubt]bool, error) {
	answers, errs := map[plan.Doubt]bool{}, []error(nil)
	for _, d := range doubts {
		lost, err := r.loss(ctx, d, tree, o)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s of container %s: %w", d.Old.Source, d.Container, err))
			continue
		}
		answers[d] = lost
	}
	return answers, errors.Join(errs...)
}

func (r *Reconciler) loss(ctx context.Context, d plan.Doubt, tree Tree, o plan.Observed) (bool, error) {
	had := false
	var err error
	if d.Old.Type == plan.MountVolume {
		had, err = r.hadContent(ctx, d)
	} else {
		had, err = hasContent(filepath.Join(r.o.Clone, filepath.FromSlash(d.Old.Source)))
	}
	if err != nil || !had {
		return false, err
	}
	switch d.New.Type {
	case plan.MountVolume:
		if !o.Volumes[d.New.Source] {
			return true, nil
		}
		return r.o.Volumes.VolumeEmpty(ctx, d.New.Source)
	case plan.MountClone:
		has, err := hasContent(filepath.Join(tree.Dir(), filepath.FromSlash(d.New.Source)))
		return !has, err
	default:
		return false, nil // what is elsewhere on the host is its owner's to know
	}
}

// hadContent says whether there is something in the volume of a container. One that
// is dead, as a cut of power leaves it, shows nothing any more, but its volume does.
func (r *Reconciler) hadContent(ctx context.Context, d plan.Doubt) (bool, error) {
	had, err := r.o.Volumes.HasContent(ctx, d.Container, d.Old.Target)
	if err == nil || d.Old.Source == "" {
		return had, err
	}
	empty, volumeErr := r.o.Volumes.VolumeEmpty(ctx, d.Old.Source)
	if volumeErr != nil {
		return false, errors.Join(err, volumeErr)
	}
	return !empty, nil
}

// hasContent says whether a path has something in it: a file, or a folder with
// more than what keeps it in git. One that may not be read has.
func hasContent(full string) (bool, error) {
	info, err := os.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, fs.ErrPermission):
		return true, nil
	case err != nil:
		return false, err
	case !info.IsDir():
		return true, nil
	}
	entries, err := os.ReadDir(full)
	if errors.Is(err, fs.ErrPermission) {
		return true, nil
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return !slices.Contains([]string{".gitkeep", ".gitignore", ".keep", ".placeholder", "lost+found"}, e.Name())
	}), err
}
