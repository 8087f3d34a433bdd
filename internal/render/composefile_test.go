package render_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// elsewhere is a stack whose COMPOSE_FILE names files of another folder.
func elsewhere(t *testing.T, env string) *folder {
	return newFolder(t).write("web/compose.yaml", "services: {own: {image: own, volumes: ['./data:/d']}}").hide("web/.env", env).
		write("base/common.yaml", "services: {app: {image: 'a:${TAG:-0}', user: '${WHO:-nobody}', command: $PWD, env_file: app.env, volumes: ['./data:/d', '../shared:/s']}}").
		write("base/app.env", "A=1").write("web/app.env", "A=2").write("base/.env", "WHO=base\nTAG=base\nCOMPOSE_PROFILES=more").
		write("base/more.yaml", "services: {app: {labels: {from: '${WHO}'}, build: ./src}, more: {image: m, profiles: [more]}}").
		write("bare/common.yaml", "services: {app: {image: 'b:${TAG:-0}', volumes: ['./data:/d']}}")
}

// The loader's options are those of the docker compose command, version 2.40.3:
// see toProjectOptions in its cmd/compose/compose.go.
func TestFilesElsewhereAreLoadedAsComposeLoadsThem(t *testing.T) {
	for _, env := range []string{
		"COMPOSE_FILE=../base/common.yaml",
		"COMPOSE_FILE=../base/common.yaml\nTAG=own",
		"COMPOSE_FILE=../base/common.yaml:../base/more.yaml\nTAG=own",
		"COMPOSE_FILE=../base/common.yaml:compose.yaml",
		"COMPOSE_FILE=compose.yaml:../base/common.yaml",
		"COMPOSE_FILE=./compose.yaml",
		"COMPOSE_FILE=../bare/common.yaml\nTAG=own",
		"COMPOSE_FILE=../bare/common.yaml;../base/more.yaml\nCOMPOSE_PATH_SEPARATOR=;",
		"COMPOSE_FILE=../base/common.yaml\nCOMPOSE_PROJECT_NAME=named",
		"COMPOSE_FILE=../base/common.yaml\nCOMPOSE_PROFILES=",
	} {
		f := elsewhere(t, env)
		got := compose(t, valid(t, f, func(o *render.Options) { o.HostRoot = o.Root }))

		dir := filepath.Join(f.dir, "web")
		t.Chdir(dir)
		t.Setenv("PWD", dir)
		o, err := cli.NewProjectOptions(nil, cli.WithWorkingDirectory(""), cli.WithEnv([]string{"PWD=" + dir}), cli.WithEnvFiles(), cli.WithDotEnv,
			cli.WithConfigFileEnv, cli.WithDefaultConfigPath, cli.WithEnvFiles(), cli.WithDotEnv, cli.WithDefaultProfiles(), cli.WithName(""), cli.WithoutEnvironmentResolution)
		if err != nil {
			t.Fatal(err)
		}
		want, err := o.LoadProject(t.Context())
		if err == nil {
			want, err = want.WithServicesEnvironmentResolved(true)
		}
		if err != nil {
			t.Fatalf("%q: %v", env, err)
		}
		a, _ := want.WithoutUnnecessaryResources().MarshalYAML()
		b, _ := got.MarshalYAML()
		if string(a) != string(b) {
			t.Errorf("%q: compose loads\n%s\nwe load\n%s", env, a, b)
		}
		labels := got.Services[got.ServiceNames()[0]].CustomLabels
		if dir, files := labels["com.docker.compose.project.working_dir"], labels["com.docker.compose.project.config_files"]; dir != want.WorkingDir || files != strings.Join(want.ComposeFiles, ",") {
			t.Errorf("%q: the labels say %s and %s, compose has %s and %s", env, dir, files, want.WorkingDir, want.ComposeFiles)
		}
	}
}

func TestTheEnvBesideFilesElsewhereIsWatched(t *testing.T) {
	f := elsewhere(t, "COMPOSE_FILE=../bare/common.yaml")
	l := loader(f)
	image := func() string { return service(t, load(t, l, f)["web/compose.yaml"], "app").Image }
	if got := image(); got != "b:0" {
		t.Errorf("without one: %s", got)
	}
	f.hide("bare/.env", "TAG=1")
	if got := image(); got != "b:1" {
		t.Errorf("with one: %s", got)
	}
	if p := load(t, l, f)["web/compose.yaml"]; strings.Join(p.Untracked, " ") != "bare/.env web/.env" {
		t.Errorf("untracked are %v", p.Untracked)
	}
	if err := os.Remove(filepath.Join(f.dir, "bare/.env")); err != nil {
		t.Fatal(err)
	}
	touchFolder(t, filepath.Join(f.dir, "bare"))
	if got := image(); got != "b:0" {
		t.Errorf("when it is gone: %s", got)
	}
}

func TestAProjectOfTheRepositorysRootHasTheNameOfTheCloneOnTheHost(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a}}").hide("web/.env", "COMPOSE_FILE=../common.yaml").write("common.yaml", "services: {app: {image: a, volumes: ['./x:/x']}}")
	p := valid(t, f)
	if got := compose(t, p).Services["app"].Volumes[0].Source; p.Name != "stacks" || got != "/srv/stacks/x" {
		t.Errorf("it is %s and mounts %s", p.Name, got)
	}
}
