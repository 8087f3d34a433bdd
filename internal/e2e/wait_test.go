//go:build engine

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// waiting posts a push that waits for the end of its check, and gives the
// answer when there is one.
func (h *host) waiting(secret string) <-chan string {
	h.t.Helper()
	request, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.daemon.base+"/webhook?wait=true", strings.NewReader("{}"))
	if err != nil {
		h.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	answered := make(chan string, 1)
	go func() {
		resp, err := http.DefaultClient.Do(request)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			answered <- err.Error()
			return
		}
		answered <- resp.Status + "\n" + string(body)
	}()
	return answered
}

func TestAPushThatWaitsIsHandedOnWhenTheDaemonStops(t *testing.T) {
	h := newHost(t)
	h.env["WEBHOOK_SECRET"] = "hush"
	h.stack("web", one)
	h.push("add web")
	h.first()
	h.stack("slow", `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, healthcheck: {test: ["CMD", "test", "-f", "/tmp/ready"], interval: 1s, retries: 2, start_period: 300s}}
`)
	h.push("add slow")
	answered := h.waiting("hush")
	h.eventually("slow is being applied", func() error {
		s, err := h.status()
		if err != nil {
			return err
		}
		for _, c := range h.containers("slow") {
			if c.State == "running" && s.stack(t, h.project("slow")).Sync == report.Applying {
				return nil
			}
		}
		return fmt.Errorf("the stacks are %+v", s.Stacks)
	})
	h.stop()
	const want = `503 Service Unavailable
{
  "status": "queued",
  "reason": "the daemon is stopping; the first check of the next one covers this"
}
`
	if got := <-answered; got != want {
		t.Errorf("got %s", got)
	}
	for _, c := range h.containers("slow") {
		h.exec(c.ID, "touch", "/tmp/ready")
	}
	h.first()
	h.runs("slow", "app")
	if s, err := h.status(); err != nil || s.stack(t, h.project("slow")).Status != report.Running {
		t.Errorf("after the next start: %+v, %v", s.Stacks, err)
	}
}
