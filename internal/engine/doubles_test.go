//go:build engine

package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// again creates a network of a name that is taken, as two requests at the same
// time do: the client always asks the engine to look first.
func (p *place) again(name string, labels map[string]string) {
	p.t.Helper()
	socket, ok := strings.CutPrefix(p.api.DaemonHost(), "unix://")
	if !ok {
		p.t.Skip("this test speaks to the engine's socket itself")
	}
	body, err := json.Marshal(map[string]any{"Name": name, "CheckDuplicate": false, "Labels": labels})
	if err != nil {
		p.t.Fatal(err)
	}
	direct := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	resp, err := direct.Post("http://engine/v1.41/networks/create", "application/json", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		p.t.Skipf("this engine makes no second network of a name: %s", resp.Status)
	}
}

func TestANetworkThatIsThereTwiceIsMended(t *testing.T) {
	p := newPlace(t)
	ctx := context.Background()
	project := p.load(p.name(), "services: {app: {SLEEP}, other: {SLEEP}}")
	p.up(project)
	name := project.Name + "_default"
	list := func() []network.Summary {
		t.Helper()
		all, err := p.api.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
		ok(t, err)
		return all
	}
	first := list()[0]
	p.again(name, first.Labels)
	if n := len(list()); n != 2 {
		t.Fatalf("%d networks", n)
	}
	r, _ := p.observe(project.Name)
	ok(t, p.api.ContainerRemove(ctx, r.Containers[0].ID, container.RemoveOptions{Force: true}))
	p.up(project)
	if left := list(); len(left) != 1 || left[0].ID != first.ID {
		t.Errorf("the network that is used did not stay: %v", left)
	}
}

// belated is a client of an engine that does something between what an Up
// creates and the first that it starts. The others that are started side by
// side wait for it.
type belated struct {
	client.APIClient
	first func()
	once  sync.Once
}

func (b *belated) ContainerStart(ctx context.Context, id string, o container.StartOptions) error {
	b.once.Do(b.first)
	return b.APIClient.ContainerStart(ctx, id, o)
}

func TestANetworkThatComesTwiceMeanwhileIsMended(t *testing.T) {
	p := newPlace(t)
	project := p.load(p.name(), "services: {app: {SLEEP}, other: {SLEEP}}")
	name := project.Name + "_default"
	labels := map[string]string{"com.docker.compose.project": project.Name, "com.docker.compose.network": "default"}
	p.again(name, labels) // two before it comes up, which is mended first; and here, as only a test's own goroutine may skip it
	p.again(name, labels)
	e := engine.New(&belated{APIClient: p.api, first: func() { p.again(name, labels) }}, engine.Options{Repository: repository, HostRoot: p.root})
	ok(t, e.Up(t.Context(), project, plan.Op{}, nil))
	p.same(project)
	all, err := p.api.NetworkList(t.Context(), network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
	ok(t, err)
	if len(all) != 1 {
		t.Errorf("%d networks", len(all))
	}
}
