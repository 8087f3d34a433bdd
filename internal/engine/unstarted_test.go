//go:build engine

package engine_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/engine/enginetest"
)

// Engine 29 takes their networks from containers that it can't start. They are
// made anew as soon as they can be started, with networks and ports.
func TestAContainerThatCouldNotBeStartedHasItsNetworksAndPortsTheNextTime(t *testing.T) {
	p := newPlace(t)
	name := p.name()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	project := p.load(name, `services: {a: {SLEEP, ports: ["127.0.0.1:`+port+`:80"], networks: [one, two]}}
networks: {one: , two: }`)
	for range 2 { // the second time it must not be started without them
		op, err := enginetest.Ordered(t.Context(), p, project)
		ok(t, err)
		if err := p.Up(t.Context(), project, op, nil); err == nil || !strings.Contains(err.Error(), "another container or program has the port") {
			t.Fatalf("the port is taken: %v", err)
		}
	}
	ok(t, taken.Close())
	p.up(project)
	r, _ := p.observe(name)
	full, err := p.api.ContainerInspect(t.Context(), r.Containers[0].ID)
	ok(t, err)
	if got := full.NetworkSettings.Ports["80/tcp"]; len(got) != 1 || got[0].HostPort != port {
		t.Errorf("its port is published as %v", got)
	}
	if len(full.NetworkSettings.Networks) != 2 {
		t.Errorf("it is on networks %v", full.NetworkSettings.Networks)
	}
}
