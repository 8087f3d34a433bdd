//go:build engine

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

func TestDoctorSaysWhatIsMissingOnThisHostAndTouchesNothing(t *testing.T) {
	h := newHost(t)
	h.stack("shop", "services:\n  app: {image: BASE, command: RUN, env_file: [app.env, db.env]}\n")
	h.write("shop/app.env.example", "TOKEN=\n")
	h.stack("web", "services:\n  app: {image: BASE, command: RUN, networks: [n]}\nnetworks: {n: {name: PREFIX-edge, external: true}}\n")
	h.stack("blog", "services:\n  app: {image: BASE, command: RUN, environment: {TOKEN: \"${TOKEN}\"}, volumes: [\"./data:/data\", \"/srv/PREFIX-media:/media\"]}\n")
	h.stack("well", one)
	h.push("as people first clone it")
	gittest.Git(t, t.TempDir(), "clone", "-q", h.remote, h.clone)
	gittest.Git(t, h.clone, "remote", "set-url", "origin", h.url)

	out, stderr, code := h.command("doctor")
	if code != 1 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{
		"shop/app.env does not exist", "shop/db.env does not exist", filepath.Join(h.clone, "shop/app.env") + " (app.env.example is beside it)",
		"docker network create " + h.prefix + "-edge", "note: variable TOKEN is not set", "mounts ./blog/data, which is not there", "mounts /srv/" + h.prefix + "-media, which is not there", "2 of 4 stacks can't be as git wants them",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, h.project("well")) {
		t.Errorf("it says something of a stack that is well:\n%s", out)
	}
	for _, name := range []string{"shop", "web", "blog", "well"} {
		if left := h.containers(name); len(left) > 0 {
			t.Errorf("%s has %d containers", name, len(left))
		}
	}
	if _, err := os.Stat(filepath.Join(h.clone, "blog/data")); err == nil {
		t.Error("a folder was made")
	}

	for name, text := range map[string]string{"shop/app.env": "TOKEN=1\n", "shop/db.env": "A=1\n", "blog/.env": "TOKEN=1\n"} {
		if err := os.WriteFile(filepath.Join(h.clone, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.remove("web")
	h.push("without the network")
	if out, stderr, code := h.command("doctor"); code != 0 || !strings.HasSuffix(out, "0 of 3 stacks can't be as git wants them\n") {
		t.Errorf("exit code %d\n%s%s", code, out, stderr)
	}
}
