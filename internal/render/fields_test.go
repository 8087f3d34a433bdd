package render_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

const fielded = `
services:
  app:
    image: registry.example.org/web:1.4
    user: "1000"
    command: run
    environment: {LOG_LEVEL: info, TOKEN: "${TOKEN}"}
    env_file: [app.env]
    labels: {a: b}
    ports: ["8080-8089:80", "127.0.0.1:53-63:53/udp", "9"]
    volumes: ["./nginx.conf:/etc/nginx.conf:ro", "./data:/data", "../shared:/shared", "/etc/hosts:/hosts", "data:/d1", "data:/d2", "/cache"]
    configs: [c, i]
    secrets: [s, v]
    networks: [front]
    depends_on: [db]
    healthcheck: {test: ["CMD", "true"]}
    restart: always
    deploy: {replicas: 2}
    build: ./src
  db: {image: db}
networks: {front: {}, back: {}}
volumes: {data: {}}
configs: {c: {file: c.conf}, i: {content: "x"}}
secrets: {s: {file: ./s.key}, v: {environment: TOKEN}}
`

func fieldFolder(t testing.TB) *folder {
	return newFolder(t).write("web/compose.yaml", fielded).write("web/nginx.conf", "1").write("web/c.conf", "1").write("shared/x", "1").
		write("web/src/Dockerfile", "1").hide("web/s.key", "1").hide("web/.env", "TOKEN=hunter2").hide("web/app.env", "A=1").hide("web/data/db", "1")
}

func TestAServiceIsTakenApartIntoFields(t *testing.T) {
	var got []string
	for _, f := range service(t, valid(t, fieldFolder(t)), "app").Fields {
		got = append(got, strings.TrimSpace(f.Name+" = "+f.Value))
		if len(f.Sum) != 32 {
			t.Errorf("%s: sum %q", f.Name, f.Sum)
		}
	}
	want := `build =
build (content) =
command =
config c =
config c (content) =
config i =
config i (content) =
depends_on =
environment A =
environment LOG_LEVEL =
environment TOKEN =
healthcheck =
image = registry.example.org/web:1.4
label a =
mount ../shared =
mount ../shared (content) =
mount ./data =
mount ./nginx.conf =
mount ./nginx.conf (content) =
mount /cache =
mount /etc/hosts =
mount data =
network front =
port 127.0.0.1:53-63:53/udp =
port 8080-8089:80/tcp =
port 9/tcp =
restart =
scale = 2
secret s =
secret s (content) =
secret v =
secret v (content) =
user =`
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("fields\n%s\nwant\n%s", g, want)
	}
}

func TestFieldsNameWhatChanged(t *testing.T) {
	replace := func(old, by string) func(*folder) {
		return func(f *folder) { f.write("web/compose.yaml", strings.Replace(fielded, old, by, 1)) }
	}
	for what, c := range map[string]struct {
		change func(*folder)
		want   string
	}{
		"nothing":                  {func(*folder) {}, ""},
		"something else":           {func(f *folder) { f.write("web/README", "2").hide("web/data/db", "2") }, ""},
		"the image":                {replace("web:1.4", "web:2.0"), "image registry.example.org/web:1.4 → registry.example.org/web:2.0"},
		"the scale":                {replace("replicas: 2", "replicas: 3"), "scale 2 → 3"},
		"a limit":                  {replace("{replicas: 2}", "{replicas: 2, resources: {limits: {memory: 64M}}}"), "+deploy"},
		"the container's name":     {replace("deploy: {replicas: 2}", "container_name: xx"), "+container_name, scale 2 → 1"},
		"the user":                 {replace(`user: "1000"`, ""), "-user"},
		"an empty entrypoint":      {replace("command: run", "command: run\n    entrypoint: []"), "+entrypoint"},
		"a variable":               {replace("LOG_LEVEL: info", "LOG_LEVEL: debug"), "environment LOG_LEVEL"},
		"variables":                {replace("LOG_LEVEL: info", "LEVEL: info"), "+environment LEVEL, -environment LOG_LEVEL"},
		"a variable in env_file":   {func(f *folder) { f.hide("web/app.env", "A=2") }, "environment A"},
		"a secret in .env":         {func(f *folder) { f.hide("web/.env", "TOKEN=hunter3") }, "environment TOKEN, secret v (content)"},
		"a label":                  {replace("{a: b}", "{a: c}"), "label a"},
		"our label":                {replace("{a: b}", "{a: b, gitops.data: new}"), ""},
		"a port":                   {replace("8080-8089:80", "8081-8089:80"), "-port 8080-8089:80/tcp, +port 8081-8089:80/tcp"},
		"how a file is mounted":    {replace("nginx.conf:ro", "nginx.conf"), "mount ./nginx.conf"},
		"a mounted file":           {func(f *folder) { f.write("web/nginx.conf", "2") }, "mount ./nginx.conf (content)"},
		"a mounted folder":         {func(f *folder) { f.write("shared/y", "2") }, "mount ../shared (content)"},
		"the target of a volume":   {replace("data:/d2", "data:/d3"), "mount data"},
		"the name of a volume":     {replace("volumes: {data: {}}", "volumes: {data: {name: xx}}"), "mount data"},
		"another volume":           {replace(`"/cache"`, `"/cash"`), "-mount /cache, +mount /cash"},
		"a config":                 {func(f *folder) { f.write("web/c.conf", "2") }, "config c (content)"},
		"a config in the file":     {replace(`content: "x"`, `content: "y"`), "config i (content)"},
		"where a config is":        {replace("configs: [c, i]", "configs: [{source: c, target: /c}, i]"), "config c"},
		"an untracked secret":      {func(f *folder) { f.hide("web/s.key", "2") }, "secret s (content)"},
		"another file of a secret": {func(f *folder) { replace("./s.key", "./t.key")(f); f.hide("web/t.key", "1") }, "secret s"},
		"a network":                {replace("networks: [front]", "networks: [front, back]"), "+network back"},
		"an alias":                 {replace("networks: [front]", "networks: {front: {aliases: [x]}}"), "network front"},
		"a build context":          {func(f *folder) { f.write("web/src/Dockerfile", "2") }, "build (content)"},
		"how it is built":          {replace("build: ./src", "build: {context: ./src, target: x}"), "build"},
		"other keys":               {replace("restart: always", "restart: on-failure\n    stdin_open: true"), "restart, +stdin_open"},
	} {
		t.Run(what, func(t *testing.T) {
			f := fieldFolder(t)
			l := loader(f)
			before := service(t, validOf(t, l, f), "app")
			c.change(f)
			f.commit = "c2"
			if got := fieldChanges(before.Fields, service(t, validOf(t, l, f), "app").Fields); got != c.want {
				t.Errorf("changed: %q, want %q", got, c.want)
			}
		})
	}
}

func TestSumsOfFieldsMeanNothingOutsideOfTheirLoader(t *testing.T) {
	f := fieldFolder(t)
	a, b := service(t, validOf(t, loader(f), f), "app").Fields, service(t, validOf(t, loader(f), f), "app").Fields
	for i := range a {
		if a[i].Name != b[i].Name || a[i].Sum == b[i].Sum {
			t.Errorf("%v and %v", a[i], b[i])
		}
		if strings.Contains(fmt.Sprint(a[i]), "hunter2") {
			t.Errorf("a secret is in %v", a[i])
		}
	}
}

// fieldChanges is how two versions of a service differ, in words.
func fieldChanges(before, after []plan.Field) string {
	find := func(fs []plan.Field, name string) (plan.Field, bool) {
		i := slices.IndexFunc(fs, func(f plan.Field) bool { return f.Name == name })
		if i < 0 {
			return plan.Field{}, false
		}
		return fs[i], true
	}
	var out []string
	for _, f := range after {
		switch old, ok := find(before, f.Name); {
		case !ok:
			out = append(out, "+"+f.Name)
		case old.Sum != f.Sum && f.Value != "":
			out = append(out, f.Name+" "+old.Value+" → "+f.Value)
		case old.Sum != f.Sum:
			out = append(out, f.Name)
		}
	}
	for _, f := range before {
		if _, ok := find(after, f.Name); !ok {
			out = append(out, "-"+f.Name)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(strings.TrimLeft(a, "+-"), strings.TrimLeft(b, "+-")) })
	return strings.Join(out, ", ")
}
