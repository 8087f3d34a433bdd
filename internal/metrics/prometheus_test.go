package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// server is a real Prometheus.
type server struct {
	*testing.T
	url string
	log string
}

// start runs a Prometheus that scrapes a target every second.
func start(t *testing.T, target string) *server {
	t.Helper()
	path, dir := tool(t, "prometheus"), t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: gitops, static_configs: [{targets: [%q]}]}]\n", target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{T: t, url: "http://" + free(t), log: filepath.Join(dir, "log")}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+strings.TrimPrefix(s.url, "http://"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	return s
}

// free is an address that nobody listened on a moment ago.
func free(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// query gives the values of an instant query.
func (s *server) query(expr string) ([]string, error) {
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.url+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s", answer.Error)
	}
	var values []string
	for _, r := range answer.Data.Result {
		if value := fmt.Sprint(r.Value[1]); value != "NaN" {
			values = append(values, value)
		}
	}
	return values, nil
}

// live gives everything that the dashboard shows something to show: checks go
// well and fail, and a stack is held.
func live(m *Metrics) {
	busy(m)
	now := time.Now()
	look := report.Look{At: now.Add(-time.Second), Trigger: "webhook", Stacks: []report.Stack{
		{
			Name: "web", File: "web/compose.yaml", Status: report.Failed, Held: "foreign", LastSuccess: now, NextRetry: now, Suspended: &report.Suspension{Since: now}, Commit: "9f3c21e",
			Services: []report.Service{{Name: "app", Image: "web:1", Digest: "sha256:1d", RepoDigest: "sha256:d1"}},
		},
	}}
	m.Looked(look)
	m.Ended(report.Check{Look: look, Ended: now, Operations: []report.Operation{{Kind: "stop", Stack: "old", Cause: "removed", Took: time.Second}}})
	m.Ended(report.Check{Look: look, Ended: now, Operations: []report.Operation{{Kind: "up", Stack: "web", Cause: "new", Took: time.Second, Error: "not healthy"}}})
}

func TestNoPanelIsEmptyInARealPrometheus(t *testing.T) {
	m, reg := fresh()
	live(m)
	scrape := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		live(m) // something happens between two scrapes
		scrape.ServeHTTP(w, r)
	}))
	defer exporter.Close()
	s := start(t, strings.TrimPrefix(exporter.URL, "http://"))
	empty := readDashboard(t).queries()
	pace := time.NewTicker(200 * time.Millisecond)
	defer pace.Stop()
	for end := time.Now().Add(60 * time.Second); len(empty) > 0 && time.Now().Before(end); <-pace.C {
		for place, expr := range empty {
			if values, err := s.query(expr); err == nil && len(values) > 0 {
				delete(empty, place)
			}
		}
	}
	for _, place := range slices.Sorted(maps.Keys(empty)) {
		values, err := s.query(empty[place])
		t.Errorf("%s: %s: %v, %v", place, empty[place], values, err)
	}
	if t.Failed() {
		log, _ := os.ReadFile(s.log)
		t.Logf("%s", log)
	}
}
