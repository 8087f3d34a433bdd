package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// steady is how much longer a stack is watched that ended soon after it had been
// brought up before.
const steady = 10 * time.Second

// lingering is after how long a stop gives back its slot: what it waits for then
// costs the engine nothing.
const lingering = time.Second

// executor walks the operations of plans: each begins when those that it comes
// after have ended, and there is a slot for it. It decides nothing. All of it but
// what run does is used by the loop only.
type executor struct {
	o *Options
	// slots are for stacks that are applied at the same time. Those that failed
	// before have their own, so that however many they are and however long each
	// takes, they delay no other.
	slots, retries *semaphore.Weighted
	// stops are for stops, which give theirs back soon, see lingering: containers may
	// take as long to end as they want.
	stops   *semaphore.Weighted
	freed   chan struct{} // a buffer of one: there is another free slot
	gate    *gate
	results chan *task
	tasks   []*task // those that have not ended, in the order of their plans
	patient *alarm  // until an operation is waited for no longer
	handing context.CancelCauseFunc
}

// task is an operation that has not ended, or the result of one that has.
type task struct {
	plan.Op
	check   *check
	project render.Project
	// retry says that the same failed before.
	retry bool
	begun time.Time // zero before
	ended bool
	// took is the doing, settled the waiting after it; see report.Operation.
	took, settled time.Duration
	err           error
	// stale says that the clone, or a tag, has moved on since it was planned, or
	// something else runs that must not: it was not begun, and is planned again.
	stale bool
	// cut says that the end of the daemon cut it short.
	cut bool
	// needs is the operation without whose success it was not tried.
	needs plan.Op
	// runs is what runs after an Up.
	runs plan.Running

	old    []old    // images that may go afterwards, see prune
	wanted []string // images that may not
}

// missed says whether it was not begun.
func (t *task) missed() bool { return t.needs.ID != "" || t.stale }

func newExecutor(o *Options) *executor {
	return &executor{
		o: o, slots: semaphore.NewWeighted(int64(o.Parallel)), retries: semaphore.NewWeighted(int64(max(o.Parallel/2, 1))),
		stops: semaphore.NewWeighted(int64(o.Parallel)),
		freed: make(chan struct{}, 1), gate: newGate(), results: make(chan *task), patient: newAlarm(),
	}
}

// idle says whether there is none.
func (e *executor) idle() bool { return len(e.tasks) == 0 }

// busy are the stacks whose operations have not ended.
func (e *executor) busy() map[string]bool {
	m := map[string]bool{}
	for _, t := range e.tasks {
		if t.Stack != "" {
			m[t.Stack] = true
		}
	}
	return m
}

// ours says whether what happens to a stack now is our own doing.
func (e *executor) ours(stack string) bool {
	for _, t := range e.tasks {
		if t.Stack == stack && !t.begun.IsZero() {
			return true
		}
	}
	return false
}

// alone says whether an operation waits or runs that no look may come between:
// a checkout, or a hand-over that is under way.
func (e *executor) alone() bool {
	for _, t := range e.tasks {
		if t.Kind == plan.Checkout || t.Kind == plan.HandOver && !t.begun.IsZero() {
			return true
		}
	}
	return false
}

// add takes over the operations of a check.
func (e *executor) add(c *check) {
	v := c.view
	var wants []plan.Stack
	if v.heads.Local == v.heads.Remote {
		wants = v.state.Wanted
	}
	e.gate.at(v.heads.Local, wants) // no checkout runs: a look waits for that
	for _, op := range v.plan.Ops {
		t := &task{Op: op, check: c, project: v.projects[op.Stack]}
		t.retry = failedBefore(t, v.state.Memory[op.Stack])
		if op.Kind == plan.Pull && op.Hooks != nil {
			t.project = t.project.WithHooks()
		}
		t.project.Services = due(t.project.Services, v.state.Observed, op.Digests)
		if op.Services != nil && op.Kind != plan.Stop {
			t.project = t.project.Only(op.Services)
		}
		if e.o.Pruner != nil && op.Kind == plan.Up && !op.Fresh {
			t.old, t.wanted = images(v, op.Stack), names(v)
		}
		c.tasks[op.ID] = t
		c.open++
		e.tasks = append(e.tasks, t)
	}
}

// failedBefore says whether the same failed when it was last tried.
func failedBefore(t *task, r plan.Record) bool {
	if t.Kind == plan.Stop && t.Services == nil {
		return r.Failed == plan.StopDigest
	}
	return r.Failed != "" && r.Failed == t.project.Digest
}

// due decides for each service whether its image is pulled.
func due(services []plan.Service, o plan.Observed, digests map[string]string) []plan.Service {
	out := make([]plan.Service, len(services))
	for i, s := range services {
		out[i] = s.Due(o, digests)
	}
	return out
}

// advance begins what can begin, and gives what can't any more.
func (e *executor) advance(ctx context.Context) (missed []*task) {
	e.patient.set(0)
	for again := true; again; {
		again = false
		for _, t := range e.tasks {
			if t.ended || !t.begun.IsZero() || !e.turn(t) {
				continue
			}
			if t.missed() {
				t.ended, again = true, true
				missed = append(missed, t)
				continue
			}
			if release, free := e.slot(t); free {
				e.begin(ctx, t, release)
			}
		}
	}
	e.forget()
	return missed
}

// turn says whether a task's turn has come, be it only to be missed.
func (e *executor) turn(t *task) bool {
	for _, a := range t.After {
		before := t.check.tasks[a.ID]
		switch {
		case before == nil:
		case !before.ended && a.AtMost > 0:
			since := t.check.At
			if !before.begun.IsZero() {
				since = before.begun
			}
			left := a.AtMost - time.Since(since)
			if left <= 0 {
				continue
			}
			if e.patient.at.IsZero() || time.Until(e.patient.at) > left {
				e.patient.set(left)
			}
			return false
		case !before.ended:
			return false
		case !a.Ended && (before.err != nil || before.missed()):
			t.needs = before.Op
			t.stale = before.stale
			return true
		}
	}
	switch t.Kind {
	case plan.HandOver:
		// A daemon that is replaced leaves nothing half done, so it waits for others'
		// operations, too: it is planned again when they have ended.
		t.stale = len(e.tasks) > 1 || t.check.overtaken
	case plan.Stop, plan.Before, plan.Up:
		// It is planned again at once, however long the others take that it would
		// wait for.
		t.stale = !e.gate.fits(t)
	}
	return true
}

// slot gives an operation that takes one a slot, if there is one.
func (e *executor) slot(t *task) (release func(), free bool) {
	slots := e.slots
	switch {
	case t.Kind != plan.Stop && t.Kind != plan.Up && t.Kind != plan.Before:
		return func() {}, true
	case t.Kind == plan.Stop:
		slots = e.stops
	case t.retry:
		slots = e.retries
	}
	if !slots.TryAcquire(1) {
		return nil, false
	}
	return sync.OnceFunc(func() {
		slots.Release(1)
		select {
		case e.freed <- struct{}{}:
		default:
		}
	}), true
}

func (e *executor) forget() {
	var left []*task
	for _, t := range e.tasks {
		if !t.ended {
			left = append(left, t)
		}
	}
	e.tasks = left
}

func (e *executor) begin(ctx context.Context, t *task, release func()) {
	t.begun = time.Now()
	if t.Kind == plan.HandOver {
		ctx, e.handing = context.WithCancelCause(ctx)
		e.o.Logger.Info("handing over to another version of the daemon", "stack", t.Stack, "cause", t.Cause.String(), "commit", short(t.check.To))
	}
	t.check.began(t)
	go func() {
		err := e.run(ctx, t, release)
		release()
		t.took = time.Since(t.begun) - t.settled
		var moved movedAgain
		t.stale = errors.Is(err, errStale) || errors.As(err, &moved)
		t.cut = err != nil && errors.Is(context.Cause(ctx), errShutdown)
		t.err = t.project.Withhold(err)
		e.results <- t
	}()
}

// end takes in that a task has ended.
func (e *executor) end(t *task) {
	t.ended = true
	if t.Kind == plan.HandOver {
		e.handing(nil)
		e.handing = nil
	}
	e.forget()
}

// letGo lets a hand-over that is under way go on without this daemon.
func (e *executor) letGo() {
	if e.handing != nil {
		e.handing(errShutdown)
	}
}

// run does what an operation is. It may give back its slot early.
func (e *executor) run(ctx context.Context, t *task, release func()) error {
	switch t.Kind {
	case plan.Stop:
		return e.gate.touch(ctx, t, func() error {
			defer time.AfterFunc(lingering, release).Stop()
			err := e.o.Engine.Stop(ctx, t.check.view.hooked[t.Stack], t.Op)
			if err == nil && t.Services == nil && t.check.view.state.Observed.Keeps(t.Stack) {
				e.keepNone(ctx, t.Stack)
			}
			return err
		})
	case plan.Checkout:
		return e.checkout(ctx, t)
	case plan.Pull:
		// It takes no slot, so that slow pulls keep no stack from coming up whose
		// images are here. The engine limits what is pulled at once.
		return e.o.Engine.Pull(ctx, t.project)
	case plan.Before:
		return e.before(ctx, t, release)
	case plan.Up:
		return e.up(ctx, t, release)
	case plan.HandOver:
		return e.o.HandOver.Over(ctx, t.project, Own{
			Service: t.Services[0], Version: t.Version, Commit: t.check.To, Cause: t.Cause.String(), Timeout: e.o.DeployTimeout,
		})
	default:
		return fmt.Errorf("operation %s is not known", t.Kind)
	}
}

func (e *executor) up(ctx context.Context, t *task, release func()) error {
	stopping := stopTime(t.project.Stack, t.check.view.state.Observed)
	within := newLimit(ctx, e.o.DeployTimeout+stopping,
		fmt.Errorf("its containers are not made within %s (DEPLOY_TIMEOUT_IN_SECONDS) and the %s that those which they replace have to stop", e.o.DeployTimeout, stopping))
	defer within.end()
	daemon := ctx
	ctx = within
	starting := func() {
		within.restart(e.o.DeployTimeout+monitored(t.project.Stack), fmt.Errorf("not up within %s (DEPLOY_TIMEOUT_IN_SECONDS)", e.o.DeployTimeout))
	}
	u := &turn{gate: e.gate, task: t, rest: release, starting: starting}
	err := e.keep(ctx, t)
	if err == nil {
		err = e.gate.enter(ctx, t, false)
	}
	if err == nil {
		err = e.o.Engine.Up(ctx, t.project, t.Op, u)
		u.Rest()   // waiting for health costs nothing and may last
		starting() // if nothing was to be
	}
	if err == nil {
		began := time.Now()
		if t.runs, err = e.settle(ctx, t); err == nil {
			within.end()
			ctx = daemon
			err = e.after(ctx, t, u)
		}
		t.settled = time.Since(began)
	}
	if err == nil {
		if t.project.Back == nil && (t.Keep != nil || t.check.view.state.Observed.Keeps(t.Stack)) {
			e.keepNone(ctx, t.Stack)
		}
		prune(ctx, e.o.Pruner, e.o.Logger, t)
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.Is(err, context.Cause(ctx)) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// keep sees to it that the images of the last good version stay. Where they can't, a new
// version comes up all the same, and there is no way back from it.
func (e *executor) keep(ctx context.Context, t *task) error {
	if t.Keep == nil {
		return nil
	}
	err := e.o.Engine.Keep(ctx, t.Stack, t.Keep)
	if err != nil && t.project.Back == nil && ctx.Err() == nil {
		e.o.Logger.Warn("the images of the last good version can't be kept", "stack", t.Stack, "err", err)
		return nil
	}
	return err
}

// keepNone takes their names from images that were kept. If that fails, they have them
// until the next update.
func (e *executor) keepNone(ctx context.Context, stack string) {
	if err := e.o.Engine.Keep(ctx, stack, nil); err != nil {
		e.o.Logger.Warn("images are kept for a version that nobody goes back to", "stack", stack, "err", err)
	}
}

// monitored is how long the containers of a stack are watched once they run.
func monitored(s plan.Stack) (longest time.Duration) {
	for _, svc := range s.Services {
		longest = max(longest, svc.Monitor)
	}
	return longest
}

// stopTime is how long the containers of a stack may take to stop, one after the
// other as they depend on each other. Those that run have what they were made with, be
// it more than is wanted now, and so have those of services that go.
func stopTime(s plan.Stack, o plan.Observed) (all time.Duration) {
	graces := map[string]time.Duration{}
	for _, svc := range s.Services {
		graces[svc.Name] = svc.Grace
	}
	for _, r := range o.Running {
		for _, c := range r.Containers {
			if r.Project == s.Name {
				graces[c.Service] = max(graces[c.Service], c.Grace)
			}
		}
	}
	for _, grace := range graces {
		all += grace
	}
	return all
}

// settle waits until a stack runs. One that ended again soon after it had been
// brought up is watched for longer, so that its end is seen, with its last
// words, before it counts as up.
func (e *executor) settle(ctx context.Context, t *task) (plan.Running, error) {
	if runs, err := e.o.Engine.Settle(ctx, t.project); err != nil || !t.Again || !t.Crashed {
		return runs, err
	}
	watch := time.NewTimer(steady)
	defer watch.Stop()
	select {
	case <-watch.C:
	case <-ctx.Done():
	}
	return e.o.Engine.Settle(ctx, t.project)
}

// checkout takes the clone to the new head. What a stack that was in the way for
// longer than patience goes sees of the new files is mended at the next look.
func (e *executor) checkout(ctx context.Context, t *task) error {
	patience, cancel := context.WithDeadline(ctx, t.check.At.Add(plan.Patience))
	defer cancel()
	return e.gate.move(patience, t.check.To, t.check.view.state.Wanted, func() error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// A checkout survives being killed, but is not to be cut short.
		return e.o.Source.Checkout(context.WithoutCancel(ctx), t.check.To)
	})
}

// overtake notes that another look was taken: what waits to replace the daemon
// was planned without it.
func (e *executor) overtake() {
	for _, t := range e.tasks {
		t.check.overtaken = true
	}
}

// drop gives up the tasks that have not begun.
func (e *executor) drop() []*task {
	var dropped []*task
	for _, t := range e.tasks {
		if t.begun.IsZero() {
			t.ended, t.cut = true, true
			dropped = append(dropped, t)
		}
	}
	e.forget()
	return dropped
}
