package enginetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// This file is Up and Stop of the engine in memory. It sees by itself what
// Compose sees, and needs orders for the rest: without them it starts containers
// on networks that are gone, in vain, and leaves those in a namespace alone that
// is no more.

// Up implements Engine.
func (f *Fake) Up(ctx context.Context, p render.Project, op plan.Op, turn engine.Turn) error {
	project, err := p.Compose()
	if err != nil {
		return err
	}
	if op.Services != nil {
		p = p.Only(op.Services)
	}
	whole := p
	op.Orders.Beside = f.toReplace(p, op.Orders.Beside)
	p, project = f.without(p, project)
	p.Services = slices.DeleteFunc(slices.Clone(p.Services), func(s plan.Service) bool { return slices.Contains(op.Orders.Beside, s.Name) })
	later := project
	project = project.WithServicesDisabled(op.Orders.Beside...)
	if turn == nil {
		turn = always{}
	}
	var starts []string
	err = turn.Touch(ctx, func() error {
		starts, err = f.create(ctx, project, p, op.Orders)
		return err
	})
	if err != nil {
		return err
	}
	turn.Rest()
	for _, name := range starts {
		if err := f.await(ctx, project.Services[name].DependsOn, p.Name); err != nil {
			return err
		}
		turn.Starting()
		if err := turn.Touch(ctx, func() error { return f.start(name, p.Name) }); err != nil {
			return err
		}
	}
	for _, name := range op.Orders.Beside {
		if err := f.replaceBeside(ctx, later, name, whole, turn); err != nil {
			return err
		}
	}
	f.removeSpare(p.Name, op.Orders.Spare)
	return nil
}

// toReplace are those of some services that have an old container.
func (f *Fake) toReplace(p render.Project, names []string) (differ []string) {
	defer f.lock()()
	for _, svc := range p.Services {
		old := func(c *fakeContainer) bool { return !svc.Made(c.Container) || c.Image != f.images[svc.Image] }
		if slices.Contains(names, svc.Name) && slices.ContainsFunc(f.of(p.Name, svc.Name), old) {
			differ = append(differ, svc.Name)
		}
	}
	return differ
}

// replaceBeside replaces the containers of a service one by one by others that start first.
func (f *Fake) replaceBeside(ctx context.Context, project *types.Project, service string, p render.Project, turn engine.Turn) error {
	want := p.Services[slices.IndexFunc(p.Services, func(v plan.Service) bool { return v.Name == service })]
	is := func(c *fakeContainer) bool { return want.Made(c.Container) && c.Image == f.images[want.Image] }
	for {
		var old, next *fakeContainer
		done := false
		err := turn.Touch(ctx, func() error {
			defer f.lock()()
			number, up := 0, 0
			for _, c := range slices.Clone(f.of(p.Name, service)) {
				number = max(number, c.Number)
				switch {
				case is(c) && c.State == "exited":
					f.remove(c)
				case is(c) && c.State == "created":
					next = c
				case is(c):
					up++
				case old == nil || old.State == "running":
					old = c
				}
			}
			if old == nil && up == want.Scale {
				done = true
				return nil
			}
			if next == nil && up < want.Scale {
				next = f.make(project, want, p, number+1, "")
			}
			return nil
		})
		if err != nil || done {
			return err
		}
		if next != nil {
			turn.Starting()
			err := turn.Touch(ctx, func() error { defer f.lock()(); return f.begin(next) })
			turn.Rest()
			if err == nil {
				err = f.awaitUp(ctx, next)
			}
			if err != nil {
				if old != nil && !errors.Is(ctx.Err(), context.Canceled) {
					defer f.lock()()
					f.remove(next)
				}
				return err
			}
		}
		if old == nil {
			continue
		}
		if err := turn.Touch(ctx, func() error { defer f.lock()(); f.remove(old); return nil }); err != nil {
			return err
		}
	}
}

// awaitUp waits until a container is healthy.
func (f *Fake) awaitUp(ctx context.Context, c *fakeContainer) error {
	for {
		f.mu.Lock()
		changed, state, health, code := f.changed, c.State, c.Health, c.ExitCode
		there := slices.Contains(f.containers, c)
		f.mu.Unlock()
		switch {
		case !there:
			return fmt.Errorf("%s was removed while it came up", c.Name)
		case state == "exited" || state == "restarting":
			return c.failure("%s exited (%d)", c.Service, code)
		case health == "unhealthy":
			return c.failure("%s is unhealthy", c.Service)
		case state == "running" && health != "starting":
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return c.unwell(fmt.Errorf("%s is not healthy yet: %w", c.Service, context.Cause(ctx)))
		}
	}
}

// always is the turn of whoever is disturbed by nobody.
type always struct{}

func (always) Rest()                                          {}
func (always) Touch(_ context.Context, do func() error) error { return do() }
func (always) Starting()                                      {}

// create makes everything but starts nothing. It gives the services that may be
// started, in order.
func (f *Fake) create(ctx context.Context, project *types.Project, p render.Project, orders plan.Orders) ([]string, error) {
	defer f.lock()()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := f.allowed(p, orders); err != nil {
		return nil, err
	}
	for _, name := range orders.Make {
		if _, there := f.networks[name]; !there {
			f.networks[name] = fakeResource{id: f.id()}
		}
	}
	f.mend(p.Name)
	f.makeWay(p, orders)
	if err := f.resources(project, p, orders); err != nil {
		return nil, err
	}
	order := inOrder(project)
	for _, name := range order {
		if err := f.converge(project, name, p, orders); err != nil {
			return nil, err
		}
	}
	for _, name := range orders.Halt {
		for _, c := range f.of(p.Name, name) {
			if c.State == "running" && c.ID != f.self {
				f.end(c, 137)
			}
		}
	}
	return slices.DeleteFunc(order, func(name string) bool {
		return slices.Contains(orders.Done, name) && !slices.ContainsFunc(f.of(p.Name, name), func(c *fakeContainer) bool { return c.State != "exited" || c.ExitCode != 0 })
	}), nil
}

// redefines says whether a network is there and has another definition.
func (f *Fake) redefines(n plan.Resource) bool {
	have, there := f.networks[n.Name]
	return there && have.hash != "" && have.hash != n.Hash
}

func (f *Fake) allowed(p render.Project, orders plan.Orders) error {
	for _, n := range p.Networks {
		have := f.networks[n.Name]
		if !f.redefines(n) {
			continue
		}
		if !slices.Contains(orders.Networks, n.Name) {
			return fmt.Errorf("network %s belongs to %s and has another definition there", n.Name, have.project)
		}
		for _, c := range f.containers {
			ours := c.project == p.Name && !c.OneOff && c.ID != f.self
			if !ours && f.active(c, n.Name) {
				return fmt.Errorf("network %s can't be replaced: %s is on it", n.Name, c.Name)
			}
		}
	}
	return nil
}

// active says whether a container keeps a network from being removed.
func (f *Fake) active(c *fakeContainer, network string) bool {
	return c.Networks[network] == f.networks[network].id && c.State != "exited" && c.State != "created" && c.State != "dead"
}

func (f *Fake) labels(p render.Project) map[string]string {
	return map[string]string{render.LabelRepository: f.repository, render.LabelStack: p.File}
}

// mend ends replacements and wakes what is paused.
func (f *Fake) mend(project string) {
	for _, c := range slices.Clone(f.of(project, "")) {
		if c.Hook != "" && c.State != "running" {
			f.remove(c)
			continue
		}
		if c.State == "paused" {
			c.State = "running"
		}
		if c.Replacing {
			old, name, _ := strings.Cut(c.Name, "_")
			if slices.ContainsFunc(f.of(project, ""), func(o *fakeContainer) bool { return o != c && (o.Name == name || strings.HasPrefix(o.ID, old)) }) {
				f.remove(c)
			} else if f.named(name) != nil {
				name = c.PlainName(project)
			}
			c.Name, c.Replacing = name, false
		}
	}
}

// makeWay removes orphans, and networks that are to be made anew.
func (f *Fake) makeWay(p render.Project, orders plan.Orders) {
	for _, name := range orders.Orphans {
		for _, c := range f.of(p.Name, name) {
			if c.ID != f.self && !c.OneOff {
				f.remove(c)
			}
		}
	}
	for _, n := range p.Networks {
		if !f.redefines(n) {
			continue
		}
		for _, c := range f.of(p.Name, "") {
			if f.active(c, n.Name) {
				f.end(c, 137)
			}
		}
		delete(f.networks, n.Name)
	}
}

// resources makes the networks and volumes that are missing.
func (f *Fake) resources(project *types.Project, p render.Project, orders plan.Orders) error {
	for _, n := range project.Networks {
		if _, there := f.networks[n.Name]; bool(n.External) && !there {
			return fmt.Errorf("network %s declared as external, but could not be found", n.Name)
		}
	}
	for _, n := range p.Networks {
		if _, there := f.networks[n.Name]; !there {
			f.networks[n.Name] = fakeResource{id: f.id(), project: p.Name, hash: n.Hash, labels: f.labels(p)}
		}
	}
	for _, v := range p.Volumes {
		have, there := f.volumes[v.Name]
		if there && have.hash != "" && have.hash != v.Hash && !slices.Contains(orders.Volumes, v.Name) {
			return fmt.Errorf("applying it would delete a volume and its data (volume %s)", v.Name)
		}
		if !there {
			f.volumes[v.Name] = fakeResource{project: p.Name, hash: v.Hash, made: v.Made, labels: f.labels(p)}
		}
	}
	return nil
}

func (f *Fake) of(project, service string) []*fakeContainer {
	var out []*fakeContainer
	for _, c := range f.containers {
		if c.project == project && (service == "" || c.Service == service) {
			out = append(out, c)
		}
	}
	return out
}

func (f *Fake) remove(gone *fakeContainer) {
	f.end(gone, 137)
	f.containers = slices.DeleteFunc(f.containers, func(c *fakeContainer) bool { return c == gone })
}

// converge recreates the containers of a service that differ, or are ordered to
// be recreated, and corrects their number.
func (f *Fake) converge(project *types.Project, service string, p render.Project, orders plan.Orders) error {
	s := project.Services[service]
	want := p.Services[slices.IndexFunc(p.Services, func(v plan.Service) bool { return v.Name == service })]
	if f.images[want.Image] == "" && want.Scale > 0 {
		return fmt.Errorf("no such image: %s", want.Image)
	}
	leader := ""
	if name, ok := strings.CutPrefix(s.NetworkMode, types.ServicePrefix); ok {
		leader = f.of(p.Name, name)[0].ID
	}
	joined := leader
	if name, ok := strings.CutPrefix(s.NetworkMode, types.ContainerPrefix); ok && want.Scale > 0 {
		c := f.named(name)
		if c == nil {
			return fmt.Errorf("no such container: %s", name)
		}
		leader, joined = c.ID, "" // of which Compose knows the name only
	}
	config := cmp.Or(want.Bare, want.Hash) // what Compose hashes
	if want.Bare != "" && slices.Contains(orders.Former, service) {
		config = want.Hash
	}
	have := f.of(p.Name, service)
	for i, c := range have {
		if i >= want.Scale {
			f.remove(c)
			continue
		}
		differs := c.config() != config || c.Image != f.images[want.Image] || joined != "" && c.SharesNetworkOf != joined || !slices.Equal(c.borrows, f.borrows(s, p.Name)) ||
			c.State == "running" && f.off(c, want)
		if differs || slices.Contains(orders.Recreate, service) {
			f.remove(c)
			next := f.make(project, want, p, c.Number, leader)
			next.inherit(c)
			if err := f.name(next, c.ID[:12]+"_"); err != nil {
				return err
			}
		}
	}
	for i := len(have); i < want.Scale; i++ {
		if err := f.name(f.make(project, want, p, i+1, leader), ""); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fake) named(name string) *fakeContainer {
	i := slices.IndexFunc(f.containers, func(c *fakeContainer) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return f.containers[i]
}

// name fails if another container has the name of a new one. As a replacement,
// the new one is left with what comes before a name as long as it is one;
// otherwise it is not made.
func (f *Fake) name(c *fakeContainer, before string) error {
	other := f.named(c.Name)
	if other == c {
		return nil
	}
	name := c.Name
	if before == "" {
		f.remove(c)
	} else {
		c.Name, c.Replacing = before+name, true
	}
	return fmt.Errorf("the container name %q is already in use by container %q", name, other.ID)
}

// config is Compose's hash of a container.
func (c *fakeContainer) config() string { return c.labels[labelConfig] }

// off says whether a container is not on one of its networks.
func (f *Fake) off(c *fakeContainer, want plan.Service) bool {
	return slices.ContainsFunc(want.Networks, func(n string) bool { return c.Networks[n] != f.networks[n].id })
}

// borrows are the containers whose volumes a service's has.
func (f *Fake) borrows(s types.ServiceConfig, project string) []string {
	var out []string
	for _, from := range s.VolumesFrom {
		name, _, _ := strings.Cut(from, ":")
		if of := f.of(project, name); len(of) > 0 {
			out = append(out, of[0].ID)
		}
	}
	return out
}

func (f *Fake) make(project *types.Project, want plan.Service, p render.Project, number int, leader string) *fakeContainer {
	s := project.Services[want.Name]
	c := &fakeContainer{
		Container: plan.Container{
			ID: f.id(), Name: fmt.Sprintf("%s-%s-%d", p.Name, s.Name, number), Service: s.Name, Number: number, State: "created",
			Hash: want.Hash, Digested: want.Bare != "", Image: f.images[want.Image], Reference: want.Image, Networks: map[string]string{}, SharesNetworkOf: leader, Created: time.Now(),
		},
		project: p.Name, labels: map[string]string{}, command: s.Command, probe: s.HealthCheck,
		restart: !want.Completes, policy: policyOf(s.Restart),
	}
	if s.ContainerName != "" {
		c.Name = s.ContainerName
	}
	maps.Copy(c.labels, s.Labels)
	maps.Copy(c.labels, s.CustomLabels)
	c.labels[labelConfig] = cmp.Or(want.Bare, want.Hash)
	for _, n := range want.Networks {
		c.Networks[n] = f.networks[n].id
	}
	c.Mounts, c.ports = f.mounts(project, s, c.Image), portsOf(s)
	c.borrows = f.borrows(s, p.Name)
	for _, id := range c.borrows {
		c.see(f.find(id).Mounts)
	}
	f.containers = append(f.containers, c)
	return c
}

// start starts what does not run.
func (f *Fake) start(service, project string) error {
	defer f.lock()()
	for _, c := range f.of(project, service) {
		if c.State == "running" || c.OneOff {
			continue
		}
		for name, id := range c.Networks {
			if f.networks[name].id != id {
				return fmt.Errorf("network %s not found", id)
			}
		}
		if err := f.begin(c); err != nil {
			return err
		}
	}
	return nil
}

// begin starts a container, if its program is there.
func (f *Fake) begin(c *fakeContainer) error {
	if len(c.command) > 0 && strings.HasPrefix(c.command[0], "/no/such") {
		return c.unwell(fmt.Errorf("exec: %s: no such file or directory", c.command[0]))
	}
	f.run(c)
	return nil
}

// await waits for what a service depends on.
func (f *Fake) await(ctx context.Context, on types.DependsOnConfig, project string) error {
	for name, d := range on {
		for {
			f.mu.Lock()
			changed := f.changed
			var err error
			met := true
			for _, c := range f.of(project, name) {
				switch {
				case d.Condition == types.ServiceConditionCompletedSuccessfully && c.State == "exited" && c.ExitCode != 0:
					err = c.failure("service %q didn't complete successfully: exit %d", name, c.ExitCode)
				case d.Condition == types.ServiceConditionCompletedSuccessfully:
					met = met && c.State == "exited"
				case d.Condition == types.ServiceConditionHealthy && c.Health == "unhealthy":
					err = c.unwell(fmt.Errorf("dependency failed to start: container %s is unhealthy", c.Name))
				case d.Condition == types.ServiceConditionHealthy:
					met = met && c.Health == "healthy"
				}
			}
			var late *fakeContainer // to become what is waited for
			if of := f.of(project, name); !met && len(of) > 0 {
				late = of[0]
			}
			f.mu.Unlock()
			if err != nil {
				return err
			}
			if met {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				if late != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
					return late.unwell(context.Cause(ctx))
				}
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// removeSpare removes networks that nothing is attached to.
func (f *Fake) removeSpare(project string, spare []string) {
	defer f.lock()()
	for _, name := range spare {
		n := f.networks[name]
		if n.project == project && !slices.ContainsFunc(f.containers, func(c *fakeContainer) bool { return c.Networks[name] == n.id }) {
			delete(f.networks, name)
		}
	}
}

// Stop implements Engine.
func (f *Fake) Stop(ctx context.Context, p render.Project, op plan.Op) error {
	defer f.lock()()
	if err := ctx.Err(); err != nil {
		return err
	}
	if op.Services == nil && p.HasPreStop() {
		if err := f.preStop(p); err != nil {
			return err
		}
	}
	concerned := slices.DeleteFunc(f.of(op.Stack, ""), func(c *fakeContainer) bool {
		return op.Services != nil && (c.OneOff || !slices.Contains(op.Services, c.Service))
	})
	if slices.ContainsFunc(concerned, func(c *fakeContainer) bool { return c.ID == f.self }) {
		return fmt.Errorf("%s is the stack that the daemon itself runs in", op.Stack)
	}
	for _, c := range concerned {
		c.byHand = true
		f.end(c, 137)
		switch plain := c.PlainName(op.Stack); {
		case op.Services != nil && op.FreeNames && f.named(plain) == nil:
			c.Name = plain
		case op.Services == nil || op.FreeNames:
			f.remove(c)
		}
	}
	if op.Services != nil {
		return nil
	}
	for _, name := range sorted(f.networks) {
		if f.networks[name].project != op.Stack || slices.Contains(op.Leave, name) {
			continue
		}
		if slices.ContainsFunc(f.containers, func(c *fakeContainer) bool { return f.active(c, name) }) {
			continue // others have come to use it
		}
		delete(f.networks, name)
	}
	return nil
}

// preStop runs hooks in running containers: "false" fails, and all else does nothing.
func (f *Fake) preStop(p render.Project) error {
	project, err := p.Compose()
	if err != nil {
		return err
	}
	for name, s := range project.Services {
		for _, hook := range s.PreStop {
			for _, c := range f.of(p.Name, name) {
				if c.State == "running" && slices.Contains(hook.Command, "false") {
					return fmt.Errorf("%s hook exited with status 1", name)
				}
			}
		}
	}
	return nil
}

// inOrder gives the services so that each comes after what it needs.
func inOrder(project *types.Project) []string {
	var out []string
	var visit func(string)
	visit = func(name string) {
		s, ok := project.Services[name]
		if !ok || slices.Contains(out, name) {
			return
		}
		for _, on := range sorted(s.DependsOn) {
			visit(on)
		}
		out = append(out, name)
	}
	for _, name := range sorted(project.Services) {
		visit(name)
	}
	return out
}
