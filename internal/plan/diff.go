package plan

import (
	"fmt"
	"slices"
	"strings"
)

// Difference is one thing in which what runs is not what is wanted.
type Difference struct {
	// Service is empty for a network or a volume.
	Service string
	// Config says that the wanted definition and the running one differ, as
	// after a change in git; otherwise the state does, as after a crash.
	Config bool
	// Crashed says that a container ended that should run.
	Crashed bool
	// Moved says that a tag which is watched points to another image: that is
	// as if git had changed.
	Moved bool
	Text  string
	// aside says that no service differs, and that it is about hooks.
	aside bool
}

// Differences compares a stack with what runs of it. An empty result means
// that there is nothing to do.
//
//	container            wanted                            difference
//	---------            ------                            ----------
//	none                 scale 1 or more                   missing
//	more than scale                                        too many
//	other hash                                             configuration
//	other image id       image is here under the tag       image
//	any                  tag has moved at the registry     moved
//	temporary name                                         half replaced
//	other name           container_name                    name
//	exited 0             restart "no" or "on-failure"      - (it is done)
//	exited               otherwise                         exited
//	created, dead,
//	paused               running                           state
//	restarting, removing running                           - (the engine is at it)
//	running              not on one of its networks        network
//	running              follows a younger container, or
//	                     joins one that was replaced       follows
//	service not in file                                    orphan
//	run of a hook, ended                                   left
//
// A stack whose services are all switched off misses neither network nor volume.
func Differences(s Stack, r Running, o Observed) []Difference {
	var ds []Difference
	if s.Idle() {
		s.Networks, s.Volumes = nil, nil
	}
	for _, n := range s.Networks {
		switch have, ok := find(r.Networks, n.Name); {
		case !ok && o.Networks[n.Name] != "":
			// One with that name exists and is not the project's: compose
			// uses it, with a warning.
		case !ok:
			ds = append(ds, Difference{Text: "network " + n.Name + " is missing"})
		case have.differs(n):
			ds = append(ds, Difference{Config: true, Text: "network " + n.Name + " has another definition"})
		}
	}
	for _, v := range s.Volumes {
		if _, ok := find(r.Volumes, v.Name); !ok && !o.Volumes[v.Name] {
			ds = append(ds, Difference{Text: "volume " + v.Name + " is missing"})
		}
	}

	byService := map[string][]Container{}
	for _, c := range r.Containers {
		if !c.OneOff {
			byService[c.Service] = append(byService[c.Service], c)
		}
	}
	for _, svc := range s.Services {
		ds = append(ds, serviceDifferences(svc, byService, o)...)
	}
	for _, c := range r.Containers {
		if c.Hook != "" && c.State != "running" && c.State != "removing" {
			ds = append(ds, Difference{Text: c.Name + " is left of a hook", aside: true})
		}
	}
	for _, name := range sortedKeys(byService) {
		if !slices.Contains(s.Disabled, name) && !slices.ContainsFunc(s.Services, func(v Service) bool { return v.Name == name }) {
			ds = append(ds, Difference{Service: name, Config: true, Text: name + " is no service of the stack"})
		}
	}
	return ds
}

func serviceDifferences(svc Service, all map[string][]Container, o Observed) []Difference {
	var ds []Difference
	add := func(config bool, format string, a ...any) {
		ds = append(ds, Difference{Service: svc.Name, Config: config, Text: svc.Name + " " + fmt.Sprintf(format, a...)})
	}
	have := all[svc.Name]
	switch {
	case len(have) == 0 && svc.Scale > 0:
		add(false, "is missing")
	case len(have) < svc.Scale:
		add(false, "has %d of %d containers", len(have), svc.Scale)
	case len(have) > svc.Scale:
		add(false, "has %d containers instead of %d", len(have), svc.Scale)
	}
	if HasMoved(svc, o) && svc.Scale > 0 {
		add(true, "has an older image than %s at the registry (%s)", svc.Image, shortID(o.Latest[svc.Image]))
		ds[len(ds)-1].Moved = true
	}
	for _, c := range have {
		of := func(config bool, format string, a ...any) {
			ds = append(ds, Difference{Service: svc.Name, Config: config, Text: c.Name + " " + fmt.Sprintf(format, a...)})
		}
		image, here := o.Images[svc.Image]
		switch {
		case !svc.Made(c):
			of(true, "has another configuration")
		case here && c.Image != "" && c.Image != image:
			of(true, "has another image than %s (%s → %s)", svc.Image, shortID(c.Image), shortID(image))
			ds[len(ds)-1].Moved = svc.Every > 0
		case c.Replacing:
			of(false, "is half replaced")
		case misnamed(svc, c):
			of(false, "has another name than %s", svc.ContainerName)
		case svc.Finished(c):
		case c.State == "exited":
			of(false, "exited (%d)", c.ExitCode)
			ds[len(ds)-1].Crashed = true
		case c.State == "created" || c.State == "dead" || c.State == "paused":
			of(false, "is %s", c.State)
		case c.State == "running" && offNetwork(svc, c, o) != "":
			of(false, "is not on network %s", offNetwork(svc, c, o))
		case c.State == "running" && formerLeader(svc, c, o) != "":
			of(false, "follows %s, which was replaced", formerLeader(svc, c, o))
		case youngerLeader(svc, c, all) != "":
			of(false, "follows %s, which was replaced", youngerLeader(svc, c, all))
		}
	}
	return ds
}

// shortID is as much of an image's id or digest as people compare.
func shortID(id string) string {
	const digits = 12
	kind, hash, ok := strings.Cut(id, ":")
	if !ok || kind != "sha256" || len(hash) <= digits {
		return id
	}
	return kind + ":" + hash[:digits]
}

func offNetwork(svc Service, c Container, o Observed) string {
	for _, n := range svc.Networks {
		id, attached := c.Networks[n]
		if !attached || (o.Networks[n] != "" && id != "" && id != o.Networks[n]) {
			return n
		}
	}
	return ""
}

// youngerLeader finds a service that c shares a namespace or volumes with and
// whose container was replaced after c was made: c still holds on to the one
// that is gone. The engine tells the time of that in whole seconds, but which
// container's network another one lives in.
func youngerLeader(svc Service, c Container, all map[string][]Container) string {
	for _, name := range svc.Follows {
		if name == svc.NetworkOf && c.SharesNetworkOf != "" { // which says it without a clock
			if len(all[name]) > 0 && !slices.ContainsFunc(all[name], func(leader Container) bool { return leader.ID == c.SharesNetworkOf }) {
				return name
			}
			continue
		}
		shares := func(leader Container) bool { return c.SharesNetworkOf != "" && c.SharesNetworkOf == leader.ID }
		younger := func(leader Container) bool { return leader.Created.After(c.Created) }
		if !slices.ContainsFunc(all[name], shares) && slices.ContainsFunc(all[name], younger) {
			return name
		}
	}
	return ""
}

func exitCode(c Container) string {
	if c.ExitCode == 0 {
		return ""
	}
	return fmt.Sprintf(" (exit code %d)", c.ExitCode)
}

func find(rs []Resource, name string) (Resource, bool) {
	i := slices.IndexFunc(rs, func(r Resource) bool { return r.Name == name })
	if i < 0 {
		return Resource{}, false
	}
	return rs[i], true
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func texts(ds []Difference) string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.Text
	}
	return strings.Join(slices.Compact(out), ", ")
}
