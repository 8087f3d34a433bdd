package enginetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// hookCases are about services that run once around an update.
func hookCases() map[string]func(*bench) {
	const before = "\nx-gitops: {before: job}"
	const waits = ", command: [/bin/busybox, sleep, '1000']"
	run := func(b *bench, p render.Project) error { return b.RunHook(b.ctx(), p, plan.BeforeHook, "job") }
	// begun begins a run that goes on when the daemon ends, and gives its container.
	begun := func(b *bench, p render.Project) string {
		b.Helper()
		ctx, cancel := context.WithCancel(b.ctx())
		ended := make(chan error)
		go func() { ended <- b.RunHook(ctx, p, plan.BeforeHook, "job") }()
		for {
			for _, c := range b.running().Containers {
				if c.Hook == plan.BeforeHook && c.State == "running" {
					cancel()
					if err := <-ended; !errors.Is(err, context.Canceled) {
						b.Fatalf("the error is %v", err)
					}
					return c.ID
				}
			}
			select {
			case err := <-ended:
				b.Fatalf("it has ended: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return map[string]func(*bench){
		"a hook that succeeds leaves nothing, and touches nothing": func(b *bench) {
			was := b.up(b.stack("services: {a: {SLEEP}}"))
			p := b.stack("services: {a: {SLEEP, environment: {A: 1}}, job: {RUN, command: [/bin/busybox, 'true'], profiles: [x]}}" + before)
			b.ok(run(b, p))
			if got := b.differ(was, b.running()); got != "" || b.states() != "a running" {
				b.Errorf("another: %s; there is %s", got, b.states())
			}
		},
		"a hook that fails says so, and its last words are the detail": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, job: {RUN, command: [/bin/busybox, sh, -c, 'echo no such column; exit 3']}}" + before)
			b.said(run(b, p), "the before hook job ended with 3", "no such column")
			if b.states() != "" {
				b.Errorf("there is %s", b.states())
			}
		},
		"a hook whose program is not there can't be run": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, job: {RUN, command: [/no/such/program]}}" + before)
			b.fails(run(b, p), "the before hook job can't be run", "no such file")
			if b.states() != "" {
				b.Errorf("there is %s", b.states())
			}
		},
		"a hook that lasts too long is stopped": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, job: {RUN" + waits + "}}" + before)
			ctx, cancel := context.WithTimeoutCause(b.ctx(), 5*time.Second, errors.New("time is over"))
			defer cancel()
			b.fails(b.RunHook(ctx, p, plan.BeforeHook, "job"), "the before hook job has not ended, and was stopped", "time is over")
			if b.states() != "" {
				b.Errorf("there is %s", b.states())
			}
		},
		"a hook goes on when the daemon ends, and is not run twice": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, job: {RUN" + waits + "}}" + before)
			id := begun(b, p)
			ended := make(chan error)
			go func() { ended <- run(b, p) }()
			select {
			case err := <-ended:
				b.Fatalf("it has ended: %v", err)
			case <-time.After(time.Second): // by then it has looked
			}
			if b.states() != "job running" || b.id(b.running(), "job") != id {
				b.Errorf("there is %s", b.states())
			}
			b.Kill(b, id)
			b.fails(<-ended, "the before hook job ended with 137")
		},
		"what became of a hook meanwhile is its result": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, job: {RUN" + waits + "}}" + before)
			b.Kill(b, begun(b, p))
			if ds := b.differences(p); len(ds) == 0 || !strings.Contains(ds[len(ds)-1].Text, "is left of a hook") && !strings.Contains(ds[0].Text, "is left of a hook") {
				b.Errorf("nothing is seen of it: %v", ds)
			}
			b.fails(run(b, p), "the before hook job ended with 137")
			if b.states() != "" {
				b.Errorf("there is %s", b.states())
			}
		},
		"a hook of another version is waited for": func(b *bench) {
			id := begun(b, b.stack("services: {a: {SLEEP}, job: {RUN"+waits+"}}"+before))
			p := b.stack("services: {a: {SLEEP}, job: {RUN, command: [/bin/busybox, 'true']}}" + before)
			ended := make(chan error)
			go func() { ended <- run(b, p) }()
			select {
			case err := <-ended:
				b.Fatalf("it has ended: %v", err)
			case <-time.After(time.Second):
			}
			b.Kill(b, id)
			b.ok(<-ended)
			if b.states() != "" {
				b.Errorf("there is %s", b.states())
			}
		},
		"what is left of a hook is removed by an Up": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, job: {RUN" + waits + "}}" + before)
			b.Kill(b, begun(b, p))
			b.up(p)
			if b.states() != "a running" {
				b.Errorf("there is %s", b.states())
			}
		},
		"a hook that runs stays what it is in an Up, and goes with its stack": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, job: {RUN" + waits + "}}" + before)
			id := begun(b, p)
			r := b.up(p)
			if b.states() != "a running, job running" || b.id(r, "job") != id {
				b.Errorf("there is %s", b.states())
			}
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name}))
			if b.states() != "" {
				b.Errorf("there is %s", b.states())
			}
		},
		"what a hook depends on is made and started, and otherwise stays what it is": func(b *bench) {
			was := b.up(b.stack("services: {a: {SLEEP}, db: {SLEEP}}"))
			db := b.id(was, "db")
			b.Kill(b, db)
			p := b.stack(`services:
  a: {SLEEP, environment: {A: 1}}
  db: {SLEEP, environment: {A: 1}}
  cache: {SLEEP, healthcheck: {test: [CMD, /bin/busybox, 'true'], interval: 1s}}
  job: {RUN, command: [/bin/busybox, 'true'], depends_on: {db: {condition: service_started}, cache: {condition: service_healthy}}}
networks: {default: {labels: {x: y}}}` + before)
			b.ok(run(b, p))
			r := b.running()
			if b.states() != "a running, cache running, db running" || b.id(r, "db") != db || b.differ(was, r) != "" {
				b.Errorf("there is %s; another: %s", b.states(), b.differ(was, r))
			}
		},
		"a hook does not run if what it depends on does not come up": func(b *bench) {
			p := b.stack(`services:
  db: {RUN, command: [/bin/busybox, sh, -c, 'exit 3']}
  job: {RUN, command: [/bin/busybox, 'true'], depends_on: [db]}` + before)
			b.fails(run(b, p), "the before hook job can't be run", "db exited (3)")
		},
		"a hook does not want the ports of its service": func(b *bench) {
			port := freePort(b)
			b.up(b.stack("services: {a: {SLEEP, ports: ['" + port + ":80']}}"))
			p := b.stack("services: {a: {SLEEP, ports: ['" + port + ":80']}, job: {RUN, command: [/bin/busybox, 'true'], ports: ['" + port + ":80']}}" + before)
			b.ok(run(b, p))
		},
	}
}
