package render_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/repo"
	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/secrets/sopstest"
)

// past is a clone that has moved on from one commit to another.
type past struct {
	t           *testing.T
	work, clone string
	repo        *repo.Repository
	loader      *render.Loader
	good, bad   string
	was         render.Project
}

// newPast makes it with the good commit.
func newPast(t *testing.T, files map[string]string, change ...func(*render.Options)) *past {
	t.Helper()
	bare := gittest.Bare(t)
	p := &past{t: t, work: gittest.Work(t, bare), clone: filepath.Join(t.TempDir(), "clone")}
	p.write(files)
	p.good = gittest.Push(t, p.work, "good")
	gittest.Git(t, "", "clone", "-q", bare, p.clone)
	r, err := repo.Open(t.Context(), repo.Options{Path: p.clone, Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	p.repo = r
	volume := func(o *render.Options) { o.HostRoot, o.HostSecrets, o.Rollback = "/srv/stacks", "/vol", true }
	p.loader = loader(&folder{dir: p.clone}, append([]func(*render.Options){volume}, change...)...)
	tree := p.stage(p.good)
	defer tree.Close()
	p.was = validOf(t, p.loader, tree)
	return p
}

func (p *past) write(files map[string]string) {
	p.t.Helper()
	for name, text := range files {
		if text == "" {
			gittest.Git(p.t, p.work, "rm", "-q", name)
			continue
		}
		gittest.Write(p.t, p.work, name, text)
	}
}

func (p *past) stage(commit string) *repo.Tree {
	p.t.Helper()
	tree, err := p.repo.Stage(p.t.Context(), commit)
	if err != nil {
		p.t.Fatal(err)
	}
	return tree
}

// moveOn takes the clone to another commit.
func (p *past) moveOn(files map[string]string) {
	p.t.Helper()
	p.write(files)
	p.bad = gittest.Push(p.t, p.work, "bad")
	if _, err := p.repo.Fetch(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	if err := p.repo.Checkout(p.t.Context(), p.bad); err != nil {
		p.t.Fatal(err)
	}
}

// back loads the good version again, with images that are here by name.
func (p *past) back(local map[string]string) (render.Project, error) {
	p.t.Helper()
	then, now := p.stage(p.good), p.stage(p.bad)
	defer then.Close()
	defer now.Close()
	v := plan.Version{Commit: p.good, File: p.was.File, Digest: p.was.Digest, Services: map[string]plan.Variant{}}
	for _, s := range p.was.Services {
		v.Services[s.Name] = plan.Variant{Hash: s.Hash, Image: "good " + s.Image}
	}
	if local == nil {
		local = map[string]string{}
		for _, s := range p.was.Services {
			local[s.Image] = "good " + s.Image
		}
	}
	return p.loader.Back(p.t.Context(), then, now, render.Past{Version: v, Local: local})
}

func (p *past) hashes(of render.Project) map[string]string {
	m := map[string]string{}
	for _, s := range of.Services {
		m[s.Name] = s.Hash
	}
	return m
}

const twoServices = `
services:
  app: {image: 'app:1', volumes: ['./app.conf:/app.conf', './conf:/conf', './data:/data']}
  db: {image: 'db:1', volumes: ['./db.conf:/db.conf']}
`

func TestBackIsWhatItWasAndLeavesAloneWhatDidNotChange(t *testing.T) {
	p := newPast(t, map[string]string{"web/compose.yaml": twoServices, "web/app.conf": "a1", "web/conf/x": "x1", "web/db.conf": "d1"})
	p.moveOn(map[string]string{"web/compose.yaml": strings.Replace(twoServices, "app:1", "app:2", 1)})
	back, err := p.back(nil)
	if err != nil {
		t.Fatal(err)
	}
	if back.Digest != p.was.Digest || !maps.Equal(p.hashes(back), p.hashes(p.was)) || back.Commit != p.good || len(back.VolumeFiles()) > 0 {
		t.Errorf("it is %+v\nand was %+v", back.Stack, p.was.Stack)
	}
	for _, s := range back.Services {
		if s.Pull != plan.PullNever || s.Every != 0 {
			t.Errorf("%s is pulled: %s, every %s", s.Name, s.Pull, s.Every)
		}
	}
}

func TestBackMountsWhatThereWasThen(t *testing.T) {
	p := newPast(t, map[string]string{"web/compose.yaml": twoServices, "web/app.conf": "a1", "web/conf/x": "x1", "web/conf/deep/y": "y1", "web/db.conf": "d1"})
	gittest.Write(t, p.clone, "web/data/file", "untracked")
	if err := os.Chmod(filepath.Join(p.work, "web/conf/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.moveOn(map[string]string{"web/app.conf": "a2", "web/conf/x": "x2", "web/conf/new": "new"})
	back, err := p.back(nil)
	if err != nil {
		t.Fatal(err)
	}
	laid := map[string]string{}
	for _, f := range back.VolumeFiles() {
		if f.Mode != 0o644 {
			t.Errorf("%s has mode %v", f.Path, f.Mode)
		}
		laid["/vol/"+f.Path] = string(f.Content)
	}
	if len(laid) != 3 {
		t.Errorf("laid are %v", laid)
	}
	for _, v := range compose(t, back).Services["app"].Volumes {
		switch v.Target {
		case "/app.conf":
			if laid[v.Source] != "a1" || !v.ReadOnly || v.Bind.CreateHostPath {
				t.Errorf("app.conf is %+v", v)
			}
		case "/conf":
			if laid[v.Source+"/x"] != "x1" || laid[v.Source+"/deep/y"] != "y1" || !v.ReadOnly {
				t.Errorf("conf is %+v", v)
			}
		case "/data":
			if v.Source != "/srv/stacks/web/data" || v.ReadOnly {
				t.Errorf("data is %+v", v)
			}
		}
	}
	if back.Digest == p.was.Digest || p.hashes(back)["app"] == p.hashes(p.was)["app"] || p.hashes(back)["db"] != p.hashes(p.was)["db"] {
		t.Errorf("only app is to be another: %v, was %v", p.hashes(back), p.hashes(p.was))
	}
	for _, s := range back.Services {
		for _, m := range s.Mounts {
			if strings.HasPrefix(m.Source, "/vol") {
				t.Errorf("%s of %s counts as data", m.Source, s.Name)
			}
		}
	}
}

func TestBackTakesConfigsAndSecretsAsTheyWere(t *testing.T) {
	const file = "services: {app: {image: a, configs: [c], secrets: [s]}}\nconfigs: {c: {file: c.txt}}\nsecrets: {s: {file: s.txt}}"
	p := newPast(t, map[string]string{"web/compose.yaml": file, "web/c.txt": "c1", "web/s.txt": "s1"})
	p.moveOn(map[string]string{"web/c.txt": "c2"})
	back, err := p.back(nil)
	if err != nil {
		t.Fatal(err)
	}
	files := back.VolumeFiles()
	if len(files) != 1 || string(files[0].Content) != "c1" {
		t.Fatalf("laid are %+v", files)
	}
	project := compose(t, back)
	if got := project.Configs["c"].File; got != "/vol/"+files[0].Path {
		t.Errorf("the config is %s", got)
	}
	if got := project.Secrets["s"].File; got != "/srv/stacks/web/s.txt" {
		t.Errorf("the secret is %s", got)
	}
}

func TestBackTakesTheImageThatATagNamedThen(t *testing.T) {
	p := newPast(t, map[string]string{"web/compose.yaml": "services: {app: {image: app, pull_policy: always}, db: {image: 'db:1'}, built: {build: .}}", "web/Dockerfile": "FROM scratch"})
	p.moveOn(map[string]string{"other": "x"})
	back, err := p.back(map[string]string{"app:latest": "another", "db:1": "good db:1"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"app": "gitops-compose/keep:web.app", "db": "db:1", "built": "gitops-compose/keep:web.built"}
	for _, s := range back.Services {
		if s.Image != want[s.Name] || compose(t, back).Services[s.Name].Image != want[s.Name] {
			t.Errorf("%s is made from %s", s.Name, s.Image)
		}
		if changed := s.Hash != p.hashes(p.was)[s.Name]; changed != (s.Name != "db") {
			t.Errorf("%s is another: %v", s.Name, changed)
		}
	}
}

func TestBackOfWhatIsEncrypted(t *testing.T) {
	s := sopstest.New(t)
	p := newPast(t, map[string]string{
		"web/compose.yaml": "services: {app: {image: a, env_file: a.env, volumes: ['./conf:/conf', './x.env:/x']}}",
		"web/a.env":        s.Encrypt("a.env", "P=hunter1\n"), "web/x.env": s.Encrypt("x.env", "X=hunter1\n"),
		"web/conf/y.env": s.Encrypt("y.env", "Y=hunter1\n"), "web/conf/z": "z1",
	}, withKey(t, s))
	p.moveOn(map[string]string{
		"web/a.env": s.Encrypt("a.env", "P=hunter2\n"), "web/x.env": s.Encrypt("x.env", "X=hunter2\n"), "web/conf/y.env": s.Encrypt("y.env", "Y=hunter2\n"), "web/conf/z": "z2",
	})
	back, err := p.back(nil)
	if err != nil {
		t.Fatal(err)
	}
	app := compose(t, back).Services["app"]
	if v := app.Environment["P"]; v == nil || *v != "hunter1" {
		t.Errorf("the environment is %v", app.Environment)
	}
	text := map[string]string{}
	for _, f := range back.VolumeFiles() {
		text["/vol/"+f.Path] = string(f.Content)
	}
	got := map[string]string{}
	for _, v := range app.Volumes {
		got[v.Target] = text[v.Source]
		if v.Target == "/conf" {
			got[v.Target] = text[v.Source+"/z"]
		}
	}
	if want := map[string]string{"/conf": "z1", "/conf/y.env": "Y=hunter1\n", "/x": "X=hunter1\n"}; !maps.Equal(got, want) {
		t.Errorf("mounted are %q, want %q", got, want)
	}
}

// Half of an old version would be worse than the new one.
func TestWhatCantBeAsItWasIsNoWayBack(t *testing.T) {
	link := func(name, to string) func(*past) {
		return func(p *past) {
			if err := os.Symlink(to, filepath.Join(p.work, name)); err != nil {
				p.t.Fatal(err)
			}
			p.good = gittest.Push(p.t, p.work, "a link")
			if _, err := p.repo.Fetch(p.t.Context()); err != nil {
				p.t.Fatal(err)
			}
			if err := p.repo.Checkout(p.t.Context(), p.good); err != nil {
				p.t.Fatal(err)
			}
			tree := p.stage(p.good)
			defer tree.Close()
			p.was = validOf(p.t, p.loader, tree)
		}
	}
	noVolume := func(o *render.Options) { o.HostSecrets = "" }
	for name, c := range map[string]struct {
		compose string
		options func(*render.Options)
		before  func(*past)
		bad     map[string]string
		after   func(*past)
		want    string
	}{
		"an untracked file in a folder": {
			compose: "services: {app: {image: a, volumes: ['./conf:/conf']}}", bad: map[string]string{"web/conf/x": "x2"},
			after: func(p *past) { gittest.Write(p.t, p.clone, "web/conf/state", "s") },
			want:  "web/conf has changed since, and has something in it that git does not track: web/conf/state",
		},
		"an untracked folder in a folder below": {
			compose: "services: {app: {image: a, volumes: ['./:/web']}}", bad: map[string]string{"web/conf/x": "x2"},
			after: func(p *past) { gittest.Write(p.t, p.clone, "web/conf/data/state", "s") },
			want:  "web/conf has changed since, and has something in it that git does not track: web/conf/data",
		},
		"a link in a folder": {
			compose: "services: {app: {image: a, volumes: ['./conf:/conf']}}", before: link("web/conf/link", "x"),
			bad: map[string]string{"web/conf/x": "x2"}, want: "web/conf has changed since, and has a link in it: web/conf/link",
		},
		"no volume": {
			compose: "services: {app: {image: a, volumes: ['./conf/x:/x']}}", options: noVolume,
			bad: map[string]string{"web/conf/x": "x2"}, want: "give its service the volume gitops-secrets:/secrets",
		},
		"the whole repository": {
			compose: "services: {app: {image: a, volumes: ['../:/all']}}", bad: map[string]string{"web/conf/x": "x2"}, want: "the whole repository is mounted",
		},
		"a seccomp profile": {
			compose: "services: {app: {image: a, security_opt: ['seccomp:conf/x']}}", bad: map[string]string{"web/conf/x": "{\"a\": 1}"},
			want: "the seccomp profile web/conf/x has changed since",
		},
		"a volume of a folder": {
			compose: "services: {app: {image: a, volumes: ['vol:/v']}}\nvolumes: {vol: {driver_opts: {type: none, o: bind, device: $PWD/conf}}}",
			bad:     map[string]string{"web/conf/x": "x2"}, want: "volumes.vol: web/conf has changed since, and a volume mounts it",
		},
		"an env file that git does not track": {
			compose: "services: {app: {image: a, env_file: [{path: a.env, required: false}]}}", bad: map[string]string{"web/conf/x": "x2"},
			after: func(p *past) { gittest.Write(p.t, p.clone, "web/a.env", "P=1\n") },
			want:  "web/compose.yaml is not any more what it was: what git does not track has changed since (web/a.env)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.options == nil {
				c.options = func(*render.Options) {}
			}
			p := newPast(t, map[string]string{"web/compose.yaml": c.compose, "web/conf/x": "{}"}, c.options)
			if c.before != nil {
				c.before(p)
			}
			p.moveOn(c.bad)
			if c.after != nil {
				c.after(p)
			}
			back, err := p.back(nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it is %+v, %v, want %q", back.Stack, err, c.want)
			}
		})
	}
	t.Run("cut short", func(t *testing.T) {
		p := newPast(t, map[string]string{"web/compose.yaml": twoServices})
		p.moveOn(map[string]string{"x": "x"})
		then := p.stage(p.good)
		defer then.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.loader.Back(ctx, then, then, render.Past{Version: plan.Version{File: p.was.File, Digest: p.was.Digest}}); err == nil {
			t.Error("no error")
		}
	})
}

func TestWhoIsRolledBack(t *testing.T) {
	for name, c := range map[string]struct {
		app  string
		all  bool
		want []string // services that are, with their times
	}{
		"by default nobody":             {"image: a", false, nil},
		"all, as configured":            {"image: a", true, []string{"app 10s", "other 10s"}},
		"by the label":                  {"image: a, labels: {gitops.rollback: 'true'}", false, []string{"app 10s", "other 10s"}},
		"not, by the label":             {"image: a, labels: {gitops.rollback: 'no'}", true, []string{"app 10s", "other 10s"}},
		"not, by the label, as false":   {"image: a, labels: {gitops.rollback: 'false'}", true, nil},
		"by the service's own words":    {"image: a, deploy: {update_config: {failure_action: rollback, monitor: 30s}}", false, []string{"app 30s"}},
		"not, by its own words":         {"image: a, deploy: {update_config: {failure_action: pause}}", true, []string{"other 10s"}},
		"the label counts more":         {"image: a, labels: {gitops.rollback: 'false'}, deploy: {update_config: {failure_action: rollback}}", false, nil},
		"the label, and the time given": {"image: a, labels: {gitops.rollback: '1'}, deploy: {update_config: {monitor: 1m}}", false, []string{"app 1m0s", "other 10s"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t).write("web/compose.yaml", "services: {app: {"+c.app+"}, other: {image: b}}")
			all := func(o *render.Options) { o.Rollback = c.all }
			if strings.Contains(c.app, "'no'") {
				if got := invalid(t, f, all); !strings.Contains(got, `gitops.rollback is "no", and can only be true or false`) {
					t.Errorf("it says %s", got)
				}
				return
			}
			p := valid(t, f, all)
			var got []string
			for _, s := range p.Services {
				if s.Rollback {
					got = append(got, s.Name+" "+s.Monitor.String())
				} else if s.Monitor != 0 {
					t.Errorf("%s is watched for %s", s.Name, s.Monitor)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("rolled back are %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheRollbackLabelIsNoPartOfAService(t *testing.T) {
	plain := valid(t, newFolder(t).write("web/compose.yaml", "services: {app: {image: a}, off: {image: b, profiles: [off]}}"))
	for _, file := range []string{
		"services: {app: {image: a, labels: {gitops.rollback: 'true'}}, off: {image: b, profiles: [off]}}",
		"services: {app: {image: a}, off: {image: b, profiles: [off], labels: {gitops.rollback: 'true'}}}",
	} {
		p := valid(t, newFolder(t).write("web/compose.yaml", file))
		if p.Digest != plain.Digest || p.Services[0].Hash != plain.Services[0].Hash || !p.Services[0].Rollback || p.Services[0].Monitor != 10*time.Second {
			t.Errorf("%s is another stack: %+v", file, p.Services)
		}
	}
	both := newFolder(t).write("web/compose.yaml", "services: {a: {image: a, labels: {gitops.rollback: 'true'}}, b: {image: b, labels: {gitops.rollback: 'false'}}}")
	if got := invalid(t, both); !strings.Contains(got, "services.b.labels: gitops.rollback is false, and another service has the opposite") {
		t.Errorf("it says %s", got)
	}
}
