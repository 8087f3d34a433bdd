package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// world is a remote, a clone and an engine in memory. It is Source, Loader and
// Engine, writes down what is done to it, and fails a test when operations of
// one stack overlap.
type world struct {
	t *testing.T

	mu      sync.Mutex
	local   string
	remote  string
	commits map[string][]plan.Stack
	running map[string]plan.Running
	images  map[string]bool
	log     []string
	// ownImages says that no two stacks want the same image.
	ownImages bool
	edited    []string // tracked files that were changed by hand
	// editsStop says that no stack is to be brought up whose files are.
	editsStop bool
	observed  int // how often
	fetched   int
	trees     int // open ones
	versions  map[string]uint64
	moving    bool           // a checkout runs
	active    map[string]int // operations by stack
	// hooks are called before an operation has its effect ("pull web", "fetch"),
	// and can make it take time or fail.
	hooks  map[string]func(context.Context) error
	events chan plan.Event
	byHand []string // networks
	// bad are digests of versions that come up and are not well.
	bad map[string]bool
	// kept are ids of images by the names that they are kept under.
	kept map[string]string
}

func newWorld(t *testing.T, stacks ...plan.Stack) *world {
	return &world{
		t: t, local: "c1", remote: "c1", commits: map[string][]plan.Stack{"c1": stacks},
		running: map[string]plan.Running{}, images: map[string]bool{}, active: map[string]int{},
		versions: map[string]uint64{}, bad: map[string]bool{}, kept: map[string]string{}, hooks: map[string]func(context.Context) error{}, events: make(chan plan.Event, 64),
	}
}

// stack wants one container and a network of its own.
func stack(name string, needs ...string) plan.Stack {
	s := plan.Stack{
		Name: name, File: name + "/compose.yaml", Digest: name + "1", Mode: plan.Managed,
		Services: []plan.Service{{Name: "app", Hash: name + "1", Image: name + ":1", Pull: plan.PullMissing, Scale: 1}},
		Networks: []plan.Resource{{Name: name + "_default"}},
	}
	for _, n := range needs {
		s.Requires = append(s.Requires, plan.Requirement{Kind: "network", Name: n + "_default"})
	}
	return s
}

// version is a stack at another version of its image.
func version(v int, s plan.Stack) plan.Stack {
	s.Digest = fmt.Sprint(s.Name, v)
	s.Services = slices.Clone(s.Services)
	s.Services[0].Hash, s.Services[0].Image = s.Digest, fmt.Sprint(s.Name, ":", v)
	return s
}

// rolling is a stack that goes back when a new version fails.
func rolling(s plan.Stack) plan.Stack {
	s.Services = slices.Clone(s.Services)
	s.Services[0].Rollback = true
	return s
}

// hooked is a stack with a before hook, migrate, and an after hook, smoke.
func hooked(s plan.Stack) plan.Stack {
	hook := plan.Service{Name: "migrate", Hash: "h", Image: s.Services[0].Image, Pull: plan.PullMissing, Scale: 1}
	s.Hooks.Before = []plan.Service{hook}
	hook.Name = "smoke"
	s.Hooks.After = []plan.Service{hook}
	return s
}

// files is a stack that uses files of the clone.
func files(s plan.Stack) plan.Stack {
	s.Services = slices.Clone(s.Services)
	s.Services[0].Bare = "without its files"
	s.Services[0].Mounts = []plan.Mount{{Target: "/conf", Type: plan.MountClone, Source: s.Name + "/conf"}}
	return s
}

func invalid(s plan.Stack) plan.Stack { s.Invalid = "no image"; return s }
func idle(s plan.Stack) plan.Stack {
	s.Services, s.Disabled, s.Profiles = nil, []string{"app"}, []string{"debug"}
	return s
}
func ignored(s plan.Stack) plan.Stack { s.Mode = plan.Ignored; return s }

// push makes a commit.
func (w *world) push(commit string, stacks ...plan.Stack) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commits[commit], w.remote = stacks, commit
}

// on sets a hook; nil removes it.
func (w *world) on(what string, hook func(context.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hooks[what] = hook
}

func fails(text string) func(context.Context) error {
	return func(context.Context) error { return fmt.Errorf("%s", text) }
}

func takes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// host changes what runs, as a person or a crash would, and tells nobody.
func (w *world) host(project string, change func(*plan.Container)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.running[project]
	r.Containers = slices.Clone(r.Containers)
	change(&r.Containers[0])
	w.running[project] = r
}

func (w *world) crash(project string) {
	w.host(project, func(c *plan.Container) { c.State, c.ExitCode = "exited", 1 })
}

// did gives what was done since it was last asked, "up web c1, settle web".
func (w *world) did() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	log := strings.Join(w.log, ", ")
	w.log = nil
	return log
}

// didUp is how often a stack was brought up since it was last asked what was done.
func (w *world) didUp(stack string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, line := range w.log {
		if strings.HasPrefix(line, "up "+stack+" ") {
			n++
		}
	}
	return n
}

func (w *world) head() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.local
}

func (w *world) looks() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.observed
}

// asked is how often the remote was.
func (w *world) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fetched
}

// runs gives what runs, "db=db1 web=web2".
func (w *world) runs() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, name := range slices.Sorted(maps.Keys(w.running)) {
		for _, c := range w.running[name].Containers {
			what := c.Hash
			if c.State != "running" {
				what += "(" + c.State + ")"
			}
			out = append(out, name+"="+what)
		}
	}
	return strings.Join(out, " ")
}

// operation runs a hook and then the effect, unless the hook failed.
func (w *world) operation(ctx context.Context, what, stack string, effect func()) error {
	w.mu.Lock()
	if w.active[stack]++; stack != "" && w.active[stack] > 1 {
		w.t.Errorf("operations of %s overlap: %s", stack, what)
	}
	hook := w.hooks[what]
	w.mu.Unlock()
	var err error
	if hook != nil {
		err = hook(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active[stack]--
	if err == nil {
		effect()
	}
	return err
}

func (w *world) note(format string, a ...any) { w.log = append(w.log, fmt.Sprintf(format, a...)) }

func (w *world) Fetch(ctx context.Context) (h Heads, err error) {
	w.mu.Lock()
	w.fetched++
	w.mu.Unlock()
	err = w.operation(ctx, "fetch", "", func() { h = Heads{Local: w.local, Remote: w.remote, Edited: w.edited} })
	return h, err
}

func (w *world) Local(context.Context) (Heads, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Heads{Local: w.local, Remote: w.local, Edited: w.edited}, nil
}

type tree struct {
	w      *world
	commit string
}

func (t tree) Commit() string   { return t.commit }
func (t tree) Dir() string      { return "" }
func (t tree) ID(string) string { return "" }

func (t tree) Edited(string) bool { return false }

func (t tree) Find(...string) []string {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	var files []string
	for _, s := range t.w.commits[t.commit] {
		files = append(files, s.File)
	}
	return files
}

func (t tree) Close() error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.w.trees--
	return nil
}

func (w *world) Stage(_ context.Context, commit string) (Tree, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trees++
	return tree{w, commit}, nil
}

// Renamed takes one file for another if their stacks have the same blob.
func (w *world) Renamed(_ context.Context, from, to string, were, are []string) (map[string]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]string{}
	for _, s := range w.commits[to] {
		for _, was := range w.commits[from] {
			if s.Blob != "" && s.Blob == was.Blob && !slices.Contains(were, s.File) && !slices.Contains(are, was.File) {
				out[s.File] = was.File
			}
		}
	}
	return out, nil
}

func (w *world) Checkout(ctx context.Context, commit string) error {
	move := func(on bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.moving = on
	}
	move(true)
	defer move(false)
	return w.operation(ctx, "checkout", "", func() {
		w.local = commit
		w.note("checkout %s", commit)
	})
}

func (w *world) Load(_ context.Context, t render.Tree) (render.Loaded, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ps []render.Project
	for _, s := range w.commits[t.Commit()] {
		ps = append(ps, render.Project{Stack: s, Commit: t.Commit()})
	}
	return render.Loaded{Projects: ps, Version: w.version(fmt.Sprint(t.Commit(), ps))}, nil
}

// spoil makes a version come up and not be well, or be well.
func (w *world) spoil(digest string, bad bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bad[digest] = bad
}

// Back gives the stack as it was, unless a hook ("back web") has something against it.
func (w *world) Back(ctx context.Context, then, _ render.Tree, past render.Past) (p render.Project, err error) {
	err = w.operation(ctx, "back "+strings.TrimSuffix(past.File, "/compose.yaml"), "", func() {
		i := slices.IndexFunc(w.commits[then.Commit()], func(s plan.Stack) bool { return s.File == past.File && s.Digest == past.Digest })
		if i < 0 {
			w.t.Errorf("%s has no %s that is %s", then.Commit(), past.File, past.Digest)
			return
		}
		s := w.commits[then.Commit()][i]
		s.Services = slices.Clone(s.Services)
		for j := range s.Services {
			svc := &s.Services[j]
			svc.Pull, svc.Every = plan.PullNever, 0
			if id := past.Services[svc.Name].Image; past.Local[svc.Image] != id {
				svc.Image = plan.KeptAs(s.Name, svc.Name)
				svc.Hash += " kept"
				s.Digest += " kept"
			}
		}
		p = render.Project{Stack: s, Commit: then.Commit()}
	})
	return p, err
}

// Keep remembers the names.
// RunHook has "before web" and "after web" as hooks of the test.
func (w *world) RunHook(ctx context.Context, p render.Project, kind plan.HookKind, service string) error {
	w.mu.Lock()
	if p.Commit != w.local {
		w.t.Errorf("the hook %s of %s runs at %s from a clone at %s", service, p.Name, p.Commit, w.local)
	}
	w.mu.Unlock()
	return w.operation(ctx, string(kind)+" "+p.Name, p.Name, func() { w.note("%s %s", service, p.Name) })
}

func (w *world) Keep(ctx context.Context, project string, images map[string]string) error {
	return w.operation(ctx, "keep "+project, "", func() {
		maps.DeleteFunc(w.kept, func(name, _ string) bool { return strings.HasPrefix(name, plan.KeptRepository+":"+project+".") })
		for service, id := range images {
			w.kept[plan.KeptAs(project, service)] = id
		}
	})
}

// keeps gives the images that are kept, "web.app=id of web:1".
func (w *world) keeps() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, name := range slices.Sorted(maps.Keys(w.kept)) {
		out = append(out, strings.TrimPrefix(name, plan.KeptRepository+":")+"="+w.kept[name])
	}
	return strings.Join(out, " ")
}

// version gives what is the same the same number.
func (w *world) version(what string) uint64 {
	v, known := w.versions[what]
	if !known {
		v = uint64(len(w.versions) + 1)
		w.versions[what] = v
	}
	return v
}

// HasContent finds something unless a hook finds nothing.
func (w *world) HasContent(ctx context.Context, container, target string) (has bool, err error) {
	w.mu.Lock()
	hook := w.hooks["content"]
	w.mu.Unlock()
	if hook == nil {
		return true, nil
	}
	return false, hook(ctx)
}

// VolumeEmpty finds nothing unless a hook finds something.
func (w *world) VolumeEmpty(ctx context.Context, volume string) (bool, error) {
	w.mu.Lock()
	hook := w.hooks["look into "+volume]
	w.mu.Unlock()
	if hook == nil {
		return true, nil
	}
	return false, hook(ctx)
}

func (w *world) Observe(ctx context.Context) (o plan.Observed, err error) {
	w.mu.Lock()
	w.observed++
	w.mu.Unlock()
	err = w.operation(ctx, "observe", "", func() {
		o = plan.Observed{Images: map[string]string{}, Networks: map[string]string{}, Volumes: map[string]bool{}}
		for image := range w.images {
			o.Images[image] = "id of " + image
		}
		maps.Copy(o.Images, w.kept)
		for _, name := range slices.Sorted(maps.Keys(w.running)) {
			o.Running = append(o.Running, w.running[name])
			for _, n := range w.running[name].Networks {
				o.Networks[n.Name] = "id of " + n.Name
			}
		}
		for _, n := range w.byHand {
			o.Networks[n] = "id of " + n
		}
		o.Version = w.version(fmt.Sprintf("%+v", o))
	})
	return o, err
}

func (w *world) Pull(ctx context.Context, p render.Project) error {
	return w.operation(ctx, "pull "+p.Name, p.Name, func() {
		w.images[p.Services[0].Image] = true
		w.note("pull %s", p.Name)
	})
}

// Up has its effect at once, or, with a hook for what its service waits for ("wait
// web"), starts it after that.
func (w *world) Up(ctx context.Context, p render.Project, _ plan.Op, turn Turn) error {
	w.mu.Lock()
	if p.Back == nil && p.Commit != w.local || w.moving { // a checkout may overtake it later
		w.t.Errorf("%s is brought up at %s from a clone at %s", p.Name, p.Commit, w.local)
	}
	if w.editsStop && len(p.Edited) > 0 {
		w.t.Errorf("%s is brought up, and %v was changed by hand", p.Name, p.Edited)
	}
	for _, req := range p.Requires {
		if provider, _, _ := strings.Cut(req.Name, "_"); len(w.running[provider].Networks) == 0 && !slices.Contains(w.byHand, req.Name) {
			w.mu.Unlock()
			return fmt.Errorf("network %s not found", req.Name)
		}
	}
	waits := w.hooks["wait "+p.Name] != nil
	w.mu.Unlock()
	make := func(state string) {
		svc := p.Services[0]
		image := "id of " + svc.Image
		if id := w.kept[svc.Image]; id != "" {
			image = id
		}
		w.running[p.Name] = plan.Running{
			Project: p.Name, File: p.File, Ours: true, Labelled: true, Networks: p.Networks,
			Containers: []plan.Container{{
				ID: p.Digest, Name: p.Name + "-app-1", Service: svc.Name, State: state, Hash: svc.Hash, Image: image, Reference: svc.Image, Mounts: svc.Mounts,
			}},
		}
		w.tell(p.Name)
	}
	if err := w.operation(ctx, "replace "+p.Name, p.Name, func() {}); err != nil {
		return err
	}
	turn.Starting()
	err := w.operation(ctx, "up "+p.Name, p.Name, func() {
		w.alone(p)
		make(map[bool]string{true: "created", false: "running"}[waits])
		w.note("up %s %s", p.Name, p.Commit)
	})
	if err == nil && waits {
		turn.Rest()
		err = w.operation(ctx, "wait "+p.Name, p.Name, func() {})
		if err == nil {
			err = turn.Touch(ctx, func() error { w.starts(p, make); return nil })
		}
	}
	if errors.Is(err, errHalf) {
		w.mu.Lock()
		defer w.mu.Unlock()
		make("created")
	}
	return err
}

// starts starts what an Up has made before, which must be from files that are
// still those.
func (w *world) starts(p render.Project, make func(state string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.moving || p.Back == nil && !slices.ContainsFunc(w.commits[w.local], func(s plan.Stack) bool { return s.Name == p.Name && s.File == p.File && s.Digest == p.Digest }) {
		w.t.Errorf("%s is started as of %s from a clone at %s", p.Name, p.Commit, w.local)
	}
	make("running")
	w.note("start %s", p.Name)
}

// errHalf as the error of an Up says that it made the container, and did not
// start it.
var errHalf = errors.New("cut half-way")

// alone fails a test of which each stack has an image of its own when one comes
// up while its image runs in another project: then that is the same stack under
// another name.
func (w *world) alone(p render.Project) {
	if !w.ownImages {
		return
	}
	for name, r := range w.running {
		for _, c := range r.Containers {
			if name != p.Name && c.State == "running" && plan.Repository(c.Reference) == plan.Repository(p.Services[0].Image) {
				w.t.Errorf("%s comes up while %s runs, which is the same stack", p.Name, name)
			}
		}
	}
}

// blamed is an error that a container is to blame for.
type blamed struct {
	error
	service, image string
}

func (b blamed) Blames() (service, image string) { return b.service, b.image }

func (w *world) Settle(ctx context.Context, p render.Project) (runs plan.Running, err error) {
	exited := false
	err = w.operation(ctx, "settle "+p.Name, p.Name, func() {
		runs = w.running[p.Name]
		for i, c := range runs.Containers {
			if w.bad[c.Hash] {
				runs.Containers = slices.Clone(runs.Containers)
				runs.Containers[i].State, runs.Containers[i].ExitCode = "exited", 1
				w.running[p.Name] = runs
			}
			exited = exited || runs.Containers[i].State == "exited"
		}
	})
	if exited {
		return runs, blamed{errors.New("app exited (1)"), "app", runs.Containers[0].Image}
	}
	return runs, err
}

func (w *world) Stop(ctx context.Context, _ render.Project, op plan.Op) error {
	project := op.Stack
	return w.operation(ctx, "down "+project, project, func() {
		if !w.running[project].Ours && len(w.running[project].Containers) > 0 {
			w.t.Errorf("%s is stopped, and not ours", project)
		}
		delete(w.running, project)
		w.note("down %s", project)
		w.tell(project)
	})
}

// tell is what the engine's events say.
func (w *world) tell(project string) {
	select {
	case w.events <- plan.Event{Project: project}:
	default:
	}
}

// recorder is a Reporter that holds the loop to its promises.
type recorder struct {
	t       *testing.T
	mu      sync.Mutex
	looked  []report.Look
	ended   []report.Check
	updated []report.Stack
}

func (r *recorder) Looked(l report.Look) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked = append(r.looked, l)
}

func (r *recorder) Updated(s report.Stack) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.updated = append(r.updated, s)
}

func (r *recorder) Ended(c report.Check) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.looked, func(l report.Look) bool { return l.At.Equal(c.At) && l.Trigger == c.Trigger && l.Error == c.Error }) {
		r.t.Errorf("a check ended that nobody heard of: %+v", c.Look)
	}
	r.ended = append(r.ended, c)
}

// counts gives what was counted, "failed db, started web", sorted within each
// check.
func (r *recorder) counts() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, c := range r.ended {
		var of []string
		for _, n := range c.Counts {
			of = append(of, string(n.Result)+" "+n.Stack)
		}
		slices.Sort(of)
		out = append(out, of...)
	}
	return strings.Join(out, ", ")
}

// last gives the picture at the end of the newest ended check, "web=running/synced".
func (r *recorder) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ended) == 0 {
		return "no check"
	}
	return words(r.ended[len(r.ended)-1].Final)
}

// status is how a stack was at the end of the last check.
func (r *recorder) status(stack string) report.Stack {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.ended[len(r.ended)-1].Final {
		if s.Name == stack {
			return s
		}
	}
	return report.Stack{}
}

// looksSoFar are the looks that the recorder heard of.
func (r *recorder) looksSoFar() []report.Look {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.looked)
}

// open is how many checks have not ended.
func (r *recorder) open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.looked) - len(r.ended)
}

func words(stacks []report.Stack) string {
	var out []string
	for _, s := range stacks {
		text := fmt.Sprintf("%s=%s/%s", s.Name, s.Status, s.Sync)
		if s.Held != "" {
			text += "(" + s.Held + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func (r *recorder) triggers() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, l := range r.looked {
		out = append(out, l.Trigger)
	}
	return strings.Join(out, " ")
}

// logs is a buffer that may be read while it is written.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// daemon is a Reconciler that runs in a world.
type daemon struct {
	*world
	*recorder
	t       *testing.T
	r       *Reconciler
	o       Options
	logs    *logs
	cancel  context.CancelFunc
	stopped chan struct{}
}

// start runs a daemon in a world, until all is quiet.
func start(t *testing.T, w *world, change ...func(*Options)) *daemon {
	logs := &logs{}
	rec := &recorder{t: t}
	d := &daemon{world: w, recorder: rec, t: t, logs: logs, stopped: make(chan struct{})}
	d.o = Options{
		Source: w, Loader: w, Engine: w, Volumes: w, Reporter: rec,
		Logger:  slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Journal: filepath.Join(t.TempDir(), "state", "journal.json"),
		Heal:    true, Parallel: 4, DeployTimeout: 5 * time.Minute,
	}
	for _, c := range change {
		c(&d.o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d.cancel = cancel
	d.r = New(d.o)
	go func() {
		defer close(d.stopped)
		if err := d.r.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	synctest.Wait()
	return d
}

// stop ends the daemon and sees that every check ended once.
func (d *daemon) stop() {
	d.t.Helper()
	d.cancel()
	<-d.stopped
	d.recorder.mu.Lock()
	defer d.recorder.mu.Unlock()
	if len(d.looked) != len(d.ended) {
		d.t.Errorf("%d looks and %d ended checks", len(d.looked), len(d.ended))
	}
	if d.trees != 0 {
		d.t.Errorf("%d staged trees were not closed", d.trees)
	}
	if j := d.r.journal; !j.failed {
		got, want := asJSON(d.t, openJournal(d.o.Journal, j.log).Stacks), asJSON(d.t, j.Stacks)
		d.expect("the journal on disk", got, want)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// look triggers, and waits until all is quiet.
func (d *daemon) look() {
	d.r.Trigger("webhook")
	synctest.Wait()
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (d *daemon) expect(what, got, want string) {
	d.t.Helper()
	if got != want {
		d.t.Errorf("%s\ngot  %s\nwant %s", what, got, want)
	}
}

func sameJournal(old *daemon) func(*Options) {
	return func(o *Options) { o.Journal = old.o.Journal }
}

func every(d time.Duration) func(*Options) { return func(o *Options) { o.Interval = d } }
func noHeal(o *Options)                    { o.Heal = false }
func (w *world) watched(o *Options)        { o.Events = w.events }
