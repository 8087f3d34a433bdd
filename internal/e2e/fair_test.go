//go:build engine

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// hold lets no layer of an image out of a registry before let is called, or the
// test ends. asked is closed when the first is asked for.
func (i *images) hold(repository string) (asked <-chan struct{}, let func()) {
	asks, open := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(asks) })
	let = sync.OnceFunc(func() { close(open) })
	i.h.t.Cleanup(let)
	i.fail(repository, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			once()
			<-open
		}
		return false
	})
	return asks, let
}

// TestWhatIsSlowOrFailsDelaysNoOtherStack deploys two commits while a layer of an
// image does not come, while more stacks than are brought up at once are waited
// for, after their start and within it, and while a dozen fail again and again.
// Only then it lets the layer come and the stacks become healthy.
func TestWhatIsSlowOrFailsDelaysNoOtherStack(t *testing.T) {
	h := newHost(t)
	h.env["MAX_PARALLEL_STACKS"] = "2"
	registry := h.newImages(false)
	slow := registry.put("slow:1", "1", 1000)
	asked, let := registry.hold("slow")
	h.stack("pulled", of(slow))
	const health = `healthcheck: {test: ["CMD", "test", "-f", "/tmp/ready"], interval: 1s, retries: 2, start_period: 300s}`
	waitedFor := []string{"starting0", "starting1", "starting2"}
	waiting := []string{"waiting0", "waiting1", "waiting2"}
	for _, name := range waitedFor {
		h.stack(name, `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, `+health+`}
`)
	}
	for _, name := range waiting {
		h.write(name+"/conf/main.conf", "1\n")
		h.stack(name, `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, volumes: ["./conf:/conf:ro"], depends_on: {db: {condition: service_healthy}}}
  db: {image: BASE, command: RUN, stop_grace_period: 0s, `+health+`}
`)
	}
	var failing []string
	for i := range 6 {
		ends, refused := fmt.Sprint("ends", i), fmt.Sprint("refused", i)
		h.stack(ends, strings.Replace(one, "RUN", `["false"]`, 1))
		h.stack(refused, strings.Replace(one, "command", `ports: ["127.0.0.1:`+takenPort(t)+`:80"], command`, 1))
		failing = append(failing, ends, refused)
	}
	h.stack("web", one)
	h.push("add all")
	h.start()
	for _, name := range failing {
		h.becomes(name, func(st report.Stack) bool { return st.Sync == report.Waiting && len(st.Outcomes) > 0 })
	}
	h.becomes("web", running)
	h.eventually("the layer is asked for", func() error {
		select {
		case <-asked:
			return nil
		default:
			return errors.New("not yet")
		}
	})

	// goesOn fails the test when something of all that is over.
	goesOn := func() {
		t.Helper()
		s, err := h.status()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(append([]string{"pulled"}, waitedFor...), waiting...) {
			if st := s.stack(t, h.project(name)); st.Sync != report.Applying {
				t.Errorf("%s is %s, %s: %s", name, st.Status, st.Sync, st.Error)
			}
		}
		for _, name := range failing {
			if st := s.stack(t, h.project(name)); st.Status != report.Failed {
				t.Errorf("%s is %s, %s", name, st.Status, st.Sync)
			}
		}
		if all := h.containers("pulled"); len(all) > 0 {
			t.Errorf("the image came: %v", all[0].State)
		}
		for _, name := range waiting {
			h.runs(name, "app created", "db")
		}
	}
	deployed := func(name, commit string) {
		t.Helper()
		h.eventually(name+" is deployed", func() error {
			for _, c := range h.containers(name) {
				if c.State == container.StateRunning && c.Labels["gitops.commit"] == commit {
					return nil
				}
			}
			return fmt.Errorf("no container of %s runs at %s", name, commit)
		})
		goesOn()
	}
	goesOn()
	h.write("web/www/index.html", "one\n")
	h.stack("web", strings.Replace(one, "command", "volumes: ['./www:/www:ro'], command", 1))
	commit := h.push("change web")
	h.trigger()
	deployed("web", commit)
	h.stack("refused5", strings.Replace(one, "command", "environment: {A: '1'}, command", 1))
	failing = failing[:len(failing)-1]
	commit = h.push("mend one that failed")
	h.trigger()
	deployed("refused5", commit)

	let()
	h.becomes("pulled", running)
	for _, name := range append(waitedFor, waiting...) {
		for _, c := range h.containers(name) {
			if c.State == container.StateRunning {
				h.exec(c.ID, "touch", "/tmp/ready")
			}
		}
	}
	for _, name := range append(waitedFor, waiting...) {
		h.becomes(name, running)
	}
	for _, name := range waiting {
		h.runs(name, "app", "db")
	}
}
