//go:build engine

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// hooked is a stack whose hooks write down which version of the app they find, migrate
// before an update and smoke after it, and then do what is given. labels are the app's.
func (h *host) hooked(version int, migrate, smoke, labels string) {
	h.t.Helper()
	h.stack("web", strings.NewReplacer("VERSION", fmt.Sprint(version), "MIGRATE", migrate, "SMOKE", smoke, "LABELS", labels).Replace(`
services:
  app:
    image: BASE
    command: [busybox, httpd, -f, -p, "80", -h, /srv]
    configs: [{source: version, target: /srv/version}]
    environment: {WHICH: "VERSION"}
    labels: {LABELS}
    stop_grace_period: 0s
    depends_on: [db]
  db: {image: BASE, command: RUN, stop_grace_period: 0s, volumes: ['log:/log:ro']}
  migrate:
    image: BASE
    command: [sh, -c, 'echo before VERSION: $$(busybox wget -q -O - http://app/version 2>&1) >> /log/log; MIGRATE']
    stop_grace_period: 0s
    depends_on: [db]
    volumes: ['log:/log']
    profiles: [hooks]
  smoke:
    image: BASE
    command: [sh, -c, 'echo after VERSION: $$(busybox wget -q -O - http://app/version 2>&1) >> /log/log; SMOKE']
    stop_grace_period: 0s
    volumes: ['log:/log']
    profiles: [hooks]
configs: {version: {content: "vVERSION"}}
volumes: {log: {}}
x-gitops: {before: migrate, after: smoke}
`))
	h.push(fmt.Sprintf("version %d", version))
}

// wrote wants the hooks to have written some lines, of which each begins as given.
func (h *host) wrote(want ...string) {
	h.t.Helper()
	lines := strings.Split(strings.TrimSpace(h.exec(h.runs("web", "app", "db")["db"], "cat", "/log/log")), "\n")
	if !slices.EqualFunc(lines, want, strings.HasPrefix) {
		h.t.Errorf("the hooks wrote %q, want %q", lines, want)
	}
}

// hookRuns are the containers of hooks of the stack.
func (h *host) hookRuns() []container.Summary {
	h.t.Helper()
	list, err := h.api.ContainerList(h.t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", render.LabelHook), filters.Arg("label", "com.docker.compose.project="+h.project("web")))})
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

func TestHooksRunAroundAnUpdate(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.asksForPasswords()
	h.hooked(1, "exit 0", "exit 0", "")
	h.first()
	h.wrote("before 1: ", "after 1: v1")
	first := h.runs("web", "app", "db")

	h.hooked(2, "exit 0", "exit 0", "gitops.rollback: 'true'")
	h.settle()
	h.wrote("before 1: ", "after 1: v1", "before 2: v1", "after 2: v2")
	second := h.runs("web", "app", "db")
	if second["db"] != first["db"] || second["app"] == first["app"] {
		t.Errorf("was %v, is %v", first, second)
	}

	// Nothing is touched if the first hook fails.
	h.hooked(3, "echo no such column; exit 3", "exit 0", "gitops.rollback: 'true'")
	h.trigger()
	failed := h.becomes("web", func(st report.Stack) bool { return st.Status == report.Failed && st.Error != "" })
	if want := "the before hook migrate ended with 3"; failed.Error != want || !strings.Contains(failed.Detail, "no such column") {
		t.Errorf("the error is %q, the detail %q", failed.Error, failed.Detail)
	}
	if now := h.runs("web", "app", "db"); now["app"] != second["app"] || now["db"] != second["db"] {
		t.Errorf("was %v, is %v", second, now)
	}

	// If the last one fails, the stack goes back, as it asks for that.
	h.hooked(4, "exit 0", "exit 1", "gitops.rollback: 'true'")
	h.trigger()
	back := h.becomes("web", func(st report.Stack) bool { return st.Held == string(plan.HeldRollback) && st.Sync == report.Deferred })
	if want := "the after hook smoke ended with 1"; back.Error != want {
		t.Errorf("the error is %q", back.Error)
	}
	if got := h.exec(h.runs("web", "app", "db")["app"], "cat", "/srv/version"); got != "v2" {
		t.Errorf("it runs %s", got)
	}
	if left := h.hookRuns(); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	metrics, _, err := h.get("/metrics")
	if err != nil || !strings.Contains(string(metrics), `gitops_operation_errors_total{operation="before_hook"}`) {
		t.Errorf("no metric tells of the hook that failed: %v", err)
	}
}

func TestADaemonKilledWhileAHookRuns(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.hooked(1, "exit 0", "exit 0", "")
	h.first()
	first := h.runs("web", "app", "db")
	for version, slow := range [][2]string{2: {"sleep 4", "exit 0"}, 3: {"exit 0", "sleep 4"}} {
		if version < 2 {
			continue
		}
		h.hooked(version, slow[0], slow[1], "")
		h.trigger()
		h.eventually("the slow hook runs", func() error {
			for _, c := range h.hookRuns() {
				if slices.Contains([]string{"", "before", "after"}[version-1:version], c.Labels[render.LabelHook]) {
					return nil
				}
			}
			return errors.New("it does not run")
		})
		h.daemon.kill()
		h.start()
		h.settle()
	}
	h.wrote("before 1: ", "after 1: v1", "before 2: v1", "after 2: v2", "before 3: v2", "after 3: v3")
	if left := h.hookRuns(); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	if now := h.runs("web", "app", "db"); now["db"] != first["db"] {
		t.Errorf("was %v, is %v", first, now)
	}
}
