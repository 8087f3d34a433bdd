//go:build engine

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

func suspended(st report.Stack) bool {
	return st.Status == report.Running && st.Sync == report.Deferred && st.Held == string(plan.HeldSuspended)
}

// TestPeopleTellTheDaemonWhatToDo plays the commands, as they are typed beside the daemon.
func TestPeopleTellTheDaemonWhatToDo(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	web := func(version int, label string) {
		t.Helper()
		h.stack("web", fmt.Sprintf("\nservices:\n  app: {image: BASE, command: RUN, stop_grace_period: 0s, environment: {V: '%d'}, labels: {%s}}\n", version, label))
		h.push(fmt.Sprintf("version %d %s", version, label))
	}
	says := func(code int, want string, args ...string) {
		t.Helper()
		stdout, stderr, got := h.command(args...)
		if got != code || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: exit code %d, %s%s; want %d and %q", strings.Join(args, " "), got, stdout, stderr, code, want)
		}
	}
	name := h.project("web")
	says(1, "start the daemon once to make it", "status") // there is no clone
	web(1, "")
	h.first()
	says(0, name+"  running  synced", "status")
	says(0, name+": suspended until ", "suspend", name, "--for", "2h", "--reason", "migrating")
	first := h.runs("web", "app")["app"]

	// Neither an update nor a repair nor a restart changes anything.
	web(2, "")
	h.settle()
	if now := h.runs("web", "app")["app"]; now != first {
		t.Error("a suspended stack was updated")
	}
	h.daemon.kill()
	h.start()
	st := h.becomes("web", suspended)
	if st.Suspended == nil || st.Suspended.Reason != "migrating" || st.Suspended.Until.IsZero() || !strings.Contains(st.Reason, "migrating") {
		t.Errorf("it says %+v, %+v", st, st.Suspended)
	}
	says(2, "held (suspended)", "status")
	stdout, _, _ := h.command("status", name, "--json")
	var s struct{ Stacks []report.Stack }
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || len(s.Stacks) != 1 || s.Stacks[0].Suspended == nil {
		t.Errorf("status --json says %s: %v", stdout, err)
	}
	says(0, "hold "+name+": suspended: suspended by", "plan")

	says(0, name+": resumed", "resume", name)
	h.becomes("web", running)
	if now := h.runs("web", "app")["app"]; now == first {
		t.Error("it was not updated")
	}

	// What git suspends stays until git says otherwise, and is not recreated for it.
	second := h.runs("web", "app")["app"]
	web(2, "gitops.suspend: 'true'")
	h.settle()
	h.becomes("web", suspended)
	web(2, "")
	h.settle()
	h.becomes("web", running)
	if now := h.runs("web", "app")["app"]; now != second {
		t.Error("the label has recreated it")
	}

	h.remove("web")
	h.stack("db", "\nservices:\n  app: {image: BASE, command: RUN, stop_grace_period: 0s}\n")
	h.push("no web any more")
	says(0, "suspended", "suspend", "--all")
	says(0, "the remote is asked now", "sync")
	h.becomes("web", suspended)
	says(0, "resumed", "resume", "--all")
	h.eventually("web is gone", func() error {
		if n := len(h.containers("web")); n > 0 {
			return fmt.Errorf("it has %d containers", n)
		}
		return nil
	})
	h.becomes("db", running)
	says(1, "there is no stack of that name: nobody", "retry", "nobody")
	says(0, "migrating", "history", name)
	says(0, "stop", "history", name, "--since", "1h", "--json")
	says(1, "give the names of stacks, or --all", "retry")
	says(1, "--for is -2h0m0s", "suspend", "--all", "--for", "-2h")
	if body, code, err := h.get("/api/v1/sync"); err != nil || code != 405 {
		t.Errorf("GET /api/v1/sync: %d %s %v", code, body, err)
	}
	h.stop()
	says(1, "no daemon works on this clone", "status")
}
