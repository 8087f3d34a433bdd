package enginetest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// This file is the engine in memory as hand-overs see it.

const labelHelper = "gitops.handover"

// Processes are what runs in the containers of a Fake, for tests in which that
// is more than what a command says.
type Processes interface {
	// Start begins a container's process. It returns at once, and must not call
	// the Fake; so must Kill.
	Start(c engine.Live, args []string)
	// Stop asks it to end, waits, and gives its exit code.
	Stop(id string) int
	// Kill ends it at once.
	Kill(id string)
}

// Run makes processes run in what is started from then on.
func (f *Fake) Run(p Processes) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.processes = p
}

// Close keeps the engine from starting anything again by itself.
func (f *Fake) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

// Within implements Host.
func (f *Fake) Within(self string) Daemon {
	return within{&Fake{repository: f.repository, root: f.root, self: self, state: f.state}}
}

// within is a Fake without a person's hands, two of which have the names of
// calls.
type within struct{ *Fake }

// Rename implements Daemon.
func (w within) Rename(ctx context.Context, id, name string) error {
	c, unlock, err := w.there(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if taken := w.find(name); taken != nil && taken != c {
		return fmt.Errorf("the name %s is in use by container %s", name, taken.ID)
	}
	c.Name = name
	return nil
}

// Remove implements Daemon.
func (w within) Remove(ctx context.Context, id string) error {
	unlock, err := w.answer(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if c := w.find(id); c != nil {
		w.remove(c)
	}
	return nil
}

// Restart ends all containers, and starts those again that their policies want
// after a while in which the engine does not answer.
func (f *Fake) Restart(down time.Duration) {
	unlock := f.lock()
	f.restarting = time.Now().Add(down)
	var again []*fakeContainer
	for _, c := range f.containers {
		if c.State == "running" || c.State == "restarting" {
			f.end(c, 255)
		}
		if c.starts > 0 && (c.policy.Name == "always" || !c.byHand && revives(c.policy, c.ExitCode)) {
			again = append(again, c)
		}
	}
	unlock()
	time.AfterFunc(down, func() {
		defer f.lock()()
		for _, c := range again {
			if !f.closed && c.State == "exited" && slices.Contains(f.containers, c) {
				f.run(c)
			}
		}
	})
}

// Exit tells that a container's process has ended by itself. The engine starts
// it again as its policy wants it.
func (f *Fake) Exit(id string, code int) {
	defer f.lock()()
	c := f.find(id)
	if c == nil || c.State != "running" {
		return
	}
	c.State, c.ExitCode = "exited", code
	if !c.byHand && revives(c.policy, code) {
		f.revive(c)
	}
}

func (f *Fake) revive(c *fakeContainer) {
	c.State = "restarting"
	c.restarts++
	time.AfterFunc(100*time.Millisecond<<min(c.restarts, 9), func() {
		defer f.lock()()
		if !f.closed && c.State == "restarting" && slices.Contains(f.containers, c) {
			f.run(c)
		}
	})
}

func revives(p engine.Restart, code int) bool {
	switch p.Name {
	case "always", "unless-stopped":
		return true
	case "on-failure":
		return code != 0
	default:
		return false
	}
}

// end kills what runs in a container.
func (f *Fake) end(c *fakeContainer, code int) {
	if f.processes != nil && c.State == "running" {
		f.processes.Kill(c.ID)
	}
	if c.State != "created" {
		c.State, c.ExitCode, c.Health = "exited", code, ""
	}
}

func (f *Fake) find(id string) *fakeContainer {
	i := slices.IndexFunc(f.containers, func(c *fakeContainer) bool { return c.ID == id || c.Name == id })
	if i < 0 {
		return nil
	}
	return f.containers[i]
}

// answer begins a call: it locks, and gives an error if the engine does not
// answer.
func (f *Fake) answer(ctx context.Context) (unlock func(), err error) {
	unlock = f.lock()
	err = ctx.Err()
	if time.Now().Before(f.restarting) {
		err = fmt.Errorf("the engine hung up: %w", io.EOF)
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// there begins a call on a container that has to be there.
func (f *Fake) there(ctx context.Context, id string) (c *fakeContainer, unlock func(), err error) {
	unlock, err = f.answer(ctx)
	if err != nil {
		return nil, nil, err
	}
	if c = f.find(id); c == nil {
		unlock()
		return nil, nil, fmt.Errorf("no such container: %s", id)
	}
	return c, unlock, nil
}

func (c *fakeContainer) live() engine.Live {
	return engine.Live{
		ID: c.ID, Name: c.Name, Image: c.Image, Reference: c.Reference, State: c.State, ExitCode: c.ExitCode, Restarts: c.restarts, Policy: c.policy,
	}
}

// Live implements Daemon.
func (f *Fake) Live(ctx context.Context, id string) (engine.Live, bool, error) {
	unlock, err := f.answer(ctx)
	if err != nil {
		return engine.Live{}, false, err
	}
	defer unlock()
	c := f.find(id)
	if c == nil {
		return engine.Live{}, false, nil
	}
	return c.live(), true, nil
}

// Successor implements Daemon.
func (f *Fake) Successor(ctx context.Context, p render.Project, service string) (image string, entrypoint []string, err error) {
	unlock, err := f.answer(ctx)
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	project, err := p.Compose()
	if err != nil {
		return "", nil, err
	}
	i := slices.IndexFunc(p.Services, func(s plan.Service) bool { return s.Name == service })
	if i < 0 {
		return "", nil, fmt.Errorf("%s has no service %s", p.Name, service)
	}
	if image = f.images[p.Services[i].Image]; image == "" {
		return "", nil, fmt.Errorf("no such image: %s", p.Services[i].Image)
	}
	return image, project.Services[service].Entrypoint, nil
}

// StartHelper implements Daemon.
func (f *Fake) StartHelper(ctx context.Context, h engine.Helper) (id string, err error) {
	like, unlock, err := f.there(ctx, h.Like)
	if err != nil {
		return "", err
	}
	defer unlock()
	if !slices.Contains(slices.Collect(maps.Values(f.images)), h.Image) {
		return "", fmt.Errorf("no such image: %s", h.Image)
	}
	if left := f.find(h.Name); left != nil {
		f.remove(left)
	}
	c := &fakeContainer{
		Container: plan.Container{ID: f.id(), Name: h.Name, State: "created", Image: h.Image, Reference: h.Image, Networks: map[string]string{}, Created: time.Now()},
		labels:    map[string]string{labelHelper: h.Owner}, command: slices.Concat(h.Entrypoint, h.Args), args: h.Args,
		restart: true, policy: engine.Restart{Name: "always"},
	}
	c.see(slices.DeleteFunc(slices.Clone(like.Mounts), func(m plan.Mount) bool { return m.Type == plan.MountAnonymous }))
	f.containers = append(f.containers, c)
	f.run(c)
	return c.ID, nil
}

// Helpers implements Daemon.
func (f *Fake) Helpers(ctx context.Context, owner string) ([]string, error) {
	return f.ids(ctx, func(c *fakeContainer) bool { return c.labels[labelHelper] == owner })
}

// Asides implements Daemon.
func (f *Fake) Asides(ctx context.Context, project string) ([]string, error) {
	return f.ids(ctx, func(c *fakeContainer) bool {
		return c.project == project && isAside(c) && c.State != "running" && c.ID != f.self
	})
}

func (f *Fake) ids(ctx context.Context, which func(*fakeContainer) bool) (ids []string, err error) {
	unlock, err := f.answer(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, c := range f.containers {
		if which(c) {
			ids = append(ids, c.ID)
		}
	}
	return ids, nil
}

func isAside(c *fakeContainer) bool { return strings.HasSuffix(c.Name, ".replaced-"+c.ID[:12]) }

// CreateSuccessor implements Daemon.
func (f *Fake) CreateSuccessor(ctx context.Context, p render.Project, service, old string) (id string, err error) {
	unlock, err := f.answer(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	project, err := p.Compose()
	if err != nil {
		return "", err
	}
	for _, c := range f.of(p.Name, service) {
		switch {
		case c.ID == old:
		case c.State != "created":
			return "", fmt.Errorf("%s has another container already, %s, which is %s", service, c.Name, c.State)
		default:
			f.remove(c)
		}
	}
	name := fmt.Sprintf("%s-%s-1", p.Name, service)
	if taken := f.find(name); taken != nil {
		return "", fmt.Errorf("the name %s is in use by container %s", name, taken.ID)
	}
	want := p.Services[slices.IndexFunc(p.Services, func(v plan.Service) bool { return v.Name == service })]
	if f.images[want.Image] == "" {
		return "", fmt.Errorf("no such image: %s", want.Image)
	}
	for _, n := range p.Networks {
		if _, there := f.networks[n.Name]; !there {
			f.networks[n.Name] = fakeResource{id: f.id(), project: p.Name, hash: n.Hash, labels: f.labels(p)}
		}
	}
	return f.make(project, want, p, 1, "").ID, nil
}

// SetRestart implements Daemon.
func (f *Fake) SetRestart(ctx context.Context, id string, r engine.Restart) error {
	c, unlock, err := f.there(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	c.policy = r
	return nil
}

// End implements Daemon.
func (f *Fake) End(ctx context.Context, id string) error {
	c, unlock, err := f.there(ctx, id)
	if err != nil {
		return err
	}
	c.byHand = true
	processes, running := f.processes, c.State == "running"
	unlock()
	code := 137
	if processes != nil && running {
		code = processes.Stop(c.ID)
	}
	defer f.lock()()
	if c.State == "running" || c.State == "restarting" {
		c.State, c.ExitCode, c.Health = "exited", code, ""
	}
	return nil
}

// Start implements Daemon.
func (f *Fake) Start(ctx context.Context, id string) error {
	c, unlock, err := f.there(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if c.State != "running" {
		f.run(c)
	}
	return nil
}

// LastLines implements Daemon.
func (f *Fake) LastLines(_ context.Context, id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.find(id); c != nil {
		return c.said
	}
	return ""
}

// Listed gives all containers, as docker ps -a does.
func (f *Fake) Listed() []engine.Live {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []engine.Live
	for _, c := range f.containers {
		all = append(all, c.live())
	}
	return all
}

// without takes out what Up is not to touch: services that are not asked for,
// and the one that the daemon itself runs as.
func (f *Fake) without(p render.Project, project *types.Project) (render.Project, *types.Project) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.Services = slices.DeleteFunc(slices.Clone(p.Services), func(s plan.Service) bool {
		return slices.ContainsFunc(f.of(p.Name, s.Name), func(c *fakeContainer) bool { return c.ID == f.self })
	})
	for name := range project.Services {
		if !slices.ContainsFunc(p.Services, func(s plan.Service) bool { return s.Name == name }) {
			p.Disabled = append(slices.Clone(p.Disabled), name)
			delete(project.Services, name)
		}
	}
	return p, project
}

func policyOf(restart string) engine.Restart {
	name, count, _ := strings.Cut(restart, ":")
	most, _ := strconv.Atoi(count)
	if name == "" {
		name = "no"
	}
	return engine.Restart{Name: name, Max: most}
}
