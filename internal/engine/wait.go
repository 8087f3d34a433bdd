package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/pkg/stdcopy"

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
	// logLines of a container that failed go into the error.
	logLines = 10
	// logBytes bounds them.
	logBytes = 4096
)

// watch signals, with a buffer of one, that something happened to a project's
// containers.
func (e *Engine) watch(ctx context.Context, name string) (changes <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	args := projectFilter(name)
	args.Add("type", string(events.ContainerEventType))
	messages, errs := e.api.Events(ctx, events.ListOptions{Filters: args})
	ch := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-messages:
				select {
				case ch <- struct{}{}:
				default:
				}
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

// Settle returns when every service runs, or is done, and every healthcheck is
// healthy; or with an error when that can't be any more, or the context's time
// is over.
func (e *Engine) Settle(ctx context.Context, p render.Project) error {
	s := p.Stack
	changes, stop := e.watch(ctx, s.Name)
	defer stop()
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	for {
		v, err := e.judge(ctx, s)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case v.failed != nil:
			return e.withLogs(ctx, s.Name, v.failed, v.service)
		case v.pending == "" && err == nil:
			return nil
		}
		timer.Reset(v.again)
		select {
		case <-changes:
		case <-timer.C:
		case <-ctx.Done():
			return e.withLogs(ctx, s.Name, fmt.Errorf("%s: %w", v.pending, context.Cause(ctx)), v.service)
		}
	}
}

// verdict is what one look at a project that is coming up says.
type verdict struct {
	// failed says why it will never be up.
	failed error
	// pending says why it is not up yet; empty if it is.
	pending string
	// service is the one that either is about.
	service string
	// again is when to look again at the latest.
	again time.Duration
}

func (e *Engine) judge(ctx context.Context, s plan.Stack) (verdict, error) {
	all := verdict{again: lookAgain}
	r, err := e.project(ctx, s.Name)
	if err != nil {
		all.pending = "the engine does not answer"
		return all, explain(ctx, err)
	}
	for _, svc := range s.Services {
		of := containersOf(r, svc.Name)
		if len(of) < svc.Scale { // Up made them all, and nobody else will
			return verdict{failed: fmt.Errorf("%s has %d of %d containers: some were removed while it came up", svc.Name, len(of), svc.Scale), service: svc.Name}, nil
		}
		for _, c := range of {
			v := e.judgeContainer(ctx, svc, c)
			if v.failed != nil {
				return v, nil
			}
			if v.pending != "" {
				all.pending, all.service = v.pending, svc.Name
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
//	restarted 3 times, within 10 s        failed: a crash loop
//	exited 5 s ago, restart otherwise     failed: the engine won't start it again
//	restarted, within 10 s                not yet
//	running, healthy                      up
//	running, no healthcheck, within 1 s   not yet: most that crash do so at once
//	running, no healthcheck               up
//	anything else                         not yet
func (e *Engine) judgeContainer(ctx context.Context, svc plan.Service, c plan.Container) verdict {
	v := verdict{service: svc.Name, again: lookAgain}
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
	restarts, age := e.life(ctx, c.ID)
	switch {
	case restarts >= crashLoop && age < provenAge:
		v.failed = fmt.Errorf("%s ends again and again (%d restarts%s)", svc.Name, restarts, exitCode(c))
	case c.State == "exited" && age >= stoppedAge:
		v.failed = fmt.Errorf("%s was stopped while it came up (%d)", svc.Name, c.ExitCode)
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
	}
	return v
}

func exitCode(c plan.Container) string {
	if c.ExitCode == 0 {
		return ""
	}
	return fmt.Sprintf(", exit code %d", c.ExitCode)
}

// life tells how often a container was restarted since somebody started it,
// and for how long it has been running, or has been at its end; unknown counts
// as long.
func (e *Engine) life(ctx context.Context, id string) (restarts int, age time.Duration) {
	c, err := e.api.ContainerInspect(ctx, id)
	if err != nil || c.ContainerJSONBase == nil || c.State == nil {
		return 0, provenAge
	}
	since := c.State.StartedAt
	if !c.State.Running {
		since = c.State.FinishedAt
	}
	at, err := time.Parse(time.RFC3339Nano, since)
	if err != nil {
		return c.RestartCount, provenAge
	}
	return c.RestartCount, max(time.Since(at), 0)
}

// withLogs adds the last lines of the containers that are not well to an
// error about their project: the services named, and all that don't run.
func (e *Engine) withLogs(ctx context.Context, name string, err error, services ...string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	r, observeErr := e.project(ctx, name)
	if observeErr != nil {
		return err
	}
	for _, c := range r.Containers {
		well := c.State == "running" && c.Health != "unhealthy" && c.Health != "starting" || c.State == "exited" && c.ExitCode == 0 || c.State == "created"
		if c.OneOff || well && !slices.Contains(services, c.Service) {
			continue
		}
		if said := e.lastProbe(ctx, c); said != "" {
			err = fmt.Errorf("%w\nthe healthcheck of %s says: %s", err, c.Service, said)
		}
		if lines := e.lastLines(ctx, c.ID); lines != "" {
			err = fmt.Errorf("%w\n%s says: %s", err, c.Service, lines)
		}
	}
	return err
}

// lastProbe gives the output of the last healthcheck of a container that is
// not healthy.
func (e *Engine) lastProbe(ctx context.Context, c plan.Container) string {
	if c.Health != "unhealthy" && c.Health != "starting" {
		return ""
	}
	i, err := e.api.ContainerInspect(ctx, c.ID)
	if err != nil || i.ContainerJSONBase == nil || i.State == nil || i.State.Health == nil || len(i.State.Health.Log) == 0 {
		return ""
	}
	text := strings.TrimSpace(i.State.Health.Log[len(i.State.Health.Log)-1].Output)
	return text[:min(len(text), logBytes)]
}

func (e *Engine) lastLines(ctx context.Context, id string) string {
	logs, err := e.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: fmt.Sprint(logLines)})
	if err != nil {
		return ""
	}
	defer logs.Close()
	raw, err := io.ReadAll(io.LimitReader(logs, 64*logBytes))
	if err != nil {
		return ""
	}
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, bytes.NewReader(raw)); err != nil {
		out.Reset()
		out.Write(raw) // a terminal's log has no frames
	}
	text := strings.TrimSpace(out.String())
	if len(text) > logBytes {
		text = "..." + text[len(text)-logBytes:]
	}
	return text
}

// Events tells the projects whose containers changed on the host. It
// reconnects by itself and ends with ctx. After a time in which nobody
// listened it tells an empty name: anything may have happened. A name that
// nobody takes in time is dropped: callers still have to look from time to
// time.
func (e *Engine) Events(ctx context.Context) <-chan string {
	ch := make(chan string, 64)
	go func() {
		for again := false; ctx.Err() == nil; again = true {
			if !again || e.back(ctx, ch) {
				e.listen(ctx, ch)
			}
			select {
			case <-time.After(lookAgain):
			case <-ctx.Done():
			}
		}
	}()
	return ch
}

// back says whether the engine answers again, and tells so.
func (e *Engine) back(ctx context.Context, ch chan<- string) bool {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	if e.Ping(ctx) != nil {
		return false
	}
	select {
	case ch <- "":
	default:
	}
	return true
}

func (e *Engine) listen(ctx context.Context, ch chan<- string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)), filters.Arg("label", api.ProjectLabel))
	for _, action := range []events.Action{events.ActionDie, events.ActionDestroy, events.ActionPause, events.ActionStart, events.ActionRename, events.ActionHealthStatus} {
		args.Add("event", string(action))
	}
	messages, errs := e.api.Events(ctx, events.ListOptions{Filters: args})
	for {
		select {
		case m := <-messages:
			select {
			case ch <- m.Actor.Attributes[api.ProjectLabel]:
			default:
			}
		case err := <-errs:
			e.o.Logger.Debug("the engine's events ended", "err", err)
			return
		case <-ctx.Done():
			return
		}
	}
}
