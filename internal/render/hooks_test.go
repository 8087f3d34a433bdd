package render_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

func TestServicesThatRunAsHooksAreNoOthers(t *testing.T) {
	p := valid(t, newFolder(t).write("web/compose.yaml", `
services:
  app: {image: app, depends_on: {migrate: {condition: service_completed_successfully}}}
  migrate: {image: app, command: migrate, environment: {A: $A}, env_file: [app.env]}
  smoke: {image: curl, profiles: [hooks], pull_policy: always}
  other: {image: curl, profiles: [hooks]}
x-gitops: {before: migrate, after: [smoke, migrate], timeout: 30m, depends_on: [proxy, db, proxy]}
`).write("web/app.env", "B=1"))
	if got := named(p.Services); got != "app" {
		t.Errorf("services are %s", got)
	}
	if got := named(p.Hooks.Before) + ", then " + named(p.Hooks.After); got != "migrate, then smoke migrate" || p.Hooks.Timeout != 30*time.Minute {
		t.Errorf("hooks are %s, within %s", got, p.Hooks.Timeout)
	}
	if got := strings.Join(p.Disabled, " "); got != "migrate other smoke" {
		t.Errorf("disabled are %s", got)
	}
	if got := strings.Join(p.DependsOn, " "); got != "db proxy" {
		t.Errorf("it depends on %s", got)
	}
	if p.Hooks.After[0].Every != 0 {
		t.Error("the tag of a hook is watched")
	}
	project, err := p.Compose()
	if err != nil {
		t.Fatal(err)
	}
	if got := project.ServiceNames(); !slices.Equal(got, []string{"app"}) || len(project.Services["app"].DependsOn) != 0 {
		t.Errorf("an update has %v, and app waits for %v", got, project.Services["app"].DependsOn)
	}
	all := p.WithHooks()
	if project, err = all.Compose(); err != nil {
		t.Fatal(err)
	}
	if got := project.ServiceNames(); !slices.Equal(got, []string{"app", "migrate", "smoke"}) || named(all.Services) != "app migrate smoke" {
		t.Errorf("with its hooks it has %v", got)
	}
	if b := project.Services["migrate"].Environment["B"]; b == nil || *b != "1" {
		t.Errorf("the hook does not see its env file")
	}
	if got := named(p.Services); got != "app" {
		t.Errorf("and without them %s", got)
	}
}

func named(services []plan.Service) string {
	var names []string
	for _, s := range services {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

func TestHooksAreInTheDigest(t *testing.T) {
	load := func(text string) string {
		return valid(t, newFolder(t).write("web/compose.yaml", "services: {app: {image: app}, job: {image: job, profiles: [x]}}\n"+text)).Digest
	}
	if load("x-gitops: {before: job}") == load("x-gitops: {after: job}") || load("x-gitops: {before: job}") == load("") {
		t.Error("digests are equal")
	}
	if load("x-gitops: {timeout: 3m}") != load("") || load("x-gitops: ") != load("") {
		t.Error("what says nothing changes the digest")
	}
}

func TestHooksThatCantBe(t *testing.T) {
	for text, want := range map[string]string{
		"x-gitops: {before: nobody}":                  "x-gitops.before: there is no service nobody",
		"x-gitops: {after: nobody}":                   "x-gitops.after: there is no service nobody",
		"x-gitops: {before: forever}":                 "x-gitops.before: service forever is restarted when it has ended",
		"x-gitops: {before: [3]}":                     "x-gitops.before: want a name or a list of names, and not 3",
		"x-gitops: {before: }":                        "x-gitops.before: want a name",
		"x-gitops: [before]":                          "x-gitops: want a mapping",
		"x-gitops: {befor: app}":                      "x-gitops.befor: there is no such key",
		"x-gitops: {before: job, timeout: 5}":         "x-gitops.timeout: want a time like 90s or 30m, and not 5",
		"x-gitops: {before: job, timeout: -5m}":       "x-gitops.timeout: want a time",
		"x-gitops: {depends_on: web}":                 "x-gitops.depends_on: the stack can't depend on itself",
		"x-gitops: {before: leader}":                  "service follower lives in the namespaces, or with the volumes, of leader",
		"x-gitops: {after: leader}":                   "service follower lives in the namespaces",
		"x-gitops: {after: first}":                    "x-gitops.after: service second depends on first, which runs after it",
		"x-gitops: {before: ['job', '']}":             "want a name or a list of names",
		"x-gitops: {before: job, depends_on: {a: b}}": "x-gitops.depends_on: want a name or a list of names",
	} {
		t.Run(text, func(t *testing.T) {
			got := invalid(t, newFolder(t).write("web/compose.yaml", `services:
  app: {image: app}
  job: {image: job}
  forever: {image: app, restart: always}
  leader: {image: app}
  follower: {image: app, network_mode: "service:leader"}
  first: {image: app}
  second: {image: app, depends_on: [first]}
`+text))
			if !strings.Contains(got, want) {
				t.Errorf("it says %q, want %q", got, want)
			}
		})
	}
	own := invalid(t, newFolder(t).write("web/compose.yaml", "services: {app: {image: app, labels: {gitops.controller: 'true'}}, job: {image: job}}\nx-gitops: {before: job}"))
	if want := "the daemon's own stack can have no hooks"; !strings.Contains(own, want) {
		t.Errorf("it says %q, want %q", own, want)
	}
	valid(t, newFolder(t).write("web/compose.yaml", "services: {app: {image: app, labels: {gitops.ignore: 'true'}}}\nx-gitops: {before: nobody}"))
}

func TestStacksThatDependOnEachOtherAreRefused(t *testing.T) {
	f := newFolder(t).write("a/compose.yaml", "services: {app: {image: app}}\nx-gitops: {depends_on: b}").write("b/compose.yaml", "services: {app: {image: app}}\nx-gitops: {depends_on: [a]}")
	for _, p := range load(t, loader(f), f) {
		if want := "stacks need each other in a circle"; !strings.Contains(p.Invalid, want) {
			t.Errorf("%s says %q, want %q", p.Name, p.Invalid, want)
		}
	}
}

func TestWhatWasGoodRunsNoHooks(t *testing.T) {
	p := newPast(t, map[string]string{"web/compose.yaml": "services: {app: {image: app}, job: {image: job, volumes: ['./conf:/conf']}}\nx-gitops: {before: job}", "web/conf": "1"})
	if len(p.was.Hooks.Before) != 1 {
		t.Fatalf("hooks are %v", p.was.Hooks)
	}
	p.moveOn(map[string]string{"web/conf": "2"})
	was, err := p.back(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(was.Hooks.All()) != 0 || len(was.VolumeFiles()) != 0 || named(was.Services) != "app" {
		t.Errorf("hooks are %v, services %s", was.Hooks, named(was.Services))
	}
}

func TestLabelsThatHoldAStackAreNoPartOfIt(t *testing.T) {
	plain := valid(t, newFolder(t).write("web/compose.yaml", "services: {app: {image: app}}"))
	held := valid(t, newFolder(t).write("web/compose.yaml", "services: {app: {image: app, labels: {gitops.suspend: 'true', gitops.window: 'allow Sat 02:00-05:00'}}}"))
	if !held.Suspend || held.Window == nil || held.Window.String() != "allow Sat 02:00-05:00" || plain.Suspend || plain.Window != nil {
		t.Errorf("it is %v, %v", held.Suspend, held.Window)
	}
	if held.Digest != plain.Digest || held.Services[0].Hash != plain.Services[0].Hash {
		t.Error("they change the stack")
	}
	for labels, want := range map[string]string{
		"gitops.suspend: perhaps":         `services.app.labels: gitops.suspend is "perhaps", and can only be true or false`,
		"gitops.window: 'on Saturdays'":   `the label gitops.window: "on Saturdays": a rule begins with allow or deny`,
		"gitops.window: 'allow Caturday'": `"Caturday" is no day`,
	} {
		if got := invalid(t, newFolder(t).write("web/compose.yaml", "services: {app: {image: app, labels: {"+labels+"}}}")); !strings.Contains(got, want) {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}
