package enginetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// besideCases are about services whose new containers start before the old ones stop.
func besideCases() map[string]func(*bench) {
	const first = "deploy: {update_config: {order: start-first}}"
	names := func(r plan.Running, service string) (names []string) {
		for _, c := range containersOf(r, service) {
			names = append(names, c.Name+" "+c.State)
		}
		slices.Sort(names)
		return names
	}
	all := map[string]func(*bench){
		"a new container takes the place of an old one": func(b *bench) {
			before := b.up(b.stack("services: {a: {SLEEP, " + first + "}, b: {SLEEP}}"))
			after := b.up(b.stack("services: {a: {SLEEP, " + first + ", environment: {A: 1}}, b: {SLEEP}}"))
			if got := names(after, "a"); len(got) != 1 || got[0] != b.name+"-a-2 running" {
				b.Errorf("of a there are %v", got)
			}
			if b.id(before, "b") != b.id(after, "b") || b.id(before, "a") == b.id(after, "a") {
				b.Errorf("was %v, is %v", before.Containers, after.Containers)
			}
			// And once more, from there.
			last := b.up(b.stack("services: {a: {SLEEP, " + first + ", environment: {A: 2}}, b: {SLEEP}}"))
			if got := names(last, "a"); len(got) != 1 || b.id(before, "b") != b.id(last, "b") {
				b.Errorf("of a there are %v", got)
			}
		},
		"where several are replaced there are as many": func(b *bench) {
			b.up(b.stack("services: {a: {SLEEP, scale: 3}}"))
			r := b.up(b.stack("services: {a: {SLEEP, scale: 3, environment: {A: 1}, deploy: {update_config: {order: start-first, parallelism: 2}}}}"))
			if got := names(r, "a"); len(got) != 3 {
				b.Errorf("there are %v", got)
			}
			r = b.up(b.stack("services: {a: {SLEEP, scale: 2, environment: {A: 2}, deploy: {update_config: {order: start-first, parallelism: 0}}}}"))
			if got := names(r, "a"); len(got) != 2 {
				b.Errorf("there are %v", got)
			}
		},
		"what is as it is wanted is scaled and started as always": func(b *bench) {
			up := func(scale int) plan.Running {
				p := b.stack(fmt.Sprint("services: {a: {SLEEP, ", first, ", scale: ", scale, "}}"))
				op := b.ordered(p)
				op.Orders.Beside = []string{"a"} // as the plan has it before a pull has told
				b.ok(b.Up(b.ctx(), p, op, nil))
				b.ok(b.settled(p))
				return b.running()
			}
			b.up(b.stack("services: {a: {SLEEP, " + first + "}}"))
			r := up(1)
			b.Kill(b, b.id(r, "a"))
			if got := names(up(1), "a"); len(got) != 1 || got[0] != b.name+"-a-1 running" {
				b.Errorf("there are %v", got)
			}
			b.Copy(b, b.id(r, "a"), b.name+"-a-2")
			if got := names(up(1), "a"); len(got) != 1 || got[0] != b.name+"-a-1 running" {
				b.Errorf("there are %v", got)
			}
		},
		"what a kill has left is used, or goes": func(b *bench) {
			r := b.up(b.stack("services: {a: {SLEEP, " + first + "}}"))
			b.Copy(b, b.id(r, "a"), b.name+"-a-2")
			r = b.up(b.stack("services: {a: {SLEEP, " + first + ", environment: {A: 1}}}"))
			if got := names(r, "a"); len(got) != 1 {
				b.Errorf("there are %v", got)
			}
		},
		"a service with volumes of its image is stopped first": func(b *bench) {
			ref := "beside-" + b.name + ":1"
			b.Import(b, ref, "/data")
			run := strings.Replace("services: {a: {image: 'REF', stop_signal: SIGKILL, command: [/bin/busybox, sleep, '1000'], "+first+", environment: {A: N}}}", "REF", ref, 1)
			b.up(b.stack(strings.Replace(run, "N}", "1}", 1)))
			r := b.up(b.stack(strings.Replace(run, "N}", "2}", 1)))
			if got := names(r, "a"); len(got) != 1 || got[0] != b.name+"-a-1 running" {
				b.Errorf("there are %v", got)
			}
			b.Clean(b, b.name)
		},
	}
	for what, bad := range map[string]string{
		"that ends":                       "RUN, command: [/bin/busybox, sh, -c, 'exit 3'], " + first,
		"that is done":                    "RUN, command: [/bin/busybox, 'true'], " + first,
		"that is unhealthy":               "SLEEP, healthcheck: {test: [CMD, /bin/busybox, 'false'], interval: 1s, retries: 1}, " + first,
		"that is not healthy in time":     "SLEEP, healthcheck: {test: [CMD, /bin/busybox, 'false'], interval: 100s}, " + first,
		"whose program is not there":      "RUN, command: [/no/such/program], " + first,
		"that is one of several and ends": "RUN, scale: 2, command: [/bin/busybox, sh, -c, 'exit 3'], " + first,
	} {
		all["the old one goes on beside a new one "+what] = func(b *bench) {
			before := b.up(b.stack("services: {a: {SLEEP, " + first + "}}"))
			id := b.id(before, "a")
			started := b.Started(b, id)
			p := b.stack("services: {a: {" + bad + "}}")
			ctx, cancel := context.WithTimeoutCause(b.ctx(), 20*time.Second, fmt.Errorf("time is over"))
			defer cancel()
			b.blames(b.Up(ctx, p, b.ordered(p), nil), "a")
			r := b.running()
			if got := names(r, "a"); len(got) != 1 || b.id(r, "a") != id || b.Started(b, id) != started {
				b.Errorf("there are %v", got)
			}
		}
	}
	return all
}

func containersOf(r plan.Running, service string) []plan.Container {
	return slices.DeleteFunc(slices.Clone(r.Containers), func(c plan.Container) bool { return c.Service != service || c.OneOff })
}
