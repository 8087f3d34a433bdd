package engine

import (
	"cmp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// mounts tells what a container mounts. What is in memory only is left out.
func (e *Engine) mounts(points []container.MountPoint) []plan.Mount {
	var out []plan.Mount
	for _, p := range points {
		m := plan.Mount{Target: p.Destination}
		switch {
		case p.Type == mount.TypeVolume && p.Name != "":
			m.Type, m.Source = plan.MountVolume, p.Name
			if anonymous(p.Name) {
				m.Type = plan.MountAnonymous
			}
		case p.Type == mount.TypeBind:
			m.Type, m.Source = plan.MountHost, p.Source
			if rel, ok := e.inClone(p.Source); ok {
				m.Type, m.Source = plan.MountClone, rel
				if rel == "." {
					m.Source = ""
				}
			}
		default:
			continue
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b plan.Mount) int { return cmp.Compare(a.Target, b.Target) })
	return out
}

// anonymous says whether the engine gave a volume its name. Newer engines mark
// such volumes, those before 24 do not.
func anonymous(volume string) bool {
	return len(volume) == 64 && strings.Trim(volume, "0123456789abcdef") == ""
}

// ports tells which ports of the host a container has. The engine lists a port
// of every address twice, for IPv4 and IPv6.
func ports(list []container.Port) []plan.Port {
	var out []plan.Port
	for _, p := range list {
		if p.PublicPort == 0 {
			continue
		}
		one := plan.Port{IP: p.IP, Protocol: p.Type, First: p.PublicPort, Last: p.PublicPort}
		if p.IP == "0.0.0.0" || p.IP == "::" {
			one.IP = ""
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b plan.Port) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.IP, b.IP))
	})
	return slices.Compact(out)
}
