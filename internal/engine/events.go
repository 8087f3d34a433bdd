package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

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
	messages, errs := e.api.Events(ctx, events.ListOptions{Filters: observed()})
	e.sight.listening()
	defer e.sight.deaf()
	for {
		select {
		case m := <-messages:
			e.sight.hear(m)
			project := m.Actor.Attributes[api.ProjectLabel]
			if m.Type != events.ContainerEventType || project == "" || !slices.Contains(looksFor(), plain(m.Action)) {
				continue
			}
			e.watchers.tell(project)
			select {
			case ch <- project:
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

// looksFor are the changes that may need the daemon: a container is not any more as it was.
func looksFor() []events.Action {
	return []events.Action{events.ActionDie, events.ActionDestroy, events.ActionPause, events.ActionStart, events.ActionRename, events.ActionHealthStatus}
}

// plain is an action without what some have added to it: "health_status:
// healthy".
func plain(a events.Action) events.Action {
	name, _, _ := strings.Cut(string(a), ":")
	return events.Action(name)
}

// observed limits events to those that change what Observe tells. Each run of a
// healthcheck causes three others.
func observed() filters.Args {
	args := filters.NewArgs()
	for _, t := range []events.Type{events.ContainerEventType, events.NetworkEventType, events.VolumeEventType} {
		args.Add("type", string(t))
	}
	for _, a := range append(looksFor(), events.ActionCreate, events.ActionUnPause, events.ActionConnect, events.ActionDisconnect) {
		args.Add("event", string(a))
	}
	return args
}
