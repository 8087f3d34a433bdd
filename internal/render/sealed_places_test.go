package render_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/repo"
	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/secrets/sopstest"
)

// withMounts gives a loader the key, and a folder for files in clear.
func withMounts(t *testing.T, s *sopstest.Sops) func(*render.Options) {
	t.Helper()
	key := withKey(t, s)
	return func(o *render.Options) {
		key(o)
		o.HostRoot, o.HostSecrets = "/srv/stacks", "/vol"
	}
}

// targets are the mounts of the service app: what is in clear by its text, else the source.
func targets(t *testing.T, p render.Project) map[string]string {
	t.Helper()
	text := map[string]string{}
	for _, f := range p.VolumeFiles() {
		text["/vol/"+f.Path] = string(f.Content)
	}
	out := map[string]string{}
	for _, v := range compose(t, p).Services["app"].Volumes {
		if _, twice := out[v.Target]; twice {
			t.Errorf("%s is mounted twice", v.Target)
		}
		out[v.Target] = v.Source
		if clear, ok := text[v.Source]; ok {
			out[v.Target] = "clear " + clear
			if v.Bind == nil || v.Bind.CreateHostPath {
				t.Errorf("the engine would make a folder where %s is to be", v.Source)
			}
		}
	}
	return out
}

func TestWhatIsMountedEncryptedIsMountedInClear(t *testing.T) {
	s := sopstest.New(t)
	for name, c := range map[string]struct {
		compose string
		want    map[string]string
	}{
		"a file":                 {"services: {app: {image: a, volumes: ['./conf/x.env:/x']}}", map[string]string{"/x": "clear P=hunter2\n"}},
		"a folder":               {"services: {app: {image: a, volumes: ['./conf:/conf']}}", map[string]string{"/conf": "/srv/stacks/web/conf", "/conf/x.env": "clear P=hunter2\n"}},
		"a link to a folder":     {"services: {app: {image: a, volumes: ['./link:/conf']}}", map[string]string{"/conf": "/srv/stacks/web/link", "/conf/x.env": "clear P=hunter2\n"}},
		"a link to a file":       {"services: {app: {image: a, volumes: ['./x.link:/x']}}", map[string]string{"/x": "clear P=hunter2\n"}},
		"a path of the host":     {"services: {app: {image: a, volumes: ['$PWD/conf:/conf']}}", map[string]string{"/conf": "/srv/stacks/web/conf", "/conf/x.env": "clear P=hunter2\n"}},
		"with a slash":           {"services: {app: {image: a, volumes: ['$PWD/conf/:/conf/']}}", map[string]string{"/conf": "/srv/stacks/web/conf/", "/conf/x.env": "clear P=hunter2\n"}},
		"the folder and a file":  {"services: {app: {image: a, volumes: ['./conf:/conf', './conf/x.env:/conf/x.env']}}", map[string]string{"/conf": "/srv/stacks/web/conf", "/conf/x.env": "clear P=hunter2\n"}},
		"another over the file":  {"services: {app: {image: a, volumes: ['./conf:/conf', './plain:/conf/x.env']}}", map[string]string{"/conf": "/srv/stacks/web/conf", "/conf/x.env": "/srv/stacks/web/plain"}},
		"another over a folder":  {"services: {app: {image: a, volumes: ['./:/all', 'vol:/all/conf']}}\nvolumes: {vol: }", map[string]string{"/all": "/srv/stacks/web", "/all/conf": "vol"}},
		"and it is the env_file": {"services: {app: {image: a, env_file: conf/x.env, volumes: ['./conf/x.env:/x']}}", map[string]string{"/x": "clear P=hunter2\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t).write("web/compose.yaml", c.compose).write("web/conf/x.env", s.Encrypt("x.env", "P=hunter2\n")).write("web/plain", "p")
			for link, to := range map[string]string{"web/link": "conf", "web/x.link": "conf/x.env"} {
				if err := os.Symlink(to, filepath.Join(f.dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			got := targets(t, valid(t, f, withMounts(t, s)))
			if len(got) != len(c.want) {
				t.Errorf("mounts are %v, want %v", got, c.want)
			}
			for target, want := range c.want {
				if got[target] != want {
					t.Errorf("at %s is %q, want %q", target, got[target], want)
				}
			}
			inClear(t, f)
		})
	}
}

// Compose would copy it through the mount into what is mounted: into the clone.
func TestWhatBelongsBelowAMountIsMountedAsWell(t *testing.T) {
	s := sopstest.New(t)
	for name, service := range map[string]string{
		"a folder of the clone": "{image: a, configs: [{source: c, target: /conf/c}], volumes: ['./conf:/conf']}",
		"a tmpfs":               "{image: a, configs: [{source: c, target: /conf/c}], tmpfs: ['/conf:mode=700']}",
		"a volume":              "{image: a, configs: [{source: c, target: /conf/c}], volumes: ['vol:/conf']}",
		"of another service":    "{image: a, configs: [{source: c, target: /conf/c}], volumes_from: [other]}",
		"read-only":             "{image: a, configs: [{source: c, target: /conf/c}], read_only: true}",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t).write("web/compose.yaml", "services: {app: "+service+", other: {image: a, volumes: ['./conf:/conf']}}\nconfigs: {c: {file: c.txt}}\nvolumes: {vol: }\n").
				write("web/c.txt", s.Encrypt("c.txt", "hunter2")).write("web/conf/x", "x")
			p := valid(t, f, withMounts(t, s))
			if got := targets(t, p)["/conf/c"]; got != "clear hunter2" {
				t.Errorf("at /conf/c is %q", got)
			}
			if left := compose(t, p).Services["app"].Configs; len(left) > 0 {
				t.Errorf("and Compose copies %v", left)
			}
		})
	}
}

// Engine 29 copies nothing into a container with a file mounted in what is read-only.
func TestWhereNothingCanBeCopiedAllIsMounted(t *testing.T) {
	s := sopstest.New(t)
	load := func(t *testing.T, app string) render.Project {
		f := newFolder(t).write("web/compose.yaml", "services: {app: "+app+", other: {image: a, volumes: ['./conf:/conf:ro']}}\n"+
			"configs: {sealed: {file: c.txt}, inline: {content: in the file}, host: {file: plain.txt}}\nsecrets: {variable: {environment: VARIABLE}}\n").
			write("web/.env", "VARIABLE=of the file\n").write("web/c.txt", s.Encrypt("c.txt", "hunter2")).write("web/plain.txt", "x").
			write("web/conf/x.txt", s.Encrypt("x.txt", "hunter2"))
		return valid(t, f, withMounts(t, s))
	}
	const uses = "image: a, configs: [sealed, inline, host], secrets: [variable]"
	for name, app := range map[string]string{
		"its own":            "{" + uses + ", volumes: ['./conf:/conf:ro']}",
		"of another service": "{" + uses + ", volumes_from: [other]}",
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, app)
			got := targets(t, p)
			for target, want := range map[string]string{"/sealed": "clear hunter2", "/inline": "clear in the file", "/run/secrets/variable": "clear of the file"} {
				if got[target] != want {
					t.Errorf("at %s is %q, want %q", target, got[target], want)
				}
			}
			app := compose(t, p).Services["app"]
			if len(app.Secrets) > 0 || len(app.Configs) != 1 || app.Configs[0].Source != "host" {
				t.Errorf("Compose sees to %v and %v", app.Configs, app.Secrets)
			}
		})
	}
	for name, app := range map[string]string{
		"nothing is mounted":       "{" + uses + "}",
		"it can be written":        "{" + uses + ", volumes: ['./conf:/conf']}",
		"another is over the file": "{" + uses + ", volumes: ['./conf:/conf:ro', './plain.txt:/conf/x.txt']}",
	} {
		t.Run(name, func(t *testing.T) {
			if app := compose(t, load(t, app)).Services["app"]; len(app.Secrets) != 1 || len(app.Configs) != 3 {
				t.Errorf("Compose sees to %v and %v", app.Configs, app.Secrets)
			}
		})
	}
}

func TestAFileThatIsASecretAndMoreIsGivenInClear(t *testing.T) {
	s := sopstest.New(t)
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, env_file: db.env, secrets: [db, dot, host]}}\nsecrets: {db: {file: db.env}, dot: {file: .env}, host: {file: '$PWD/h.txt'}}").
		write("web/db.env", s.Encrypt("db.env", "P=hunter2\n")).write("web/.env", s.Encrypt(".env", "Q=hunter2\n")).write("web/h.txt", s.Encrypt("h.txt", "hunter2"))
	project := compose(t, valid(t, f, withMounts(t, s)))
	for name, want := range map[string]string{"db": "P=hunter2\n", "dot": "Q=hunter2\n", "host": "hunter2"} {
		if o := project.Secrets[name]; o.File != "" || project.Environment[o.Environment] != want {
			t.Errorf("secret %s is %+v", name, o)
		}
	}
	inClear(t, f)
}

func TestNothingEncryptedIsDeployedWhereItCantBeGivenInClear(t *testing.T) {
	s := sopstest.New(t)
	const mark = "ENC[AES256_GCM,data:x]"
	for name, c := range map[string]struct {
		compose string
		says    []string
	}{
		"an option of a volume":           {"services: {app: {image: a, volumes: ['vol:/v']}}\nvolumes: {vol: {driver_opts: {o: 'password=" + mark + "'}}}", []string{"volumes.vol", "still encrypted"}},
		"an option of a network":          {"services: {app: {image: a, networks: [n]}}\nnetworks: {n: {driver_opts: {o: '" + mark + "'}}}", []string{"networks.n", "still encrypted"}},
		"a secret from a variable":        {"services: {app: {image: a, secrets: [x]}}\nsecrets: {x: {environment: BROKEN}}", []string{"secrets.x", "still encrypted"}},
		"a config from a variable":        {"services: {app: {image: a, configs: [x]}}\nconfigs: {x: {environment: BROKEN}}", []string{"configs.x", "still encrypted"}},
		"a volume that is a folder":       {"services: {app: {image: a, volumes: ['vol:/v']}}\nvolumes: {vol: {driver_opts: {type: none, o: bind, device: $PWD/conf}}}", []string{"volumes.vol", "web/conf/x.env"}},
		"a secret of a build":             {"services: {app: {build: {context: ./ctx, secrets: [x]}}}\nsecrets: {x: {file: conf/x.env}}", []string{"services.app.build", "web/conf/x.env"}},
		"a build from a link to a folder": {"services: {app: {build: ./link}}", []string{"services.app.build", "web/conf/x.env"}},
		"a folder as a secret":            {"services: {app: {image: a, secrets: [x]}}\nsecrets: {x: {file: link}}", []string{"secrets.x", "web/link/x.env"}},
		"a seccomp profile":               {"services: {app: {image: a, security_opt: ['seccomp=conf/x.env']}}", []string{"security_opt", "conf/x.env"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t).write("web/compose.yaml", c.compose).write("web/.env", "BROKEN="+mark+"\n").
				write("web/conf/x.env", s.Encrypt("x.env", "P=hunter2\n")).write("web/ctx/Dockerfile", "FROM scratch")
			if err := os.Symlink("conf", filepath.Join(f.dir, "web/link")); err != nil {
				t.Fatal(err)
			}
			got := invalid(t, f, withMounts(t, s))
			for _, want := range c.says {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in: %s", want, got)
				}
			}
		})
	}
}

// A file that is too large to be decrypted is none in clear.
func TestALargeEncryptedFileIsRefused(t *testing.T) {
	s := sopstest.New(t)
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, volumes: ['./x.bin:/x']}}").write("web/x.bin", s.Encrypt("x.bin", strings.Repeat("hunter2 ", 1<<20)))
	if got := invalid(t, f, withMounts(t, s)); !strings.Contains(got, "at most") {
		t.Errorf("it says %s", got)
	}
}

func TestAChangeInAMountedFolderIsSeenAtTheNextLook(t *testing.T) {
	s := sopstest.New(t)
	for name, source := range map[string]string{"written as Compose does": "./conf", "behind a link": "./link", "as the host has it": "$PWD/conf"} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, volumes: ['"+source+":/conf']}}").write("web/conf/x.env", "P=1\n")
			if err := os.Symlink("conf", filepath.Join(f.dir, "web/link")); err != nil {
				t.Fatal(err)
			}
			l := loader(f, withMounts(t, s))
			if got := len(validOf(t, l, f).VolumeFiles()); got != 0 {
				t.Errorf("%d files in clear of none that is encrypted", got)
			}
			hash := ""
			for _, text := range []string{"P=hunter2\n", "P=hunter2-new\n"} {
				f.write("web/conf/x.env", s.Encrypt("x.env", text)).commit += "+"
				p := validOf(t, l, f)
				if got := targets(t, p)["/conf/x.env"]; got != "clear "+text {
					t.Errorf("mounted is %q, want %q", got, text)
				}
				if now := service(t, p, "app").Hash; now == hash {
					t.Error("it is no change")
				} else {
					hash = now
				}
			}
			loads := l.Loads()
			validOf(t, l, f)
			if l.Loads() != loads {
				t.Error("it is loaded at each look")
			}
		})
	}
}

// An encrypted stack, too, is the same before a checkout and after it, and is not
// loaded again for it.
func TestAnEncryptedStackLoadsTheSameBeforeAndAfterItsCheckout(t *testing.T) {
	s := sopstest.New(t)
	bare := gittest.Bare(t)
	work := gittest.Work(t, bare)
	gittest.Write(t, work, "README", "x")
	gittest.Push(t, work, "one")
	clone := filepath.Join(t.TempDir(), "clone")
	gittest.Git(t, "", "clone", "-q", bare, clone)
	gittest.Write(t, work, "compose.yaml", "services: {root: {image: 'a:$TAG', volumes: ['./web/conf:/o'], develop: {watch: [{path: .env, action: rebuild}, {path: web/conf/x, action: rebuild}]}}}")
	gittest.Write(t, work, ".env", s.Encrypt(".env", "TAG=hunter2\n"))
	gittest.Write(t, work, "web/compose.yaml", `
include: [{path: ../inc/i.yaml, env_file: ../inc/more.env, project_directory: ../inc}]
services:
  app:
    image: a
    extends: {file: link/base.yaml, service: base}
    env_file: [{path: link/a.env, required: false}, {path: none.env, required: false}]
    label_file: link/a.env
    read_only: true
    secrets: [s]
    configs: [c, d]
    volumes: ['./link:/conf', './link/a.env:/a']
  off: {image: a, profiles: [off], env_file: link/a.env}
secrets: {s: {file: link/x}}
configs: {c: {file: link/a.env}, d: {file: conf/x}}
`)
	for file, text := range map[string]string{
		"web/conf/a.env": "P=hunter2\n", "web/conf/x": "hunter2", "web/conf/base.yaml": "services:\n  base:\n    environment:\n      Q: hunter2\n",
		"inc/i.yaml": "services:\n  inc:\n    image: i:$TAG\n    env_file: i.env\n", "inc/more.env": "TAG=hunter2\n", "inc/i.env": "R=hunter2\n",
		"named/.env": "COMPOSE_FILE=a.yaml:b.yaml\n", "named/b.yaml": "services:\n  app:\n    environment:\n      P: hunter2\n",
	} {
		gittest.Write(t, work, file, s.Encrypt(filepath.Base(file), text))
	}
	gittest.Write(t, work, "named/compose.yaml", "services: {}")
	gittest.Write(t, work, "named/a.yaml", "services: {app: {image: a}}")
	if err := os.Symlink("conf", filepath.Join(work, "web/link")); err != nil {
		t.Fatal(err)
	}
	commit := gittest.Push(t, work, "two")

	l := loader(&folder{dir: clone}, withMounts(t, s))
	r, err := repo.Open(t.Context(), repo.Options{Path: clone, Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	see := func() map[string]render.Project {
		t.Helper()
		tree, err := r.Stage(t.Context(), commit)
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		return load(t, l, tree)
	}
	before := see()
	if err := r.Checkout(t.Context(), commit); err != nil {
		t.Fatal(err)
	}
	loads := l.Loads()
	see()
	if again := l.Loads() - loads; again > 0 {
		t.Errorf("%d stacks were loaded again for the checkout", again)
	}
	fresh := loader(&folder{dir: clone}, withMounts(t, s))
	l = fresh
	after := see()
	if len(before) != 3 || len(after) != 3 {
		t.Fatalf("%d stacks before and %d after", len(before), len(after))
	}
	for file := range after {
		if before[file].Invalid != "" || before[file].Digest != after[file].Digest {
			t.Errorf("%s: %s %s\nbefore %v\nafter  %v", file, before[file].Invalid, after[file].Invalid, before[file].Services, after[file].Services)
			continue
		}
		a, _ := compose(t, before[file]).MarshalYAML()
		b, _ := compose(t, after[file]).MarshalYAML()
		if string(a) != string(b) {
			t.Errorf("%s: the engine would get\n%s\nand\n%s", file, a, b)
		}
		if strings.Contains(string(a), "ENC[") || !strings.Contains(string(a), "hunter2") {
			t.Errorf("%s is\n%s", file, a)
		}
	}
}
