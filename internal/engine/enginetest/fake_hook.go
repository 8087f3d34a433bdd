package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// RunHook implements Engine.
func (f *Fake) RunHook(ctx context.Context, p render.Project, kind plan.HookKind, service string) error {
	p = p.WithHooks()
	project, err := p.Compose()
	if err != nil {
		return err
	}
	want := p.Services[slices.IndexFunc(p.Services, func(s plan.Service) bool { return s.Name == service })]
	unlock := f.lock()
	if f.images[want.Image] == "" {
		unlock()
		return fmt.Errorf("the %s hook %s can't be run: no such image: %s", kind, service, want.Image)
	}
	var run *fakeContainer
	for _, c := range slices.Clone(f.of(p.Name, "")) {
		same := c.Hook == kind && c.Service == service && want.Made(c.Container) && c.Image == f.images[want.Image]
		switch {
		case c.Hook == "":
		case same && run == nil && (c.State == "running" || c.State == "exited"):
			run = c
		case c.State == "running":
			unlock()
			if err := f.awaitEnd(ctx, c); err != nil {
				return fmt.Errorf("the %s hook %s can't be run: %s of another version still runs: %w", kind, service, c.Name, err)
			}
			unlock = f.lock()
			f.remove(c)
		default:
			f.remove(c)
		}
	}
	if run == nil {
		unlock()
		if err := f.startNeeded(ctx, p, service); err != nil {
			return fmt.Errorf("the %s hook %s can't be run: %w", kind, service, err)
		}
		unlock = f.lock()
		run = f.make(project, want, p, 1, "")
		run.Name, run.OneOff, run.Hook, run.ports, run.restart = fmt.Sprintf("%s-%s-run-%s", p.Name, service, run.ID[:12]), true, kind, nil, false
		run.labels = maps.Clone(run.labels)
		run.labels["com.docker.compose.oneoff"] = "True"
		if err := f.begin(run); err != nil {
			f.remove(run)
			unlock()
			return fmt.Errorf("the %s hook %s can't be run: %w", kind, service, err)
		}
	}
	unlock()
	err = f.awaitEnd(ctx, run)
	defer f.lock()()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = &engine.Failure{Err: fmt.Errorf("the %s hook %s has not ended, and was stopped: %w", kind, service, context.Cause(ctx))}
	case err != nil:
		return fmt.Errorf("the %s hook %s %w", kind, service, err)
	case run.ExitCode != 0:
		err = &engine.Failure{Err: fmt.Errorf("the %s hook %s ended with %d", kind, service, run.ExitCode), Said: service + " says: " + run.said}
	}
	f.remove(run)
	return err
}

// awaitEnd waits until a container has ended.
func (f *Fake) awaitEnd(ctx context.Context, c *fakeContainer) error {
	for {
		f.mu.Lock()
		changed, state := f.changed, c.State
		there := slices.Contains(f.containers, c)
		f.mu.Unlock()
		switch {
		case !there:
			return errors.New("was removed while it ran")
		case state != "running":
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// withoutRedefined is a project without the volumes that are there: they are taken as
// they are.
func (f *Fake) withoutRedefined(p render.Project) render.Project {
	p.Volumes = slices.DeleteFunc(slices.Clone(p.Volumes), func(v plan.Resource) bool { _, there := f.volumes[v.Name]; return there })
	return p
}

// needs are the services that one depends on, through others too.
func needs(services types.Services, name string) (all []string) {
	for _, on := range services[name].GetDependencies() {
		if !slices.Contains(all, on) {
			all = append(append(all, on), needs(services, on)...)
		}
	}
	return all
}

// startNeeded makes and starts what a service depends on and does not run.
func (f *Fake) startNeeded(ctx context.Context, p render.Project, service string) error {
	project, err := p.Compose()
	if err != nil {
		return err
	}
	unlock := f.lock()
	if err := f.resources(project, f.withoutRedefined(p), plan.Orders{}); err != nil {
		unlock()
		return err
	}
	needed := p.Only(nil)
	for _, name := range inOrder(project) {
		i := slices.IndexFunc(p.Services, func(s plan.Service) bool { return s.Name == name })
		if name == service || p.Hooks.Has(name) || !slices.Contains(needs(project.Services, service), name) {
			continue
		}
		svc := p.Services[i]
		of := f.of(p.Name, name)
		for n := len(of); n == 0 && n < svc.Scale; n++ {
			of = append(of, f.make(project, svc, p, n+1, ""))
		}
		for _, c := range of {
			if c.State == "running" || svc.Finished(c.Container) {
				continue
			}
			if err := f.begin(c); err != nil {
				unlock()
				return err
			}
		}
		svc.Scale = min(svc.Scale, len(of))
		needed.Services = append(needed.Services, svc)
	}
	unlock()
	_, err = f.Settle(ctx, needed)
	return err
}
