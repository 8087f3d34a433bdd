package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// This file is what an Up does before and after the SDK: networks that are made
// anew, orphans, and networks that are left over.

// makeNetworks makes networks as docker network create does, without a mark of
// ours: they are nobody's, and stay. Several stacks may want one at the same time.
func (e *Engine) makeNetworks(ctx context.Context, names []string) error {
	for _, name := range names {
		err := e.pulls.once(ctx, "network "+name, func(ctx context.Context) error {
			there, err := e.api.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
			if err != nil || slices.ContainsFunc(there, func(n network.Summary) bool { return n.Name == name }) {
				return err
			}
			_, err = e.api.NetworkCreate(ctx, name, network.CreateOptions{Driver: "bridge"})
			if errdefs.IsConflict(err) {
				return nil // it is there by now
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("make the external network %s: %w", name, err)
		}
	}
	return nil
}

// networksLike lists the networks that have the name of one that a stack creates,
// whose ever they are. There may be two of one name, see doubles.
func (e *Engine) networksLike(ctx context.Context, s plan.Stack) ([]network.Summary, error) {
	if len(s.Networks) == 0 {
		return nil, nil
	}
	args := filters.NewArgs()
	for _, n := range s.Networks {
		args.Add("name", n.Name) // or a part of one
	}
	list, err := e.api.NetworkList(ctx, network.ListOptions{Filters: args})
	if err != nil {
		return nil, fmt.Errorf("list the networks of %s: %w", s.Name, err)
	}
	return slices.DeleteFunc(list, func(n network.Summary) bool {
		return !slices.ContainsFunc(s.Networks, func(want plan.Resource) bool { return want.Name == n.Name })
	}), nil
}

// allowed says why an Up can't do what was ordered, before it does anything. The
// SDK stops a project's containers before it removes a network whose definition
// changed, and leaves them stopped when others are on it.
func (e *Engine) allowed(ctx context.Context, s plan.Stack, networks []network.Summary, orders plan.Orders) error {
	for _, n := range networks {
		if !redefines(s, n) {
			continue
		}
		switch owner := n.Labels[api.ProjectLabel]; {
		case slices.Contains(orders.Networks, n.Name): // whose ever it was
		case owner != s.Name:
			return fmt.Errorf("network %s belongs to %s and has another definition there; declare it as external, or give it another name", n.Name, owner)
		default:
			return fmt.Errorf("network %s has got another definition since it was looked at", n.Name)
		}
		others, err := e.othersOn(ctx, n.ID, s.Name)
		if err != nil {
			return err
		}
		if len(others) > 0 {
			return fmt.Errorf("network %s has another definition now and can't be replaced: %s on it", n.Name, list(others))
		}
	}
	return nil
}

func list(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}

// redefines says whether a stack wants a network otherwise than it is.
func redefines(s plan.Stack, n network.Summary) bool {
	hash := n.Labels[api.ConfigHashLabel]
	return hash != "" && slices.ContainsFunc(s.Networks, func(want plan.Resource) bool {
		return want.Name == n.Name && want.Hash != "" && want.Hash != hash
	})
}

// othersOn names the containers that run on a network and that a project's Up
// does not stop: those of others, of docker compose run, and the daemon's own.
func (e *Engine) othersOn(ctx context.Context, network, project string) ([]string, error) {
	on, err := e.attached(ctx, network)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, c := range on {
		ours := c.Labels[api.ProjectLabel] == project && c.Labels[api.OneoffLabel] != "True" && (e.o.Self == "" || c.ID != e.o.Self)
		if !ours && c.State != container.StateExited && c.State != container.StateCreated && c.State != container.StateDead {
			others = append(others, containerName(c))
		}
	}
	slices.Sort(others)
	return others, nil
}

// attached are the containers that are on a network, running or not.
func (e *Engine) attached(ctx context.Context, network string) ([]container.Summary, error) {
	on, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("network", network))})
	if err != nil {
		return nil, fmt.Errorf("list the containers on network %s: %w", network, err)
	}
	return on, nil
}

// makeWay removes orphans, and networks that are to be made anew. The SDK does
// so as well, but the networks first, which fails while an orphan is on them,
// and for ever after it was killed between disconnecting a container and removing
// the network. It is given the project as it is and the networks that have names
// of its, and gives the project as it is then.
func (e *Engine) makeWay(ctx context.Context, s plan.Stack, r plan.Running, networks []network.Summary, orders plan.Orders) (plan.Running, error) {
	for _, name := range orders.Orphans {
		if err := e.removeOrphans(ctx, containersOf(r, name)); err != nil {
			return r, err
		}
	}
	its := slices.DeleteFunc(slices.Clone(networks), func(n network.Summary) bool { return n.Labels[api.ProjectLabel] != s.Name })
	if err := e.removeDoubles(ctx, its, r); err != nil {
		return r, err
	}
	anew := false
	for _, n := range networks {
		if !slices.Contains(orders.Networks, n.Name) || !redefines(s, n) { // an earlier try may have made it anew
			continue
		}
		anew = true
		if err := e.removeNetwork(ctx, n, r); err != nil {
			return r, err
		}
	}
	if anew || len(orders.Orphans) > 0 {
		return e.project(ctx, s.Name)
	}
	return r, nil
}

// removeOrphans removes the containers of a service that is no more.
func (e *Engine) removeOrphans(ctx context.Context, of []plan.Container) error {
	for _, c := range of {
		if c.Self {
			continue
		}
		err := e.api.ContainerStop(ctx, c.ID, container.StopOptions{})
		if err == nil {
			err = e.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{})
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove container %s of a service that is no more: %w", c.Name, err)
		}
	}
	return nil
}

// removeNetwork stops the containers of a project that are on a network and
// removes it.
func (e *Engine) removeNetwork(ctx context.Context, n network.Summary, r plan.Running) error {
	for _, c := range r.Containers {
		if c.Networks[n.Name] != n.ID || c.OneOff || c.State == "exited" || c.State == "created" {
			continue
		}
		if err := e.api.ContainerStop(ctx, c.ID, container.StopOptions{}); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("stop container %s: %w", c.Name, err)
		}
	}
	if err := e.api.NetworkRemove(ctx, n.ID); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("network %s has another definition now and can't be replaced: %w", n.Name, err)
	}
	return nil
}

// removeSpare removes networks of a project that nobody wants any more and no
// container is attached to, running or not. One that can't be removed is only
// warned of: what is wanted runs.
func (e *Engine) removeSpare(ctx context.Context, project string, spare []string) {
	if len(spare) == 0 {
		return
	}
	networks, err := e.api.NetworkList(ctx, network.ListOptions{Filters: projectFilter(project)})
	for _, n := range networks {
		if !slices.Contains(spare, n.Name) {
			continue
		}
		on, listErr := e.attached(ctx, n.ID)
		if listErr == nil && len(on) == 0 {
			listErr = e.api.NetworkRemove(ctx, n.ID)
		}
		if listErr != nil && !errdefs.IsNotFound(listErr) {
			err = listErr
		}
	}
	if err != nil {
		e.o.Logger.Warn("a network that is left over can't be removed", "stack", project, "err", err)
	}
}
