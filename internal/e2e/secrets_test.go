//go:build engine

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
	"github.com/korbiniankuhn/gitops-compose/internal/secrets/sopstest"
)

// sealedHost is a host whose repository has encrypted files, and whose daemon has the
// key. All that is secret has the word hunter2 in it.
type sealedHost struct {
	*host
	sops    *sopstest.Sops
	folder  string // for files in clear
	scratch string // the daemon's TMPDIR
}

func newSealedHost(t *testing.T) *sealedHost {
	t.Helper()
	return newSealedHostOn(newHost(t))
}

func newSealedHostOn(on *host) *sealedHost {
	t := on.t
	t.Helper()
	h := &sealedHost{host: on, sops: sopstest.New(t), folder: t.TempDir(), scratch: t.TempDir()}
	h.env["SOPS_AGE_KEY"], h.env["SECRETS_PATH"], h.env["TMPDIR"] = h.sops.Key, h.folder, h.scratch
	return h
}

// seal writes a file in its encrypted form.
func (h *sealedHost) seal(path, plain string) {
	h.t.Helper()
	h.write(path, h.sops.Encrypt(path, plain))
}

// everywhere is a stack with something encrypted at each place where it may be.
func (h *sealedHost) everywhere(word string) {
	h.t.Helper()
	h.stack("web", `
include: [inc/more.yaml]
services:
  app:
    image: BASE
    command: RUN
    stop_grace_period: 0s
    restart: unless-stopped
    env_file: [app.env]
    environment: {FROM_DOTENV: "$PASSWORD"}
    label_file: labels.env
    secrets: [db, {source: key, target: /run/key, mode: 0400, uid: "1234"}]
    configs: [{source: json, target: /etc/app.json}]
    volumes: ["./one.conf:/etc/one.conf:ro", "./folder:/folder:ro"]
    extends: {file: base/base.yaml, service: base}
  sealed:
    image: BASE
    command: RUN
    stop_grace_period: 0s
    restart: unless-stopped
    read_only: true
    secrets: [db]
    configs: [json]
  plain:
    image: BASE
    command: RUN
    stop_grace_period: 0s
    restart: unless-stopped
    volumes: ["./folder/plain.txt:/plain.txt"]
secrets: {db: {file: db.txt}, key: {file: ../shared/key.bin}}
configs: {json: {file: app.json}}
`)
	h.seal("web/.env", "PASSWORD="+word+"-dotenv\n")
	h.seal("web/app.env", "ENV_FILE="+word+"-envfile\n")
	h.seal("web/labels.env", "label="+word+"-label\n")
	h.seal("web/db.txt", word+"-db\n")
	h.seal("shared/key.bin", "\x01"+word+"-key\x00\xff")
	h.seal("web/app.json", `{"password": "`+word+`-json"}`)
	h.seal("web/one.conf", word+"-one\n")
	h.seal("web/folder/deep/two.yaml", "password: "+word+"-two\n")
	h.write("web/folder/plain.txt", "plain\n")
	h.seal("web/inc/more.yaml", h.expand("services:\n  included:\n    image: BASE\n    command: RUN\n    stop_grace_period: 0s\n    restart: unless-stopped\n    environment:\n      P: "+word+"-include\n"))
	h.seal("web/base/base.yaml", "services:\n  base:\n    environment:\n      EXTENDED: "+word+"-extends\n")
}

// has expects what everywhere made in the containers.
func (h *sealedHost) has(word string) map[string]string {
	h.t.Helper()
	ids := h.runs("web", "app", "included", "plain", "sealed")
	env := h.exec(ids["app"], "env")
	for _, want := range []string{"FROM_DOTENV=" + word + "-dotenv", "ENV_FILE=" + word + "-envfile", "EXTENDED=" + word + "-extends"} {
		if !strings.Contains(env, want) {
			h.t.Errorf("the environment has no %s", want)
		}
	}
	if env := h.exec(ids["included"], "env"); !strings.Contains(env, "P="+word+"-include") {
		h.t.Error("the included service has no environment")
	}
	for _, c := range []struct{ service, file, want string }{
		{"app", "/run/secrets/db", word + "-db"},
		{"app", "/run/key", "\x01" + word + "-key\x00\xff"},
		{"app", "/etc/app.json", word + "-json"},
		{"app", "/etc/one.conf", word + "-one"},
		{"app", "/folder/deep/two.yaml", word + "-two"},
		{"app", "/folder/plain.txt", "plain"},
		{"sealed", "/run/secrets/db", word + "-db"},
		{"sealed", "/json", word + "-json"},
		{"plain", "/plain.txt", "plain"},
	} {
		if got := h.exec(ids[c.service], "cat", c.file); !strings.Contains(got, c.want) {
			h.t.Errorf("%s of %s is %q", c.file, c.service, got)
		}
	}
	if got := h.exec(ids["app"], "/bin/busybox", "stat", "-c", "%u %a", "/run/key"); got != "1234 400" {
		h.t.Errorf("/run/key has owner and mode %s", got)
	}
	return ids
}

// nothingInClear fails if a secret is where it must not be: in the clone, with the
// journal in it, in what the daemon has for its work, in its log, in what it shows, in
// labels.
func (h *sealedHost) nothingInClear() {
	h.t.Helper()
	word := []byte("hunter2")
	for _, root := range []string{h.clone, h.scratch} {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			var b []byte
			if err == nil && d.Type().IsRegular() {
				b, err = os.ReadFile(p)
			}
			if bytes.Contains(b, word) {
				h.t.Errorf("it is in clear in %s", p)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // the daemon is at work: a checkout or the end of a load removed it
			}
			return err
		})
		if err != nil {
			h.t.Error(err)
		}
	}
	for _, path := range []string{"/", "/api/v1/status", "/metrics"} {
		if b, _, err := h.get(path); err != nil || bytes.Contains(b, word) {
			h.t.Errorf("%s shows it: %v", path, err)
		}
	}
	said := h.daemon.log.String()
	if strings.Contains(said, string(word)) {
		h.t.Errorf("the log has it")
	}
	if strings.Contains(said, h.sops.Key) || !strings.Contains(said, h.sops.To) {
		h.t.Error("the log has not the public part of the key, and nothing else of it")
	}
	for _, c := range h.containers("web") {
		for k, v := range c.Labels {
			if strings.HasPrefix(k, "gitops.") && strings.Contains(v, string(word)) {
				h.t.Errorf("label %s has it", k)
			}
		}
	}
	if info, err := os.Stat(filepath.Join(h.folder, h.project("web"))); err == nil && info.Mode().Perm() != 0o700 {
		h.t.Errorf("the folder for files in clear has mode %s", info.Mode())
	}
}

// contents counts the files in clear that containers can mount.
func (h *sealedHost) contents() int {
	h.t.Helper()
	dirs, _ := filepath.Glob(filepath.Join(h.folder, "*", "*"))
	return len(dirs)
}

func TestEncryptedFilesReachTheContainersInClearAndNothingElse(t *testing.T) {
	t.Parallel()
	h := newSealedHost(t)
	h.everywhere("hunter2")
	h.push("all of it")
	h.first()
	before := h.has("hunter2")
	h.nothingInClear()
	// one.conf, two.yaml, and two secrets and a config for services that nothing can be
	// copied into
	if got := h.contents(); got != 5 {
		t.Errorf("%d contents in clear", got)
	}

	// The same for another recipient is no change, and neither is a restart.
	h.stop()
	h.first()
	for service, id := range h.has("hunter2") {
		if before[service] != id {
			t.Errorf("%s was made anew for nothing", service)
		}
	}

	// What a service does not use is no change to it; what was mounted goes.
	h.seal("web/one.conf", "hunter2-new\n")
	h.push("another file")
	h.trigger()
	h.settle()
	after := h.runs("web", "app", "included", "plain", "sealed")
	for service, id := range after {
		if (before[service] != id) != (service == "app") {
			t.Errorf("%s was made anew: %v", service, before[service] != id)
		}
	}
	if got := h.exec(after["app"], "cat", "/etc/one.conf"); got != "hunter2-new" {
		t.Errorf("one.conf is %q", got)
	}
	if got := h.contents(); got != 5 {
		t.Errorf("%d contents in clear", got)
	}
	h.nothingInClear()

	// Without the daemon they are started again with what they had.
	h.stop()
	for _, id := range after {
		if err := h.api.ContainerRestart(t.Context(), id, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.exec(after["app"], "cat", "/etc/one.conf", "/run/secrets/db"); got != "hunter2-new\nhunter2-db" {
		t.Errorf("after a restart: %q", got)
	}
	h.start()

	// What a stack had goes with it.
	h.remove("web")
	h.remove("shared")
	h.stack("other", one)
	h.push("away")
	h.trigger()
	h.eventually("what was in clear is gone", func() error {
		if n := h.contents(); n != 0 {
			return os.ErrExist
		}
		return nil
	})
	h.nothingInClear()
}

func TestAnotherKeyHoldsTheStackAndWhatRunsOfItStays(t *testing.T) {
	t.Parallel()
	h := newSealedHost(t)
	keys := filepath.Join(t.TempDir(), "keys.txt")
	other := sopstest.New(t)
	h.env["SOPS_AGE_KEY"], h.env["SOPS_AGE_KEY_FILE"] = "", keys
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(keys, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(h.sops.Key)
	h.stack("web", "services: {app: {image: BASE, command: RUN, stop_grace_period: 0s, env_file: app.env}}")
	h.seal("web/app.env", "P=hunter2\n")
	h.stack("other", one)
	h.push("web")
	h.first()
	before := h.runs("web", "app")["app"]

	h.write("web/app.env", other.Encrypt("app.env", "P=hunter2-two\n"))
	h.push("for another key")
	h.trigger()
	s := h.settle()
	if st := s.stack(t, h.project("web")); !strings.Contains(st.Reason, other.To) || !strings.Contains(st.Reason, "sops updatekeys") {
		t.Errorf("it says %q, %q", st.Reason, st.Error)
	}
	if now := h.runs("web", "app")["app"]; now != before {
		t.Error("what ran was touched")
	}
	// The key comes without a restart.
	write("# both\n" + h.sops.Key + "\n" + other.Key)
	h.trigger()
	h.settle()
	if got := h.exec(h.runs("web", "app")["app"], "env"); !strings.Contains(got, "P=hunter2-two") {
		t.Errorf("the environment is %s", got)
	}
	h.nothingInClear()

	// Another recipient is no change.
	before = h.runs("web", "app")["app"]
	gittest.Write(t, h.work, ".sops.yaml", "creation_rules:\n  - age: "+other.To+","+h.sops.To+"\n")
	other.Run("updatekeys", "--yes", filepath.Join(h.work, "web/app.env"))
	h.push("for both")
	h.trigger()
	if st := h.settle().stack(t, h.project("web")); st.Sync != report.Synced || h.runs("web", "app")["app"] != before {
		t.Errorf("it is %+v", st)
	}

	// What was changed without the key is not deployed.
	env, err := os.ReadFile(filepath.Join(h.work, "web/app.env"))
	if err != nil {
		t.Fatal(err)
	}
	h.write("web/app.env", strings.Replace(string(env), "P=", "OTHER=", 1))
	h.push("tampered with")
	h.trigger()
	if st := h.settle().stack(t, h.project("web")); !strings.Contains(st.Reason, "changed after it was encrypted") || h.runs("web", "app")["app"] != before {
		t.Errorf("it is %+v", st)
	}
	h.nothingInClear()
}

// allRun says which container of the stack does not.
func (h *sealedHost) allRun() error {
	for _, c := range h.containers("web") {
		if c.State != container.StateRunning {
			return fmt.Errorf("%s is %s", c.Names[0], c.State)
		}
	}
	return nil
}

// Whenever the daemon is killed, the next one brings the stack to what git wants, and
// leaves nothing in clear that no container has.
func TestADaemonKilledWithSecretsInItsHandsLeavesNone(t *testing.T) {
	t.Parallel()
	h := newSealedHost(t)
	h.everywhere("hunter2-0")
	h.push("all of it")
	h.first()
	for n := 1; n <= 8; n++ {
		word := fmt.Sprint("hunter2-", n)
		h.everywhere(word)
		h.push(fmt.Sprint("change ", n))
		h.trigger()
		time.Sleep(time.Duration(n) * 150 * time.Millisecond) // another step each time
		h.daemon.kill()
		h.start()
		h.eventually("the stack is as wanted", func() error {
			if err := h.allRun(); err != nil {
				return err
			}
			s, err := h.status()
			if err != nil || len(s.Stacks) != 1 || s.Stacks[0].Sync != report.Synced || s.Stacks[0].Status != report.Running {
				return fmt.Errorf("%+v, %w", s.Stacks, err)
			}
			if got := h.contents(); got != 5 {
				return fmt.Errorf("%d contents in clear", got)
			}
			return nil
		})
		h.has(word)
		h.nothingInClear()
	}
}

// After a reboot the engine starts containers before there is a daemon: they have what
// was encrypted all the same.
func TestContainersHaveTheirSecretsAfterARebootWithoutTheDaemon(t *testing.T) {
	t.Parallel()
	e := newPrivateEngine(t)
	h := newSealedHostOn(newHostOn(t, e.address))
	h.everywhere("hunter2")
	h.push("all of it")
	h.first()
	before := h.has("hunter2")
	h.stop()
	e.cutPower()
	e.start()
	h.eventually("all of them run", h.allRun)
	for service, id := range h.has("hunter2") {
		if before[service] != id {
			t.Errorf("%s is another container", service)
		}
	}
}
