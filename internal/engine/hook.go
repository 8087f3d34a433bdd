package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// RunHook runs a service of a project once, as docker compose run does: in a container
// of its own, without the ports of the host, beside what runs, of which nothing is
// touched. Its image has to be here. What it depends on and does not run is started,
// and made where there is none; what is there stays what it is.
//
// The container is removed when it has ended, with its volumes without a name. One that
// is left, because the daemon ended meanwhile, is the same run: it is waited for, and its
// result taken. A run of another version is waited for too, as it may be at work on data.
//
// An error is that it did not end with 0; with its last words as detail. When the
// context's time is over it is stopped, as its stop_signal and stop_grace_period say;
// when the context ends otherwise it goes on.
func (e *Engine) RunHook(ctx context.Context, p render.Project, kind plan.HookKind, service string) error {
	p = p.WithHooks()
	i := slices.IndexFunc(p.Services, func(s plan.Service) bool { return s.Name == service })
	if i < 0 {
		return fmt.Errorf("the stack has no service %s", service)
	}
	h := hook{Engine: e, project: p, service: p.Services[i], kind: kind}
	if err := h.run(ctx); err != nil {
		return fmt.Errorf("the %s hook %s %w", kind, service, err)
	}
	return nil
}

// hook is one run of a service as a hook.
type hook struct {
	*Engine
	project render.Project
	service plan.Service
	kind    plan.HookKind
}

func (h hook) run(ctx context.Context) error {
	id, err := h.left(ctx)
	if err == nil && id == "" {
		id, err = h.start(ctx)
	}
	if err != nil {
		return fmt.Errorf("can't be run: %w", explain(ctx, err))
	}
	code, err := h.await(ctx, id)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return h.late(ctx, id)
	case err != nil:
		return err
	case code != 0:
		err = &Failure{Err: fmt.Errorf("ended with %d", code), Said: h.says(ctx, id)}
	}
	if dropErr := h.drop(ctx, id); dropErr != nil {
		return errors.Join(err, dropErr)
	}
	return err
}

// left gives the container of this run that an earlier try has left and whose result is
// not known, or "". Those of other runs are waited for, and removed.
func (h hook) left(ctx context.Context) (id string, err error) {
	r, err := h.Engine.project(ctx, h.project.Name)
	if err != nil {
		return "", err
	}
	image, err := h.api.ImageInspect(ctx, h.service.Image)
	if err != nil {
		return "", fmt.Errorf("look for image %s: %w", h.service.Image, err)
	}
	for _, c := range r.Containers {
		same := c.Hook == h.kind && c.Service == h.service.Name && h.service.Made(c) && c.Image == image.ID
		switch {
		case c.Hook == "":
			continue
		case same && id == "" && (c.State == "running" || c.State == "exited"):
			id = c.ID
			continue
		case c.State == "running":
			h.o.Logger.Info("a hook of another version still runs and is waited for", "stack", h.project.Name, "cause", c.Name)
			if _, err := h.await(ctx, c.ID); err != nil {
				return "", fmt.Errorf("%s of another version still runs: %w", c.Name, err)
			}
		}
		err := h.drop(ctx, c.ID)
		if errdefs.IsConflict(err) { // the engine has just started it, for a daemon that is no more
			return h.left(ctx)
		}
		if err != nil {
			return "", err
		}
	}
	return id, nil
}

// start makes the container and starts it.
func (h hook) start(ctx context.Context) (id string, err error) {
	if id, err = h.create(ctx); err != nil {
		return "", err
	}
	if err = h.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil && ctx.Err() == nil {
		err = errors.Join(err, h.drop(ctx, id))
	}
	return id, err
}

// create makes the container.
func (h hook) create(ctx context.Context) (id string, err error) {
	release, err := h.clear.lay(h.project.VolumeFiles())
	defer release()
	if err != nil {
		return "", err
	}
	project, err := h.project.Compose()
	if err != nil {
		return "", err
	}
	if err := h.asItIs(ctx, project); err != nil {
		return "", err
	}
	if err := h.startNeeded(ctx, project); err != nil {
		return "", err
	}
	project = onlyServices(project, h.service.Name)
	s := ready(project.Services[h.service.Name])
	slug := make([]byte, 32)
	_, _ = rand.Read(slug) // never fails
	one := 1
	s.Scale, s.Restart, s.Ports, s.Profiles = &one, "", nil, nil
	if s.Deploy != nil {
		deploy := *s.Deploy
		deploy.RestartPolicy, deploy.Replicas = nil, &one
		s.Deploy = &deploy
	}
	s.ContainerName = fmt.Sprintf("%s-%s-run-%s", project.Name, s.Name, hex.EncodeToString(slug[:6]))
	s.CustomLabels = maps.Clone(s.CustomLabels)
	s.CustomLabels[api.SlugLabel], s.CustomLabels[api.OneoffLabel] = hex.EncodeToString(slug), "True"
	s.CustomLabels[render.LabelHook] = string(h.kind)
	project.Services[s.Name] = s
	if err := h.createMissing(ctx, project); err != nil {
		return "", err
	}
	c, err := h.api.ContainerInspect(ctx, s.ContainerName)
	if err != nil {
		return "", err
	}
	return c.ID, nil
}

// asItIs lets a project take the networks and volumes that are there as they are: what
// is to be another is not made anew for a hook.
func (h hook) asItIs(ctx context.Context, project *types.Project) error {
	networks, err := h.api.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return fmt.Errorf("list networks: %w", err)
	}
	for key, n := range project.Networks {
		if slices.ContainsFunc(networks, func(there network.Summary) bool { return there.Name == n.Name }) {
			n.External = true
			project.Networks[key] = n
		}
	}
	for key, v := range project.Volumes {
		_, err := h.api.VolumeInspect(ctx, v.Name)
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("look for volume %s: %w", v.Name, err)
		}
		if err == nil {
			v.External = true
			project.Volumes[key] = v
		}
	}
	return nil
}

// startNeeded brings up what the service depends on and does not run, and waits until
// all that it depends on is up.
func (h hook) startNeeded(ctx context.Context, project *types.Project) error {
	deps := h.dependencies(project)
	if len(deps) == 0 {
		return nil
	}
	r, err := h.Engine.project(ctx, project.Name)
	if err != nil {
		return err
	}
	needed := h.project.Only(deps)
	var start []string
	for i, svc := range needed.Services {
		of := containersOf(r, svc.Name)
		if !slices.ContainsFunc(of, func(c plan.Container) bool { return c.State == "running" || svc.Finished(c) }) {
			start = append(start, svc.Name)
		}
		if n := len(of); n > 0 { // which is scaled by an update
			needed.Services[i].Scale = min(svc.Scale, n)
		}
		needed.Services[i].Monitor = 0
	}
	if len(start) > 0 {
		only := onlyServices(project, start...)
		for name, s := range only.Services {
			only.Services[name] = ready(s)
		}
		if err := h.createMissing(ctx, only); err != nil {
			return err
		}
		sdk, err := h.sdk(io.Discard)
		if err != nil {
			return err
		}
		if err := sdk.Start(ctx, only.Name, api.StartOptions{Project: only}); err != nil {
			return h.withLogs(ctx, only.Name, err)
		}
	}
	_, err = h.Settle(ctx, needed)
	return err
}

// dependencies are the services that the hook's depends on, through others too, but for
// hooks: they run in their own turn.
func (h hook) dependencies(project *types.Project) []string {
	var out []string
	var visit func(name string)
	visit = func(name string) {
		for _, on := range project.Services[name].GetDependencies() {
			if _, there := project.Services[on]; !there || h.project.Hooks.Has(on) || slices.Contains(out, on) {
				continue
			}
			out = append(out, on)
			visit(on)
		}
	}
	visit(h.service.Name)
	slices.Sort(out)
	return out
}

// await waits until a container has ended.
func (h hook) await(ctx context.Context, id string) (code int64, err error) {
	ended, errs := h.api.ContainerWait(ctx, id, container.WaitConditionNotRunning)
	select {
	case err := <-errs:
		if errdefs.IsNotFound(err) {
			return 0, errors.New("was removed while it ran")
		}
		return 0, err
	case end := <-ended:
		if end.Error != nil {
			return 0, errors.New(end.Error.Message)
		}
		return end.StatusCode, nil
	}
}

// late stops a container whose time is over, and says so.
func (h hook) late(ctx context.Context, id string) error {
	cause := context.Cause(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.service.Grace+time.Minute)
	defer cancel()
	said := h.says(ctx, id)
	err := h.api.ContainerStop(ctx, id, container.StopOptions{})
	if err == nil || errdefs.IsNotFound(err) {
		err = h.drop(ctx, id)
	}
	return errors.Join(&Failure{Err: fmt.Errorf("has not ended, and was stopped: %w", cause), Said: said}, err)
}

func (h hook) says(ctx context.Context, id string) string {
	lines := h.lastLines(ctx, id)
	if lines == "" {
		return ""
	}
	return h.service.Name + " says: " + lines
}

// drop removes a container that does not run, and its volumes without a name.
func (h hook) drop(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return h.dropHook(ctx, id)
}

func (e *Engine) dropHook(ctx context.Context, id string) error {
	err := e.api.ContainerRemove(ctx, id, container.RemoveOptions{RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) && !strings.Contains(err.Error(), "already in progress") {
		return fmt.Errorf("remove container %s of a hook: %w", id[:min(12, len(id))], err)
	}
	return nil
}

// endHooks stops and removes runs of hooks, and gives the other containers.
func (e *Engine) endHooks(ctx context.Context, containers []plan.Container) (others []plan.Container, err error) {
	for _, c := range containers {
		if c.Hook == "" {
			others = append(others, c)
			continue
		}
		err := e.api.ContainerStop(ctx, c.ID, container.StopOptions{})
		if err == nil || errdefs.IsNotFound(err) {
			err = e.dropHook(ctx, c.ID)
		}
		if err != nil {
			return nil, fmt.Errorf("end %s, a hook: %w", c.Name, err)
		}
	}
	return others, nil
}

// isLeft says whether a container is what is left of a run of a hook.
func isLeft(c plan.Container) bool {
	return c.Hook != "" && c.State != "running" && c.State != "removing"
}
