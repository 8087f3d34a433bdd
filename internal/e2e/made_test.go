//go:build engine

package e2e

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// call is a request to the engine's API that made or started something. A file
// in testdata/made has, in their order, those by which something brought up the
// stacks of newMade. In them CLONE, REPOSITORY, COMMIT and IMAGE stand for what
// is another one in each run, and ID(name) for the id of a container:
//
//	before.json   the daemon as it was before its plan became a graph (commit eb94a49)
//	compose.json  docker compose 2.40.3, up -d in each of the folders
//
// The calls were recorded by a proxy before the engine. Nothing but a change of
// the stacks in newMade is a reason to record them again.
type call struct {
	Call string          `json:"call"` // "POST /containers/create?name=web-app-1"
	Body json.RawMessage `json:"body,omitempty"`
}

// newMade is a host with two stacks that have a bit of everything that labels
// and hashes are made of. Names and paths are in the hashes, so that they are
// the same in each run: what a run left that was killed goes first.
func newMade(t *testing.T, by string) *ownHost {
	t.Helper()
	prefix := "e2emade" + by
	left := newHost(t)
	left.prefix = prefix
	left.cleanUp()
	h := &ownHost{host: newHost(t), image: baseImage}
	h.prefix = prefix
	h.clone = "/tmp/gitops-compose-" + prefix
	h.env["REPOSITORY_PATH"] = h.clone
	h.must(os.RemoveAll(h.clone))
	t.Cleanup(func() { _ = os.RemoveAll(h.clone) })
	body := `
services:
  app:
    image: BASE
    command: RUN
    stop_grace_period: 0s
    environment: {A: "${A}", B: plain}
    env_file: app.env
    volumes: ["./www:/www:ro", "data:/data", "/var"]
    configs: [{source: motd, target: /motd}]
    labels: {who: web}
    healthcheck: {test: ["CMD", "test", "-d", "/www"], interval: 1s, retries: 3}
    restart: unless-stopped
    networks: {default: {}, inner: {aliases: [web]}}
  many: {image: BASE, command: RUN, stop_grace_period: 0s, deploy: {replicas: 2}}
SIDEconfigs: {motd: {file: ./motd.txt}}
volumes: {data: {labels: {who: web}}}
networks: {inner: {internal: true, labels: {who: web}}}
`
	side := ""
	if by == "before" { // Compose's own hash of it has the id of the other's container
		side = "  side: {image: BASE, command: RUN, stop_grace_period: 0s, network_mode: 'service:app', depends_on: {app: {condition: service_healthy}}}\n"
	}
	h.stack("web", strings.Replace(body, "SIDE", side, 1))
	h.write("web/.env", "A=dotenv\n")
	h.write("web/app.env", "C=envfile\n")
	h.write("web/www/index.html", "one\n")
	h.write("web/motd.txt", "hello\n")
	h.stack("job", `
services:
  init: {image: BASE, command: ["true"], entrypoint: ["/bin/busybox"], restart: "no"}
  app: {image: BASE, command: RUN, stop_grace_period: 0s, container_name: PREFIX-named, depends_on: {init: {condition: service_completed_successfully}}}
`)
	head := h.push("add both")
	gittest.Git(t, "", "clone", "-q", h.remote, h.clone)
	gittest.Git(t, h.clone, "remote", "set-url", "origin", h.url)
	if at := gittest.Git(t, h.clone, "rev-parse", "HEAD"); at != head {
		t.Fatalf("the clone is at %s", at)
	}
	return h
}

// varies are the words that stand for what is another one in each run.
func (h *ownHost) varies() map[string]string {
	h.t.Helper()
	image, err := h.api.ImageInspect(context.Background(), baseImage)
	h.must(err)
	return map[string]string{
		"CLONE": h.clone, "REPOSITORY": strings.TrimSuffix(h.url, ".git"), "IMAGE": image.ID,
		"COMMIT": gittest.Git(h.t, h.clone, "rev-parse", "HEAD"),
	}
}

// replay makes the calls of a file.
func (h *ownHost) replay(name string) {
	h.t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "made", name))
	h.must(err)
	var pairs []string
	for word, is := range h.varies() {
		pairs = append(pairs, word, is)
	}
	var calls []call
	h.must(json.Unmarshal([]byte(strings.NewReplacer(pairs...).Replace(string(content))), &calls))
	ids := []string{}
	for _, c := range calls {
		known := strings.NewReplacer(ids...)
		method, path, _ := strings.Cut(known.Replace(c.Call), " ")
		request, err := http.NewRequestWithContext(h.t.Context(), method, "http://engine/v"+h.api.ClientVersion()+path, strings.NewReader(known.Replace(string(c.Body))))
		h.must(err)
		request.Header.Set("Content-Type", "application/json")
		resp, err := h.api.HTTPClient().Do(request)
		h.must(err)
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		h.must(err)
		if resp.StatusCode >= http.StatusBadRequest {
			h.t.Fatalf("%s: %s: %s", c.Call, resp.Status, answer)
		}
		if _, name, ok := strings.Cut(path, "/containers/create?name="); ok {
			var made struct{ ID string }
			h.must(json.Unmarshal(answer, &made))
			ids = append(ids, "ID("+name+")", made.ID)
		}
	}
}

// TestWhatOthersMadeTheSameIsNotMadeAgain is about an update of the daemon, and
// about a person who was there first.
func TestWhatOthersMadeTheSameIsNotMadeAgain(t *testing.T) {
	for name, by := range map[string]string{"by the version before": "before", "by docker compose": "compose"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newMade(t, by)
			h.replay(by + ".json")
			all := func() map[string]string {
				ids := map[string]string{}
				for _, project := range []string{"web", "job"} {
					for _, c := range h.containers(project) {
						ids[c.Names[0]] = c.ID
					}
				}
				return ids
			}
			before := all()
			if len(before) < 5 {
				t.Fatalf("the calls made %v", before)
			}
			began := h.beginnings("web", "job")
			for range 2 {
				s := h.first()
				for _, project := range []string{"web", "job"} {
					if st := s.stack(t, h.project(project)); st.Status != report.Running || st.Sync != report.Synced {
						t.Errorf("%s is %s, %s: %s %s", project, st.Status, st.Sync, st.Reason, st.Error)
					}
				}
				for _, op := range s.Checks[0].Operations {
					t.Errorf("%s %s was done: %s", op.Kind, op.Stack, op.Cause)
				}
				if out, stderr, code := h.command("plan"); code != 0 {
					t.Errorf("plan ends with %d: %s%s", code, out, stderr)
				}
				h.stop()
			}
			if now := all(); !maps.Equal(now, before) {
				t.Errorf("containers were replaced: %v, then %v", before, now)
			}
			if now := h.beginnings("web", "job"); !maps.Equal(now, began) {
				t.Errorf("containers were started again: %v, then %v", began, now)
			}

			// They are the daemon's from now on.
			h.write("web/www/index.html", "two\n")
			h.remove("job")
			h.push("change the page, remove job")
			h.first()
			h.runs("job")
			now := all()
			for container, id := range before {
				uses := strings.Contains(container, "-app-") || strings.Contains(container, "-side-")
				if strings.Contains(container, "-web-") && uses == (now[container] == id) {
					t.Errorf("%s was %s, is %s", container, id, now[container])
				}
			}
		})
	}
}
