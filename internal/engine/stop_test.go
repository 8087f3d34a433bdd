package engine

import (
	"context"
	"testing"
	"time"

	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// lasting is a client of an engine with some containers, of which one was made by hand.
type lasting struct{ client.APIClient }

func (lasting) ContainerList(context.Context, container.ListOptions) ([]container.Summary, error) {
	of := func(service, state, grace string) container.Summary {
		labels := map[string]string{api.ProjectLabel: "web", api.ServiceLabel: service}
		if grace != "" {
			labels[render.LabelGrace] = grace
		}
		return container.Summary{ID: service, State: state, Labels: labels}
	}
	return []container.Summary{of("app", "running", "20m0s"), of("db", "paused", "1m0s"), of("job", "exited", "1h0m0s"), of("hand", "running", "")}, nil
}

func (lasting) ContainerInspect(_ context.Context, id string) (container.InspectResponse, error) {
	seconds := 30
	if id != "hand" {
		panic("asked for " + id + ", of which the list tells")
	}
	return container.InspectResponse{Config: &container.Config{StopTimeout: &seconds}}, nil
}

func TestAStopMayTakeWhatItsContainersAreGiven(t *testing.T) {
	e := New(lasting{}, Options{})
	for what, c := range map[string]struct {
		services []string
		want     time.Duration
	}{
		"a whole project": {nil, 21*time.Minute + 30*time.Second},
		"one service":     {[]string{"db"}, time.Minute},
		"one by hand":     {[]string{"hand"}, 30 * time.Second},
		"one that ended":  {[]string{"job"}, 0},
	} {
		if got, err := e.given(t.Context(), plan.Op{Stack: "web", Services: c.services}); err != nil || got != c.want {
			t.Errorf("%s: %s, %v", what, got, err)
		}
	}
}
