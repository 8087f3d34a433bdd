package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/events"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

const (
	// lookAgain is for an event that was missed; waiting goes by events.
	lookAgain = 3 * time.Second
	// crashLoop is how many restarts count as a loop.
	crashLoop = 3
	// firstAge is for how long a container without a healthcheck has to run
	// before it counts as up, provenAge the same for one that has ended before.
	// After as long the engine itself begins to count anew.
	firstAge  = time.Second
	provenAge = 10 * time.Second
	// stoppedAge is for how long a container has to have ended to count as
	// stopped: docker restart stops and starts.
	stoppedAge = 5 * time.Second
)

// watch signals, with a buffer of one, that something happened to a project's
// containers. Where Events are heard it goes by those: a stream for each stack that
// comes up is dear. A signal may be missed.
func (e *Engine) watch(ctx context.Context, name string) (changes <-chan struct{}, stop func()) {
	if e.sight.hears() {
		return e.watchers.add(name)
	}
	ctx, cancel := context.WithCancel(ctx)
	args := projectFilter(name)
	args.Add("type", string(events.ContainerEventType))
	for _, action := range looksFor() {
		args.Add("event", string(action))
	}
	messages, errs := e.api.Events(ctx, events.ListOptions{Filters: args})
	ch := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-messages:
				signal(ch)
			case err := <-errs: // looking again after a while goes on
				e.o.Logger.Debug("the engine's events ended", "stack", name, "err", err)
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return ch, cancel
}

func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// watchers are those who wait for something to happen to a project.
type watchers struct {
	mu sync.Mutex
	of map[string][]chan struct{}
}

func (w *watchers) add(project string) (changes <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[string][]chan struct{}{}
	}
	w.of[project] = append(w.of[project], ch)
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.of[project] = slices.DeleteFunc(w.of[project], func(c chan struct{}) bool { return c == ch })
		if len(w.of[project]) == 0 {
			delete(w.of, project)
		}
	}
}

func (w *watchers) tell(project string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.of[project] {
		signal(ch)
	}
}

// Settle returns when every service runs, or is done, and every healthcheck is
// healthy, with what runs then; or with an error when that can't be any more, or the
// context's time is over. Where a container is to blame, that is an Unwell.
func (e *Engine) Settle(ctx context.Context, p render.Project) (plan.Running, error) {
	s := p.Stack
	changes, stop := e.watch(ctx, s.Name)
	defer stop()
	timer := time.NewTimer(firstAge) // before that there is as a rule nothing to be seen
	defer timer.Stop()
	last := verdict{again: lookAgain}
	// What is seen here is news to the next snapshot, if the event comes after it.
	seen := map[string]bool{}
	defer func() { e.sight.doubt(slices.Collect(maps.Keys(seen))...) }()
	for {
		select {
		case <-changes:
		case <-timer.C:
		case <-ctx.Done():
			return plan.Running{}, e.withLogs(ctx, s.Name, last.overdue(ctx), last.service)
		}
		v, err := e.judge(ctx, s)
		for _, c := range v.running.Containers {
			seen[c.ID] = true
		}
		if err != nil {
			v = last
		}
		last = v
		switch {
		case err != nil && ctx.Err() == nil:
			return plan.Running{}, err
		case v.failed != nil:
			return plan.Running{}, e.withLogs(ctx, s.Name, v.unwell(v.failed), v.service)
		case v.pending == "" && err == nil:
			return v.running, nil
		}
		timer.Reset(v.again)
	}
}

// overdue is the error when the context has ended. Nothing is pending if it did
// before the engine told of anything.
func (v verdict) overdue(ctx context.Context) error {
	cause := context.Cause(ctx)
	if v.pending == "" {
		return cause
	}
	err := fmt.Errorf("%s: %w", v.pending, cause)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return v.unwell(err)
	}
	return err
}

// unwell blames the container for an error, if one is to blame.
func (v verdict) unwell(err error) error {
	if v.image == "" {
		return err
	}
	return NewUnwell(err, v.service, v.image)
}

// Unwell is an error that a container is to blame for, which was made and did not become
// what it should. One that was removed or stopped meanwhile is not to blame.
type Unwell struct {
	// Err is the reason.
	Err            error
	service, image string
}

// NewUnwell blames the container of a service, which was made from an image.
func NewUnwell(err error, service, image string) *Unwell { return &Unwell{err, service, image} }

// Error gives the reason.
func (u *Unwell) Error() string { return u.Err.Error() }

// Unwrap gives the reason.
func (u *Unwell) Unwrap() error { return u.Err }

// Blames gives the service of the container, and the id of the image that it was made
// from.
func (u *Unwell) Blames() (service, image string) { return u.service, u.image }

// verdict is what one look at a project that is coming up says.
type verdict struct {
	// failed says why it will never be up.
	failed error
	// pending says why it is not up yet; empty if it is.
	pending string
	// service is the one that either is about, image that of its container; "" if no
	// container is to blame.
	service, image string
	// again is when to look again at the latest.
	again time.Duration
	// running is what was seen of the project.
	running plan.Running
}

func (e *Engine) judge(ctx context.Context, s plan.Stack) (verdict, error) {
	all := verdict{again: lookAgain}
	r, err := e.project(ctx, s.Name)
	if err != nil {
		return all, explain(ctx, err)
	}
	all.running = r
	for _, svc := range s.Services {
		of := containersOf(r, svc.Name)
		if len(of) < svc.Scale { // Up made them all, and nobody else will
			all.failed, all.service = fmt.Errorf("%s has %d of %d containers: some were removed while it came up", svc.Name, len(of), svc.Scale), svc.Name
			return all, nil
		}
		for _, c := range of {
			v := e.judgeContainer(ctx, svc, c)
			if v.failed != nil {
				all.failed, all.service, all.image = v.failed, v.service, v.image
				return all, nil
			}
			if v.pending != "" {
				all.pending, all.service, all.image = v.pending, svc.Name, v.image
				all.again = min(all.again, v.again)
			}
		}
	}
	return all, nil
}

// judgeContainer looks at one container.
//
//	container                             verdict
//	---------                             -------
//	exited 0, restart "no"/"on-failure"   up: it is done
//	exited otherwise, restart "no"/...    failed
//	dead, unhealthy                       failed
//	restarted 3 times, and not running    failed: a crash loop
//	exited 5 s ago, restart otherwise     failed: the engine won't start it again
//	restarted, within 10 s                not yet
//	running, healthy                      up
//	running, no healthcheck, within 1 s   not yet: most that crash do so at once
//	running, within its time to be seen   not yet
//	running, no healthcheck               up
//	anything else                         not yet
func (e *Engine) judgeContainer(ctx context.Context, svc plan.Service, c plan.Container) verdict {
	v := verdict{service: svc.Name, image: c.Image, again: lookAgain}
	switch {
	case svc.Finished(c):
		return v
	case c.State == "exited" && svc.Completes, c.State == "dead":
		v.failed = fmt.Errorf("%s exited (%d)", svc.Name, c.ExitCode)
		return v
	case c.State == "running" && c.Health == "unhealthy":
		v.failed = fmt.Errorf("%s is unhealthy", svc.Name)
		return v
	}
	restarts, age := e.life(ctx, c)
	switch {
	case restarts >= crashLoop && age < provenAge && c.State != "running": // only then there is an exit code
		v.failed = fmt.Errorf("%s keeps crashing (exit code %d)", svc.Name, c.ExitCode)
	case c.State == "exited" && age >= stoppedAge:
		v.failed, v.image = fmt.Errorf("%s was stopped while it came up (%d)", svc.Name, c.ExitCode), "" // by somebody
	case c.State == "exited":
		v.pending, v.again = svc.Name+" is exited", stoppedAge-age
	case c.State != "running":
		v.pending = fmt.Sprintf("%s is %s", svc.Name, c.State)
	case c.Health == "starting":
		v.pending = svc.Name + " is not healthy yet"
	case restarts > 0 && age < provenAge:
		v.pending, v.again = svc.Name+" has just been restarted", provenAge-age
	case c.Health == "" && age < firstAge:
		v.pending, v.again = svc.Name+" has just been started", firstAge-age
	case age < svc.Monitor:
		v.pending, v.again = fmt.Sprintf("%s has not run for %s yet", svc.Name, svc.Monitor), min(svc.Monitor-age, lookAgain)
	}
	return v
}

// life tells how often a container was restarted since somebody started it,
// and for how long it has been running, or has been at its end; unknown counts
// as long, and not at all if the container has gone or ended since it was listed, or is
// about to start. The engine lists one as running for a while after it has ended.
func (e *Engine) life(ctx context.Context, listed plan.Container) (restarts int, age time.Duration) {
	c, err := e.api.ContainerInspect(ctx, listed.ID)
	if errdefs.IsNotFound(err) {
		return 0, 0
	}
	if err != nil || c.ContainerJSONBase == nil || c.State == nil {
		return 0, provenAge
	}
	if listed.State == "running" && (!c.State.Running || c.State.Restarting) {
		return c.RestartCount, 0
	}
	since := c.State.StartedAt
	if !c.State.Running {
		since = c.State.FinishedAt
	}
	at, err := time.Parse(time.RFC3339Nano, since)
	if err != nil {
		return c.RestartCount, provenAge
	}
	if at.Year() == 1 { // the engine's word for never
		return c.RestartCount, 0
	}
	return c.RestartCount, max(time.Since(at), 0)
}
