package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// This file clears what a kill, a crash or a person's hand left and the SDK
// stumbles over. None of it is a decision about what should run: what is cleared
// can't be what anybody wants.

// mend clears what a killed or a person's action left and the SDK stumbles
// over: containers half-way through being replaced, paused or dead ones, and those of
// hooks that have ended. It gives
// the project as it is then.
func (e *Engine) mend(ctx context.Context, name string) (plan.Running, error) {
	r, err := e.project(ctx, name)
	if err != nil {
		return r, err
	}
	mended := false
	taken := map[string]bool{}
	for _, c := range r.Containers {
		taken[c.Name] = true
		taken[c.ID[:min(12, len(c.ID))]] = true
	}
	for _, c := range r.Containers {
		switch {
		case c.Replacing:
			err = e.mendReplacing(ctx, name, taken, c)
		case c.State == "paused" && !c.OneOff:
			err = e.api.ContainerUnpause(ctx, c.ID)
		case isLeft(c):
			if err = e.dropHook(ctx, c.ID); errdefs.IsConflict(err) {
				err = nil // the engine has just started it, for a daemon that is no more
			}
		case c.State == "dead":
			err = e.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true})
		default:
			continue
		}
		mended = true
		if err != nil && !errdefs.IsNotFound(err) {
			return r, fmt.Errorf("mend container %s: %w", c.Name, err)
		}
	}
	if mended {
		return e.project(ctx, name)
	}
	return r, nil
}

// mendReplacing ends a replacement that was cut off. The SDK creates the new
// container under a temporary name, removes the old one, renames the new one,
// and starts it at the very end. While the old one is there, the new one never
// ran and can go; otherwise it takes its name. taken has the names and short
// ids of the project's containers.
func (e *Engine) mendReplacing(ctx context.Context, project string, taken map[string]bool, c plan.Container) error {
	oldID, name, _ := strings.Cut(c.Name, "_")
	if taken[oldID] && !strings.HasPrefix(c.ID, oldID) || taken[name] {
		return e.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true})
	}
	taken[name] = true
	err := e.api.ContainerRename(ctx, c.ID, name)
	if errdefs.IsConflict(err) {
		// Another project's container has the name by now. Under a name of Compose's
		// this one can be replaced as any other, with what its volumes hold.
		err = e.api.ContainerRename(ctx, c.ID, c.PlainName(project))
	}
	return err
}

// removeDoubles removes what doubles finds.
func (e *Engine) removeDoubles(ctx context.Context, networks []network.Summary, r plan.Running) error {
	for _, n := range doubles(networks, r) {
		if err := e.api.NetworkRemove(ctx, n.ID); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("there are two networks named %s, and the duplicate can't be removed: %w", n.Name, err)
		}
	}
	return nil
}

// doubles finds networks of a name that another one has too. The engine makes
// two when it is asked twice at the same time, as by a daemon that was killed and
// by the next; after that it starts no container by that name. The one that most
// containers are on stays.
func doubles(networks []network.Summary, r plan.Running) []network.Summary {
	users := map[string]int{}
	for _, c := range r.Containers {
		for _, id := range c.Networks {
			users[id]++
		}
	}
	networks = slices.Clone(networks)
	slices.SortStableFunc(networks, func(a, b network.Summary) int { return users[b.ID] - users[a.ID] })
	seen := map[string]bool{}
	var out []network.Summary
	for _, n := range networks {
		if seen[n.Name] {
			out = append(out, n)
		}
		seen[n.Name] = true
	}
	return out
}

// ambiguous says whether an error comes from two networks of one name. What a
// daemon asked for before it was killed may be done after the next has looked.
func ambiguous(err error) bool {
	return err != nil && strings.Contains(err.Error(), "is ambiguous")
}
