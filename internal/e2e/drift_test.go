//go:build engine

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// newOwnHost is a host on which BASE is an image that nobody else changes.
func newOwnHost(t *testing.T) *ownHost {
	t.Helper()
	h, ref := ownImage(t)
	return &ownHost{host: h, image: ref}
}

type ownHost struct {
	*host
	image string
}

func (h *ownHost) stack(name, body string) {
	h.host.stack(name, strings.ReplaceAll(body, "BASE", h.image))
}

func (h *ownHost) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// created tells when a volume was made.
func (h *ownHost) created(volume string) string {
	h.t.Helper()
	v, err := h.api.VolumeInspect(context.Background(), volume)
	h.must(err)
	return v.CreatedAt
}

// healed waits until a stack is in step again, without a trigger.
func (h *ownHost) healed(name string) {
	h.t.Helper()
	h.eventually(name+" is healed", func() error {
		s, err := h.status()
		if err != nil {
			return err
		}
		if st := s.stack(h.t, h.project(name)); st.Status != report.Running || st.Sync != report.Synced {
			return fmt.Errorf("%s, %s: %s %s", st.Status, st.Sync, st.Reason, st.Error)
		}
		return nil
	})
}

// counted gives how often something was done to stacks in this process.
func (h *ownHost) counted(operation string) string {
	h.t.Helper()
	body, _, err := h.get("/metrics")
	h.must(err)
	_, rest, _ := strings.Cut(string(body), `gitops_deployments_operations_total{operation="`+operation+`"} `)
	n, _, _ := strings.Cut(rest, "\n")
	return n
}

const two = `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s}
  side: {image: BASE, command: RUN, stop_grace_period: 0s}
`

const withVolume = `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, volumes: ["data:/data"]}
volumes: {data: {}}
`

func TestWhatGitRemovedWhileTheDaemonWasDownIsStopped(t *testing.T) {
	for name, byHand := range map[string]bool{"the clone as it was": false, "the clone pulled by hand": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			h := newOwnHost(t)
			for _, name := range []string{"keep", "plain", "exited", "networks"} {
				h.stack(name, withVolume)
			}
			h.push("add four")
			h.first()
			keep := h.runs("keep", "app")
			h.stop()
			h.must(h.api.ContainerStop(ctx, h.runs("exited", "app")["app"], container.StopOptions{}))
			h.must(h.api.ContainerRemove(ctx, h.runs("networks", "app")["app"], container.RemoveOptions{Force: true}))
			for _, name := range []string{"plain", "exited", "networks"} {
				h.remove(name)
			}
			head := h.push("remove three")
			if byHand {
				gittest.Git(t, h.clone, "pull", "-q", "--ff-only", h.remote, "main")
			}
			h.first()
			for _, name := range []string{"plain", "exited", "networks"} {
				h.created(h.project(name) + "_data") // is still there
			}
			if err := h.differs(want{"keep": {"app": ""}}); err != nil {
				t.Error(err)
			}
			if now := h.runs("keep", "app"); now["app"] != keep["app"] {
				t.Error("the stack that stays was touched")
			}
			if at := gittest.Git(t, h.clone, "rev-parse", "HEAD"); at != head {
				t.Errorf("the clone is at %s", at)
			}
		})
	}
}

func TestAStackThatMovesToAnotherFolderIsNotStopped(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.stack("web", withVolume)
	h.push("add web")
	h.first()
	before := h.runs("web", "app")
	h.must(os.MkdirAll(filepath.Join(h.work, "apps"), 0o755))
	h.must(os.Rename(filepath.Join(h.work, "web"), filepath.Join(h.work, "apps", "site")))
	h.push("move web")
	s := h.settle()
	if st := s.stack(t, h.project("web")); st.Status != report.Running || st.File != "apps/site/compose.yaml" || len(s.Stacks) != 1 {
		t.Errorf("%+v", s.Stacks)
	}
	if now := h.runs("web", "app"); now["app"] != before["app"] {
		t.Error("a move replaced the container")
	}
	if n := h.counted("stopped"); n != "0" {
		t.Errorf("%s stacks stopped", n)
	}
	// It is still known as the daemon's own after a restart, and can change
	// and go.
	h.stop()
	h.first()
	if now := h.runs("web", "app"); now["app"] != before["app"] {
		t.Error("a restart after a move replaced the container")
	}
	h.remove("apps")
	h.host.stack("left", strings.ReplaceAll(one, "BASE", h.image))
	h.push("remove web")
	h.settle()
	h.runs("web")
}

func TestAHeadWithoutAnyStackIsHeldUnlessThatIsAllowed(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.stack("web", withVolume)
	head := h.push("add web")
	h.first()
	before := h.runs("web", "app")
	h.remove("web")
	h.write("README.md", "nothing\n")
	empty := h.push("remove everything")
	h.settle()
	if now := h.runs("web", "app"); now["app"] != before["app"] {
		t.Error("the stack was touched")
	}
	if at := gittest.Git(t, h.clone, "rev-parse", "HEAD"); at != head {
		t.Errorf("the clone went on to %s", at)
	}
	if !strings.Contains(h.daemon.log.String(), "ALLOW_EMPTY") {
		t.Error("nothing says what can be done")
	}
	h.stop()
	h.env["ALLOW_EMPTY"] = "true"
	h.first()
	h.runs("web")
	h.created(h.project("web") + "_data")
	if at := gittest.Git(t, h.clone, "rev-parse", "HEAD"); at != empty {
		t.Errorf("the clone is at %s", at)
	}
}

// recreate makes a container anew as somebody else would, with other labels.
func (h *ownHost) recreate(id, name string, change func(*container.Config)) string {
	h.t.Helper()
	ctx := context.Background()
	c, err := h.api.ContainerInspect(ctx, id)
	h.must(err)
	if name == "" {
		h.must(h.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true}))
		name = strings.TrimPrefix(c.Name, "/")
	}
	c.Config.Labels = maps.Clone(c.Config.Labels)
	change(c.Config)
	c.Config.Hostname = ""
	ends := map[string]*network.EndpointSettings{}
	for n, e := range c.NetworkSettings.Networks {
		ends[n] = &network.EndpointSettings{Aliases: e.Aliases}
	}
	made, err := h.api.ContainerCreate(ctx, c.Config, c.HostConfig, &network.NetworkingConfig{EndpointsConfig: ends}, nil, name)
	h.must(err)
	h.must(h.api.ContainerStart(ctx, made.ID, container.StartOptions{}))
	return made.ID
}

func TestAProjectStartedByHandFromTheClonesFolderIsAdopted(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.stack("web", two)
	h.stack("left", two)
	h.push("add web")
	h.first()
	h.stop()
	// As if docker compose up had made them: its labels, and none of ours.
	h.must(os.RemoveAll(filepath.Join(h.clone, ".git", "gitops-compose")))
	byHand := map[string]string{}
	for service, id := range h.runs("web", "app", "side") {
		byHand[service] = h.recreate(id, "", func(c *container.Config) {
			maps.DeleteFunc(c.Labels, func(k, _ string) bool { return strings.HasPrefix(k, "gitops.") })
		})
	}
	s := h.first()
	if st := s.stack(t, h.project("web")); st.Status != report.Running || st.Sync != report.Synced {
		t.Errorf("web is %s, %s: %s", st.Status, st.Sync, st.Reason)
	}
	if now := h.runs("web", "app", "side"); !maps.Equal(now, byHand) {
		t.Errorf("containers that are as they should be were replaced: %v, then %v", byHand, now)
	}
	h.stack("web", strings.Replace(two, "command", "environment: {A: '1'}, command", 1))
	h.push("change app")
	h.settle()
	if now := h.runs("web", "app", "side"); now["app"] == byHand["app"] || now["side"] != byHand["side"] {
		t.Errorf("want app replaced and side not: %v, then %v", byHand, now)
	}
	h.remove("web")
	h.push("remove web")
	h.settle()
	h.runs("web")
}

func TestWhatAPersonDoesToContainersIsUndone(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		harm     func(h *ownHost, app string)
		replaced bool // or repaired
		silent   bool // the engine tells of no container
	}{
		"stopped": {harm: func(h *ownHost, app string) { h.must(h.api.ContainerStop(ctx, app, container.StopOptions{})) }},
		"paused":  {harm: func(h *ownHost, app string) { h.must(h.api.ContainerPause(ctx, app)) }},
		"removed": {harm: func(h *ownHost, app string) {
			h.must(h.api.ContainerRemove(ctx, app, container.RemoveOptions{Force: true}))
		}, replaced: true},
		"scaled": {harm: func(h *ownHost, app string) {
			h.recreate(app, h.project("web")+"-app-2", func(c *container.Config) { c.Labels["com.docker.compose.container-number"] = "2" })
		}},
		"recreated with other settings": {harm: func(h *ownHost, app string) {
			h.recreate(app, "", func(c *container.Config) {
				c.Env = append(c.Env, "BY=hand")
				c.Labels["com.docker.compose.config-hash"] = strings.Repeat("0", 64)
				maps.DeleteFunc(c.Labels, func(k, _ string) bool { return strings.HasPrefix(k, "gitops.") })
			})
		}, replaced: true},
		"the network is gone": {harm: func(h *ownHost, app string) {
			for _, s := range h.containers("web") {
				h.must(h.api.NetworkDisconnect(ctx, h.project("web")+"_default", s.ID, true))
			}
			h.must(h.api.NetworkRemove(ctx, h.project("web")+"_default"))
		}, replaced: true, silent: true},
		"off the network": {harm: func(h *ownHost, app string) {
			h.must(h.api.NetworkDisconnect(ctx, h.project("web")+"_default", app, true))
		}, replaced: true, silent: true},
		"the image has another id": {harm: func(h *ownHost, app string) {
			made, err := h.api.ContainerCommit(ctx, app, container.CommitOptions{Changes: []string{"LABEL other=yes"}})
			h.must(err)
			h.must(h.api.ImageTag(ctx, made.ID, h.image))
		}, replaced: true, silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newOwnHost(t)
			h.stack("web", two)
			h.host.stack("other", strings.ReplaceAll(one, "BASE", h.image+"-other")) // which keeps its id
			h.push("add")
			h.first()
			before, other := h.runs("web", "app", "side"), h.runs("other", "app")
			c.harm(h, before["app"])
			if c.silent {
				h.settle()
			}
			h.eventually("it is undone", func() error {
				all := want{"web": {"app": "", "side": ""}, "other": {"app": ""}}
				return h.differs(all)
			})
			h.eventually("nothing is left to do", func() error {
				if out, stderr, code := h.command("plan"); code != 0 {
					return errors.New(out + stderr)
				}
				return nil
			})
			h.healed("web")
			now := h.runs("web", "app", "side")
			if c.replaced != (now["app"] != before["app"]) {
				t.Errorf("app was %s, is %s", before["app"], now["app"])
			}
			everything := name == "the network is gone" || name == "the image has another id"
			if !everything && now["side"] != before["side"] {
				t.Error("the other service was replaced")
			}
			if h.runs("other", "app")["app"] != other["app"] {
				t.Error("the other stack was touched")
			}
		})
	}
}

func TestWithoutSelfHealADriftIsReportedAndTheNextChangeIsApplied(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.env["SELF_HEAL"] = "false"
	h.stack("web", two)
	h.stack("other", one)
	h.push("add web")
	h.first()
	before := h.runs("web", "app", "side")
	h.must(h.api.ContainerStop(context.Background(), before["app"], container.StopOptions{}))
	h.eventually("the drift is seen", func() error {
		s, err := h.status()
		if err != nil {
			return err
		}
		if st := s.stack(t, h.project("web")); st.Held != "drift" || st.Status == report.Running || !strings.Contains(st.Reason, "app") {
			return fmt.Errorf("%s, held %q: %s", st.Status, st.Held, st.Reason)
		}
		return nil
	})
	h.stack("other", strings.Replace(one, "command", "environment: {A: '1'}, command", 1))
	h.push("change the other stack")
	h.settle()
	h.runs("web", "app exited", "side")
	h.stack("web", strings.Replace(two, "side: {image", "side: {environment: {A: '1'}, image", 1))
	h.push("change side")
	s := h.settle()
	if now := h.runs("web", "app", "side"); now["app"] != before["app"] || now["side"] == before["side"] {
		t.Errorf("want side replaced and app started: %v, then %v", before, now)
	}
	if st := s.stack(t, h.project("web")); st.Status != report.Running || st.Held != "" {
		t.Errorf("web is %s, held %q", st.Status, st.Held)
	}
}

func TestWhatHasDoneItsWorkIsNotRunAgain(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	body := `
services:
  init: {image: BASE, command: ["sh", "-c", "exit 0"], restart: "no"}
  app: {image: BASE, command: RUN, stop_grace_period: 0s, depends_on: {init: {condition: service_completed_successfully}}}
`
	h.stack("web", body)
	h.push("add web")
	s := h.first()
	if st := s.stack(t, h.project("web")); st.Status != report.Running || st.Sync != report.Synced {
		t.Fatalf("web is %s, %s: %s", st.Status, st.Sync, st.Reason)
	}
	started := func() string {
		c, err := h.api.ContainerInspect(context.Background(), h.runs("web", "app", "init exited")["init exited"])
		h.must(err)
		return c.ID + " " + c.State.StartedAt
	}
	before, app := started(), h.runs("web", "app", "init exited")["app"]
	h.settle()
	h.stack("web", strings.Replace(body, "command: RUN", "command: RUN, environment: {A: '1'}", 1))
	h.push("change app")
	h.settle()
	if h.runs("web", "app", "init exited")["app"] == app {
		t.Error("app was not replaced")
	}
	if now := started(); now != before {
		t.Errorf("init ran again: %s, then %s", before, now)
	}
	h.stop()
	h.first()
	if now := started(); now != before {
		t.Errorf("init ran again after a restart of the daemon: %s, then %s", before, now)
	}
	h.stack("web", strings.Replace(body, "exit 0", "exit 0 # changed", 1))
	h.push("change init")
	h.settle()
	if now := started(); now == before {
		t.Error("init was changed and did not run again")
	}
}

func TestWhatWouldLoseDataIsHeld(t *testing.T) {
	for name, change := range map[string]string{
		"the definition of a volume changes": strings.Replace(withVolume, "{data: {}}", "{data: {driver_opts: {type: tmpfs, device: tmpfs}}}", 1),
		"the options of a volume change":     strings.Replace(withVolume, "{data: {}}", "{data: {driver_opts: {type: tmpfs, device: tmpfs}}}", 1),
		"the project is renamed":             "RENAME" + withVolume,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newOwnHost(t)
			h.stack("web", withVolume)
			h.stack("other", one)
			h.push("add web")
			h.first()
			before := h.runs("web", "app")
			h.exec(before["app"], "touch", "/data/precious")
			data := h.created(h.project("web") + "_data") // which a write changes
			wanted := "web"
			if renamed, ok := strings.CutPrefix(change, "RENAME"); ok {
				wanted = "renamed"
				h.write("web/compose.yaml", "name: "+h.project(wanted)+h.expand(strings.ReplaceAll(renamed, "BASE", h.image)))
			} else {
				h.stack("web", change)
			}
			h.stack("other", strings.Replace(one, "command", "environment: {A: '1'}, command", 1))
			commit := h.push("change web dangerously")
			for range 2 {
				s := h.settle()
				if st := s.stack(t, h.project(wanted)); st.Held != "data" || st.Status == report.Running || !strings.Contains(st.Reason, "data") {
					t.Errorf("web is %s, held %q: %s", st.Status, st.Held, st.Reason)
				}
			}
			if now := h.runs("web", "app"); now["app"] != before["app"] || h.created(h.project("web")+"_data") != data {
				t.Error("it was touched")
			}
			if c := h.containers("other"); len(c) != 1 || c[0].Labels["gitops.commit"] != commit {
				t.Error("the other stack did not go on")
			}
			h.stack("web", strings.Replace(withVolume, "command", "environment: {A: '1'}, command", 1))
			h.push("change web harmlessly")
			s := h.settle()
			if st := s.stack(t, h.project("web")); st.Status != report.Running || st.Held != "" {
				t.Errorf("web is %s, held %q: %s", st.Status, st.Held, st.Reason)
			}
			h.exec(h.runs("web", "app")["app"], "test", "-f", "/data/precious")
		})
	}
}

// saidWhy checks that what a failed stack's containers said is its detail, and
// neither in what everybody may read nor in the journal.
func (h *host) saidWhy(st report.Stack, words ...string) error {
	h.t.Helper()
	journal, err := os.ReadFile(filepath.Join(h.clone, ".git", "gitops-compose", "journal.json"))
	if err != nil {
		h.t.Fatal(err)
	}
	metrics, _, err := h.get("/metrics")
	if err != nil {
		return err
	}
	for _, said := range words {
		if !strings.Contains(st.Detail, said) {
			return fmt.Errorf("no %q: %s %s: %s", said, st.Reason, st.Error, st.Detail)
		}
		for where, text := range map[string]string{"reason": st.Reason, "error": st.Error, "journal": string(journal), "metrics": string(metrics)} {
			if strings.Contains(text, said) {
				return fmt.Errorf("%q is in %s: %s", said, where, text)
			}
		}
	}
	return nil
}

func TestAStackThatDoesNotBecomeHealthyIsFailedWithItsLastWords(t *testing.T) {
	for name, check := range map[string]string{
		"unhealthy":           `healthcheck: {test: ["CMD-SHELL", "echo probe-words; exit 1"], interval: 1s, retries: 2}`,
		"not healthy in time": `healthcheck: {test: ["CMD-SHELL", "echo probe-words; exit 1"], interval: 1s, retries: 2, start_period: 300s}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newOwnHost(t)
			h.env["DEPLOY_TIMEOUT_IN_SECONDS"] = "20" // a busy machine takes a while to start it all
			h.asksForPasswords()
			h.stack("web", one)
			h.stack("bad", `
services:
  app: {image: BASE, command: ["sh", "-c", "echo last-words; sleep 100000"], stop_grace_period: 0s, `+check+`}
  side: {image: BASE, command: RUN, stop_grace_period: 0s}
`)
			h.push("add both")
			h.start()
			h.eventually("bad is failed", func() error {
				s, err := h.status()
				if err != nil {
					return err
				}
				if len(s.Stacks) == 0 {
					return errors.New("no look yet")
				}
				st := s.stack(t, h.project("bad"))
				if st.Status != report.Failed || !strings.Contains(st.Error, "app") {
					return fmt.Errorf("%s %s %s", st.Status, st.Reason, st.Error)
				}
				return h.saidWhy(st, "last-words", "probe-words")
			})
			h.runs("web", "app")
			before := h.runs("bad", "app", "side")
			s := h.settle()
			if err := h.saidWhy(s.stack(t, h.project("bad")), "last-words", "probe-words"); err != nil {
				t.Errorf("after the next check: %v", err)
			}
			if now := h.runs("bad", "app", "side"); !maps.Equal(now, before) {
				t.Error("an unhealthy stack was replaced at the next check")
			}
			h.stack("bad", two)
			h.push("mend bad")
			s = h.settle()
			if st := s.stack(t, h.project("bad")); st.Status != report.Running || st.Error != "" || st.Detail != "" {
				t.Errorf("a mended stack is %s: %s %s %s", st.Status, st.Reason, st.Error, st.Detail)
			}
		})
	}
}

func TestASlowStackDoesNotHoldUpTheNextCommitOfOthers(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.stack("fast", one)
	h.stack("slow", `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, healthcheck: {test: ["CMD", "test", "-f", "/tmp/ready"], interval: 1s, retries: 2, start_period: 300s}}
`)
	h.push("add both")
	h.start()
	h.eventually("slow has its container", func() error {
		if c := h.containers("slow"); len(c) != 1 || c[0].State != container.StateRunning {
			return errors.New("not yet")
		}
		return nil
	})
	for _, round := range []string{"1", "2"} {
		h.stack("fast", strings.Replace(one, "command", "labels: {gen: '"+round+"'}, command", 1))
		h.push("change fast")
		h.trigger()
		h.eventually("fast has the next commit", func() error {
			if c := h.containers("fast"); len(c) != 1 || c[0].Labels["gen"] != round || c[0].State != container.StateRunning {
				return errors.New("not yet")
			}
			return nil
		})
	}
	s, err := h.status()
	h.must(err)
	if st := s.stack(t, h.project("slow")); st.Sync != report.Applying {
		t.Errorf("slow is %s, %s", st.Status, st.Sync)
	}
	id := h.runs("slow", "app")["app"]
	h.exec(id, "touch", "/tmp/ready")
	h.healed("slow")
	if now := h.runs("slow", "app"); now["app"] != id {
		t.Error("slow was replaced meanwhile")
	}
}

func TestATermInTheMiddleOfASyncEndsSoonAndTheNextStartGoesOn(t *testing.T) {
	for name, what := range map[string]fault{"before a call": cut, "while a call hangs": hang} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newChurn(t)
			for _, kind := range []string{"POST /containers/*/stop", "POST /containers/create", "POST /containers/*/rename", "POST /containers/*/start"} {
				c.proxy.disarm()
				var at time.Time
				d := c.daemon
				r := c.proxy.arm(&rule{match: is(kind), nth: 1, what: what, do: func() { at = time.Now(); _ = d.cmd.Process.Signal(syscall.SIGTERM) }})
				c.next()
				c.trigger()
				c.happens(r)
				select {
				case <-d.done:
				case <-time.After(limit):
					t.Fatalf("%s: the daemon does not end", kind)
				}
				if took := time.Since(at); d.err != nil || took > 15*time.Second {
					t.Errorf("%s: it ended after %s: %v", kind, took, d.err)
				}
				c.proxy.disarm()
				c.first()
				c.converges("a SIGTERM at " + kind)
			}
		})
	}
}

func TestWithoutItsJournalTheDaemonTouchesNothing(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.stack("web", two)
	h.stack("data", withVolume)
	h.push("add web")
	h.first()
	before, data := h.runs("web", "app", "side"), h.runs("data", "app")
	h.stop()
	dir := filepath.Join(h.clone, ".git", "gitops-compose")
	if _, err := os.Stat(filepath.Join(dir, "journal.json")); err != nil {
		t.Fatal(err)
	}
	h.must(os.RemoveAll(dir))
	s := h.first()
	if now := h.runs("web", "app", "side"); !maps.Equal(now, before) || h.runs("data", "app")["app"] != data["app"] {
		t.Error("containers were replaced")
	}
	for _, st := range s.Stacks {
		if st.Status != report.Running || st.Sync != report.Synced {
			t.Errorf("%s is %s, %s", st.Name, st.Status, st.Sync)
		}
	}
	if h.counted("started") != "0" || h.counted("updated") != "0" {
		t.Error("something was counted as done")
	}
	h.remove("web")
	h.push("remove web")
	h.settle()
	h.runs("web")
}

func TestHooksRunWhenAStackIsBroughtUpAndWhenItGoes(t *testing.T) {
	h := newHost(t)
	h.stack("web", `
services:
  app:
    image: BASE
    command: RUN
    stop_grace_period: 0s
    volumes: ["notes:/notes"]
    post_start: [{command: ["sh", "-c", "echo up >> /notes/log"]}]
    pre_stop: [{command: ["sh", "-c", "echo down >> /notes/log"]}]
volumes: {notes: {name: PREFIX-notes}}
`)
	h.push("add")
	h.first()
	id := h.runs("web", "app")["app"]
	if err := h.api.ContainerKill(t.Context(), id, "KILL"); err != nil {
		t.Fatal(err)
	}
	h.settle() // a container that was found stopped is started again
	h.runs("web", "app")
	h.remove("web")
	h.stack("stays", "services: {app: {image: BASE, command: RUN, stop_grace_period: 0s}}")
	h.push("remove")
	h.settle()
	if left := h.containers("web"); len(left) > 0 {
		t.Fatalf("%d containers are left", len(left))
	}
	h.stack("other", `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, volumes: ["notes:/notes"]}
volumes: {notes: {name: PREFIX-notes, external: true}}
`)
	h.push("look at the notes")
	h.settle()
	if got := h.exec(h.runs("other", "app")["app"], "cat", "/notes/log"); got != "up\nup\ndown" {
		t.Errorf("the hooks wrote %q", got)
	}
	if !strings.Contains(h.daemon.log.String(), "pre_stop") {
		t.Error("the log says nothing of the hooks")
	}
}
