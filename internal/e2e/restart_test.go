//go:build engine

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// restless is a churn on an engine of its own. Some of its services are
// started again by the engine (restart: unless-stopped), others not, and which
// of two that share a network it is changes from one generation to the next.
type restless struct {
	*churn
	engine *privateEngine
}

func newRestless(t *testing.T) *restless {
	t.Helper()
	e := newPrivateEngine(t)
	c := &churn{host: newHostOn(t, e.address), image: baseImage, want: want{}, always: ", restart: unless-stopped"}
	c.begin()
	c.exec(c.containerOf("web", "app"), "touch", "/data/precious")
	c.kept = c.precious() // the engine takes the time of the last write for that of a volume
	return &restless{churn: c, engine: e}
}

func (c *churn) containerOf(name, service string) string {
	c.t.Helper()
	for _, s := range c.containers(name) {
		if s.Labels["com.docker.compose.service"] == service {
			return s.ID
		}
	}
	c.t.Fatalf("%s has no container of %s", name, service)
	return ""
}

// all are the ids of the wanted containers.
func (c *churn) all() []string {
	c.t.Helper()
	var ids []string
	for _, name := range slices.Sorted(maps.Keys(c.want)) {
		for _, s := range c.containers(name) {
			ids = append(ids, s.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// recovers waits until all is as wanted, without telling the daemon anything.
// Where it says that a process has to be ended on the host, that is done.
func (r *restless) recovers(after string) {
	r.t.Helper()
	if r.engine.networkless { // what was on a network can't stay
		delete(r.kept, "keep")
		delete(r.kept, "side")
		defer func() { r.kept, r.engine.networkless = r.precious(), false }()
	}
	r.eventually("all is as wanted after "+after, func() error {
		err := r.off()
		if s, statusErr := r.status(); statusErr == nil {
			for _, st := range s.Stacks {
				if strings.Contains(st.Error, "has lost its process") {
					r.t.Logf("%s: %s", after, st.Error)
					r.engine.endLost(st.Error)
				}
			}
		}
		return err
	})
	r.exec(r.containerOf("web", "app"), "test", "-f", "/data/precious")
}

// away expects that the daemon lives and says that it can't work.
func (r *restless) away() {
	r.t.Helper()
	r.eventually("it is not ready", func() error {
		if _, code, err := r.get("/readyz"); err != nil || code != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d, %w", code, err)
		}
		return nil
	})
	if _, code, err := r.get("/healthz"); err != nil || code != http.StatusOK {
		r.t.Errorf("/healthz: %d, %v", code, err)
	}
	if s, err := r.status(); err != nil || s.Ready {
		r.t.Errorf("the status says ready %v, %v", s.Ready, err)
	}
}

// meanwhile does something at the first of these events of the engine. What it
// gives waits until that is done.
func (r *restless) meanwhile(event string, do func()) (wait func()) {
	r.t.Helper()
	kind, action, _ := strings.Cut(event, " ")
	ctx, cancel := context.WithCancel(context.Background())
	messages, errs := r.api.Events(ctx, events.ListOptions{Filters: filters.NewArgs(filters.Arg("type", kind), filters.Arg("event", action))})
	done := make(chan error, 1)
	go func() {
		select {
		case <-messages:
			do()
			done <- nil
		case err := <-errs:
			done <- err
		}
	}()
	return func() {
		r.t.Helper()
		defer cancel()
		r.eventually("the engine tells of "+event, func() error {
			select {
			case err := <-done:
				if err != nil {
					r.t.Fatal(err)
				}
				return nil
			default:
				return errors.New("not yet")
			}
		})
	}
}

func TestAfterARestartOfTheEngineEverythingRunsAgain(t *testing.T) {
	for name, end := range map[string]func(*privateEngine){
		"stopped": (*privateEngine).stop, "killed": (*privateEngine).kill, "without power": (*privateEngine).cutPower,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRestless(t)
			process, before := r.daemon, r.all()
			end(r.engine)
			r.away()
			r.engine.start()
			r.recovers("the engine was " + name)
			if now := r.all(); !slices.Equal(now, before) {
				t.Errorf("containers were replaced: %v, then %v", before, now)
			}
			if process.ended() {
				t.Error("the daemon did not stay up")
			}
		})
	}
}

func TestACommitWhileTheEngineIsAwayIsAppliedWhenItIsBack(t *testing.T) {
	t.Parallel()
	r := newRestless(t)
	process, before := r.daemon, r.all()
	r.engine.stop()
	r.next()
	r.trigger()
	r.away()
	r.engine.start()
	r.recovers("a commit while the engine was away")
	if process.ended() {
		t.Error("the daemon did not stay up")
	}
	if now := r.all(); slices.Equal(now, before) {
		t.Error("nothing was changed")
	}
}

func TestAnEngineKilledInTheMiddleOfASyncIsHealedWhenItIsBack(t *testing.T) {
	t.Parallel()
	// Kinds of changes that a sync makes. A container is connected to its
	// network right before it is started. The pauses before retries get longer
	// with each kill that a host has seen.
	events := []string{
		"network create", "container create", "network connect",
		"container destroy", "container rename", "container start",
	}
	hosts := make([]*restless, 3)
	for i := range hosts {
		hosts[i] = newRestless(t)
	}
	for batch := range slices.Chunk(events, len(hosts)) {
		for i, event := range batch {
			r := hosts[i]
			process := r.daemon
			killed := r.meanwhile(event, r.engine.kill)
			r.next()
			r.trigger()
			killed()
			r.away()
			r.engine.start()
			if process.ended() {
				t.Error("the daemon did not stay up")
			}
		}
		for i, event := range batch {
			hosts[i].recovers("the engine was killed at " + event)
			t.Logf("killed at %s: converged", event)
		}
	}
}

func TestAHostThatLosesPowerInTheMiddleOfASyncIsHealedWhenItIsBack(t *testing.T) {
	t.Parallel()
	events := []string{"container create", "container destroy", "container start"}
	var hosts []*restless
	for _, event := range events {
		r := newRestless(t)
		hosts = append(hosts, r)
		process := r.daemon
		dead := r.meanwhile(event, func() {
			var both sync.WaitGroup
			both.Go(process.kill)
			both.Go(r.engine.cutPower)
			both.Wait()
		})
		r.next()
		r.trigger()
		dead()
		// The daemon is there first.
		r.run()
		<-r.daemon.done
		said := r.daemon.log.String()
		if r.daemon.err == nil || !strings.Contains(said, "there is no engine socket") {
			t.Errorf("without an engine the daemon ended with %v:\n%s", r.daemon.err, said)
		}
		if err := r.engine.launch(); err != nil {
			t.Fatal(err)
		}
		r.keepUp()
	}
	for i, event := range events {
		hosts[i].recovers("the power was cut at " + event)
		t.Logf("the power was cut at %s: converged", event)
	}
}

// keepUp does what a restart policy does: it starts the daemon until it stays.
func (r *restless) keepUp() {
	r.t.Helper()
	r.run()
	r.eventually("the daemon stays up", func() error {
		if err := r.engine.revive(); err != nil {
			return err
		}
		listens, err := r.daemon.listens()
		if err != nil {
			r.run()
			return err
		}
		if !listens {
			return errors.New("not yet")
		}
		return nil
	})
}

// waits says whether a project's only container runs.
func (h *host) waits(name string) error {
	if c := h.containers(name); len(c) != 1 || c[0].State != container.StateRunning {
		return errors.New("not yet")
	}
	return nil
}

func TestWhatIsWaitedForWhenTheEngineRestartsIsWaitedForAgain(t *testing.T) {
	for name, end := range map[string]func(*privateEngine){"stopped": (*privateEngine).stop, "killed": (*privateEngine).kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newPrivateEngine(t)
			h := newHostOn(t, e.address)
			reg := h.newImages(false)
			ref := reg.put("far:1", "1", 1000)
			// The first download of a layer never ends.
			hangs := make(chan struct{})
			began := sync.OnceFunc(func() { close(hangs) })
			reg.fail("far", func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				w.WriteHeader(http.StatusOK)
				_, _ = w.Write(make([]byte, 1000))
				w.(http.Flusher).Flush()
				began()
				<-r.Context().Done()
				return true
			})
			h.stack("far", of(ref))
			const slow = `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, RESTART healthcheck: {test: ["CMD", "test", "-f", "/tmp/ready"], interval: 1s, retries: 2, start_period: 300s}}
`
			h.stack("always", strings.Replace(slow, "RESTART", "restart: unless-stopped,", 1))
			h.stack("once", strings.Replace(slow, "RESTART", "", 1))
			h.push("add")
			h.start()
			process := h.daemon
			<-hangs
			waiting := []string{"always", "once"}
			ids := map[string]string{}
			for _, name := range waiting {
				h.eventually(name+" is waited for", func() error { return h.waits(name) })
				ids[name] = h.runs(name, "app")["app"]
			}
			reg.fail("far", nil)
			end(e)
			h.eventually("it is not ready", func() error {
				if _, code, err := h.get("/readyz"); err != nil || code != http.StatusServiceUnavailable {
					return fmt.Errorf("status %d, %w", code, err)
				}
				return nil
			})
			e.start()
			h.becomes("far", running)
			for _, name := range waiting {
				h.eventually(name+" runs again", func() error { return h.waits(name) })
				if now := h.runs(name, "app")["app"]; now != ids[name] {
					t.Errorf("%s was replaced", name)
				}
				h.exec(ids[name], "touch", "/tmp/ready")
				h.becomes(name, running)
			}
			if h.daemon != process || process.ended() {
				t.Error("the daemon did not stay up")
			}
		})
	}
}
