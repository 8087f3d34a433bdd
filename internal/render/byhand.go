package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// ByHand is the stack beside what runs of it: plan.Service.ByHand and Touched of
// its services are set where they decide about a container. Both are dear: one is
// a hash, the other takes a look at every file that a service mounts. It is for
// the one goroutine that uses the Loader, while the tree is open.
func (p Project) ByHand(r plan.Running) (plan.Stack, error) {
	s, err := p.hashed(r)
	if err != nil {
		return s, err
	}
	return p.dated(s, r), nil
}

// dated sets Touched.
func (p Project) dated(s plan.Stack, r plan.Running) plan.Stack {
	given := false
	for _, c := range r.Containers {
		i := slices.IndexFunc(s.Services, func(svc plan.Service) bool { return svc.Name == c.Service })
		if i < 0 || c.OneOff || !s.Services[i].AgeDecides(c) {
			continue
		}
		if !given { // which the loader keeps
			s.Services, given = slices.Clone(s.Services), true
		}
		s.Services[i].Touched = p.touched(c.Service)
	}
	return s
}

// hashed sets ByHand.
func (p Project) hashed(r plan.Running) (plan.Stack, error) {
	s := p.Stack
	if p.compose == nil {
		return s, nil
	}
	doubtful := func(svc plan.Service) bool {
		return len(svc.Follows) > 0 && slices.ContainsFunc(r.Containers, func(c plan.Container) bool {
			return !c.OneOff && c.Service == svc.Name && c.Hash != svc.Hash
		})
	}
	if !slices.ContainsFunc(s.Services, doubtful) {
		return s, nil
	}
	first := map[string]plan.Container{} // of each service, by name
	for _, c := range r.Containers {
		if f, ok := first[c.Service]; !c.OneOff && (!ok || c.Name < f.Name) {
			first[c.Service] = c
		}
	}
	s.Services = slices.Clone(s.Services) // which the loader keeps
	for i, svc := range s.Services {
		there := func(name string) bool { _, ok := first[name]; return ok }
		if !doubtful(svc) || slices.ContainsFunc(svc.Follows, func(name string) bool { return !there(name) }) {
			continue
		}
		hash, err := p.hasher.Service(resolved(p.compose.Services[svc.Name], first))
		if err != nil {
			return s, fmt.Errorf("hash services.%s of %s: %w", svc.Name, p.File, err)
		}
		s.Services[i].ByHand = hash
	}
	return s, nil
}

// resolved is a service as Compose hashes it: with the ids of containers in the
// place of services.
func resolved(s types.ServiceConfig, first map[string]plan.Container) types.ServiceConfig {
	for _, mode := range []*string{&s.NetworkMode, &s.Ipc, &s.Pid} {
		if name, ok := strings.CutPrefix(*mode, types.ServicePrefix); ok {
			*mode = types.ContainerPrefix + first[name].ID
		}
	}
	s.VolumesFrom = slices.Clone(s.VolumesFrom)
	for i, from := range s.VolumesFrom {
		if name, rest, _ := strings.Cut(from, ":"); name != "container" {
			s.VolumesFrom[i] = first[name].ID
		} else {
			s.VolumesFrom[i], _, _ = strings.Cut(rest, ":")
		}
	}
	return s
}
