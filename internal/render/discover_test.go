package render_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

func TestPatternsSayWhichFilesAreStacks(t *testing.T) {
	f := newFolder(t)
	for _, name := range []string{
		"a/compose.yaml", "a/compose.prod.yml", "a/compose.override.yml", "a/docker-compose.yml", "b/docker-compose.yml", "b/stack.yml",
		"stacks/one.yml", "stacks/two.yml", "stacks/deep/three.yml", "stacks/readme.md", "compose.yml", "my stacks/x.yml",
	} {
		f.write(name, "services: {app: {image: a}}")
	}
	for patterns, want := range map[string]string{
		"": "a/compose.yaml b/docker-compose.yml compose.yml",
		"compose.yaml,compose.yml,docker-compose.yml,docker-compose.yaml": "a/compose.yaml b/docker-compose.yml compose.yml",
		"docker-compose.yml":                "a/docker-compose.yml b/docker-compose.yml",
		"compose.*":                         "a/compose.prod.yml a/compose.yaml compose.yml",
		"*/compose.*.yml":                   "a/compose.prod.yml",
		"stacks/*.yml":                      "stacks/one.yml stacks/two.yml",
		"stacks/**/*.yml":                   "stacks/deep/three.yml stacks/one.yml stacks/two.yml",
		"stacks/**":                         "stacks/deep/three.yml stacks/one.yml stacks/readme.md stacks/two.yml",
		"/compose.yml":                      "compose.yml",
		"my stacks/?.yml":                   "my stacks/x.yml",
		"stack[!s].yml,stack.yml":           "b/stack.yml",
		"compose.yaml,stacks/t[!h]*.yml":    "a/compose.yaml stacks/two.yml",
		"nothing.yml":                       "",
		`stacks/o\ne.yml`:                   "stacks/one.yml",
		"compose.yaml,a/docker-compose.yml": "a/compose.yaml",
	} {
		var list []string
		if patterns != "" {
			list = strings.Split(patterns, ",")
		}
		if got := strings.ReplaceAll(discovered(t, f, list...), "\n", "|"); got != strings.ReplaceAll(strings.ReplaceAll(want, " ", "|"), "my|", "my ") {
			t.Errorf("%s: got %s, want %s", patterns, got, want)
		}
	}
}

func TestWhatGitopsignoreLeavesOutIsNoStack(t *testing.T) {
	f := newFolder(t)
	for _, name := range []string{"web/compose.yaml", "examples/web/compose.yaml", "examples/keep/compose.yaml", "web/old/compose.yaml", "archive/2020/db/compose.yml"} {
		f.write(name, "services: {app: {image: a}}")
	}
	for text, want := range map[string]string{
		"":                                    "archive/2020/db/compose.yml examples/keep/compose.yaml examples/web/compose.yaml web/compose.yaml web/old/compose.yaml",
		"# no stacks\n\nexamples\narchive/\n": "web/compose.yaml web/old/compose.yaml",
		"/examples/*\n!/examples/keep":        "archive/2020/db/compose.yml examples/keep/compose.yaml web/compose.yaml web/old/compose.yaml",
		"old\n*.yml":                          "examples/keep/compose.yaml examples/web/compose.yaml web/compose.yaml",
		"*":                                   "",
		"web/compose.yaml":                    "archive/2020/db/compose.yml examples/keep/compose.yaml examples/web/compose.yaml web/old/compose.yaml",
	} {
		f.write(".gitopsignore", text)
		if got := strings.ReplaceAll(discovered(t, f), "\n", " "); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestAGitopsignoreCountsAsGitHasIt(t *testing.T) {
	f := newFolder(t).write("a/compose.yaml", "services: {app: {image: a}}").write("b/compose.yaml", "services: {app: {image: a}}").hide(".gitopsignore", "a")
	l := loader(f)
	count := func(what string, want int) {
		t.Helper()
		if got := len(load(t, l, f)); got != want {
			t.Errorf("%s: %d stacks, want %d", what, got, want)
		}
	}
	count("not tracked", 2)
	delete(f.untracked, ".gitopsignore")
	count("tracked", 1)
	f.write(".gitopsignore", "x")
	count("changed", 2)
	f.edited = []string{".gitopsignore"}
	if err := os.WriteFile(filepath.Join(f.dir, ".gitopsignore"), []byte("*"), 0o600); err != nil {
		t.Fatal(err)
	}
	count("changed by hand", 0)
	if err := os.Remove(filepath.Join(f.dir, ".gitopsignore")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(f.dir, ".gitopsignore"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.write(".gitopsignore/x", "")
	if _, err := l.Load(t.Context(), f); err == nil || !strings.Contains(err.Error(), ".gitopsignore") {
		t.Errorf("of a folder of that name: %v", err)
	}
}

func TestAGitopsignoreThatIsChangedByHandCountsUntilItIsRestored(t *testing.T) {
	f := newFolder(t).write("a/compose.yaml", "services: {app: {image: a}}").write("b/compose.yaml", "services: {app: {image: a}}").write(".gitopsignore", "a")
	clone := &folder{t: t, dir: filepath.Join(t.TempDir(), "clone")}
	for _, name := range f.tracked() {
		clone.write(name, "services: {app: {image: a}}")
	}
	tree := trackedAs{folder: clone, ids: f}
	l := loader(clone)
	for _, c := range []struct {
		text   string
		edited []string
		want   int
	}{{"a", nil, 1}, {"*", []string{".gitopsignore"}, 0}, {"a", nil, 1}} {
		clone.write(".gitopsignore", c.text)
		clone.edited = c.edited
		if got := len(load(t, l, tree)); got != c.want {
			t.Errorf("with %q: %d stacks, want %d", c.text, got, c.want)
		}
	}
}

// Whoever has files of other names types docker compose -f, in their folder.
func TestAFileOfAnotherNameIsLoadedAsComposeLoadsItWhenToldSo(t *testing.T) {
	for file, with := range map[string]func(*folder){
		"stacks/web.yml": func(*folder) {},
		"stacks/app.yml": func(f *folder) {
			f.write("stacks/compose.yaml", "services: {other: {image: o}}").write("stacks/compose.override.yaml", "services: {app: {command: no}}").write("stacks/app.override.yml", "services: {app: {command: no}}")
		},
		"stacks/db.yml":             func(f *folder) { f.hide("stacks/.env", "TAG=7\nCOMPOSE_FILE=compose.yaml\nCOMPOSE_PROFILES=x") },
		"stacks/docker-compose.yml": func(f *folder) { f.write("stacks/compose.yaml", "services: {other: {image: o}}") },
	} {
		f := newFolder(t).write(file, "services: {app: {image: 'a:${TAG:-0}', volumes: ['./d:/d'], env_file: a.env}, x: {image: x, profiles: [x]}}").write("stacks/a.env", "A=1")
		with(f)
		got := compose(t, valid(t, f, func(o *render.Options) { o.HostRoot, o.Files = o.Root, []string{file} }))
		o, err := cli.NewProjectOptions([]string{filepath.Join(f.dir, file)}, cli.WithEnv([]string{"PWD=" + f.dir + "/stacks"}), cli.WithEnvFiles(), cli.WithDotEnv,
			cli.WithConfigFileEnv, cli.WithDefaultConfigPath, cli.WithDefaultProfiles(), cli.WithoutEnvironmentResolution)
		if err != nil {
			t.Fatal(err)
		}
		want, err := o.LoadProject(t.Context())
		if err == nil {
			want, err = want.WithServicesEnvironmentResolved(true)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		a, _ := want.WithoutUnnecessaryResources().MarshalYAML()
		b, _ := got.MarshalYAML()
		if string(a) != string(b) {
			t.Errorf("%s: compose loads\n%s\nwe load\n%s", file, a, b)
		}
		if files := got.Services["app"].CustomLabels["com.docker.compose.project.config_files"]; files != filepath.Join(f.dir, file) {
			t.Errorf("%s: the label says %s", file, files)
		}
	}
}

func TestSeveralStacksOfOneFolderNeedNames(t *testing.T) {
	f := newFolder(t).write("stacks/a.yml", "services: {app: {image: a}}").write("stacks/b.yml", "services: {app: {image: a}}").write("stacks/c.yml", "name: c\nservices: {app: {image: a}}")
	ps := load(t, loader(f, func(o *render.Options) { o.Files = []string{"stacks/*.yml"} }), f)
	if c := ps["stacks/c.yml"]; len(ps) != 3 || c.Name != "c" || c.Invalid != "" {
		t.Errorf("%d stacks; c is %s, invalid: %s", len(ps), c.Name, c.Invalid)
	}
	want := "the project name stacks is used by stacks/a.yml and stacks/b.yml; to tell them apart, give one another name: or COMPOSE_PROJECT_NAME"
	if got := ps["stacks/a.yml"].Invalid; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFoldersOfAnyNameAreStacksWithTheNameThatComposeGives(t *testing.T) {
	for folder, want := range map[string]string{
		"My Blog": "myblog", "my.blog": "myblog", "My-Blog_2": "my-blog_2", "Küche": "kche", "_x": "x", "2024": "2024", "a b/c d": "cd", "naïve café": "navecaf", "tab\there": "tabhere", "über": "ber", "a'b\"c": "abc", "$HOME": "home", "a:b": "ab", "a,b": "ab", "#1": "1",
	} {
		f := newFolder(t).write(folder+"/compose.yaml", "services: {app: {image: a, volumes: ['./d:/d', {type: bind, source: ./c, target: /c}], env_file: a.env, configs: [c], build: .}}\nconfigs: {c: {file: ./c/x}}").
			write(folder+"/a.env", "A=1").write(folder+"/c/x", "1").write(folder+"/Dockerfile", "FROM scratch")
		p := valid(t, f)
		s := compose(t, p).Services["app"]
		if p.Name != want || p.File != folder+"/compose.yaml" || s.Volumes[0].Source != "/srv/stacks/"+folder+"/d" || *s.Environment["A"] != "1" || service(t, p, "app").Bare == "" {
			t.Errorf("%s: it is %s, mounts %s", folder, p.Name, s.Volumes[0].Source)
		}
	}
	for _, folder := range []string{"Ü", "...", "日本"} {
		f := newFolder(t).write(folder+"/compose.yaml", "services: {app: {image: a}}")
		want := folder + "/compose.yaml: project name must not be empty: of the folder's name nothing can be in one; set name: at the top of the file"
		if p := load(t, loader(f), f)[folder+"/compose.yaml"]; p.Invalid != want || p.Name != p.File {
			t.Errorf("%s is called %q, invalid: %s", folder, p.Name, p.Invalid)
		}
		valid(t, f.write(folder+"/compose.yaml", "name: x\nservices: {app: {image: a}}"))
	}
}

func TestAStackWithinAnothersFolderIsOneOfItsOwn(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, volumes: ['./conf:/c']}}").write("web/conf/x", "1").write("web/.env", "TAG=1").
		write("web/db/compose.yaml", "services: {app: {image: 'a:${TAG:-0}', volumes: ['./conf:/c', '../conf:/p']}}").write("web/db/conf/x", "1")
	l := loader(f)
	before := load(t, l, f)
	if web, db := before["web/compose.yaml"], before["web/db/compose.yaml"]; web.Name != "web" || db.Name != "db" || service(t, db, "app").Image != "a:0" {
		t.Errorf("they are %s and %s, with %s", web.Name, db.Name, service(t, db, "app").Image)
	}
	after := load(t, l, f.write("web/db/conf/x", "2"))
	if after["web/compose.yaml"].Digest != before["web/compose.yaml"].Digest || after["web/db/compose.yaml"].Digest == before["web/db/compose.yaml"].Digest {
		t.Error("want the inner one to be another, and only that")
	}
}

func TestAStackOfSwarmSaysSo(t *testing.T) {
	for text, where := range map[string]string{
		"services: {app: {image: a, networks: [n]}}\nnetworks: {n: {driver: overlay}}": "networks.n",
		"services: {app: {image: a}}\nnetworks: {default: {driver: overlay}}":          "networks.default",
	} {
		got := invalid(t, newFolder(t).write("web/compose.yaml", text))
		if !strings.HasPrefix(got, "web/compose.yaml: "+where+": this is a stack of Docker Swarm (docker stack deploy)") {
			t.Errorf("%s: %q", text, got)
		}
	}
	for _, text := range []string{
		"services: {app: {image: a, networks: [n]}}\nnetworks: {n: {driver: overlay, attachable: true}}",
		"services: {app: {image: a, networks: [n]}}\nnetworks: {n: {driver: overlay, external: true}}",
		"services: {app: {image: a}}\nnetworks: {unused: {driver: overlay}}\nsecrets: {s: {external: true}}",
		"services: {app: {image: a}, off: {image: b, profiles: [off], secrets: [s]}}\nsecrets: {s: {external: true}}",
		"services: {app: {image: a, deploy: {mode: global, placement: {constraints: [node.role == manager]}, update_config: {parallelism: 1}}}}",
	} {
		valid(t, newFolder(t).write("web/compose.yaml", text))
	}
}
