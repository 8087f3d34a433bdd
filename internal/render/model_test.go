package render

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// corpus has compose files that load and ones that do not; other files of their
// folders are after a line "-- name". Those of loaderOnly need compose-go's own loader.
func corpus() (good, loaderOnly, bad map[string]string) {
	good = map[string]string{
		"one service":                  "services: {app: {image: a}}",
		"much":                         "name: Web_$X\nservices:\n  app:\n    image: a:${TAG:-1}\n    command: [a, \"b $$C\"]\n    environment: [A=1, B]\n    ports: [\"80:80\", \"${P}-9001:81-82/udp\"]\n    volumes: [\"./x:/x:ro\", data:/data, /anon, {type: tmpfs, target: /t}]\n    healthcheck: {test: [CMD, x], interval: 1m30s}\n    deploy: {replicas: 2, resources: {limits: {cpus: 0.5, memory: 64M}}}\n    depends_on: {db: {condition: service_started, required: false}}\n    networks: {front: {aliases: [x]}}\n    dns: [\"\", 1.1.1.1]\n    labels: {a.b: \"1\"}\n    ulimits: {nofile: {soft: 1, hard: 2}}\n    build: {context: ./src, args: [A=1], additional_contexts: {x: ../x}}\n    develop: {watch: [{path: ./src, action: rebuild}]}\n  db: {image: db, profiles: [never]}\nnetworks: {front: {ipam: {config: [{subnet: 10.0.0.0/8}]}}}\nvolumes: {data: {driver_opts: {type: none, o: bind, device: ./d}}}\nconfigs: {c: {content: \"x$X\"}}\nsecrets: {s: {environment: X}, f: {file: ./f}}\nx-more: {a: 1}\n-- .env\nX=1\nP=9000",
		"a project name in .env":       "name: other\nservices: {app: {image: a}}\n-- .env\nCOMPOSE_PROJECT_NAME=web",
		"profiles":                     "services: {app: {image: a, profiles: [x]}, b: {image: b}}\n-- .env\nCOMPOSE_PROFILES=x, y",
		"a version":                    "version: \"3\"\nservices: {app: {image: a}}",
		"anchors":                      "x-base: &base\n  image: a\n  environment: &env {A: \"1\"}\nservices:\n  app:\n    <<: *base\n    environment: {<<: *env, B: \"2\"}\n  b: *base\n  c: {<<: [*base, {restart: always}]}",
		"documents":                    "services: {app: {image: a, ports: [80:80]}}\n---\nname: second\nservices: {app: {image: b, ports: [80:80]}}",
		"an override":                  "services: {app: {image: a, environment: {A: 1, B: 1}}}\n-- compose.override.yaml\nservices: {app: {environment: [A=2], command: x}}",
		"empty lists":                  "services: {app: {image: a, command: [], ports: [], dns: []}}",
		"extends":                      "services: {app: {extends: {file: ../base.yaml, service: b}, environment: {A: 1}}, c: {extends: app}}\n-- ../base.yaml\nservices: {b: {extends: {file: deep/base.yaml, service: d}, volumes: [./v:/v]}}\n-- ../deep/base.yaml\nservices: {d: {image: d, env_file: ./d.env}}\n-- ../deep/d.env\nD=1",
		"a tag in what is extended":    "services: {app: {extends: {file: ../base.yaml, service: b}}}\n-- ../base.yaml\nservices: {b: {image: b, ports: !reset []}}",
		"include":                      "include: [../inc/i.yaml]\nservices: {app: {image: a, depends_on: [inc]}}\n-- ../inc/i.yaml\nservices: {inc: {image: \"i:$T\", volumes: [./v:/v], env_file: i.env, extends: {file: e.yaml, service: e}}}\nvolumes: {x: {}}\n-- ../inc/.env\nT=7\n-- ../inc/i.env\nI=1\n-- ../inc/e.yaml\nservices: {e: {image: e, command: e}}",
		"a long include":               "include: [{path: [../inc/i.yaml, ../inc/o.yaml], env_file: [one.env, sub/two.env], project_directory: ../dir}]\n-- one.env\nA=1\nB=1\n-- sub/two.env\nB=2\n-- ../inc/i.yaml\nservices: {inc: {image: \"i$A$B\", volumes: [./v:/v]}}\n-- ../inc/o.yaml\nservices: {inc: {command: [x]}}\n-- ../dir/x\n",
		"a nested include":             "include: [../inc/i.yaml]\n-- ../inc/i.yaml\ninclude: [sub/j.yaml]\nservices: {inc: {image: i}}\n-- ../inc/sub/j.yaml\nservices: {j: {image: \"j$J\", build: ./b}}\n-- ../inc/sub/.env\nJ=1",
		"the same included twice":      "include: [../i.yaml, ../i.yaml]\nservices: {app: {image: a}}\n-- ../i.yaml\nservices: {inc: {image: i}}",
		"an empty include":             "include:\nservices: {app: {image: a}}",
		"a label file":                 "services: {app: {image: a, label_file: [l]}}\n-- l\na=1",
		"COMPOSE_FILE":                 "services: {app: {image: a}}\n-- .env\nCOMPOSE_FILE=x.yaml:../y.yaml\n-- x.yaml\nservices: {x: {image: x}}\n-- ../y.yaml\nservices: {x: {image: y}}",
		"no services":                  "name: x",
		"twice the same":               "services: {app: {image: a, cap_add: [A, A]}}",
		"a reset":                      "services: {app: {image: a, ports: [80:80]}}\n-- compose.override.yaml\nservices: {app: {ports: !reset []}}",
		"a replaced":                   "services: {app: {image: a, ports: [80:80]}}\n-- compose.override.yaml\nservices: {app: {ports: !override [81:81]}}",
		"resets deep":                  "services: {app: {image: a, labels: {a: 1, b: 2}, healthcheck: {test: x, retries: 3}}, b: {image: b}}\nvolumes: {v: {}}\n-- compose.override.yaml\nservices: {app: {labels: {a: !reset null}, healthcheck: {retries: !reset 0}}, b: !reset {}}\nvolumes: !reset {}",
		"a reset in a list":            "services: {app: {image: a, cap_add: [A, !reset B, C]}}\n-- compose.override.yaml\nservices: {app: {cap_add: [!override D]}}",
		"a reset of what is not there": "services: {app: {image: a, ports: !reset [80:80]}}",
		"resets of documents":          "services: {app: {image: a, ports: [80:80]}}\n---\nservices: {app: {ports: !override [81:81]}}",
		"resets and extends":           "services: {app: {extends: b, labels: !override {x: 1}, command: !reset null}, b: {image: b, labels: {y: 1}, command: c, ports: [80:80]}}",
		"resets and extends elsewhere": "services: {app: {extends: {file: ../x.yaml, service: b}, labels: !override {x: 1}}, c: {extends: {file: ../x.yaml, service: c}, ports: !reset []}}\n-- ../x.yaml\nservices: {b: {extends: c, image: b, labels: !override {y: 1}}, c: {image: c, labels: {z: 1}, ports: [1:1]}}",
		"resets and include":           "include: [i.yaml]\nservices: {app: {image: a, labels: !reset {x: 1}}}\n-- i.yaml\nservices: {i: {extends: {file: j.yaml, service: j}, labels: !override {x: 1}}}\n-- j.yaml\nservices: {j: {image: j, labels: {y: 1}}}",
		"resets in what is merged":     "services: {app: {image: a, labels: {x: 1}}}\n-- compose.override.yaml\nservices: {app: {<<: {labels: !reset {}}, command: x}}",
		"resets in an anchor":          "x-a: &a {image: a, labels: !override {x: 1}}\nservices: {app: *a}\n-- compose.override.yaml\nx-b: &b {labels: !reset {}}\nservices: {app: {<<: *b, command: x}}",
		"gpus and devices":             "services: {app: {image: a, gpus: all, devices: [/dev/x], credential_spec: {file: c}, init: \"true\", mem_limit: 1g}}",
	}
	loaderOnly = map[string]string{
		"an anchor that is used twice":         "x-a: &a {image: a, labels: !override {x: 1}}\nservices: {app: *a, b: *a}",
		"env files of what is included itself": "include: [{path: i.yaml}]\n-- i.yaml\ninclude: [{path: j.yaml, env_file: /dev/null}]\n-- j.yaml\nservices: {j: {image: j}}",
	}
	bad = map[string]string{
		"no yaml":                    "services: [",
		"a tab":                      "services:\n\tapp: {}",
		"a list":                     "[1]",
		"nothing":                    "",
		"null":                       "null",
		"a document that is empty":   "services: {app: {image: a}}\n---\n",
		"a duplicate key":            "services: {app: {image: a, image: b}}",
		"a number for a key":         "services: {app: {image: a, labels: {1: x}}}",
		"a key at the top":           "1: x\nservices: {app: {image: a}}",
		"an unknown key":             "services: {app: {image: a, imagee: b}}",
		"an unknown key at the top":  "service: {app: {image: a}}",
		"a wrong type":               "services: {app: {image: 1}}",
		"a wrong type deep":          "services: {app: {image: a, deploy: {replicas: many}}}",
		"a wrong type of two":        "services: {app: {image: a, healthcheck: {interval: [1]}}}",
		"a wrong name":               "services: {\"a b\": {image: a}}",
		"a wrong duration":           "services: {app: {image: a, healthcheck: {interval: soon}}}",
		"too little":                 "services: {app: {image: a, oom_score_adj: -2000}}",
		"a wrong enum":               "services: {app: {image: a, cgroup: x}}",
		"a wrong pattern":            "services: {app: {image: a, pull_policy: sometimes}}",
		"services are a list":        "services: [a]",
		"a service is a text":        "services: {app: a}",
		"a service is nothing":       "services: {app: }",
		"a port that is none":        "services: {app: {image: a, ports: [\"a:b:c:d\"]}}",
		"a volume that is none":      "services: {app: {image: a, volumes: [{type: bind}]}}",
		"a volume nobody declared":   "services: {app: {image: a, volumes: [data:/data]}}",
		"a network nobody declared":  "services: {app: {image: a, networks: [n]}}",
		"an unknown dependency":      "services: {app: {image: a, depends_on: [b]}}",
		"a cycle":                    "services: {app: {image: a, depends_on: [b]}, b: {image: a, depends_on: [app]}}",
		"a template":                 "services: {app: {image: \"a:${\"}}",
		"a required variable":        "services: {app: {image: \"a:${TAG:?must be set}\"}}",
		"a cast":                     "services: {app: {image: a, privileged: \"${P}\"}}\n-- .env\nP=perhaps",
		"a name":                     "services: {app: {image: a}}\n-- .env\nCOMPOSE_PROJECT_NAME=A B",
		"a name that comes to none":  "name: \"${N}\"\nservices: {app: {image: a}}",
		"an anchor nobody set":       "services: {app: *x}",
		"an anchor in itself":        "services: &s {app: {image: a, labels: *s}}",
		"an external with more":      "services: {app: {image: a}}\nvolumes: {v: {external: true, driver: x}}",
		"a config that is two":       "services: {app: {image: a}}\nconfigs: {c: {file: f, content: c}}",
		"a missing include":          "include: [../no.yaml]\nservices: {app: {image: a}}",
		"an include that is a text":  "include: a.yaml\nservices: {app: {image: a}}",
		"an include of itself":       "include: [compose.yaml]\nservices: {app: {image: a}}",
		"an include in a circle":     "include: [i.yaml]\n-- i.yaml\ninclude: [compose.yaml]\nservices: {i: {image: i}}",
		"an include with a conflict": "include: [i.yaml]\nservices: {app: {image: a}}\n-- i.yaml\nservices: {app: {image: b}}",
		"an invalid include":         "include: [i.yaml]\nservices: {app: {image: a}}\n-- i.yaml\nservices: {i: {image: i, x: 1}}",
		"an include without its env": "include: [{path: i.yaml, env_file: no.env}]\n-- i.yaml\nservices: {i: {image: i}}",
		"an include with a folder":   "include: [{path: i.yaml, env_file: sub}]\n-- i.yaml\nservices: {i: {image: i}}\n-- sub/x\n",
		"a missing extends":          "services: {app: {extends: {file: no.yaml, service: b}}}",
		"an extends of nobody":       "services: {app: {extends: b}}",
		"an extends in a circle":     "services: {app: {extends: b}, b: {extends: app}}",
		"an extends without service": "services: {app: {extends: {file: x.yaml}}}",
		"what is extended is wrong":  "services: {app: {extends: {file: x.yaml, service: x}}}\n-- x.yaml\nservices: {x: {image: a, y: 1}}",
		"a missing label file":       "services: {app: {image: a, label_file: no}}",
		"an override that is wrong":  "services: {app: {image: a}}\n-- compose.override.yaml\nservices: {app: {imagee: a}}",
		"a missing COMPOSE_FILE":     "services: {app: {image: a}}\n-- .env\nCOMPOSE_FILE=no.yaml",
		"all is reset":               "!reset {services: {app: {image: a}}}",
		"the image is reset":         "services: {app: {image: a}}\n-- compose.override.yaml\nservices: !reset {}",
		"tags in a circle":           "services: {app: {extends: b, ports: !reset []}, b: {extends: app}}",
		"a reset of a duplicate key": "services: {app: {image: a, ports: !reset [], ports: [80:80]}}",
		"a file that is a number":    "services: {app: {extends: {file: 1, service: b}}}",
		"a wrong tag":                "services: {app: {image: a, ports: !reset [80], x: 1}}",
	}
	return good, loaderOnly, bad
}

func TestTheReaderAndComposeGoAgree(t *testing.T) {
	good, loaderOnly, bad := corpus()
	for name, text := range good {
		t.Run(name, func(t *testing.T) {
			if ours := agree(t, text); ours != nil {
				t.Errorf("compose-go's own loader was needed: %v", ours)
			}
		})
	}
	for name, text := range loaderOnly {
		t.Run(name, func(t *testing.T) { agree(t, text) })
	}
	for name, text := range bad {
		t.Run(name, func(t *testing.T) {
			if agree(t, text) == nil {
				t.Error("the reader takes it")
			}
		})
	}
}

// agree loads with compose-go and as a Loader does and wants the same project,
// or the same error. It gives the reader's error.
func agree(t *testing.T, text string) error {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "web")
	writeAll(t, dir, text)
	l := New(Options{Root: root, HostRoot: root, HostHome: "/home/ann"})
	in := l.newInputs(whole{dir: root})
	options := func() *cli.ProjectOptions {
		o, err := cli.NewProjectOptions(nil, cli.WithWorkingDirectory(dir), cli.WithEnv([]string{"PWD=" + dir}), cli.WithEnvFiles(), cli.WithDotEnv, composeFiles(nil),
			cli.WithDefaultConfigPath, cli.WithDefaultProfiles(), cli.WithName(""), cli.WithResolvedPaths(true), cli.WithoutEnvironmentResolution)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	got, gotErr := l.compose(t.Context(), options(), in)
	theirs := func() (*types.Project, error) {
		return safely(func() (*types.Project, error) { return options().LoadProject(t.Context()) })
	}
	want, wantErr := theirs()
	// Of two mistakes compose-go names one by chance.
	for i := 0; i < 100 && wantErr != nil && gotErr != nil && wantErr.Error() != gotErr.Error(); i++ {
		_, wantErr = theirs()
	}
	if (wantErr == nil) != (gotErr == nil) || wantErr != nil && wantErr.Error() != gotErr.Error() {
		t.Fatalf("compose-go says %v\nwe say %v", wantErr, gotErr)
	}
	if wantErr == nil && !reflect.DeepEqual(want, got) {
		a, _ := want.MarshalYAML()
		b, _ := got.MarshalYAML()
		t.Fatalf("compose-go loads\n%s\nwe load\n%s", a, b)
	}
	r := reader{loader: l, in: in}
	_, ours := safely(func() (*types.Project, error) { return r.project(t.Context(), options()) })
	if ours == nil && wantErr != nil {
		t.Fatalf("compose-go says %v, and the reader takes it", wantErr)
	}
	return ours
}

// writeAll writes a compose file, and the other files of a text of corpus.
func writeAll(t *testing.T, dir, text string) {
	t.Helper()
	for part := range strings.SplitSeq("compose.yaml\n"+text, "\n-- ") {
		name, content, _ := strings.Cut(part, "\n")
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
