package render

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/xhit/go-str2duration/v2"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// dataNew is the one value that LabelData may have.
const dataNew = "new"

// newData reads LabelData and takes it out of the service's labels: to say that
// data may be new is not to change the service. The labels must be a copy.
func newData(s types.ServiceConfig) (bool, error) {
	value, ok := s.Labels[LabelData]
	delete(s.Labels, LabelData)
	if ok && value != dataNew {
		return false, fmt.Errorf("services.%s.labels: %s is %q, and can only be %q", s.Name, LabelData, value, dataNew)
	}
	return ok, nil
}

// longestAge keeps what is meant as seconds from being taken for years.
const longestAge = 365 * 24 * time.Hour

// suspendLabel says whether LabelSuspend wants a stack to be left as it is.
func suspendLabel(p *types.Project) (bool, error) {
	yes, err := stackLabel(p, LabelSuspend, "true or false", "the opposite", readBool)
	return yes != nil && *yes, err
}

// windowLabel reads LabelWindow; nil if no service has it.
func windowLabel(p *types.Project) (*plan.Window, error) {
	text, err := stackLabel(p, LabelWindow, "rules", "other rules", func(value string) (string, bool) { return value, true })
	if err != nil || text == nil {
		return nil, err
	}
	w, err := plan.ParseWindow(*text, time.Local) //nolint:gosmopolitan // whoever runs the daemon says by TZ where that is
	if err != nil {
		return nil, fmt.Errorf("the label %s: %w", LabelWindow, err)
	}
	return &w, nil
}

func readBool(value string) (bool, bool) {
	yes, err := strconv.ParseBool(value)
	return yes, err == nil
}

// minAge reads LabelAge; nil if no service has it.
func minAge(p *types.Project) (*time.Duration, error) {
	return stackLabel(p, LabelAge, "a time of at most a year like 72h or 3d, or 0", "another one", func(value string) (time.Duration, bool) {
		d, err := str2duration.ParseDuration(value)
		return d, err == nil && d >= 0 && d <= longestAge
	})
}

// stackLabel reads a label that counts for the whole stack, from whichever services have
// it, and takes it out of them: it is no part of what they are. The labels must be a copy.
// nil means that none has it. want and other are for errors: what it can be, and what
// another service has that says something else.
func stackLabel[T comparable](p *types.Project, label, want, other string, read func(string) (T, bool)) (*T, error) {
	var found *T
	for _, services := range []types.Services{p.Services, p.DisabledServices} {
		for _, name := range slices.Sorted(maps.Keys(services)) {
			text, ok := services[name].Labels[label]
			delete(services[name].Labels, label)
			if !ok {
				continue
			}
			value, ok := read(text)
			if !ok {
				return nil, fmt.Errorf("services.%s.labels: %s is %q, and can only be %s", name, label, text, want)
			}
			if found != nil && *found != value {
				return nil, fmt.Errorf("services.%s.labels: %s is %s, and another service has %s: it counts for the whole stack", name, label, text, other)
			}
			found = &value
		}
	}
	return found, nil
}

// mounts gives what a service mounts, by target. p has the paths of the engine.
func (l *Loader) mounts(p *types.Project, s types.ServiceConfig) []plan.Mount {
	var out []plan.Mount
	for _, v := range s.Volumes {
		if m, ok := l.mount(p, v); ok {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b plan.Mount) int { return strings.Compare(a.Target, b.Target) })
	return out
}

// mount gives one of them; none for what holds no data of its own (tmpfs, a
// folder of an image).
func (l *Loader) mount(p *types.Project, v types.ServiceVolumeConfig) (plan.Mount, bool) {
	m := plan.Mount{Target: path.Clean(v.Target)}
	switch v.Type {
	case types.VolumeTypeVolume:
		m.Type = plan.MountAnonymous
		if v.Source != "" {
			m.Type, m.Source = plan.MountVolume, p.Volumes[v.Source].Name
		}
	case types.VolumeTypeBind:
		m.Type, m.Source = plan.MountHost, filepath.Clean(v.Source)
		if _, secret := within(l.o.HostSecrets, m.Source); secret && l.o.HostSecrets != "" {
			return plan.Mount{}, false // no data: it is made of what git has
		}
		if l.o.HostRoot == "" {
			break // then nothing of the clone is mounted, see mapping
		}
		if rel, inside := within(filepath.Clean(l.o.HostRoot), m.Source); inside {
			m.Type, m.Source = plan.MountClone, rel
		}
	default:
		return plan.Mount{}, false
	}
	return m, true
}

// ports gives the host's ports that a service publishes; those that the engine
// chooses are none.
func ports(s types.ServiceConfig) []plan.Port {
	if s.NetworkMode == "host" {
		return nil
	}
	var out []plan.Port
	for _, c := range s.Ports {
		first, last, ok := portRange(c.Published)
		if !ok {
			continue
		}
		out = append(out, plan.Port{IP: boundTo(c.HostIP), Protocol: strings.ToLower(cmp.Or(c.Protocol, "tcp")), First: first, Last: last})
	}
	slices.SortFunc(out, func(a, b plan.Port) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last), strings.Compare(a.Protocol, b.Protocol), strings.Compare(a.IP, b.IP))
	})
	return slices.Compact(out)
}

// portRange reads "8080" and "8080-8089". What is no port is the engine's to
// refuse.
func portRange(published string) (first, last uint16, ok bool) {
	from, to, isRange := strings.Cut(published, "-")
	if !isRange {
		to = from
	}
	a, errA := strconv.ParseUint(from, 10, 16)
	b, errB := strconv.ParseUint(to, 10, 16)
	return uint16(a), uint16(b), errA == nil && errB == nil && 0 < a && a <= b
}

// boundTo gives the address that a port is bound to; empty for every address.
func boundTo(ip string) string {
	addr, err := netip.ParseAddr(ip)
	switch {
	case err != nil:
		return ip
	case addr.IsUnspecified():
		return ""
	default:
		return addr.String()
	}
}
