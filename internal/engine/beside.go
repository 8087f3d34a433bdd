package engine

import (
	"bytes"
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
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// beside replaces the containers of services by others that start first (Orders.Beside):
// on the same networks, with the same names there. An old one is asked to end when a new
// one has become healthy in its place.
//
// It goes by what it finds: a container is new if it is what is wanted, whoever made it.
// So it goes on where a kill left it. New ones that don't become healthy are removed, and
// the old ones go on. Names are Compose's, with higher numbers.
func (e *Engine) beside(ctx context.Context, p render.Project, project *types.Project, names []string, turn Turn) error {
	for _, name := range besideOrder(project, names) {
		if err := e.replaceBeside(ctx, p, project, name, turn); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// toReplace are those of some services that have an old container: whether one has may
// only be known when images have come. The others are the SDK's to see to, as always.
func (e *Engine) toReplace(ctx context.Context, p render.Project, names []string) (differ []string, err error) {
	for _, svc := range p.Services {
		if !slices.Contains(names, svc.Name) {
			continue
		}
		of, err := e.pair(ctx, p, svc)
		if err != nil {
			return nil, err
		}
		if len(of.old) > 0 {
			differ = append(differ, svc.Name)
		}
	}
	return differ, nil
}

// besideOrder puts services after those that they depend on.
func besideOrder(project *types.Project, names []string) []string {
	var out []string
	var visit func(name string)
	seen := map[string]bool{}
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, on := range project.Services[name].GetDependencies() {
			visit(on)
		}
		if slices.Contains(names, name) {
			out = append(out, name)
		}
	}
	for _, name := range names {
		visit(name)
	}
	return out
}

// pair are the containers of a service, as it is and as it was. Of the new ones some
// may have ended.
type pair struct{ new, ended, old []plan.Container }

func (e *Engine) pair(ctx context.Context, p render.Project, svc plan.Service) (pair, error) {
	r, err := e.project(ctx, p.Name)
	if err != nil {
		return pair{}, err
	}
	image, err := e.api.ImageInspect(ctx, svc.Image)
	if err != nil {
		return pair{}, fmt.Errorf("look for image %s: %w", svc.Image, err)
	}
	var of pair
	for _, c := range containersOf(r, svc.Name) {
		switch {
		case !svc.Made(c) || c.Image != image.ID:
			of.old = append(of.old, c)
		case c.State == "exited":
			of.ended = append(of.ended, c)
		default:
			of.new = append(of.new, c)
		}
	}
	// What does not run goes first.
	slices.SortStableFunc(of.old, func(a, b plan.Container) int { return rank(a) - rank(b) })
	return of, nil
}

func rank(c plan.Container) int {
	switch {
	case c.State != "running":
		return 0
	case c.Health == "unhealthy" || c.Health == "starting":
		return 1
	default:
		return 2
	}
}

func (e *Engine) replaceBeside(ctx context.Context, p render.Project, project *types.Project, name string, turn Turn) error {
	svc := p.Services[slices.IndexFunc(p.Services, func(s plan.Service) bool { return s.Name == name })]
	for {
		of, err := e.pair(ctx, p, svc)
		if err != nil {
			return explain(ctx, err)
		}
		if len(of.old) == 0 {
			return nil
		}
		if err := e.removeEach(ctx, of.ended, turn); err != nil { // of an earlier try
			return explain(ctx, err)
		}
		step := svc.Parallelism
		if step == 0 {
			step = svc.Scale
		}
		// Those of an earlier try count for this step.
		want := min(svc.Scale, max(len(of.new), svc.Scale-running(of.old)+step))
		if err := e.startBeside(ctx, p, project, svc, of, want-len(of.new), turn); err != nil {
			return err
		}
		if of, err = e.pair(ctx, p, svc); err != nil {
			return explain(ctx, err)
		}
		if len(of.new) < want {
			return fmt.Errorf("%d of %d new containers were removed while they came up", want-len(of.new), want)
		}
		gone := max(len(of.old)-(svc.Scale-want), 0)
		for _, c := range of.old[:gone] {
			err := turn.Touch(ctx, func() error { return e.endOld(ctx, project.Services[name], c) })
			if err != nil {
				return explain(ctx, fmt.Errorf("remove %s, in whose place another one runs: %w", c.Name, err))
			}
		}
	}
}

func running(of []plan.Container) (n int) {
	for _, c := range of {
		if rank(c) > 0 {
			n++
		}
	}
	return n
}

// startBeside makes new containers beside those that there are, starts them, and waits
// until all new ones are up. What is not then is removed.
func (e *Engine) startBeside(ctx context.Context, p render.Project, project *types.Project, svc plan.Service, of pair, more int, turn Turn) error {
	for n := range more { // one by one: the SDK has a data race where it makes several that have a deploy section
		count := len(of.old) + len(of.new) + n + 1
		if err := turn.Touch(ctx, func() error { return e.createBeside(ctx, project, svc.Name, count) }); err != nil {
			return err
		}
	}
	of, err := e.pair(ctx, p, svc)
	if err != nil {
		return explain(ctx, err)
	}
	starter := inTurn{e.api, turn}
	for _, c := range of.new {
		if c.State == "created" && err == nil {
			if err = starter.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
				err = e.blame(ctx, p.Stack, err, explain(ctx, err))
			}
		}
	}
	turn.Rest()
	if err == nil {
		err = e.awaitBeside(ctx, p, svc)
	}
	if err == nil {
		return nil
	}
	err = e.withLogs(ctx, p.Name, err, svc.Name)
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err // the daemon ends: the next one goes on
	}
	return errors.Join(err, e.giveUpBeside(ctx, p, svc, turn))
}

// createBeside has the SDK make containers of a service until there are so many, and
// touch none that there is.
func (e *Engine) createBeside(ctx context.Context, project *types.Project, service string, count int) error {
	only := onlyServices(project, service)
	s := ready(only.Services[service])
	s.Scale = &count
	if s.Deploy != nil {
		deploy := *s.Deploy
		deploy.Replicas = &count
		s.Deploy = &deploy
	}
	only.Services[service] = s
	if err := e.createMissing(ctx, only); err != nil {
		return explain(ctx, err)
	}
	return nil
}

// createMissing has the SDK make what a project lacks, and touch nothing that there is.
func (e *Engine) createMissing(ctx context.Context, project *types.Project) error {
	sdk, err := e.sdk(io.Discard)
	if err != nil {
		return err
	}
	return sdk.Create(ctx, project, api.CreateOptions{
		IgnoreOrphans: true, Recreate: api.RecreateNever, RecreateDependencies: api.RecreateNever, QuietPull: true,
	})
}

// onlyServices is a project with some services, and the others switched off.
func onlyServices(project *types.Project, services ...string) *types.Project {
	return project.WithServicesDisabled(slices.DeleteFunc(project.ServiceNames(), func(name string) bool { return slices.Contains(services, name) })...)
}

// awaitBeside waits until the new containers of a service run and are healthy.
func (e *Engine) awaitBeside(ctx context.Context, p render.Project, svc plan.Service) error {
	changes, stop := e.watch(ctx, p.Name)
	defer stop()
	for {
		of, err := e.pair(ctx, p, svc)
		if err != nil {
			return explain(ctx, err)
		}
		v := verdict{service: svc.Name, again: lookAgain}
		for _, c := range of.new {
			is := e.judgeContainer(ctx, svc, c)
			switch {
			case is.failed != nil:
				return is.unwell(is.failed)
			case is.pending != "":
				v.pending, v.image, v.again = is.pending, is.image, min(v.again, is.again)
			}
		}
		if len(of.ended) > 0 {
			return NewUnwell(fmt.Errorf("%s exited (%d)", svc.Name, of.ended[0].ExitCode), svc.Name, of.ended[0].Image)
		}
		if v.pending == "" {
			return nil
		}
		timer := time.NewTimer(v.again)
		select {
		case <-changes:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return v.overdue(ctx)
		}
		timer.Stop()
	}
}

// giveUpBeside removes the new containers that are not up, as old ones still run.
func (e *Engine) giveUpBeside(ctx context.Context, p render.Project, svc plan.Service, turn Turn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	of, err := e.pair(ctx, p, svc)
	if err != nil || running(of.old) == 0 {
		return err
	}
	notUp := slices.DeleteFunc(of.new, func(c plan.Container) bool {
		v := e.judgeContainer(ctx, svc, c)
		return v.failed == nil && v.pending == ""
	})
	return e.removeEach(ctx, append(notUp, of.ended...), turn)
}

// removeEach removes containers that are not up.
func (e *Engine) removeEach(ctx context.Context, gone []plan.Container, turn Turn) error {
	for _, c := range gone {
		if err := turn.Touch(ctx, func() error { return e.Remove(ctx, c.ID) }); err != nil {
			return fmt.Errorf("remove %s, which did not come up: %w", c.Name, err)
		}
	}
	return nil
}

// endOld ends an old container as Compose would: its pre_stop hooks, its signal, its
// grace period. Volumes stay.
func (e *Engine) endOld(ctx context.Context, s types.ServiceConfig, c plan.Container) error {
	if c.State == "running" {
		for _, hook := range s.PreStop {
			if err := e.runHook(ctx, c, hook); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
				return err
			}
		}
	}
	if err := e.api.ContainerStop(ctx, c.ID, container.StopOptions{}); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return e.Remove(ctx, c.ID)
}

// runHook runs a pre_stop hook in a container.
func (e *Engine) runHook(ctx context.Context, c plan.Container, hook types.ServiceHook) error {
	var env []string
	for k, v := range hook.Environment {
		if v != nil {
			env = append(env, k+"="+*v)
		}
	}
	exec, err := e.api.ContainerExecCreate(ctx, c.ID, container.ExecOptions{
		User: hook.User, Privileged: hook.Privileged, Env: env, WorkingDir: hook.WorkingDir, Cmd: hook.Command, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return err
	}
	out, err := e.api.ContainerExecAttach(ctx, exec.ID, container.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer out.Close()
	stop := context.AfterFunc(ctx, out.Close)
	defer stop()
	var said bytes.Buffer
	_, _ = stdcopy.StdCopy(&said, &said, out.Reader)
	if err := ctx.Err(); err != nil {
		return err
	}
	is, err := e.api.ContainerExecInspect(ctx, exec.ID)
	if err != nil {
		return err
	}
	if is.ExitCode != 0 {
		text := strings.TrimSpace(said.String())
		return &Failure{Err: fmt.Errorf("the pre_stop hook of %s ended with %d", c.Service, is.ExitCode), Said: text[:min(len(text), logBytes)]}
	}
	return nil
}
