package plan

import (
	"slices"
	"testing"
)

func TestNetworksOfAStackThatGoesAreLeftToOthersOnThem(t *testing.T) {
	web, guest := stack("web"), stack("guest", needs("web_default"))
	blog := stack("blog", func(s *Stack) { s.File = web.File })
	stays := stack("guest", func(s *Stack) { s.Services[0].Networks = append(s.Services[0].Networks, "web_default") })
	run(t, []buildCase{
		{
			name:  "its containers go, and who takes its place comes",
			state: world(stacks(blog, stays), projects(running(web), running(guest)), remember("web", applied(web))),
			want: `stop web: moved: to blog; network web_default is kept, used by guest
				up blog: moved: from web (after stop web)`,
		},
		{
			name: "it goes, and who is on it is of no stack",
			state: world(nil, projects(running(web)), remember("web", applied(web)), func(st *State) {
				st.Observed.Strangers = map[string][]string{"web_default": {"mine"}}
			}),
			allowEmpty: true,
			want:       `stop web: removed: network web_default is kept, used by container mine`,
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

func TestTheOwnerOfASharedNetworkChanges(t *testing.T) {
	makes := func(hash string) func(*Stack) {
		return func(s *Stack) {
			s.Networks = append(s.Networks, Resource{Name: "shared", Hash: hash})
			s.Services[0].Networks = append(slices.Clone(s.Services[0].Networks), "shared")
		}
	}
	web, shop, guest := stack("web", makes("n1")), stack("shop", needs("shared")), stack("guest", needs("shared"))
	owner := func(s Stack, project string) Stack {
		s.Services[0].Networks = []string{project + "_default", "shared"}
		return s
	}
	web, shop = owner(web, "web"), owner(shop, "shop")
	was := func(st *State) {
		st.Memory["web"], st.Memory["shop"], st.Memory["guest"] = applied(web), applied(shop), applied(guest)
	}
	all := projects(running(web), running(shop))
	run(t, []buildCase{
		{
			name:  "the old one is removed",
			state: world(stacks(stack("shop", makes("n1"), changed)), all, was, commit),
			want: `stop web: removed: network shared is kept, used by shop
				checkout 2222222: from 1111111
				up shop: changed: shop-app-1 has another configuration`,
		},
		{
			name:  "the old one is removed, and the network has another definition",
			state: world(stacks(stack("shop", makes("n2"), changed)), all, was, commit),
			want: `stop web: removed: network shared is kept, used by shop
				checkout 2222222: from 1111111
				up shop: changed: shop-app-1 has another configuration (after stop web)`,
		},
		{
			name:  "the old one was removed before",
			state: world(stacks(stack("shop", makes("n2"), changed)), projects(running(web, onlyNetworks), running(shop)), was, commit),
			want: `stop web: removed: network shared is kept, used by shop
				checkout 2222222: from 1111111
				up shop: changed: shop-app-1 has another configuration (after stop web)`,
		},
		{
			name:  "the old one stays without it",
			state: world(stacks(stack("shop", makes("n2"), changed), stack("web", changed)), all, was, commit),
			want: `stop web (app): changed: network shared of shop is made anew
				checkout 2222222: from 1111111
				up shop: changed: shop-app-1 has another configuration (after stop web)
				up web: changed: web-app-1 has another configuration (after stop web, up shop)`,
		},
		{
			name:  "the old one keeps it",
			state: world(stacks(stack("shop", makes("n2"), changed), web), all, was, commit),
			want: `checkout 2222222: from 1111111
				hold shop: network: network shared is made by web (web/compose.yaml), too, with another definition; declare it as external in one of the two, or give it another name`,
		},
		{
			name:  "it is of a project that is not ours",
			state: world(stacks(stack("shop", makes("n2"))), projects(running(web, notOurs))),
			want:  `hold shop: network: the definition of network shared changed, and it is still web's; remove it (docker network rm shared), or give the network another name`,
		},
		{
			name:  "a third one is on it",
			state: world(stacks(guest, stack("shop", makes("n2"), changed)), projects(running(guest), running(web), running(shop)), was, commit),
			want: `stop guest (app): changed: network shared of shop is made anew
				stop web: removed: network shared is kept, used by shop
				checkout 2222222: from 1111111
				up shop: changed: shop-app-1 has another configuration (after stop guest, stop web)
				up guest: changed: network shared of shop is made anew (after stop guest, up shop)`,
		},
	})
	st := world(stacks(stack("shop", makes("n2"), changed)), all, was, commit)
	for _, op := range Build(st, Policy{Heal: true}).Ops {
		if o := op.Orders; op.Kind == Up && (!slices.Equal(o.Networks, []string{"shared"}) || !slices.Equal(o.Recreate, []string{"app"})) {
			t.Errorf("orders: %+v", o)
		}
	}
}
