//go:build engine

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// panels gives every query of the dashboard, by where it is, with Grafana's
// variables filled in.
func panels(t *testing.T) map[string]string {
	t.Helper()
	content, err := os.ReadFile("../../dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Name, Expr string } }
	}
	if err := json.Unmarshal(content, &d); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$__interval", "1m", "$instance", ".*").Replace
	all := map[string]string{}
	for _, p := range d.Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("%s %d", p.Title, i)] = fill(target.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		all[a.Name] = fill(a.Expr)
	}
	return all
}

// promtool gives what promtool says about an exposition, where there is one.
func promtool(t *testing.T, exposition []byte) (said string, ok bool) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("promtool is not installed: apt-get install --no-install-recommends prometheus")
		return "", false
	}
	cmd := exec.CommandContext(t.Context(), path, "check", "metrics")
	cmd.Stdin = bytes.NewReader(exposition)
	out, _ := cmd.CombinedOutput() // a finding is an error, too
	return string(out), true
}

// scrape runs a Prometheus that scrapes the daemon every second and gives its
// address.
func (h *host) scrape() string {
	h.t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		testenv.Missing(h.t, "there is no prometheus: apt-get install --no-install-recommends prometheus")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	dir := h.t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: gitops, static_configs: [{targets: [%q]}]}]\n", strings.TrimPrefix(h.daemon.base, "http://"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return "http://" + address
}

func TestNoPanelOfTheDashboardIsEmptyForARunningDaemon(t *testing.T) {
	h := newHost(t)
	h.stack("web", one)
	h.stack("bad", "services:\n  app: {image: \"PREFIX/not-here:1\"}\n")
	h.stack("old", one)
	h.write("invalid/compose.yaml", "services: 3\n")
	h.push("add")
	h.first()
	prometheus := h.scrape()
	// Something of every kind happens while Prometheus looks: an update, a
	// removal, a failure, and a check that can't reach the remote.
	round := 0
	happen := func() {
		round++
		h.stack("web", strings.Replace(one, "command", fmt.Sprintf("environment: {A: '%d'}, command", round), 1))
		if round == 2 {
			h.remove("old")
		}
		h.push("go on")
		h.settle()
		h.down.Store(true)
		h.settle()
		h.down.Store(false)
		h.settle()
	}
	empty := panels(t)
	deadline := time.Now().Add(limit)
	for len(empty) > 0 && time.Now().Before(deadline) {
		happen()
		for place, expr := range empty {
			if n, err := instant(prometheus, expr); err == nil && n > 0 {
				delete(empty, place)
			}
		}
	}
	for _, place := range slices.Sorted(maps.Keys(empty)) {
		n, err := instant(prometheus, empty[place])
		t.Errorf("%s is empty: %s: %d results, %v", place, empty[place], n, err)
	}
}

// instant counts the results of a query that are numbers.
func instant(base, expr string) (int, error) {
	resp, err := http.Get(base + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("%s", answer.Error)
	}
	n := 0
	for _, r := range answer.Data.Result {
		if fmt.Sprint(r.Value[1]) != "NaN" {
			n++
		}
	}
	return n, nil
}
