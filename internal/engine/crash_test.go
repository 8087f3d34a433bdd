//go:build engine

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/engine/enginetest"
)

var errKilled = errors.New("killed")

// mortal is a client that dies after a number of calls that change something:
// the engine carries the last one out, and nobody hears of it.
type mortal struct {
	client.APIClient
	mu   sync.Mutex
	left int
	last string
}

func (m *mortal) alive() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left > 0
}

// did says whether a call that was carried out was the last.
func (m *mortal) did(what string, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left == 0 {
		m.last = what
	}
	if m.left <= 0 {
		return errKilled
	}
	return err
}

func (m *mortal) ContainerCreate(ctx context.Context, c *container.Config, h *container.HostConfig, n *network.NetworkingConfig, p *ocispec.Platform, name string) (container.CreateResponse, error) {
	if !m.alive() {
		return container.CreateResponse{}, errKilled
	}
	r, err := m.APIClient.ContainerCreate(ctx, c, h, n, p, name)
	return r, m.did("create "+name, err)
}

func (m *mortal) ContainerStart(ctx context.Context, id string, o container.StartOptions) error {
	if !m.alive() {
		return errKilled
	}
	return m.did("start", m.APIClient.ContainerStart(ctx, id, o))
}

func (m *mortal) ContainerStop(ctx context.Context, id string, o container.StopOptions) error {
	if !m.alive() {
		return errKilled
	}
	return m.did("stop", m.APIClient.ContainerStop(ctx, id, o))
}

func (m *mortal) ContainerRemove(ctx context.Context, id string, o container.RemoveOptions) error {
	if !m.alive() {
		return errKilled
	}
	return m.did("remove", m.APIClient.ContainerRemove(ctx, id, o))
}

func (m *mortal) ContainerRename(ctx context.Context, id, name string) error {
	if !m.alive() {
		return errKilled
	}
	return m.did("rename "+name, m.APIClient.ContainerRename(ctx, id, name))
}

func (m *mortal) NetworkCreate(ctx context.Context, name string, o network.CreateOptions) (network.CreateResponse, error) {
	if !m.alive() {
		return network.CreateResponse{}, errKilled
	}
	r, err := m.APIClient.NetworkCreate(ctx, name, o)
	return r, m.did("create network", err)
}

func (m *mortal) NetworkRemove(ctx context.Context, id string) error {
	if !m.alive() {
		return errKilled
	}
	return m.did("remove network", m.APIClient.NetworkRemove(ctx, id))
}

func (m *mortal) NetworkDisconnect(ctx context.Context, id, c string, force bool) error {
	if !m.alive() {
		return errKilled
	}
	return m.did("disconnect", m.APIClient.NetworkDisconnect(ctx, id, c, force))
}

func (m *mortal) VolumeCreate(ctx context.Context, o volume.CreateOptions) (volume.Volume, error) {
	if !m.alive() {
		return volume.Volume{}, errKilled
	}
	r, err := m.APIClient.VolumeCreate(ctx, o)
	return r, m.did("create volume", err)
}

// Killed after each call that changes something, the next Up goes on from
// there and leaves nothing half done.
func TestUpGoesOnWhereverItWasKilled(t *testing.T) {
	const first = "services: {a: {SLEEP, volumes: [/data]}, b: {SLEEP, network_mode: 'service:a'}, gone: {SLEEP}}"
	const second = "services: {a: {SLEEP, volumes: [/data, 'named:/n'], environment: {X: y}}, b: {SLEEP, network_mode: 'service:a'}}\nvolumes: {named: {}}\nnetworks: {default: {labels: {x: y}}}"
	p := newPlace(t)
	kills := 0
	for n := 1; ; n++ {
		name := p.name()
		p.up(p.load(name, first))
		project := p.load(name, second)
		m := &mortal{APIClient: p.api, left: n}
		op, err := enginetest.Ordered(t.Context(), p, project)
		ok(t, err)
		err = engine.New(m, engine.Options{Repository: repository, HostRoot: p.root}).Up(t.Context(), project, op, nil)
		if m.last == "" {
			ok(t, err)
			break
		}
		kills++
		what := fmt.Sprintf("killed after call %d, %s", n, m.last)
		if err == nil && !strings.HasPrefix(m.last, "start") {
			t.Errorf("%s: no error", what)
		}
		t.Log(what)
		p.up(project)
		r, _ := p.observe(name)
		if len(r.Containers) != 2 {
			t.Errorf("%s: %d containers", what, len(r.Containers))
		}
		for _, c := range r.Containers {
			if c.Name != name+"-"+c.Service+"-1" || c.State != "running" {
				t.Errorf("%s: %s is %s", what, c.Name, c.State)
			}
		}
		p.Clean(t, name)
	}
	t.Logf("%d kills", kills)
}
