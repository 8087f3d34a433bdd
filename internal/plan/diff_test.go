package plan

import (
	"strings"
	"testing"
)

func TestDifferences(t *testing.T) {
	web := stack("web")
	completes := stack("web", app(func(s *Service) { s.Completes = true }))
	two := stack("web", app(func(s *Service) { s.Scale = 2 }))
	follower := stack("web", with("worker", func(s *Service) { s.Follows, s.Networks = []string{"app"}, nil }))
	replaced := func(r *Running) {
		r.Containers[0].ID, r.Containers[0].Created = "new", noon()
	}
	switchedOff := func(s *Stack) { s.Services, s.Disabled, s.Profiles = nil, []string{"app"}, []string{"tools"} }
	in := func(state string) func(*Running) { return first(func(c *Container) { c.State = state }) }
	for _, c := range []struct {
		name  string
		stack Stack
		runs  Running
		world func(*Observed)
		want  string
	}{
		{name: "nothing", stack: web, runs: running(web)},
		{name: "nothing runs", stack: web, want: "network web_default is missing, app is missing"},
		{name: "a deleted container", stack: stack("web", with("db")), runs: running(web), want: "db is missing"},
		{name: "a service of scale 0 needs no container", stack: stack("web", app(func(s *Service) { s.Scale = 0 })), runs: running(web, func(r *Running) { r.Containers = nil })},
		{name: "scaled down by hand", stack: two, runs: running(web), want: "app has 1 of 2 containers"},
		{name: "scaled up by hand", stack: web, runs: running(two), want: "app has 2 containers instead of 1"},
		{name: "another configuration", stack: stack("web", changed), runs: running(web), want: "web-app-1 has another configuration"},
		{name: "a retagged image", stack: web, runs: running(web), world: func(o *Observed) { o.Images["app:1"] = "id of another" }, want: "web-app-1 has another image than app:1 (id of app:1 → id of another)"},
		{name: "an image that was removed while it runs", stack: web, runs: running(web), world: func(o *Observed) { clear(o.Images) }},
		{name: "half replaced", stack: web, runs: running(web, first(func(c *Container) { c.Replacing = true })), want: "web-app-1 is half replaced"},
		{name: "a one-shot service that is done", stack: completes, runs: running(web, exited(0))},
		{name: "a one-shot service that failed", stack: completes, runs: running(web, exited(3)), want: "web-app-1 exited (3)"},
		{name: "a service that is to run and ended well", stack: web, runs: running(web, exited(0)), want: "web-app-1 exited (0)"},
		{name: "created", stack: web, runs: running(web, in("created")), want: "web-app-1 is created"},
		{name: "dead", stack: web, runs: running(web, in("dead")), want: "web-app-1 is dead"},
		{name: "paused", stack: web, runs: running(web, in("paused")), want: "web-app-1 is paused"},
		{name: "restarting is the engine's work", stack: web, runs: running(web, in("restarting"))},
		{name: "removing is the engine's work", stack: web, runs: running(web, in("removing"))},
		{name: "a container that is off its network", stack: web, runs: running(web, first(func(c *Container) { clear(c.Networks) })), want: "web-app-1 is not on network web_default"},
		{name: "a container on a network that was made anew", stack: web, runs: running(web), world: func(o *Observed) { o.Networks["web_default"] = "another" }, want: "web-app-1 is not on network web_default"},
		{name: "a missing network", stack: web, runs: running(web, withoutNetwork), world: func(o *Observed) { clear(o.Networks) }, want: "network web_default is missing"},
		{name: "a network made by hand is used", stack: web, runs: running(web, withoutNetwork), world: func(o *Observed) { o.Networks["web_default"] = "id of web_default" }},
		{name: "another definition of a network", stack: stack("web", func(s *Stack) { s.Networks[0].Hash = "n2" }), runs: running(web), want: "network web_default has another definition"},
		{name: "a network of unknown definition", stack: web, runs: running(web, func(r *Running) { r.Networks[0].Hash = "" })},
		{name: "a missing volume", stack: stack("web", volume("web_data", "v1")), runs: running(web), want: "volume web_data is missing"},
		{name: "an orphan", stack: web, runs: running(stack("web", with("old"))), want: "old is no service of the stack"},
		{name: "a service that its profile switched off", stack: stack("web", func(s *Stack) { s.Disabled = []string{"debug"} }), runs: running(stack("web", with("debug")))},
		{name: "every service switched off, and no network", stack: stack("web", switchedOff), world: func(o *Observed) { clear(o.Networks) }},
		{name: "every service switched off while one runs", stack: stack("web", switchedOff), runs: running(web)},
		{name: "every service switched off, and an orphan", stack: stack("web", switchedOff), runs: running(stack("web", with("old"))), want: "old is no service of the stack"},
		{name: "a container of compose run", stack: web, runs: running(stack("web", with("job")), func(r *Running) { r.Containers[1].OneOff = true })},
		{name: "a follower of what still runs", stack: follower, runs: running(follower, func(r *Running) { r.Containers[1].SharesNetworkOf = "web-app" })},
		{
			name: "a follower of a replaced container", stack: follower,
			runs: running(follower, replaced, func(r *Running) { r.Containers[1].SharesNetworkOf = "web-app" }),
			want: "web-worker-1 follows app, which was replaced",
		},
		{
			name: "a follower of one of several, of which another is younger", stack: follower,
			runs: running(follower, func(r *Running) {
				more := r.Containers[0]
				more.ID, more.Created = "second", noon()
				r.Containers[1].SharesNetworkOf = "web-app"
				r.Containers = append(r.Containers, more)
			}),
			want: "app has 2 containers instead of 1",
		},
		{
			name: "a follower by volumes of a replaced container", stack: follower, runs: running(follower, replaced),
			want: "web-worker-1 follows app, which was replaced",
		},
		{
			name: "a follower that is older and exited is told as that", stack: follower,
			runs: running(follower, replaced, func(r *Running) { r.Containers[1].State = "exited" }),
			want: "web-worker-1 exited (0)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := world(nil, projects(c.runs)).Observed
			if c.world != nil {
				c.world(&o)
			}
			if got := texts(Differences(c.stack, c.runs, o)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestOnlyDefinitionsCountAsAChangeOfConfiguration(t *testing.T) {
	web := stack("web", with("db"), volume("web_data", "v1"))
	r := running(stack("web", with("db"), with("old")), func(r *Running) {
		r.Containers[0].Hash = "other"
		r.Containers[1].State = "exited"
		r.Networks[0].Hash = "other"
	})
	var config, state []string
	for _, d := range Differences(web, r, world(nil, projects(r)).Observed) {
		if d.Config {
			config = append(config, d.Text)
		} else {
			state = append(state, d.Text)
		}
	}
	if got, want := strings.Join(config, ", "), "network web_default has another definition, web-app-1 has another configuration, old is no service of the stack"; got != want {
		t.Errorf("configuration: got %s, want %s", got, want)
	}
	if got, want := strings.Join(state, ", "), "volume web_data is missing, web-db-1 exited (0)"; got != want {
		t.Errorf("state: got %s, want %s", got, want)
	}
}

func TestOnlyAContainerThatEndedCountsAsCrashed(t *testing.T) {
	web := stack("web")
	for _, c := range []struct {
		runs Running
		want bool
	}{
		{running(web, exited(1)), true},
		{running(web, first(func(c *Container) { c.State = "paused" })), false},
		{running(web, first(func(c *Container) { c.Hash = "other" })), false},
	} {
		p := Build(world(stacks(web), projects(c.runs)), Policy{Heal: true})
		if got := p.Ops[0].Crashed; got != c.want {
			t.Errorf("%s: got %v", p, got)
		}
	}
}

func TestAViewSaysWhatIsWrong(t *testing.T) {
	web := stack("web")
	health := func(h string) func(*Running) { return first(func(c *Container) { c.Health = h }) }
	for _, c := range []struct {
		name     string
		runs     Running
		problems string
		starting bool
	}{
		{name: "well", runs: running(web, health("healthy"))},
		{name: "not healthy yet", runs: running(web, health("starting")), starting: true},
		{name: "unhealthy", runs: running(web, health("unhealthy")), problems: "app is unhealthy"},
		{name: "a crash loop", runs: running(web, first(func(c *Container) { c.State, c.ExitCode = "restarting", 2 })), problems: "app keeps crashing (exit code 2)"},
		{name: "a difference", runs: running(web, exited(1)), problems: "web-app-1 exited (1)"},
		{
			name: "an unhealthy container of compose run is its owner's",
			runs: running(web, func(r *Running) {
				r.Containers = append(r.Containers, r.Containers[0])
				r.Containers[1].OneOff, r.Containers[1].Health = true, "unhealthy"
			}),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Build(world(stacks(web), projects(c.runs)), Policy{}).Views[0]
			problems := v.Problems
			if len(v.Differences) > 0 {
				problems = append([]string{texts(v.Differences)}, problems...)
			}
			if got := strings.Join(problems, ", "); got != c.problems || v.Starting != c.starting {
				t.Errorf("got %q, starting %v; want %q, %v", got, v.Starting, c.problems, c.starting)
			}
			if v.Settled() != (c.problems == "") {
				t.Errorf("settled: %v", v.Settled())
			}
		})
	}
}

func TestAPlanPrintsItself(t *testing.T) {
	p := Plan{
		To: "9f3c21e0aa",
		Ops: []Op{
			{Kind: Stop, Stack: "old", Cause: Cause{Why: Removed}},
			{Kind: Checkout, Cause: Cause{Detail: "from 1a2b3c4"}},
			{Kind: Pull, Stack: "web", Cause: Cause{Why: Changed, Detail: "web has another image"}},
		},
		Held: []Held{
			{Stack: "bad", Reason: HeldInvalid, Detail: "no image"},
			{File: "x/compose.yaml", Reason: HeldInvalid, Detail: "no name"},
			{Reason: HeldEmpty, Detail: "no stack"},
		},
		Views: []View{
			{Name: "gone"},
			{Name: "quiet", Wanted: &Stack{Name: "quiet"}},
			{Name: "web", Wanted: &Stack{Name: "web", Warnings: []string{"variable A is not set", "variable B is not set"}}},
		},
	}
	want := unindent(`stop old: removed
		checkout 9f3c21e: from 1a2b3c4
		pull web: changed: web has another image
		hold bad: invalid: no image
		hold x/compose.yaml: invalid: no name
		hold everything: empty: no stack
		warn web: variable A is not set, variable B is not set`)
	if got := p.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := (Plan{}).String(); got != "" {
		t.Errorf("an empty plan prints %q", got)
	}
}
