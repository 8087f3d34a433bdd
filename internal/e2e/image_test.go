//go:build engine

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/secrets/sopstest"
	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// The image, as the README says to start it: the clone at another place than
// on the host, not as root, with the repository's own docker-compose.yml.
func TestTheRealImageReachesTheRightFoldersOfTheHost(t *testing.T) {
	const tag = "gitops-compose-e2e:daemon"
	if out, err := exec.Command("../../scripts/image.sh", tag).CombinedOutput(); err != nil {
		t.Fatalf("build the image: %v\n%s", err, out)
	}
	h := newHost(t)
	const uid, gid = 4321, 4321
	socket, err := os.Stat(engineSocket(t, h.api))
	if err != nil {
		t.Skipf("this test mounts the socket of a local engine: %v", err)
	}
	group := socket.Sys().(*syscall.Stat_t).Gid
	home := t.TempDir() // the host's folder of the controller stack
	for dir := home; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.stack("web", `
services:
  app:
    image: BASE
    command: RUN
    stop_grace_period: 0s
    volumes: ["./www:/www:ro", "./data:/data", "./sealed.conf:/sealed.conf:ro"]
    configs: [{source: motd, target: /motd}]
    environment: {PASSWORD: "$PASSWORD"}
configs: {motd: {file: ./motd.txt}}
`)
	sops := sopstest.New(t)
	h.write("web/sealed.conf", sops.Encrypt("sealed.conf", "mounted in clear\n"))
	h.write("web/.env", sops.Encrypt(".env", "PASSWORD=decrypted\n"))
	h.write("web/www/index.html", "from the repository\n")
	h.write("web/motd.txt", "hello\n")
	h.push("add web")
	deployments := filepath.Join(home, "deployments")
	gittest.Git(t, "", "clone", "-q", h.remote, deployments)
	// The remote is reached by its path: mounted at the same place in the
	// container, so that no network is needed.
	chown(t, home, uid, gid)
	compose, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(compose), "ghcr.io/korbiniankuhn/gitops-compose:latest", tag, 1)
	text = strings.Replace(text, "127.0.0.1:2112:2112", "127.0.0.1:0:2112", 1)
	text = strings.Replace(text, "- /var/run/docker.sock:", "- "+engineSocket(t, h.api)+":", 1)
	text = strings.Replace(text, "      - ./deployments:/repository\n", "      - ./deployments:/repository\n      - "+h.remote+":"+h.remote+":ro\n", 1)
	if text == string(compose) {
		t.Fatal("docker-compose.yml is not as this test expects it")
	}
	for dir := h.remote; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	gittest.Write(t, home, "docker-compose.yml", text)
	gittest.Write(t, home, ".env", fmt.Sprintf("UID=%d\nGID=%d\nDOCKER_GID=%d\nCOMPOSE_PROJECT_NAME=%s\nLOG_LEVEL=debug\nSOPS_AGE_KEY=%s\n", uid, gid, group, h.project("controller"), sops.Key))

	// Compose itself is played by the daemon's own binary on the host: a
	// repository with nothing but the controller's stack.
	h.controller(home)
	container := h.containers("controller")[0]
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := exec.Command("docker", "logs", container.ID).CombinedOutput()
			t.Logf("log of the container:\n%s", out)
		}
	})
	if len(container.Ports) == 0 {
		t.Fatal("no port is published")
	}
	h.daemon = &daemon{base: fmt.Sprintf("http://127.0.0.1:%d", container.Ports[0].PublicPort), log: &logBuffer{}}
	h.eventually("web runs and the daemon is ready", func() error {
		s, err := h.status()
		if err != nil {
			return err
		}
		if !s.Ready || len(s.Stacks) == 0 || s.Stacks[0].Sync != "synced" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	id := h.runs("web", "app")["app"]
	if got := h.exec(id, "cat", "/www/index.html", "/motd"); got != "from the repository\nhello" {
		t.Errorf("the mounted files say %q", got)
	}
	if got := h.exec(id, "cat", "/sealed.conf"); got != "mounted in clear" {
		t.Errorf("the encrypted file that is mounted says %q", got)
	}
	if got := h.exec(id, "env"); !strings.Contains(got, "PASSWORD=decrypted") {
		t.Errorf("the environment is %s", got)
	}
	h.exec(id, "touch", "/data/made-inside")
	if _, err := os.Stat(filepath.Join(deployments, "web", "data", "made-inside")); err != nil {
		t.Errorf("./data is not the host's folder: %v", err)
	}
	c := h.containers("web")[0]
	if got := c.Labels["com.docker.compose.project.working_dir"]; got != filepath.Join(deployments, "web") {
		t.Errorf("working_dir is %s", got)
	}

	h.write("web/www/index.html", "changed\n")
	h.push("change the page")
	h.settle()
	if got := h.exec(h.runs("web", "app")["app"], "cat", "/www/index.html"); got != "changed" {
		t.Errorf("after a change the page says %q", got)
	}
	err = filepath.WalkDir(deployments, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.Contains(path, "/data") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != uid {
			err = errors.New(path + " belongs to somebody else")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	h.eventually("the engine's healthcheck passes", func() error {
		inspect, err := h.api.ContainerInspect(context.Background(), container.ID)
		if err == nil && (inspect.State.Health == nil || inspect.State.Health.Status != "healthy") {
			err = fmt.Errorf("%+v", inspect.State.Health)
		}
		return err
	})
	t.Cleanup(func() { _, _ = h.api.ImageRemove(context.Background(), tag, image.RemoveOptions{}) })
}

func chown(t *testing.T, dir string, uid, gid int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, uid, gid)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// controller does what docker compose up -d does in the controller's folder.
func (h *host) controller(folder string) {
	h.t.Helper()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	loaded, err := render.New(render.Options{Root: folder, HostRoot: folder, HostHome: folder, Hasher: engine.Hasher{}, Logger: log}).Load(ctx, onlyFolder(folder))
	projects := loaded.Projects
	if err != nil || len(projects) != 1 || projects[0].Invalid != "" {
		h.t.Fatalf("load docker-compose.yml: %v, %+v", err, projects)
	}
	if err := engine.New(h.api, engine.Options{HostRoot: folder, Logger: log}).Up(ctx, projects[0], plan.Op{}, nil); err != nil {
		h.t.Fatal(err)
	}
}

// onlyFolder is a tree of a folder in which git tracks nothing.
type onlyFolder string

func (onlyFolder) Commit() string          { return "" }
func (f onlyFolder) Dir() string           { return string(f) }
func (onlyFolder) Find(...string) []string { return []string{"docker-compose.yml"} }
func (onlyFolder) ID(string) string        { return "" }
func (onlyFolder) Edited(string) bool      { return false }

// engineSocket is where the engine of the tests listens.
func engineSocket(t *testing.T, api client.APIClient) string {
	t.Helper()
	path, ok := strings.CutPrefix(api.DaemonHost(), "unix://")
	if !ok {
		testenv.Missing(t, "the engine is at %s, and a container can be given a socket only", api.DaemonHost())
	}
	return path
}
