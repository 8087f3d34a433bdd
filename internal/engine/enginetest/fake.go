package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

const (
	labelProject = "com.docker.compose.project"
	labelService = "com.docker.compose.service"
	labelNumber  = "com.docker.compose.container-number"
)

// Fake is an engine in memory. What a container does it reads off its command:
// "true" ends with 0, a text with "exit N" says what it echoes and ends with N,
// anything else runs on. A healthcheck that ends in "true" makes it healthy,
// one that ends in "false" unhealthy after its retries, if it has any.
type Fake struct {
	repository, root string
	self             string // the container that its daemon runs in
	*state
}

// state is what all who ask an engine share.
type state struct {
	mu         sync.Mutex
	changed    chan struct{} // closed at the next change
	made       int
	containers []*fakeContainer
	images     map[string]string   // ids, by reference
	declared   map[string][]string // the volumes of images, by id
	networks   map[string]fakeResource
	volumes    map[string]fakeResource
	processes  Processes
	restarting time.Time // until when the engine does not answer
	closed     bool
}

type fakeContainer struct {
	plan.Container
	project string
	labels  map[string]string
	restart bool
	command []string
	ports   []plan.Port
	probe   *types.HealthCheckConfig
	said    string
	starts  int
	// What only hand-overs look at.
	policy   engine.Restart
	restarts int
	byHand   bool // it was stopped, and has not been started since
	args     []string
}

type fakeResource struct {
	id, project, hash string
	labels            map[string]string
}

// NewFake makes an engine that knows a clone at root.
func NewFake(repository, root string) *Fake {
	return &Fake{repository: repository, root: root, state: &state{
		changed: make(chan struct{}),
		images:  map[string]string{}, declared: map[string][]string{}, networks: map[string]fakeResource{}, volumes: map[string]fakeResource{},
	}}
}

// At makes an engine with the same images for a clone at another place.
func (f *Fake) At(root string) *Fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	other := NewFake(f.repository, root)
	maps.Copy(other.images, f.images)
	maps.Copy(other.declared, f.declared)
	other.made = f.made
	return other
}

// lock locks until the function that it returns, which tells all who wait of a
// change.
func (f *Fake) lock() func() {
	f.mu.Lock()
	return func() {
		close(f.changed)
		f.changed = make(chan struct{})
		f.mu.Unlock()
	}
}

func (f *Fake) id() string {
	f.made++
	return fmt.Sprintf("%064x", f.made)
}

// AddImage makes an image be there, under a new id.
func (f *Fake) AddImage(ref string) {
	defer f.lock()()
	f.images[ref] = "sha256:" + f.id()
}

// Observe implements Engine.
func (f *Fake) Observe(ctx context.Context) (plan.Observed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := plan.Observed{Images: maps.Clone(f.images), Networks: map[string]string{}, Volumes: map[string]bool{}}
	if err := ctx.Err(); err != nil {
		return plan.Observed{}, err
	}
	byName := map[string]*plan.Running{}
	foreign, owned := map[string]bool{}, map[string]bool{}
	at := func(project string) *plan.Running {
		if byName[project] == nil {
			byName[project] = &plan.Running{Project: project}
		}
		return byName[project]
	}
	for _, c := range f.containers {
		if c.project == "" || isAside(c) && c.ID != f.self {
			continue
		}
		r := at(c.project)
		copied := c.Container
		copied.Self = c.ID == f.self
		copied.Networks = maps.Clone(c.Networks)
		if c.State == "running" {
			copied.Ports = c.ports
		}
		r.Containers = append(r.Containers, copied)
		file, labelled := f.owner(c.labels)
		if file == "" {
			foreign[c.project], r.Origin = true, c.labels["com.docker.compose.project.working_dir"]
		} else {
			owned[c.project], r.File = true, file
		}
		r.Labelled = r.Labelled || labelled
		r.Ignored = r.Ignored || c.labels[render.LabelIgnore] == "true"
		r.Controller = r.Controller || c.labels[render.LabelController] == "true" || copied.Self
	}
	for _, name := range sorted(f.networks) {
		n := f.networks[name]
		o.Networks[name] = n.id
		if n.project == "" {
			continue
		}
		r := at(n.project)
		r.Networks = append(r.Networks, plan.Resource{Name: name, Hash: n.hash})
		if file, labelled := f.owner(n.labels); file != "" {
			owned[n.project], r.Labelled = true, r.Labelled || labelled
			if r.File == "" {
				r.File = file
			}
		}
	}
	for _, name := range sorted(f.volumes) {
		o.Volumes[name] = true
		if v := f.volumes[name]; v.project != "" {
			r := at(v.project)
			r.Volumes = append(r.Volumes, plan.Resource{Name: name, Hash: v.hash})
		}
	}
	for _, name := range sorted(byName) {
		byName[name].Ours = owned[name] && !foreign[name]
		o.Running = append(o.Running, *byName[name])
	}
	return o, nil
}

func (f *Fake) owner(labels map[string]string) (file string, labelled bool) {
	if labels[render.LabelRepository] == f.repository && labels[render.LabelStack] != "" {
		return labels[render.LabelStack], true
	}
	if rel, ok := strings.CutPrefix(labels["com.docker.compose.project.config_files"], f.root+"/"); ok {
		return rel, false
	}
	return "", false
}

// Pull implements Engine: it brings what may be pulled.
func (f *Fake) Pull(ctx context.Context, p render.Project) error {
	defer f.lock()()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, s := range p.Services {
		switch here := f.images[s.Image] != ""; {
		case s.Pull == plan.PullNever && !here:
			return fmt.Errorf("image %s of service %s is not here, and its pull_policy is never", s.Image, s.Name)
		case !here, s.Pull == plan.PullBuild:
			f.images[s.Image] = "sha256:" + f.id()
		}
	}
	return nil
}

// Up implements Engine.
func (f *Fake) Up(ctx context.Context, p render.Project) error {
	project, err := p.Compose()
	if err != nil {
		return err
	}
	p, project = f.without(p, project)
	order, err := f.create(ctx, project, p)
	if err != nil {
		return err
	}
	for _, name := range order {
		if err := f.await(ctx, project.Services[name].DependsOn, p.Name); err != nil {
			return err
		}
		f.start(project.Services[name], p)
	}
	return nil
}

// create makes everything but starts nothing. It gives the services in the
// order in which they may start.
func (f *Fake) create(ctx context.Context, project *types.Project, p render.Project) ([]string, error) {
	defer f.lock()()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, n := range project.Networks {
		if _, there := f.networks[n.Name]; bool(n.External) && !there {
			return nil, fmt.Errorf("network %s declared as external, but could not be found", n.Name)
		}
	}
	for _, v := range p.Volumes {
		if have, there := f.volumes[v.Name]; there && have.hash != "" && have.hash != v.Hash {
			return nil, fmt.Errorf("applying it would delete a volume and its data (volume %s)", v.Name)
		}
	}
	for _, n := range p.Networks {
		if have, there := f.networks[n.Name]; !there || have.hash != "" && have.hash != n.Hash {
			f.networks[n.Name] = fakeResource{id: f.id(), project: p.Name, hash: n.Hash, labels: f.labels(p)}
		}
	}
	for _, v := range p.Volumes {
		if _, there := f.volumes[v.Name]; !there {
			f.volumes[v.Name] = fakeResource{project: p.Name, hash: v.Hash, labels: f.labels(p)}
		}
	}
	f.mend(p)
	order := inOrder(project)
	for _, name := range order {
		if err := f.converge(project, project.Services[name], p); err != nil {
			return nil, err
		}
	}
	return order, nil
}

func (f *Fake) labels(p render.Project) map[string]string {
	return map[string]string{render.LabelRepository: f.repository, render.LabelStack: p.File}
}

// mend removes orphans, ends replacements and wakes what is paused.
func (f *Fake) mend(p render.Project) {
	f.containers = slices.DeleteFunc(f.containers, func(c *fakeContainer) bool {
		known := c.ID == f.self || isAside(c) || slices.Contains(p.Disabled, c.Service) || slices.ContainsFunc(p.Services, func(s plan.Service) bool { return s.Name == c.Service })
		return c.project == p.Name && !known
	})
	for _, c := range slices.Clone(f.of(p.Name, "")) {
		if c.State == "paused" {
			c.State = "running"
		}
		if c.Replacing {
			old, name, _ := strings.Cut(c.Name, "_")
			if slices.ContainsFunc(f.of(p.Name, ""), func(o *fakeContainer) bool { return o != c && (o.Name == name || strings.HasPrefix(o.ID, old)) }) {
				f.remove(c)
			}
			c.Name, c.Replacing = name, false
		}
	}
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

// converge recreates the containers of a service that differ and corrects
// their number.
func (f *Fake) converge(project *types.Project, s types.ServiceConfig, p render.Project) error {
	want := p.Services[slices.IndexFunc(p.Services, func(v plan.Service) bool { return v.Name == s.Name })]
	if f.images[want.Image] == "" && want.Scale > 0 {
		return fmt.Errorf("no such image: %s", want.Image)
	}
	leader := ""
	if name, ok := strings.CutPrefix(s.NetworkMode, types.ServicePrefix); ok {
		leader = f.of(p.Name, name)[0].ID
	}
	have := f.of(p.Name, s.Name)
	for i, c := range have {
		if i >= want.Scale {
			f.remove(c)
			continue
		}
		done := c.State == "exited" && c.ExitCode == 0 && want.Completes
		if !want.Made(c.Container) || c.Image != f.images[want.Image] || c.SharesNetworkOf != leader || !done && f.cutOff(c, want) {
			f.remove(c)
			f.make(project, want, p, c.Number, leader).inherit(c)
		}
	}
	for i := len(have); i < want.Scale; i++ {
		f.make(project, want, p, i+1, leader)
	}
	return nil
}

func (f *Fake) cutOff(c *fakeContainer, want plan.Service) bool {
	return slices.ContainsFunc(want.Networks, func(n string) bool { return c.Networks[n] != f.networks[n].id })
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
	maps.Copy(c.labels, s.Labels)
	maps.Copy(c.labels, s.CustomLabels)
	for _, n := range want.Networks {
		c.Networks[n] = f.networks[n].id
	}
	c.Mounts, c.ports = f.mounts(project, s, c.Image), portsOf(s)
	f.containers = append(f.containers, c)
	return c
}

// start starts what does not run and is not done. Who shares the network of
// what is started is started anew.
func (f *Fake) start(s types.ServiceConfig, p render.Project) {
	defer f.lock()()
	want := p.Services[slices.IndexFunc(p.Services, func(v plan.Service) bool { return v.Name == s.Name })]
	for _, c := range f.of(p.Name, s.Name) {
		if c.State == "running" || c.State == "exited" && c.ExitCode == 0 && want.Completes {
			continue
		}
		f.run(c)
		for _, other := range f.containers {
			if other.SharesNetworkOf == c.ID && other.State == "running" {
				other.State = "created"
			}
		}
	}
}

func (f *Fake) run(c *fakeContainer) {
	c.byHand = false
	if f.processes != nil {
		c.State, c.ExitCode = "running", 0
		c.starts++
		f.processes.Start(c.live(), c.args)
		return
	}
	c.run()
}

func (c *fakeContainer) run() {
	c.State, c.ExitCode, c.Health = "running", 0, ""
	c.starts++
	text := strings.Join(c.command, " ")
	if m := regexp.MustCompile(`exit (\d+)`).FindStringSubmatch(text); m != nil {
		c.State = "exited"
		c.ExitCode, _ = strconv.Atoi(m[1])
		if _, said, ok := strings.Cut(text, "echo "); ok {
			c.said, _, _ = strings.Cut(said, ";")
		}
	} else if strings.HasSuffix(text, "true") {
		c.State = "exited"
	}
	if c.State == "exited" && c.restart {
		c.State = "restarting"
	}
	if c.probe != nil && c.State == "running" {
		switch {
		case strings.HasSuffix(strings.Join(c.probe.Test, " "), "true"):
			c.Health = "healthy"
		case c.probe.Retries != nil:
			c.Health = "unhealthy"
		default:
			c.Health = "starting"
		}
	}
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
					err = fmt.Errorf("service %q didn't complete successfully: exit %d\n%s says: %s", name, c.ExitCode, name, c.said)
				case d.Condition == types.ServiceConditionCompletedSuccessfully:
					met = met && c.State == "exited"
				case d.Condition == types.ServiceConditionHealthy && c.Health == "unhealthy":
					err = fmt.Errorf("dependency failed to start: container %s is unhealthy", c.Name)
				case d.Condition == types.ServiceConditionHealthy:
					met = met && c.Health == "healthy"
				}
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
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// Settle implements Engine.
func (f *Fake) Settle(ctx context.Context, p render.Project) error {
	for {
		f.mu.Lock()
		changed := f.changed
		pending, err := f.judge(p.Stack)
		f.mu.Unlock()
		if err != nil || pending == "" {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", pending, context.Cause(ctx))
		}
	}
}

func (f *Fake) judge(s plan.Stack) (pending string, err error) {
	for _, svc := range s.Services {
		of := f.of(s.Name, svc.Name)
		if len(of) < svc.Scale {
			return "", fmt.Errorf("%s has %d of %d containers: some were removed while it came up", svc.Name, len(of), svc.Scale)
		}
		for _, c := range of {
			switch {
			case c.State == "exited" && c.ExitCode == 0 && svc.Completes:
			case c.State == "exited":
				return "", fmt.Errorf("%s exited (%d)\n%s says: %s", svc.Name, c.ExitCode, svc.Name, c.said)
			case c.State == "restarting":
				return "", fmt.Errorf("%s ends again and again (exit code %d)\n%s says: %s", svc.Name, c.ExitCode, svc.Name, c.said)
			case c.Health == "unhealthy":
				return "", fmt.Errorf("%s is unhealthy", svc.Name)
			case c.Health == "starting":
				pending = svc.Name + " is not healthy yet"
			case c.State != "running":
				pending = svc.Name + " is " + c.State
			}
		}
	}
	return pending, nil
}

// Down implements Engine.
func (f *Fake) Down(ctx context.Context, project string) error {
	defer f.lock()()
	if err := ctx.Err(); err != nil {
		return err
	}
	if slices.ContainsFunc(f.of(project, ""), func(c *fakeContainer) bool { return c.ID == f.self }) {
		return fmt.Errorf("%s is the stack that the daemon itself runs in", project)
	}
	f.containers = slices.DeleteFunc(f.containers, func(c *fakeContainer) bool { return c.project == project })
	var errs []error
	for _, name := range sorted(f.networks) {
		n := f.networks[name]
		if n.project != project {
			continue
		}
		if slices.ContainsFunc(f.containers, func(c *fakeContainer) bool { return c.Networks[name] == n.id && c.State == "running" }) {
			errs = append(errs, fmt.Errorf("network %s is left over and can't be removed: it has active endpoints", name))
			continue
		}
		delete(f.networks, name)
	}
	return errors.Join(errs...)
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

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// The hands of a person.

// Import implements Host.
func (f *Fake) Import(_ testing.TB, ref string, volumes ...string) {
	f.AddImage(ref)
	defer f.lock()()
	f.declared[f.images[ref]] = volumes
}

// Make implements Host.
func (f *Fake) Make(_ testing.TB, name, image string, labels map[string]string) {
	defer f.lock()()
	number, _ := strconv.Atoi(labels[labelNumber])
	f.containers = append(f.containers, &fakeContainer{
		Container: plan.Container{
			ID: f.id(), Name: name, Service: labels[labelService], Number: number, State: "running",
			Hash: labels["com.docker.compose.config-hash"], Image: f.images[image], Reference: image, Networks: map[string]string{}, Created: time.Now(),
		},
		project: labels[labelProject], labels: labels,
	})
}

// Copy implements Host.
func (f *Fake) Copy(t testing.TB, id, name string) {
	defer f.lock()()
	c := *f.get(t, id)
	c.ID, c.Name, c.Replacing = f.id(), name, isTemporary(name)
	c.Networks = maps.Clone(c.Networks)
	if c.Replacing {
		c.State = "created"
	} else {
		c.Number++
	}
	f.containers = append(f.containers, &c)
}

func isTemporary(name string) bool {
	return regexp.MustCompile(`^[0-9a-f]{12}_`).MatchString(name)
}

func (f *Fake) get(t testing.TB, id string) *fakeContainer {
	t.Helper()
	i := slices.IndexFunc(f.containers, func(c *fakeContainer) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("no container %s", id)
	}
	return f.containers[i]
}

// Kill implements Host.
func (f *Fake) Kill(t testing.TB, id string) {
	defer f.lock()()
	c := f.get(t, id)
	c.byHand = true
	f.end(c, 137)
}

// Pause implements Host.
func (f *Fake) Pause(t testing.TB, id string) {
	defer f.lock()()
	f.get(t, id).State = "paused"
}

// Rename implements Host.
func (f *Fake) Rename(t testing.TB, id, name string) {
	defer f.lock()()
	c := f.get(t, id)
	c.Name, c.Replacing = name, isTemporary(name)
}

// Remove implements Host.
func (f *Fake) Remove(t testing.TB, id string) {
	defer f.lock()()
	f.remove(f.get(t, id))
}

// MakeNetwork implements Host.
func (f *Fake) MakeNetwork(_ testing.TB, name string, labels map[string]string) {
	defer f.lock()()
	f.networks[name] = fakeResource{id: f.id(), project: labels[labelProject], labels: labels}
}

// DropNetwork implements Host.
func (f *Fake) DropNetwork(_ testing.TB, name string) {
	defer f.lock()()
	delete(f.networks, name)
	for _, c := range f.containers {
		if c.State == "running" {
			delete(c.Networks, name)
		}
	}
}

// Volumes implements Host.
func (f *Fake) Volumes(t testing.TB, id string) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]string{}
	for _, m := range f.get(t, id).Mounts {
		out[m.Target] = ""
		if m.Type == plan.MountVolume || m.Type == plan.MountAnonymous {
			out[m.Target] = m.Source
		}
	}
	return out
}

// Started implements Host.
func (f *Fake) Started(t testing.TB, id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strconv.Itoa(f.get(t, id).starts)
}

// Clean implements Host.
func (f *Fake) Clean(_ testing.TB, project string) {
	defer f.lock()()
	of := func(_ string, r fakeResource) bool { return r.project == project }
	f.containers = slices.DeleteFunc(f.containers, func(c *fakeContainer) bool { return c.project == project })
	maps.DeleteFunc(f.networks, of)
	maps.DeleteFunc(f.volumes, of)
}
