// Package reconcile is the loop: it looks, plans, carries out and reports.
// It owns the interfaces of what it works with; their comments are the
// contract.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// Heads are where the clone is and where the remote is.
type Heads struct {
	Local, Remote string
	// Rewritten says that the remote's history was replaced.
	Rewritten bool
}

// Source is the repository. Its methods are called by one goroutine, in the
// order Fetch, Stage, Checkout.
type Source interface {
	// Fetch gets the remote head. After an error nothing may be touched.
	Fetch(ctx context.Context) (Heads, error)
	// Stage shows a commit. It may be called for the local head and for the
	// fetched one.
	Stage(ctx context.Context, commit string) (Tree, error)
	// Checkout takes the clone to a commit, all of it or nothing, and never
	// touches what git does not track. At that commit already it does nothing.
	Checkout(ctx context.Context, commit string) error
}

// Tree is a staged commit, to be closed when it is no longer read.
type Tree interface {
	render.Tree
	Close() error
}

// Loader loads the stacks of a staged commit.
type Loader interface {
	Load(ctx context.Context, tree render.Tree) ([]render.Project, error)
}

// Engine is the container engine. Every method may be called at the same time
// for different stacks, and again after an error or a kill: each goes on from
// what it finds.
type Engine interface {
	// Observe takes one snapshot.
	Observe(ctx context.Context) (plan.Observed, error)
	// Pull brings a stack's images here and touches no container.
	Pull(ctx context.Context, p render.Project) error
	// Up creates, replaces and starts what differs, and what the operation
	// orders, and nothing else. It needs Pull before. Where the host does not
	// allow what is ordered, nothing is touched.
	Up(ctx context.Context, p render.Project, op plan.Op) error
	// Settle waits until what Up started runs and is healthy, or is done.
	Settle(ctx context.Context, p render.Project) error
	// Stop removes a project, or stops some of its services (op.Services) and
	// removes their containers if op.Remove says so. What is not there is no
	// error. Volumes stay, and so does the daemon's own container.
	Stop(ctx context.Context, op plan.Op) error
}

// Reporter hears what happens. Its methods are called by one goroutine and
// return at once. Of each check it hears Looked once, when it is known whether
// the check as such succeeds: after the look if that failed, else after the
// stops and the checkout. Ended follows once, when the last operation of the
// check has ended, which may be after later checks have looked and ended.
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
	Reporter Reporter
	Logger   *slog.Logger
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
	// Events signal that a project's containers changed on the host; nil if
	// nobody watches. An empty name means that it is not known which.
	Events <-chan string
	// Describe says more of a commit, for people; nil if nobody can.
	Describe func(commit string) (report.Commit, error)
	// Scheduled is told when the next check is due, whenever that changes; the
	// zero time if none is. It returns at once. nil if nobody wants to know.
	Scheduled func(next time.Time)

	// Interval between checks; 0 for none.
	Interval   time.Duration
	Heal       bool
	AllowEmpty bool
	// Parallel is how many stacks are applied at the same time.
	Parallel int
	// DeployTimeout is how long a stack may take from its first container to
	// running and healthy.
	DeployTimeout time.Duration
}

const (
	// grace is how long running operations go on after a SIGTERM.
	grace = 8 * time.Second
	// patience is how long a checkout waits for operations that touch
	// containers, and the stops before it. One slow stack holds nobody up for
	// longer; what it then sees of the new files is mended at the next look.
	patience = 30 * time.Second
	// eventDelay collects a burst of engine events into one look, eventPause
	// keeps a container that crashes again and again from causing many.
	eventDelay = time.Second
	eventPause = 10 * time.Second
	// everybody is more than operations can ever run: whoever acquires it from
	// the gate is alone.
	everybody = 1 << 30
)

// Reconciler keeps a host in step with a repository.
//
// A trigger means only "look now": it is never lost and never blocks, and
// several in a row cost one look. A look observes everything anew and derives
// the plan; what a crash, a failed pull or a failed stop left undone is seen by
// the next one. Operations run in lanes, one a stack: while one is busy, looks
// go on and plan for the others.
type Reconciler struct {
	o       Options
	journal *journal
	trigger chan string
	results chan result
	slots   *semaphore.Weighted
	gate    *semaphore.Weighted
	head    atomic.Value // string: the commit that the clone is at

	// All below is touched by the goroutine of Run only.
	lanes       map[string]*turn // stacks whose operations run
	missed      map[string]bool  // busy stacks that the last look left out
	again       bool             // what a lane ended with has to be looked at
	first       bool             // no check has got as far as its operations yet
	lookedAt    time.Time        // the last look that succeeded
	failedLooks int
	lookRetry   time.Time         // when a failed look is repeated
	lastError   string            // of a check, as logged last
	seen        map[string]string // what was counted and logged last, see countOnce
	stacks      map[string]report.Stack
	event       *alarm
	tags        *tags
	eventsUntil time.Time
	scheduled   time.Time
	handing     context.CancelCauseFunc // ends the hand-over that is under way, if one is
	wantsOver   bool                    // a hand-over waits until no operation runs
	runs        context.Context         // what operations run in, see Run
	stopping    bool                    // the daemon was told to stop
}

// New makes a Reconciler. It reads the journal; one that can't be read is set
// aside, with a warning.
func New(o Options) *Reconciler {
	if o.Parallel < 1 {
		o.Parallel = 1
	}
	return &Reconciler{
		o:       o,
		journal: openJournal(o.Journal, o.Logger),
		trigger: make(chan string, 1),
		results: make(chan result),
		slots:   semaphore.NewWeighted(int64(o.Parallel)),
		gate:    semaphore.NewWeighted(everybody),
		lanes:   map[string]*turn{},
		missed:  map[string]bool{},
		first:   true,
		seen:    map[string]string{},
		stacks:  map[string]report.Stack{},
		event:   newAlarm(),
		tags:    newTags(),
	}
}

// Trigger asks for a look. It may be called from anywhere.
func (r *Reconciler) Trigger(reason string) {
	select {
	case r.trigger <- reason:
	default: // one is waiting already, and will see the same
	}
}

// Run looks at once, and then whenever the interval is over, somebody
// triggers, a watched tag moves, the engine reports a change, a pause before a retry is over, or a
// lane that a look had to leave out is free. It returns when ctx has ended and
// the running operations had their grace.
func (r *Reconciler) Run(ctx context.Context) error {
	lanes, cancelLanes := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelLanes(nil)
	defer r.event.stop()
	defer r.tags.due.stop()
	r.runs = lanes
	for reason := "start"; ctx.Err() == nil; reason = r.wait(ctx) {
		r.check(ctx, lanes, reason)
	}
	return r.drain(cancelLanes)
}

// wait takes in what lanes and engine tell until there is a reason to look.
func (r *Reconciler) wait(ctx context.Context) (reason string) {
	tick, retry := newAlarm(), newAlarm()
	defer tick.stop()
	defer retry.stop()
	tick.set(r.o.Interval)
	for !r.again {
		if r.handing != nil { // nothing else is begun, whoever asks for it
			r.takeIn(func() bool { return r.handing == nil }, ctx.Done(), nil)
			if ctx.Err() != nil {
				return ""
			}
			continue
		}
		retry.set(r.untilRetry())
		r.tags.due.set(r.untilDue())
		r.schedule(tick.at, retry.at)
		select {
		case <-ctx.Done():
			return ""
		case reason := <-r.trigger:
			return reason
		case <-tick.ring():
			return "tick"
		case <-retry.ring():
			return "retry"
		case <-r.event.ring():
			r.event.set(0)
			r.eventsUntil = time.Now().Add(eventPause)
			return "engine"
		case <-r.tags.due.ring():
			r.ask(ctx)
		case answers := <-r.tags.answers:
			if r.answered(answers) {
				return "image"
			}
		case project, open := <-r.o.Events:
			r.heard(project, open)
		case res := <-r.results:
			r.finish(res)
		}
	}
	return "lane"
}

// takeIn takes in what lanes and engine tell until enough says so, or one of
// the channels does.
func (r *Reconciler) takeIn(enough func() bool, done, giveUp <-chan struct{}) {
	for !enough() {
		select {
		case res := <-r.results:
			r.finish(res)
		case project, open := <-r.o.Events:
			r.heard(project, open)
		case <-done:
			return
		case <-giveUp:
			return
		}
	}
}

// heard takes an event of the engine in. What our own operations cause is
// none: they see themselves how the stack is, until they have ended.
func (r *Reconciler) heard(project string, open bool) {
	if !open {
		r.o.Events = nil
		return
	}
	if t := r.lanes[project]; t != nil && !t.ended() {
		return
	}
	if r.event.at.IsZero() {
		r.event.set(max(eventDelay, time.Until(r.eventsUntil)))
	}
}

// schedule tells when the next check is due.
func (r *Reconciler) schedule(next, retry time.Time) {
	if next.IsZero() || (!retry.IsZero() && retry.Before(next)) {
		next = retry
	}
	if r.o.Scheduled != nil && !next.Equal(r.scheduled) {
		r.o.Scheduled(next)
	}
	r.scheduled = next
}

// drain lets running operations end, and cancels them when their grace is
// over. What is left undone then is seen by the next start.
func (r *Reconciler) drain(cancel context.CancelCauseFunc) error {
	r.stopping = true
	r.stopOver()
	over := time.AfterFunc(grace, func() { cancel(errShutdown) })
	defer over.Stop()
	r.takeIn(func() bool { return len(r.lanes) == 0 }, nil, nil)
	return nil
}

var errShutdown = errors.New("the daemon was told to stop")

// blocked says whether an error needs a person.
func blocked(err error) bool {
	var b interface{ Blocked() bool }
	return errors.As(err, &b) && b.Blocked()
}

// untilRetry is the time to the next retry of a look or of a stack, 0 for none.
func (r *Reconciler) untilRetry() time.Duration {
	next := r.lookRetry
	if r.failedLooks == 0 {
		next = r.journal.nextRetry(r.lookedAt, r.lanes)
	}
	if next.IsZero() {
		return 0
	}
	return max(time.Until(next), time.Millisecond)
}

// lookBackoff is the pause after failed looks in a row: a host may boot before
// its network does. Checks by the interval go on besides.
func lookBackoff(failures int) time.Duration {
	return min(5*time.Second<<min(failures-1, 10), 5*time.Minute)
}

// backoff is the pause before a stack is tried again after failures in a row.
func backoff(failures int) time.Duration {
	return min(10*time.Second<<min(failures-1, 10), time.Hour)
}

// retryAfter is the pause that somebody else asked for with an error.
func retryAfter(err error) time.Duration {
	var wait interface{ RetryAfter() time.Duration }
	if !errors.As(err, &wait) {
		return 0
	}
	return wait.RetryAfter()
}

// alarm is a timer that can be unset.
type alarm struct {
	t  *time.Timer
	at time.Time // zero when unset
}

func newAlarm() *alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &alarm{t: t}
}

// set arms it, or unsets it for 0.
func (a *alarm) set(d time.Duration) {
	a.t.Stop()
	a.at = time.Time{}
	if d > 0 {
		a.t.Reset(d)
		a.at = time.Now().Add(d)
	}
}

func (a *alarm) ring() <-chan time.Time { return a.t.C }
func (a *alarm) stop()                  { a.t.Stop() }

// Plan says what the next check would do, and does nothing of it. It must not
// be called while Run runs.
func (r *Reconciler) Plan(ctx context.Context) (plan.Plan, error) {
	v, err := r.look(ctx, r.o.Heal)
	if err != nil {
		return plan.Plan{}, err
	}
	defer v.close()
	return v.plan, nil
}

// verb wraps an error, if it is one, in what was tried.
func verb(err error, format string, a ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(a, err)...)
}
