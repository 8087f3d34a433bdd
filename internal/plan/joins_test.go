package plan

import "testing"

func TestWhoLivesInAContainerOfAnotherStackFollowsIt(t *testing.T) {
	vpn := stack("vpn", app(func(s *Service) { s.ContainerName, s.Image = "vpn", "vpn:1" }))
	joins := func(s *Service) { s.Joins, s.NetworkFrom, s.Networks = []string{"vpn"}, "vpn", nil }
	web := stack("web", app(joins))
	in := func(leader string) func(*Running) {
		return first(func(c *Container) { c.SharesNetworkOf = leader })
	}
	here := func(st *State) { st.Observed.Images["vpn:1"] = "id of vpn:1" }
	was := func(st *State) { st.Memory["vpn"], st.Memory["web"] = applied(vpn), applied(web) }
	pid := stack("web", app(func(s *Service) { s.Joins = []string{"vpn"} }))
	run(t, []buildCase{
		{
			name:  "both are new",
			state: world(stacks(vpn, web), nil, here),
			want: `up vpn: new
				up web: new (after up vpn)`,
		},
		{
			name:  "nothing has changed",
			state: world(stacks(vpn, web), projects(running(vpn), running(web, in("vpn-app"))), here, was),
		},
		{
			name:  "the owner changes",
			state: world(stacks(stack("vpn", app(func(s *Service) { s.ContainerName, s.Image, s.Hash = "vpn", "vpn:1", "h2" })), web), projects(running(vpn), running(web, in("vpn-app"))), here, was, commit),
			want: `checkout 2222222: from 1111111
				up vpn: drift: vpn has another configuration
				up web: drift: app follows vpn of vpn, which is brought up (after up vpn)`,
		},
		{
			name:  "another service of the owner's stack changes",
			state: world(stacks(stack("vpn", app(func(s *Service) { s.ContainerName, s.Image = "vpn", "vpn:1" }), with("db", func(s *Service) { s.ContainerName = "" })), web), projects(running(vpn), running(web, in("vpn-app"))), here, commit),
			want: `checkout 2222222: from 1111111
				up vpn: drift: db is missing`,
		},
		{
			name:  "the owner has ended and is started",
			state: world(stacks(vpn, pid), projects(running(vpn, exited(1)), running(pid)), here, was),
			want: `stop web (app): drift: app follows vpn of vpn, which is brought up
				up vpn: drift: vpn exited (1) (after stop web)
				up web: drift: app follows vpn of vpn, which is brought up (after stop web, up vpn)`,
		},
		{
			name:  "the owner was replaced by somebody else",
			state: world(stacks(vpn, web), projects(running(vpn), running(web, in("gone"))), here, was),
			want:  `up web: drift: web-app-1 follows vpn, which was replaced`,
		},
		{
			name:  "the owner was replaced, and its process ids are shared",
			state: world(stacks(vpn, pid), projects(running(vpn, first(func(c *Container) { c.Created = noon() })), running(pid)), here, was),
			want:  `up web: drift: web-app-1 follows vpn, which was replaced`,
		},
		{
			name:  "the owner is of no stack, and there",
			state: world(stacks(web), nil, func(st *State) { st.Observed.Others = []Container{{ID: "other", Name: "vpn", State: "running"}} }),
			want:  `up web: new`,
		},
		{
			name:  "the owner is of no stack, and was made anew",
			state: world(stacks(web), projects(running(web, in("gone"))), was, func(st *State) { st.Observed.Others = []Container{{ID: "other", Name: "vpn", State: "running"}} }),
			want:  `up web: drift: web-app-1 follows vpn, which was replaced`,
		},
		{
			name:  "nobody makes the owner",
			state: world(stacks(web), nil),
			want:  `hold web: needs: it needs container vpn, which is not there and which no stack makes`,
		},
		{
			name:  "nobody makes the owner any more",
			state: world(stacks(web), projects(running(web, in("vpn-app"))), was),
			want:  `hold web: needs: it needs container vpn, which is not there and which no stack makes`,
		},
		{
			name:   "the owner has ended, and is not repaired",
			state:  world(stacks(vpn, stack("web", app(joins), changed)), projects(running(vpn, exited(1)), running(web, in("vpn-app"))), here, was, commit),
			noHeal: true,
			want: `checkout 2222222: from 1111111
				hold vpn: drift: drifted (vpn exited (1)); not repaired because SELF_HEAL=false
				hold web: needs: it needs container vpn of vpn, which does not run (drift: drifted (vpn exited (1)); not repaired because SELF_HEAL=false)`,
		},
		{
			name:  "the owner is held",
			state: world(stacks(stack("vpn", app(func(s *Service) { s.ContainerName, s.Image = "vpn", "vpn:1" }), func(s *Stack) { s.Edited = []string{"vpn/compose.yaml"} }), web), nil, here),
			want: `hold vpn: local: vpn/compose.yaml was changed by hand in the clone; commit that or undo it there (git checkout -- vpn/compose.yaml), or set REPOSITORY_LOCAL_CHANGES=keep
				hold web: needs: it needs container vpn of vpn, which is not there (local: vpn/compose.yaml was changed by hand in the clone; commit that or undo it there (git checkout -- vpn/compose.yaml), or set REPOSITORY_LOCAL_CHANGES=keep)`,
		},
		{
			name:  "who follows is held, and left alone",
			state: world(stacks(stack("vpn", app(func(s *Service) { s.ContainerName, s.Image, s.Hash = "vpn", "vpn:1", "h2" })), stack("web", app(joins), invalid("it is broken"))), projects(running(vpn), running(web, in("vpn-app"))), here),
			want: `up vpn: changed: vpn has another configuration
				hold web: invalid: it is broken`,
		},
		{
			name: "who follows is followed",
			state: world(stacks(stack("a", app(func(s *Service) { s.Joins = []string{"web-app-1"} })), stack("vpn", app(func(s *Service) { s.ContainerName, s.Image, s.Hash = "vpn", "vpn:1", "h2" })), web),
				projects(running(stack("a")), running(vpn), running(web, in("vpn-app"))), here),
			want: `up vpn: changed: vpn has another configuration
				up web: changed: app follows vpn of vpn, which is brought up (after up vpn)
				up a: changed: app follows web-app-1 of web, which is brought up (after up web)`,
		},
	})
}

func TestStacksThatJoinEachOtherAreInvalid(t *testing.T) {
	in := func(name string) func(*Stack) { return app(func(s *Service) { s.Joins = []string{name} }) }
	all := stacks(stack("a", in("b-app-1")), stack("b", in("a-app-1")), stack("c", in("a-app-1")))
	Cycles(all)
	if all[0].Invalid != "stacks need each other in a circle: a -> b -> a" || all[1].Invalid == "" || all[2].Invalid != "" {
		t.Errorf("%q, %q, %q", all[0].Invalid, all[1].Invalid, all[2].Invalid)
	}
}
