package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// told is an engine that has lists and tells events, as it is made to.
type told struct {
	client.APIClient
	mu         sync.Mutex
	containers map[string]container.Summary
	networks   map[string]network.Summary
	volumes    map[string]*volume.Volume
	images     map[string]string
	calls      []string // but for those of images
	// streams are the open streams of events. Lists fail with err.
	streams map[chan events.Message]chan error
	err     error
	pings   int
}

func newTold() *told {
	return &told{
		containers: map[string]container.Summary{}, networks: map[string]network.Summary{}, volumes: map[string]*volume.Volume{},
		images: map[string]string{"base:1": "sha256:1"}, streams: map[chan events.Message]chan error{},
	}
}

// since gives the calls since it was asked last.
func (f *told) since() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.calls)
	calls := strings.Join(f.calls, " ")
	f.calls = nil
	return calls
}

func (f *told) ContainerList(_ context.Context, o container.ListOptions) ([]container.Summary, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := o.Filters.Get("id")
	var out []container.Summary
	for _, c := range f.containers {
		if len(ids) == 0 || slices.Contains(ids, c.ID) {
			out = append(out, c)
		}
	}
	f.calls = append(f.calls, fmt.Sprintf("containers(%d)", len(ids)))
	return out, f.err
}

func (f *told) ImageList(context.Context, image.ListOptions) ([]image.Summary, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []image.Summary
	for name, id := range f.images {
		out = append(out, image.Summary{ID: id, RepoTags: []string{name}})
	}
	return out, f.err
}

func (f *told) NetworkList(context.Context, network.ListOptions) ([]network.Summary, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []network.Summary
	for _, n := range f.networks {
		out = append(out, n)
	}
	f.calls = append(f.calls, "networks")
	return out, f.err
}

func (f *told) VolumeList(context.Context, volume.ListOptions) (volume.ListResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*volume.Volume
	for _, v := range f.volumes {
		out = append(out, v)
	}
	f.calls = append(f.calls, "volumes")
	return volume.ListResponse{Volumes: out}, f.err
}

func (f *told) Ping(context.Context) (types.Ping, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pings++
	return types.Ping{}, f.err
}

func (*told) DaemonHost() string { return "unix:///run/engine.sock" }

func (f *told) ContainerCreate(context.Context, *container.Config, *container.HostConfig, *network.NetworkingConfig, *ocispec.Platform, string) (container.CreateResponse, error) {
	return container.CreateResponse{ID: idOf(7)}, nil
}

func (f *told) ContainerStart(context.Context, string, container.StartOptions) error { return nil }

func (f *told) Events(ctx context.Context, _ events.ListOptions) (<-chan events.Message, <-chan error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	messages, errs := make(chan events.Message), make(chan error, 1)
	f.streams[messages] = errs
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.streams, messages)
	})
	return messages, errs
}

// tell lets everybody who listens hear events.
func (f *told) tell(ms ...events.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range ms {
		for messages := range f.streams {
			messages <- m
		}
	}
}

// breakOff ends all streams.
func (f *told) breakOff() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, errs := range f.streams {
		errs <- errors.New("broken off")
	}
	clear(f.streams)
}

func idOf(n int) string { return fmt.Sprintf("%064x", n+1) }

func event(t events.Type, a events.Action, id string) events.Message {
	return events.Message{Type: t, Action: a, Actor: events.Actor{ID: id, Attributes: map[string]string{}}}
}

// shown is how an engine lists an image: by its name, while that stands for it.
func (f *told) shown(id string) string {
	if f.images["base:1"] == id {
		return "base:1"
	}
	return id
}

func (f *told) put(n int, state container.ContainerState) {
	f.containers[idOf(n)] = container.Summary{
		ID: idOf(n), Names: []string{fmt.Sprintf("/web-app-%d", n)}, Image: f.shown("sha256:1"), ImageID: "sha256:1", State: state, Status: "Up 2 seconds",
		Labels: map[string]string{api.ProjectLabel: fmt.Sprintf("web%d", n%3), api.ServiceLabel: "app"},
	}
}

// happens changes something and gives the event that tells of it.
func (f *told) happens(g *rand.Rand) events.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := g.IntN(6)
	id := idOf(n)
	c, there := f.containers[id]
	switch k := g.IntN(8); {
	case k == 0:
		name := fmt.Sprintf("net%d", n)
		if _, ok := f.networks[name]; ok {
			delete(f.networks, name)
			return event(events.NetworkEventType, events.ActionDestroy, name)
		}
		f.networks[name] = network.Summary{Name: name, ID: "id of " + name}
		return event(events.NetworkEventType, events.ActionCreate, name)
	case k == 1:
		name := fmt.Sprintf("vol%d", n)
		if _, ok := f.volumes[name]; ok {
			delete(f.volumes, name)
			return event(events.VolumeEventType, events.ActionDestroy, name)
		}
		f.volumes[name] = &volume.Volume{Name: name}
		return event(events.VolumeEventType, events.ActionCreate, name)
	case k == 2 && there:
		c.NetworkSettings = &container.NetworkSettingsSummary{Networks: map[string]*network.EndpointSettings{fmt.Sprintf("net%d", g.IntN(3)): {}}}
		f.containers[id] = c
		m := event(events.NetworkEventType, events.ActionConnect, "net")
		m.Actor.Attributes["container"] = id
		return m
	case k == 3 && there:
		delete(f.containers, id)
		return event(events.ContainerEventType, events.ActionDestroy, id)
	case k < 6:
		f.put(n, container.StateRunning)
		return event(events.ContainerEventType, events.ActionStart, id)
	default:
		f.put(n, container.StateExited)
		return event(events.ContainerEventType, events.ActionDie, id)
	}
}

// retag moves a name of an image. Some engines tell of that and some don't.
func (f *told) retag(g *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images["base:1"] = fmt.Sprintf("sha256:%d", g.IntN(3))
	for id, c := range f.containers {
		c.Image = f.shown(c.ImageID)
		f.containers[id] = c
	}
}

// newHearing makes an Engine that hears events and has looked once.
func newHearing(t *testing.T, f *told) *Engine {
	t.Helper()
	e := New(f, Options{})
	heard := e.Events(t.Context())
	go func() {
		for t.Context().Err() == nil {
			select {
			case <-heard:
			case <-t.Context().Done():
			}
		}
	}()
	synctest.Wait()
	time.Sleep(2 * hearing)
	if _, err := e.Observe(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.since()
	return e
}

func TestOnlyWhatChangedIsAskedFor(t *testing.T) {
	const everything = "containers(0) networks volumes"
	started := func(n int) events.Message { return event(events.ContainerEventType, events.ActionStart, idOf(n)) }
	for _, c := range []struct {
		name string
		do   func(f *told, e *Engine)
		want string
	}{
		{"nothing", func(*told, *Engine) {}, ""},
		{"a container", func(f *told, _ *Engine) { f.tell(started(1), started(1)) }, "containers(1)"},
		{"two containers", func(f *told, _ *Engine) { f.tell(started(1), started(2)) }, "containers(2)"},
		{"very many", func(f *told, _ *Engine) {
			for n := range singly + 1 {
				f.tell(started(n))
			}
		}, everything},
		{"a network", func(f *told, _ *Engine) { f.tell(event(events.NetworkEventType, events.ActionCreate, "n")) }, "networks"},
		{"a volume", func(f *told, _ *Engine) { f.tell(event(events.VolumeEventType, events.ActionCreate, "v")) }, "volumes"},
		{"a name of an image", func(f *told, _ *Engine) { f.images["base:1"] = "sha256:2" }, "containers(0)"},
		{"what the daemon did itself, before the event comes", func(_ *told, e *Engine) {
			_ = e.api.ContainerStart(context.Background(), idOf(1), container.StartOptions{})
		}, "containers(1)"},
		{"the same by the name that it was made with", func(_ *told, e *Engine) {
			_, _ = e.api.ContainerCreate(context.Background(), nil, nil, nil, nil, "3c0ffee00000_web-app-1")
			_ = e.api.ContainerStart(context.Background(), "3c0ffee00000_web-app-1", container.StartOptions{})
		}, "containers(1)"},
		{"a container that mounts a volume, before the event comes", func(_ *told, e *Engine) {
			mounts := []mount.Mount{{Type: mount.TypeVolume, Source: "data", Target: "/data"}}
			_, _ = e.api.ContainerCreate(context.Background(), nil, &container.HostConfig{Mounts: mounts}, nil, nil, "web-app-1")
		}, "containers(1) volumes"},
		{"a container that joins a network", func(f *told, _ *Engine) {
			m := event(events.NetworkEventType, events.ActionConnect, "n")
			m.Actor.Attributes = map[string]string{"container": idOf(1)}
			f.tell(m)
		}, "containers(1)"},
		{"the same by another name", func(_ *told, e *Engine) {
			_ = e.api.ContainerStart(context.Background(), "web-app-1", container.StartOptions{})
		}, everything},
		{"what was waited for, and the event comes later", func(f *told, e *Engine) {
			web := plan.Stack{Name: "web1", Services: []plan.Service{{Name: "app", Scale: 1, Completes: true}}}
			if _, err := e.Settle(context.Background(), render.Project{Stack: web}); err != nil {
				t.Error(err)
			}
			f.since()
		}, "containers(1)"},
		{"ten minutes went by", func(*told, *Engine) { time.Sleep(sightAge) }, everything},
		{"the events broke off", func(f *told, _ *Engine) { f.breakOff() }, everything},
		{"the events have just come back", func(f *told, _ *Engine) { f.breakOff(); time.Sleep(lookAgain + hearing/2) }, everything},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newTold()
				f.put(1, container.StateExited)
				e := newHearing(t, f)
				c.do(f, e)
				synctest.Wait()
				if _, err := e.Observe(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := f.since(); got != c.want {
					t.Errorf("asked for %q, want %q", got, c.want)
				}
			})
		})
	}
}

func TestAFailedSnapshotIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTold()
		e := newHearing(t, f)
		f.put(1, container.StateRunning)
		f.err = errors.New("the engine is away")
		f.tell(event(events.ContainerEventType, events.ActionStart, idOf(1)))
		synctest.Wait()
		if _, err := e.Observe(t.Context()); err == nil {
			t.Error("no error")
		}
		f.err = nil
		o, err := e.Observe(t.Context())
		if err != nil || len(o.Running) != 1 {
			t.Errorf("%v, %+v", err, o.Running)
		}
	})
}

// What is seen is what an engine sees that remembers nothing: at once where the
// events came, be it twice, late or in another order; at once after a break; and
// within ten minutes where some were lost.
func TestNoDriftIsMissedWhateverBecomesOfTheEvents(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			g := rand.New(rand.NewPCG(seed, 7))
			f := newTold()
			for n := range 4 {
				f.put(n, container.StateRunning)
			}
			e, fresh := newHearing(t, f), New(f, Options{})
			lost, seen := false, byVersion{}
			for range 40 {
				var late []events.Message
				for range g.IntN(4) {
					if g.IntN(6) == 0 {
						f.retag(g)
						continue
					}
					m := f.happens(g)
					switch g.IntN(10) {
					case 0:
						lost = true
					case 1, 2, 3:
						late = append(late, m)
					case 4:
						f.tell(m, m)
					default:
						f.tell(m)
					}
				}
				for _, i := range g.Perm(len(late)) {
					f.tell(late[i])
				}
				switch g.IntN(12) {
				case 0:
					f.breakOff()
					lost = false
				case 1:
					time.Sleep(sightAge)
					lost = false
				case 2, 3:
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				got, err := e.Observe(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				want, err := fresh.Observe(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				seen.check(t, got)
				got, want = timeless(got), timeless(want)
				if !lost && !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d: seen\n%+v\nwant\n%+v", seed, got, want)
				}
			}
		})
	}
}

// timeless is a snapshot without what tells when it was made.
func timeless(o plan.Observed) plan.Observed {
	o.Version = 0
	o.Running = slices.Clone(o.Running)
	for i := range o.Running {
		o.Running[i].Containers = slices.Clone(o.Running[i].Containers)
		for j := range o.Running[i].Containers {
			o.Running[i].Containers[j].Said = time.Time{}
		}
	}
	return o
}

// byVersion are the snapshots that had a version.
type byVersion map[uint64]plan.Observed

func (v byVersion) check(t *testing.T, o plan.Observed) {
	t.Helper()
	if before, known := v[o.Version]; known && !reflect.DeepEqual(before, o) {
		t.Fatalf("two snapshots with version %d:\n%+v\n%+v", o.Version, before, o)
	}
	v[o.Version] = o
}

func TestASnapshotOfWhatIsUnchangedHasTheSameVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTold()
		f.put(1, container.StateRunning)
		e := newHearing(t, f)
		see := func() uint64 {
			t.Helper()
			o, err := e.Observe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return o.Version
		}
		first := see()
		time.Sleep(time.Minute)
		if see() != first {
			t.Error("another version, and nothing happened")
		}
		f.put(2, container.StateRunning)
		f.tell(event(events.ContainerEventType, events.ActionStart, idOf(2)))
		synctest.Wait()
		if see() == first {
			t.Error("the same version, and a container was started")
		}
	})
}

func (f *told) ContainerInspect(context.Context, string) (container.InspectResponse, error) {
	return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{State: &container.State{Running: true, StartedAt: time.Now().Add(-time.Hour).Format(time.RFC3339Nano)}}}, nil
}

func TestWhoWaitsForAStackGoesByTheEventsThatAreHeardAnyway(t *testing.T) {
	for _, hears := range []bool{true, false} {
		t.Run(fmt.Sprint("heard: ", hears), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newTold()
				f.put(1, container.StateCreated)
				e := New(f, Options{})
				if hears {
					e = newHearing(t, f)
				}
				p := render.Project{Stack: plan.Stack{Name: "web1", Services: []plan.Service{{Name: "app", Scale: 1}}}}
				began, done := time.Now(), make(chan error)
				go func() {
					_, err := e.Settle(t.Context(), p)
					done <- err
				}()
				time.Sleep(firstAge + time.Second)
				synctest.Wait()
				f.mu.Lock()
				if n := len(f.streams); n != 1 {
					t.Errorf("%d streams of events, want 1", n)
				}
				f.put(1, container.StateRunning)
				f.mu.Unlock()
				m := event(events.ContainerEventType, events.ActionStart, idOf(1))
				m.Actor.Attributes[api.ProjectLabel] = "web1"
				f.tell(m)
				if err := <-done; err != nil || time.Since(began) != firstAge+time.Second {
					t.Errorf("settled after %s: %v", time.Since(began), err)
				}
				if n := len(e.watchers.of); n != 0 {
					t.Errorf("%d still wait", n)
				}
			})
		})
	}
}

func TestAnEngineThatIsAwayIsAskedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := newTold()
		heard := New(f, Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}).Events(t.Context())
		asked := func() int {
			f.mu.Lock()
			defer f.mu.Unlock()
			defer func() { f.pings = 0 }()
			return f.pings
		}
		away := func(err error) {
			f.mu.Lock()
			f.err = err
			f.mu.Unlock()
		}
		time.Sleep(time.Hour)
		away(errors.New("the engine is away"))
		f.breakOff()
		time.Sleep(time.Hour)
		if n := asked(); n < 115 || n > 125 { // twice a minute, and a few more at first
			t.Errorf("asked %d times in an hour", n)
		}
		if n := strings.Count(log.String(), "there is no engine socket"); n != 1 {
			t.Errorf("said %d times: %s", n, log.String())
		}
		away(nil)
		time.Sleep(deafMost)
		if told := <-heard; told != (plan.Event{}) {
			t.Errorf("told %v", told)
		}
		time.Sleep(time.Hour)
		asked()
		f.breakOff()
		time.Sleep(lookAgain)
		synctest.Wait()
		if n := asked(); n != 1 {
			t.Errorf("after an hour in which it was there it is asked %d times at once", n)
		}
	})
}
