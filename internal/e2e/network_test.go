//go:build engine

package e2e

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
)

// shared is a host on which two stacks use the network of a third one.
func newShared(t *testing.T) *ownHost {
	t.Helper()
	h := newOwnHost(t)
	h.proxyStack("1")
	for _, name := range []string{"a", "b"} {
		h.stack(name, `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, networks: [shared]}
  alone: {image: BASE, command: RUN, stop_grace_period: 0s}
networks: {shared: {external: true, name: PREFIX-shared}}
`)
	}
	return h
}

// proxyStack writes the stack that owns the network, in a generation.
func (h *ownHost) proxyStack(gen string) {
	h.stack("proxy", strings.Replace(`
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, networks: [shared]}
networks: {shared: {name: PREFIX-shared, labels: {gen: 'GEN'}}}
`, "GEN", gen, 1))
}

func (h *ownHost) sharedNetwork() network.Inspect {
	h.t.Helper()
	n, err := h.api.NetworkInspect(context.Background(), h.prefix+"-shared", network.InspectOptions{})
	h.must(err)
	return n
}

// beginnings says when the host's containers were started, by id.
func (h *ownHost) beginnings(projects ...string) map[string]string {
	h.t.Helper()
	out := map[string]string{}
	for _, p := range projects {
		for _, c := range h.containers(p) {
			info, err := h.api.ContainerInspect(context.Background(), c.ID)
			h.must(err)
			out[c.ID] = info.State.StartedAt
		}
	}
	return out
}

func TestANetworkThatOtherStacksUseIsMadeAnewAndAllComeBack(t *testing.T) {
	t.Parallel()
	h := newShared(t)
	h.push("add three")
	h.first()
	before, alone := h.sharedNetwork(), h.runs("a", "alone", "app")["alone"]
	h.proxyStack("2")
	h.push("change the network")
	s := h.settle()
	now := h.sharedNetwork()
	if now.ID == before.ID || now.Labels["gen"] != "2" {
		t.Fatalf("the network is as before: %+v", now)
	}
	for _, name := range []string{"proxy", "a", "b"} {
		services := []string{"alone", "app"}
		if name == "proxy" {
			services = services[1:]
		}
		if id := h.runs(name, services...)["app"]; now.Containers[id].Name == "" {
			t.Errorf("%s is not on the new network: %+v", name, now.Containers)
		}
		if st := s.stack(t, h.project(name)); !running(st) || st.Error != "" {
			t.Errorf("%s is %s, %s: %s %s", name, st.Status, st.Sync, st.Reason, st.Error)
		}
	}
	if h.runs("a", "alone", "app")["alone"] != alone {
		t.Error("a service that is not on the network was replaced")
	}
	for _, op := range s.Checks[0].Operations {
		if op.Error != "" {
			t.Errorf("%s %s: %s", op.Kind, op.Stack, op.Error)
		}
	}
	if out, stderr, code := h.command("plan"); code != 0 {
		t.Errorf("there is something left to do: %s%s", out, stderr)
	}
}

func TestANetworkThatAStrangerUsesIsHeldBeforeAnythingIsStopped(t *testing.T) {
	for name, labels := range map[string]map[string]string{
		"a container without a project": nil,
		"another project": {
			"com.docker.compose.project": "PREFIX-theirs", "com.docker.compose.service": "guest", "com.docker.compose.oneoff": "False",
			"com.docker.compose.container-number": "1", "com.docker.compose.project.working_dir": "/opt/theirs",
			"com.docker.compose.project.config_files": "/opt/theirs/compose.yaml",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			h := newShared(t)
			h.push("add three")
			h.first()
			words := []string{h.prefix + "-shared", h.project("guest")}
			labels := maps.Clone(labels)
			if labels != nil {
				labels["com.docker.compose.project"] = h.project("theirs")
				words[1] = h.project("theirs")
			}
			guest, err := h.api.ContainerCreate(ctx, &container.Config{Image: baseImage, Cmd: []string{"sleep", "100000"}, Labels: labels}, nil,
				&network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{h.prefix + "-shared": {}}}, nil, h.project("guest"))
			h.must(err)
			leave := func() error { return h.api.ContainerRemove(ctx, guest.ID, container.RemoveOptions{Force: true}) }
			t.Cleanup(func() { _ = leave() })
			h.must(h.api.ContainerStart(ctx, guest.ID, container.StartOptions{}))
			before, all := h.sharedNetwork(), h.beginnings("proxy", "a", "b")
			h.proxyStack("2")
			h.push("change the network")
			for range 2 {
				s := h.settle()
				h.holds(s, "proxy", "network", words...)
				if now := h.beginnings("proxy", "a", "b"); !maps.Equal(now, all) {
					t.Errorf("something was stopped: %v, then %v", all, now)
				}
				for _, op := range s.Checks[0].Operations {
					if op.Kind != "checkout" {
						t.Errorf("%s %s was done", op.Kind, op.Stack)
					}
				}
			}
			if h.sharedNetwork().ID != before.ID {
				t.Error("the network is another one")
			}
			h.must(leave())
			h.settle()
			now := h.sharedNetwork()
			if now.ID == before.ID {
				t.Error("the network is the old one although the stranger has left")
			}
			on := slices.Sorted(maps.Keys(now.Containers))
			want := []string{h.runs("proxy", "app")["app"], h.runs("a", "alone", "app")["app"], h.runs("b", "alone", "app")["app"]}
			slices.Sort(want)
			if !slices.Equal(on, want) {
				t.Errorf("on the network are %v, want %v", on, want)
			}
		})
	}
}
