package enginetest

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
