package enginetest

import (
	"cmp"
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
	labelConfig  = "com.docker.compose.config-hash"
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
	untagged   map[string]bool     // ids of images that had a name before
	declared   map[string][]string // the volumes of images, by id
	networks   map[string]fakeResource
	volumes    map[string]fakeResource
	content    map[string][]string // what is in volumes and folders, by their Mount.Source
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
	borrows []string // ids of containers whose volumes it has
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
	made              string // see plan.Resource
	labels            map[string]string
}

// NewFake makes an engine that knows a clone at root.
func NewFake(repository, root string) *Fake {
	return &Fake{repository: repository, root: root, state: &state{
		changed: make(chan struct{}),
		images:  map[string]string{}, untagged: map[string]bool{}, declared: map[string][]string{}, networks: map[string]fakeResource{}, volumes: map[string]fakeResource{}, content: map[string][]string{},
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
	if id := f.images[ref]; id != "" {
		f.untagged[id] = true
	}
	f.images[ref] = "sha256:" + f.id()
}

// Observe implements Engine.
func (f *Fake) Observe(ctx context.Context) (plan.Observed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := plan.Observed{Images: maps.Clone(f.images), Networks: map[string]string{}, Volumes: map[string]bool{}, Strangers: map[string][]string{}}
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
		if c.project == "" {
			o.Others = append(o.Others, plan.Container{ID: c.ID, Name: c.Name, State: c.State, Created: c.Created})
		}
		for _, name := range sorted(c.Networks) {
			if c.project == "" && c.State == "running" {
				o.Strangers[name] = append(o.Strangers[name], c.Name)
			}
		}
		if c.project == "" || isAside(c) && c.ID != f.self {
			continue
		}
		r := at(c.project)
		copied := c.Container
		copied.Self = c.ID == f.self
		copied.Networks = maps.Clone(c.Networks)
		copied.Grace, _ = time.ParseDuration(c.labels[render.LabelGrace])
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
		file, labelled := f.owner(n.labels)
		r.Networks = append(r.Networks, plan.Resource{Name: name, Hash: n.hash, Labelled: labelled})
		if file != "" {
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
			r.Volumes = append(r.Volumes, plan.Resource{Name: name, Hash: v.hash, Made: v.made})
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

// Settle implements Engine.
func (f *Fake) Settle(ctx context.Context, p render.Project) (plan.Running, error) {
	for {
		f.mu.Lock()
		changed := f.changed
		pending, of, err := f.judge(p.Stack)
		runs := plan.Running{Project: p.Name}
		for _, c := range f.of(p.Name, "") {
			runs.Containers = append(runs.Containers, c.Container)
		}
		f.mu.Unlock()
		if err != nil || pending == "" {
			return runs, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			err := fmt.Errorf("%s: %w", pending, context.Cause(ctx))
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				err = of.unwell(err)
			}
			return plan.Running{}, err
		}
	}
}

// Keep implements Engine.
func (f *Fake) Keep(_ context.Context, project string, images map[string]string) error {
	defer f.lock()()
	wanted := map[string]string{}
	for service, id := range images {
		if !f.here(id) {
			return fmt.Errorf("keep image %s: no such image", id)
		}
		wanted[plan.KeptAs(project, service)] = id
	}
	for name, id := range f.images {
		if plan.IsKept(name, project) {
			f.untagged[id] = true
			delete(f.images, name)
		}
	}
	maps.Copy(f.images, wanted)
	return nil
}

// here says whether there is an image, with a name or without.
func (f *Fake) here(id string) bool {
	return f.untagged[id] || slices.Contains(slices.Collect(maps.Values(f.images)), id)
}

// failure is an error about a container, with what it said.
func (c *fakeContainer) failure(format string, a ...any) error {
	return &engine.Failure{Err: c.unwell(fmt.Errorf(format, a...)), Said: c.Service + " says: " + c.said}
}

// unwell is an error that the container is to blame for.
func (c *fakeContainer) unwell(err error) error {
	return engine.NewUnwell(err, c.Service, c.Image)
}

// judge gives what is not up yet, if nothing is wrong.
func (f *Fake) judge(s plan.Stack) (pending string, by *fakeContainer, err error) {
	for _, svc := range s.Services {
		of := f.of(s.Name, svc.Name)
		if len(of) < svc.Scale {
			return "", nil, fmt.Errorf("%s has %d of %d containers: some were removed while it came up", svc.Name, len(of), svc.Scale)
		}
		for _, c := range of {
			switch {
			case c.State == "exited" && c.ExitCode == 0 && svc.Completes:
			case c.State == "exited":
				return "", c, c.failure("%s exited (%d)", svc.Name, c.ExitCode)
			case c.State == "restarting":
				return "", c, c.failure("%s keeps crashing (exit code %d)", svc.Name, c.ExitCode)
			case c.Health == "unhealthy":
				_, said, _ := strings.Cut(strings.Join(c.probe.Test, " "), "echo ")
				said, _, _ = strings.Cut(said, ";")
				return "", c, &engine.Failure{Err: c.unwell(fmt.Errorf("%s is unhealthy", svc.Name)), Said: fmt.Sprintf("the healthcheck of %s says: %s", svc.Name, said)}
			case c.Health == "starting":
				pending, by = svc.Name+" is not healthy yet", c
			case c.State != "running":
				pending, by = svc.Name+" is "+c.State, c
			}
		}
	}
	return pending, by, nil
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
			OneOff: labels["com.docker.compose.oneoff"] == "True",
			Hash:   cmp.Or(labels[render.LabelHash], labels[labelConfig]), Digested: labels[render.LabelContent] != "",
			Former: labels[render.LabelContent] != "" && labels[labelConfig] == labels[render.LabelHash], Image: f.images[image], Reference: image, Networks: map[string]string{}, Created: time.Now(),
		},
		project: labels[labelProject], labels: labels,
	})
}

// Guest implements Host.
func (f *Fake) Guest(t testing.TB, name, image, network string) {
	f.Make(t, name, image, nil)
	defer f.lock()()
	for _, c := range f.containers {
		if c.Name == name {
			c.Networks[network] = f.networks[network].id
		}
	}
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
