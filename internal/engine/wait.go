package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
			case <-errs: // the ticker goes on
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
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		r, err := e.project(ctx, s.Name)
		if err != nil {
			return explain(ctx, err)
		}
		done, reason, err := e.verdict(ctx, s, r)
		if err != nil {
			return e.withLogs(ctx, s.Name, err)
		}
		if done {
			return nil
		}
		select {
		case <-changes:
		case <-tick.C:
		case <-ctx.Done():
			return e.withLogs(ctx, s.Name, fmt.Errorf("%s: %w", reason, context.Cause(ctx)))
		}
	}
}

// verdict says whether a project has settled, why not yet, or why never.
func (e *Engine) verdict(ctx context.Context, s plan.Stack, r plan.Running) (done bool, reason string, err error) {
	done = true
	for _, svc := range s.Services {
		for _, c := range containersOf(r, svc.Name) {
			switch {
			case c.State == "exited" && c.ExitCode == 0 && svc.Completes:
			case c.State == "exited" && svc.Completes, c.State == "dead":
				return false, "", fmt.Errorf("%s exited (%d)", svc.Name, c.ExitCode)
			case c.State == "running" && c.Health == "unhealthy":
				return false, "", fmt.Errorf("%s is unhealthy", svc.Name)
			case c.State == "running" && c.Health != "starting":
			default:
				done, reason = false, fmt.Sprintf("%s is %s", svc.Name, words(c))
				if c.State == "restarting" || c.State == "exited" {
					if n := e.restarts(ctx, c.ID); n >= crashLoop {
						return false, "", fmt.Errorf("%s ends again and again (exit code %d, %d restarts)", svc.Name, c.ExitCode, n)
					}
				}
			}
		}
	}
	return done, reason, nil
}

func words(c plan.Container) string {
	if c.Health == "starting" {
		return "not healthy yet"
	}
	return c.State
}

func (e *Engine) restarts(ctx context.Context, id string) int {
	c, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return 0
	}
	return c.RestartCount
}

// withLogs adds the last lines of the containers that are not well to an
// error about their project.
func (e *Engine) withLogs(ctx context.Context, name string, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	r, observeErr := e.project(ctx, name)
	if observeErr != nil {
		return err
	}
	for _, c := range r.Containers {
		if c.OneOff || (c.State == "running" && c.Health != "unhealthy" && c.Health != "starting") || (c.State == "exited" && c.ExitCode == 0) || c.State == "created" {
			continue
		}
		if lines := e.lastLines(ctx, c.ID); lines != "" {
			err = fmt.Errorf("%w\n%s says: %s", err, c.Service, lines)
		}
	}
	return err
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
// reconnects by itself and ends with ctx. A name that nobody takes in time is
// dropped: callers still have to look from time to time.
func (e *Engine) Events(ctx context.Context) <-chan string {
	ch := make(chan string, 64)
	go func() {
		for ctx.Err() == nil {
			e.listen(ctx, ch)
			select {
			case <-time.After(lookAgain):
			case <-ctx.Done():
			}
		}
	}()
	return ch
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
		case <-errs:
			return
		case <-ctx.Done():
			return
		}
	}
}
