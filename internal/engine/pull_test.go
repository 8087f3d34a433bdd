package engine

import (
	"errors"
	"fmt"
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

// The registry is on the loopback of a container, so that the engine is asked.
func TestOneDigestIsPulledAndNoOther(t *testing.T) {
	configIs(t, "{}")
	const ref, repository = "127.0.0.1:1/web:1", "127.0.0.1:1/web@"
	for name, c := range map[string]struct {
		latest, came string // at the registry before, and with the pull
		missing      bool
		want, err    string
	}{
		"the tag still points to it": {latest: "sha256:a", came: "sha256:a", want: "ask, look, pull"},
		"it points to another one":   {latest: "sha256:b", want: "ask", err: "sha256:b"},
		"it moves meanwhile":         {latest: "sha256:a", came: "sha256:b", want: "ask, look, pull, tag old", err: "sha256:b"},
		"nothing was here":           {latest: "sha256:a", came: "sha256:b", missing: true, want: "ask, look, pull"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked seen
			var pulled atomic.Bool
			api := standIn(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasPrefix(r.URL.Path, "/distribution/"):
					asked.add("ask")
					_, _ = fmt.Fprintf(w, `{"Descriptor": {"digest": %q}}`, c.latest)
				case r.URL.Path == "/images/create":
					asked.add("pull")
					if got := r.URL.Query().Get("tag"); got != "1" {
						t.Errorf("pulled as %s", got)
					}
					pulled.Store(true)
				case strings.HasSuffix(r.URL.Path, "/tag"):
					asked.add("tag %s", strings.Split(r.URL.Path, "/")[2])
					if got := r.URL.Query().Get("repo") + ":" + r.URL.Query().Get("tag"); got != ref {
						t.Errorf("given back as %s", got)
					}
					w.WriteHeader(http.StatusCreated)
				case pulled.Load():
					_, _ = fmt.Fprintf(w, `{"Id": "new", "RepoDigests": ["other@sha256:a", %q]}`, repository+c.came)
				case c.missing:
					asked.add("look")
					w.WriteHeader(http.StatusNotFound)
				default:
					asked.add("look")
					_, _ = fmt.Fprintf(w, `{"Id": "old", "RepoDigests": [%q]}`, repository+"sha256:0")
				}
			})
			svc := plan.Service{Image: ref, Pull: plan.PullAlways, Digest: "sha256:a"}
			err := New(api, Options{Self: "us"}).need(t.Context(), types.ServiceConfig{Name: "app"}, svc)
			var moved interface{ MovedTo() (string, string) }
			got := ""
			if errors.As(err, &moved) {
				image, digest := moved.MovedTo()
				if got = digest; image != ref {
					t.Errorf("the image is %s", image)
				}
			}
			if got != c.err || (err != nil) != (c.err != "") {
				t.Errorf("error %v, want one of %q", err, c.err)
			}
			if got := strings.Join(asked.all(), ", "); got != c.want {
				t.Errorf("asked %s, want %s", got, c.want)
			}
		})
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
