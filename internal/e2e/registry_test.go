//go:build engine

package e2e

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/image"
	dockerregistry "github.com/docker/docker/api/types/registry"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// privateRegistry serves a registry with basic authentication and puts the
// base image into it. It gives the image's reference.
func (h *host) privateRegistry(user, password string) string {
	h.t.Helper()
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		images.ServeHTTP(w, r)
	}))
	h.t.Cleanup(s.Close)
	ref := strings.TrimPrefix(s.URL, "http://") + "/base:1"
	ctx := context.Background()
	if err := h.api.ImageTag(ctx, baseImage, ref); err != nil {
		h.t.Fatal(err)
	}
	auth, err := dockerregistry.EncodeAuthConfig(dockerregistry.AuthConfig{Username: user, Password: password})
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := h.api.ImagePush(ctx, ref, image.PushOptions{RegistryAuth: auth})
	if err != nil {
		h.t.Fatal(err)
	}
	said, _ := io.ReadAll(out)
	_ = out.Close()
	if strings.Contains(string(said), `"error"`) {
		h.t.Fatalf("push: %s", said)
	}
	forget := func() { _, _ = h.api.ImageRemove(context.Background(), ref, image.RemoveOptions{}) }
	forget()
	h.t.Cleanup(forget)
	return ref
}

func TestAnImageOfAPrivateRegistryIsPulledWithTheLoginForIt(t *testing.T) {
	h := newHost(t)
	ref := h.privateRegistry("puller", "swordfish")
	h.env["DOCKER_REGISTRY_URL"] = strings.Split(ref, "/")[0]
	h.env["DOCKER_REGISTRY_USERNAME"] = "puller"
	h.env["DOCKER_REGISTRY_PASSWORD"] = "swordfish"
	h.stack("web", strings.Replace(one, "BASE", ref, 1))
	h.push("add web")
	s := h.first()
	if st := s.stack(t, h.project("web")); st.Status != report.Running || st.Sync != report.Synced {
		t.Fatalf("web is %s: %s %s", st.Status, st.Reason, st.Error)
	}
	h.runs("web", "app")
}

func TestAPullThatFailsLeavesWhatRunsAndIsTriedAgainByItself(t *testing.T) {
	h := newHost(t)
	ref := h.privateRegistry("puller", "swordfish")
	h.stack("web", `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s}
  side: {image: BASE, command: RUN, stop_grace_period: 0s}
`)
	h.stack("other", one)
	h.push("add")
	h.first()
	before := h.runs("web", "app", "side")
	h.stack("web", `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, environment: {A: '1'}}
  side: {image: `+ref+`, command: RUN, stop_grace_period: 0s}
`)
	h.stack("other", strings.Replace(one, "command", "environment: {A: '1'}, command", 1))
	commit := h.push("change both")
	s := h.settle()
	st := s.stack(t, h.project("web"))
	if st.Status != report.Failed || !strings.Contains(st.Error, ref) {
		t.Errorf("web is %s: %s", st.Status, st.Error)
	}
	after := h.runs("web", "app", "side")
	if after["app"] != before["app"] || after["side"] != before["side"] {
		t.Error("a failed pull touched containers")
	}
	if c := h.containers("other"); c[0].Labels["gitops.commit"] != commit {
		t.Error("the other stack did not go on")
	}
	// The image comes by another way; nobody pushes, nobody triggers.
	if err := h.api.ImageTag(context.Background(), baseImage, ref); err != nil {
		t.Fatal(err)
	}
	h.eventually("web is updated", func() error {
		s, err := h.status()
		if err != nil {
			return err
		}
		if st := s.stack(t, h.project("web")); st.Status != report.Running || st.Sync != report.Synced {
			return errorString(string(st.Status) + ": " + st.Error)
		}
		return nil
	})
	if now := h.runs("web", "app", "side"); now["app"] == before["app"] || now["side"] == before["side"] {
		t.Error("the retry did not update the services")
	}
}

type errorString string

func (e errorString) Error() string { return string(e) }
