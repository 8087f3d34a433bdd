package enginetest

import (
	"slices"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// nameCases are about containers whose names others have or had.
func nameCases() map[string]func(*bench) {
	named := func(a, b string) string {
		return "services: {a: {SLEEP, container_name: NAME" + a + "}, b: {SLEEP, container_name: NAME" + b + "}}"
	}
	names := func(b *bench, want map[string]string) {
		b.Helper()
		for _, c := range b.running().Containers {
			if c.Name != b.name+want[c.Service] {
				b.Errorf("%s is named %s, want %s", c.Service, c.Name, b.name+want[c.Service])
			}
		}
	}
	return map[string]func(*bench){
		"services swap names when those that have them give them up before, and keep what they hold": func(b *bench) {
			const before, after = "services: {a: {SLEEP, volumes: [/data], container_name: NAMEx}, b: {SLEEP, container_name: NAMEy}}",
				"services: {a: {SLEEP, volumes: [/data], container_name: NAMEy}, b: {SLEEP, container_name: NAMEx}}"
			volume := b.Volumes(b, b.id(b.up(b.stack(before)), "a"))["/data"]
			p := b.stack(after)
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Kind: plan.Stop, Stack: b.name, Services: []string{"a", "b"}, FreeNames: true}))
			if got := b.Volumes(b, b.id(b.broken(p), "a"))["/data"]; got != volume || volume == "" {
				b.Errorf("volume %q became %q", volume, got)
			}
			names(b, map[string]string{"a": "y", "b": "x"})
		},
		"a name goes to another stack when the one that had it has taken another": func(b *bench) {
			b.up(b.stack(named("x", "y")))
			other := b.second()
			q := other.stack("services: {c: {SLEEP, container_name: " + b.name + "x}}")
			b.fails(b.Up(b.ctx(), q, other.ordered(q), nil), b.name+"x")
			b.broken(b.stack(named("z", "y")))
			other.up(q)
			names(b, map[string]string{"a": "z", "b": "y"})
		},
		"a replacement that did not get its name is gone on with when another is wanted, with what it holds": func(b *bench) {
			other := b.second()
			other.up(other.stack("services: {c: {SLEEP, container_name: " + b.name + "x}}"))
			const before, after = "services: {a: {SLEEP, volumes: [/data]}}", "services: {a: {SLEEP, volumes: [/data], container_name: NAMEx}}"
			had := b.up(b.stack(before))
			volume := b.Volumes(b, b.id(had, "a"))["/data"]
			p := b.stack(after)
			b.fails(b.Up(b.ctx(), p, b.ordered(p), nil), b.name+"x")
			r := b.broken(b.stack(before))
			if got := b.Volumes(b, b.id(r, "a"))["/data"]; got != volume || volume == "" {
				b.Errorf("volume %q became %q", volume, got)
			}
			names(b, map[string]string{"a": "-a-1"})
		},
		"a replacement that did not get its name gets it when it is free": func(b *bench) {
			other := b.second()
			id := other.id(other.up(other.stack("services: {c: {SLEEP, container_name: "+b.name+"x}}")), "c")
			b.up(b.stack("services: {a: {SLEEP}}"))
			p := b.stack("services: {a: {SLEEP, container_name: NAMEx}}")
			b.fails(b.Up(b.ctx(), p, b.ordered(p), nil), b.name+"x")
			b.Remove(b, id)
			b.broken(p)
			names(b, map[string]string{"a": "x"})
		},
		"a stack can be removed whose replacement did not get its name": func(b *bench) {
			other := b.second()
			other.up(other.stack("services: {c: {SLEEP, container_name: " + b.name + "x}}"))
			b.up(b.stack("services: {a: {SLEEP}}"))
			p := b.stack("services: {a: {SLEEP, container_name: NAMEx}}")
			b.fails(b.Up(b.ctx(), p, b.ordered(p), nil), b.name+"x")
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Kind: plan.Stop, Stack: b.name}))
			if r := b.running(); len(r.Containers) > 0 {
				b.Errorf("left: %v", r.Containers)
			}
		},
		"a container that was given another name by hand gets its own": func(b *bench) {
			p := b.stack(named("x", "y"))
			r := b.up(p)
			b.Rename(b, b.id(r, "a"), b.name+"mine")
			if got := b.differ(r, b.broken(p)); got != "a" {
				b.Errorf("recreated: %s", got)
			}
			names(b, map[string]string{"a": "x", "b": "y"})
		},
		"who lives in the network of another stack's container follows when that is made anew": func(b *bench) {
			vpn := func(more string) string { return "services: {a: {SLEEP, container_name: NAMEx" + more + "}}" }
			b.up(b.stack(vpn("")))
			other := b.second()
			q := other.stack("services: {c: {SLEEP, network_mode: 'container:" + b.name + "x', pid: 'container:" + b.name + "x'}, d: {SLEEP}}")
			before := other.up(q)
			leader := b.id(b.broken(b.stack(vpn(", environment: {X: y}"))), "a")
			after := other.broken(q)
			if got := b.differ(before, after); got != "c" {
				b.Errorf("recreated: %s", got)
			}
			for _, c := range after.Containers {
				if c.Service == "c" && c.SharesNetworkOf != leader {
					b.Errorf("it lives in the network of %s, and not of %s", c.SharesNetworkOf, leader)
				}
			}
		},
		"containers of no project are told with their names": func(b *bench) {
			b.Make(b, b.name+"alone", b.image, nil)
			b.up(b.stack("services: {a: {SLEEP}}"))
			o, err := b.Observe(b.ctx())
			b.ok(err)
			named := func(name string) func(plan.Container) bool {
				return func(c plan.Container) bool { return c.Name == b.name+name && c.State == "running" }
			}
			if !slices.ContainsFunc(o.Others, named("alone")) || slices.ContainsFunc(o.Others, named("-a-1")) {
				b.Errorf("others: %v", o.Others)
			}
		},
	}
}
