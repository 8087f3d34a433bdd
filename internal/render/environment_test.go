package render_test

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// forAll gives all stacks variables, and the host no home of its own.
func forAll(vars map[string]string) func(*render.Options) {
	return func(o *render.Options) {
		o.HostHome = ""
		o.Environment = func() (map[string]string, error) { return vars, nil }
	}
}

func ann() map[string]string {
	return map[string]string{"HOME": "/home/ann", "USER": "ann", "UID": "1000", "GID": "1000", "TZ": "Europe/Berlin"}
}

func TestVariablesOfAllStacksCountBelowTheStacksOwnEnv(t *testing.T) {
	for _, c := range []struct{ name, env, value, want string }{
		{"set for all only", "", "${USER}", "ann"},
		{"in .env only", "OWN=1", "${OWN}", "1"},
		{"in both", "USER=bob", "${USER}", "bob"},
		{"empty in .env", "USER=", "${USER}", ""},
		{"unset by neither", "", "${USER:-x}${NO:-y}", "anny"},
		{"used in .env", "DATA=${HOME}/data", "${DATA}", "/home/ann/data"},
		{"said in .env before it is used", "HOME=/srv\nDATA=${HOME}/data", "${DATA} ${HOME}", "/srv/data /srv"},
		{"said in .env after it is used", "DATA=${HOME}/data\nHOME=/srv", "${DATA} ${HOME}", "/home/ann/data /srv"},
		{"PWD is the stack's", "D=$PWD/x", "${D} $PWD", "/srv/stacks/web/x /srv/stacks/web"},
	} {
		f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, command: [\""+c.value+"\"]}}").hide("web/.env", c.env)
		if got := compose(t, valid(t, f, forAll(ann()))).Services["app"].Command[0]; got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// What docker compose does with the variables of the shell that it is started in.
func TestVariablesOfAllStacksAreToAStackWhatAShellsAreToCompose(t *testing.T) {
	for name, text := range map[string]string{
		"a value":                   "services: {app: {image: 'a:${TAG:-1}', user: '${UID}:${GID}'}}",
		"a name without a value":    "services: {app: {image: a, environment: [TZ, NOT_SET]}}",
		"a key without a value":     "services: {app: {image: a, environment: {TZ: , OWN: }}}",
		"an env file":               "services: {app: {image: a, env_file: app.env}}",
		"a raw env file":            "services: {app: {image: a, env_file: [{path: app.env, format: raw}]}}",
		"a config and a secret":     "services: {app: {image: a, configs: [c], secrets: [s]}}\nconfigs: {c: {environment: USER}}\nsecrets: {s: {environment: TZ}}",
		"profiles":                  "services: {app: {image: a}, more: {image: b, profiles: [extra]}, no: {image: c, profiles: [no]}}",
		"include":                   "include: [../inc/i.yaml]\nservices: {app: {image: a}}",
		"extends":                   "services: {app: {extends: {file: ../inc/i.yaml, service: inc}}}",
		"the home in mounts":        "services: {app: {image: a, volumes: ['${HOME}/x:/x', '~/y:/y', '~:/h', {type: bind, source: ~/z/, target: /z}]}}",
		"the home in configs":       "services: {app: {image: a, configs: [c], secrets: [s]}}\nconfigs: {c: {file: ~/c}}\nsecrets: {s: {file: '${HOME}/s'}}",
		"the home in a device":      "services: {app: {image: a, volumes: ['vol:/v']}}\nvolumes: {vol: {driver_opts: {type: none, o: bind, device: ~/v}}}",
		"the home where it is none": "services: {app: {image: a, command: ['~/x', 'a:~/x'], volumes: ['~/x']}}",
		"a reset":                   "services: {app: {image: a, user: !reset '1', volumes: ['~/y:/y']}}",
	} {
		f := newFolder(t).write("web/compose.yaml", text).hide("web/.env", "OWN=1").write("web/app.env", "A=${TZ}\nUSER\nB=$OWN").
			write("inc/i.yaml", "services: {inc: {image: i, volumes: ['~/i:/i'], environment: [USER, OWN]}}")
		vars := ann()
		vars["COMPOSE_PROFILES"] = "extra,other"
		got := compose(t, valid(t, f, forAll(vars), func(o *render.Options) { o.HostRoot = o.Root }))

		t.Setenv("HOME", vars["HOME"])
		shell := []string{"PWD=" + f.dir + "/web"}
		for k, v := range vars {
			shell = append(shell, k+"="+v)
		}
		o, err := cli.NewProjectOptions(nil, cli.WithWorkingDirectory(f.dir+"/web"), cli.WithEnv(shell), cli.WithEnvFiles(), cli.WithDotEnv,
			cli.WithDefaultConfigPath, cli.WithDefaultProfiles(), cli.WithoutEnvironmentResolution)
		if err != nil {
			t.Fatal(err)
		}
		want, err := o.LoadProject(t.Context())
		if err == nil {
			want, err = want.WithServicesEnvironmentResolved(true)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a, _ := want.WithoutUnnecessaryResources().MarshalYAML()
		b, _ := got.MarshalYAML()
		if string(a) != string(b) {
			t.Errorf("%s: compose loads\n%s\nwe load\n%s", name, a, b)
		}
	}
}

func TestAChangeOfTheVariablesOfAllStacksIsSeenAtTheNextLook(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, environment: [TZ]}}").write("db/compose.yaml", "services: {app: {image: a}}")
	vars, err := ann(), error(nil)
	l := loader(f, func(o *render.Options) {
		o.Environment = func() (map[string]string, error) { return maps.Clone(vars), err }
	})
	before := load(t, l, f)
	loads := l.Loads()
	load(t, l, f)
	if l.Loads() != loads {
		t.Error("stacks were loaded again although nothing changed")
	}
	vars["TZ"] = "UTC"
	after := load(t, l, f)
	if got := *compose(t, after["web/compose.yaml"]).Services["app"].Environment["TZ"]; got != "UTC" {
		t.Errorf("the zone is %s", got)
	}
	if before["web/compose.yaml"].Digest == after["web/compose.yaml"].Digest || before["db/compose.yaml"].Digest != after["db/compose.yaml"].Digest {
		t.Error("want the stack that uses it to be another, and only that")
	}
	err = errors.New("no such file")
	if _, got := l.Load(t.Context(), f); !errors.Is(got, err) {
		t.Errorf("of variables that can't be read: %v", got)
	}
}

func TestWhatWouldMountSomethingElseForWantOfAVariableIsRefusedByItsName(t *testing.T) {
	const mounted = `services.app.volumes: `
	remedy := func(name string) string {
		return "variable " + name + " has no value; give it one in the stack's .env, or for all stacks in STACK_ENV"
	}
	for text, want := range map[string]string{
		"volumes: ['${DATA}/db:/x']":                            mounted + `"/db" would be mounted: ` + remedy("DATA"),
		"volumes: ['$DATA/db:/x:ro']":                           mounted + `"/db" would be mounted: ` + remedy("DATA"),
		"volumes: ['${HOME}/.config/x:/x']":                     mounted + `"/.config/x" would be mounted: ` + remedy("HOME"),
		"volumes: ['${EMPTY}/db:/x']":                           mounted + `"/db" would be mounted: ` + remedy("EMPTY"),
		"volumes: ['${EMPTY:-}/db:/x']":                         mounted + `"/db" would be mounted: ` + remedy("EMPTY"),
		"volumes: ['${A:-${B}}/db:/x']":                         mounted + `"/db" would be mounted: variables A and B have no value; give them one in the stack's .env, or for all stacks in STACK_ENV`,
		"volumes: ['/srv/${USER}/db:/x']":                       mounted + `"/srv//db" would be mounted: ` + remedy("USER"),
		"volumes: ['./${USER}:/x']":                             mounted + `"./" would be mounted: ` + remedy("USER"),
		"volumes: [{type: bind, source: '${D}/x', target: /x}]": mounted + `"/x" would be mounted: ` + remedy("D"),
		"volumes: [{type: bind, source: '${D}', target: /x}]":   mounted + `"" would be mounted: ` + remedy("D"),
		"volumes: ['${DATA}:/config']":                          "error while interpolating services.app.volumes.[]: invalid spec: :/config: empty section between colons: " + remedy("DATA"),
		"volumes: ['~/x:/x']":                                   mounted + "~/x: ~ is the home of whoever runs docker compose, which is not known in the daemon's container; give HOME in STACK_ENV, or write the path in full",
		"configs: [c]":                                          `configs.c.file: "/c.conf" would be mounted: ` + remedy("C"),
		"secrets: [s]":                                          `secrets.s.file: "/s.key" would be mounted: ` + remedy("S"),
		"volumes: ['vol:/v']":                                   `volumes.vol.driver_opts.device: "/v" would be mounted: ` + remedy("V"),
		"ports: ['8080:${PORT}']":                               "error while interpolating services.app.ports.[]: invalid proto: : " + remedy("PORT"),
		"ports: ['53:53/${KIND}dp']":                            "error while interpolating services.app.ports.[]: invalid proto: dp: " + remedy("KIND"),
		"ports: [{target: '${PORT}'}]":                          `error while interpolating services.app.ports.[].target: strconv.Atoi: parsing "": invalid syntax: ` + remedy("PORT"),
		"image: 'x:${TAG}'":                                     `services.app: image "x:": invalid reference format: ` + remedy("TAG"),
		"image: '${REGISTRY}/x'":                                `services.app: image "/x": invalid reference format: ` + remedy("REGISTRY"),
		"volumes: ['named:/v']":                                 `volumes.named.name: "" would be its name: ` + remedy("VOL"),
		"networks: [named]":                                     `networks.named.name: "" would be its name: ` + remedy("NET"),
		"networks: [old]":                                       `networks.old.name: "" would be its name: ` + remedy("OLD"),
		"networks: [empty]":                                     "networks.empty.name: it is empty",
		"devices: ['${DEV}:/dev/x']":                            `services.app.devices: "" would be the device: ` + remedy("DEV"),
		"devices: ['/dev/tty${N}']":                             `services.app.devices: "/dev/tty" would be the device: ` + remedy("N"),
		"devices: [{source: '${DEV}', target: /dev/x}]":         `services.app.devices: "" would be the device: ` + remedy("DEV"),
		"network_mode: 'container:${VPN}'":                      `services.app.network_mode: "container:" would be its network: ` + remedy("VPN"),
		"pid: 'container:${VPN}'":                               `services.app.pid: "container:" would be its pid namespace: ` + remedy("VPN"),
		"ipc: 'service:${VPN}'":                                 `services.app.ipc: "service:" would be its ipc namespace: ` + remedy("VPN"),
		"env_file: ~/x.env":                                     "services.app.env_file: ~/x.env does not exist where the daemon looks; mount it there, too",
	} {
		app := text
		if !strings.HasPrefix(text, "image") {
			app = "image: a, " + text
		}
		for _, by := range []func(*render.Loader) *render.Loader{(*render.Loader).WithoutTick, (*render.Loader).ByLibrary} {
			f := newFolder(t).write("web/compose.yaml", "services: {app: {"+app+"}}\nconfigs: {c: {file: '${C}/c.conf'}}\nsecrets: {s: {file: '${S}/s.key'}}\n"+
				"networks: {named: {external: true, name: '$NET'}, old: {external: {name: '$OLD'}}, empty: {external: true, name: ''}}\n"+
				"volumes: {vol: {driver_opts: {type: none, o: bind, device: '${V}/v'}}, named: {external: true, name: '${VOL}'}}").hide("web/.env", "EMPTY=")
			if got := load(t, by(loader(f, forAll(nil))), f)["web/compose.yaml"].Invalid; got != "web/compose.yaml: "+want {
				t.Errorf("%s: got\n%s\nwant\nweb/compose.yaml: %s", text, got, want)
			}
		}
	}
}

func TestAVariableWithoutAValueStandsInTheWayOfNothingElse(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a default":                  {"volumes: ['${DATA:-/srv}/db:/x']", "/srv/db"},
		"another value":              {"volumes: ['/srv${DATA:+/data}/db:/x']", "/srv/db"},
		"empty on purpose":           {"volumes: ['/srv/data${EMPTY}:/x']", "/srv/data"},
		"a volume's name":            {"volumes: ['${DATA}vol:/x']", "vol"},
		"the target":                 {"volumes: ['/srv:/x${DATA}']", "/srv"},
		"a device that is no folder": {"volumes: ['nfs:/x']", "nfs"},
		"a service that is off":      {"volumes: ['/srv:/x']}, off: {image: b, profiles: [off], volumes: ['${DATA}/db:/x', '~/x:/y']", "/srv"},
		"a network's name":           {"networks: ['named'], volumes: ['/srv:/x']", "/srv"},
		"a device":                   {"devices: ['${DEV:-/dev/null}:/dev/x', '/dev/null:/dev/y${DEV}'], volumes: ['/srv:/x']", "/srv"},
		"a network's mode":           {"network_mode: '${MODE}', pid: '${PID:-host}', volumes: ['/srv:/x']", "/srv"},
		"an image that there is":     {"image: 'nginx${TAG}', volumes: ['/srv:/x']", "/srv"},
	} {
		app := c.text
		if !strings.HasPrefix(app, "image") {
			app = "image: a, " + app
		}
		f := newFolder(t).write("web/compose.yaml", "services: {app: {"+app+"}}\nvolumes: {vol: {}, nfs: {driver_opts: {type: nfs, o: addr=nas, device: '${SHARE}:/x'}}}\nnetworks: {named: {name: 'net${DATA}'}, unused: {external: true, name: '${NET}'}}\nconfigs: {unused: {file: '${C}/x'}}").hide("web/.env", "EMPTY=")
		p := compose(t, valid(t, f, forAll(nil)))
		if got := p.Services["app"].Volumes[0].Source; got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if got := p.Volumes["nfs"].DriverOpts["device"]; got != "" && got != ":/x" {
			t.Errorf("the share is %q", got)
		}
	}
}

func TestAMountThatAnOverrideReplacesIsNotRefused(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, volumes: ['${DATA}/db:/x']}}").
		write("web/compose.override.yaml", "services: {app: {volumes: ['/srv/db:/x']}}")
	if got := compose(t, valid(t, f, forAll(nil))).Services["app"].Volumes[0].Source; got != "/srv/db" {
		t.Errorf("got %s", got)
	}
}

func TestAnIgnoredStackStaysIgnoredWithoutItsVariables(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, labels: [gitops.ignore=true], volumes: ['${DATA}/db:/x', '~/y:/y']}}")
	if p := valid(t, f, forAll(nil)); p.Mode != plan.Ignored {
		t.Errorf("it is %s", p.Mode)
	}
}

func TestVariablesThatAreNotSetAreWarningsOfTheStack(t *testing.T) {
	for text, want := range map[string]string{
		"command: '$B ${A} ${B}'":             "variable A is not set, variable B is not set",
		"command: '$$A $${A}'":                "",
		"command: '${A:-x} ${B-} ${C:+y}'":    "",
		"command: '${A:-${B}}'":               "variable B is not set",
		"command: '${SET:-${B}} $SET'":        "",
		"command: '${EMPTY} ${PWD}'":          "",
		"environment: [A, 'B=${C}']":          "variable C is not set",
		"labels: !reset [a], command: '${A}'": "variable A is not set",
		"command: ['${A:-x}/${B}']":           "variable B is not set",
	} {
		f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, "+text+"}}").hide("web/.env", "SET=1\nEMPTY=")
		if got := strings.Join(valid(t, f).Warnings, ", "); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, command: '${B}'}}\nvolumes: [").write("web/compose.yaml", "services: {app: {image: '${A}:', command: '${B}'}}")
	for _, p := range load(t, loader(f), f) {
		if p.Invalid == "" || strings.Join(p.Warnings, ", ") != "variable A is not set, variable B is not set" {
			t.Errorf("an invalid one has %q, invalid %q", p.Warnings, p.Invalid)
		}
	}
}

func TestAVariableThatAnEnvFileUsesAndThatIsNotSetIsAWarning(t *testing.T) {
	const remedy = " uses a variable that is not set, and has nothing in its place; a $ that is meant as one is written $$, or the value in single quotes"
	for text, want := range map[string]string{
		"A=x$hunter2":                        "web/app.env: A" + remedy,
		"A=x\nB=${A} ${SET} ${OWN} ${EMPTY}": "",
		"A='x$hunter2'\nB=x$$hunter2":        "",
		"# $A\nB=${A:-x} ${A-} ${A:+y}":      "",
		"B=${A:-$C}":                         "web/app.env: B" + remedy,
		"A=$A":                               "web/app.env: A" + remedy,
	} {
		f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, env_file: app.env, environment: [OWN=1]}, off: {image: a, env_file: off.env, profiles: [x]}, raw: {image: a, env_file: [{path: raw.env, format: raw}]}}").
			hide("web/.env", "SET=1\nEMPTY=").hide("web/app.env", text).hide("web/off.env", "X=$Y").hide("web/raw.env", "X=$Y")
		if got := strings.Join(valid(t, f).Warnings, ", "); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a}}").hide("web/.env", "A=x$hunter2")
	if got, want := strings.Join(valid(t, f).Warnings, ", "), "web/.env: A"+remedy; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatComposeTakesAndLogsIsAWarningOfTheStack(t *testing.T) {
	for _, by := range []func(*render.Loader) *render.Loader{(*render.Loader).WithoutTick, (*render.Loader).ByLibrary} {
		f := newFolder(t).
			write("web/compose.yaml", "version: '3'\nservices: {app: {image: a, tty: \"yes\", read_only: off, privileged: 'True', command: '$A', networks: [n]}}\nnetworks: {n: {external: {name: proxy}}}").
			write("web/docker-compose.yml", "").write("web/.env.example", "")
		got := strings.Join(load(t, by(loader(f)), f)["web/compose.yaml"].Warnings, "\n")
		want := "variable A is not set\n" +
			"there is no .env, which belongs at /srv/stacks/web/.env; .env.example is beside it\n" +
			"\"off\" is no boolean of YAML 1.2; write false\n" +
			"\"yes\" is no boolean of YAML 1.2; write true\n" +
			"compose.yaml counts, and not docker-compose.yml beside it\n" +
			"external: {name: proxy} is obsolete; write external: true, and name: beside it\n" +
			"web/compose.yaml has a version:, which is obsolete and ignored"
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	f := newFolder(t).write("web/compose.yaml", "version: '3'\nservices: {app: {image: a}}").write("web/.env.example", "")
	if got := valid(t, f).Warnings; len(got) != 1 {
		t.Errorf("nothing is missing, and the warnings are %q", got)
	}
}

func TestAStackIsTheSameWithAnotherWarning(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, command: 'x${A}'}}")
	before := valid(t, f)
	after := valid(t, f.hide("web/.env", "A="))
	if before.Digest != after.Digest || len(before.Warnings) != 1 || len(after.Warnings) != 0 {
		t.Errorf("before %s %v, after %s %v", before.Digest, before.Warnings, after.Digest, after.Warnings)
	}
}

func TestTheWarningsOfAStackAreLoggedOnceAndTogether(t *testing.T) {
	var log bytes.Buffer
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, command: '$A $B'}}").write("db/compose.yaml", "services: {app: {image: a}}")
	l := loader(f, func(o *render.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	said := func(want ...string) {
		t.Helper()
		load(t, l, f)
		var got []string
		for line := range strings.Lines(log.String()) {
			_, line, _ = strings.Cut(strings.TrimSpace(line), "level=")
			got = append(got, line)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		log.Reset()
	}
	said(`WARN msg="stack has warnings" stack=web cause="variable A is not set, variable B is not set"`)
	said()
	f.write("web/compose.yaml", "services: {app: {image: b, command: '$A $B'}}")
	said()
	f.hide("web/.env", "A=1")
	said(`WARN msg="stack has warnings" stack=web cause="variable B is not set"`)
	f.hide("web/.env", "A=1\nB=2")
	said()
	f.hide("web/.env", "A=1")
	said(`WARN msg="stack has warnings" stack=web cause="variable B is not set"`)
}

func TestVariablesInFilesAreReadByTheirNames(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("SHARED", "shared\n")
	put("BOTH", "of all\r\n")
	put("USER", "of the files")
	put("web/BOTH", " of web\nand more \n")
	put("web/OWN", "of .env no more")
	put("db/OTHER", "of db")
	put("..data/SECRET", "an agent's own")
	put("web/not-a-name", "x")
	put("README.md", "x")
	if err := os.Symlink("..data/SECRET", filepath.Join(dir, "LINKED")); err != nil {
		t.Fatal(err)
	}
	f := newFolder(t).write("web/compose.yaml", `services: {app: {image: a, environment: {A: "$SHARED|$BOTH|$USER|$OWN|$LINKED|$OTHER|$SECRET"}}}`).hide("web/.env", "OWN=env").
		write("elsewhere/compose.yaml", "name: db\nservices: {app: {image: a, environment: {A: \"$OTHER|$BOTH\"}}}")
	l := loader(f, forAll(ann()), func(o *render.Options) { o.SecretsDir = dir })
	value := func(file string) string {
		t.Helper()
		return *compose(t, load(t, l, f)[file]).Services["app"].Environment["A"]
	}
	if got := value("web/compose.yaml"); got != "shared| of web\nand more |of the files|env|an agent's own||" {
		t.Errorf("web sees %q", got)
	}
	if got := value("elsewhere/compose.yaml"); got != "of db|of all" {
		t.Errorf("db sees %q", got)
	}
	loads := l.Loads()
	load(t, l, f)
	if l.Loads() != loads {
		t.Error("stacks were loaded again although nothing changed")
	}
	put("web/BOTH", "new")
	if got := value("web/compose.yaml"); !strings.HasPrefix(got, "shared|new|") {
		t.Errorf("after a change web sees %q", got)
	}
	for _, name := range []string{".new", "web/.new", "half-written", "web/OWN~"} { // an agent renames it between two steps of ours
		if err := os.Symlink("gone", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := value("elsewhere/compose.yaml"); got != "of db|of all" {
		t.Errorf("with files of an agent that go, db sees %q", got)
	}
	put("BAD", "a\x00b")
	if _, err := l.Load(t.Context(), f); err == nil || !strings.Contains(err.Error(), "BAD") || strings.Contains(err.Error(), "a\x00b") {
		t.Errorf("a value with a zero byte: %v", err)
	}
}

func TestAMessageHasNoValueOfAFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "PORT"), []byte("hunter2-hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, ports: ['$PORT:80']}}")
	if got := invalid(t, f, func(o *render.Options) { o.SecretsDir = dir }); strings.Contains(got, "hunter2") || !strings.Contains(got, "web/compose.yaml") {
		t.Errorf("it says %s", got)
	}
}
