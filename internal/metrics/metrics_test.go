package metrics

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

func fresh() (*Metrics, *prometheus.Registry) {
	reg := prometheus.NewRegistry()
	return New(reg, Options{Version: "1.2.3", Commit: "abc", Interval: 5 * time.Minute}), reg
}

// expect compares families with their text; an empty want means that they have
// no series.
func expect(t *testing.T, reg prometheus.Gatherer, want string, families ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), families...); err != nil {
		t.Error(err)
	}
}

const (
	checkHelp  = "# HELP gitops_check_total Checks, by how they ended.\n# TYPE gitops_check_total counter\n"
	activeHelp = "# HELP gitops_deployments_active_total Stacks by their state now.\n# TYPE gitops_deployments_active_total gauge\n"
	resultHelp = "# HELP gitops_deployments_operations_total What checks did to stacks.\n# TYPE gitops_deployments_operations_total counter\n"
)

func TestTheSixFamiliesExistFromTheStart(t *testing.T) {
	_, reg := fresh()
	expect(t, reg, `
# HELP gitops_check_timestamp_seconds When the last check ended, by how it ended.
# TYPE gitops_check_timestamp_seconds gauge
gitops_check_timestamp_seconds{status="error"} 0
gitops_check_timestamp_seconds{status="success"} 0
# HELP gitops_check_total Checks, by how they ended.
# TYPE gitops_check_total counter
gitops_check_total{status="error"} 0
gitops_check_total{status="success"} 0
# HELP gitops_deployments_active_total Stacks by their state now.
# TYPE gitops_deployments_active_total gauge
gitops_deployments_active_total{status="failed"} 0
gitops_deployments_active_total{status="idle"} 0
gitops_deployments_active_total{status="ignored"} 0
gitops_deployments_active_total{status="invalid"} 0
gitops_deployments_active_total{status="running"} 0
# HELP gitops_deployments_change_timestamp_seconds When a change was last applied, by whether all of it went well.
# TYPE gitops_deployments_change_timestamp_seconds gauge
gitops_deployments_change_timestamp_seconds{status="error"} 0
gitops_deployments_change_timestamp_seconds{status="success"} 0
# HELP gitops_deployments_operations_total What checks did to stacks.
# TYPE gitops_deployments_operations_total counter
gitops_deployments_operations_total{operation="failed"} 0
gitops_deployments_operations_total{operation="ignored"} 0
gitops_deployments_operations_total{operation="invalid"} 0
gitops_deployments_operations_total{operation="started"} 0
gitops_deployments_operations_total{operation="stopped"} 0
gitops_deployments_operations_total{operation="updated"} 0
`, "gitops_check_timestamp_seconds", "gitops_check_total", "gitops_deployments_active_total",
		"gitops_deployments_change_timestamp_seconds", "gitops_deployments_operations_total")
}

func TestTheTextFormatIsClean(t *testing.T) {
	m, reg := fresh()
	busy(m)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Metric+": "+p.Text)
	}
	// The name is an interface that is older than the convention, and so is the type.
	want := []string{`gitops_deployments_active_total: non-counter metrics should not have "_total" suffix`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// busy makes every family have a series.
func busy(m *Metrics) {
	at := time.Unix(1000, 0)
	before := []report.Stack{
		{Name: "web", File: "web/compose.yaml", Status: report.Failed, Error: "pull failed", Commit: "1a2b3c4", LastSuccess: at, NextRetry: at.Add(time.Minute), Held: "retry"},
		{Name: "db", File: "db/compose.yaml", Status: report.Running, Commit: "1a2b3c4", LastSuccess: at, Suspended: &report.Suspension{By: "mia", Since: at}},
	}
	look := report.Look{At: at, Trigger: "tick", From: "1a2b3c4", To: "9f3c21e", Stacks: before}
	m.Looked(look)
	m.Fetched(50*time.Millisecond, nil)
	m.Webhook("github", "queued")
	m.Ended(report.Check{
		Look: look, Ended: at.Add(3 * time.Second), Final: before,
		Operations: []report.Operation{
			{Kind: "checkout", Cause: "from 1a2b3c4", Took: time.Millisecond},
			{Kind: "pull", Stack: "web", Cause: "changed", Took: 40 * time.Second},
			{Kind: "up", Stack: "web", Cause: "changed", Took: 2 * time.Second, Error: "not healthy"},
			{Kind: "up", Stack: "db", Cause: "drift: container stopped", Took: time.Second},
			{Kind: "hand over", Stack: "gitops", Cause: "changed", Took: time.Second},
		},
		Counts: []report.Count{{Stack: "web", Result: report.ResultFailed}, {Stack: "db", Result: report.ResultUpdated}},
	})
}

func TestAnEndedCheckIsCounted(t *testing.T) {
	m, reg := fresh()
	busy(m)
	m.Ended(report.Check{Look: report.Look{At: time.Unix(2000, 0), Error: "remote is down"}, Ended: time.Unix(2001, 0)})
	expect(t, reg, checkHelp+`gitops_check_total{status="error"} 1
gitops_check_total{status="success"} 1
`+resultHelp+`gitops_deployments_operations_total{operation="failed"} 1
gitops_deployments_operations_total{operation="ignored"} 0
gitops_deployments_operations_total{operation="invalid"} 0
gitops_deployments_operations_total{operation="started"} 0
gitops_deployments_operations_total{operation="stopped"} 0
gitops_deployments_operations_total{operation="updated"} 1
`+`# HELP gitops_check_timestamp_seconds When the last check ended, by how it ended.
# TYPE gitops_check_timestamp_seconds gauge
gitops_check_timestamp_seconds{status="error"} 2001
gitops_check_timestamp_seconds{status="success"} 1003
# HELP gitops_deployments_change_timestamp_seconds When a change was last applied, by whether all of it went well.
# TYPE gitops_deployments_change_timestamp_seconds gauge
gitops_deployments_change_timestamp_seconds{status="error"} 1003
gitops_deployments_change_timestamp_seconds{status="success"} 0
# HELP gitops_drift_total Stacks brought back after they had changed on the host without a change in git.
# TYPE gitops_drift_total counter
gitops_drift_total 1
# HELP gitops_retries_total Attempts at stacks whose last attempt had failed.
# TYPE gitops_retries_total counter
gitops_retries_total 1
# HELP gitops_handovers_total Hand-overs of the daemon's own stack, by how they ended.
# TYPE gitops_handovers_total counter
gitops_handovers_total{result="error"} 0
gitops_handovers_total{result="success"} 1
# HELP gitops_operation_errors_total Operations that failed.
# TYPE gitops_operation_errors_total counter
gitops_operation_errors_total{operation="before_hook"} 0
gitops_operation_errors_total{operation="checkout"} 0
gitops_operation_errors_total{operation="hand_over"} 0
gitops_operation_errors_total{operation="pull"} 0
gitops_operation_errors_total{operation="stop"} 0
gitops_operation_errors_total{operation="up"} 1
`, "gitops_check_total", "gitops_deployments_operations_total", "gitops_check_timestamp_seconds", "gitops_deployments_change_timestamp_seconds",
		"gitops_drift_total", "gitops_retries_total", "gitops_handovers_total", "gitops_operation_errors_total")
}

func TestTheStateOfStacksFollowsThePicture(t *testing.T) {
	m, reg := fresh()
	m.Looked(report.Look{Stacks: []report.Stack{{Name: "web", Status: report.Running}, {Name: "bad", Status: report.Invalid}}})
	expect(t, reg, activeHelp+`gitops_deployments_active_total{status="failed"} 0
gitops_deployments_active_total{status="idle"} 0
gitops_deployments_active_total{status="ignored"} 0
gitops_deployments_active_total{status="invalid"} 1
gitops_deployments_active_total{status="running"} 1
`, "gitops_deployments_active_total")
	m.Updated(report.Stack{Name: "web", Status: report.Failed})
	m.Looked(report.Look{Error: "remote is down"}) // says nothing about stacks
	expect(t, reg, activeHelp+`gitops_deployments_active_total{status="failed"} 1
gitops_deployments_active_total{status="idle"} 0
gitops_deployments_active_total{status="ignored"} 0
gitops_deployments_active_total{status="invalid"} 1
gitops_deployments_active_total{status="running"} 0
# HELP gitops_ready 1 if the last check succeeded, 0 if it failed or there was none yet.
# TYPE gitops_ready gauge
gitops_ready 0
`, "gitops_deployments_active_total", "gitops_ready")
}

func TestTheRemoteIsReachableUntilALookCouldNotAskIt(t *testing.T) {
	m, reg := fresh()
	say := func(value string) {
		t.Helper()
		expect(t, reg, `
# HELP gitops_remote_reachable 1 if the newest look knew the remote's head, 0 if the remote could not be asked or there was no look yet.
# TYPE gitops_remote_reachable gauge
gitops_remote_reachable `+value+"\n", "gitops_remote_reachable")
	}
	say("0")
	m.Looked(report.Look{At: time.Unix(1, 0)})
	say("1")
	m.Looked(report.Look{At: time.Unix(2, 0), Error: "fetch: connection refused", Offline: "connection refused"})
	say("0")
	m.Looked(report.Look{At: time.Unix(3, 0), Error: "the clone has local changes"})
	say("1")
}

const perStack = `
# HELP gitops_stack_info A stack, its compose file and the commit that was last applied to it.
# TYPE gitops_stack_info gauge
gitops_stack_info{commit="1a2b3c4",file="db/compose.yaml",stack="db"} 1
gitops_stack_info{commit="1a2b3c4",file="web/compose.yaml",stack="web"} 1
# HELP gitops_stack_status 1 for the state that a stack is in, 0 for the others.
# TYPE gitops_stack_status gauge
gitops_stack_status{stack="db",status="failed"} 0
gitops_stack_status{stack="db",status="idle"} 0
gitops_stack_status{stack="db",status="ignored"} 0
gitops_stack_status{stack="db",status="invalid"} 0
gitops_stack_status{stack="db",status="running"} 1
gitops_stack_status{stack="web",status="failed"} 1
gitops_stack_status{stack="web",status="idle"} 0
gitops_stack_status{stack="web",status="ignored"} 0
gitops_stack_status{stack="web",status="invalid"} 0
gitops_stack_status{stack="web",status="running"} 0
# HELP gitops_stack_held 1 if a stack is held back from what git wants, with the kind of reason; no series if it is not.
# TYPE gitops_stack_held gauge
gitops_stack_held{reason="retry",stack="web"} 1
# HELP gitops_stack_last_success_timestamp_seconds When a stack was last applied with success; no series if never.
# TYPE gitops_stack_last_success_timestamp_seconds gauge
gitops_stack_last_success_timestamp_seconds{stack="db"} 1000
gitops_stack_last_success_timestamp_seconds{stack="web"} 1000
# HELP gitops_stack_next_retry_timestamp_seconds When a failed stack is tried again; no series if it did not fail.
# TYPE gitops_stack_next_retry_timestamp_seconds gauge
gitops_stack_next_retry_timestamp_seconds{stack="web"} 1060
# HELP gitops_stack_suspended_timestamp_seconds Since when a stack is left as it is because a person wants that; no series if it is not.
# TYPE gitops_stack_suspended_timestamp_seconds gauge
gitops_stack_suspended_timestamp_seconds{stack="db"} 1000
`

func TestSeriesOfARemovedStackDisappear(t *testing.T) {
	families := []string{"gitops_stack_info", "gitops_stack_status", "gitops_stack_held", "gitops_stack_last_success_timestamp_seconds", "gitops_stack_next_retry_timestamp_seconds", "gitops_stack_suspended_timestamp_seconds"}
	m, reg := fresh()
	busy(m)
	expect(t, reg, perStack, families...)
	m.Looked(report.Look{Stacks: []report.Stack{}})
	expect(t, reg, "", families...)
}

func TestTwoFilesWithOneNameDoNotBreakTheScrape(t *testing.T) {
	m, reg := fresh()
	m.Looked(report.Look{Stacks: []report.Stack{
		{Name: "web", File: "a\xff/compose.yaml", Status: report.Running, Held: "something new"},
		{Name: "web", File: "b/compose.yaml", Status: report.Invalid, Held: "invalid"},
	}})
	expect(t, reg, `
# HELP gitops_stack_info A stack, its compose file and the commit that was last applied to it.
# TYPE gitops_stack_info gauge
gitops_stack_info{commit="",file="a`+"\uFFFD"+`/compose.yaml",stack="web"} 1
gitops_stack_info{commit="",file="b/compose.yaml",stack="web"} 1
# HELP gitops_stack_status 1 for the state that a stack is in, 0 for the others.
# TYPE gitops_stack_status gauge
gitops_stack_status{stack="web",status="failed"} 0
gitops_stack_status{stack="web",status="idle"} 0
gitops_stack_status{stack="web",status="ignored"} 0
gitops_stack_status{stack="web",status="invalid"} 1
gitops_stack_status{stack="web",status="running"} 0
`, "gitops_stack_info", "gitops_stack_status")
}

func TestASenderCanNotMakeSeries(t *testing.T) {
	m, reg := fresh()
	for _, word := range []string{"a", "b", "c"} {
		m.Webhook(word, word)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "gitops_webhook_requests_total" && len(f.GetMetric()) != len(providers())*len(decisions())+1 {
			t.Errorf("got %d series", len(f.GetMetric()))
		}
	}
}

func TestTheNumberOfSeriesFollowsFromTheStacks(t *testing.T) {
	// Every stack is in the worst state there is: all that can be said is.
	stacks := func(n, commit int) []report.Stack {
		all := make([]report.Stack, n)
		for i := range all {
			at := time.Unix(int64(commit), 0)
			all[i] = report.Stack{
				Name: fmt.Sprint("s", i), File: fmt.Sprint(i), Status: report.Failed, Sync: report.Deferred, Held: "retry", Reason: fmt.Sprint(commit), Error: fmt.Sprint(commit),
				Commit: fmt.Sprint(commit), Attempted: fmt.Sprint(commit), LastSuccess: at, NextRetry: at,
				Services: []report.Service{{Name: "app", Image: fmt.Sprint("app:", commit), Digest: fmt.Sprint("sha256:", commit)}},
			}
		}
		return all
	}
	m, reg := fresh()
	series := func(n, commit int) int {
		l := report.Look{At: time.Unix(int64(commit), 0), Trigger: "tick", To: fmt.Sprint(commit), Stacks: stacks(n, commit)}
		m.Looked(l)
		m.Ended(report.Check{Look: l, Ended: l.At, Final: l.Stacks, Operations: []report.Operation{{Kind: "up", Stack: "s0", Cause: fmt.Sprint(commit), Error: fmt.Sprint(commit)}}})
		got, err := testutil.GatherAndCount(reg)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	none, one, ten := series(0, 1), series(1, 2), series(10, 3)
	for commit := range 100 { // new commits, images, errors, and times
		ten = series(10, 4+commit)
	}
	if each := one - none; each <= 0 || each > 10 || ten != none+10*each {
		t.Errorf("%d series without a stack, %d with one, %d with ten", none, one, ten)
	}
	if again := series(0, 200); again != none {
		t.Errorf("%d series when all stacks are gone, %d before there was one", again, none)
	}
}

func TestBuildRuntimeAndProcessAreThere(t *testing.T) {
	_, reg := fresh()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	missing := []string{"gitops_build_info", "gitops_check_interval_seconds", "go_goroutines", "process_resident_memory_bytes"}
	for _, f := range families {
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == f.GetName() })
	}
	if len(missing) > 0 {
		t.Errorf("missing: %s", missing)
	}
}

func TestTheTimeOfAnOperationHasItsWaiting(t *testing.T) {
	m, reg := fresh()
	m.Ended(report.Check{Operations: []report.Operation{{Kind: "up", Stack: "web", Took: time.Second, Settled: 2 * time.Second}}})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == "gitops_operation_duration_seconds" {
			for _, of := range f.GetMetric() {
				sum += of.GetHistogram().GetSampleSum()
			}
		}
	}
	if sum != 3 {
		t.Errorf("%v s, want 3", sum)
	}
}
