package plan

import "testing"

// hooks gives a stack a before hook, migrate, and an after hook, smoke.
func hooks(s *Stack) {
	hook := func(name, image string) Service {
		return Service{Name: name, Hash: "h1", Image: image, Pull: PullMissing, Scale: 1, Networks: []string{s.Name + "_default"}}
	}
	s.Hooks = Hooks{Before: []Service{hook("migrate", "app:1")}, After: []Service{hook("smoke", "smoke:1")}}
	s.Disabled = []string{"migrate", "smoke"}
}

func dependsOn(names ...string) func(*Stack) { return func(s *Stack) { s.DependsOn = names } }

func imageHere(ref string) func(*State) {
	return func(st *State) { st.Observed.Images[ref] = "id of " + ref }
}

func TestHooks(t *testing.T) {
	web := stack("web", hooks)
	next := stack("web", hooks, changed)
	begun := Record{File: web.File, Applied: "web-0", Tried: web.Digest}
	run(t, []buildCase{
		{
			name:  "a new stack has its hooks around it, and their images come first",
			state: world(stacks(web), nil),
			want: `pull web: new
				before hook web (migrate): new
				up web: new (then the after hook: smoke)`,
		},
		{
			name:  "so has a change, after the checkout",
			state: world(stacks(next), projects(running(web)), remember("web", applied(web)), imageHere("smoke:1"), commit),
			want: `checkout 2222222: from 1111111
				before hook web (migrate): changed: web-app-1 has another configuration
				up web: changed: web-app-1 has another configuration (then the after hook: smoke)`,
		},
		{
			name:  "a repair has none, and needs none of their images",
			state: world(stacks(web), projects(running(web, exited(1))), remember("web", applied(web))),
			want:  "up web: drift: web-app-1 exited (1)",
		},
		{
			name:  "hooks that change alone are no reason for an update",
			state: world(stacks(stack("web", hooks, func(s *Stack) { s.Digest = "web-2"; s.Hooks.Before[0].Hash = "h2" })), projects(running(web)), remember("web", applied(web))),
		},
		{
			name:  "what came up, and whose after hook has not succeeded, is not done, and its before hook is not run again",
			state: world(stacks(web), projects(running(web)), remember("web", begun), imageHere("smoke:1")),
			want:  "up web: changed: its after hook has not succeeded (then the after hook: smoke)",
		},
		{
			name: "after it has failed there is a pause",
			state: world(stacks(web), projects(running(web)), remember("web", Record{
				File: web.File, Applied: "web-0", Tried: web.Digest, Failed: web.Digest, Error: "the after hook smoke ended with 1", RetryAt: noon().Add(10),
			})),
			want: "hold web: retry: the after hook smoke ended with 1",
		},
		{
			name:  "what was rolled back has none",
			state: world(stacks(stack("web", hooks, func(s *Stack) { s.Back = &Back{To: "1111111aaa", From: "2222222bbb", Error: "it broke"} })), projects(running(next)), remember("web", Record{File: web.File, Applied: "web-0", Tried: next.Digest})),
			want:  "up web: rolled back: from 2222222 to 1111111, as it failed: it broke",
		},
		{
			name: "nothing is stopped for a stack that moves before its hook has succeeded, nor does the checkout wait for that stop",
			state: world(stacks(stack("blog", hooks, app(func(v *Service) { v.Image = "app:1" }))), projects(running(stack("weblog"))), func(st *State) {
				st.Before = stacks(stack("weblog"))
				st.Memory["weblog"] = Record{File: "weblog/compose.yaml", Applied: "weblog-1", Tried: "weblog-1"}
				st.Observed.Images["smoke:1"] = "id of smoke:1"
			}, commit),
			want: `checkout 2222222: from 1111111
				before hook blog (migrate): moved: from weblog
				stop weblog: moved: to blog (after before hook blog)
				up blog: moved: from weblog (then the after hook: smoke) (after stop weblog)`,
		},
		{
			name:  "a hook that needs the network of another stack comes after it",
			state: world(stacks(stack("web", hooks, needs("proxy_default")), stack("proxy")), nil, imageHere("smoke:1")),
			want: `up proxy: new
				before hook web (migrate): new (after up proxy)
				up web: new (then the after hook: smoke) (after up proxy)`,
		},
	})
}

func TestStacksThatDependOnOthers(t *testing.T) {
	web, proxy := stack("web", dependsOn("proxy")), stack("proxy")
	run(t, []buildCase{
		{
			name:  "they come up after them",
			state: world(stacks(web, proxy), nil),
			want: `up proxy: new
				up web: new (after up proxy)`,
		},
		{
			name:  "and alone if those run, whatever their state is",
			state: world(stacks(web, proxy), projects(running(proxy, exited(1))), remember("proxy", failed("proxy-1", 10))),
			want: `up web: new
				hold proxy: retry: it broke`,
		},
		{
			name:  "and not if those can't",
			state: world(stacks(web, stack("proxy", invalid("services.app.image must be a string"))), nil),
			want: `hold proxy: invalid: services.app.image must be a string
				hold web: needs: it depends on stack proxy (x-gitops.depends_on), which does not run (invalid: services.app.image must be a string)`,
		},
		{
			name:  "nor if there are none",
			state: world(stacks(web), nil),
			want:  "hold web: needs: it depends on stack proxy (x-gitops.depends_on), which git does not have",
		},
		{
			name:  "what runs is left alone",
			state: world(stacks(web), projects(running(web)), remember("web", applied(web))),
		},
		{
			name:  "one that is ignored is its owner's",
			state: world(stacks(web, stack("proxy", mode(Ignored))), nil),
			want:  "up web: new",
		},
		{
			name: "they stop before them",
			state: world(nil, projects(running(proxy), running(web)), remember("web", applied(web)), remember("proxy", applied(proxy)), func(st *State) {
				st.Before = stacks(web, proxy)
				st.Wanted = stacks(stack("other", app(func(v *Service) { v.Name, v.Image = "api", "api:1" })))
				st.Observed.Images["api:1"] = "id of api:1"
			}, commit),
			want: `stop web: removed
				stop proxy: removed
				checkout 2222222: from 1111111
				up other: new`,
		},
	})
}

func TestCirclesOfDependencies(t *testing.T) {
	all := stacks(stack("a", dependsOn("b")), stack("b", needs("c_default")), stack("c", dependsOn("a")), stack("d", dependsOn("a")))
	Cycles(all)
	if want := "stacks need each other in a circle: a -> b -> c -> a"; all[0].Invalid != want {
		t.Errorf("got %q, want %q", all[0].Invalid, want)
	}
	if all[3].Invalid != "" {
		t.Errorf("d is in no circle: %s", all[3].Invalid)
	}
}
