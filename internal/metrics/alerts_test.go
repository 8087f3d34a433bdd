package metrics

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"go.yaml.in/yaml/v2"

	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// tool finds a program of Debian's package prometheus; a test that has to do
// without it is skipped.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		testenv.Missing(t, "there is no %s: apt-get install prometheus", name)
	}
	return path
}

func TestEveryAlertAsksForWhatIsExported(t *testing.T) {
	content, err := os.ReadFile("../../alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(content, &rules); err != nil {
		t.Fatal(err)
	}
	exported := exported(t)
	for _, r := range rules.Groups[0].Rules {
		hold(t, r.Alert, r.Expr, exported)
	}
	if len(rules.Groups[0].Rules) != 9 {
		t.Errorf("%d alerts", len(rules.Groups[0].Rules))
	}
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), tool(t, "promtool"), "test", "rules", "testdata/alerts_test.yml").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// The one finding is there to stay: name and type are an interface, and to
// promtool only what is untyped may end in _total without being a counter.
// Left untyped, the family would lose the type that its users rely on.
func TestPromtoolFindsNothingButTheOldName(t *testing.T) {
	m, reg := fresh()
	busy(m)
	cmd := exec.CommandContext(t.Context(), tool(t, "promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(exposition(t, reg))
	out, _ := cmd.CombinedOutput() // a finding is an error, too
	const want = "gitops_deployments_active_total non-counter metrics should not have \"_total\" suffix\n"
	if string(out) != want {
		t.Errorf("got %s", out)
	}
}

// exposition is the text format.
func exposition(t *testing.T, reg prometheus.Gatherer) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}
