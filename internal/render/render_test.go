package render_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// folder is a Tree over a folder in which every file is tracked, but for the
// ones named in untracked.
type folder struct {
	t         testing.TB
	dir       string
	commit    string
	untracked map[string]bool
	edited    []string // by hand
}

func newFolder(t testing.TB) *folder {
	return &folder{t: t, dir: filepath.Join(t.TempDir(), "clone"), commit: "c1", untracked: map[string]bool{}}
}

func (f *folder) Commit() string { return f.commit }
func (f *folder) Dir() string    { return f.dir }

// write writes a file whose time is well in the past, as most are.
func (f *folder) write(name, text string) *folder {
	f.t.Helper()
	full := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		f.t.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	if before, err := os.Stat(full); err == nil {
		old = before.ModTime().Add(time.Second)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chtimes(full, old, old); err != nil {
		f.t.Fatal(err)
	}
	touchFolder(f.t, filepath.Dir(full))
	return f
}

// touchFolder gives a folder another time, as the clock would that has ticked.
func touchFolder(t testing.TB, dir string) {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	at := info.ModTime().Add(-time.Second)
	if err := os.Chtimes(dir, at, at); err != nil {
		t.Fatal(err)
	}
}

// hide writes a file that git does not track.
func (f *folder) hide(name, text string) *folder {
	f.t.Helper()
	f.untracked[name] = true
	return f.write(name, text)
}

func (f *folder) tracked() []string {
	var out []string
	_ = filepath.WalkDir(f.dir, func(full string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(f.dir, full)
		if !f.untracked[rel] {
			out = append(out, rel)
		}
		return nil
	})
	slices.Sort(out)
	return out
}

func (f *folder) Find(names ...string) []string {
	var out []string
	for _, p := range f.tracked() {
		if isNamed(names, p) {
			out = append(out, p)
		}
	}
	return out
}

// isNamed says whether Find is to list a file.
func isNamed(names []string, file string) bool {
	base := path.Base(file)
	return slices.ContainsFunc(names, func(name string) bool {
		ok := name == base
		if strings.Contains(name, "*") {
			ok, _ = path.Match(name, base)
		}
		return ok
	})
}

// discovered lists the stack files of a tree, one a line.
func discovered(t *testing.T, tree render.Tree, patterns ...string) string {
	t.Helper()
	files, err := render.Discover(tree, patterns)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(files, "\n")
}

func (f *folder) Edited(name string) bool {
	return slices.ContainsFunc(f.edited, func(p string) bool { return name == "" || p == name })
}

func (f *folder) ID(name string) string {
	h := sha256.New()
	found := false
	for _, p := range f.tracked() {
		if p == name || name == "" || strings.HasPrefix(p, name+"/") {
			b, _ := os.ReadFile(filepath.Join(f.dir, p))
			h.Write([]byte(strings.TrimPrefix(p, name) + "\x00" + string(b) + "\x00"))
			found = true
		}
	}
	if !found {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

func loader(f *folder, change ...func(*render.Options)) *render.Loader {
	return render.New(options(f, change...)).WithoutTick()
}

func options(f *folder, change ...func(*render.Options)) render.Options {
	o := render.Options{Root: f.dir, HostRoot: "/srv/stacks", HostHome: "/home/ann", Repository: "example.org/stacks", Hasher: engine.Hasher{}}
	for _, c := range change {
		c(&o)
	}
	return o
}

func load(t testing.TB, l *render.Loader, tree render.Tree) map[string]render.Project {
	t.Helper()
	loaded, err := l.Load(context.Background(), tree)
	if err != nil {
		t.Fatal(err)
	}
	byFile := map[string]render.Project{}
	for _, p := range loaded.Projects {
		byFile[p.File] = p
	}
	return byFile
}

// valid loads the only stack of a folder, which has to be valid.
func valid(t testing.TB, f *folder, change ...func(*render.Options)) render.Project {
	t.Helper()
	return validOf(t, loader(f, change...), f)
}

func validOf(t testing.TB, l *render.Loader, tree render.Tree) render.Project {
	t.Helper()
	for _, p := range load(t, l, tree) {
		if p.Invalid != "" {
			t.Fatalf("%s is invalid: %s", p.File, p.Invalid)
		}
		return p
	}
	t.Fatal("no stack")
	return render.Project{}
}

// invalid loads the only stack of a folder and returns what is wrong with it.
func invalid(t testing.TB, f *folder, change ...func(*render.Options)) string {
	t.Helper()
	for _, p := range load(t, loader(f, change...), f) {
		if p.Invalid == "" {
			t.Fatalf("%s is valid", p.File)
		}
		if strings.Contains(p.Invalid, f.dir) {
			t.Errorf("a path of this machine is in the message: %s", p.Invalid)
		}
		return p.Invalid
	}
	t.Fatal("no stack")
	return ""
}

func service(t testing.TB, p render.Project, name string) plan.Service {
	t.Helper()
	i := slices.IndexFunc(p.Services, func(s plan.Service) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no service %s in %v", name, p.Services)
	}
	return p.Services[i]
}

func names(p render.Project) string {
	var out []string
	for _, s := range p.Services {
		out = append(out, s.Name)
	}
	return strings.Join(out, " ")
}

func TestOneFileOfEachFolderIsFoundInComposesOrderOfPreference(t *testing.T) {
	f := newFolder(t)
	for _, name := range []string{
		"a/compose.yaml", "a/compose.yml", "a/docker-compose.yml", "a/docker-compose.yaml",
		"b/compose.yml", "b/docker-compose.yml",
		"c/docker-compose.yml", "c/docker-compose.yaml",
		"d/docker-compose.yaml", "d/e/compose.yml",
		"f/other.yaml", "f/compose.override.yaml",
	} {
		f.write(name, "")
	}
	got := discovered(t, f)
	want := "a/compose.yaml\nb/compose.yml\nc/docker-compose.yml\nd/docker-compose.yaml\nd/e/compose.yml"
	if got != want {
		t.Errorf("found\n%s\nwant\n%s", got, want)
	}
}

func TestAnOverrideFileCountsWhetherGitTracksItOrNot(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a}}")
	l := loader(f)
	if s := service(t, validOf(t, l, f), "app"); s.Image != "a:latest" {
		t.Fatalf("image %s", s.Image)
	}
	f.hide("web/compose.override.yaml", "services: {app: {image: b}}")
	p := validOf(t, l, f)
	if s := service(t, p, "app"); s.Image != "b:latest" {
		t.Errorf("an untracked override appeared, and the image is %s", s.Image)
	}
	c := compose(t, p)
	if files := c.Services["app"].CustomLabels["com.docker.compose.project.config_files"]; files != "/srv/stacks/web/compose.yaml,/srv/stacks/web/compose.override.yaml" {
		t.Errorf("config_files is %s", files)
	}
}

func TestTheNameIsTheOneThatComposeWouldGive(t *testing.T) {
	const one = "services: {app: {image: a}}\n"
	for what, c := range map[string]struct {
		write func(*folder)
		want  string
	}{
		"folder":               {func(f *folder) { f.write("My.Web/compose.yaml", one) }, "myweb"},
		"top-level name":       {func(f *folder) { f.write("web/compose.yaml", "name: shop\n"+one) }, "shop"},
		"COMPOSE_PROJECT_NAME": {func(f *folder) { f.write("web/compose.yaml", one).hide("web/.env", "COMPOSE_PROJECT_NAME=kiosk") }, "kiosk"},
		"COMPOSE_PROJECT_NAME first": {func(f *folder) {
			f.write("web/compose.yaml", "name: shop\n"+one).write("web/.env", "COMPOSE_PROJECT_NAME=kiosk")
		}, "kiosk"},
		"COMPOSE_PROJECT_NAME made of another": {func(f *folder) {
			f.write("web/compose.yaml", "name: shop\n"+one).write("web/.env", "P=blue # a color\nCOMPOSE_PROJECT_NAME=\"${P}-shop\"")
		}, "blue-shop"},
		"an empty COMPOSE_PROJECT_NAME": {func(f *folder) {
			f.write("web/compose.yaml", "name: shop\n"+one).write("web/.env", "COMPOSE_PROJECT_NAME=")
		}, "shop"},
		"a name in quotes":         {func(f *folder) { f.write("web/compose.yaml", "name: \"shop\" # x\n"+one) }, "shop"},
		"a name with a remark":     {func(f *folder) { f.write("web/compose.yaml", "name: 'shop'# x\n"+one) }, "shop"},
		"a name made of variables": {func(f *folder) { f.write("web/compose.yaml", "name: ${P}-shop # x\n"+one).write("web/.env", "P=blue") }, "blue-shop"},
		"a name with a default":    {func(f *folder) { f.write("web/compose.yaml", "name: ${P:-red}-shop\n"+one) }, "red-shop"},
		"a name with capitals":     {func(f *folder) { f.write("web/compose.yaml", "name: \"My Shop\"\n"+one) }, "myshop"},
		"a name of files elsewhere": {func(f *folder) {
			f.write("web/compose.yaml", one).write("base/x.yaml", "name: shop\n"+one).write("web/.env", "COMPOSE_FILE=../base/x.yaml")
		}, "shop"},
		"a folder elsewhere": {func(f *folder) {
			f.write("web/compose.yaml", one).write("base/x.yaml", one).write("web/.env", "COMPOSE_FILE=../base/x.yaml")
		}, "base"},
		"root":             {func(f *folder) { f.write("compose.yaml", one) }, "stacks"},
		"root with a name": {func(f *folder) { f.write("compose.yaml", "name: shop\n"+one) }, "shop"},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFolder(t)
			c.write(f)
			if p := valid(t, f); p.Name != c.want {
				t.Errorf("name %s, want %s", p.Name, c.want)
			}
			// Broken, it is still known by it: what runs of it is not another's.
			for _, name := range f.tracked() {
				if strings.HasSuffix(name, ".yaml") {
					text, _ := os.ReadFile(filepath.Join(f.dir, name))
					f.write(name, strings.Replace(string(text), one, "services: {app: {imagee: a}}\n", 1))
				}
			}
			for _, p := range load(t, loader(f), f) {
				if p.Name != c.want || p.Invalid == "" {
					t.Errorf("broken its name is %s, want %s", p.Name, c.want)
				}
			}
		})
	}
}

func TestTwoStacksOfOneNameAreInvalidAndAreToldHowToMendIt(t *testing.T) {
	f := newFolder(t).
		write("a/web/compose.yaml", "services: {app: {image: a}}").
		write("b/web/compose.yaml", "services: {app: {image: a}}").
		write("c/web/compose.yaml", "services: [").
		write("d/compose.yaml", "services: {app: {image: a}}")
	l := loader(f)
	for range 2 { // also from the cache
		ps := load(t, l, f)
		for _, file := range []string{"a/web/compose.yaml", "b/web/compose.yaml"} {
			text := ps[file].Invalid
			for _, part := range []string{"a/web/compose.yaml", "b/web/compose.yaml", "name:", "web"} {
				if !strings.Contains(text, part) {
					t.Errorf("%s: %q does not say %s", file, text, part)
				}
			}
		}
		if text := ps["c/web/compose.yaml"].Invalid; !strings.Contains(text, "yaml") || strings.Contains(text, "is used by") {
			t.Errorf("one that does not load says %q", text)
		}
		if text := ps["d/compose.yaml"].Invalid; text != "" {
			t.Errorf("d is invalid: %s", text)
		}
	}
}

func TestAStackThatDoesNotLoadTakesNoNameFromOneThatDoes(t *testing.T) {
	for what, broken := range map[string]string{
		"a guess":                 "name: ${P:?}-web\nservices: {app: {image: a}}",
		"a typo":                  "names: shop\nservices: {app: {image: a}}",
		"its folder's name":       "services: [",
		"the name that it states": "name: web\nservices: [",
		"a name that is certain":  "services: {app: {image: a, configs: [c]}}\nconfigs: {c: {file: gone}}",
	} {
		t.Run(what, func(t *testing.T) {
			f := newFolder(t).write("a/web/compose.yaml", "services: {app: {image: a}}").write("b/web/compose.yaml", broken)
			l := loader(f)
			for range 2 { // also from the cache
				ps := load(t, l, f)
				if a := ps["a/web/compose.yaml"]; a.Name != "web" || a.Invalid != "" {
					t.Errorf("the healthy one is %s, invalid: %q", a.Name, a.Invalid)
				}
				if b := ps["b/web/compose.yaml"]; b.Name != "b/web/compose.yaml" || b.Invalid == "" || strings.Contains(b.Invalid, "is used by") {
					t.Errorf("the broken one is %s, invalid: %q", b.Name, b.Invalid)
				}
			}
		})
	}
}

func TestAStackWithEveryServiceSwitchedOffIsIdle(t *testing.T) {
	text := `
services:
  debug: {image: debug, profiles: [tools, debug], volumes: ["data:/data"]}
  extra: {image: extra, profiles: [tools]}
volumes: {data: }
`
	p := valid(t, newFolder(t).write("web/compose.yaml", text))
	if got := fmt.Sprintf("%t %q %v %v", p.Idle(), names(p), p.Disabled, p.Profiles); got != `true "" [debug extra] [debug tools]` {
		t.Errorf("idle, services, disabled, profiles: %s", got)
	}
	p = valid(t, newFolder(t).write("web/compose.yaml", text).hide("web/.env", "COMPOSE_PROFILES=debug"))
	if got := fmt.Sprintf("%t %q %v %v", p.Idle(), names(p), p.Disabled, p.Profiles); got != `false "debug" [extra] []` {
		t.Errorf("with a profile: %s", got)
	}
}

func TestEnvFilesIncludeExtendsAndProfilesWork(t *testing.T) {
	f := newFolder(t).
		write("web/compose.yaml", `
include: [../shared/db.yaml]
services:
  app:
    extends: {file: base.yaml, service: base}
    env_file: app.env
    environment: {COLOUR: "${COLOUR}"}
  debug: {image: debug, profiles: [debug]}
  extra: {image: extra, profiles: [extra]}
`).
		write("web/base.yaml", "services: {base: {image: 'base:${TAG:-1}'}}").
		write("shared/db.yaml", "services: {db: {image: 'db:${DBTAG:-none}'}}").
		write("shared/.env", "DBTAG=9").
		hide("web/.env", "COLOUR=red\nTAG=2\nCOMPOSE_PROFILES=extra").
		hide("web/app.env", "SHAPE=round")
	p := valid(t, f)
	if got := names(p); got != "app db extra" {
		t.Errorf("services %s", got)
	}
	if got := strings.Join(p.Disabled, " "); got != "debug" {
		t.Errorf("disabled %s", got)
	}
	if s := service(t, p, "app"); s.Image != "base:2" {
		t.Errorf("image %s", s.Image)
	}
	if s := service(t, p, "db"); s.Image != "db:9" {
		t.Errorf("image of the included %s", s.Image)
	}
	env := compose(t, p).Services["app"].Environment
	if *env["COLOUR"] != "red" || *env["SHAPE"] != "round" {
		t.Errorf("environment %v", env)
	}
}

func TestComposeFileInEnvIsHonoured(t *testing.T) {
	f := newFolder(t).
		write("web/compose.yaml", "services: {app: {image: a}}").
		write("web/prod.yaml", "services: {app: {image: b}}").
		write("web/.env", "COMPOSE_FILE=compose.yaml:prod.yaml")
	if s := service(t, valid(t, f), "app"); s.Image != "b:latest" {
		t.Errorf("image %s", s.Image)
	}
}

func TestTheDaemonsOwnEnvironmentNeverGetsIntoAStack(t *testing.T) {
	t.Setenv("REPOSITORY_PASSWORD", "hunter2")
	f := newFolder(t).
		write("web/compose.yaml", "services: {app: {image: a, command: 'x${REPOSITORY_PASSWORD}', environment: [REPOSITORY_PASSWORD, 'B=${REPOSITORY_PASSWORD:-none}'], env_file: a.env}}").
		write("web/.env", "C=${REPOSITORY_PASSWORD}").
		write("web/a.env", "D=${REPOSITORY_PASSWORD}\nREPOSITORY_PASSWORD")
	b, err := compose(t, valid(t, f)).MarshalYAML()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "hunter2") {
		t.Errorf("the daemon's environment is in the stack:\n%s", b)
	}
}

func TestModesComeFromLabelsOfAnyServiceEvenOfOneThatIsSwitchedOff(t *testing.T) {
	for label, want := range map[string]plan.Mode{
		"gitops.ignore: true":        plan.Ignored,
		"gitops.ignore: 'True'":      plan.Ignored,
		"gitops.ignore: 'false'":     plan.Managed,
		"gitops.controller: 'true'":  plan.Controller,
		"gitops.controller: '0'":     plan.Managed,
		"something.else: 'whatever'": plan.Managed,
	} {
		f := newFolder(t).write("web/compose.yaml", "services: {a: {image: a}, b: {image: a, profiles: [x], labels: {"+label+"}}}")
		if p := valid(t, f); p.Mode != want {
			t.Errorf("%s: %s", label, p.Mode)
		}
	}
	f := newFolder(t).write("web/compose.yaml", "services: {b: {image: a, profiles: [x], labels: {gitops.ignore: 'true'}}}")
	if p := valid(t, f); p.Mode != plan.Ignored {
		t.Errorf("an ignored stack without an active service is %s", p.Mode)
	}
}

func TestRequirementsAndResources(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", `
services:
  app:
    image: a
    networks: [front, back]
    volumes: [data:/data, shared:/shared]
networks:
  front: {external: true, name: proxy}
  back: {}
  unused: {external: true}
volumes:
  data: {}
  shared: {external: true}
`)
	p := valid(t, f)
	if len(p.Requires) != 2 || p.Requires[0] != (plan.Requirement{Kind: "network", Name: "proxy"}) || p.Requires[1] != (plan.Requirement{Kind: "volume", Name: "shared"}) {
		t.Errorf("requires %v", p.Requires)
	}
	if len(p.Networks) != 1 || p.Networks[0].Name != "web_back" || p.Networks[0].Hash == "" {
		t.Errorf("networks %v", p.Networks)
	}
	if len(p.Volumes) != 1 || p.Volumes[0].Name != "web_data" || p.Volumes[0].Hash == "" {
		t.Errorf("volumes %v", p.Volumes)
	}
	if got := strings.Join(service(t, p, "app").Networks, " "); got != "proxy web_back" {
		t.Errorf("networks of app: %s", got)
	}
}

func TestStacksThatNeedEachOtherInACircleAreInvalid(t *testing.T) {
	stack := func(own, other string) string {
		return "services: {app: {image: a, networks: [own, other]}}\nnetworks: {own: {name: " + own + "}, other: {external: true, name: " + other + "}}"
	}
	f := newFolder(t).write("a/compose.yaml", stack("na", "nb")).write("b/compose.yaml", stack("nb", "na"))
	for file, p := range load(t, loader(f), f) {
		if !strings.Contains(p.Invalid, "circle") {
			t.Errorf("%s: %q", file, p.Invalid)
		}
	}
}

func TestPortsThatServicesOfOneStackCanShare(t *testing.T) {
	for what, services := range map[string]string{
		"protocols":              "{a: {image: a, ports: ['53:53']}, b: {image: a, ports: ['53:53/udp']}}",
		"addresses":              "{a: {image: a, ports: ['127.0.0.1:53:53']}, b: {image: a, ports: ['127.0.0.2:53:53']}}",
		"kinds of addresses":     "{a: {image: a, ports: ['0.0.0.0:53:53', '[::]:53:53']}, b: {image: a, ports: ['54:53']}}",
		"one of each kind":       "{a: {image: a, ports: ['0.0.0.0:53:53']}, b: {image: a, ports: ['[::]:53:53']}}",
		"a range and one of it":  "{a: {image: a, ports: ['8000-8009:80']}, b: {image: a, ports: ['8000:80']}}",
		"a range as long":        "{a: {image: a, scale: 2, ports: ['8000-8001:80']}}",
		"the engine's choice":    "{a: {image: a, scale: 2, ports: ['80']}, b: {image: a, ports: ['80']}}",
		"the host's network":     "{a: {image: a, network_mode: host, ports: ['80:80']}, b: {image: a, ports: ['80:80']}}",
		"none of one":            "{a: {image: a, scale: 0, ports: ['80:80']}, b: {image: a, ports: ['80:80']}}",
		"a profile switched off": "{a: {image: a, profiles: [x], ports: ['80:80']}, b: {image: a, ports: ['80:80']}}",
		"a hook":                 "{a: {image: a, ports: ['80:80']}, job: {image: a, ports: ['80:80'], scale: 2}}\nx-gitops: {before: job}",
		"a job that has ended":   "{job: {image: a, ports: ['80:80']}, b: {image: a, depends_on: {job: {condition: service_completed_successfully}}}, c: {image: a, ports: ['80:80'], depends_on: [b]}}",
	} {
		t.Run(what, func(t *testing.T) { valid(t, newFolder(t).write("web/compose.yaml", "services: "+services)) })
	}
}

func TestWhatDoesNotLoadSaysWhereAndWhy(t *testing.T) {
	for what, c := range map[string]struct {
		text  string
		files map[string]string
		want  []string
	}{
		"not YAML":           {text: "services:\n  app: [\n", want: []string{"web/compose.yaml", "line"}},
		"a tab":              {text: "services:\n\tapp: {}\n", want: []string{"web/compose.yaml", "line 2"}},
		"wrong shape":        {text: "services: {app: {image: [a]}}", want: []string{"web/compose.yaml", "services.app.image"}},
		"unknown key":        {text: "services: {app: {imgae: a}}", want: []string{"web/compose.yaml", "services.app", "imgae"}},
		"empty":              {text: "", want: []string{"web/compose.yaml", "empty"}},
		"a list":             {text: "- a\n", want: []string{"web/compose.yaml"}},
		"bad variable":       {text: "services: {app: {image: 'a:${TAG'}}", want: []string{"web/compose.yaml", "services.app.image"}},
		"required variable":  {text: "services: {app: {image: 'a:${TAG:?set it}'}}", want: []string{"TAG", "set it"}},
		"missing env file":   {text: "services: {app: {image: a, env_file: secret/app.env}}", want: []string{"services.app.env_file", "web/secret/app.env", "does not exist"}},
		"bad env file":       {text: "services: {app: {image: a}}", files: map[string]string{"web/.env": "A=1\nb c=2\n"}, want: []string{"web/.env", "line 2"}},
		"missing include":    {text: "include: [gone.yaml]\nservices: {app: {image: a}}", want: []string{"web/gone.yaml"}},
		"missing extends":    {text: "services: {app: {extends: {file: gone.yaml, service: x}}}", want: []string{"web/gone.yaml"}},
		"missing config":     {text: "services: {app: {image: a, configs: [c]}}\nconfigs: {c: {file: gone.conf}}", want: []string{"configs.c.file", "web/gone.conf", "does not exist"}},
		"missing secret":     {text: "services: {app: {image: a, secrets: [c]}}\nsecrets: {c: {environment: TOKEN}}", want: []string{"secrets.c.environment", "TOKEN", ".env"}},
		"undefined config":   {text: "services: {app: {image: a, configs: [c]}}", want: []string{"config", "c"}},
		"undefined network":  {text: "services: {app: {image: a, networks: [n]}}", want: []string{"app", "n"}},
		"no image":           {text: "services: {app: {command: a}}", want: []string{"app", "image"}},
		"bad image":          {text: "services: {app: {image: 'A B'}}", want: []string{"services.app", "A B"}},
		"pull policy":        {text: "services: {app: {image: a, pull_policy: sometimes}}", want: []string{"services.app.pull_policy"}},
		"no pull policy":     {text: "services: {app: {image: a, pull_policy: alwayss}}", want: []string{"web/compose.yaml", "services.app", "pull_policy", "alwayss"}},
		"policy with a typo": {text: "services: {app: {image: a, pull_policy: every_12x}}", want: []string{"services.app", "pull_policy", "every_12x"}},
		"no time at all":     {text: "services: {app: {image: a, pull_policy: every_0s}}", want: []string{"services.app", "pull_policy", "every_0s", "more than 0"}},
		"two of one name":    {text: "services: {a: {image: a, container_name: xx}, b: {image: a, container_name: xx}}", want: []string{"container name"}},
		"named and scaled":   {text: "services: {a: {image: a, container_name: xx, scale: 2}}", want: []string{"container_name", "unique"}},
		"driver of a secret": {text: "services: {app: {image: a, secrets: [s]}}\nsecrets: {s: {environment: PWD, template_driver: golang}}", want: []string{"services.app.secrets", "s has a driver:", "file:"}},
		"template_driver":    {text: "services: {app: {image: a, configs: [c]}}\nconfigs: {c: {content: x, template_driver: golang}}", want: []string{"services.app.configs", "c has a driver: or a template_driver:"}},
		"external secret":    {text: "services: {app: {image: a, secrets: [s]}}\nsecrets: {s: {external: true}}", want: []string{"services.app.secrets", "s is external", "file:"}},
		"external config":    {text: "services: {app: {image: a, configs: [s]}}\nconfigs: {s: {external: true}}", want: []string{"services.app.configs", "s is external", "file:"}},
		"secret, read-only":  {text: "services: {app: {image: a, read_only: true, secrets: [s]}}\nsecrets: {s: {environment: TOKEN}}", files: map[string]string{"web/.env": "TOKEN=1"}, want: []string{"services.app.secrets", "read_only", "file:"}},
		"config, read-only":  {text: "services: {app: {image: a, read_only: true, configs: [s]}}\nconfigs: {s: {content: x}}", want: []string{"services.app.configs", "read_only", "file:"}},
		"port of the host":   {text: "services: {app: {image: a, ports: [{target: 80, published: '70000'}]}}", want: []string{"services.app.ports", "70000", "65535"}},
		"no port at all":     {text: "services: {app: {image: a, ports: [{target: 80, published: http}]}}", want: []string{"services.app.ports", "http"}},
		"range backwards":    {text: "services: {app: {image: a, ports: [{target: 80, published: '90-80'}]}}", want: []string{"services.app.ports", "90-80"}},
		"port of container":  {text: "services: {app: {image: a, ports: [{target: 70000}]}}", want: []string{"services.app.ports", "70000"}},
		"one port for two":   {text: "services: {web: {image: a, ports: ['127.0.0.1:8080:80']}, api: {image: a, ports: ['8080:81']}}", want: []string{"services.web.ports", "8080/tcp of the host", "service api"}},
		"one port for many":  {text: "services: {app: {image: a, scale: 2, ports: ['8080:80']}}", want: []string{"services.app.ports", "2 containers", "8080/tcp", "8080-8081"}},
		"replicas":           {text: "services: {app: {image: a, deploy: {replicas: 3}, ports: ['8080-8081:80/udp']}}", want: []string{"services.app.ports", "3 containers", "8080-8081/udp", "8080-8082"}},
		"one port, two ways": {text: "services: {app: {image: a, ports: ['8080:80', '8080:81']}}", want: []string{"services.app.ports", "8080/tcp", "80 and 81"}},
		"no job before":      {text: "services: {job: {image: a, ports: ['80:80']}, web: {image: a, ports: ['80:80'], depends_on: [job]}}", want: []string{"services.web.ports", "80/tcp", "service job"}},
		"container's name":   {text: "services: {app: {image: a, container_name: 'my app'}}", want: []string{"services.app", "container_name", "my app"}},
		"volume's name":      {text: "services: {app: {image: a, volumes: ['v:/v']}}\nvolumes: {v: {name: 'a b'}}", want: []string{"volumes.v", "a b"}},
		"an engine socket":   {text: "services: {a: {image: a, use_api_socket: true}}", want: []string{"services.a.use_api_socket", "logins"}},
		"a provider":         {text: "services: {a: {provider: {type: x}}}", want: []string{"services.a.provider"}},
		"bad override":       {text: "services: {app: {image: a}}", files: map[string]string{"web/compose.override.yml": "services: ["}, want: []string{"web/compose.override.yml", "line 1"}},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFolder(t).write("web/compose.yaml", c.text)
			for name, text := range c.files {
				f.write(name, text)
			}
			got := invalid(t, f)
			t.Log(got)
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("%q does not say %q", got, w)
				}
			}
			if strings.Contains(got, "\n") {
				t.Errorf("more than one line: %q", got)
			}
		})
	}
}

func TestAnEnvFileThatAppearsMakesTheStackValidWithoutANewCommit(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, env_file: app.env}}")
	l := loader(f)
	if p := load(t, l, f)["web/compose.yaml"]; p.Invalid == "" || p.Name != "web" {
		t.Fatalf("%s: %q", p.Name, p.Invalid)
	}
	f.hide("web/app.env", "A=1")
	validOf(t, l, f)
}

func TestTheNameOfAStackThatDoesNotLoadIsFoundAllTheSame(t *testing.T) {
	f := newFolder(t).
		write("a/compose.yaml", "name: shop\nservices: [").
		write("b/compose.yaml", "services: [").
		write("c/compose.yaml", "services: [").write("c/.env", "COMPOSE_PROJECT_NAME=kiosk").
		write("compose.yaml", "services: [")
	ps := load(t, loader(f), f)
	for file, want := range map[string]string{"a/compose.yaml": "shop", "b/compose.yaml": "b", "c/compose.yaml": "kiosk", "compose.yaml": "stacks"} {
		if ps[file].Name != want || ps[file].Invalid == "" {
			t.Errorf("%s: name %q, invalid %q", file, ps[file].Name, ps[file].Invalid)
		}
	}
}

func TestPullPoliciesAndRestartPolicies(t *testing.T) {
	for text, want := range map[string]plan.PullPolicy{
		"image: a":                                plan.PullMissing,
		"image: a, pull_policy: missing":          plan.PullMissing,
		"image: a, pull_policy: if_not_present":   plan.PullMissing,
		"image: a, pull_policy: always":           plan.PullAlways,
		"image: a, pull_policy: never":            plan.PullNever,
		"image: a, pull_policy: daily":            plan.PullRefresh,
		"image: a, pull_policy: every_12h":        plan.PullRefresh,
		"build: .":                                plan.PullBuild,
		"build: ., image: a":                      plan.PullBuild,
		"build: ., image: a, pull_policy: build":  plan.PullBuild,
		"build: ., image: a, pull_policy: always": plan.PullAlways,
		"build: ., image: a, pull_policy: never":  plan.PullNever,
	} {
		f := newFolder(t).write("web/compose.yaml", "services: {app: {"+text+"}}")
		if s := service(t, valid(t, f), "app"); s.Pull != want {
			t.Errorf("%s: %s, want %s", text, s.Pull, want)
		}
	}
	for text, want := range map[string]bool{
		"image: a":                                                    true,
		"image: a, restart: 'no'":                                     true,
		"image: a, restart: on-failure":                               true,
		"image: a, restart: 'on-failure:3'":                           true,
		"image: a, restart: always":                                   false,
		"image: a, restart: unless-stopped":                           false,
		"image: a, deploy: {restart_policy: {condition: on-failure}}": true,
		"image: a, deploy: {restart_policy: {condition: none}}":       true,
		"image: a, deploy: {restart_policy: {condition: any}}":        false,
		"image: a, deploy: {restart_policy: {delay: 5s}}":             false,
	} {
		f := newFolder(t).write("web/compose.yaml", "services: {app: {"+text+"}}")
		if s := service(t, valid(t, f), "app"); s.Completes != want {
			t.Errorf("%s: completes %v", text, s.Completes)
		}
	}
}

func TestScaleFollowsAndImages(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", `
services:
  a: {image: "example.org/a@sha256:0123456789012345678901234567890123456789012345678901234567890123", deploy: {replicas: 3}}
  b: {image: docker.io/library/b, scale: 2, network_mode: "service:a"}
  c: {build: ., pid: "service:a", ipc: "service:b", volumes_from: ["a:ro", "container:other"]}
  d: {image: "example.org:5000/d:1", deploy: {replicas: 0}, network_mode: host}
`)
	p := valid(t, f)
	var got []string
	for _, s := range p.Services {
		got = append(got, s.Name+" "+s.Image+" "+string(rune('0'+s.Scale))+" "+strings.Join(s.Follows, ",")+" "+strings.Join(s.Networks, ","))
	}
	want := []string{
		"a example.org/a@sha256:0123456789012345678901234567890123456789012345678901234567890123 3  web_default",
		"b b:latest 2 a ",
		"c web-c:latest 1 a,b web_default",
		"d example.org:5000/d:1 0  ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	a := compose(t, p).Services["a"]
	if n := a.GetScale(); n != 3 {
		t.Errorf("the project has %d replicas of a", n)
	}
}

func TestAnEnvFileInTheRawFormatIsTakenAsItIsWritten(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", `
services:
  app:
    image: a
    env_file: [{path: raw.env, format: raw}, {path: plain.env}]
`).write("web/raw.env", "# a comment\nQUOTED=\"a b\"\nDOLLAR=${X}$Y\nBLANK= c \nX\nUNKNOWN\n").write("web/plain.env", "PLAIN=\"a ${X}\"\n").write("web/.env", "X=1\n")
	env := compose(t, valid(t, f)).Services["app"].Environment
	var got []string
	for name, value := range env {
		if value == nil {
			t.Fatalf("%s has no value", name)
		}
		got = append(got, name+"="+*value)
	}
	slices.Sort(got)
	want := []string{"BLANK= c ", "DOLLAR=${X}$Y", "PLAIN=a 1", `QUOTED="a b"`, "X=1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestContainersOfOthersThatAServiceLivesIn(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", `
services:
  a: {image: a, network_mode: "container:vpn", pid: "container:vpn", ipc: "container:other", volumes_from: ["container:far"]}
  b: {image: b, network_mode: "service:a"}
`).write("vpn/compose.yaml", "services: {vpn: {image: v, container_name: vpn, network_mode: 'container:web-b-1'}}")
	all := load(t, loader(f), f)
	var got []string
	for _, file := range slices.Sorted(maps.Keys(all)) {
		p := all[file]
		for _, s := range p.Services {
			got = append(got, s.Name+" "+strings.Join(s.Joins, ",")+" "+s.NetworkFrom)
		}
		if !strings.HasPrefix(p.Invalid, "stacks need each other in a circle") {
			t.Errorf("%s: %q", p.Name, p.Invalid)
		}
	}
	if want := []string{"vpn web-b-1 web-b-1", "a other,vpn vpn", "b  "}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// compose-go panics on these.
func TestAFileThatBreaksComposeIsInvalidAndTheDaemonGoesOn(t *testing.T) {
	for _, text := range []string{
		"services: {app: {extends: {file: 1, service: b}}}",
		"!reset {services: {app: {image: a}}}",
	} {
		f := newFolder(t).write("web/compose.yaml", text).write("db/compose.yaml", "services: {app: {image: a}}")
		ps := load(t, loader(f), f)
		if got := ps["web/compose.yaml"].Invalid; !strings.HasPrefix(got, "web/compose.yaml: docker compose breaks on it: ") {
			t.Errorf("%s: it is invalid with %q", text, got)
		}
		if got := ps["db/compose.yaml"].Invalid; got != "" {
			t.Errorf("%s: the other one is invalid: %s", text, got)
		}
	}
}

func TestTwoFilesOfOneNameThatTheirEnvTellsApartAreTwoThoughOneIsBroken(t *testing.T) {
	f := newFolder(t).write("a/compose.yaml", "name: web\nservices: {app: {image: a}}").hide("a/.env", "COMPOSE_PROJECT_NAME=web-a").
		write("b/compose.yaml", "name: web\nservices: {app: {imagee: a}}").hide("b/.env", "COMPOSE_PROJECT_NAME=web-b")
	ps := load(t, loader(f), f)
	if a, b := ps["a/compose.yaml"], ps["b/compose.yaml"]; a.Name != "web-a" || a.Invalid != "" || b.Name != "web-b" || b.Invalid == "" {
		t.Errorf("they are %s %q and %s %q", a.Name, a.Invalid, b.Name, b.Invalid)
	}
}

func TestAllFilesThatAreMissingAreToldAndWhereTheyBelong(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", `
services:
  app:
    image: a
    env_file: [app.env, {path: other.env, required: false}]
    secrets: [key]
  db: {image: a, env_file: ["${WHERE:-db.env}", app.env]}
  off: {image: a, profiles: [off], env_file: off.env}
secrets: {key: {file: ./key.pem}}
`).write("web/app.env.example", "A=").write("web/.env.example", "TOKEN=")
	got := invalid(t, f, func(o *render.Options) { o.HostRoot = "/srv/stacks" })
	want := "web/compose.yaml: secrets.key.file: web/key.pem does not exist"
	for _, part := range []string{
		"services.app.env_file: web/app.env does not exist", "services.db.env_file: web/db.env does not exist", "secrets.key.file: web/key.pem does not exist",
		"on the host they belong at /srv/stacks/web/app.env (app.env.example is beside it), /srv/stacks/web/db.env, /srv/stacks/web/key.pem",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("%q does not say %q (like %q)", got, part, want)
		}
	}
	if strings.Contains(got, "off.env") || strings.Contains(got, "other.env") {
		t.Errorf("%q", got)
	}
}

func TestAnExampleBesideAMissingEnvIsNamedWhereVariablesAreNotSet(t *testing.T) {
	l := func(f *folder) string {
		return strings.Join(valid(t, f, func(o *render.Options) { o.HostRoot = "/srv/stacks" }).Warnings, "; ")
	}
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, environment: {TOKEN: '${TOKEN}'}}}").write("web/env.example", "TOKEN=")
	if got := l(f); !strings.Contains(got, "TOKEN") || !strings.HasSuffix(got, "there is no .env, which belongs at /srv/stacks/web/.env; env.example is beside it") {
		t.Errorf("warnings: %s", got)
	}
	if got := l(f.hide("web/.env", "TOKEN=1")); got != "" {
		t.Errorf("with an .env: %s", got)
	}
}
