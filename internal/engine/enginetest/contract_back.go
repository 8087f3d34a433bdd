package enginetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// blames wants an error that the container of a service is to blame for; of nobody if
// that is "".
func (b *bench) blames(err error, service string) {
	b.Helper()
	if err == nil {
		b.Fatal("there was no error")
	}
	var who interface {
		Blames() (service, image string)
	}
	var got, image string
	if errors.As(err, &who) {
		got, image = who.Blames()
	}
	if got != service {
		b.Errorf("it blames %q, want %q: %v", got, service, err)
	}
	if service == "" {
		return
	}
	for _, c := range b.running().Containers {
		if c.Service == service && c.Image != image {
			b.Errorf("it blames image %q, and the container is made from %q", image, c.Image)
		}
	}
}

// backCases are about going back to an earlier version.
func backCases() map[string]func(*bench) {
	// comesUp is how an Up, and what follows, ends.
	comesUp := func(b *bench, text string, limit time.Duration) error {
		b.Helper()
		p := b.stack(text)
		ctx, cancel := context.WithTimeoutCause(b.ctx(), limit, errors.New("time is over"))
		defer cancel()
		if err := b.Up(ctx, p, b.ordered(p), nil); err != nil {
			return err
		}
		_, err := b.Settle(ctx, p)
		return err
	}
	const sick = "healthcheck: {test: [CMD, /bin/busybox, 'false'], interval: 1s, retries: 1}"
	const late = "healthcheck: {test: [CMD, /bin/busybox, 'false'], interval: 100s}"
	return map[string]func(*bench){
		"a container that ended is to blame": func(b *bench) {
			b.blames(comesUp(b, "services: {a: {SLEEP}, bad: {RUN, command: [/bin/busybox, sh, -c, 'exit 3']}}", patience), "bad")
		},
		"a container that keeps crashing is to blame": func(b *bench) {
			b.blames(comesUp(b, "services: {a: {SLEEP}, bad: {RUN, restart: always, command: [/bin/busybox, sh, -c, 'exit 3']}}", patience), "bad")
		},
		"a container that is unhealthy is to blame": func(b *bench) {
			b.blames(comesUp(b, "services: {a: {SLEEP}, bad: {SLEEP, "+sick+"}}", patience), "bad")
		},
		"a container that is not healthy in time is to blame": func(b *bench) {
			b.blames(comesUp(b, "services: {a: {SLEEP}, bad: {SLEEP, "+late+"}}", 20*time.Second), "bad")
		},
		"a container that others wait for in vain is to blame": func(b *bench) {
			b.blames(comesUp(b, "services: {a: {SLEEP, depends_on: {bad: {condition: service_healthy}}}, bad: {SLEEP, "+sick+"}}", patience), "bad")
		},
		"a container that others wait for for too long is to blame": func(b *bench) {
			b.blames(comesUp(b, "services: {a: {SLEEP, depends_on: {bad: {condition: service_healthy}}}, bad: {SLEEP, "+late+"}}", 20*time.Second), "bad")
		},
		"a container whose program is not there is to blame": func(b *bench) {
			b.blames(comesUp(b, "services: {a: {SLEEP}, bad: {RUN, command: [/no/such/program]}}", patience), "bad")
		},
		"nobody is to blame for a container that was removed": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, b: {SLEEP}}")
			b.Remove(b, b.id(b.up(p), "b"))
			b.blames(b.settled(p), "")
		},
		"nobody is to blame for a network that is not there": func(b *bench) {
			b.blames(comesUp(b, "services: {a: {SLEEP, networks: [n]}}\nnetworks: {n: {external: true, name: NAME-none}}", patience), "")
		},
		"nobody is to blame when an Up is cut short": func(b *bench) {
			p := b.stack("services: {a: {SLEEP, depends_on: {b: {condition: service_healthy}}}, b: {SLEEP, " + late + "}}")
			ctx, cancel := context.WithCancel(b.ctx())
			time.AfterFunc(3*time.Second, cancel)
			b.blames(b.Up(ctx, p, b.ordered(p), nil), "")
		},
		"an image that is kept has a name, and stays when it loses that": func(b *bench) {
			ref := "kept-" + b.name + ":1"
			b.Import(b, ref)
			good := b.images()[ref]
			kept := map[string]string{"a": good}
			b.ok(b.Keep(b.ctx(), b.name, kept))
			b.ok(b.Keep(b.ctx(), b.name, kept))
			b.Import(b, ref, "/another")
			images := b.images()
			if images[plan.KeptAs(b.name, "a")] != good || images[ref] == good {
				b.Errorf("the names are %q for the old one %s, and %s for the new one", plan.KeptAs(b.name, "a"), images[plan.KeptAs(b.name, "a")], images[ref])
			}
			// Twice, as at the second time it would be the last name.
			for range 2 {
				b.ok(b.Keep(b.ctx(), b.name, nil))
				for name := range b.images() {
					if strings.HasPrefix(name, plan.KeptRepository+":"+b.name+".") {
						b.Errorf("%s is still there", name)
					}
				}
				b.ok(b.Keep(b.ctx(), b.name, kept))
			}
			b.ok(b.Keep(b.ctx(), b.name, map[string]string{"other": good}))
			if images := b.images(); images[plan.KeptAs(b.name, "other")] != good || images[plan.KeptAs(b.name, "a")] != "" {
				b.Errorf("the images are %v", images)
			}
			b.fails(b.Keep(b.ctx(), b.name, map[string]string{"a": "sha256:" + strings.Repeat("0", 64)}), "keep")
			b.ok(b.Keep(b.ctx(), b.name, nil))
		},
		"a container is made from an image that is kept": func(b *bench) {
			ref := "kept-" + b.name + ":1"
			b.Import(b, ref)
			good := b.images()[ref]
			b.ok(b.Keep(b.ctx(), b.name, map[string]string{"a": good}))
			b.Import(b, ref, "/another")
			r := b.up(b.stack("services: {a: {image: '" + plan.KeptAs(b.name, "a") + "', stop_signal: SIGKILL, pull_policy: never, command: [/bin/busybox, sleep, '1000']}}"))
			if len(r.Containers) != 1 || r.Containers[0].Image != good {
				b.Errorf("it is %+v, want image %s", r.Containers, good)
			}
			b.Clean(b, b.name)
			b.ok(b.Keep(b.ctx(), b.name, nil))
		},
	}
}

func (b *bench) images() map[string]string {
	b.Helper()
	o, err := b.Observe(b.ctx())
	b.ok(err)
	return o.Images
}
