package engine

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// stopTimeout bounds a stop beyond what its containers are given to end by
// themselves, which is in their own configuration.
const stopTimeout = 10 * time.Minute

// Stop removes the containers and networks of a project (but for op.Leave), or
// stops those of some services only (op.Services), which give up their names if
// op.FreeNames says so. Volumes stay. It goes by labels and needs no file. What is
// not there is no error. The daemon's own container is not touched: where it would
// be, nothing is, and that is an error.
//
// Where a whole project goes, the pre_stop hooks of p run, as with docker compose
// down. One that fails ends the Stop, and is run again by the next. p may be zero.
func (e *Engine) Stop(ctx context.Context, p render.Project, op plan.Op) error {
	given, err := e.given(ctx, op)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, stopTimeout+given, fmt.Errorf("not stopped within %s and the %s that its containers have to end", stopTimeout, given))
	defer cancel()
	if op.Services == nil {
		return e.down(ctx, p, op.Stack, op.Leave)
	}
	return e.stopServices(ctx, op)
}

// given is how long the containers that a Stop is about have to end, one after the other
// as they depend on each other.
func (e *Engine) given(ctx context.Context, op plan.Op) (all time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	r, err := e.project(ctx, op.Stack)
	if err != nil {
		return 0, explain(ctx, err)
	}
	for _, c := range r.Containers {
		if op.Services != nil && !slices.Contains(op.Services, c.Service) || !slices.Contains([]string{"running", "paused", "restarting"}, c.State) {
			continue
		}
		grace := c.Grace
		if grace == 0 { // somebody else made it
			if grace, err = e.graceOf(ctx, c.ID); err != nil {
				return 0, explain(ctx, err)
			}
		}
		all += grace
	}
	return all, nil
}

// graceOf asks how long a container has to end; one that has gone needs no time.
func (e *Engine) graceOf(ctx context.Context, id string) (time.Duration, error) {
	c, err := e.api.ContainerInspect(ctx, id)
	switch {
	case errdefs.IsNotFound(err):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("inspect container %s: %w", id, err)
	case c.Config == nil || c.Config.StopTimeout == nil:
		return render.DefaultGrace, nil
	default:
		return time.Duration(*c.Config.StopTimeout) * time.Second, nil
	}
}

func isSelf(c plan.Container) bool { return c.Self }

func notSelf(stack string) error {
	return fmt.Errorf("%s is the stack that the daemon itself runs in, and is not stopped", stack)
}

// down removes a project's containers and networks by their labels, so that
// it works when no file is left.
func (e *Engine) down(ctx context.Context, p render.Project, name string, leave []string) error {
	r, err := e.mend(ctx, name)
	if err != nil {
		return explain(ctx, err)
	}
	if slices.ContainsFunc(r.Containers, isSelf) {
		return notSelf(name)
	}
	if r.Containers, err = e.endHooks(ctx, r.Containers); err != nil {
		return explain(ctx, err)
	}
	if len(r.Containers) > 0 { // with none, the SDK's Down has a data race
		sdk, err := e.sdk(io.Discard)
		if err != nil {
			return err
		}
		options := api.DownOptions{RemoveOrphans: true, Volumes: false}
		if p.HasPreStop() {
			if options.Project, err = p.Compose(); err != nil {
				return err
			}
			options.Project.DisabledServices = nil // their containers go like others that it does not have
			e.o.Logger.Info("running pre_stop hooks", "stack", name)
		}
		if err := sdk.Down(ctx, name, options); err != nil {
			return explain(ctx, err)
		}
	}
	// The SDK only warns of a network that others use, and says nothing of one
	// that has another name than compose would give it.
	left, err := e.api.NetworkList(ctx, network.ListOptions{Filters: projectFilter(name)})
	if err != nil {
		return explain(ctx, fmt.Errorf("list the networks of %s: %w", name, err))
	}
	for _, n := range left {
		if slices.Contains(leave, n.Name) {
			continue // others are on it
		}
		if err := e.removeLeftOver(ctx, name, n); err != nil {
			return err
		}
	}
	e.sweep(ctx, name)
	return nil
}

// removeLeftOver removes a network of a project that has gone. One that others have
// come to use meanwhile stays, and is seen and taken away when it is free.
func (e *Engine) removeLeftOver(ctx context.Context, project string, n network.Summary) error {
	err := e.api.NetworkRemove(ctx, n.ID)
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	if others, listErr := e.othersOn(ctx, n.ID, project); listErr == nil && len(others) > 0 {
		e.o.Logger.Info("network kept", "stack", project, "cause", n.Name+": "+list(others)+" on it")
		return nil
	}
	return fmt.Errorf("network %s is left over and can't be removed: %w", n.Name, err)
}

// stopServices stops the containers of some services in the order that the SDK
// keeps, those that depend on others first.
func (e *Engine) stopServices(ctx context.Context, op plan.Op) error {
	r, err := e.project(ctx, op.Stack)
	if err != nil {
		return explain(ctx, err)
	}
	found := map[string]bool{}
	var concerned []plan.Container
	for _, name := range op.Services {
		for _, c := range containersOf(r, name) {
			found[name] = true
			concerned = append(concerned, c)
		}
	}
	if slices.ContainsFunc(concerned, isSelf) {
		return notSelf(op.Stack)
	}
	if len(concerned) == 0 {
		return nil
	}
	for _, c := range concerned {
		if c.State != "paused" {
			continue
		}
		if err := e.api.ContainerUnpause(ctx, c.ID); err != nil && !errdefs.IsNotFound(err) {
			return explain(ctx, fmt.Errorf("unpause container %s: %w", c.Name, err))
		}
	}
	sdk, err := e.sdk(io.Discard)
	if err != nil {
		return err
	}
	if err := sdk.Stop(ctx, op.Stack, api.StopOptions{Services: slices.Sorted(maps.Keys(found))}); err != nil {
		return explain(ctx, err)
	}
	if !op.FreeNames {
		return nil
	}
	for _, c := range concerned {
		if err := e.freeName(ctx, op.Stack, c); err != nil && !errdefs.IsNotFound(err) {
			return explain(ctx, fmt.Errorf("free the name of container %s: %w", c.Name, err))
		}
	}
	return nil
}

// freeName takes its name from a container that has ended.
func (e *Engine) freeName(ctx context.Context, project string, c plan.Container) error {
	if plain := c.PlainName(project); c.Name != plain && c.State != "dead" {
		if err := e.api.ContainerRename(ctx, c.ID, plain); !errdefs.IsConflict(err) {
			return err
		}
	}
	return e.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: c.State == "dead"})
}
