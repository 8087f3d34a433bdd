//go:build engine

package engine_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/flags"
	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/compose/v2/pkg/compose"
	"github.com/docker/docker/api/types/image"
	"github.com/sirupsen/logrus"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/engine/enginetest"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// place is a clone, an image and an engine of one test.
type place struct {
	host
	t     testing.TB
	root  string
	image string
	anew  bool // a stack of the corpus is built, to another image each time
}

func newPlace(t testing.TB) *place {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	ok(t, err)
	p := &place{host: newHost(t, root), t: t, root: root, image: enginetest.Unique() + ":1"}
	p.Import(t, p.image)
	return p
}

func (p *place) name() string {
	name := enginetest.Unique()
	p.t.Cleanup(func() { p.Clean(p.t, name) })
	return name
}

func (p *place) load(name, text string) render.Project {
	p.t.Helper()
	return enginetest.Stack{Root: p.root, Name: name, Image: p.image, Repository: repository, Hasher: engine.Hasher{}}.Load(p.t, text)
}

func (p *place) up(project render.Project) {
	p.t.Helper()
	ctx := context.Background()
	ok(p.t, p.Pull(ctx, project))
	op, err := enginetest.Ordered(ctx, p, project)
	ok(p.t, err)
	ok(p.t, p.Up(ctx, project, op, nil))
	ok(p.t, p.settled(project))
	p.same(project)
}

func (p *place) settled(project render.Project) error {
	_, err := p.Settle(context.Background(), project)
	return err
}

// differences are what a plan would see.
func (p *place) differences(project render.Project) []plan.Difference {
	p.t.Helper()
	r, o := p.observe(project.Name)
	s, err := project.ByHand(r)
	ok(p.t, err)
	return plan.Differences(s, r, o)
}

func (p *place) same(project render.Project) {
	p.t.Helper()
	if ds := p.differences(project); len(ds) > 0 {
		p.t.Fatalf("there is something to do: %v", ds)
	}
}

func (p *place) observe(name string) (plan.Running, plan.Observed) {
	p.t.Helper()
	o, err := p.Observe(context.Background())
	ok(p.t, err)
	for _, r := range o.Running {
		if r.Project == name {
			return r, o
		}
	}
	return plan.Running{}, o
}

// read gives a file in the container of a service.
func (p *place) read(name, service, path string) string {
	p.t.Helper()
	r, _ := p.observe(name)
	for _, c := range r.Containers {
		if c.Service != service {
			continue
		}
		stream, _, err := p.api.CopyFromContainer(context.Background(), c.ID, path)
		ok(p.t, err)
		defer stream.Close()
		files := tar.NewReader(stream)
		_, err = files.Next()
		ok(p.t, err)
		b, err := io.ReadAll(files)
		ok(p.t, err)
		return string(b)
	}
	p.t.Fatalf("no container of %s", service)
	return ""
}

func TestManyStacksComeUpAtTheSameTime(t *testing.T) {
	p := newPlace(t)
	projects := make([]render.Project, 12)
	for i := range projects {
		projects[i] = p.load(p.name(), "services: {a: {SLEEP}, b: {SLEEP, depends_on: [a]}}")
	}
	all := func(do func(render.Project) error) {
		t.Helper()
		var wg sync.WaitGroup
		for _, project := range projects {
			wg.Go(func() {
				if err := do(project); err != nil {
					t.Errorf("%s: %v", project.Name, err)
				}
			})
		}
		wg.Wait()
	}
	started := time.Now()
	all(func(project render.Project) error { return p.Up(t.Context(), project, plan.Op{}, nil) })
	t.Logf("12 stacks of 2 services: %s", time.Since(started))
	all(p.settled)
	for _, project := range projects {
		p.same(project)
	}
	all(func(project render.Project) error {
		return p.Stop(t.Context(), render.Project{}, plan.Op{Stack: project.Name})
	})
}

func TestConfigsAndSecretsGetIntoContainersAndChangesDoToo(t *testing.T) {
	p := newPlace(t)
	name := p.name()
	const text = `
services: {a: {SLEEP, configs: [inline, variable, file], secrets: [token]}}
configs: {inline: {content: "INLINE"}, variable: {environment: COLOUR}, file: {file: ./f.conf}}
secrets: {token: {environment: TOKEN}}
`
	write := func(file, content string) {
		ok(t, os.MkdirAll(filepath.Join(p.root, name), 0o755))
		ok(t, os.WriteFile(filepath.Join(p.root, name, file), []byte(content), 0o644))
	}
	for _, v := range []string{"one", "two"} {
		write(".env", "COLOUR="+v+"\nTOKEN="+v)
		write("f.conf", v)
		p.up(p.load(name, strings.ReplaceAll(text, "INLINE", v)))
		for _, file := range []string{"/inline", "/variable", "/file", "/run/secrets/token"} {
			if file == "/file" { // a mount, which a copy out does not show
				continue
			}
			if got := p.read(name, "a", file); got != v {
				t.Errorf("%s is %q, want %q", file, got, v)
			}
		}
	}
}

// byHand does what docker compose up does in a stack's folder.
func (p *place) byHand(name string) {
	p.t.Helper()
	ok(p.t, p.tryByHand(name))
}

// tryByHand is byHand where that may fail.
func (p *place) tryByHand(name string) error {
	t := p.t
	t.Helper()
	dir := filepath.Join(p.root, name)
	// As WithConfigFileEnv, which takes the test's working directory for the person's.
	fromEnv := func(o *cli.ProjectOptions) error {
		for file := range strings.SplitSeq(o.Environment["COMPOSE_FILE"], ":") {
			if file != "" {
				o.ConfigPaths = append(o.ConfigPaths, filepath.Join(dir, file))
			}
		}
		return nil
	}
	o, err := cli.NewProjectOptions(nil,
		cli.WithWorkingDirectory(dir), cli.WithEnv([]string{"PWD=" + dir}), cli.WithEnvFiles(), cli.WithDotEnv, fromEnv,
		cli.WithDefaultConfigPath, cli.WithDefaultProfiles(), cli.WithName(""), cli.WithResolvedPaths(true), cli.WithoutEnvironmentResolution)
	ok(t, err)
	byHand, err := o.LoadProject(t.Context())
	ok(t, err)
	byHand, err = byHand.WithoutUnnecessaryResources().WithServicesEnvironmentResolved(true)
	ok(t, err)
	for service, s := range byHand.Services {
		s.CustomLabels = map[string]string{
			api.ProjectLabel: byHand.Name, api.ServiceLabel: service, api.VersionLabel: "2.0", api.OneoffLabel: "False",
			api.WorkingDirLabel: byHand.WorkingDir, api.ConfigFilesLabel: strings.Join(byHand.ComposeFiles, ","),
		}
		byHand.Services[service] = s
	}
	docker, err := command.NewDockerCli(command.WithAPIClient(p.api), command.WithCombinedStreams(io.Discard))
	ok(t, err)
	ok(t, docker.Initialize(flags.NewClientOptions()))
	return compose.NewComposeService(docker).Up(t.Context(), byHand, api.UpOptions{Create: api.CreateOptions{Build: &api.BuildOptions{Services: byHand.ServiceNames(), Quiet: true, Progress: "quiet", Out: io.Discard}}, Start: api.StartOptions{Project: byHand}})
}

// What we made is to a person's docker compose up as if it had made it itself,
// whatever the stack uses of the clone, and the other way round.
func TestAPersonsUpAfterOursRecreatesNothing(t *testing.T) {
	p := newPlace(t)
	name := p.name()
	ok(t, os.MkdirAll(filepath.Join(p.root, name), 0o755))
	ok(t, os.WriteFile(filepath.Join(p.root, name, "conf"), []byte("1"), 0o644))
	const text = `
services:
  a: {SLEEP, volumes: ['./conf:/conf:ro', 'data:/data'], environment: {X: y}, restart: always}
  b: {SLEEP, configs: [c], labels: {x: y}}
volumes: {data: {}}
configs: {c: {file: ./conf}}
`
	project := p.load(name, text)
	p.up(project)
	ids := func() map[string]string {
		r, _ := p.observe(name)
		m := map[string]string{}
		for _, c := range r.Containers {
			m[c.Service] = c.ID
		}
		return m
	}
	before := ids()
	p.byHand(name)
	if after := ids(); !maps.Equal(before, after) || len(after) != 2 {
		t.Errorf("the containers were %v and are %v", before, after)
	}
	for _, d := range p.differences(project) {
		t.Errorf("a difference: %s", d.Text)
	}
	ok(t, os.WriteFile(filepath.Join(p.root, name, "conf"), []byte("2"), 0o644))
	p.up(p.load(name, text))
	if after := ids(); after["a"] == before["a"] || after["b"] == before["b"] {
		t.Errorf("the file has changed, and the containers were %v and are %v", before, after)
	}
}

func TestAProjectThatDockerComposeStartedIsAdoptedAsItIs(t *testing.T) {
	p := newPlace(t)
	name := p.name()
	const text = "services: {a: {SLEEP, scale: 2, volumes: ['data:/data', './x:/x'], environment: {X: y}, restart: always}, b: {SLEEP, network_mode: 'service:a'}}\nvolumes: {data: {}}"
	project := p.load(name, text)
	ok(t, os.MkdirAll(filepath.Join(p.root, name, "x"), 0o755))

	p.byHand(name)

	before, _ := p.observe(name)
	if !before.Ours || before.Labelled || before.File != name+"/compose.yaml" {
		t.Errorf("observed %+v", before)
	}
	p.same(project)
	p.up(project)
	after, _ := p.observe(name)
	for _, c := range before.Containers {
		kept := false
		for _, d := range after.Containers {
			kept = kept || c.ID == d.ID
		}
		if !kept {
			t.Errorf("%s was recreated", c.Name)
		}
	}
}

func TestImagesAreBuiltFromTheClone(t *testing.T) {
	for _, kit := range []string{"0", "1"} {
		t.Run("DOCKER_BUILDKIT="+kit, func(t *testing.T) {
			t.Setenv("DOCKER_BUILDKIT", kit)
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			p := newPlace(t)
			name := p.name()
			t.Cleanup(func() {
				_, _ = p.api.ImageRemove(context.Background(), name+"-app:latest", image.RemoveOptions{Force: true})
			})
			text := `services: {app: {build: {context: ./src}, stop_signal: SIGKILL, command: [/bin/busybox, sleep, "1000"]}, other: {SLEEP}}`
			var ids []string
			for _, v := range []string{"one", "one", "two"} {
				ok(t, os.MkdirAll(filepath.Join(p.root, name, "src"), 0o755))
				ok(t, os.WriteFile(filepath.Join(p.root, name, "src", "Dockerfile"), []byte("FROM "+p.image+"\nCOPY file /file\n"), 0o644))
				ok(t, os.WriteFile(filepath.Join(p.root, name, "src", "file"), []byte(v), 0o644))
				project := p.load(name, text)
				out := capture(t, func() { p.up(project) })
				if out != "" {
					t.Errorf("on the standard streams: %s", out)
				}
				if got := p.read(name, "app", "/file"); got != v {
					t.Errorf("the file is %q, want %q", got, v)
				}
				r, _ := p.observe(name)
				for _, c := range r.Containers {
					ids = append(ids, c.Service+" "+c.ID)
				}
			}
			t.Log(strings.Join(ids, "\n"))
		})
	}
}

func TestABuildThatFailsSaysWhy(t *testing.T) {
	for _, kit := range []string{"0", "1"} {
		t.Run("DOCKER_BUILDKIT="+kit, func(t *testing.T) {
			t.Setenv("DOCKER_BUILDKIT", kit)
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			p := newPlace(t)
			name := p.name()
			ok(t, os.MkdirAll(filepath.Join(p.root, name), 0o755))
			ok(t, os.WriteFile(filepath.Join(p.root, name, "Dockerfile"), []byte("FROM "+p.image+"\nCOPY gone /gone\n"), 0o644))
			err := p.Pull(t.Context(), p.load(name, "services: {app: {build: .}}"))
			// BuildKit names the file in the error, the classic builder in its output.
			if err == nil || !strings.Contains(err.Error(), "app") || !strings.Contains(err.Error()+report.Detail(err), "gone") {
				t.Errorf("error %v, detail %q", err, report.Detail(err))
			}
		})
	}
}

// capture gives what is written to the process's own streams meanwhile.
func capture(t *testing.T, do func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	ok(t, err)
	out, errs := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	defer func() { os.Stdout, os.Stderr = out, errs }()
	said := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		said <- string(b)
	}()
	do()
	_ = w.Close()
	return <-said
}

func TestEventsTellOfChangesByHand(t *testing.T) {
	p := newPlace(t)
	name := p.name()
	p.up(p.load(name, "services: {a: {SLEEP}}"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	events := p.Events(ctx)
	r, _ := p.observe(name)
	// The first kill may come before the watch begins: what runs is started again.
	for deadline := time.Now().Add(20 * time.Second); ; {
		_ = p.api.ContainerKill(ctx, r.Containers[0].ID, "KILL")
		select {
		case got := <-events:
			if got.Project == name {
				return
			}
		case <-time.After(500 * time.Millisecond):
			p.up(p.load(name, "services: {a: {SLEEP}}"))
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody was told")
		}
	}
}

func TestWhatTheSDKLogsGoesToTheLog(t *testing.T) {
	var b bytes.Buffer
	api, err := engine.Connect(t.Context())
	ok(t, err)
	defer api.Close()
	engine.New(api, engine.Options{Logger: slog.New(slog.NewTextHandler(&b, nil))})
	defer engine.New(api, engine.Options{})
	if out := capture(t, func() { logrus.Warn("beware"); logrus.Warn("beware") }); out != "" {
		t.Errorf("on the standard streams: %s", out)
	}
	if n := strings.Count(b.String(), "beware"); n != 1 {
		t.Errorf("said %d times: %s", n, b.String())
	}
}
