package plan

import "testing"

func TestAContainersNameThatAnotherHasOrWants(t *testing.T) {
	named := func(name string) func(*Stack) { return app(func(s *Service) { s.ContainerName = name }) }
	web, shop := stack("web", named("proxy")), stack("shop", named("proxy"))
	other := func(name string) func(*State) {
		return func(st *State) { st.Observed.Others = []Container{{ID: "stranger", Name: name, State: "exited"}} }
	}
	const ways = "; give one of them another container_name:, or remove the one that is not needed"
	run(t, []buildCase{
		{
			name:  "two new stacks want it",
			state: world(stacks(shop, web), nil),
			want: `hold shop: name: service app wants the container name proxy, and so does service app of web (web/compose.yaml)` + ways + `
				hold web: name: service app wants the container name proxy, and so does service app of shop (shop/compose.yaml)` + ways,
		},
		{
			name:  "the one that has it goes on, also when it changes",
			state: world(stacks(shop, stack("web", named("proxy"), changed)), projects(running(web)), commit, remember("web", applied(web))),
			want: `checkout 2222222: from 1111111
				up web: changed: proxy has another configuration
				hold shop: name: service app wants the container name proxy, which service app of web (web/compose.yaml) has` + ways,
		},
		{
			name:  "one that runs with another name wants it, too",
			state: world(stacks(stack("shop", named("proxy"), changed), web), projects(running(stack("shop")), running(web)), commit),
			want: `checkout 2222222: from 1111111
				hold shop: name: service app wants the container name proxy, which service app of web (web/compose.yaml) has` + ways,
		},
		{
			name:  "another stack is broken or ignored, and nothing runs of it",
			state: world(stacks(stack("a", named("proxy"), mode(Ignored)), stack("b", named("proxy"), invalid("it is broken")), web), nil),
			want: `up web: new
				hold b: invalid: it is broken`,
		},
		{
			name:  "a container of no project has it",
			state: world(stacks(web), nil, other("proxy")),
			want:  `hold web: name: service app wants the container name proxy, which a container has that belongs to no stack` + ways,
		},
		{
			name:  "a container of no project has a name that Compose makes up",
			state: world(stacks(stack("web")), nil, other("web-app-1")),
			want:  `hold web: name: service app wants the container name web-app-1, which a container has that belongs to no stack` + ways,
		},
		{
			name:  "a project that is not ours has it",
			state: world(stacks(web), projects(running(stack("theirs", named("proxy")), notOurs))),
			want:  `hold web: name: service app wants the container name proxy, which a container of project theirs has that does not come from this repository (it comes from /home/mia/web)` + ways,
		},
		{
			name:  "a container of docker compose run has it",
			state: world(stacks(web), projects(running(web, first(func(c *Container) { c.OneOff = true })))),
			want:  `hold web: name: service app wants the container name proxy, which a container has that docker compose run made of service app of web` + ways,
		},
		{
			name:  "a service that its profiles switch off has it",
			state: world(stacks(stack("web", changed, named("proxy"), func(s *Stack) { s.Disabled = []string{"old"} })), projects(running(stack("web", named("x"), with("old", func(s *Service) { s.ContainerName = "proxy" }))))),
			want:  `hold web: name: service app wants the container name proxy, which service old of web has, which its profiles switch off` + ways,
		},
		{
			name:  "the daemon's own container has it",
			state: world(stacks(stack("gitops", mode(Controller), named("daemon")), stack("web", named("daemon"))), projects(running(stack("gitops", mode(Controller), named("daemon")), isSelf)), remember("gitops", applied(stack("gitops")))),
			want:  `hold web: name: service app wants the container name daemon, which service app of gitops (gitops/compose.yaml) has` + ways,
		},
	})
}

func TestAContainersNameThatChangesHands(t *testing.T) {
	named := func(name string) func(*Stack) {
		return app(func(s *Service) { s.ContainerName = name; s.Hash = "h of " + name })
	}
	web, shop := stack("web", named("a")), stack("shop", named("b"))
	run(t, []buildCase{
		{
			name:  "two stacks swap names",
			state: world(stacks(stack("shop", named("a")), stack("web", named("b"))), projects(running(shop), running(web)), commit),
			want: `stop shop (app): changed: container name b goes to web
				stop web (app): changed: container name a goes to shop
				checkout 2222222: from 1111111
				up shop: changed: b has another configuration (after stop shop, stop web)
				up web: changed: a has another configuration (after stop shop, stop web)`,
		},
		{
			name:  "it goes to another stack, and the one that had it takes a new one",
			state: world(stacks(stack("shop", named("a")), stack("web", named("c"))), projects(running(shop), running(web)), commit),
			want: `checkout 2222222: from 1111111
				up web: changed: a has another configuration
				up shop: changed: b has another configuration (after up web)`,
		},
		{
			name:  "a replacement was cut off that was to have it, and it is given back",
			state: world(stacks(shop, web), projects(running(shop, first(func(c *Container) { c.Name, c.Replacing, c.Hash = "0123456789ab_a", true, "h of a" })), running(web))),
			want:  `up shop: changed: 0123456789ab_a has another configuration`,
		},
		{
			name:  "a container was given another name by hand",
			state: world(stacks(web), projects(running(web, first(func(c *Container) { c.Name = "mine" }))), remember("web", applied(web))),
			want:  `up web: drift: mine has another name than a`,
		},
	})
}
