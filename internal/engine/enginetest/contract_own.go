package enginetest

import (
	"slices"
	"strings"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// ownCases are about what a hand-over does, and what nobody else does to the
// container that the daemon runs in.
func ownCases() map[string]func(*bench) {
	return map[string]func(*bench){
		"Live tells of a container by id and by name, and of none": func(b *bench) {
			r := b.up(b.stack("services: {a: {SLEEP, restart: 'on-failure:3'}}"))
			d := b.Within("")
			for _, by := range []string{r.Containers[0].ID, r.Containers[0].Name} {
				l, there, err := d.Live(b.ctx(), by)
				b.ok(err)
				want := engine.Live{
					ID: r.Containers[0].ID, Name: b.name + "-a-1", Image: r.Containers[0].Image, Reference: b.image,
					State: "running", Policy: engine.Restart{Name: "on-failure", Max: 3},
				}
				if !there || l != want {
					b.Errorf("%+v, %v; want %+v", l, there, want)
				}
			}
			if _, there, err := d.Live(b.ctx(), b.name+"-b-1"); there || err != nil {
				b.Errorf("a container that is not there: %v, %v", there, err)
			}
		},
		"a successor takes the place of a container": replaceCase,
		"a successor is not made beside one that runs": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}}")
			old := b.id(b.up(p), "a")
			b.Copy(b, old, b.name+"-a-2")
			_, err := b.Within(old).CreateSuccessor(b.ctx(), p, "a", old)
			b.fails(err, "a", "another container")
		},
		"Up leaves the container alone that the daemon runs in": func(b *bench) {
			before := b.up(b.stack("services: {a: {SLEEP}, b: {SLEEP}, c: {SLEEP, network_mode: 'service:a'}}"))
			d := b.Within(b.id(before, "a"))
			p := b.stack("services: {a: {SLEEP, environment: {X: y}}, b: {SLEEP, environment: {X: y}}, c: {SLEEP, network_mode: 'service:a', environment: {X: y}}}")
			up := func(p render.Project) {
				b.Helper()
				op, err := Ordered(b.ctx(), d, p)
				b.ok(err)
				b.ok(d.Up(b.ctx(), p, op, nil))
			}
			up(p)
			if got := b.differ(before, b.running()); got != "b c" {
				b.Errorf("%s have another container", got)
			}
			up(b.stack("services: {b: {SLEEP}}"))
			if got := ids(b.running(), "a"); !slices.Equal(got, ids(before, "a")) {
				b.Errorf("without its service in the stack, the daemon's containers are %v", got)
			}
			b.fails(d.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name}), b.name, "daemon")
			b.fails(d.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name, Services: []string{"a", "b"}}), b.name, "daemon")
			if got := b.states(); got != "a running, b running" {
				b.Errorf("after stops that are refused: %s", got)
			}
			b.ok(d.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name, Services: []string{"b"}}))
		},
		"Up touches no service that it is not asked for": func(b *bench) {
			before := b.up(b.stack("services: {a: {SLEEP}, b: {SLEEP}}"))
			p := b.stack("services: {a: {SLEEP, environment: {X: y}}, b: {SLEEP, environment: {X: y}}}")
			b.ok(b.Up(b.ctx(), p, plan.Op{Services: []string{"b"}}, nil))
			if got := b.differ(before, b.running()); got != "b" {
				b.Errorf("%s have another container", got)
			}
		},
		"a helper is started, found by its owner, replaced and removed": func(b *bench) {
			like := b.id(b.up(b.stack("services: {a: {SLEEP}}")), "a")
			d := b.Within(like)
			image, entrypoint, err := d.Successor(b.ctx(), b.stack("services: {a: {SLEEP, entrypoint: [/bin/busybox]}}"), "a")
			b.ok(err)
			if !slices.Equal(entrypoint, []string{"/bin/busybox"}) {
				b.Errorf("entrypoint %v", entrypoint)
			}
			h := engine.Helper{Name: b.name + "-helper", Owner: b.name, Like: like, Image: image, Entrypoint: entrypoint, Args: []string{"sleep", "1000"}}
			first, err := d.StartHelper(b.ctx(), h)
			b.ok(err)
			second, err := d.StartHelper(b.ctx(), h)
			b.ok(err)
			b.Cleanup(func() { _ = d.Remove(b.ctx(), second) })
			if found, err := d.Helpers(b.ctx(), b.name); err != nil || first == second || !slices.Equal(found, []string{second}) {
				b.Errorf("helpers %v, %v; want the second of %s and %s", found, err, first, second)
			}
			l, there, err := d.Live(b.ctx(), second)
			if err != nil || !there || l.State != "running" || l.Policy.Name != "always" || l.Name != h.Name || l.Image != image {
				b.Errorf("%+v, %v, %v", l, there, err)
			}
			if r := b.running(); len(r.Containers) != 1 {
				b.Errorf("the helper counts as one of the project's: %v", r.Containers)
			}
			b.ok(d.Remove(b.ctx(), second))
			if found, err := d.Helpers(b.ctx(), b.name); err != nil || len(found) > 0 {
				b.Errorf("helpers %v, %v", found, err)
			}
		},
		"a service that the stack does not have has no successor": func(b *bench) {
			_, _, err := b.Within("").Successor(b.ctx(), b.stack("services: {a: {SLEEP}}"), "b")
			b.fails(err, "no service b")
		},
		"LastLines gives the end of a log": func(b *bench) {
			p := b.stack("services: {bad: {RUN, command: [/bin/busybox, sh, -c, 'echo my last words; exit 3']}}")
			b.ok(b.Up(b.ctx(), p, plan.Op{}, nil))
			b.fails(b.settled(p), "bad")
			if got := b.Within("").LastLines(b.ctx(), b.id(b.running(), "bad")); !strings.Contains(got, "my last words") {
				b.Errorf("%q", got)
			}
		},
	}
}

// replaceCase goes the way of a hand-over, and does every step twice.
func replaceCase(b *bench) {
	before := b.up(b.stack("services: {a: {SLEEP, restart: always}}"))
	old, name := b.id(before, "a"), before.Containers[0].Name
	p := b.stack("services: {a: {SLEEP, restart: always, environment: {X: y}}}")
	d := b.Within(old)
	twice := func(do func() error) {
		b.Helper()
		b.ok(do())
		b.ok(do())
	}
	twice(func() error { return d.Rename(b.ctx(), old, engine.Aside(name, old)) })
	if r := b.running(); len(r.Containers) > 0 {
		b.Errorf("others see the container that is aside: %v", r.Containers)
	}
	o, err := d.Observe(b.ctx())
	b.ok(err)
	if r := find(o, b.name); len(r.Containers) != 1 || !r.Containers[0].Self || !r.Controller {
		b.Errorf("the daemon does not see itself: %+v", r)
	}
	first, err := d.CreateSuccessor(b.ctx(), p, "a", old)
	b.ok(err)
	next, err := d.CreateSuccessor(b.ctx(), p, "a", old)
	b.ok(err)
	if _, there, err := d.Live(b.ctx(), first); there || err != nil {
		b.Errorf("what the first call made is left: %v, %v", there, err)
	}
	live := func(id, wantName, wantState, wantPolicy string) {
		b.Helper()
		l, there, err := d.Live(b.ctx(), id)
		if err != nil || !there || l.Name != wantName || l.State != wantState || l.Policy.Name != wantPolicy {
			b.Errorf("%+v, %v, %v; want %s %s %s", l, there, err, wantName, wantState, wantPolicy)
		}
	}
	live(next, name, "created", "always")
	live(old, engine.Aside(name, old), "running", "always")
	twice(func() error { return d.SetRestart(b.ctx(), old, engine.Restart{Name: "no"}) })
	live(old, engine.Aside(name, old), "running", "no")
	twice(func() error { return d.End(b.ctx(), old) })
	live(old, engine.Aside(name, old), "exited", "no")
	if aside, err := d.Asides(b.ctx(), b.name); err != nil || len(aside) > 0 {
		b.Errorf("the daemon itself is to be cleared away: %v, %v", aside, err)
	}
	d = b.Within(next)
	twice(func() error { return d.Start(b.ctx(), next) })
	live(next, name, "running", "always")
	if aside, err := d.Asides(b.ctx(), b.name); err != nil || !slices.Equal(aside, []string{old}) {
		b.Errorf("aside are %v, %v; want %s", aside, err, old)
	}
	if ds := b.differences(p); len(ds) > 0 {
		b.Errorf("the successor differs: %v", ds)
	}
	twice(func() error { return d.Remove(b.ctx(), old) })
	if r := b.running(); len(r.Containers) != 1 || r.Containers[0].ID != next {
		b.Errorf("%v is left", r.Containers)
	}
}
