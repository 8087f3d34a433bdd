package enginetest

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// This file is what the containers of the engine in memory have of the host.

// mounts gives a new container of a service what it mounts, with volumes of its
// own for those without a name.
func (f *Fake) mounts(project *types.Project, s types.ServiceConfig, image string) []plan.Mount {
	var out []plan.Mount
	for _, v := range s.Volumes {
		m := plan.Mount{Target: v.Target, Type: plan.MountAnonymous}
		switch {
		case v.Type == types.VolumeTypeBind:
			m.Type, m.Source = plan.MountHost, v.Source
			if rel, err := filepath.Rel(f.root, v.Source); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
				m.Type, m.Source = plan.MountClone, strings.TrimPrefix(rel, "./")
			}
		case v.Type == types.VolumeTypeVolume && v.Source != "":
			m.Type, m.Source = plan.MountVolume, project.Volumes[v.Source].Name
		case v.Type != types.VolumeTypeVolume:
			continue
		default:
			m.Source = f.id()
		}
		out = append(out, m)
	}
	for _, target := range f.declared[image] {
		if !slices.ContainsFunc(out, func(m plan.Mount) bool { return m.Target == target }) {
			out = append(out, plan.Mount{Target: target, Type: plan.MountAnonymous, Source: f.id()})
		}
	}
	slices.SortFunc(out, func(a, b plan.Mount) int { return strings.Compare(a.Target, b.Target) })
	return out
}

// inherit takes over what the container before had where no name says what is
// to be there.
func (c *fakeContainer) inherit(before *fakeContainer) {
	for i, m := range c.Mounts {
		had := slices.IndexFunc(before.Mounts, func(old plan.Mount) bool { return old.Target == m.Target })
		if m.Type == plan.MountAnonymous && had >= 0 {
			c.Mounts[i] = before.Mounts[had]
		}
	}
}

// portsOf are the ports of the host that a service's container gets. Those that
// the engine would choose are left out.
func portsOf(s types.ServiceConfig) []plan.Port {
	var out []plan.Port
	for _, p := range s.Ports {
		if n, err := strconv.ParseUint(p.Published, 10, 16); err == nil {
			out = append(out, plan.Port{IP: strings.TrimPrefix(p.HostIP, "0.0.0.0"), Protocol: p.Protocol, First: uint16(n), Last: uint16(n)})
		}
	}
	return out
}

// see makes a container mount what another one does, where it has nothing itself.
func (c *fakeContainer) see(mounts []plan.Mount) {
	for _, m := range mounts {
		if _, has := c.mount(m.Target); !has {
			c.Mounts = append(c.Mounts, m)
		}
	}
	slices.SortFunc(c.Mounts, func(a, b plan.Mount) int { return strings.Compare(a.Target, b.Target) })
}

func (c *fakeContainer) mount(target string) (plan.Mount, bool) {
	i := slices.IndexFunc(c.Mounts, func(m plan.Mount) bool { return m.Target == target })
	if i < 0 {
		return plan.Mount{}, false
	}
	return c.Mounts[i], true
}

// HasContent implements Host.
func (f *Fake) HasContent(ctx context.Context, containerID, target string) (bool, error) {
	c, unlock, err := f.there(ctx, containerID)
	if err != nil {
		return false, err
	}
	defer unlock()
	m, has := c.mount(target)
	if !has {
		return false, fmt.Errorf("container %s mounts nothing at %s", c.Name, target)
	}
	return f.full(m.Source), nil
}

// VolumeEmpty implements Host.
func (f *Fake) VolumeEmpty(ctx context.Context, volume string) (bool, error) {
	unlock, err := f.answer(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	if _, there := f.volumes[volume]; !there {
		return false, fmt.Errorf("look for volume %s: no such volume", volume)
	}
	used := slices.ContainsFunc(f.containers, func(c *fakeContainer) bool {
		return slices.ContainsFunc(c.Mounts, func(m plan.Mount) bool { return m.Source == volume })
	})
	if !used && len(f.images) == 0 {
		return false, fmt.Errorf("volume %s can't be looked into: there is no image to make a container of", volume)
	}
	return !f.full(volume), nil
}

func (f *Fake) full(source string) bool {
	return slices.ContainsFunc(f.content[source], func(name string) bool { return name != "lost+found/" })
}

// Fill puts something into a volume, or into a folder that containers mount: the
// source of their plan.Mount.
func (f *Fake) Fill(source, name string) {
	defer f.lock()()
	f.content[source] = append(f.content[source], name)
}

// Put implements Host.
func (f *Fake) Put(t testing.TB, id, target, name string) {
	t.Helper()
	f.mu.Lock()
	m, has := f.get(t, id).mount(target)
	f.mu.Unlock()
	if !has {
		t.Fatalf("container %s mounts nothing at %s", id, target)
	}
	f.Fill(m.Source, name)
}
