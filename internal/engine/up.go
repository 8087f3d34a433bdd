package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// Up brings a project to what is wanted: what the SDK sees to differ, and what
// the plan ordered (op.Orders). Images have to be here (Pull). Services that
// are left out of op.Services or p.Services stay as they are, and so does the
// container that the daemon runs in, whatever is wanted of it. An error may leave
// the project half-way; calling it again goes on from there. Where the world
// does not allow what was ordered, because it changed since, the error comes
// before anything is touched.
//
// A container that its engine can't start any more (see lost) is replaced, and a
// network that comes up twice meanwhile (see doubles) is there once.
//
// turn is given back once all is made and what is left waits for health, or for
// the end of a job, or runs hooks. It may be nil.
func (e *Engine) Up(ctx context.Context, p render.Project, op plan.Op, turn Turn) error {
	if turn == nil {
		turn = always{}
	}
	if op.Services != nil {
		p = p.Only(op.Services)
	}
	orders := op.Orders
	for doubled, replaced := false, map[string]bool{"": true}; ; {
		err := e.up(ctx, p, orders, turn)
		if ambiguous(err) && !doubled {
			doubled = true
			continue
		}
		service := e.lostService(ctx, p.Name, err)
		if replaced[service] {
			return err
		}
		e.o.Logger.Warn("a container is replaced that the engine can't start any more", "stack", p.Name, "err", err)
		replaced[service] = true
		orders.Recreate = []string{service} // the others have been
		orders.Former = slices.DeleteFunc(slices.Clone(orders.Former), func(name string) bool { return name == service })
	}
}

// up is one try of Up.
func (e *Engine) up(ctx context.Context, p render.Project, orders plan.Orders, turn Turn) error {
	project, err := p.Compose()
	if err != nil {
		return err
	}
	err = turn.Touch(ctx, func() error {
		if orders.Beside, err = e.toReplace(ctx, p, orders.Beside); err != nil {
			return explain(ctx, err)
		}
		project, err = e.create(ctx, p, project, orders)
		return err
	})
	if err != nil {
		return err
	}
	if len(project.Services) > 0 {
		if err := e.start(ctx, p.Stack, project, turn); err != nil {
			return err
		}
	}
	if len(orders.Beside) > 0 {
		if project, err = p.Compose(); err != nil {
			return err
		}
		if err := e.beside(ctx, p, project, orders.Beside, turn); err != nil {
			return err
		}
	}
	e.removeSpare(ctx, project.Name, orders.Spare)
	e.sweep(ctx, project.Name)
	return nil
}

// create makes what is to be there, and gives what is to be started of it.
func (e *Engine) create(ctx context.Context, p render.Project, project *types.Project, orders plan.Orders) (*types.Project, error) {
	release, err := e.clear.lay(p.VolumeFiles())
	defer release()
	if err != nil {
		return nil, err
	}
	if err := e.makeNetworks(ctx, orders.Make); err != nil {
		return nil, explain(ctx, err)
	}
	networks, err := e.networksLike(ctx, p.Stack)
	if err == nil {
		err = e.allowed(ctx, p.Stack, networks, orders)
	}
	if err != nil {
		return nil, explain(ctx, err)
	}
	r, err := e.mend(ctx, project.Name)
	if err != nil {
		return nil, explain(ctx, err)
	}
	if r, err = e.makeWay(ctx, p.Stack, r, networks, orders); err != nil {
		return nil, explain(ctx, err)
	}
	if p, project = without(p, project, r, orders.Beside); len(p.Services) == 0 {
		return project, nil
	}
	return e.converge(ctx, project, orders)
}

// converge has the SDK create what is to be.
func (e *Engine) converge(ctx context.Context, project *types.Project, orders plan.Orders) (*types.Project, error) {
	for name, s := range project.Services {
		s = ready(s)
		if slices.Contains(orders.Former, name) {
			s = render.Former(s) // or it would differ by that
		}
		project.Services[name] = s
	}
	options := api.CreateOptions{
		// makeWay has seen to them, and knows which is the daemon.
		IgnoreOrphans: true, Recreate: api.RecreateDiverged, RecreateDependencies: api.RecreateDiverged,
		Inherit: true, QuietPull: true, AssumeYes: false,
	}
	if len(orders.Recreate) > 0 {
		options.Services, options.Recreate = orders.Recreate, api.RecreateForce
	}
	cli, err := e.cli(e.api, io.Discard)
	if err != nil {
		return nil, err
	}
	if err := sdkOf(cli, orders.Volumes).Create(ctx, project, options); err != nil {
		return nil, explain(ctx, err)
	}
	if len(orders.Halt) == 0 && len(orders.Done) == 0 {
		return project, nil
	}
	r, err := e.project(ctx, project.Name)
	if err != nil {
		return nil, explain(ctx, err)
	}
	if err := e.halt(ctx, r, orders.Halt); err != nil {
		return nil, explain(ctx, err)
	}
	if done := ended(r, orders.Done); len(done) > 0 {
		project = project.WithServicesDisabled(done...)
	}
	return project, nil
}

// start has the SDK start what does not run, each service when those that it
// depends on are as it wants them.
func (e *Engine) start(ctx context.Context, stack plan.Stack, project *types.Project, turn Turn) error {
	if lasts(project) {
		turn.Rest()
	}
	sdk, err := e.sdkOn(inTurn{e.api, turn}, io.Discard)
	if err != nil {
		return err
	}
	if err := sdk.Start(ctx, project.Name, api.StartOptions{Project: project}); err != nil {
		err = e.blame(ctx, stack, err, explain(ctx, err))
		return e.withLogs(ctx, project.Name, e.orphaned(ctx, project.Name, err))
	}
	return nil
}

// blame finds the container that is to blame for a start that failed, if one is: it ended
// or is not healthy while another service waits for that, or what it is to run can't be.
func (e *Engine) blame(ctx context.Context, s plan.Stack, cause, err error) error {
	var refused *refusedStart
	late := errors.Is(ctx.Err(), context.DeadlineExceeded)
	if ctx.Err() != nil && !late {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if errors.As(cause, &refused) {
		r, observeErr := e.project(ctx, s.Name)
		i := slices.IndexFunc(r.Containers, func(c plan.Container) bool { return c.ID == refused.id })
		if observeErr != nil || i < 0 {
			return err
		}
		return NewUnwell(err, r.Containers[i].Service, r.Containers[i].Image)
	}
	v, judgeErr := e.judge(ctx, s)
	if judgeErr == nil && (v.failed != nil || v.pending != "" && late) {
		return v.unwell(err)
	}
	return err
}

// refusedStart is an error of the engine about what a container is to run: its program
// is not there, or no program.
type refusedStart struct {
	error
	id string
}

func (r *refusedStart) Unwrap() error { return r.error }

// lasts says whether a start may last for what is no work of the engine's: a
// service waits for another one to be healthy or done, or runs hooks.
func lasts(project *types.Project) bool {
	for _, s := range project.Services {
		for _, on := range s.DependsOn {
			if on.Condition != types.ServiceConditionStarted {
				return true
			}
		}
		if len(s.PostStart) > 0 {
			return true
		}
	}
	return false
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
// not asked for, the one that the daemon itself runs as, and those that are replaced
// later. The SDK leaves the containers of a switched off service alone, and finds them
// when another one shares their namespaces.
func without(p render.Project, project *types.Project, r plan.Running, later []string) (render.Project, *types.Project) {
	self := slices.IndexFunc(r.Containers, func(c plan.Container) bool { return c.Self })
	p.Services = slices.DeleteFunc(slices.Clone(p.Services), func(s plan.Service) bool {
		return self >= 0 && s.Name == r.Containers[self].Service || slices.Contains(later, s.Name)
	})
	var out []string
	for name := range project.Services {
		if !slices.ContainsFunc(p.Services, func(s plan.Service) bool { return s.Name == name }) {
			out = append(out, name)
		}
	}
	return p, project.WithServicesDisabled(out...)
}

// halt stops the containers of services that live with one that is about to be
// started: they would go on in the namespaces of its former life. Those that
// were just made do not run yet.
func (e *Engine) halt(ctx context.Context, r plan.Running, services []string) error {
	for _, name := range services {
		for _, c := range containersOf(r, name) {
			if c.State != "running" || c.Self {
				continue
			}
			if err := e.api.ContainerStop(ctx, c.ID, container.StopOptions{}); err != nil {
				return fmt.Errorf("stop container %s, which lives in another's namespace: %w", c.Name, err)
			}
		}
	}
	return nil
}

// ended are those services whose containers have all ended with 0: the SDK would
// run them again. Those that were just made have not.
func ended(r plan.Running, services []string) []string {
	return slices.DeleteFunc(slices.Clone(services), func(name string) bool {
		return slices.ContainsFunc(containersOf(r, name), func(c plan.Container) bool { return c.State != "exited" || c.ExitCode != 0 })
	})
}

// Turn is the right to touch containers; see reconcile.Turn, which is the same.
type Turn = interface {
	Rest()
	Touch(ctx context.Context, do func() error) error
	Starting()
}

// always is the turn of whoever is disturbed by nobody.
type always struct{}

func (always) Rest()                                          {}
func (always) Touch(_ context.Context, do func() error) error { return do() }
func (always) Starting()                                      {}

// inTurn is a client for what starts containers after its turn was given back.
type inTurn struct {
	client.APIClient
	turn Turn
}

func (c inTurn) ContainerStart(ctx context.Context, id string, o container.StartOptions) error {
	c.turn.Starting()
	return c.turn.Touch(ctx, func() error {
		err := c.APIClient.ContainerStart(ctx, id, o)
		if errdefs.IsInvalidArgument(err) {
			return &refusedStart{err, id}
		}
		return err
	})
}
