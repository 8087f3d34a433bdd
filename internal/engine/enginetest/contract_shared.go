package enginetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// sharedCases are about networks that others are on, and about volumes that
// have no name.
func sharedCases() map[string]func(*bench) {
	const redefined = two + "\nnetworks: {default: {labels: {x: y}}}"
	// guest is another project with a container on the first one's network.
	guest := func(b *bench, more string) (*bench, string) {
		other := b.second()
		return other, fmt.Sprintf("services: {c: {SLEEP, networks: [x]%s}}\nnetworks: {x: {external: true, name: %s_default}}", more, b.name)
	}
	untouched := func(b *bench, before plan.Running, starts string) {
		b.Helper()
		if got := b.differ(before, b.running()); got != "" || b.states() != "a running, b running" || b.Started(b, b.id(before, "a")) != starts {
			b.Errorf("after an Up that was refused: %s, recreated: %q", b.states(), got)
		}
	}
	return map[string]func(*bench){
		"a network that others are on is replaced when they have stopped, and they come back on the new one": func(b *bench) {
			before := b.up(b.stack(two))
			starts := b.Started(b, b.id(before, "a"))
			other, text := guest(b, ", volumes: [/data, 'named:/named']")
			other.image = Unique() + ":1"
			b.Import(b, other.image, "/declared")
			q := other.stack(text + "\nvolumes: {named: {}}")
			had := b.Volumes(b, other.id(other.up(q), "c"))

			p := b.stack(redefined)
			b.fails(b.Up(b.ctx(), p, b.ordered(p), nil), b.name+"_default", other.name+"-c-1")
			untouched(b, before, starts)

			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: other.name, Services: []string{"c"}}))
			if got := b.differ(before, b.broken(p)); got != "a b" {
				b.Errorf("recreated: %s", got)
			}
			b.ok(b.Up(b.ctx(), q, plan.Op{Orders: plan.Orders{Recreate: []string{"c"}}}, nil))
			if ds := other.differences(q); len(ds) > 0 {
				b.Errorf("still something to do: %v", ds)
			}
			has := b.Volumes(b, other.id(other.running(), "c"))
			for _, target := range []string{"/declared", "/data", "/named"} {
				if had[target] == "" || had[target] != has[target] {
					b.Errorf("%s: volume %q became %q", target, had[target], has[target])
				}
			}
		},
		"Up makes the external networks that it is told to make, and only if they are not there": func(b *bench) {
			name := b.name + "-edge"
			p := b.stack("services: {a: {SLEEP, networks: [edge]}}\nnetworks: {edge: {external: true, name: " + name + "}}")
			b.fails(b.Up(b.ctx(), p, b.ordered(p), nil), name)
			op := b.ordered(p)
			op.Orders.Make = []string{name}
			b.ok(b.Up(b.ctx(), p, op, nil))
			o, err := b.Observe(b.ctx())
			b.ok(err)
			id := o.Networks[name]
			if r := b.running(); id == "" || len(r.Networks) > 0 || r.Containers[0].Networks[name] != id {
				b.Errorf("network %q; of the project: %v; the container's: %v", id, r.Networks, r.Containers[0].Networks)
			}
			b.ok(b.Up(b.ctx(), p, op, nil))
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name}))
			o, err = b.Observe(b.ctx())
			b.ok(err)
			if o.Networks[name] != id {
				b.Errorf("the network was %q and is %q", id, o.Networks[name])
			}
			b.DropNetwork(b, name)
		},
		"an external network that was made anew by hand is joined again": func(b *bench) {
			name := b.name + "-edge"
			p := b.stack("services: {a: {SLEEP, networks: [edge]}, b: {SLEEP}}\nnetworks: {edge: {external: true, name: " + name + "}}")
			b.MakeNetwork(b, name, nil)
			before := b.up(p)
			b.DropNetwork(b, name)
			b.MakeNetwork(b, name, nil)
			ds := b.differences(p)
			if len(ds) != 1 || !strings.HasSuffix(ds[0].Text, "is not on network "+name) || ds[0].Crashed {
				b.Errorf("seen is %v", ds)
			}
			if got := b.differ(before, b.broken(p)); got != "a" {
				b.Errorf("recreated: %s", got)
			}
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name}))
			b.DropNetwork(b, name)
		},
		"Stop runs pre_stop hooks, and ends when one fails": func(b *bench) {
			text := "services: {a: {SLEEP, pre_stop: [{command: [/bin/busybox, 'HOOK']}]}, b: {SLEEP, depends_on: [a]}, c: {SLEEP, profiles: [x]}}"
			p := b.stack(strings.Replace(text, "HOOK", "false", 1))
			b.up(p)
			b.fails(b.Stop(b.ctx(), p, plan.Op{Stack: b.name}), "a", "hook", "1")
			if got := b.states(); !strings.HasPrefix(got, "a running") { // what depends on it may be gone
				b.Errorf("after a hook that failed: %s", got)
			}
			p = b.stack(strings.Replace(text, "HOOK", "true", 1))
			b.ok(b.Stop(b.ctx(), p, plan.Op{Stack: b.name}))
			if r := b.running(); len(r.Containers)+len(r.Networks) > 0 {
				b.Errorf("left over: %v %v", r.Containers, r.Networks)
			}
			b.ok(b.Stop(b.ctx(), p, plan.Op{Stack: b.name}))
		},
		"pre_stop hooks do not run when a container is recreated, nor when its service goes": func(b *bench) {
			const text = "services: {a: {SLEEP, environment: {X: %s}, pre_stop: [{command: [/bin/busybox, \"false\"]}]}, b: {SLEEP}}" // one that ran would fail
			before := b.up(b.stack(fmt.Sprintf(text, "x")))
			after := b.broken(b.stack(fmt.Sprintf(text, "y")))
			if got := b.differ(before, after); got != "a" {
				b.Errorf("recreated: %s", got)
			}
			b.broken(b.stack("services: {b: {SLEEP}}"))
			if got := b.states(); got != "b running" {
				b.Errorf("left: %s", got)
			}
		},
		"Stop removes containers of services that are switched off, hooks or not": func(b *bench) {
			b.up(b.stack("services: {a: {SLEEP}, c: {SLEEP}}"))
			p := b.stack("services: {a: {SLEEP, pre_stop: [{command: [/bin/busybox, \"true\"]}]}, c: {SLEEP, profiles: [x]}}")
			b.ok(b.Stop(b.ctx(), p, plan.Op{Stack: b.name}))
			if r := b.running(); len(r.Containers) > 0 {
				b.Errorf("left over: %v", r.Containers)
			}
		},
		"Stop leaves a network that others are on, told to or not, and removes it when it is free": func(b *bench) {
			b.up(b.stack(two))
			other, text := guest(b, "")
			other.up(other.stack(text))
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name}))
			if r := b.running(); len(r.Containers) > 0 || len(r.Networks) != 1 {
				b.Errorf("left: %v, %v", r.Containers, r.Networks)
			}
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name, Leave: []string{b.name + "_default"}}))
			if r := b.running(); len(r.Containers) > 0 || len(r.Networks) != 1 {
				b.Errorf("left over: %v %v", r.Containers, r.Networks)
			}
			if got := other.states(); got != "c running" {
				b.Errorf("the other: %s", got)
			}
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: other.name}))
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name}))
			if r := b.running(); len(r.Networks) > 0 {
				b.Errorf("left over when it was free: %v", r.Networks)
			}
		},
		"a network goes to another stack that is on it, with another definition": func(b *bench) {
			b.up(b.stack(two))
			other, text := guest(b, "")
			other.up(other.stack(text))
			q := other.stack(fmt.Sprintf("services: {c: {SLEEP, networks: [x]}}\nnetworks: {x: {name: %s_default, labels: {x: y}}}", b.name))
			op := other.ordered(q)
			b.fails(b.Up(b.ctx(), q, op, nil), b.name+"_default", "belongs to")
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name}))
			op.Orders.Networks, op.Orders.Recreate = []string{b.name + "_default"}, []string{"c"}
			b.ok(b.Up(b.ctx(), q, op, nil))
			if ds := other.differences(q); len(ds) > 0 || other.states() != "c running" {
				b.Errorf("%s, still something to do: %v", other.states(), ds)
			}
			if r := b.running(); len(r.Networks) > 0 {
				b.Errorf("the one that had it has %v", r.Networks)
			}
		},
		"a container of no project is seen on the network that it is on": func(b *bench) {
			b.up(b.stack(two))
			b.Guest(b, b.name+"-guest", b.image, b.name+"_default")
			o, err := b.Observe(b.ctx())
			b.ok(err)
			if got := o.Strangers[b.name+"_default"]; !slices.Equal(got, []string{b.name + "-guest"}) {
				b.Errorf("strangers on the network: %v", got)
			}
		},
		"a network is not replaced while the daemon itself is on it": func(b *bench) {
			before := b.up(b.stack(two))
			starts := b.Started(b, b.id(before, "a"))
			d := b.Within(b.id(before, "b"))
			p := b.stack(redefined)
			op, err := Ordered(b.ctx(), d, p)
			b.ok(err)
			b.fails(d.Up(b.ctx(), p, op, nil), b.name+"_default", b.name+"-b-1")
			untouched(b, before, starts)
		},
		"a network is not replaced if that was not ordered": func(b *bench) {
			before := b.up(b.stack(two))
			starts := b.Started(b, b.id(before, "a"))
			b.fails(b.Up(b.ctx(), b.stack(redefined), plan.Op{}, nil), b.name+"_default")
			untouched(b, before, starts)
		},
		"a network of another project is not replaced": func(b *bench) {
			before := b.up(b.stack(two))
			starts := b.Started(b, b.id(before, "a"))
			other := b.second()
			q := other.stack("services: {c: {SLEEP}}\nnetworks: {default: {name: " + b.name + "_default, labels: {x: y}}}")
			b.fails(b.Up(b.ctx(), q, other.ordered(q), nil), b.name+"_default", b.name)
			untouched(b, before, starts)
		},
		"a network that the stack does not have any more is removed": func(b *bench) {
			b.up(b.stack("services: {a: {SLEEP, networks: [old]}}\nnetworks: {old: {}}"))
			after := b.broken(b.stack("services: {a: {SLEEP, networks: [new]}}\nnetworks: {new: {}}"))
			if got := fmt.Sprint(networkNames(after)); got != "["+b.name+"_new]" {
				b.Errorf("networks %s", got)
			}
		},
		"a network that the stack does not have any more stays while a container is attached, running or not": func(b *bench) {
			b.up(b.stack(two))
			other, text := guest(b, "")
			q := other.stack(text)
			c := other.id(other.up(q), "c")
			next := two + "\nnetworks: {default: {name: NAME_new}}"
			after := b.broken(b.stack(next))
			if got := fmt.Sprint(networkNames(after)); got != fmt.Sprintf("[%[1]s_default %[1]s_new]", b.name) {
				b.Errorf("networks %s", got)
			}
			b.Kill(b, c)
			b.ok(b.Up(b.ctx(), b.stack(next), plan.Op{Orders: plan.Orders{Spare: []string{b.name + "_default"}}}, nil))
			b.ok(b.Up(b.ctx(), q, plan.Op{}, nil))
			if got := other.states(); got != "c running" {
				b.Errorf("the guest: %s", got)
			}
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: other.name}))
			b.ok(b.Up(b.ctx(), b.stack(next), plan.Op{Orders: plan.Orders{Spare: []string{b.name + "_default"}}}, nil))
			if got := fmt.Sprint(networkNames(b.running())); got != "["+b.name+"_new]" {
				b.Errorf("networks %s", got)
			}
		},
		"a volume that the image declares goes on to the next container": func(b *bench) {
			b.image = Unique() + ":1"
			b.Import(b, b.image, "/declared")
			const text = "services: {a: {SLEEP, environment: {X: %d}}}"
			had := b.Volumes(b, b.id(b.up(b.stack(fmt.Sprintf(text, 1))), "a"))["/declared"]
			after := b.broken(b.stack(fmt.Sprintf(text, 2)))
			if has := b.Volumes(b, b.id(after, "a"))["/declared"]; had == "" || had != has {
				b.Errorf("volume %q became %q", had, has)
			}
		},
	}
}

func networkNames(r plan.Running) []string {
	var out []string
	for _, n := range r.Networks {
		out = append(out, n.Name)
	}
	slices.Sort(out)
	return out
}
