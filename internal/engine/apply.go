package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// downTimeout bounds a stop beyond what its containers are given to end by
// themselves, which is in their own configuration.
const downTimeout = 10 * time.Minute

// Up brings a project to what is wanted: it recreates the services that differ
// and no other, removes containers of services that are no more, starts what
// does not run, and leaves finished one-shot services alone. Images have to be
// here (Pull). Services that are left out of p.Services stay as they are, and so
// does the container that the daemon runs in, whatever is wanted of it. An error
// may leave the project half-way; calling it again goes on from there.
//
// A container that its engine can't start any more (see lost) is replaced.
func (e *Engine) Up(ctx context.Context, p render.Project) error {
	replaced := map[string]bool{"": true}
	for service := ""; ; replaced[service] = true {
		err := e.up(ctx, p, service)
		if service = e.lostService(ctx, p.Name, err); replaced[service] {
			return err
		}
		e.o.Logger.Warn("a container is replaced that the engine can't start any more", "stack", p.Name, "err", err)
	}
}

// up is one try of Up. It replaces the containers of one service, if it is
// given, whether they differ or not.
func (e *Engine) up(ctx context.Context, p render.Project, replace string) error {
	project, err := p.Compose()
	if err != nil {
		return err
	}
	if err := e.mend(ctx, project.Name); err != nil {
		return err
	}
	sdk, err := e.sdk(io.Discard)
	if err != nil {
		return err
	}
	if err := e.makeWay(ctx, p.Stack); err != nil {
		return explain(ctx, err)
	}
	r, err := e.project(ctx, project.Name)
	if err != nil {
		return explain(ctx, err)
	}
	if p, project = without(p, project, r); len(p.Services) == 0 {
		return nil
	}
	stale, err := e.stale(ctx, p.Stack, r)
	if err != nil {
		return explain(ctx, err)
	}
	if replace != "" && !slices.Contains(stale, replace) {
		stale = append(stale, replace)
	}
	adopted := adopted(p.Stack, r)
	for name, s := range project.Services {
		s = ready(s)
		if adopted[name] {
			delete(s.Labels, render.LabelContent) // or it would differ by it
		}
		project.Services[name] = s
	}
	options := api.CreateOptions{
		// removeOrphans has seen to them, and knows which is the daemon.
		IgnoreOrphans: true, Recreate: api.RecreateDiverged, RecreateDependencies: api.RecreateDiverged,
		Inherit: true, QuietPull: true, AssumeYes: false,
	}
	if len(stale) > 0 {
		options.Services, options.Recreate = stale, api.RecreateForce
	}
	if err := sdk.Create(ctx, project, options); err != nil {
		return explain(ctx, err)
	}
	startable, err := e.startable(ctx, project, p.Stack)
	if err != nil {
		return explain(ctx, err)
	}
	if err := sdk.Start(ctx, project.Name, api.StartOptions{Project: startable}); err != nil {
		return e.withLogs(ctx, project.Name, e.orphaned(ctx, project.Name, explain(ctx, err)))
	}
	return nil
}

// ready takes out of a service what the SDK is not to see to.
func ready(s types.ServiceConfig) types.ServiceConfig {
	s.PullPolicy = types.PullPolicyNever // Pull has seen to it
	if s.Deploy != nil && s.Deploy.Replicas != nil && s.Scale == nil {
		n := s.GetScale() // hashing makes the SDK forget the replicas
		s.Scale = &n
	}
	return s
}

// without takes out of a project what is not to be touched: services that are
// not asked for, and the one that the daemon itself runs as. The SDK leaves the
// containers of a switched off service alone, and finds them when another one
// shares their namespaces.
func without(p render.Project, project *types.Project, r plan.Running) (render.Project, *types.Project) {
	self := slices.IndexFunc(r.Containers, func(c plan.Container) bool { return c.Self })
	p.Services = slices.DeleteFunc(slices.Clone(p.Services), func(s plan.Service) bool {
		return self >= 0 && s.Name == r.Containers[self].Service
	})
	var out []string
	for name := range project.Services {
		if !slices.ContainsFunc(p.Services, func(s plan.Service) bool { return s.Name == name }) {
			out = append(out, name)
		}
	}
	return p, project.WithServicesDisabled(out...)
}

// makeWay removes containers of services that are no more, and networks whose
// definition changed. The SDK does so as well, but the networks first, which
// fails while an orphan is on them, and for ever after it was killed between
// disconnecting a container and removing the network.
func (e *Engine) makeWay(ctx context.Context, s plan.Stack) error {
	r, err := e.project(ctx, s.Name)
	if err != nil {
		return err
	}
	if err := e.removeOrphans(ctx, s, r); err != nil {
		return err
	}
	networks, err := e.api.NetworkList(ctx, network.ListOptions{Filters: projectFilter(s.Name)})
	if err != nil {
		return fmt.Errorf("list the networks of %s: %w", s.Name, err)
	}
	for _, n := range doubles(networks, r) {
		if err := e.api.NetworkRemove(ctx, n.ID); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("network %s is there twice and one can't be removed: %w", n.Name, err)
		}
	}
	for _, n := range networks {
		hash := n.Labels[api.ConfigHashLabel]
		if hash == "" || !slices.ContainsFunc(s.Networks, func(want plan.Resource) bool { return want.Name == n.Name && want.Hash != hash }) {
			continue
		}
		for _, c := range r.Containers {
			if c.Networks[n.Name] == n.ID && c.Self {
				return fmt.Errorf("network %s has another definition now and can't be replaced, for the daemon itself is on it", n.Name)
			}
			if c.Networks[n.Name] == n.ID && !c.OneOff && c.State != "exited" && c.State != "created" {
				if err := e.api.ContainerStop(ctx, c.ID, container.StopOptions{}); err != nil && !errdefs.IsNotFound(err) {
					return fmt.Errorf("stop container %s: %w", c.Name, err)
				}
			}
		}
		if err := e.api.NetworkRemove(ctx, n.ID); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("network %s has another definition now and can't be replaced: %w", n.Name, err)
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

// removeOrphans removes the containers of services that are no more.
func (e *Engine) removeOrphans(ctx context.Context, s plan.Stack, r plan.Running) error {
	for _, c := range r.Containers {
		known := slices.Contains(s.Disabled, c.Service) || slices.ContainsFunc(s.Services, func(svc plan.Service) bool { return svc.Name == c.Service })
		if known || c.OneOff || c.Self {
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

// stale finds the services that have to be recreated although compose's own
// comparison does not see it: made from another configuration by our hash (one
// that was adopted and has references to other services), bound to a network
// that is gone and so unable to start, or made before a container that they
// share a namespace or volumes with.
func (e *Engine) stale(ctx context.Context, s plan.Stack, r plan.Running) ([]string, error) {
	networks, err := e.api.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the networks: %w", err)
	}
	there := map[string]bool{"": true}
	for _, n := range networks {
		there[n.ID] = true
	}
	var out []string
	for _, svc := range s.Services {
		if slices.ContainsFunc(containersOf(r, svc.Name), func(c plan.Container) bool {
			return !svc.Made(c) || c.State != "running" && !finished(svc, c) && cutOff(c, there) || outlived(svc, c, r)
		}) {
			out = append(out, svc.Name)
		}
	}
	return out, nil
}

// adopted finds the services whose containers were started by hand and are
// what is wanted but for the label that they could not have.
func adopted(s plan.Stack, r plan.Running) map[string]bool {
	out := map[string]bool{}
	for _, svc := range s.Services {
		of := containersOf(r, svc.Name)
		out[svc.Name] = len(of) > 0 && !slices.ContainsFunc(of, func(c plan.Container) bool { return c.Hash == svc.Hash || !svc.Made(c) })
	}
	return out
}

func cutOff(c plan.Container, there map[string]bool) bool {
	for _, id := range c.Networks {
		if !there[id] {
			return true
		}
	}
	return false
}

func outlived(svc plan.Service, c plan.Container, r plan.Running) bool {
	return slices.ContainsFunc(svc.Follows, func(name string) bool {
		leaders := containersOf(r, name)
		shares := func(leader plan.Container) bool { return leader.ID == c.SharesNetworkOf }
		younger := func(leader plan.Container) bool { return leader.Created.After(c.Created) }
		return !slices.ContainsFunc(leaders, shares) && slices.ContainsFunc(leaders, younger)
	})
}

func finished(svc plan.Service, c plan.Container) bool {
	return svc.Completes && c.State == "exited" && c.ExitCode == 0
}

// startable gives what is to be started of a project whose containers are
// made. Services whose containers have done their work are left out: the SDK
// would run them again. Those that live in the network of a container that is
// about to be started are stopped before: they would go on in the network of
// its former life.
func (e *Engine) startable(ctx context.Context, project *types.Project, s plan.Stack) (*types.Project, error) {
	r, err := e.project(ctx, project.Name)
	if err != nil {
		return nil, err
	}
	var done []string
	starts := map[string]bool{}
	for _, svc := range s.Services {
		of := containersOf(r, svc.Name)
		if len(of) > 0 && !slices.ContainsFunc(of, func(c plan.Container) bool { return !finished(svc, c) }) {
			done = append(done, svc.Name)
			continue
		}
		starts[svc.Name] = slices.ContainsFunc(of, func(c plan.Container) bool { return c.State != "running" })
	}
	for name, svc := range project.Services {
		if !slices.ContainsFunc([]string{svc.NetworkMode, svc.Ipc, svc.Pid}, func(mode string) bool {
			leader, ok := strings.CutPrefix(mode, types.ServicePrefix)
			return ok && starts[leader]
		}) {
			continue
		}
		for _, c := range containersOf(r, name) {
			if c.State != "running" {
				continue
			}
			if err := e.api.ContainerStop(ctx, c.ID, container.StopOptions{}); err != nil {
				return nil, fmt.Errorf("stop container %s, which lives in another's network: %w", c.Name, err)
			}
		}
	}
	if len(done) == 0 {
		return project, nil
	}
	return project.WithServicesDisabled(done...), nil
}

func containersOf(r plan.Running, service string) []plan.Container {
	var of []plan.Container
	for _, c := range r.Containers {
		if c.Service == service && !c.OneOff {
			of = append(of, c)
		}
	}
	return of
}

// project observes one project only.
func (e *Engine) project(ctx context.Context, name string) (plan.Running, error) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: projectFilter(name)})
	if err != nil {
		return plan.Running{}, fmt.Errorf("list the containers of %s: %w", name, err)
	}
	f := &found{Running: plan.Running{Project: name, Ours: true}}
	for _, c := range list {
		e.addContainer(f, c)
	}
	return f.Running, nil
}

func projectFilter(name string) filters.Args {
	return filters.NewArgs(filters.Arg("label", api.ProjectLabel+"="+name))
}

// mend clears what a killed or a person's action left and the SDK stumbles
// over: containers half-way through being replaced, paused or dead ones.
func (e *Engine) mend(ctx context.Context, name string) error {
	r, err := e.project(ctx, name)
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for _, c := range r.Containers {
		taken[c.Name] = true
		taken[c.ID[:min(12, len(c.ID))]] = true
	}
	for _, c := range r.Containers {
		switch {
		case c.Replacing:
			err = e.mendReplacing(ctx, taken, c)
		case c.State == "paused" && !c.OneOff:
			err = e.api.ContainerUnpause(ctx, c.ID)
		case c.State == "dead":
			err = e.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true})
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return explain(ctx, fmt.Errorf("mend container %s: %w", c.Name, err))
		}
	}
	return nil
}

// mendReplacing ends a replacement that was cut off. The SDK creates the new
// container under a temporary name, removes the old one, renames the new one,
// and starts it at the very end. While the old one is there, the new one never
// ran and can go; otherwise it takes its name. taken has the names and short
// ids of the project's containers.
func (e *Engine) mendReplacing(ctx context.Context, taken map[string]bool, c plan.Container) error {
	oldID, name, _ := strings.Cut(c.Name, "_")
	if taken[oldID] && !strings.HasPrefix(c.ID, oldID) || taken[name] {
		return e.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true})
	}
	taken[name] = true
	return e.api.ContainerRename(ctx, c.ID, name)
}

// Down removes a project's containers and networks by their labels, so that
// it works when no file is left. Volumes stay. A project that is not there is
// no error.
func (e *Engine) Down(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	if err := e.mend(ctx, name); err != nil {
		return err
	}
	r, err := e.project(ctx, name)
	if err != nil {
		return explain(ctx, err)
	}
	if slices.ContainsFunc(r.Containers, func(c plan.Container) bool { return c.Self }) {
		return fmt.Errorf("%s is the stack that the daemon itself runs in, and is not stopped", name)
	}
	if len(r.Containers) > 0 { // with none, the SDK's Down has a data race
		sdk, err := e.sdk(io.Discard)
		if err != nil {
			return err
		}
		if err := sdk.Down(ctx, name, api.DownOptions{RemoveOrphans: true, Volumes: false}); err != nil {
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
		if err := e.api.NetworkRemove(ctx, n.ID); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("network %s is left over and can't be removed: %w", n.Name, err)
		}
	}
	return nil
}

// explain adds what a person can do to errors of the engine that don't say.
func explain(ctx context.Context, err error) error {
	text := err.Error()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && context.Cause(ctx) != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case strings.Contains(text, "could not find an available, non-overlapping IPv4 address pool"),
		strings.Contains(text, "all predefined address pools have been fully subnetted"):
		return fmt.Errorf(`%w: the engine has no address range left for another network; give it more with "default-address-pools" in its daemon.json, for example [{"base":"10.200.0.0/14","size":24}], and restart it`, err)
	case strings.Contains(text, "port is already allocated"), strings.Contains(text, "address already in use"):
		return fmt.Errorf("%w: another container or program has the port", err)
	default:
		return err
	}
}
