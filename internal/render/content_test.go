package render_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	sdk "github.com/docker/compose/v2/pkg/compose"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

const everything = `
services:
  bindfile: {image: a, volumes: ["./conf/file:/f"]}
  bindfolder: {image: a, volumes: ["./conf:/f"]}
  device: {image: a, volumes: ["./data:/data"]}
  config: {image: a, configs: [c]}
  inline: {image: a, configs: [i]}
  variable: {image: a, secrets: [v]}
  secret: {image: a, secrets: [s]}
  hidden: {image: a, secrets: [h]}
  built: {build: {context: ./src, args: {A: "${ARG:-1}"}}}
  env: {image: a, env_file: a.env}
  profiled: {image: a, security_opt: ["no-new-privileges:true", "seccomp=./seccomp.json"]}
  labelled: {image: a, label_file: ./a.labels}
  elsewhere: {extends: {file: ../shared/base.yaml, service: base}}
  plain: {image: a}
configs: {c: {file: ./c.conf}, i: {content: "x${INLINE:-1}"}}
secrets: {s: {file: ./s.key}, h: {file: ./h.key}, v: {environment: TOKEN}}
`

func TestOnlyTheServicesThatUseWhatChangedHaveAnotherHash(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*folder)
		want   string
	}{
		"a file in a folder":       {func(f *folder) { f.write("web/conf/other", "2") }, "bindfolder"},
		"a file in both":           {func(f *folder) { f.write("web/conf/file", "2") }, "bindfile bindfolder"},
		"data":                     {func(f *folder) { f.hide("web/data/db", "2") }, ""},
		"a config":                 {func(f *folder) { f.write("web/c.conf", "2") }, "config"},
		"an inline config":         {func(f *folder) { f.write("web/.env", "TOKEN=1\nINLINE=2") }, "inline"},
		"a secret":                 {func(f *folder) { f.write("web/s.key", "2") }, "secret"},
		"an untracked secret":      {func(f *folder) { f.hide("web/h.key", "2") }, "hidden"},
		"a secret from a variable": {func(f *folder) { f.write("web/.env", "TOKEN=2") }, "variable"},
		"a build context":          {func(f *folder) { f.write("web/src/Dockerfile", "2") }, "built"},
		"a build argument":         {func(f *folder) { f.write("web/.env", "TOKEN=1\nARG=2") }, "built"},
		"an env file":              {func(f *folder) { f.write("web/a.env", "A=2") }, "env"},
		"a seccomp profile":        {func(f *folder) { f.write("web/seccomp.json", "[]") }, "profiled"},
		"a label file":             {func(f *folder) { f.write("web/a.labels", "a=2") }, "labelled"},
		"a file that is extended":  {func(f *folder) { f.write("shared/base.yaml", "services: {base: {image: b}}") }, "elsewhere"},
		"something else":           {func(f *folder) { f.write("web/README.md", "2").write("other/x", "2") }, ""},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFolder(t).write("web/compose.yaml", everything).write("web/.env", "TOKEN=1").write("web/a.env", "A=1").
				write("web/conf/file", "1").write("web/conf/other", "1").hide("web/data/db", "1").write("web/c.conf", "1").
				write("web/s.key", "1").hide("web/h.key", "1").write("web/src/Dockerfile", "1").
				write("web/seccomp.json", "{}").write("web/a.labels", "a=1").write("shared/base.yaml", "services: {base: {image: a}}")
			l := loader(f)
			before := validOf(t, l, f)
			c.change(f)
			f.commit = "c2"
			after := validOf(t, l, f)
			if got := changed(before, after); got != c.want {
				t.Errorf("changed: %q, want %q", got, c.want)
			}
			if (before.Digest != after.Digest) != (c.want != "") {
				t.Errorf("digests %s and %s", before.Digest, after.Digest)
			}
		})
	}
}

// Compose mounts the files of configs and secrets, whatever their size.
func TestAChangeFarBehindInAnUntrackedSecretIsSeen(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, secrets: [s]}}\nsecrets: {s: {file: ./s.key}}")
	full := filepath.Join(f.dir, "web/s.key")
	for what, size := range map[string]int64{"read in full": 2 << 20, "too large for that": 65 << 20} {
		f.hide("web/s.key", "1")
		if err := os.Truncate(full, size); err != nil {
			t.Fatal(err)
		}
		l := loader(f)
		before := service(t, validOf(t, l, f), "app").Hash
		file, err := os.OpenFile(full, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteAt([]byte("2"), size-1)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		if service(t, validOf(t, l, f), "app").Hash == before {
			t.Errorf("%s: the last byte changed and was not seen", what)
		}
	}
}

func TestASecretThatIsNoRegularFileIsNotRead(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, secrets: [s]}}\nsecrets: {s: {file: ./s.key}}")
	f.untracked["web/s.key"] = true
	if err := syscall.Mkfifo(filepath.Join(f.dir, "web/s.key"), 0o600); err != nil { // to open it would wait for a writer
		t.Fatal(err)
	}
	valid(t, f)
}

func changed(a, b render.Project) string {
	var out []string
	for i := range a.Services {
		if a.Services[i].Hash != b.Services[i].Hash {
			out = append(out, a.Services[i].Name)
		}
	}
	return strings.Join(out, " ")
}

func TestNoSecretIsInALabel(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, secrets: [s]}}\nsecrets: {s: {environment: TOKEN}}").hide("web/.env", "TOKEN=hunter2")
	app := compose(t, valid(t, f)).Services["app"]
	for _, labels := range []map[string]string{app.Labels, app.CustomLabels} {
		for k, v := range labels {
			if strings.Contains(v, "hunter2") {
				t.Errorf("label %s is %s", k, v)
			}
		}
	}
}

func TestWhatWasLoadedStaysInTheCacheUntilSomethingThatItReadChanges(t *testing.T) {
	f := newFolder(t).
		write("web/compose.yaml", "include: [{path: ../inc.yaml, env_file: ../inc.env}]\nservices: {app: {image: a, env_file: [a.env, {path: b.env, required: false}]}}").
		write("web2/compose.yaml", "include: [../inc.yaml]\nservices: {app: {image: '${IMAGE:-a}', env_file: [a.env, {path: b.env, required: false}], configs: [c]}}\nconfigs: {c: {file: c.conf}}").
		write("inc.yaml", "services: {inc: {image: 'i:${TAG:-1}'}}").
		hide("inc.env", "TAG=1").
		hide("web/a.env", "A=1").hide("web2/a.env", "A=1").hide("web2/c.conf", "1")
	l := loader(f)
	look := func(what string, again bool) string {
		t.Helper()
		before := l.Loads()
		p := load(t, l, f)["web2/compose.yaml"]
		if p.Invalid != "" {
			t.Fatalf("%s: %s", what, p.Invalid)
		}
		if loaded := l.Loads() > before; loaded != again {
			t.Errorf("%s: loaded again: %v", what, loaded)
		}
		return p.Digest
	}
	d := look("first", true)
	for _, step := range []struct {
		what   string
		change func()
		again  bool
	}{
		{"nothing", func() {}, false},
		{"another file", func() { f.hide("web2/x", "1") }, false},
		{"an env file changed", func() { f.hide("web2/a.env", "A=2") }, true},
		{"an optional env file appeared", func() { f.hide("web2/b.env", "B=2") }, true},
		{"a config changed", func() { f.hide("web2/c.conf", "2") }, true},
		{".env appeared", func() { f.hide("web2/.env", "IMAGE=b") }, true},
		{"an override appeared", func() { f.hide("web2/compose.override.yaml", "services: {app: {image: c}}") }, true},
		{".env of an include appeared", func() { f.hide(".env", "TAG=2") }, true},
		{"and nothing", func() {}, false},
	} {
		step.change()
		now := look(step.what, step.again)
		if (now != d) != step.again {
			t.Errorf("%s: digests %s and %s", step.what, d, now)
		}
		d = now
	}
	before := load(t, l, f)["web/compose.yaml"].Digest
	f.hide("inc.env", "TAG=2")
	if after := load(t, l, f)["web/compose.yaml"].Digest; after == before {
		t.Error("an env file of an include changed and was not seen")
	}
	f.commit = "c2"
	look("another commit", false)
	f.write("README.md", "2")
	look("another commit of other files", false)
}

func TestWhatIsGivenAwayIsACopy(t *testing.T) {
	p := valid(t, newFolder(t).write("web/compose.yaml", everything).write("web/.env", "TOKEN=1").write("web/a.env", "A=1").
		write("web/c.conf", "1").write("web/s.key", "1").write("web/h.key", "1").write("web/src/Dockerfile", "1").
		write("web/seccomp.json", "{}").write("web/a.labels", "a=1").write("shared/base.yaml", "services: {base: {image: a}}"))
	before, _ := compose(t, p).MarshalYAML()
	c := compose(t, p)
	for name, s := range c.Services {
		s.CustomLabels.Add("x", "y")
		s.Labels = s.Labels.Add("x", "y")
		for i := range s.Volumes {
			s.Volumes[i].Source = "gone"
		}
		for key := range s.Networks {
			delete(s.Networks, key)
		}
		delete(c.Services, name)
	}
	for key, n := range c.Networks {
		n.CustomLabels.Add("x", "y")
		delete(c.Networks, key)
	}
	c.Environment["TOKEN"] = "2"
	again := compose(t, p)
	after, _ := again.MarshalYAML()
	if string(before) != string(after) || again.Environment["TOKEN"] != "1" || again.Services["plain"].CustomLabels["x"] != "" || again.Networks["default"].CustomLabels["x"] != "" {
		t.Errorf("a change of the copy changed the original:\n%s\n%s", before, after)
	}
}

// A project that was started by hand is adopted without being recreated if the
// hashes are the ones that docker compose gives.
func TestHashesAreTheOnesOfDockerCompose(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", `
services:
  app:
    image: a
    env_file: a.env
    environment: {B: "${B:-2}"}
    ports: ["8080-8089:80"]
    volumes: ["/etc/hosts:/hosts:ro", "./untracked:/u", "data:/data", "/anonymous"]
    depends_on: [db]
    deploy: {replicas: 2, resources: {limits: {memory: 64M}}}
    healthcheck: {test: ["CMD", "true"], interval: 5s}
  db: {image: b, labels: {x: y}, restart: always}
volumes: {data: {}}
networks: {default: {driver_opts: {a: b}}}
`).write("web/a.env", "A=1")
	p := valid(t, f, func(o *render.Options) { o.HostRoot = f.dir })

	// As cmd/compose of docker/compose does it for up.
	t.Chdir(f.dir + "/web")
	options, err := cli.NewProjectOptions(nil, cli.WithoutEnvironmentResolution, cli.WithOsEnv, cli.WithEnvFiles(), cli.WithDotEnv, cli.WithConfigFileEnv,
		cli.WithDefaultConfigPath, cli.WithEnvFiles(), cli.WithDotEnv, cli.WithDefaultProfiles(), cli.WithName(""), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	real, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if real, err = real.WithoutUnnecessaryResources().WithServicesEnvironmentResolved(true); err != nil {
		t.Fatal(err)
	}
	for name, s := range real.Services {
		want, err := sdk.ServiceHash(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := service(t, p, name).Hash; got != want {
			t.Errorf("hash of %s is %s, docker compose gives %s", name, got, want)
		}
	}
	n := real.Networks["default"]
	if want, _ := sdk.NetworkHash(&n); p.Networks[0].Hash != want {
		t.Errorf("network: %s, docker compose gives %s", p.Networks[0].Hash, want)
	}
	if want, _ := sdk.VolumeHash(real.Volumes["data"]); p.Volumes[0].Hash != want {
		t.Errorf("volume: %s, docker compose gives %s", p.Volumes[0].Hash, want)
	}
	if s := service(t, p, "app"); s.Scale != 2 {
		t.Errorf("scale %d", s.Scale)
	}
}

func TestASeccompProfileThatIsNotThereIsRefused(t *testing.T) {
	for name, opt := range map[string]string{"beside the file": "seccomp=./none.json", "on the host": "seccomp:/etc/docker/none.json"} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, security_opt: ['"+opt+"']}}")
			if why := invalid(t, f); !strings.Contains(why, "services.app.security_opt") || !strings.Contains(why, "none.json") {
				t.Errorf("invalid: %q", why)
			}
		})
	}
}
