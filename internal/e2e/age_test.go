//go:build engine

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/engine/enginetest"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// digest is what a tag points to.
func (i *images) digest(name string) string {
	i.h.t.Helper()
	repository, tag, _ := strings.Cut(name, ":")
	w := httptest.NewRecorder()
	i.store.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/v2/"+repository+"/manifests/"+tag, http.NoBody))
	digest := w.Header().Get("Docker-Content-Digest")
	if digest == "" {
		i.h.t.Fatalf("%s has no digest: %d", name, w.Code)
	}
	return digest
}

func waitsForAge(st report.Stack) bool {
	return st.Status == report.Running && st.Sync == report.Deferred && st.Held == string(plan.HeldAge)
}

func TestANewImageWaitsForItsAge(t *testing.T) {
	h := newHost(t)
	reg := h.newImages(false)
	h.env["IMAGE_MIN_AGE"], h.env["PRUNE_IMAGES"] = "3d", "true"
	ref := reg.put("web:latest", "1", 0)
	change := func(more string) {
		t.Helper()
		h.stack("web", "services:\n  app: {image: "+ref+", pull_policy: every_1s, command: RUN, stop_grace_period: 0s"+more+"}\n")
		h.push("change " + more)
	}
	change("")
	h.first()
	before := h.runs("web", "app")["app"]
	reg.put("web:latest", "2", 0)
	held := h.becomes("web", waitsForAge)
	if want := fmt.Sprintf("%s at the registry is a newer image (%s), first seen on ", ref, reg.digest("web:latest")[:len("sha256:")+12]); !strings.HasPrefix(held.Reason, want) {
		t.Errorf("the reason is %q, want %q", held.Reason, want)
	}
	if h.runs("web", "app")["app"] != before {
		t.Error("what runs was touched")
	}
	s, err := h.status()
	if err != nil || !s.Synced {
		t.Errorf("a stack that waits is not as git wants it: %+v, %v", s, err)
	}
	metrics, _, err := h.get("/metrics")
	if want := fmt.Sprintf(`gitops_stack_held{reason="age",stack=%q} 1`, held.Name); err != nil || !strings.Contains(string(metrics), want) {
		t.Errorf("no %s, %v", want, err)
	}
	if out, stderr, code := h.command("plan"); code != 0 || !strings.Contains(out, "hold "+held.Name+": age: "+held.Reason) {
		t.Errorf("plan: exit code %d\n%s%s", code, out, stderr)
	}

	change(", environment: {A: '1'}")
	h.settle()
	after := h.runs("web", "app")["app"]
	if got := h.exec(after, "cat", "/version"); got != "1" || after == before {
		t.Errorf("git has changed it: version %s, another container: %t", got, after != before)
	}
	h.stop()
	h.start()
	if again := h.becomes("web", waitsForAge); again.Reason != held.Reason {
		t.Errorf("after a restart the reason is %q, was %q", again.Reason, held.Reason)
	}
	if n := reg.requests("GET web/"); n > 0 {
		t.Errorf("%d requests that are pulls", n)
	}

	change(", environment: {A: '1'}, labels: {gitops.image-age: 1s}")
	h.settle()
	name, _, _ := strings.Cut(ref, ":latest")
	has := func(version string) {
		t.Helper()
		latest := name + "@" + reg.digest("web:latest")
		h.eventually("it has what the tag points to", func() error {
			i, err := h.api.ImageInspect(context.Background(), ref)
			if err != nil {
				return err
			}
			other := func(s string) bool { return !strings.HasPrefix(s, name) } // what tests have left behind is the same image
			tags, digests := slices.DeleteFunc(i.RepoTags, other), slices.DeleteFunc(i.RepoDigests, other)
			if !slices.Equal(tags, []string{ref}) || !slices.Equal(digests, []string{latest}) {
				return fmt.Errorf("the image is %v %v", tags, digests)
			}
			if c := h.containers("web"); len(c) != 1 || c[0].ImageID != i.ID || c[0].State != container.StateRunning {
				return fmt.Errorf("the containers are %+v", c)
			}
			return nil
		})
		if got := h.version("web"); got != version {
			t.Errorf("it has version %s", got)
		}
	}
	has("2")
	reg.put("web:latest", "3", 0)
	has("3") // without a commit

	labelled := h.runs("web", "app")["app"]
	change(", environment: {A: '1'}")
	h.settle()
	if h.runs("web", "app")["app"] != labelled {
		t.Error("the label recreates containers")
	}
	reg.put("web:latest", "4", 0)
	h.becomes("web", waitsForAge)
	out, err := h.api.ImagePull(context.Background(), ref, image.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = out.Close()
	h.trigger()
	has("4")
}

func TestATagThatMovesWhileItsDigestIsPulledIsGivenBack(t *testing.T) {
	h := newHost(t)
	reg := h.newImages(false)
	ctx := context.Background()
	ref := reg.put("web:1", "1", 0)
	// It could be built, which is for what can't be pulled.
	p := enginetest.Stack{Root: t.TempDir(), Name: h.project("web"), Image: ref, Repository: "r", Hasher: engine.Hasher{}}.Load(t, "services:\n  app: {RUN, build: ., pull_policy: always}\n")
	e := engine.New(h.api, engine.Options{})
	if err := e.Pull(ctx, p); err != nil {
		t.Fatal(err)
	}
	before, err := h.api.ImageInspect(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	old := reg.address + "/web@" + reg.digest("web:1")
	t.Cleanup(func() { h.forget(old) })
	reg.put("web:1", "2", 0)
	p.Services[0].Digest = reg.digest("web:1")
	asked := false
	reg.fail("web", func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodHead || asked {
			return false
		}
		asked = true
		reg.store.ServeHTTP(w, r)
		if err := reg.push("web:1", "3", 0); err != nil {
			t.Error(err)
		}
		return true
	})
	err = e.Pull(ctx, p)
	var moved interface{ MovedTo() (string, string) }
	if !errors.As(err, &moved) {
		t.Fatalf("error %v", err)
	}
	if image, digest := moved.MovedTo(); image != ref || digest != reg.digest("web:1") {
		t.Errorf("moved to %s %s", image, digest)
	}
	if after, err := h.api.ImageInspect(ctx, ref); err != nil || after.ID != before.ID {
		t.Errorf("the tag is that of %s, was %s, %v", after.ID, before.ID, err)
	}
	p.Services[0].Digest = reg.digest("web:1")
	if err := e.Pull(ctx, p); err != nil {
		t.Error(err)
	}
	after, err := h.api.ImageInspect(ctx, ref)
	if err != nil || after.ID == before.ID || !slices.ContainsFunc(after.RepoDigests, func(s string) bool { return strings.HasSuffix(s, "@"+p.Services[0].Digest) }) {
		t.Errorf("the image is %s %v, was %s, %v", after.ID, after.RepoDigests, before.ID, err)
	}
}
