package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// Setup is how an engine under test is made.
type Setup struct {
	// Repository goes into labels; whatever carries it is ours.
	Repository string
	Hasher     render.Hasher
	// New makes a host whose clone is at root.
	New func(t testing.TB, root string) Host
}

// Run holds an engine against the contract.
func Run(t *testing.T, setup Setup) {
	image := Unique() + ":1"
	setup.New(t, t.TempDir()).Import(t, image)
	for name, test := range cases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			b := &bench{TB: t, Host: setup.New(t, root), setup: setup, root: root, name: Unique(), image: image}
			t.Cleanup(func() { b.Clean(t, b.name) })
			test(b)
		})
	}
}

func cases() map[string]func(*bench) {
	all := map[string]func(*bench){}
	maps.Copy(all, upCases())
	maps.Copy(all, orderCases())
	maps.Copy(all, stopCases())
	maps.Copy(all, sharedCases())
	maps.Copy(all, dataCases())
	maps.Copy(all, nameCases())
	maps.Copy(all, settleCases())
	maps.Copy(all, backCases())
	maps.Copy(all, besideCases())
	maps.Copy(all, hookCases())
	maps.Copy(all, observeCases())
	maps.Copy(all, ownCases())
	return all
}

const two = "services: {a: {SLEEP}, b: {SLEEP}}"

func upCases() map[string]func(*bench) {
	return map[string]func(*bench){
		"Up makes what is wanted, and again changes nothing": func(b *bench) {
			p := b.stack("services: {a: {SLEEP, scale: 2, networks: [x, default], volumes: ['data:/data']}, b: {SLEEP, scale: 2}}\nnetworks: {x: {}}\nvolumes: {data: {}}")
			before := b.up(p)
			if len(before.Containers) != 4 {
				b.Errorf("%d containers", len(before.Containers))
			}
			if got := b.differ(before, b.up(p)); got != "" {
				b.Errorf("recreated: %s", got)
			}
		},
		"a killed container is started": func(b *bench) {
			p := b.stack(two)
			before := b.up(p)
			b.Kill(b, b.id(before, "a"))
			if got := b.differ(before, b.broken(p)); got != "" {
				b.Errorf("recreated: %s", got)
			}
		},
		"a removed container is made again": func(b *bench) {
			p := b.stack(two)
			before := b.up(p)
			b.Remove(b, b.id(before, "a"))
			if got := b.differ(before, b.broken(p)); got != "a" {
				b.Errorf("recreated: %s", got)
			}
		},
		"a paused container goes on": func(b *bench) {
			p := b.stack(two)
			before := b.up(p)
			b.Pause(b, b.id(before, "a"))
			if got := b.differ(before, b.broken(p)); got != "" {
				b.Errorf("recreated: %s", got)
			}
		},
		"what was scaled by hand is scaled back": func(b *bench) {
			p := b.stack(two)
			before := b.up(p)
			b.Copy(b, b.id(before, "a"), b.name+"-a-2")
			after := b.broken(p)
			if len(after.Containers) != 2 {
				b.Errorf("%d containers", len(after.Containers))
			}
		},
		"a replacement that was cut off before the rename is ended": func(b *bench) {
			p := b.stack(two)
			before := b.up(p)
			b.Rename(b, b.id(before, "a"), "0123456789ab_"+b.name+"-a-1")
			after := b.broken(p)
			for _, c := range after.Containers {
				if c.Name != b.name+"-"+c.Service+"-1" {
					b.Errorf("a container is named %s", c.Name)
				}
			}
			if got := b.differ(before, after); got != "" {
				b.Errorf("recreated: %s", got)
			}
		},
		"a replacement that was cut off before the removal is ended": func(b *bench) {
			p := b.stack(two)
			before := b.up(p)
			id := b.id(before, "a")
			b.Copy(b, id, id[:12]+"_"+b.name+"-a-1")
			if got := b.differ(before, b.broken(p)); got != "" {
				b.Errorf("recreated: %s", got)
			}
		},
		"a network that was removed is made again": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, b: {SLEEP, network_mode: none}}")
			before := b.up(p)
			b.DropNetwork(b, b.name+"_default")
			if got := b.differ(before, b.broken(p)); got != "a" {
				b.Errorf("recreated: %s", got)
			}
		},
		"a network that was removed under a stopped container is made again": func(b *bench) {
			p := b.stack(two)
			before := b.up(p)
			b.Kill(b, b.id(before, "a"))
			b.DropNetwork(b, b.name+"_default")
			b.broken(p)
		},
		"a network whose definition changed is made again": func(b *bench) {
			b.up(b.stack(two))
			b.broken(b.stack(two + "\nnetworks: {default: {labels: {x: y}}}"))
		},
		"containers of a service that is no more are removed": func(b *bench) {
			before := b.up(b.stack(two))
			p := b.stack("services: {a: {SLEEP}}")
			after := b.broken(p)
			if len(after.Containers) != 1 || b.differ(before, after) != "b" {
				b.Errorf("left: %v", after.Containers)
			}
		},
		"containers of a service that is switched off stay": func(b *bench) {
			before := b.up(b.stack(two))
			if got := b.differ(before, b.up(b.stack("services: {a: {SLEEP}, b: {SLEEP, profiles: [x]}}"))); got != "" {
				b.Errorf("recreated: %s", got)
			}
		},
		"a change of one service recreates that one and no other": func(b *bench) {
			before := b.up(b.stack("services: {a: {SLEEP}, b: {SLEEP}, c: {SLEEP, depends_on: [a]}}"))
			if got := b.differ(before, b.broken(b.stack("services: {a: {SLEEP, environment: {X: y}}, b: {SLEEP}, c: {SLEEP, depends_on: [a]}}"))); got != "a" {
				b.Errorf("recreated: %s", got)
			}
		},
		"a change of content recreates the service that uses it and no other": func(b *bench) {
			const text = "services: {a: {SLEEP, volumes: ['./conf:/conf']}, b: {SLEEP}}"
			b.write("conf", "1")
			before := b.up(b.stack(text))
			b.write("conf", "2")
			if got := b.differ(before, b.broken(b.stack(text))); got != "a" {
				b.Errorf("recreated: %s", got)
			}
		},
		"another image under the tag recreates the services that use it": func(b *bench) {
			ref := Unique() + ":1"
			b.Import(b, ref)
			p := b.stack(`services: {a: {image: ` + ref + `, stop_signal: SIGKILL, command: [/bin/busybox, sleep, "1000"]}, b: {SLEEP}}`)
			before := b.up(p)
			b.Import(b, ref)
			if got := b.differ(before, b.broken(p)); got != "a" {
				b.Errorf("recreated: %s", got)
			}
		},
		"a one-shot service that is done is not run again when another changes": func(b *bench) {
			before := b.up(b.stack("services: {job: {RUN, command: [/bin/busybox, 'true']}, a: {SLEEP}, b: {SLEEP, depends_on: {job: {condition: service_completed_successfully}}}}"))
			job := b.id(before, "job")
			started := b.Started(b, job)
			p := b.stack("services: {job: {RUN, command: [/bin/busybox, 'true']}, a: {SLEEP, environment: {X: y}}, b: {SLEEP, environment: {X: y}, depends_on: {job: {condition: service_completed_successfully}}}}")
			after := b.broken(p)
			if got := b.differ(before, after); got != "a b" {
				b.Errorf("recreated: %s", got)
			}
			if again := b.Started(b, job); again != started {
				b.Errorf("the job ran again: %s, before %s", again, started)
			}
		},
		"a one-shot service that changed is run again": func(b *bench) {
			before := b.up(b.stack("services: {job: {RUN, command: [/bin/busybox, 'true']}, a: {SLEEP}}"))
			if got := b.differ(before, b.broken(b.stack("services: {job: {RUN, command: [/bin/busybox, 'true'], environment: {X: y}}, a: {SLEEP}}"))); got != "job" {
				b.Errorf("recreated: %s", got)
			}
		},
		"a changed definition of a volume is refused and nothing is lost": func(b *bench) {
			before := b.up(b.stack("services: {a: {SLEEP, volumes: ['data:/data']}}\nvolumes: {data: {}}"))
			p := b.stack("services: {a: {SLEEP, environment: {X: y}, volumes: ['data:/data']}}\nvolumes: {data: {driver_opts: {type: tmpfs, device: tmpfs}}}")
			b.fails(b.Up(b.ctx(), p, b.ordered(p), nil), "volume", b.name+"_data")
			if got := b.differ(before, b.running()); got != "" {
				b.Errorf("recreated: %s", got)
			}
			if v := b.Volumes(b, b.id(b.running(), "a"))["/data"]; v != b.name+"_data" {
				b.Errorf("the volume is %q", v)
			}
		},
		"anonymous volumes go on to the next container": func(b *bench) {
			had := b.Volumes(b, b.id(b.up(b.stack("services: {a: {SLEEP, volumes: [/data]}}")), "a"))["/data"]
			after := b.broken(b.stack("services: {a: {SLEEP, volumes: [/data], environment: {X: y}}}"))
			has := b.Volumes(b, b.id(after, "a"))["/data"]
			if had == "" || had != has {
				b.Errorf("volume %q became %q", had, has)
			}
		},
		"an external network that is missing is an error": func(b *bench) {
			p := b.stack("services: {a: {SLEEP, networks: [x]}}\nnetworks: {x: {external: true, name: NAMEx}}")
			b.fails(b.Up(b.ctx(), p, b.ordered(p), nil), b.name+"x")
			b.MakeNetwork(b, b.name+"x", nil)
			b.up(p)
		},
		"Pull of an image that is missing and never pulled names the service": func(b *bench) {
			p := b.stack("services: {app: {image: NAME, pull_policy: never}}")
			b.fails(b.Pull(b.ctx(), p), "app", b.name)
		},
		"Up after an error goes on": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, b: {image: NAME, pull_policy: never}}")
			b.fails(b.Up(b.ctx(), p, b.ordered(p), nil))
			b.up(b.stack(two))
		},
		"Up that is cancelled says so and is healed by the next": func(b *bench) {
			ctx, cancel := context.WithCancel(b.ctx())
			cancel()
			p := b.stack(two)
			if err := b.Up(ctx, p, plan.Op{}, nil); !errors.Is(err, context.Canceled) {
				b.Errorf("error %v", err)
			}
			b.up(p)
		},
	}
}

// dependent is a stack of which a service waits for the other one.
const dependent = "services: {a: {SLEEP, healthcheck: {test: [CMD, /bin/busybox, 'true'], interval: 1s}}, b: {SLEEP, depends_on: {a: {condition: service_healthy}}}}"

// someTurn is a turn that is had a number of times.
type someTurn struct {
	b       *bench
	mu      sync.Mutex
	touches int
	told    string
}

var errNoTurn = errors.New("the turn is another's")

func (t *someTurn) Rest() {
	states := t.b.states()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told += "rest with " + states + "; "
}

func (t *someTurn) Starting() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told += "starting; "
}

func (t *someTurn) Touch(_ context.Context, do func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.touches--; t.touches < 0 {
		return errNoTurn
	}
	t.told += "touch; "
	return do()
}

func orderCases() map[string]func(*bench) {
	return map[string]func(*bench){
		"a dependency is healthy before what depends on it starts": func(b *bench) {
			r := b.up(b.stack(dependent))
			for _, c := range r.Containers {
				if c.Service == "a" && c.Health != "healthy" {
					b.Errorf("a is %s", c.Health)
				}
			}
		},
		"an Up gives its turn back before a service waits for another, and has it again for each start": func(b *bench) {
			p := b.stack(dependent)
			turn := &someTurn{b: b, touches: 3}
			b.ok(b.Up(b.ctx(), p, b.ordered(p), turn))
			if want := "touch; rest with a created, b created; starting; touch; starting; touch; "; turn.told != want {
				b.Errorf("got %s want %s", turn.told, want)
			}
			if states := b.states(); states != "a running, b running" {
				b.Errorf("%s", states)
			}
		},
		"an Up that does not get its turn again starts nothing more, and says why": func(b *bench) {
			p := b.stack(dependent)
			if err := b.Up(b.ctx(), p, b.ordered(p), &someTurn{b: b, touches: 2}); !errors.Is(err, errNoTurn) {
				b.Errorf("error %v", err)
			}
			if states := b.states(); states != "a running, b created" {
				b.Errorf("%s", states)
			}
			b.up(p)
		},
		"what depends on a job that fails is not started": func(b *bench) {
			p := b.stack("services: {job: {RUN, command: [/bin/busybox, sh, -c, 'echo no luck; exit 3']}, b: {SLEEP, depends_on: {job: {condition: service_completed_successfully}}}}")
			err := b.Up(b.ctx(), p, b.ordered(p), nil)
			b.fails(err, "job")
			b.said(err, "exit 3", "job says: no luck")
			for _, c := range b.running().Containers {
				if c.Service == "b" && c.State != "created" {
					b.Errorf("b is %s", c.State)
				}
			}
		},
		"who lives in another's network follows when that is recreated": func(b *bench) {
			before := b.up(b.stack("services: {a: {SLEEP}, b: {SLEEP, network_mode: 'service:a'}, c: {SLEEP}}"))
			if got := b.differ(before, b.broken(b.stack("services: {a: {SLEEP, environment: {X: y}}, b: {SLEEP, network_mode: 'service:a'}, c: {SLEEP}}"))); got != "a b" {
				b.Errorf("recreated: %s", got)
			}
		},
		"who lives in another's network is started anew when that was": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, b: {SLEEP, network_mode: 'service:a'}}")
			before := b.up(p)
			follower := b.id(before, "b")
			started := b.Started(b, follower)
			b.Kill(b, b.id(before, "a"))
			b.broken(p)
			if b.Started(b, follower) == started {
				b.Error("b goes on in a network that is gone")
			}
		},
	}
}

func stopCases() map[string]func(*bench) {
	gone := func(b *bench) {
		b.Helper()
		if r := b.running(); len(r.Containers)+len(r.Networks) > 0 {
			b.Errorf("left over: %v %v", r.Containers, r.Networks)
		}
	}
	return map[string]func(*bench){
		"Stop removes containers and networks, keeps volumes, and works twice": func(b *bench) {
			r := b.up(b.stack("services: {a: {SLEEP, volumes: ['data:/data']}, b: {RUN, command: [/bin/busybox, 'true'], depends_on: [a]}}\nvolumes: {data: {}}"))
			b.Pause(b, b.id(r, "a"))
			for range 2 {
				b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name}))
				gone(b)
			}
			o, err := b.Observe(b.ctx())
			b.ok(err)
			if !o.Volumes[b.name+"_data"] {
				b.Error("the volume is gone")
			}
		},
		"Stop of a project that is not there is no error": func(b *bench) {
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name}))
		},
		"Stop of some services ends these and no other, and Up starts them as they were": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, b: {SLEEP, restart: always, depends_on: [a]}, c: {SLEEP}}")
			before := b.up(p)
			b.Pause(b, b.id(before, "a"))
			for range 2 {
				b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name, Services: []string{"a", "b", "none"}}))
				if got := b.states(); got != "a exited, b exited, c running" {
					b.Errorf("after the stop: %s", got)
				}
			}
			if got := b.differ(before, b.broken(p)); got != "" {
				b.Errorf("recreated: %s", got)
			}
		},
		"Stop of some services can remove containers to free names that Compose gave them": func(b *bench) {
			before := b.up(b.stack("services: {a: {SLEEP, volumes: ['data:/data']}, b: {SLEEP}}\nvolumes: {data: {}}"))
			for range 2 {
				b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name, Services: []string{"a"}, FreeNames: true}))
			}
			if got := b.states(); got != "b running" || len(b.running().Networks) != 1 {
				b.Errorf("after the stop: %s, %v", got, b.running().Networks)
			}
			if got := b.differ(before, b.running()); got != "a" {
				b.Errorf("others: %s", got)
			}
			b.Make(b, b.name+"-a-1", b.image, map[string]string{"com.docker.compose.project": b.name, "com.docker.compose.service": "other"})
			o, err := b.Observe(b.ctx())
			b.ok(err)
			if !o.Volumes[b.name+"_data"] {
				b.Error("the volume is gone")
			}
		},
		"Stop of no service, or of a project that is not there, is no error": func(b *bench) {
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name, Services: []string{"a"}, FreeNames: true}))
			b.up(b.stack("services: {a: {SLEEP}}"))
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name, Services: []string{}, FreeNames: true}))
			if got := b.states(); got != "a running" {
				b.Errorf("after the stop: %s", got)
			}
		},
		"Stop removes a network that is all that is left": func(b *bench) {
			r := b.up(b.stack("services: {a: {SLEEP}}"))
			b.Remove(b, b.id(r, "a"))
			if r := b.running(); !r.Ours || !r.Labelled {
				b.Errorf("what is left is not recognised: %v", r)
			}
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name}))
			gone(b)
		},
	}
}

func settleCases() map[string]func(*bench) {
	settle := func(b *bench, text string, limit time.Duration) error {
		b.Helper()
		p := b.stack(text)
		b.ok(b.Up(b.ctx(), p, b.ordered(p), nil))
		ctx, cancel := context.WithTimeoutCause(b.ctx(), limit, errors.New("time is over"))
		defer cancel()
		r, err := b.Settle(ctx, p)
		if err == nil && len(r.Containers) != len(b.running().Containers) {
			b.Errorf("it saw %+v", r.Containers)
		}
		return err
	}
	return map[string]func(*bench){
		"Settle tells of a container that ended": func(b *bench) {
			b.said(settle(b, "services: {a: {SLEEP}, bad: {RUN, command: [/bin/busybox, sh, -c, 'echo my last words; exit 3']}}", patience), "bad exited (3)", "bad says: my last words")
		},
		"Settle tells of a container that keeps crashing": func(b *bench) {
			b.said(settle(b, "services: {bad: {RUN, restart: always, command: [/bin/busybox, sh, -c, 'echo my last words; exit 3']}}", patience), "bad keeps crashing (exit code 3)", "bad says: my last words")
		},
		"Settle tells of a container that is unhealthy": func(b *bench) {
			b.said(settle(b, "services: {bad: {SLEEP, healthcheck: {test: [CMD, /bin/busybox, sh, -c, 'echo no luck; false'], interval: 1s, retries: 1}}}", patience), "bad is unhealthy", "the healthcheck of bad says: no luck")
		},
		"Settle tells of a container that was stopped and that the engine won't start again": func(b *bench) {
			p := b.stack("services: {a: {SLEEP, restart: always, healthcheck: {test: [CMD, /bin/busybox, 'false'], interval: 100s}}}")
			b.ok(b.Up(b.ctx(), p, b.ordered(p), nil))
			b.Kill(b, b.id(b.running(), "a"))
			b.fails(b.settled(p), "a", "137")
		},
		"Settle ends with its context and says what it waited for": func(b *bench) {
			b.fails(settle(b, "services: {slow: {SLEEP, healthcheck: {test: [CMD, /bin/busybox, 'false'], interval: 100s}}}", 2*time.Second), "slow", "healthy", "time is over")
		},
		"Settle is content with a job that is done": func(b *bench) {
			b.ok(settle(b, "services: {job: {RUN, command: [/bin/busybox, 'true']}, none: {SLEEP, scale: 0}}", patience))
		},
		"Settle is not content with nothing": func(b *bench) {
			b.fails(b.settled(b.stack("services: {a: {SLEEP}}")), "a has 0 of 1")
		},
		"Settle does not wait for a container that was removed": func(b *bench) {
			p := b.stack("services: {a: {SLEEP}, b: {SLEEP}}")
			r := b.up(p)
			b.Remove(b, b.id(r, "b"))
			b.fails(b.settled(p), "b has 0 of 1", "removed")
		},
	}
}

func observeCases() map[string]func(*bench) {
	byHand := func(b *bench, service, folder string, more map[string]string) {
		labels := map[string]string{
			"com.docker.compose.project": b.name, "com.docker.compose.service": service, "com.docker.compose.container-number": "1", "com.docker.compose.oneoff": "False",
			"com.docker.compose.config-hash":         "of another time",
			"com.docker.compose.project.working_dir": folder, "com.docker.compose.project.config_files": filepath.Join(folder, "compose.yaml"),
		}
		maps.Copy(labels, more)
		b.Make(b, b.name+"-"+service+"-1", b.image, labels)
	}
	check := func(b *bench, want plan.Running) {
		b.Helper()
		r := b.running()
		got := plan.Running{Project: r.Project, File: r.File, Ours: r.Ours, Labelled: r.Labelled, Ignored: r.Ignored, Controller: r.Controller, Origin: r.Origin}
		want.Project = b.name
		if got.Project != want.Project || got.File != want.File || got.Ours != want.Ours || got.Labelled != want.Labelled || got.Ignored != want.Ignored || got.Controller != want.Controller || got.Origin != want.Origin {
			b.Errorf("observed %+v\nwant %+v", got, want)
		}
	}
	return map[string]func(*bench){
		"what Up started is ours": func(b *bench) {
			b.up(b.stack("services: {a: {SLEEP}}"))
			check(b, plan.Running{File: b.name + "/compose.yaml", Ours: true, Labelled: true})
		},
		"the controller is known by its label": func(b *bench) {
			b.up(b.stack("services: {a: {SLEEP, labels: {gitops.controller: 'true'}}}"))
			check(b, plan.Running{File: b.name + "/compose.yaml", Ours: true, Labelled: true, Controller: true})
		},
		"what was started by hand from the clone's folder is adopted": func(b *bench) {
			p := b.stack("services: {a: {SLEEP, networks: []}}")
			byHand(b, "a", filepath.Join(b.root, b.name), nil)
			check(b, plan.Running{File: b.name + "/compose.yaml", Ours: true})
			b.broken(p)
			check(b, plan.Running{File: b.name + "/compose.yaml", Ours: true, Labelled: true})
		},
		"what was started by hand with files as they are is left as it is": func(b *bench) {
			b.write("conf", "1")
			old := time.Now().Add(-time.Hour)
			b.ok(os.Chtimes(filepath.Join(b.root, b.name, "conf"), old, old))
			const text = "services: {a: {SLEEP, network_mode: none, volumes: ['./conf:/conf']}, b: {SLEEP, network_mode: none, environment: {X: %s}}}"
			p := b.stack(fmt.Sprintf(text, "y"))
			o, err := b.Observe(b.ctx())
			b.ok(err)
			for _, s := range p.Services {
				hash := s.Bare
				if hash == "" {
					hash = s.Hash
				}
				byHand(b, s.Name, filepath.Join(b.root, b.name), map[string]string{
					"com.docker.compose.config-hash": hash, "com.docker.compose.image": o.Images[b.image],
				})
			}
			if ds := b.differences(p); len(ds) > 0 {
				b.Errorf("something to do: %v", ds)
			}
			before := b.running()
			if got := b.differ(before, b.broken(b.stack(fmt.Sprintf(text, "z")))); got != "b" {
				b.Errorf("recreated: %s", got)
			}
		},
		"what a release made whose marks were in the hash is left as it is": func(b *bench) {
			b.write("conf", "1")
			const text = "services: {a: {SLEEP, network_mode: none, volumes: ['./conf:/conf']}, b: {SLEEP, network_mode: none, environment: {X: %s}}}"
			p := b.stack(fmt.Sprintf(text, "y"))
			o, err := b.Observe(b.ctx())
			b.ok(err)
			for _, s := range p.Services {
				labels := map[string]string{
					"com.docker.compose.config-hash": s.Hash, "com.docker.compose.image": o.Images[b.image],
					render.LabelHash: s.Hash, render.LabelRepository: b.setup.Repository, render.LabelStack: p.File,
				}
				if s.Bare != "" {
					labels[render.LabelContent] = "a digest"
				}
				byHand(b, s.Name, filepath.Join(b.root, b.name), labels)
			}
			if ds := b.differences(p); len(ds) > 0 {
				b.Errorf("something to do: %v", ds)
			}
			before := b.running()
			after := b.broken(b.stack(fmt.Sprintf(text, "z")))
			if got := b.differ(before, after); got != "b" {
				b.Errorf("recreated: %s", got)
			}
			b.write("conf", "2")
			p = b.stack(fmt.Sprintf(text, "z"))
			b.up(p)
			if got := b.differ(after, b.running()); got != "a" {
				b.Errorf("recreated when the file changed: %s", got)
			}
		},
		"a project of another folder is not ours": func(b *bench) {
			byHand(b, "a", "/somewhere/else", nil)
			check(b, plan.Running{Origin: "/somewhere/else"})
		},
		"a project that is only in part ours is not ours": func(b *bench) {
			byHand(b, "a", "/somewhere/else", nil)
			byHand(b, "b", filepath.Join(b.root, b.name), nil)
			check(b, plan.Running{File: b.name + "/compose.yaml", Origin: "/somewhere/else"})
		},
		"how long a container has to end is told, also when it is to have less": func(b *bench) {
			b.up(b.stack("services: {a: {SLEEP, stop_grace_period: 90s}, b: {SLEEP}}"))
			b.stack("services: {a: {SLEEP, stop_grace_period: 2s}, b: {SLEEP}}")
			for _, c := range b.running().Containers {
				if want := map[string]time.Duration{"a": 90 * time.Second, "b": 10 * time.Second}[c.Service]; c.Grace != want {
					b.Errorf("%s has %s to end, want %s", c.Service, c.Grace, want)
				}
			}
		},
		"what a container mounts and publishes is told": func(b *bench) {
			b.write("conf", "1")
			port := freePort(b)
			text := "services: {a: {SLEEP, ports: ['127.0.0.1:" + port + ":80'], tmpfs: [/memory], volumes: ['data:/data', './conf:/conf', '/etc:/host', /own]}}\nvolumes: {data: {}}"
			c := b.up(b.stack(text)).Containers[0]
			own := ""
			for _, m := range c.Mounts {
				if m.Target == "/own" {
					own = m.Source
				}
			}
			want := fmt.Sprintf("[{/conf clone %[1]s/conf} {/data volume %[1]s_data} {/host host /etc} {/own anonymous %[2]s}] [{127.0.0.1 tcp %[3]s %[3]s}]", b.name, own, port)
			if got := fmt.Sprint(c.Mounts, c.Ports); got != want || len(own) != 64 {
				b.Errorf("got  %s\nwant %s", got, want)
			}
		},
		"ignored is known by its label": func(b *bench) {
			byHand(b, "a", filepath.Join(b.root, b.name), map[string]string{"gitops.ignore": "true"})
			check(b, plan.Running{File: b.name + "/compose.yaml", Ours: true, Ignored: true})
		},
	}
}
