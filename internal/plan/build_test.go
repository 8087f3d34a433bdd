package plan

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"
)

type buildCase struct {
	name  string
	state State
	// noHeal and allowEmpty are the policy; the defaults are SELF_HEAL=true
	// and ALLOW_EMPTY=false.
	noHeal, allowEmpty bool
	// loses are the targets at which a new container would mount something empty
	// in place of what has content.
	loses []string
	// unsure are those at which nobody could find out.
	unsure []string
	want   string
}

func run(t *testing.T, cases []buildCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			policy := Policy{Heal: !c.noHeal, AllowEmpty: c.allowEmpty}
			c.state.Losses = map[Doubt]bool{}
			for _, d := range Doubts(c.state, policy) {
				if slices.Contains(c.unsure, cmp.Or(d.New.Target, d.Old.Source)) {
					continue
				}
				c.state.Losses[d] = slices.Contains(c.loses, cmp.Or(d.New.Target, d.Old.Source))
			}
			got := Build(c.state, policy).String()
			if want := unindent(c.want); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func unindent(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return ""
	}
	return strings.ReplaceAll(s, "\t", "") + "\n"
}

func applied(s Stack) Record { return Record{File: s.File, Applied: s.Digest, Tried: s.Digest} }

func failed(digest string, pause time.Duration) Record {
	return Record{Tried: digest, Failed: digest, Error: "it broke", Failures: 1, RetryAt: noon().Add(pause)}
}

func TestWantedStacks(t *testing.T) {
	web := stack("web")
	next := stack("web", changed)
	moved := stack("web", func(s *Stack) { s.File = "apps/web/compose.yaml" })
	data := stack("web", volume("web_data", "v1"))
	run(t, []buildCase{
		{
			name:  "a new stack is pulled and brought up after the checkout",
			state: world(stacks(stack("web", app(func(s *Service) { s.Image = "app:2" }))), nil, commit),
			want: `checkout 2222222: from 1111111
				pull web: new
				up web: new`,
		},
		{
			name:  "an image that is here is not pulled",
			state: world(stacks(web), nil),
			want:  `up web: new`,
		},
		{
			name:  "an image that is to be pulled always is, with a new stack",
			state: world(stacks(stack("web", app(func(s *Service) { s.Pull = PullAlways }))), nil),
			want: `pull web: new
				up web: new`,
		},
		{
			name:  "an image that is never pulled is not, even if it lacks",
			state: world(stacks(stack("web", app(func(s *Service) { s.Pull, s.Image = PullNever, "own:1" }))), nil),
			want:  `up web: new`,
		},
		{
			name:  "a stack that runs as it is wanted is left alone",
			state: world(stacks(web), projects(running(web))),
		},
		{
			name:  "a commit that changes nothing of a stack only moves the clone",
			state: world(stacks(web), projects(running(web)), commit),
			want:  `checkout 2222222: from 1111111`,
		},
		{
			name:  "a changed stack is updated",
			state: world(stacks(next), projects(running(web)), commit, remember("web", applied(web))),
			want: `checkout 2222222: from 1111111
				up web: changed: web-app-1 has another configuration`,
		},
		{
			name:  "a changed stack is updated when nothing is remembered of it",
			state: world(stacks(next), projects(running(web))),
			want:  `up web: changed: web-app-1 has another configuration`,
		},
		{
			name:   "a changed stack is updated when healing is off",
			state:  world(stacks(next), projects(running(web)), remember("web", applied(web))),
			noHeal: true,
			want:   `up web: changed: web-app-1 has another configuration`,
		},
		{
			name:  "a drift is healed",
			state: world(stacks(web), projects(running(web, exited(137))), remember("web", applied(web))),
			want:  `up web: drift: web-app-1 exited (137)`,
		},
		{
			name:  "a drift is healed when nothing is remembered of the stack",
			state: world(stacks(web), projects(running(web, exited(137)))),
			want:  `up web: drift: web-app-1 exited (137)`,
		},
		{
			name:  "another configuration without a change in git is a drift",
			state: world(stacks(web), projects(running(next)), remember("web", applied(web))),
			want:  `up web: drift: web-app-1 has another configuration`,
		},
		{
			name: "a repair takes the images that are here",
			state: world(stacks(stack("web", app(func(s *Service) { s.Pull = PullAlways }))), projects(running(web, exited(1))),
				remember("web", applied(web))),
			want: `up web: drift: web-app-1 exited (1)`,
		},
		{
			name:   "a drift is held when healing is off",
			state:  world(stacks(web), projects(running(web, exited(137))), remember("web", applied(web))),
			noHeal: true,
			want:   `hold web: drift: drifted (web-app-1 exited (137)); not repaired because SELF_HEAL=false`,
		},
		{
			name: "a repair that was begun and failed is tried again when healing is off",
			state: world(stacks(web), projects(running(web, exited(137))),
				remember("web", Record{Applied: "web-1", Tried: "web-1", Failed: "web-1", RetryAt: noon().Add(-time.Second)})),
			noHeal: true,
			want:   `up web: drift: web-app-1 exited (137)`,
		},
		{
			name: "going back in git after a failed update is a change, when healing is off too",
			state: world(stacks(web), projects(running(next)),
				remember("web", Record{Applied: "web-1", Tried: "web-1+", Failed: "web-1+", RetryAt: noon().Add(time.Hour)})),
			noHeal: true,
			want:   `up web: changed: web-app-1 has another configuration`,
		},
		{
			name:  "an invalid stack keeps what runs",
			state: world(stacks(stack("web", invalid("no image"))), projects(running(web)), commit),
			want: `checkout 2222222: from 1111111
				hold web: invalid: no image`,
		},
		{
			name:  "an invalid stack that moved to another folder keeps what runs",
			state: world(stacks(stack("web", invalid("no image"), func(s *Stack) { s.File = "apps/web/compose.yaml" })), projects(running(web))),
			want:  `hold web: invalid: no image`,
		},
		{
			name:  "an invalid stack whose name can't be read keeps what runs of its file",
			state: world(stacks(stack("web", invalid("not YAML"), func(s *Stack) { s.Name = "folder" })), projects(running(web))),
			want:  `hold folder: invalid: not YAML`,
		},
		{
			name: "two files with one name are both held, and what runs stays",
			state: world(stacks(stack("web", invalid("name is taken")), stack("web", invalid("name is taken"), func(s *Stack) { s.File = "b/compose.yaml" })),
				projects(running(web))),
			want: `hold web: invalid: name is taken
				hold web: invalid: name is taken`,
		},
		{
			name:  "an ignored stack is not started, updated or healed",
			state: world(stacks(stack("a", mode(Ignored)), stack("b", mode(Ignored), changed)), projects(running(stack("b"), exited(1)))),
		},
		{
			name:  "a stack whose name a foreign project has is held",
			state: world(stacks(web), projects(running(web, notOurs))),
			want:  `hold web: foreign: a project named web runs already and does not come from this repository (it comes from /home/mia/web); stop it or set another name:`,
		},
		{
			name:  "a foreign project that says nothing of itself is named so",
			state: world(stacks(web), projects(running(web, notOurs, func(r *Running) { r.Origin = "" }))),
			want:  `hold web: foreign: a project named web runs already and does not come from this repository (its containers don't say from where); stop it or set another name:`,
		},
		{
			name:  "a stack started by hand from its own folder is adopted, and not touched when it is as wanted",
			state: world(stacks(web), projects(running(web, byHand))),
		},
		{
			name:  "a stack started by hand from its own folder is updated when it is not as wanted",
			state: world(stacks(next), projects(running(web, byHand))),
			want:  `up web: changed: web-app-1 has another configuration`,
		},
		{
			name:  "a stack that moved to another folder is updated, not removed and started",
			state: world(stacks(moved, stack("b")), projects(running(web), running(stack("b"))), commit),
			want:  `checkout 2222222: from 1111111`,
		},
		{
			name:  "a busy stack is left to the operation that runs",
			state: world(stacks(next), projects(running(web)), busy("web")),
			want:  `hold web: busy: an operation still runs`,
		},
		{
			name:  "the daemon's own stack is not touched when it is as wanted",
			state: world(stacks(stack("web", mode(Controller))), projects(running(web, isController))),
		},
		{
			name:  "a stack that only carries the controller's label is held when it differs",
			state: world(stacks(stack("web", mode(Controller), changed)), projects(running(web, isController))),
			want: `hold web: controller: it carries gitops.controller=true, and the daemon does not run in a container of it; ` +
				`take the label off, or apply the change by hand: docker compose up -d`,
		},
		{
			name:  "a change of the daemon's own service is handed over",
			state: world(stacks(next), projects(running(web, isSelf))),
			want:  `hand over web: changed: web-app-1 has another configuration`,
		},
		{
			name:  "another definition of a volume is held",
			state: world(stacks(stack("web", volume("web_data", "v2"), changed)), projects(running(data))),
			want: `hold web: data: the definition of volume web_data changed, which can only be applied by deleting its data; ` +
				`put the old definition back, or give the volume another name and move the data`,
		},
		{
			name:  "another definition of a volume is held when no container is left",
			state: world(stacks(stack("web", volume("web_data", "v2"))), projects(running(data, onlyNetworks))),
			want: `hold web: data: the definition of volume web_data changed, which can only be applied by deleting its data; ` +
				`put the old definition back, or give the volume another name and move the data`,
		},
		{
			name:  "a volume of unknown definition counts as equal",
			state: world(stacks(data), projects(running(data, func(r *Running) { r.Volumes[0].Hash = "" }))),
		},
		{
			name:  "a failed stack waits for its next try",
			state: world(stacks(web), nil, remember("web", failed("web-1", time.Second))),
			want:  `hold web: retry: it broke`,
		},
		{
			name:  "a failed stack is tried again when its pause is over",
			state: world(stacks(web), nil, remember("web", failed("web-1", 0))),
			want:  `up web: new`,
		},
		{
			name:  "a failed stack is tried again at once when git changed it",
			state: world(stacks(next), projects(running(web)), remember("web", failed("web-1", time.Hour))),
			want:  `up web: changed: web-app-1 has another configuration`,
		},
		{
			name:  "a failed stack that is now as wanted is left alone",
			state: world(stacks(web), projects(running(web)), remember("web", failed("web-1", time.Hour))),
		},
	})
}

func TestRemovedStacks(t *testing.T) {
	web, db := stack("web"), stack("db")
	run(t, []buildCase{
		{
			name:  "a removed stack is stopped before the checkout",
			state: world(stacks(db), projects(running(db), running(web)), commit),
			want: `stop web: removed
				checkout 2222222: from 1111111`,
		},
		{
			name:  "a removed stack is found when the clone was pulled by hand",
			state: world(stacks(db), projects(running(db), running(web))),
			want:  `stop web: removed`,
		},
		{
			name:   "a removed stack is stopped when healing is off",
			state:  world(stacks(db), projects(running(db), running(web))),
			noHeal: true,
			want:   `stop web: removed`,
		},
		{
			name:  "a removed stack whose containers have all exited is removed",
			state: world(stacks(db), projects(running(db), running(web, exited(0)))),
			want:  `stop web: removed`,
		},
		{
			name:  "a removed stack of which only networks are left is removed",
			state: world(stacks(db), projects(running(db), running(web, onlyNetworks))),
			want:  `stop web: removed`,
		},
		{
			name: "a removed stack of which only volumes are left is done",
			state: world(stacks(db), projects(running(db),
				running(stack("web", volume("web_data", "v1")), onlyNetworks, withoutNetwork))),
		},
		{
			name:  "a removed stack of which only a container of compose run is left is done",
			state: world(stacks(db), projects(running(db), running(web, withoutNetwork, first(func(c *Container) { c.OneOff = true })))),
		},
		{
			name:  "a removed stack whose stop failed waits for its next try",
			state: world(stacks(db), projects(running(db), running(web)), remember("web", failed(StopDigest, time.Second))),
			want:  `hold web: retry: it broke`,
		},
		{
			name:  "a removed stack whose stop failed is stopped when the pause is over",
			state: world(stacks(db), projects(running(db), running(web)), remember("web", failed(StopDigest, 0))),
			want:  `stop web: removed`,
		},
		{
			name:  "a removed stack that had failed to come up is stopped at once",
			state: world(stacks(db), projects(running(db), running(web)), remember("web", failed("web-1", time.Hour))),
			want:  `stop web: removed`,
		},
		{
			name:  "a removed stack that is busy is stopped later",
			state: world(stacks(db), projects(running(db), running(web)), busy("web")),
			want:  `hold web: busy: an operation still runs`,
		},
		{
			name:  "a stack that comes back while its stop waits is brought up",
			state: world(stacks(db, web), projects(running(db), running(web, onlyNetworks)), remember("web", failed(StopDigest, time.Hour))),
			want:  `up web: new`,
		},
		{
			name:  "a removed stack that is ignored goes on",
			state: world(stacks(db), projects(running(db), running(web, func(r *Running) { r.Ignored = true }))),
		},
		{
			name:  "a removed stack that was ignored, from before it was, goes on",
			state: world(stacks(db), projects(running(db), running(web)), remember("web", Record{File: web.File, Ignored: true})),
		},
		{
			name:  "a foreign project is not stopped",
			state: world(stacks(db), projects(running(db), running(web, notOurs))),
		},
		{
			name:  "a project started by hand from an untracked folder is left alone",
			state: world(stacks(db), projects(running(db), running(web, byHand)), commit),
			want:  `checkout 2222222: from 1111111`,
		},
		{
			name: "a project started by hand from a folder that git had is stopped",
			state: world(stacks(db), projects(running(db), running(web, byHand)), commit,
				func(st *State) { st.Before = stacks(db, web) }),
			want: `stop web: removed
				checkout 2222222: from 1111111`,
		},
		{
			name:  "a project started by hand that we have managed is stopped",
			state: world(stacks(db), projects(running(db), running(web, byHand)), remember("web", applied(web))),
			want:  `stop web: removed`,
		},
		{
			name: "a project started by hand from an untracked folder under the name of a stack that git had is left alone",
			state: world(stacks(db), projects(running(db), running(web, byHand, func(r *Running) { r.File = "scratch/compose.yaml" })),
				remember("web", applied(web))),
		},
		{
			name:  "the daemon's own stack is not stopped",
			state: world(stacks(db), projects(running(db), running(web, isController))),
			want:  `hold web: controller: the daemon's own stack is no longer in git; it is not stopped: put it back, or stop it by hand`,
		},
		{
			name: "two removed projects whose file is not known are both held",
			state: world(stacks(db), projects(running(db), running(web, func(r *Running) { r.File = "" }), running(stack("api"), func(r *Running) { r.File = "" })),
				busy("web", "api")),
			want: `hold api: busy: an operation still runs
				hold web: busy: an operation still runs`,
		},
		{
			name:  "a head without any stack is held as a whole",
			state: world(nil, projects(running(web)), commit),
			want:  `hold everything: empty: the commit contains no stacks; applying it would stop all running ones. Set ALLOW_EMPTY=true if that is intended`,
		},
		{
			name:       "a head without any stack stops all if that is allowed",
			state:      world(nil, projects(running(db), running(web)), commit),
			allowEmpty: true,
			want: `stop db: removed
				stop web: removed
				checkout 2222222: from 1111111`,
		},
		{
			name: "a head without any stack is no matter when it stops nothing",
			state: world(nil, projects(running(web, notOurs), running(db, byHand), running(stack("own"), isController),
				running(stack("x"), func(r *Running) { r.Ignored = true })), commit),
			want: `checkout 2222222: from 1111111
				hold own: controller: the daemon's own stack is no longer in git; it is not stopped: put it back, or stop it by hand`,
		},
	})
}

// renamed is the stack of web's file under another project name.
func renamed(change ...func(*Stack)) Stack {
	s := stack("shop", change...)
	s.File = "web/compose.yaml"
	return s
}

func TestRenamedStacks(t *testing.T) {
	web := stack("web")
	data := stack("web", volume("web_data", "v1"))
	run(t, []buildCase{
		{
			name:  "a stack with another project name is stopped under the old one and started",
			state: world(stacks(renamed()), projects(running(web)), commit),
			want: `stop web: moved: to shop
				checkout 2222222: from 1111111
				up shop: moved: from web (after stop web)`,
		},
		{
			name:  "a stack with another project name whose volumes would stay behind is held",
			state: world(stacks(renamed(volume("shop_data", "v1"))), projects(running(data))),
			loses: []string{"/data"},
			want: `hold shop: data: service app has its data in volume web_data (at /data), and would start with volume shop_data, which does not exist or is empty; ` +
				`keep the project name (name: web), fill volume shop_data with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
		},
		{
			name: "a stack with another project name is held for the second of its volumes",
			state: world(stacks(renamed(volume("shop_data", "v1"), mounts(MountVolume, "shop_more", "/more"))),
				projects(running(stack("web", volume("web_data", "v1"), mounts(MountVolume, "web_more", "/more"))))),
			loses: []string{"/more"},
			want: `hold shop: data: service app has its data in volume web_more (at /more), and would start with volume shop_more, which does not exist or is empty; ` +
				`keep the project name (name: web), fill volume shop_more with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
		},
		{
			name: "a stack with another project name whose volumes have all been filled by hand is renamed",
			state: world(stacks(renamed(volume("shop_data", "v1"), mounts(MountVolume, "shop_more", "/more"))),
				projects(running(stack("web", volume("web_data", "v1"), mounts(MountVolume, "web_more", "/more"))))),
			want: `stop web: moved: to shop
				up shop: moved: from web (after stop web)`,
		},
		{
			name:  "a stack with another project name that wants no volumes any more is renamed",
			state: world(stacks(renamed()), projects(running(data))),
			want: `stop web: moved: to shop
				up shop: moved: from web (after stop web)`,
		},
		{
			name:  "the old project goes on while the new name is taken",
			state: world(stacks(renamed()), projects(running(stack("shop"), notOurs), running(web))),
			want:  `hold shop: foreign: a project named shop runs already and does not come from this repository (it comes from /home/mia/web); stop it or set another name:`,
		},
		{
			name:  "the old project goes on while the new one lacks what it needs",
			state: world(stacks(renamed(needs("net")), stack("net", invalid("no image"), func(s *Stack) { s.Networks[0].Name = "net" })), projects(running(web))),
			want: `hold net: invalid: no image
				hold shop: needs: it needs network net of net, which is not there (invalid: no image)`,
		},
		{
			name:  "the old project goes on while the new one waits for its next try",
			state: world(stacks(renamed()), projects(running(web)), remember("shop", failed("shop-1", time.Hour))),
			want:  `hold shop: retry: it broke`,
		},
		{
			name:  "the stop of the old project and the new one are held each for itself",
			state: world(stacks(renamed()), projects(running(web)), remember("web", failed(StopDigest, time.Hour)), busy("shop")),
			want: `hold shop: busy: an operation still runs
				hold web: retry: it broke`,
		},
	})
}

func TestOrder(t *testing.T) {
	proxy := stack("proxy", func(s *Stack) { s.Networks = append(s.Networks, Resource{Name: "edge"}) })
	web := stack("web", needs("edge"))
	api := stack("api", needs("edge"))
	run(t, []buildCase{
		{
			name:  "a stack comes up after the one whose network it needs",
			state: world(stacks(api, proxy, web), nil),
			want: `up proxy: new
				up api: new (after up proxy)
				up web: new (after up proxy)`,
		},
		{
			name:  "a stack needs a volume of another",
			state: world(stacks(stack("a", func(s *Stack) { s.Requires = []Requirement{{"volume", "b_data"}} }), stack("b", volume("b_data", "v1"))), nil),
			want: `up b: new
				up a: new (after up b)`,
		},
		{
			name:  "a stack whose need comes from nowhere in git is held until somebody makes it",
			state: world(stacks(web), nil),
			want:  `hold web: needs: it needs network edge, which is not there and which no stack makes; make it: docker network create edge`,
		},
		{
			name:  "so is one whose volume nobody makes",
			state: world(stacks(stack("a", func(s *Stack) { s.Requires = []Requirement{{"volume", "photos"}} })), nil),
			want:  `hold a: needs: it needs volume photos, which is not there and which no stack makes; make it: docker volume create photos`,
		},
		{
			name:  "one that somebody has made by hand is there",
			state: world(stacks(web), nil, func(st *State) { st.Observed.Networks["edge"] = "id of edge" }),
			want:  `up web: new`,
		},
		{
			name: "a network may be named by its id, as with Compose",
			state: world(stacks(stack("web", needs("0123456789ab"))), nil, func(st *State) {
				st.Observed.Networks["edge"] = "0123456789abcdef"
			}),
			want: `up web: new`,
		},
		{
			name:  "a stack is held when the one that it needs is held and not there",
			state: world(stacks(proxy, web), nil, remember("proxy", failed("proxy-1", time.Hour))),
			want: `hold proxy: retry: it broke
				hold web: needs: it needs network edge of proxy, which is not there (retry: it broke)`,
		},
		{
			name:  "a stack is held when the one that it needs is ignored and not there",
			state: world(stacks(stack("proxy", mode(Ignored), func(s *Stack) { s.Networks[0].Name = "edge" }), web), nil),
			want:  `hold web: needs: it needs network edge of proxy, which is not there`,
		},
		{
			name:  "needs pass on",
			state: world(stacks(stack("a", needs("b_default")), stack("b", needs("c_default")), stack("c", invalid("no image"))), nil),
			want: `hold a: needs: it needs network b_default of b, which is not there (needs: it needs network c_default of c, which is not there (invalid: no image))
				hold b: needs: it needs network c_default of c, which is not there (invalid: no image)
				hold c: invalid: no image`,
		},
		{
			name: "a stack goes on when the one that it needs waits for its next try, but the network is there",
			state: world(stacks(proxy, web), projects(running(proxy, exited(1))),
				remember("proxy", failed("proxy-1", time.Hour))),
			want: `up web: new
				hold proxy: retry: it broke`,
		},
		{
			name:  "a stack goes on when the one that it needs is busy, but the network is there",
			state: world(stacks(proxy, web), projects(running(proxy)), busy("proxy")),
			want: `up web: new
				hold proxy: busy: an operation still runs`,
		},
		{
			name:  "a stack is held while the one that it needs is busy and the network is not there yet",
			state: world(stacks(proxy, web), nil, busy("proxy")),
			want: `hold proxy: busy: an operation still runs
				hold web: needs: it needs network edge of proxy, which is not there (busy: an operation still runs)`,
		},
		{
			name: "removal runs in the reverse order",
			state: world(stacks(stack("other")), projects(running(stack("a", func(s *Stack) { s.Networks = append(s.Networks, Resource{Name: "edge"}) })),
				running(stack("b", needs("edge"))), running(stack("other")))),
			want: `stop b: removed
				stop a: removed`,
		},
	})

	plan := Build(world(stacks(api, proxy, web), nil), Policy{})
	if got := plan.Ops[2].After; len(got) != 1 || got[0] != (After{ID: "up proxy"}) {
		t.Errorf("web waits for %v, and has to for proxy", got)
	}
}

func TestCyclesAreInvalidAndNamed(t *testing.T) {
	all := stacks(stack("a", needs("b_default")), stack("b", needs("c_default")), stack("c", needs("a_default")), stack("d", needs("a_default")), stack("e", needs("e_default")))
	Cycles(all)
	got := Build(world(all, nil), Policy{}).String()
	want := unindent(`up e: new
		hold a: invalid: stacks need each other in a circle: a -> b -> c -> a
		hold b: invalid: stacks need each other in a circle: b -> c -> a -> b
		hold c: invalid: stacks need each other in a circle: c -> a -> b -> c
		hold d: needs: it needs network a_default of a, which is not there (invalid: stacks need each other in a circle: a -> b -> c -> a)`)
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestExternalNetworksAreMadeIfThatIsWanted(t *testing.T) {
	web := stack("web", needs("edge"), func(s *Stack) {
		s.Requires = append(s.Requires, Requirement{"network", "there"}, Requirement{"network", "proxy_default"})
	})
	state := world(stacks(web, stack("proxy"), stack("data", func(s *Stack) { s.Requires = []Requirement{{"volume", "photos"}} })), nil,
		func(st *State) { st.Observed.Networks["there"] = "id of there" })
	p := Build(state, Policy{Heal: true, MakeNetworks: true})
	if got, want := p.String(), unindent(`up proxy: new
		up web: new (after up proxy)
		hold data: needs: it needs volume photos, which is not there and which no stack makes; make it: docker volume create photos`); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for _, op := range p.Ops {
		if op.Stack == "web" && !slices.Equal(op.Orders.Make, []string{"edge"}) {
			t.Errorf("made are %v", op.Orders.Make)
		}
	}
	if want := []Requirement{{"volume", "photos"}}; !slices.Equal(p.Needs, want) {
		t.Errorf("needs %v, want %v", p.Needs, want)
	}
}

func TestAVolumeWhoseLabelsAloneChangeHoldsNothing(t *testing.T) {
	of := func(hash, made string) func(*Stack) {
		return func(s *Stack) { s.Volumes = []Resource{{Name: "web_data", Hash: hash, Made: made}} }
	}
	local, nfs := VolumeMade("", nil), VolumeMade("local", map[string]string{"type": "nfs", "device": ":/photos"})
	before := stack("web", of("v1", local))
	for name, c := range map[string]struct {
		now  func(*Stack)
		hold bool
	}{
		"labels":                   {of("v2", VolumeMade("local", map[string]string{})), false},
		"options":                  {of("v2", nfs), true},
		"the driver":               {of("v2", VolumeMade("sshfs", nil)), true},
		"nobody knows in what way": {of("v2", ""), true},
	} {
		p := Build(world(stacks(stack("web", changed, c.now)), projects(running(before)), remember("web", applied(before))), Policy{Heal: true})
		if c.hold {
			if len(p.Held) != 1 || p.Held[0].Reason != HeldDataLoss {
				t.Errorf("%s:\n%s", name, p)
			}
			continue
		}
		if len(p.Ops) != 1 || !slices.Equal(p.Ops[0].Orders.Volumes, []string{"web_data"}) {
			t.Errorf("%s:\n%s%+v", name, p, p.Ops)
		}
	}
}
