//go:build engine

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// forgetful is a client of an engine that has crashed while it started some
// containers, and answers each start of them with an error.
type forgetful struct {
	client.APIClient
	says map[string]string // by container id
}

func (f forgetful) ContainerStart(ctx context.Context, id string, o container.StartOptions) error {
	if text := f.says[id]; text != "" {
		return fmt.Errorf("Error response from daemon: %s", text)
	}
	return f.APIClient.ContainerStart(ctx, id, o)
}

// crashed gives the containers of a project that was brought up, after each
// was stopped, and an engine that can't start some of them.
func (p *place) crashed(name, text string, says map[string]func(id string) string) (before map[string]string, up func() error) {
	p.t.Helper()
	project := p.load(name, text)
	p.up(project)
	f := forgetful{APIClient: p.api, says: map[string]string{}}
	before = map[string]string{}
	r, _ := p.observe(name)
	for _, c := range r.Containers {
		before[c.Service] = c.ID
		p.Kill(p.t, c.ID)
		if say := says[c.Service]; say != nil {
			f.says[c.ID] = say(c.ID)
		}
	}
	e := engine.New(f, engine.Options{Repository: repository, HostRoot: p.root})
	return before, func() error { return e.Up(context.Background(), project, plan.Op{}, nil) }
}

func TestAContainerThatAnEngineLostHalfStartedIsReplaced(t *testing.T) {
	p := newPlace(t)
	name := p.name()
	const text = "services: {a: {SLEEP, volumes: [/data]}, b: {SLEEP}, c: {SLEEP}}"
	exists := func(id string) string { return "task " + id + ": already exists" }
	before, up := p.crashed(name, text, map[string]func(string) string{"a": exists, "b": exists})
	volumes := p.Volumes(t, before["a"])
	ok(t, up())
	p.same(p.load(name, text))
	r, _ := p.observe(name)
	for _, c := range r.Containers {
		if replaced := c.ID != before[c.Service]; replaced != (c.Service != "c") || c.Name != name+"-"+c.Service+"-1" {
			t.Errorf("%s is %s, replaced: %v", c.Service, c.Name, replaced)
		}
		if now := p.Volumes(t, c.ID); c.Service == "a" && now["/data"] != volumes["/data"] {
			t.Errorf("another volume: %v, then %v", volumes, now)
		}
	}
	if len(r.Containers) != 3 {
		t.Errorf("%d containers", len(r.Containers))
	}
}

func TestAContainerWhoseProcessMayStillRunIsNotReplaced(t *testing.T) {
	p := newPlace(t)
	name := p.name()
	before, up := p.crashed(name, "services: {a: {SLEEP, volumes: [/data]}}", map[string]func(string) string{
		"a": func(string) string { return "id already in use" },
	})
	err := up()
	if err == nil || !strings.Contains(err.Error(), "pkill") || !strings.Contains(err.Error(), before["a"][:12]) {
		t.Errorf("the error does not say what to do: %v", err)
	}
	if r, _ := p.observe(name); len(r.Containers) != 1 || r.Containers[0].ID != before["a"] {
		t.Errorf("it was replaced: %v", r.Containers)
	}
}

func TestAnEngineThatLosesEveryContainerIsNotAskedForEver(t *testing.T) {
	p := newPlace(t)
	name := p.name()
	project := p.load(name, "services: {a: {SLEEP}}")
	starts := 0
	e := engine.New(hopeless{p.api, &starts}, engine.Options{Repository: repository, HostRoot: p.root})
	if err := e.Up(t.Context(), project, plan.Op{}, nil); err == nil || starts != 2 {
		t.Errorf("%d starts: %v", starts, err)
	}
}

type hopeless struct {
	client.APIClient
	starts *int
}

func (h hopeless) ContainerStart(_ context.Context, id string, _ container.StartOptions) error {
	*h.starts++
	return errors.New("task " + id + ": already exists")
}
