//go:build engine

package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// command runs the binary to its end with the host's environment.
func (h *host) command(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	cmd := exec.Command(binary, args...)
	for k, v := range h.env {
		if v != "" {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestAWrongStartEndsWithOneLineThatSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	notGit := filepath.Join(dir, "notgit")
	gittest.Write(t, notGit, "file", "x")
	noOrigin := filepath.Join(dir, "noorigin")
	gittest.Git(t, "", "init", "-q", "-b", "main", noOrigin)
	closed := filepath.Join(dir, "closed.sock")
	l, err := net.Listen("unix", closed)
	if err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(dir, "old.sock")
	oldEngine(t, old)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	for name, c := range map[string]struct {
		env  map[string]string
		want []string
	}{
		"no clone":           {map[string]string{"REPOSITORY_PATH": filepath.Join(dir, "none"), "REPOSITORY_URL": ""}, []string{"no clone", filepath.Join(dir, "none"), "REPOSITORY_URL"}},
		"not a repository":   {map[string]string{"REPOSITORY_PATH": notGit, "REPOSITORY_URL": ""}, []string{notGit}},
		"no origin":          {map[string]string{"REPOSITORY_PATH": noOrigin, "REPOSITORY_URL": ""}, []string{"origin", noOrigin}},
		"no engine":          {map[string]string{"DOCKER_HOST": "unix://" + filepath.Join(dir, "none.sock")}, []string{"no engine socket", "none.sock"}},
		"engine not running": {map[string]string{"DOCKER_HOST": "unix://" + closed}, []string{"no engine listens", "closed.sock"}},
		"engine too old":     {map[string]string{"DOCKER_HOST": "unix://" + old}, []string{"1.24", "update it"}},
		"bad DOCKER_HOST":    {map[string]string{"DOCKER_HOST": "://"}, []string{"DOCKER_HOST"}},
		"configuration":      {map[string]string{"CHECK_INTERVAL_IN_SECONDS": "often", "SELF_HEAL": "maybe", "WEBHOOK_SECRET": "a", "WEBHOOK_SECRET_FILE": "b"}, []string{"CHECK_INTERVAL_IN_SECONDS", "SELF_HEAL", "WEBHOOK_SECRET"}},
		"address in use":     {map[string]string{"HTTP_ADDRESS": "256.0.0.1:1"}, []string{"HTTP_ADDRESS"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			for k, v := range c.env {
				h.env[k] = v
			}
			_, stderr, code := h.command()
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
			_, message, ok := strings.Cut(stderr, "\ngitops-compose: ")
			if !ok {
				message, ok = strings.CutPrefix(stderr, "gitops-compose: ")
			}
			if !ok {
				t.Fatalf("no message in:\n%s", stderr)
			}
			for _, want := range c.want {
				if !strings.Contains(message, want) {
					t.Errorf("no %q in %q", want, message)
				}
			}
		})
	}
}

// oldEngine answers a ping as an engine of 2016 did.
func oldEngine(t *testing.T, socket string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("API-Version", "1.24")
		fmt.Fprint(w, "OK")
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

func TestPlanSaysWhatTheNextCheckWouldDoAndTouchesNothing(t *testing.T) {
	h := newHost(t)
	h.stack("web", one)
	h.stack("old", one)
	h.stack("here", strings.Replace(one, "app:", "moves:", 1))
	h.push("add three")
	h.first()
	if out, stderr, code := h.command("plan"); code != 0 || out != "" {
		t.Errorf("with nothing to do: exit code %d\n%s%s", code, out, stderr)
	}
	h.stop()
	before := h.runs("web", "app")
	h.stack("web", strings.Replace(one, "command", "environment: {A: '1'}, command", 1))
	h.remove("old")
	h.stack("new", strings.Replace(one, "app:", "fresh:", 1))
	h.remove("here")
	h.stack("there", strings.Replace(one, "app:", "moves:", 1))
	h.write("bad/compose.yaml", "services: 3\n")
	h.push("all kinds of changes")
	head := gittest.Git(t, h.clone, "rev-parse", "HEAD")
	refs := gittest.Git(t, h.clone, "for-each-ref")
	out, stderr, code := h.command("plan")
	if code != 2 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{
		"stop " + h.project("old") + ": removed", "checkout ", "up " + h.project("new") + ": new",
		"stop " + h.project("here") + ": moved: to " + h.project("there"),
		"up " + h.project("there") + ": moved: from " + h.project("here") + " (after stop " + h.project("here") + ")",
		"up " + h.project("web") + ": changed: app: environment A added", "hold bad: invalid: ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if h.runs("web", "app")["app"] != before["app"] || len(h.containers("new")) != 0 || gittest.Git(t, h.clone, "rev-parse", "HEAD") != head || gittest.Git(t, h.clone, "for-each-ref") != refs {
		t.Error("plan touched something")
	}
	h.down.Store(true)
	if _, stderr, code := h.command("plan"); code != 1 || stderr == "" {
		t.Errorf("with the remote down: exit code %d, %q", code, stderr)
	}
}

func TestVersionAndHealthcheckAnswer(t *testing.T) {
	h := newHost(t)
	if out, _, code := h.command("version"); code != 0 || !strings.HasPrefix(out, "gitops-compose ") {
		t.Errorf("version: %d %q", code, out)
	}
	h.stack("web", one)
	h.push("add web")
	h.first()
	h.env["HTTP_ADDRESS"] = strings.TrimPrefix(h.daemon.base, "http://")
	if _, stderr, code := h.command("healthcheck"); code != 0 {
		t.Errorf("healthcheck of a daemon that lives: %d %s", code, stderr)
	}
	h.stop()
	if _, _, code := h.command("healthcheck"); code == 0 {
		t.Error("healthcheck of a daemon that is gone succeeds")
	}
}

func TestOnlyASignedWebhookTriggersWhereThereIsASecret(t *testing.T) {
	h := newHost(t)
	h.env["WEBHOOK_SECRET"] = "hush"
	h.stack("web", one)
	h.push("add web")
	h.first()
	post := func(header, value, body string) int {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, h.daemon.base+"/webhook", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if strings.HasPrefix(header, "X-Hub") {
			req.Header.Set("X-GitHub-Event", "push")
		}
		req.Header.Set(header, value)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	body := `{"ref":"refs/heads/main"}`
	mac := hmac.New(sha256.New, []byte("hush"))
	mac.Write([]byte(body))
	signature := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	for _, c := range []struct {
		header, value string
		want          int
	}{
		{"X-Nothing", "", 401},
		{"Authorization", "Bearer loud", 401},
		{"X-Hub-Signature-256", "sha256=", 401},
		{"X-Hub-Signature-256", strings.Repeat("0", len(signature)), 401},
	} {
		if got := post(c.header, c.value, body); got != c.want {
			t.Errorf("%s: %s: %d, want %d", c.header, c.value, got, c.want)
		}
	}
	h.stack("more", one)
	h.push("add more")
	since := time.Now()
	if got := post("X-Hub-Signature-256", signature, body); got != 202 {
		t.Errorf("a signed push: %d", got)
	}
	h.after(since)
	h.runs("more", "app")
	h.remove("more")
	h.push("remove more")
	since = time.Now()
	if got := post("Authorization", "Bearer hush", "{}"); got != 202 {
		t.Errorf("a bearer token: %d", got)
	}
	h.after(since)
	h.runs("more")
}

func TestTheMetricsOfTheContractAreThereAndCount(t *testing.T) {
	h := newHost(t)
	h.stack("web", one)
	h.stack("hand", strings.Replace(one, "command", "labels: {gitops.ignore: 'true'}, command", 1))
	h.write("bad/compose.yaml", "services: 3\n")
	h.push("add")
	h.first()
	h.stack("web", strings.Replace(one, "command", "environment: {A: '1'}, command", 1))
	h.push("change")
	h.settle()
	h.settle()
	body, _, err := h.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`gitops_deployments_active_total{status="running"} 1`,
		`gitops_deployments_active_total{status="ignored"} 1`,
		`gitops_deployments_active_total{status="invalid"} 1`,
		`gitops_deployments_active_total{status="failed"} 0`,
		`gitops_deployments_operations_total{operation="started"} 1`,
		`gitops_deployments_operations_total{operation="updated"} 1`,
		`gitops_deployments_operations_total{operation="stopped"} 0`,
		`gitops_deployments_operations_total{operation="failed"} 0`,
		`gitops_deployments_operations_total{operation="ignored"} 1`,
		`gitops_check_total{status="error"} 0`,
		`gitops_build_info{commit="9f3c21e0",`, // see the build of the binary
		`gitops_check_timestamp_seconds{status="success"} `,
		`gitops_deployments_change_timestamp_seconds{status="success"} `,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s", want)
		}
	}
	// Both the name and the type of this one are an interface.
	const known = "gitops_deployments_active_total non-counter metrics should not have \"_total\" suffix\n"
	if said, ok := promtool(t, body); ok && said != known {
		t.Errorf("promtool says %s", said)
	}
}

func TestAKilledDaemonConvergesAtItsNextStart(t *testing.T) {
	h := newHost(t)
	h.stack("old", one)
	h.push("add old")
	h.first()
	for round := range 4 {
		for i := range 6 {
			h.stack(fmt.Sprintf("s%d", i), strings.Replace(one, "command", fmt.Sprintf("environment: {ROUND: '%d'}, command", round), 1))
		}
		if round == 2 {
			h.remove("old")
		}
		h.push("next round")
		h.trigger()
		// Kill it when some, but not all, are through.
		h.eventually("the sync is under way", func() error {
			changed := 0
			for i := range 6 {
				for _, c := range h.containers(fmt.Sprintf("s%d", i)) {
					if c.Labels["gitops.commit"] == gittest.Git(t, h.work, "rev-parse", "HEAD") {
						changed++
					}
				}
			}
			if changed == 0 {
				return errors.New("nothing yet")
			}
			return nil
		})
		h.daemon.kill()
		s := h.first()
		for i := range 6 {
			name := fmt.Sprintf("s%d", i)
			h.runs(name, "app")
			c := h.containers(name)[0]
			if c.Names[0] != "/"+h.project(name)+"-app-1" {
				t.Errorf("%s has the name %s", name, c.Names[0])
			}
			if st := s.stack(t, h.project(name)); st.Status != report.Running {
				t.Errorf("%s is %s: %s", name, st.Status, st.Reason)
			}
		}
		if round >= 2 {
			h.runs("old")
		}
		if out := gittest.Git(t, h.clone, "status", "--porcelain"); out != "" {
			t.Errorf("git status: %s", out)
		}
	}
}

func TestACrashingServiceIsFailedWithItsLastWordsAndTheOthersGoOn(t *testing.T) {
	h := newHost(t)
	h.asksForPasswords()
	h.stack("bad", "services:\n  app: {image: BASE, command: [\"sh\", \"-c\", \"sleep 0.2; echo last-words; exit 3\"]}\n")
	h.stack("web", one)
	h.push("add both")
	h.first()
	h.runs("web", "app")
	h.eventually("bad is failed", func() error {
		s, err := h.status()
		if err != nil {
			return err
		}
		st := s.stack(t, h.project("bad"))
		if st.Status != report.Failed || !strings.Contains(st.Error+st.Reason, "(3)") {
			return fmt.Errorf("%s: %s %s", st.Status, st.Reason, st.Error)
		}
		return h.saidWhy(st, "last-words")
	})
	h.password = ""
	if _, code, err := h.get("/api/v1/status"); err != nil || code != http.StatusUnauthorized {
		t.Errorf("without a password: %d, %v", code, err)
	}
	h.password = httpPassword
	h.stack("bad", one)
	h.push("mend bad")
	s := h.settle()
	if st := s.stack(t, h.project("bad")); st.Status != report.Running {
		t.Errorf("a mended stack is %s: %s", st.Status, st.Reason)
	}
}

func TestAnExternalNetworkThatNobodyMakesIsAskedForAndNoticed(t *testing.T) {
	for _, mode := range []string{"by hand", "made"} {
		t.Run(mode, func(t *testing.T) {
			h := newHost(t)
			name := h.prefix + "-edge"
			t.Cleanup(func() { _ = h.api.NetworkRemove(context.Background(), name) }) // after the containers
			h.stack("web", "services:\n  app: {image: BASE, command: RUN, networks: [n], stop_grace_period: 0s}\nnetworks: {n: {name: PREFIX-edge, external: true}}\n")
			h.push("add")
			if mode == "made" {
				h.env["CREATE_EXTERNAL_NETWORKS"] = "true"
				if st := h.first().stack(t, h.project("web")); !running(st) {
					t.Fatalf("web is %s: %s", st.Status, st.Reason)
				}
				return
			}
			st := h.first().stack(t, h.project("web"))
			if st.Held != "needs" || !strings.Contains(st.Reason, "docker network create "+name) {
				t.Fatalf("web is %s (%s): %s", st.Status, st.Held, st.Reason)
			}
			if _, err := h.api.NetworkCreate(t.Context(), name, network.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			h.eventually("it is noticed without a check", func() error { return h.waits("web") })
		})
	}
}

func TestAFailedDependencyHoldsTheStackThatNeedsIt(t *testing.T) {
	h := newHost(t)
	h.stack("owner", "services:\n  app: {image: \"PREFIX/not-here:1\", networks: [n]}\nnetworks: {n: {name: PREFIX-n}}\n")
	h.stack("user", "services:\n  app: {image: BASE, command: RUN, networks: [n]}\nnetworks: {n: {name: PREFIX-n, external: true}}\n")
	h.push("add both")
	s := h.first()
	if st := s.stack(t, h.project("user")); st.Status == report.Running || !strings.Contains(st.Reason, h.project("owner")) {
		t.Errorf("user is %s: %s", st.Status, st.Reason)
	}
	h.runs("user")
}
