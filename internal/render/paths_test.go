package render_test

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

func compose(t testing.TB, p render.Project) *types.Project {
	t.Helper()
	c, err := p.Compose()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func nowhere(o *render.Options)  { o.HostRoot = "" }
func homeless(o *render.Options) { o.HostHome = "" }

func TestTheEngineGetsPathsOfTheHostAndTheBuilderOnesOfThisProcess(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", `
services:
  app:
    image: a
    build: {context: ./src, additional_contexts: {more: ../more, remote: "https://example.org/x.git"}}
    command: "${PWD}"
    volumes: ["./data:/data", "../shared/x:/x", "/etc/hosts:/hosts:ro", "named:/n", "device:/d"]
    configs: [c]
    secrets: [s]
configs: {c: {file: ./c.conf}}
secrets: {s: {file: ../s.key}}
volumes:
  named: {}
  device: {driver_opts: {type: none, o: bind, device: "${PWD}/dev"}}
`).write("web/c.conf", "c").write("s.key", "s")
	p := valid(t, f)
	c := compose(t, p)
	app := c.Services["app"]
	var got []string
	for _, v := range app.Volumes {
		got = append(got, v.Source)
	}
	got = append(got, c.Configs["c"].File, c.Secrets["s"].File, c.Volumes["device"].DriverOpts["device"], app.Command[0],
		app.CustomLabels["com.docker.compose.project.working_dir"], app.CustomLabels["com.docker.compose.project.config_files"])
	want := "/srv/stacks/web/data /srv/stacks/shared/x /etc/hosts named device /srv/stacks/web/c.conf /srv/stacks/s.key /srv/stacks/web/dev /srv/stacks/web /srv/stacks/web /srv/stacks/web/compose.yaml"
	if g := strings.Join(got, " "); g != want {
		t.Errorf("the engine gets\n%s\nwant\n%s", g, want)
	}
	b, err := p.BuildContext()
	if err != nil {
		t.Fatal(err)
	}
	build := b.Services["app"].Build
	if build.Context != filepath.Join(f.dir, "web/src") || build.AdditionalContexts["more"] != filepath.Join(f.dir, "more") || build.AdditionalContexts["remote"] != "https://example.org/x.git" {
		t.Errorf("build contexts %s %v", build.Context, build.AdditionalContexts)
	}
}

// Compose leaves a path in full as it is written, and so it is in the hash.
func TestAMountsSourceInFullStaysAsItIsWritten(t *testing.T) {
	for source, want := range map[string]string{
		"$PWD/conf/": "PWD/conf/", "$PWD/conf": "PWD/conf", "$PWD/": "PWD/", "$PWD": "PWD", "${PWD}/./conf//": "PWD/./conf//", "./conf/": "PWD/conf", "../web/conf/": "PWD/conf", "/etc/": "/etc/", "./": "PWD",
	} {
		for _, file := range []string{"web/compose.yaml", "compose.yaml"} {
			f := newFolder(t).write(file, "services: {app: {image: a, volumes: ['"+source+":/c']}}").write(path.Dir(file)+"/conf/x", "1").write("web/x", "1")
			pwd := filepath.Dir(filepath.Join(f.dir, file))
			if file == "compose.yaml" && source == "../web/conf/" {
				continue
			}
			p := valid(t, f, func(o *render.Options) { o.HostRoot = o.Root })
			if got, want := compose(t, p).Services["app"].Volumes[0].Source, strings.Replace(want, "PWD", pwd, 1); got != want {
				t.Errorf("%s of %s: got %s, want %s", source, file, got, want)
			}
			if strings.Contains(source, "conf") && (service(t, p, "app").Bare == "" || !hasField(p, "mount ./conf (content)")) {
				t.Errorf("%s of %s: what is in it does not count: %v", source, file, service(t, p, "app").Fields)
			}
		}
	}
}

func hasField(p render.Project, name string) bool {
	return slices.ContainsFunc(p.Services[0].Fields, func(f plan.Field) bool { return f.Name == name })
}

func TestAnUnknownHostFolderRefusesOnlyStacksThatMountSomethingOfTheClone(t *testing.T) {
	for text, bad := range map[string]bool{
		"volumes: ['./data:/data']":  true,
		"volumes: ['/etc/hosts:/x']": false,
		"build: .":                   false,
		"env_file: a.env":            false,
		"label_file: a.env":          false,
		"develop: {watch: [{path: ., action: rebuild}]}": false,
		"configs: [c]": true,
	} {
		f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, "+text+"}}\nconfigs: {c: {file: a.env}}").write("web/a.env", "A=1")
		if !bad {
			valid(t, f, nowhere)
			continue
		}
		if got := invalid(t, f, nowhere); !strings.Contains(got, "web/") || !strings.Contains(got, "could not be found out") {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestTildeIsRefusedWhereTheHomeItMeansIsNotKnown(t *testing.T) {
	for _, text := range []string{
		"services: {app: {image: a, volumes: ['~/x:/x']}}",
		"services: {app: {image: a, configs: [c]}}\nconfigs: {c: {file: ~/x}}",
		"services: {app: {image: a, secrets: [c]}}\nsecrets: {c: {file: ~/x}}",
	} {
		f := newFolder(t).write("web/compose.yaml", text)
		if got := invalid(t, f, homeless); !strings.Contains(got, "~/x") || !strings.Contains(got, "in full") {
			t.Errorf("%q", got)
		}
	}
	valid(t, newFolder(t).write("web/compose.yaml", "services: {app: {image: a, command: 'ls ~'}}"), homeless)
}

func TestAStackLoadedFromAStagedTreeIsTheSameAsFromTheClone(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", `
services:
  app:
    image: a
    build: ./src
    env_file: a.env
    label_file: a.env
    develop: {watch: [{path: ./src, action: rebuild}]}
    volumes: ["./conf:/conf", "./link:/link", ".:/all"]
    configs: [c]
    security_opt: ["no-new-privileges:true"]
configs: {c: {file: ../c.conf}}
`).write("web/a.env", "A=1").write("web/conf/x", "1").write("web/src/Dockerfile", "FROM scratch").write("c.conf", "c").write("shared/y", "y").
		write("compose.yaml", "services: {root: {image: a, volumes: ['.:/all']}}")
	if err := os.Symlink("../shared", filepath.Join(f.dir, "web/link")); err != nil {
		t.Fatal(err)
	}
	// Half links into the clone, half files of its own, as the repository stages.
	staged := *f
	staged.dir = filepath.Join(f.dir, ".git/stage/c1")
	if err := os.MkdirAll(filepath.Join(staged.dir, "web"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"shared", "c.conf", "web/conf", "web/a.env", "compose.yaml", "web/src"} {
		if err := os.Symlink(filepath.Join(f.dir, link), filepath.Join(staged.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(f.dir, "web/compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	staged.write("web/compose.yaml", string(text))
	if err := os.Symlink("../shared", filepath.Join(staged.dir, "web/link")); err != nil {
		t.Fatal(err)
	}
	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Symlink(f.dir, alias); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{f.dir, alias} {
		at := func(o *render.Options) { o.Root = root }
		clone := *f
		clone.dir = root
		tree := trackedAs{folder: &staged, ids: f}
		a := load(t, loader(f, at), trackedAs{folder: &clone, ids: f})
		b := load(t, loader(f, at), tree)
		for file := range a {
			if a[file].Invalid != "" || a[file].Digest != b[file].Digest || a[file].Name != b[file].Name {
				t.Errorf("%s by %s:\n%s %v %s\n%s %v %s", file, filepath.Base(root), a[file].Digest, a[file].Services, a[file].Invalid, b[file].Digest, b[file].Services, b[file].Invalid)
			}
			ya, _ := compose(t, a[file]).MarshalYAML()
			yb, _ := compose(t, b[file]).MarshalYAML()
			if string(ya) != string(yb) {
				t.Errorf("%s: the engine would get\n%s\nand\n%s", file, ya, yb)
			}
		}
	}
}

// trackedAs shows a folder with the names and ids of another one.
type trackedAs struct {
	*folder
	ids *folder
}

func (f trackedAs) ID(name string) string {
	if name == ".git" || strings.HasPrefix(name, ".git/") {
		f.t.Errorf("asked for the id of %s", name)
	}
	return f.ids.ID(name)
}

func (f trackedAs) Find(names ...string) []string {
	var out []string
	for _, p := range f.ids.Find(names...) {
		if !strings.HasPrefix(p, ".git/") {
			out = append(out, p)
		}
	}
	return out
}
