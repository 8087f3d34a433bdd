package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// Events tells what happens on the host. It reconnects by itself and ends with ctx.
// After a time in which nobody listened it tells an empty event: anything may have
// happened. An event that nobody takes in time is dropped: callers still have to
// look from time to time.
func (e *Engine) Events(ctx context.Context) <-chan plan.Event {
	ch := make(chan plan.Event, 64)
	go func() {
		said, tries := "", 0
		for again := false; ctx.Err() == nil; again = true {
			began := time.Now()
			var err error
			if again {
				err = e.back(ctx, ch)
			}
			if err == nil {
				err = e.listen(ctx, ch)
			}
			if err != nil && ctx.Err() == nil && err.Error() != said {
				said = err.Error()
				e.o.Logger.Debug("the engine's events ended", "err", err)
			}
			if tries++; time.Since(began) >= deafMost {
				said, tries = "", 1
			}
			select {
			case <-time.After(deafFor(tries)):
			case <-ctx.Done():
			}
		}
	}()
	return ch
}

// deafMost is how long nobody listens at most before the engine is asked again.
const deafMost = 30 * time.Second

// deafFor is the pause after tries in a row of which none lasted.
func deafFor(tries int) time.Duration { return min(lookAgain<<min(tries-1, 10), deafMost) }

// back tells that the engine answers again, if it does.
func (e *Engine) back(ctx context.Context, ch chan<- plan.Event) error {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	if err := e.Ping(ctx); err != nil {
		return err
	}
	select {
	case ch <- plan.Event{}:
	default:
	}
	return nil
}

// listen tells what happens until the engine says no more, and why it does not.
func (e *Engine) listen(ctx context.Context, ch chan<- plan.Event) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, errs := e.api.Events(ctx, events.ListOptions{Filters: observed()})
	e.sight.listening()
	defer e.sight.deaf()
	for {
		select {
		case m := <-messages:
			e.sight.hear(m)
			told := eventOf(m)
			if told == (plan.Event{}) {
				continue
			}
			if told.Project != "" {
				e.watchers.tell(told.Project)
			}
			select {
			case ch <- told:
			default:
			}
		case err := <-errs:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// eventOf is what an event of the engine's is to us; zero if nothing.
func eventOf(m events.Message) plan.Event {
	name := m.Actor.Attributes["name"]
	switch {
	case m.Type == events.NetworkEventType && m.Action == events.ActionCreate:
		return plan.Event{Made: plan.Requirement{Kind: "network", Name: name}}
	case m.Type == events.VolumeEventType && m.Action == events.ActionCreate:
		return plan.Event{Made: plan.Requirement{Kind: "volume", Name: m.Actor.ID}}
	case m.Type != events.ContainerEventType || !slices.Contains(looksFor(), plain(m.Action)):
		return plan.Event{}
	}
	told := plan.Event{Project: m.Actor.Attributes[api.ProjectLabel]}
	if m.Action == events.ActionStart && name != "" {
		told.Made = plan.Requirement{Kind: "container", Name: name}
	}
	return told
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
