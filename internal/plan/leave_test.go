package plan

import "testing"

func TestNetworksOfAStackThatGoesAreLeftToOthersOnThem(t *testing.T) {
	web, guest := stack("web"), stack("guest", needs("web_default"))
	blog := stack("blog", func(s *Stack) { s.File = web.File })
	stays := stack("guest", func(s *Stack) { s.Services[0].Networks = append(s.Services[0].Networks, "web_default") })
	run(t, []buildCase{
		{
			name:  "its containers go, and who takes its place comes",
			state: world(stacks(blog, stays), projects(running(web), running(guest)), remember("web", applied(web))),
			want: `stop web: moved: to blog
				up blog: moved: from web (after stop web)`,
		},
		{
			name:  "nothing is left but the network",
			state: world(stacks(blog, stays), projects(running(web, onlyNetworks), running(blog), running(guest)), remember("web", applied(web))),
		},
		{
			name: "nothing is left but the network, and who is on it goes on after all",
			state: world(stacks(blog, stack("heir", invalid("it is broken"), func(s *Stack) { s.File = guest.File })),
				projects(running(web, onlyNetworks), running(blog), running(guest)), remember("web", applied(web)), remember("guest", applied(guest))),
			want: `hold heir: invalid: it is broken`,
		},
		{
			name:  "nobody is on it any more",
			state: world(stacks(blog), projects(running(web, onlyNetworks), running(blog)), remember("web", applied(web))),
			want:  `stop web: moved: to blog`,
		},
	})
	st := world(stacks(blog, stays), projects(running(web), running(guest)), remember("web", applied(web)))
	if got := Build(st, Policy{Heal: true}).Ops[0].Leave; len(got) != 1 || got[0] != "web_default" {
		t.Errorf("the stop leaves %v", got)
	}
}

func TestANetworkKeepsItsNameWhenItsStackMoves(t *testing.T) {
	named := func(hash string) func(*Stack) {
		return func(s *Stack) {
			s.Networks = []Resource{{Name: "shared", Hash: hash}}
			s.Services[0].Networks = []string{"shared"}
		}
	}
	web := stack("web", named("n1"))
	blog := stack("blog", named("n2"), func(s *Stack) { s.File = web.File })
	guest := stack("guest", needs("shared"))
	run(t, []buildCase{{
		name:  "and gets another definition: who is on it goes off it before, and comes back",
		state: world(stacks(blog, guest), projects(running(web), running(guest)), remember("web", applied(web)), remember("guest", applied(guest))),
		want: `stop guest (app): changed: network shared of blog is made anew
			stop web: moved: to blog
			up blog: moved: from web (after stop guest, stop web)
			up guest: changed: network shared of blog is made anew (after stop guest, up blog)`,
	}})
}
