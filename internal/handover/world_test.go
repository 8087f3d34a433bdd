package handover

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/engine/enginetest"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// The tests of this package run whole hand-overs: an engine in memory whose
// containers have processes, which are goroutines that do what the daemon, the
// helper and the guard do. A process that is killed does nothing from that
// moment on, and its locks are free.

// version is what a version of the daemon is like.
type version string

const (
	good   version = "good"
	ends   version = "ends"   // as soon as it is started, with an error
	deaf   version = "deaf"   // its looks fail
	silent version = "silent" // it never gets to a look
	absent version = "absent" // it can't be loaded
	stuck  version = "stuck"  // it can't be started
)

// mishap is what goes wrong in a run.
type mishap struct {
	// point names a call or a record's write, see process.point; when it is hit.
	point string
	when  moment
	how   how
	// besides are others that are killed by hand at the same moment.
	besides []string
}

type moment string

const (
	before moment = "before"
	after  moment = "after"
	// later is after a while, when the one who called is dead and others are at
	// work.
	later moment = "later"
)

type how string

const (
	crash   how = "crashes"           // the engine may start it again
	byHand  how = "is killed by hand" // and stays so
	outage  how = "dies with all others, and the engine starts again"
	deleted how = "goes on when the record is deleted"
	emptied how = "sees somebody remove all containers of the daemon"
)

func (f mishap) String() string {
	return fmt.Sprintf("%s: %s it, it %s, with %s", f.point, f.when, f.how, strings.Join(f.besides, ", "))
}

// projects are what the two versions of the daemon's stack are, by restart
// policy and version. Loading takes time, and they do not change.
func loadProjects(t *testing.T) map[string]render.Project {
	t.Helper()
	out := map[string]render.Project{}
	for _, policy := range []string{"no", "always", "unless-stopped"} {
		for _, v := range []string{"v1", "v2"} {
			s := enginetest.Stack{Root: t.TempDir(), Name: "own", Image: "daemon:" + v, Repository: "r", Hasher: engine.Hasher{}}
			out[policy+" "+v] = s.Load(t, fmt.Sprintf("services: {daemon: {SLEEP, restart: %q}}", policy))
		}
	}
	return out
}

// world is one run.
type world struct {
	t        *testing.T
	fake     *enginetest.Fake
	clone    string
	policy   string
	projects map[string]render.Project
	next     version // what v2 is like
	old      engine.Live
	fault    *mishap

	mu        sync.Mutex
	rand      *rand.Rand
	running   map[string]*process
	works     []*process
	images    map[string]string // versions by image
	points    []string
	seen      map[string]int
	hit       bool
	trace     []string
	wrong     []string
	warned    map[string]int // how often something was
	outcomes  []Outcome
	refused   bool // v2 is
	blamed    bool // v2 was, for what went wrong
	blameless int  // failures of v2
	retry     time.Time
	begun     time.Time
}

func (w *world) dir() string { return filepath.Join(w.clone, ".git", "gitops-compose") }

// newWorld has version 1 of the daemon up, and version 2 in git.
func newWorld(t *testing.T, projects map[string]render.Project, policy string, next version, f *mishap, seed uint64) *world {
	w := &world{
		t: t, clone: folder(t), policy: policy, projects: projects, next: next, fault: f, begun: time.Now(),
		rand: rand.New(rand.NewPCG(seed, 1)), running: map[string]*process{}, images: map[string]string{}, warned: map[string]int{}, seen: map[string]int{},
	}
	w.fake = enginetest.NewFake("r", w.clone)
	w.ok(os.MkdirAll(w.dir(), 0o700))
	for _, v := range []string{"v1", "v2"} {
		w.fake.AddImage("daemon:" + v)
		id, _, err := w.fake.Successor(t.Context(), w.project(v), "daemon")
		w.ok(err)
		w.images[id] = v
	}
	w.fake.Run(w)
	w.ok(w.fake.Up(t.Context(), w.project("v1"), plan.Op{}, nil))
	w.old = w.fake.Listed()[0]
	return w
}

// folder makes one in memory where there is one for that: thousands of runs write
// each step through to the disk.
func folder(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "handover")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (w *world) project(v string) render.Project { return w.projects[w.policy+" "+v] }

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) note(format string, a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%8s ", time.Since(w.begun).Round(time.Millisecond))+fmt.Sprintf(format, a...))
}

func (w *world) complain(format string, a ...any) {
	w.note(format, a...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, a...))
}

// close ends what still runs.
func (w *world) close() {
	w.fake.Close()
	w.mu.Lock()
	left := slices.Collect(maps.Values(w.running))
	w.mu.Unlock()
	for _, p := range left {
		p.kill()
	}
}

// step is how far the record says that the hand-over is.
func (w *world) step() Step {
	rec, err := read(w.dir())
	if err != nil || rec == nil {
		return "no record"
	}
	return rec.Step
}

// process is what runs in a container.
type process struct {
	w       *world
	c       engine.Live
	name    string // old, new, helper or guard
	args    []string
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{}
	mu      sync.Mutex
	dead    bool
	release func()
}

// Start implements enginetest.Processes.
func (w *world) Start(c engine.Live, args []string) {
	p := &process{w: w, c: c, args: args, done: make(chan struct{}), name: "old"}
	switch {
	case len(args) == 3 && args[0] == Command:
		p.name = args[1]
	case w.images[c.Image] == "v2":
		p.name = "new"
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	w.note("%s starts", p.name)
	w.mu.Lock()
	w.running[c.ID] = p
	w.mu.Unlock()
	go p.run()
}

// Stop implements enginetest.Processes.
func (w *world) Stop(id string) int {
	w.mu.Lock()
	p := w.running[id]
	w.mu.Unlock()
	if p == nil {
		return 0
	}
	w.note("%s is told to stop", p.name)
	p.cancel()
	select {
	case <-p.done:
		return 0
	case <-time.After(10 * time.Second):
		p.kill()
		return 137
	}
}

// Kill implements enginetest.Processes.
func (w *world) Kill(id string) {
	w.mu.Lock()
	p := w.running[id]
	w.mu.Unlock()
	if p != nil { // else it is just ending
		p.kill()
	}
}

// kill ends a process as the kernel does: its locks are free at once.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return
	}
	p.dead = true
	p.idle()
	p.cancel()
}

// idle says that it does not work any more.
func (p *process) idle() {
	p.w.mu.Lock()
	p.w.works = slices.DeleteFunc(p.w.works, func(o *process) bool { return o == p })
	p.w.mu.Unlock()
	if p.release != nil {
		p.release()
		p.release = nil
	}
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

func (p *process) run() {
	code := 137
	defer func() {
		p.w.note("%s has ended: %d", p.name, code)
		p.mu.Lock()
		p.idle()
		p.mu.Unlock()
		close(p.done)
		p.w.mu.Lock()
		current := p.w.running[p.c.ID] == p
		if current {
			delete(p.w.running, p.c.ID)
		}
		p.w.mu.Unlock()
		if current {
			p.w.fake.Exit(p.c.ID, code)
		}
	}()
	ended := 1
	if p.name == "helper" || p.name == "guard" {
		if err := p.help(); err == nil {
			ended = 0
		}
	} else {
		ended = p.work()
	}
	if !p.isDead() {
		code = ended
	}
}

func (p *process) help() error {
	return Help(p.ctx, HelpOptions{
		Role: p.args[1], Dir: p.args[2], Engine: calls{p}, Self: p.c.ID, Logger: slog.New(logger{p}),
		Load: func(ctx context.Context, _ Clone, commit, _ string) (render.Project, error) {
			if p.w.next == absent {
				return render.Project{}, fmt.Errorf("commit %s can't be loaded", commit)
			}
			return p.w.project(commit), ctx.Err()
		},
	})
}

// work is a daemon's life, see app.work.
func (p *process) work() int {
	w, mine := p.w, good
	if p.name == "new" {
		mine = w.next
	}
	if mine == ends {
		return 1
	}
	release, err := Claim(p.ctx, w.clone, func() { w.note("%s waits for the clone", p.name) })
	if p.ctx.Err() != nil {
		if err == nil {
			release()
		}
		return 0
	}
	w.ok(err)
	if p.claimed(release); p.isDead() {
		return 0
	}
	h := New(Options{
		Engine: calls{p}, Dir: func() (string, error) { return w.dir(), nil }, Clone: Clone{Identity: "r", HostRoot: w.clone},
		Self: p.c.ID, Logger: slog.New(logger{p}),
	})
	if err := h.Start(p.ctx); p.ctx.Err() != nil {
		return 0
	} else if err != nil {
		w.note("%s: %v", p.name, err)
	}
	w.note("%s works", p.name)
	trigger := make(chan struct{}, 1)
	attended := make(chan struct{})
	go func() {
		defer close(attended)
		err := h.Attend(p.ctx, func() { trigger <- struct{}{} })
		if err != nil && p.ctx.Err() == nil {
			w.complain("%s can't attend: %v", p.name, err)
		}
	}()
	for p.ctx.Err() == nil {
		if mine != silent && p.check(h, mine) {
			continue
		}
		select {
		case <-trigger:
		case <-time.After(5 * time.Second):
		case <-p.ctx.Done():
		}
	}
	<-attended
	return 0
}

// claimed takes the clone's lock over. No two may have it.
func (p *process) claimed(release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release = release
	if p.dead {
		p.idle()
		return
	}
	p.w.mu.Lock()
	p.w.works = append(p.w.works, p)
	n := len(p.w.works)
	p.w.mu.Unlock()
	if n > 1 {
		p.w.complain("%d daemons work", n)
	}
}

// check is what a check of the reconciler has to do with hand-overs. It says
// whether another one is due.
func (p *process) check(h *HandOver, mine version) (again bool) {
	w := p.w
	if o, ok := h.Outcome(); ok {
		w.took(o)
		if err := h.Forget(p.ctx); err != nil {
			w.note("%s: forget: %v", p.name, err)
		}
	}
	look := report.Look{}
	if mine == deaf {
		look.Error = "no route to host"
	}
	p.reached("look")
	if p.name == "new" {
		_ = sleep(p.ctx, time.Second)
		p.live()
	}
	h.Looked(look)
	p.reached("looked")
	if mine == deaf {
		h.Ended(report.Check{Look: look})
		return false
	}
	if p.name == "old" && !h.Pending() && w.may() {
		err := h.Over(p.ctx, w.project("v2"), Request{
			Stack: "own", File: "own/compose.yaml", Service: "daemon", Version: "v2", Commit: "v2", Timeout: 10 * time.Second,
		})
		w.note("%s is here after a hand-over: %v", p.name, err)
		if err != nil && p.ctx.Err() == nil {
			w.later()
		}
		again = err == nil
	}
	if p.name == "new" {
		_ = sleep(p.ctx, time.Second)
		p.live()
	}
	h.Ended(report.Check{})
	p.reached("ended")
	return again
}

// took is what the reconciler remembers of an outcome.
func (w *world) took(o Outcome) {
	w.note("outcome: %q, again %v", o.Error, o.Again)
	w.mu.Lock()
	w.outcomes = append(w.outcomes, o)
	switch {
	case o.Error == "":
	case !o.Again:
		w.blamed = true
		w.refused = true
	default:
		w.blameless++
		w.refused = w.refused || w.blameless == 3
	}
	w.mu.Unlock()
	if o.Again {
		w.later()
	}
}

func (w *world) later() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retry = time.Now().Add(20 * time.Second)
}

func (w *world) may() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.refused && !time.Now().Before(w.retry)
}

// point names a moment: who, how far the hand-over is, and what is called, for
// the first or another time. It says whether the run's fault is here.
func (p *process) point(call string) (f *mishap) {
	w := p.w
	name := fmt.Sprintf("%s at %s: %s", p.name, w.step(), call)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[name]++; w.seen[name] == 1 {
		w.points = append(w.points, name)
	}
	if w.fault == nil || w.hit || w.fault.point != name {
		return nil
	}
	w.hit = true
	return w.fault
}

// reached is a point at which nothing is called.
func (p *process) reached(what string) {
	p.live()
	if f := p.point(what); f != nil && f.when == before {
		p.strike(f)
	}
}

// live ends a goroutine of a process that is dead.
func (p *process) live() {
	if p.isDead() {
		runtime.Goexit()
	}
}

// strike lets a fault happen.
func (p *process) strike(f *mishap) {
	w := p.w
	w.note("FAULT %s", f)
	for _, name := range f.besides {
		w.killByHand(name)
	}
	switch f.how {
	case crash:
		p.kill()
	case byHand:
		w.killByHand(p.name)
	case outage:
		w.fake.Restart(3 * time.Second)
	case deleted:
		_ = os.Remove(filepath.Join(w.dir(), recordFile))
		return
	case emptied:
		w.empty()
	}
	p.live()
}

// empty removes the daemon's containers, old and new, as docker rm -f does.
func (w *world) empty() {
	for _, c := range w.daemons() {
		w.fake.Kill(w.t, c.ID)
		w.ok(w.fake.Within("").Remove(context.Background(), c.ID))
	}
}

func (w *world) killByHand(name string) {
	w.mu.Lock()
	var id string
	for _, p := range w.running {
		if p.name == name {
			id = p.c.ID
		}
	}
	w.mu.Unlock()
	for _, c := range w.fake.Listed() { // its container may be gone before it is
		if c.ID == id {
			w.fake.Kill(w.t, id)
		}
	}
}

// logger writes a process's log to the trace. What is logged just before the
// record is written is a point.
type logger struct{ p *process }

func (logger) Enabled(context.Context, slog.Level) bool { return true }
func (l logger) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l logger) WithGroup(string) slog.Handler          { return l }
func (l logger) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	if r.Level >= slog.LevelWarn {
		l.p.w.mu.Lock()
		l.p.w.warned[l.p.name+": "+text]++
		l.p.w.mu.Unlock()
	}
	l.p.w.note("%s: %s", l.p.name, text)
	if r.Message == "hand-over" || r.Message == "the hand-over is taken back" {
		l.p.reached("log " + strings.SplitN(text, "cause=", 2)[0])
	}
	return nil
}

// calls is the engine as a process sees it, with the run's fault.
type calls struct{ p *process }

func (c calls) do(ctx context.Context, call string, effect func(context.Context, enginetest.Daemon) error) error {
	p := c.p
	p.live()
	f := p.point(call)
	p.pass()
	e := p.w.fake.Within(p.c.ID)
	switch {
	case f != nil && f.when == before:
		p.strike(f)
	case f != nil && f.when == later:
		go func() {
			time.Sleep(700 * time.Millisecond)
			err := effect(context.WithoutCancel(ctx), e)
			p.w.note("%s is dead, and its %s has its effect now: %v", p.name, call, err)
		}()
		p.strike(f)
	}
	p.live()
	err := effect(ctx, e)
	p.w.note("%s at %s: %s: %v", p.name, p.w.step(), call, err)
	if f != nil && f.when == after {
		p.strike(f)
	}
	p.live()
	p.pass()
	p.live()
	return err
}

// pass lets some milliseconds pass, as a call does.
func (p *process) pass() {
	p.w.mu.Lock()
	d := time.Duration(1+p.w.rand.IntN(15)) * time.Millisecond
	p.w.mu.Unlock()
	_ = sleep(p.ctx, d)
}

func (c calls) Live(ctx context.Context, id string) (l engine.Live, there bool, err error) {
	err = c.do(ctx, "Live", func(ctx context.Context, e enginetest.Daemon) (err error) {
		l, there, err = e.Live(ctx, id)
		return err
	})
	return l, there, err
}

func (c calls) StartHelper(ctx context.Context, h engine.Helper) (id string, err error) {
	err = c.do(ctx, "StartHelper "+h.Args[1], func(ctx context.Context, e enginetest.Daemon) (err error) {
		id, err = e.StartHelper(ctx, h)
		return err
	})
	return id, err
}

func (c calls) Helpers(ctx context.Context, owner string) (ids []string, err error) {
	err = c.do(ctx, "Helpers", func(ctx context.Context, e enginetest.Daemon) (err error) {
		ids, err = e.Helpers(ctx, owner)
		return err
	})
	return ids, err
}

func (c calls) Asides(ctx context.Context, project string) (ids []string, err error) {
	err = c.do(ctx, "Asides", func(ctx context.Context, e enginetest.Daemon) (err error) {
		ids, err = e.Asides(ctx, project)
		return err
	})
	return ids, err
}

func (c calls) CreateSuccessor(ctx context.Context, p render.Project, service, old string) (id string, err error) {
	err = c.do(ctx, "CreateSuccessor", func(ctx context.Context, e enginetest.Daemon) (err error) {
		id, err = e.CreateSuccessor(ctx, p, service, old)
		return err
	})
	return id, err
}

func (c calls) Successor(ctx context.Context, p render.Project, service string) (image string, entrypoint []string, err error) {
	err = c.do(ctx, "Successor", func(ctx context.Context, e enginetest.Daemon) (err error) {
		image, entrypoint, err = e.Successor(ctx, p, service)
		return err
	})
	return image, entrypoint, err
}

func (c calls) Rename(ctx context.Context, id, name string) error {
	return c.do(ctx, "Rename", func(ctx context.Context, e enginetest.Daemon) error { return e.Rename(ctx, id, name) })
}

func (c calls) SetRestart(ctx context.Context, id string, r engine.Restart) error {
	return c.do(ctx, "SetRestart", func(ctx context.Context, e enginetest.Daemon) error { return e.SetRestart(ctx, id, r) })
}

func (c calls) End(ctx context.Context, id string) error {
	return c.do(ctx, "End", func(ctx context.Context, e enginetest.Daemon) error { return e.End(ctx, id) })
}

func (c calls) Start(ctx context.Context, id string) error {
	return c.do(ctx, "Start", func(ctx context.Context, e enginetest.Daemon) error {
		if l, there, err := e.Live(ctx, id); c.p.w.next == stuck && err == nil && there && c.p.w.images[l.Image] == "v2" {
			return fmt.Errorf("port is already allocated")
		}
		return e.Start(ctx, id)
	})
}

func (c calls) Remove(ctx context.Context, id string) error {
	return c.do(ctx, "Remove", func(ctx context.Context, e enginetest.Daemon) error { return e.Remove(ctx, id) })
}

func (c calls) LastLines(ctx context.Context, id string) string {
	return c.p.w.fake.LastLines(ctx, id)
}
