package plan

import (
	"slices"
	"time"
)

// The tests write a world as what is wanted and what runs of it, and change
// from there what the case is about.

func noon() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

// stack wants one service, app, on a network and, if changed so, more.
func stack(name string, change ...func(*Stack)) Stack {
	s := Stack{
		Name: name, File: name + "/compose.yaml", Digest: name + "-1", Mode: Managed,
		Services: []Service{{Name: "app", Hash: "h1", Image: "app:1", Pull: PullMissing, Scale: 1, Networks: []string{name + "_default"}}},
		Networks: []Resource{{Name: name + "_default", Hash: "n1"}},
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

// with adds a service that is app's twin.
func with(name string, change ...func(*Service)) func(*Stack) {
	return func(s *Stack) {
		svc := s.Services[0]
		svc.Name = name
		for _, c := range change {
			c(&svc)
		}
		s.Services = append(s.Services, svc)
	}
}

// app changes the first service.
func app(change func(*Service)) func(*Stack) { return func(s *Stack) { change(&s.Services[0]) } }

// volume adds a volume that the first service mounts.
func volume(name, hash string) func(*Stack) {
	return func(s *Stack) {
		s.Volumes = append(s.Volumes, Resource{Name: name, Hash: hash})
		mounts(MountVolume, name, "/data")(s)
	}
}

// mounts lets the first service mount something.
func mounts(kind MountType, source, target string) func(*Stack) {
	return app(func(v *Service) {
		v.Mounts = append(slices.Clone(v.Mounts), Mount{Target: target, Type: kind, Source: source})
	})
}

func needs(network string) func(*Stack) {
	return func(s *Stack) {
		s.Requires = append(s.Requires, Requirement{Kind: "network", Name: network})
		s.Services[0].Networks = append(slices.Clone(s.Services[0].Networks), network)
	}
}

func invalid(reason string) func(*Stack) { return func(s *Stack) { s.Invalid = reason } }
func mode(m Mode) func(*Stack)           { return func(s *Stack) { s.Mode = m } }

// changed is what the next commit wants of the first service.
func changed(s *Stack) { s.Digest += "+"; s.Services[0].Hash = "h2" }

// running is a stack as it runs when all is well.
func running(s Stack, change ...func(*Running)) Running {
	r := Running{Project: s.Name, File: s.File, Ours: true, Labelled: true, Networks: slices.Clone(s.Networks), Volumes: slices.Clone(s.Volumes)}
	for _, svc := range s.Services {
		for n := range svc.Scale {
			r.Containers = append(r.Containers, containerOf(s, svc, n+1))
		}
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func containerOf(s Stack, svc Service, number int) Container {
	c := Container{
		ID: s.Name + "-" + svc.Name, Name: s.Name + "-" + svc.Name + "-1", Service: svc.Name, Number: number,
		State: "running", Hash: svc.Hash, Image: "id of " + svc.Image, Reference: svc.Image, Networks: map[string]string{}, Created: noon().Add(-time.Hour),
		Mounts: svc.Mounts, Ports: svc.Ports,
	}
	if svc.ContainerName != "" {
		c.Name = svc.ContainerName
	}
	for _, n := range svc.Networks {
		c.Networks[n] = "id of " + n
	}
	return c
}

// first changes a project's first container.
func first(change func(*Container)) func(*Running) {
	return func(r *Running) { change(&r.Containers[0]) }
}

func exited(code int) func(*Running) {
	return first(func(c *Container) { c.State, c.ExitCode = "exited", code })
}

func notOurs(r *Running) {
	r.Ours, r.Labelled, r.File, r.Origin = false, false, "", "/home/mia/web"
}

func byHand(r *Running)         { r.Labelled = false }
func isController(r *Running)   { r.Controller = true }
func isSelf(r *Running)         { r.Controller, r.Containers[0].Self = true, true }
func onlyNetworks(r *Running)   { r.Containers = nil }
func withoutNetwork(r *Running) { r.Networks = nil }

// world is a State of wanted stacks and running projects, at one commit, with
// everything remembered as applied that runs as it is wanted.
func world(wanted []Stack, projects []Running, change ...func(*State)) State {
	st := State{
		Now: noon(), Local: "1111111aaa", Remote: "1111111aaa", Wanted: wanted,
		Observed: Observed{
			Running: projects, Images: map[string]string{"app:1": "id of app:1"},
			Networks: map[string]string{}, Volumes: map[string]bool{},
		},
		Memory: map[string]Record{}, Busy: map[string]bool{},
	}
	for _, r := range projects {
		for _, n := range r.Networks {
			st.Observed.Networks[n.Name] = "id of " + n.Name
		}
		for _, v := range r.Volumes {
			st.Observed.Volumes[v.Name] = true
		}
	}
	for _, c := range change {
		c(&st)
	}
	return st
}

func commit(st *State) { st.Remote = "2222222bbb" }

func remember(name string, rec Record) func(*State) {
	return func(st *State) { st.Memory[name] = rec }
}

func busy(names ...string) func(*State) {
	return func(st *State) {
		for _, n := range names {
			st.Busy[n] = true
		}
	}
}

func stacks(s ...Stack) []Stack       { return s }
func projects(r ...Running) []Running { return r }
