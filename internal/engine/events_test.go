package engine

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

func TestWhatAnEventOfTheEngineTells(t *testing.T) {
	of := func(kind events.Type, action events.Action, id string, attributes map[string]string) events.Message {
		return events.Message{Type: kind, Action: action, Actor: events.Actor{ID: id, Attributes: attributes}}
	}
	web := map[string]string{"com.docker.compose.project": "web", "name": "web-app-1"}
	for name, c := range map[string]struct {
		event events.Message
		want  plan.Event
	}{
		"a start":                   {of(events.ContainerEventType, events.ActionStart, "1", web), plan.Event{Project: "web", Made: plan.Requirement{Kind: "container", Name: "web-app-1"}}},
		"an end":                    {of(events.ContainerEventType, events.ActionDie, "1", web), plan.Event{Project: "web"}},
		"a health":                  {of(events.ContainerEventType, "health_status: unhealthy", "1", web), plan.Event{Project: "web"}},
		"a creation":                {of(events.ContainerEventType, events.ActionCreate, "1", web), plan.Event{}},
		"a start of no project's":   {of(events.ContainerEventType, events.ActionStart, "1", map[string]string{"name": "vpn"}), plan.Event{Made: plan.Requirement{Kind: "container", Name: "vpn"}}},
		"an end of no project's":    {of(events.ContainerEventType, events.ActionDie, "1", map[string]string{"name": "vpn"}), plan.Event{}},
		"a network":                 {of(events.NetworkEventType, events.ActionCreate, "1", map[string]string{"name": "proxy"}), plan.Event{Made: plan.Requirement{Kind: "network", Name: "proxy"}}},
		"a container on a network":  {of(events.NetworkEventType, events.ActionConnect, "1", map[string]string{"name": "proxy", "container": "2"}), plan.Event{}},
		"a volume":                  {of(events.VolumeEventType, events.ActionCreate, "data", nil), plan.Event{Made: plan.Requirement{Kind: "volume", Name: "data"}}},
		"a volume that was removed": {of(events.VolumeEventType, events.ActionDestroy, "data", nil), plan.Event{}},
	} {
		if got := eventOf(c.event); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestAfterTheEngineWasAwayAnythingMayHaveChanged(t *testing.T) {
	var streams atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("API-Version", OldestAPI)
		if !strings.HasSuffix(r.URL.Path, "/events") || streams.Add(1) == 1 {
			return // the first stream ends at once
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	api, err := client.NewClientWithOpts(client.WithHost("tcp://"+s.Listener.Addr().String()), client.WithVersion(OldestAPI))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case told := <-New(api, Options{Logger: slog.New(slog.DiscardHandler)}).Events(ctx):
		if told != (plan.Event{}) {
			t.Errorf("%v", told)
		}
	case <-ctx.Done():
		t.Error("nobody is told to look")
	}
	cancel()
}
