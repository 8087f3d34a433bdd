package engine

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

func TestManyStacksThatLackAnImageAskTheEngineOnce(t *testing.T) {
	configIs(t, "{}")
	var asked seen
	var here atomic.Bool
	waiting, pulled := make(chan struct{}), make(chan struct{})
	api := standIn(t, func(w http.ResponseWriter, r *http.Request) {
		asked.add("%s %s", r.Method, r.URL.Path)
		switch {
		case r.URL.Path == "/images/create":
			close(waiting)
			<-pulled
			here.Store(true)
		case here.Load():
			_, _ = w.Write([]byte("{}"))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	e := New(api, Options{})
	var wg sync.WaitGroup
	need := func(policy plan.PullPolicy) {
		wg.Go(func() {
			if err := e.need(t.Context(), types.ServiceConfig{Name: "app"}, plan.Service{Image: "registry.example.com/web:1", Pull: policy}); err != nil {
				t.Error(err)
			}
		})
	}
	need(plan.PullMissing)
	<-waiting
	for range 20 {
		need(plan.PullMissing)
		need(plan.PullRefresh)
	}
	close(pulled)
	wg.Wait()
	const look, pull = "GET /images/registry.example.com/web:1/json", "POST /images/create"
	got := asked.all()
	if !slices.Equal(got[:3], []string{look, pull, look}) || slices.Contains(got[3:], pull) { // who comes after the end looks for himself
		t.Errorf("asked %q", got)
	}
}

func TestAnImageThatMayNotBePulledIsMissed(t *testing.T) {
	api := standIn(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		w.WriteHeader(http.StatusNotFound)
	})
	err := New(api, Options{}).need(t.Context(), types.ServiceConfig{Name: "app", Image: "web"}, plan.Service{Image: "web:latest", Pull: plan.PullNever})
	if err == nil || !strings.Contains(err.Error(), "pull_policy is never") {
		t.Errorf("error %v", err)
	}
}

func TestAnImageForAnotherPlatformIsPulled(t *testing.T) {
	configIs(t, "{}")
	for _, c := range []struct {
		want  string
		pulls bool
	}{{"", false}, {"linux/amd64", false}, {"linux/arm64", true}, {"linux/arm64/v8", true}} {
		var pulled atomic.Bool
		api := standIn(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/images/create" {
				pulled.Store(true)
				return
			}
			_, _ = w.Write([]byte(`{"Os": "linux", "Architecture": "amd64"}`))
		})
		service := types.ServiceConfig{Name: "app", Platform: c.want}
		if err := New(api, Options{}).need(t.Context(), service, plan.Service{Image: "web:1", Pull: plan.PullMissing}); err != nil {
			t.Error(err)
		}
		if pulled.Load() != c.pulls {
			t.Errorf("%q: pulled: %t", c.want, pulled.Load())
		}
	}
}
