//go:build engine

package engine_test

import (
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// What the engine refuses of a service when its container is made, started, or put on
// a network is said with the service's name.
func TestAnErrorOfTheEngineNamesTheService(t *testing.T) {
	p := newPlace(t)
	for what, c := range map[string]struct{ service, more, want string }{
		"a device":         {"devices: ['/dev/nowhere:/dev/nowhere']", "", "/dev/nowhere"},
		"a mount":          {"volumes: [{type: bind, source: /nowhere/at/all, target: /x, bind: {create_host_path: false}}]", "", "/nowhere/at/all"},
		"a runtime":        {"runtime: nonsense", "", "nonsense"},
		"a capability":     {"cap_add: [NONSENSE]", "", "NONSENSE"},
		"a user":           {"user: nobodyatall", "", "nobodyatall"},
		"a logging driver": {"logging: {driver: nonsense}", "", "nonsense"},
		"an address":       {"networks: {default: {ipv4_address: 192.0.2.1}}", "", "subnets"},
		"a second network": {"networks: {a: {}, b: {ipv4_address: 192.0.2.1}}", "\nnetworks: {a: {}, b: {}}", "subnets"},
	} {
		t.Run(what, func(t *testing.T) {
			project := p.load(p.name(), "services: {good: {SLEEP}, wrong: {SLEEP, "+c.service+"}}"+c.more)
			err := p.Up(t.Context(), project, plan.Op{}, nil)
			if err == nil || !strings.HasPrefix(err.Error(), "services.wrong: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
