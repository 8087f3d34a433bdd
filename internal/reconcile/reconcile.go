// Package reconcile is the loop: it looks, plans, carries out and reports.
// It owns the interfaces of what it works with; their comments are the
// contract.
//
//	source.go      what the remote has, asked beside the loop
//	gather.go      all that a plan depends on, as a value
//	same.go        looks that find nothing new
//	executor.go    the operations of plans, each in its turn
//	gate.go        what keeps them and a checkout apart
//	hooks.go       what runs around updates
//	ledger.go      what is remembered, counted, said and shown
//	self.go        the daemon's own hand-over
//	images.go      tags that are watched at their registries
//	command.go     what people ask for
//	alarm.go       when to look again
package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// Engine is the container engine. Every method may be called at the same time
// for different stacks, and again after an error or a kill: each goes on from
// what it finds.
type Engine interface {
	// Observe takes one snapshot.
	Observe(ctx context.Context) (plan.Observed, error)
	// Pull brings a stack's images here and touches no container.
	Pull(ctx context.Context, p render.Project) error
	// Up creates, replaces and starts what differs, as the operation's orders
	// say, and nothing else. It needs Pull before. While a service waits for
	// another one, it gives its turn back.
	Up(ctx context.Context, p render.Project, op plan.Op, turn Turn) error
	// Settle waits until what Up started runs and is healthy, or is done, and gives
	// what runs then. An error for which a container is to blame says so with the method
	// Blames, see blames; so does one of Up.
	Settle(ctx context.Context, p render.Project) (plan.Running, error)
	// RunHook runs a service as one of its stack's hooks, to its end, beside what runs. It
	// needs Pull before. An error is that it failed, could not be run, or has not ended when
	// the context's time was over; then it is stopped. When the context ends otherwise it
	// goes on, and the next call for the same waits for it.
	RunHook(ctx context.Context, p render.Project, kind plan.HookKind, service string) error
	// Keep gives images of a project, by service and as ids, names of their own, by which
	// nobody removes them and plan.KeptAs finds them. Others of it lose theirs.
	Keep(ctx context.Context, project string, images map[string]string) error
	// Stop removes a project by its name, or stops some of its services; what is
	// not there is no error. p is what it was in git, for its pre_stop hooks; the zero
	// value if it has none, or they are not known any more.
	Stop(ctx context.Context, p render.Project, op plan.Op) error
}

// Turn is what an Up touches containers in: as long as it has it, no checkout
// moves files that they are made from. It has it when it begins. As an alias it
// is the engine's too, which does not know this package.
type Turn = interface {
	// Rest gives it back, for what may last and touches nothing: one service waits
	// for another.
	Rest()
	// Touch has it again while do runs, if it was given back. Where the clone has
	// moved on to another version of the stack, do does not run, and the error is to
	// be handed on.
	Touch(ctx context.Context, do func() error) error
	// Starting says that a container is asked to start. At the first one begins the
	// time that the stack has to come up; what was stopped before has had its own.
	Starting()
}

// Reporter hears what happens. Its methods are called by one goroutine and
// return at once. Of each check it hears Looked once, when it is known whether
// the check as such succeeds: after the look if that failed or nothing is to be
// checked out, else after the checkout. Ended follows once, when the last
// operation of the check has ended, which may be after later checks have looked
// and ended.
type Reporter interface {
	Looked(report.Look)
	Updated(report.Stack)
	Ended(report.Check)
}

// Options of a Reconciler.
type Options struct {
	Source   Source
	Loader   Loader
	Engine   Engine
	Volumes  Volumes
	Reporter Reporter
	Logger   *slog.Logger
	// Clone is the clone's folder, to see what stacks would leave behind there.
	Clone string
	// SeesHost says that this process sees the folders of the engine's host as they are
	// there, and not those of a container.
	SeesHost bool
	// Journal is the file that remembers stacks between checks and starts.
	Journal string
	// Registry is asked for newer images, as pull policies want it; nil if
	// nobody can be.
	Registry Registry
	// HandOver replaces the daemon's own container; nil where it runs in none,
	// and then no plan may have one.
	HandOver HandOver
	// Pruner removes images that stacks do not use any more after an update;
	// nil if they are kept.
	Pruner Pruner
	// Events tell what happens on the host; nil if nobody watches.
	Events <-chan plan.Event
	// Describe says more of a commit, for people; nil if nobody can.
	Describe func(commit string) (report.Commit, error)
	// Happened is told of what was done, and of commands; it returns soon. nil if nobody
	// wants to know.
	Happened func(report.Event)
	// Scheduled is told when the next check is due, whenever that changes; the
	// zero time if none is. It returns at once. nil if nobody wants to know.
	Scheduled func(next time.Time)

	// Interval between checks; 0 for none.
	Interval   time.Duration
	Heal       bool
	AllowEmpty bool
	// MakeNetworks makes external networks that are not there.
	MakeNetworks bool
	// MinAge is for how long a tag that is watched has to have pointed to a new digest
	// before that is taken, in stacks that say nothing else.
	MinAge time.Duration
	// Window is when stacks may be updated, started and stopped that say nothing else.
	Window plan.Window
	// KeepEdits lets stacks go on whose files were changed by hand in the clone.
	KeepEdits bool
	// HoldOrder holds stacks with a service that is to start before its old container
	// stops, and can't.
	HoldOrder bool
	// Parallel is how many stacks are applied at the same time. Half as many that
	// failed before are tried again beside them.
	Parallel int
	// DeployTimeout is how long a stack may take from the start of its first container to
	// running and healthy.
	DeployTimeout time.Duration
}

const (
	// grace is how long running operations go on after a SIGTERM.
	grace = 8 * time.Second
	// eventDelay collects a burst of engine events into one look, eventPause
	// keeps a container that crashes again and again from causing many.
	eventDelay = time.Second
	eventPause = 10 * time.Second
	// needDelay is how long it takes until what a stack was held for is looked at.
	needDelay = 100 * time.Millisecond
	// startPatience is how long the first look waits for the remote.
	startPatience = 10 * time.Second
)

// Reconciler keeps a host in step with a repository.
//
//	ask      the remote, beside the loop: at start, by the interval, when asked to
//	gather   what it has, what runs, what is remembered: nothing is touched yet
//	plan     what is to be done, in what order; the only place that decides
//	execute  each operation in its turn; looks go on meanwhile
//	report   what was found and done
//
// A trigger means only "look now": it is never lost and never blocks, and
// several in a row cost one look. A look observes everything anew; what a
// crash, a failed pull or a failed stop left undone is seen by the next one.
type Reconciler struct {
	o        Options
	journal  *journal
	ledger   *ledger
	executor *executor
	remote   *remote
	images   *watch
	requests chan request
	ended    chan struct{} // closed when Run returns
	alarms   alarms
	known    known                     // of the remote
	loaded   loaded                    // what the last look wanted
	hooked   map[string]render.Project // see rememberHooks
	rest     rest                      // the last look, if it left nothing to be done
	moved    time.Time                 // the end of the last checkout
	again    bool                      // an operation ended with which another plan is made
	stopping bool                      // the daemon was told to stop
}

// alarms are what the loop waits for besides what it is told.
type alarms struct {
	tick, wake, remote, event *alarm
	eventsUntil               time.Time // no event causes a look before
	scheduled                 time.Time
}

// New makes a Reconciler. It reads the journal; one that can't be read is set
// aside, with a warning.
func New(o Options) *Reconciler {
	o.Parallel = max(o.Parallel, 1)
	r := &Reconciler{
		o: o, hooked: map[string]render.Project{}, remote: newRemote(o.Source), requests: make(chan request), ended: make(chan struct{}),
		alarms: alarms{tick: newAlarm(), wake: newAlarm(), remote: newAlarm(), event: newAlarm()},
	}
	r.journal = openJournal(o.Journal, o.Logger)
	r.images = newWatch(o.Registry, o.Logger, r.journal)
	r.ledger = newLedger(r.journal, o.Logger)
	if o.Happened != nil {
		r.ledger.happened = o.Happened
	}
	r.executor = newExecutor(&r.o)
	return r
}

// Trigger asks for a check. It may be called from anywhere.
func (r *Reconciler) Trigger(reason string) { r.remote.ask(reason) }

// Run checks at once, and then whenever the interval is over or somebody
// triggers; it looks besides, without asking the remote, when the engine
// reports a change, a pause is over, a watched tag moves, or an operation ends
// that a plan had to leave room for. It returns when ctx has ended and the
// running operations had their grace.
func (r *Reconciler) Run(ctx context.Context) error {
	defer close(r.ended)
	operations, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	asking, stopAsking := context.WithCancel(ctx)
	defer stopAsking()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.remote.run(asking)
	}()
	r.known = known{trigger: "start", asked: time.Now(), err: errNotYet}
	r.remote.ask("start")
	r.alarms.remote.set(startPatience)
	for {
		trigger := r.wait(ctx, operations)
		if ctx.Err() != nil {
			break
		}
		r.look(ctx, operations, trigger)
	}
	err := r.drain(cancel)
	stopAsking()
	<-done
	return errors.Join(err, r.known.close())
}

var errNotYet = errors.New("the remote has not answered yet")

// wait takes in what it is told until there is a reason to look.
func (r *Reconciler) wait(ctx, operations context.Context) (trigger string) {
	for {
		if r.again && !r.executor.alone() {
			return "lane"
		}
		r.setAlarms()
		// While a checkout or a hand-over is under way, nothing else is begun,
		// whoever asks for it.
		var news <-chan known
		var wake, remote, event <-chan time.Time
		if !r.executor.alone() {
			news, wake, remote, event = r.remote.news, r.alarms.wake.ring(), r.alarms.remote.ring(), r.alarms.event.ring()
		}
		select {
		case <-ctx.Done():
			return ""
		case k := <-news:
			return r.heardOf(k)
		case <-r.alarms.tick.ring():
			r.alarms.tick.set(r.o.Interval)
			r.remote.ask("tick")
		case <-remote:
			r.alarms.remote.set(0)
			if r.known.err == errNotYet { //nolint:errorlint // it is ours, and never wrapped
				return "start"
			}
			r.remote.ask("retry")
		case <-wake:
			now := time.Now()
			if r.images.due(now, r.journal) {
				r.images.ask(ctx, r.journal)
				if wake := r.ledger.wake; wake.IsZero() || wake.After(now) {
					continue
				}
			}
			return "retry"
		case answers := <-r.images.answers:
			if r.images.answered(answers, r.journal) {
				return "image"
			}
		case <-event:
			r.alarms.event.set(0)
			r.alarms.eventsUntil = time.Now().Add(eventPause)
			return "engine"
		case e, open := <-r.o.Events:
			if !open {
				r.o.Events = nil
				continue
			}
			r.heard(e)
		case q := <-r.requests:
			q.answer <- r.command(q.Command)
		case <-r.executor.patient.ring():
			r.advance(operations)
		case <-r.executor.freed:
			r.advance(operations)
		case t := <-r.executor.results:
			r.end(operations, t)
		}
	}
}

// heardOf takes in what the remote has.
func (r *Reconciler) heardOf(k known) (trigger string) {
	if err := r.known.close(); err != nil {
		r.o.Logger.Warn("can't remove staged files", "err", err)
	}
	r.known, r.known.fresh = k, true
	r.alarms.tick.set(r.o.Interval)
	r.alarms.remote.set(0)
	return k.trigger
}

// heard takes an event of the engine in. Projects that are neither wanted nor
// ours are nobody's business, and what our own operations cause is no event:
// they see themselves how the stack is, until they have ended. What a stack is
// held for is looked at without delay.
func (r *Reconciler) heard(e plan.Event) {
	switch {
	case r.ledger.needs[e.Made]:
		r.ledger.needs[e.Made] = false // it will be seen
		r.alarms.event.set(needDelay)
		return
	case e.Made.Kind != "" && e.Project == "", e.Project != "" && !r.ledger.concerns[e.Project], r.executor.ours(e.Project):
		return
	}
	if r.alarms.event.at.IsZero() {
		r.alarms.event.set(max(eventDelay, time.Until(r.alarms.eventsUntil)))
	}
}

// setAlarms arms what depends on the last plan, and tells when the next check
// is due.
func (r *Reconciler) setAlarms() {
	wake := r.ledger.wake
	if due := r.images.next(r.journal); !due.IsZero() && (wake.IsZero() || due.Before(wake)) {
		wake = due
	}
	r.alarms.wake.until(wake)
	next := r.alarms.tick.at
	for _, at := range []time.Time{r.ledger.wake, r.alarms.remote.at} {
		if next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if r.o.Scheduled != nil && !next.Equal(r.alarms.scheduled) {
		r.o.Scheduled(next)
	}
	r.alarms.scheduled = next
}

// look gathers, plans, and lets the operations begin.
func (r *Reconciler) look(ctx, operations context.Context, trigger string) {
	r.again = false
	c := &check{tasks: map[plan.ID]*task{}}
	replaced := r.outcome(ctx, c)
	k := &r.known
	v, err := r.gather(ctx, k)
	if ctx.Err() != nil {
		return // the daemon ends: nothing more is begun, and nothing is wrong
	}
	c.view = v
	c.Look = report.Look{At: v.at, Trigger: trigger, Asked: v.asked, From: v.heads.Local, To: v.heads.Remote, Offline: v.state.Offline}
	fresh := k.fresh
	k.fresh = false
	if err == nil && k.err != nil && !errors.Is(k.err, errNotYet) {
		c.Error, c.Blocked = k.err.Error(), blocked(k.err)
	}
	if err != nil || fresh && k.err != nil {
		r.ledger.checkFailed(c, cmp.Or(err, k.err))
		r.alarms.remote.set(lookBackoff(r.ledger.failedLooks))
	}
	if err != nil {
		r.checkEnded(c)
		return
	}
	c.began = r.began
	if v.same {
		c.Commits = r.rest.commits
	} else {
		c.Commits = r.describe(v.heads)
		r.ledger.looked(c)
		r.images.watch(v, r.journal)
	}
	if k.err == nil && v.plan.To == v.heads.Remote && !hasCheckout(v.plan) {
		r.ledger.checkWorks(c)
	}
	r.journal.save()
	r.pruneReplaced(operations, c, replaced)
	r.executor.overtake()
	r.executor.add(c)
	if !hasCheckout(v.plan) {
		r.looked(c)
	}
	r.advance(operations)
	if !v.same {
		r.rests(c)
	}
	if len(v.plan.Ops) == 0 {
		r.checkEnded(c)
	}
}

// idle says whether no operation is under way, of this daemon or of one that it
// hands over to.
func (r *Reconciler) idle() bool {
	return r.executor.idle() && (r.o.HandOver == nil || !r.o.HandOver.Pending())
}

func hasCheckout(p plan.Plan) bool {
	return slices.ContainsFunc(p.Ops, func(op plan.Op) bool { return op.Kind == plan.Checkout })
}

// began takes in that an operation begins.
func (r *Reconciler) began(t *task) {
	if s, ok := r.ledger.began(t); ok {
		r.o.Reporter.Updated(s)
	}
}

// end takes in that an operation has ended, and lets those begin that come
// after it.
func (r *Reconciler) end(operations context.Context, t *task) {
	r.executor.end(t)
	r.finished(t)
	r.advance(operations)
}

// advance lets operations begin, takes in those that are not to, and writes once what
// is to be remembered of all that.
func (r *Reconciler) advance(operations context.Context) {
	if r.stopping {
		return
	}
	for _, t := range r.executor.advance(operations) {
		r.finished(t)
	}
	r.journal.save()
}

// finished takes in how an operation ended.
func (r *Reconciler) finished(t *task) {
	c := t.check
	if t.Kind == plan.Checkout {
		r.checkedOut(t)
	}
	busy := r.executor.busy()
	r.again = r.again || r.ledger.changes(t, !busy[t.Stack], len(busy) == 0)
	if s, ok := r.ledger.ended(t); ok {
		r.o.Reporter.Updated(s)
	}
	r.again, r.ledger.back = r.again || r.ledger.back, false
	switch {
	case t.Kind != plan.Pull:
	case t.err == nil && !t.missed():
		r.images.pulled(t.project.Services, c.view.state.Observed, r.journal)
	case t.stale:
		r.images.movedAgain(t.err, r.journal)
	}
	if c.open--; c.open == 0 {
		r.checkEnded(c)
	}
}

// checkedOut takes in how the checkout of a check went: now it is known whether
// that succeeds.
func (r *Reconciler) checkedOut(t *task) {
	c := t.check
	r.moved = time.Now()
	switch {
	case t.cut || t.missed():
	case t.err != nil: // nothing is started from files that are not there
		r.ledger.checkFailed(c, fmt.Errorf("checkout: %w", t.err))
		r.alarms.remote.set(lookBackoff(r.ledger.failedLooks))
	default:
		r.known.Local, r.known.Rewritten = c.To, false
		r.ledger.checkWorks(c)
	}
	r.looked(c)
}

// looked reports a look, once.
func (r *Reconciler) looked(c *check) {
	if c.looked {
		return
	}
	c.looked = true
	if c.Error == "" || c.view.plan.Views != nil {
		c.Stacks = r.ledger.picture()
	}
	r.o.Reporter.Looked(c.Look)
}

// checkEnded reports a check whose operations have all ended.
func (r *Reconciler) checkEnded(c *check) {
	r.looked(c)
	c.Ended = time.Now()
	c.Final = r.ledger.picture()
	r.o.Reporter.Ended(c.Check)
	r.ledger.said(c)
}

// describe says what is known of the commits of a look.
func (r *Reconciler) describe(h Heads) []report.Commit {
	if r.o.Describe == nil {
		return nil
	}
	var commits []report.Commit
	for _, hash := range slices.Compact([]string{h.Local, h.Remote}) {
		c, err := r.o.Describe(hash)
		if err != nil {
			r.o.Logger.Debug("commit can't be described", "commit", short(hash), "err", err)
			continue
		}
		commits = append(commits, c)
	}
	return commits
}

// drain lets running operations end, and cancels them when their grace is
// over. What is left undone then is seen by the next start.
func (r *Reconciler) drain(cancel context.CancelCauseFunc) error {
	r.stopping = true
	r.executor.letGo()
	over := time.AfterFunc(grace, func() { cancel(errShutdown) })
	defer over.Stop()
	for _, t := range r.executor.drop() {
		r.finished(t)
	}
	for len(r.executor.tasks) > 0 {
		t := <-r.executor.results
		r.executor.end(t)
		r.finished(t)
		r.journal.save()
	}
	r.journal.save()
	return nil
}

var errShutdown = errors.New("the daemon was told to stop")

// blocked says whether an error needs a person.
func blocked(err error) bool {
	var b interface{ Blocked() bool }
	return errors.As(err, &b) && b.Blocked()
}

// Plan says what the next check would do, and does nothing of it. It must not
// be called while Run runs.
func (r *Reconciler) Plan(ctx context.Context) (plan.Plan, error) {
	k := r.remote.fetch(ctx, "plan")
	if k.err != nil {
		return plan.Plan{}, k.err
	}
	return r.dry(ctx, &k)
}

// Examine is Plan, which goes by the clone's head where the remote can't be asked,
// and gives the reason. It must not be called while Run runs.
func (r *Reconciler) Examine(ctx context.Context) (p plan.Plan, offline, err error) {
	k := r.remote.fetch(ctx, "doctor")
	p, err = r.dry(ctx, &k)
	return p, k.err, err
}

// dry makes a plan of which nothing is done.
func (r *Reconciler) dry(ctx context.Context, k *known) (plan.Plan, error) {
	r.ledger.repair = map[string]bool{}
	v, err := r.gather(ctx, k)
	return v.plan, errors.Join(err, k.close())
}

// verb wraps an error, if it is one, in what was tried.
func verb(err error, format string, a ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(a, err)...)
}
