//go:build engine

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

func volumeList(args filters.Args) volume.ListOptions { return volume.ListOptions{Filters: args} }

func networkList(args filters.Args) network.ListOptions { return network.ListOptions{Filters: args} }

func TestAStackIsStartedChangedAndRemovedAndItsVolumeStays(t *testing.T) {
	h := newHost(t)
	h.stack("web", `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, volumes: ["data:/data"]}
  side: {image: BASE, command: RUN, stop_grace_period: 0s}
volumes: {data: {}}
`)
	h.push("add web")
	s := h.first()
	if got := s.stack(t, h.project("web")); got.Status != report.Running || got.Sync != report.Synced {
		t.Fatalf("web is %s, %s: %s", got.Status, got.Sync, got.Reason)
	}
	before := h.runs("web", "app", "side")
	h.exec(before["app"], "touch", "/data/precious")

	// A change of one service recreates that one and no other.
	h.stack("web", `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, volumes: ["data:/data"], environment: {A: "1"}}
  side: {image: BASE, command: RUN, stop_grace_period: 0s}
volumes: {data: {}}
`)
	h.stack("more", one)
	h.push("change app, add more")
	h.settle()
	after := h.runs("web", "app", "side")
	if after["app"] == before["app"] || after["side"] != before["side"] {
		t.Fatalf("want app replaced and side not: before %v, after %v", before, after)
	}
	h.exec(after["app"], "test", "-f", "/data/precious")
	h.runs("more", "app")

	h.remove("web")
	h.push("remove web")
	h.settle()
	h.runs("web")
	h.runs("more", "app")
	if _, err := h.api.VolumeInspect(context.Background(), h.project("web")+"_data"); err != nil {
		t.Fatalf("the volume of a removed stack: %v", err)
	}
	if nets, _ := h.api.NetworkList(context.Background(), network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", h.project("web")))}); len(nets) != 0 {
		t.Fatalf("networks of a removed stack are left: %v", nets)
	}
}

func TestWhatDriftsIsHealedAndARestartOfTheDaemonTouchesNothing(t *testing.T) {
	h := newHost(t)
	h.stack("web", `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s}
  side: {image: BASE, command: RUN, stop_grace_period: 0s}
`)
	h.push("add web")
	h.first()
	before := h.runs("web", "app", "side")
	h.stop()
	h.first()
	if after := h.runs("web", "app", "side"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Fatalf("a restart of the daemon replaced containers: %v, then %v", before, after)
	}
	if err := h.api.ContainerRemove(context.Background(), before["side"], container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	// Nobody triggers: the engine's event does.
	h.eventually("side is back", func() error {
		s, err := h.status()
		if err != nil {
			return err
		}
		if st := s.stack(t, h.project("web")); len(h.containers("web")) != 2 || st.Sync != report.Synced {
			return fmt.Errorf("%d containers, %s", len(h.containers("web")), st.Sync)
		}
		return nil
	})
	h.settle()
	if after := h.runs("web", "app", "side"); after["app"] != before["app"] {
		t.Fatal("healing one service replaced the other")
	}
}

func TestAStackThatIsIgnoredIsLeftAlone(t *testing.T) {
	h := newHost(t)
	h.stack("web", one)
	h.stack("hand", strings.Replace(one, "command", "labels: {gitops.ignore: 'true'}, command", 1))
	h.push("add")
	s := h.first()
	if got := s.stack(t, h.project("hand")); got.Status != report.Ignored {
		t.Fatalf("hand is %s", got.Status)
	}
	h.runs("hand")
	ids := h.runs("web", "app")
	h.stack("web", strings.Replace(one, "command", "labels: {gitops.ignore: 'true'}, command", 1))
	h.push("ignore web")
	h.settle()
	if after := h.runs("web", "app"); after["app"] != ids["app"] {
		t.Fatal("a stack that became ignored was touched")
	}
	// Its container is older than the label, and does not carry it.
	h.remove("web")
	h.push("remove web")
	h.settle()
	if after := h.runs("web", "app"); after["app"] != ids["app"] {
		t.Fatal("a stack that was ignored was touched when it was removed from git")
	}
}

func TestAnInvalidStackKeepsWhatRunsAndTheOthersGoOn(t *testing.T) {
	for name, bad := range map[string]struct{ body, reason string }{
		"not YAML":             {"services:\n  app: [\n", "line"},
		"wrong shape":          {"services:\n  app:\n    image: 3\n", "services.app.image"},
		"env file missing":     {"services:\n  app: {image: BASE, env_file: missing.env}\n", "web/missing.env"},
		"variable syntax":      {"services:\n  app: {image: \"${BROKEN\"}\n", "BROKEN"},
		"neither image, build": {"services:\n  app: {command: RUN}\n", "app"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.stack("web", one)
			h.stack("other", one)
			h.push("add")
			h.first()
			before := h.runs("web", "app")
			h.stack("web", bad.body)
			h.stack("other", strings.Replace(one, "command", "environment: {A: '1'}, command", 1))
			commit := h.push("break web, change other")
			s := h.settle()
			got := s.stack(t, h.project("web"))
			if got.Status != report.Invalid || !strings.Contains(got.Reason, bad.reason) || leaks(got.Reason, h.clone) {
				t.Errorf("web is %s: %q; want %q in it", got.Status, got.Reason, bad.reason)
			}
			if after := h.runs("web", "app"); after["app"] != before["app"] {
				t.Error("an invalid file touched what runs")
			}
			if c := h.containers("other"); len(c) != 1 || c[0].Labels["gitops.commit"] != commit {
				t.Error("the other stack did not go on")
			}
			if head := gittest.Git(t, h.clone, "rev-parse", "HEAD"); head != commit {
				t.Errorf("the clone is at %s, want %s", head, commit)
			}
			h.stack("web", one)
			h.push("mend web")
			s = h.settle()
			if got := s.stack(t, h.project("web")); got.Status != report.Running {
				t.Errorf("a mended stack is %s: %s", got.Status, got.Reason)
			}
			if after := h.runs("web", "app"); after["app"] != before["app"] {
				t.Error("going back to the old file replaced the container")
			}
		})
	}
}

func TestTwoStacksWithOneNameAreBothInvalid(t *testing.T) {
	h := newHost(t)
	h.write("a/web/compose.yaml", "name: "+h.project("web")+h.expand(one))
	h.write("b/web/compose.yaml", "name: "+h.project("web")+h.expand(one))
	h.push("add two")
	s := h.first()
	h.runs("web")
	for _, st := range s.Stacks {
		if st.Status != report.Invalid || !strings.Contains(st.Reason, "a/web/compose.yaml") || !strings.Contains(st.Reason, "b/web/compose.yaml") || !strings.Contains(st.Reason, "name:") {
			t.Errorf("%s is %s: %s", st.File, st.Status, st.Reason)
		}
	}
	if len(s.Stacks) != 2 {
		t.Errorf("%d stacks", len(s.Stacks))
	}
}

func TestAForeignProjectWithAStacksNameIsNotTouched(t *testing.T) {
	h := newHost(t)
	ctx := context.Background()
	c, err := h.api.ContainerCreate(ctx, &container.Config{
		Image: baseImage, Cmd: []string{"sleep", "100000"},
		Labels: map[string]string{
			"com.docker.compose.project": h.project("web"), "com.docker.compose.service": "app", "com.docker.compose.oneoff": "False",
			"com.docker.compose.container-number": "1", "com.docker.compose.project.working_dir": "/opt/theirs",
			"com.docker.compose.project.config_files": "/opt/theirs/compose.yaml",
		},
	}, nil, nil, nil, h.project("web")+"-app-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.api.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	h.stack("web", one)
	h.push("add web")
	s := h.first()
	if got := s.stack(t, h.project("web")); got.Held != "foreign" || !strings.Contains(got.Reason, "/opt/theirs") {
		t.Errorf("web is held %q: %s", got.Held, got.Reason)
	}
	h.remove("web")
	h.stack("other", one)
	h.push("remove web")
	h.settle()
	if ids := h.runs("web", "app"); ids["app"] != c.ID {
		t.Error("the foreign project was touched")
	}
}

func TestAStackComesAfterTheOneWhoseNetworkItNeeds(t *testing.T) {
	h := newHost(t)
	h.stack("a-user", `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, networks: [shared]}
networks: {shared: {external: true, name: PREFIX-shared}}
`)
	h.stack("z-owner", `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, networks: [shared]}
networks: {shared: {name: PREFIX-shared}}
`)
	h.push("add both")
	s := h.first()
	h.runs("a-user", "app")
	h.runs("z-owner", "app")
	for _, op := range s.Checks[0].Operations {
		if op.Error != "" {
			t.Errorf("%s %s: %s", op.Kind, op.Stack, op.Error)
		}
	}
	h.remove("a-user")
	h.remove("z-owner")
	h.stack("left", one)
	h.push("remove both")
	s = h.settle()
	h.runs("a-user")
	h.runs("z-owner")
	for _, op := range s.Checks[0].Operations {
		if op.Error != "" {
			t.Errorf("%s %s: %s", op.Kind, op.Stack, op.Error)
		}
	}
}

func TestEverythingThatComposeReadsIsRead(t *testing.T) {
	h := newHost(t)
	h.write("web/compose.yaml", h.expand(`
name: PREFIX-web
include: [../shared/part.yaml]
services:
  app:
    extends: {file: base.yaml, service: base}
    environment: {FROM_DOTENV: "${FROM_DOTENV}", PROCESS: "${REPOSITORY_PASSWORD:-none}"}
    env_file: app.env
    configs: [{source: motd, target: /motd}]
    volumes: ["./www:/www:ro"]
  debug: {image: BASE, command: RUN, profiles: [debug]}
  extra: {image: BASE, command: RUN, profiles: [extra], stop_grace_period: 0s}
configs: {motd: {file: ./motd.txt}}
`))
	h.write("web/base.yaml", h.expand("services:\n  base: {image: BASE, command: RUN, stop_grace_period: 0s, environment: {FROM_PARENT: base}}\n"))
	h.write("web/compose.override.yaml", "services:\n  app: {environment: {FROM_OVERRIDE: override}}\n")
	h.write("web/.env", "FROM_DOTENV=dotenv\nCOMPOSE_PROFILES=extra\n")
	h.write("web/app.env", "FROM_ENV_FILE=envfile\n")
	h.write("web/motd.txt", "hello\n")
	h.write("web/www/index.html", "one\n")
	h.write("shared/part.yaml", h.expand("services:\n  part: {image: BASE, command: RUN, stop_grace_period: 0s}\n"))
	h.push("add web")
	s := h.first()
	if got := s.stack(t, h.project("web")); got.Status != report.Running {
		t.Fatalf("web is %s: %s", got.Status, got.Reason)
	}
	before := h.runs("web", "app", "extra", "part")
	env := h.exec(before["app"], "env")
	for _, want := range []string{"FROM_DOTENV=dotenv", "FROM_PARENT=base", "FROM_OVERRIDE=override", "FROM_ENV_FILE=envfile", "PROCESS=none"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %s in:\n%s", want, env)
		}
	}
	if strings.Contains(env, gitPassword) {
		t.Error("the daemon's secret is in a stack")
	}
	if got := h.exec(before["app"], "cat", "/motd", "/www/index.html"); got != "hello\none" {
		t.Errorf("config and bind mount: %q", got)
	}

	// A change in the content of a mounted file reaches the service that uses
	// it, and no other.
	h.write("web/www/index.html", "two\n")
	h.write("README.md", "nobody uses me\n")
	h.push("change content")
	h.settle()
	after := h.runs("web", "app", "extra", "part")
	if after["app"] == before["app"] || after["part"] != before["part"] || after["extra"] != before["extra"] {
		t.Errorf("want only app replaced: %v, then %v", before, after)
	}
	if got := h.exec(after["app"], "cat", "/www/index.html"); got != "two" {
		t.Errorf("the mounted file says %q", got)
	}
}

func TestAnUntrackedEnvFileIsReadAndNeverTouched(t *testing.T) {
	h := newHost(t)
	h.stack("web", strings.Replace(one, "command", "environment: {SECRET: '${SECRET}'}, command", 1))
	h.write(".gitignore", ".env\n")
	h.push("add web")
	h.first()
	before := h.runs("web", "app")
	secret := filepath.Join(h.clone, "web", ".env")
	if err := os.WriteFile(secret, []byte("SECRET=by-hand\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.settle()
	after := h.runs("web", "app")
	if after["app"] == before["app"] {
		t.Fatal("a new .env did not reach the service")
	}
	if env := h.exec(after["app"], "env"); !strings.Contains(env, "SECRET=by-hand") {
		t.Errorf("environment: %s", env)
	}
	was, err := os.Stat(secret)
	if err != nil {
		t.Fatal(err)
	}
	h.stack("other", one)
	h.remove("web")
	h.push("remove web")
	h.settle()
	is, err := os.Stat(secret)
	if err != nil || !os.SameFile(was, is) || was.ModTime() != is.ModTime() || was.Mode() != is.Mode() {
		t.Errorf("the untracked .env was touched: %v", err)
	}
	if strings.Contains(h.daemon.log.String(), "by-hand") {
		t.Error("a secret is in the log")
	}
}

func TestADirtyCloneIsAnErrorAndTheNextCheckRecovers(t *testing.T) {
	h := newHost(t)
	h.stack("web", one)
	h.push("add web")
	h.first()
	before := h.runs("web", "app")
	file := filepath.Join(h.clone, "web", "compose.yaml")
	clean, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(clean, "# by hand\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	h.stack("web", strings.Replace(one, "command", "environment: {A: '1'}, command", 1))
	h.push("change web")
	s := h.settle()
	if s.Ready || !s.Look.Blocked || !strings.Contains(s.Look.Error, "web/compose.yaml") {
		t.Fatalf("ready %v, look %+v", s.Ready, s.Look)
	}
	if after := h.runs("web", "app"); after["app"] != before["app"] {
		t.Fatal("a dirty clone did not keep the daemon off")
	}
	if err := os.WriteFile(file, clean, 0o644); err != nil {
		t.Fatal(err)
	}
	s = h.settle()
	if after := h.runs("web", "app"); after["app"] == before["app"] || !s.Ready {
		t.Fatalf("not recovered: %+v", s.Look)
	}
}

func TestARemoteThatIsDownAtStartIsWaitedFor(t *testing.T) {
	h := newHost(t)
	h.stack("web", one)
	h.push("add web")
	h.down.Store(true)
	s := h.first()
	if s.Ready || s.Look.Error == "" {
		t.Fatalf("ready %v, error %q", s.Ready, s.Look.Error)
	}
	if _, code, err := h.get("/readyz"); err != nil || code != 503 {
		t.Errorf("/readyz: %d, %v", code, err)
	}
	if _, code, err := h.get("/healthz"); err != nil || code != 200 {
		t.Errorf("/healthz: %d, %v", code, err)
	}
	h.down.Store(false)
	// By itself, without a trigger.
	h.eventually("web runs", func() error {
		if len(h.containers("web")) != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	h.eventually("the daemon is ready", func() error {
		_, code, err := h.get("/readyz")
		if err == nil && code != 200 {
			err = fmt.Errorf("status %d", code)
		}
		return err
	})
	if n := strings.Count(h.daemon.log.String(), "level=ERROR msg=\"check failed\""); n != 1 {
		t.Errorf("the same error was said %d times", n)
	}
}

func TestWrongCredentialsAreSaidAndNeverShown(t *testing.T) {
	h := newHost(t)
	h.stack("web", one)
	h.push("add web")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("wrong-battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	delete(h.env, "REPOSITORY_PASSWORD")
	h.env["REPOSITORY_PASSWORD_FILE"] = password
	s := h.first()
	if !s.Look.Blocked {
		t.Errorf("not blocked: %q", s.Look.Error)
	}
	if log := h.daemon.log.String(); strings.Contains(log, "wrong-battery") {
		t.Error("the password is in the log")
	}
	if err := os.WriteFile(password, []byte(gitPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.settle()
	h.runs("web", "app")
}

// leaks says whether a reason has the clone's place on the host where a path in the
// repository is enough: only what is missing is said to belong there.
func leaks(reason, clone string) bool {
	said, _, _ := strings.Cut(reason, "on the host it belongs at ")
	return strings.Contains(said, clone)
}
