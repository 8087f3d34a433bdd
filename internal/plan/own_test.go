package plan

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// scaled wants several containers of the first service.
func scaled(n int) func(*Stack) { return app(func(s *Service) { s.Scale = n }) }

// other changes the service db, which with has added.
func other(s *Stack) {
	s.Digest += "+"
	s.Services = slices.Clone(s.Services)
	s.Services[len(s.Services)-1].Hash = "h2"
}

// labelled says that the service itself carries gitops.controller=true.
func labelled(s *Service) { s.Own = true }

// ownWorld is a daemon that runs as service app of the stack own, made from had,
// and what git wants of it.
func ownWorld(had, wanted Stack, change ...func(*State)) State {
	return world(stacks(wanted), projects(running(had, isSelf)), change...)
}

func remembered(o Own) func(*State) {
	return func(st *State) {
		rec := st.Memory["own"]
		rec.Own = o
		st.Memory["own"] = rec
	}
}

func TestTheDaemonsOwnStack(t *testing.T) {
	one, two := stack("own"), stack("own", with("db"))
	renamed := func(change func(*Service)) Stack {
		return stack("own", changed, app(func(s *Service) { s.Name = "agent"; change(s) }))
	}
	data := stack("own", volume("own_data", "v1"))
	run(t, []buildCase{
		{
			name: "is left alone when it is as wanted", state: ownWorld(two, two),
		},
		{
			name: "whose service has another name is held", state: ownWorld(one, renamed(func(*Service) {})),
			want: `hold own: controller: service app, which the daemon runs as, is not in it any more; put it back, or set gitops.controller=true on the one service that takes its place`,
		},
		{
			name: "whose service has another name and the label is handed over to that", state: ownWorld(one, renamed(labelled)),
			want: `hand over own: changed: agent is missing, app is no service of the stack`,
		},
		{
			name:  "whose service has another name, and of which two carry the label, is held",
			state: ownWorld(one, stack("own", changed, app(func(s *Service) { s.Name, s.Own = "agent", true }), with("twin", labelled))),
			want:  `hold own: controller: service app, which the daemon runs as, is not in it any more; put it back, or set gitops.controller=true on the one service that takes its place`,
		},
		{
			name: "whose service is there goes by its name and not by the label", state: ownWorld(two, stack("own", with("db", labelled), changed)),
			want: `hand over own: changed: own-app-1 has another configuration`,
		},
		{
			name: "that wants two daemons is held", state: ownWorld(one, stack("own", scaled(2))),
			want: `hold own: controller: service app, which the daemon runs as, is to have 2 containers, and can only have 1`,
		},
		{
			name: "that wants no daemon is held", state: ownWorld(one, stack("own", scaled(0))),
			want: `hold own: controller: service app, which the daemon runs as, is to have 0 containers, and can only have 1`,
		},
		{
			name:  "that redefines a network that the daemon is on is held",
			state: ownWorld(one, stack("own", changed, func(s *Stack) { s.Networks[0].Hash = "n2" })),
			want:  `hold own: controller: the definition of network own_default changed, which the daemon itself is on; give the network another name, or apply the change by hand: docker compose up -d`,
		},
		{
			name: "that redefines a network that the daemon is not on is updated",
			state: func() State {
				had := stack("own", with("db", func(s *Service) { s.Networks = []string{"back"} }), func(s *Stack) {
					s.Networks = append(s.Networks, Resource{Name: "back", Hash: "n1"})
				})
				wanted := had
				wanted.Networks = []Resource{had.Networks[0], {Name: "back", Hash: "n2"}}
				return ownWorld(had, wanted)
			}(),
			want: `up own: changed: network back has another definition`,
		},
		{
			name: "that redefines a volume is held", state: ownWorld(data, stack("own", changed, volume("own_data", "v2"))),
			want: `hold own: data: the definition of volume own_data changed, which can only be applied by deleting its data; ` +
				`put the old definition back, or give the volume another name and move the data`,
		},
		{
			name:  "that differs in other services only is updated, without the daemon's",
			state: ownWorld(two, stack("own", with("db"), other)),
			want:  `up own: changed: own-db-1 has another configuration`,
		},
		{
			name: "that has one service too many is updated", state: ownWorld(two, one),
			want: `up own: changed: db is no service of the stack`,
		},
		{
			name:  "that differs in all services is updated first and handed over after that",
			state: ownWorld(two, stack("own", changed, with("db"))),
			want: `up own: changed: own-db-1 has another configuration
				hand over own: changed: own-app-1 has another configuration`,
		},
		{
			name:  "is handed over after all others, and after the checkout",
			state: world(stacks(stack("zoo", app(func(s *Service) { s.Image, s.Pull = "zoo:1", PullNever })), stack("own", changed)), projects(running(one, isSelf), running(stack("old"))), commit),
			want: `stop old: removed
				checkout 2222222: from 1111111
				up zoo: new
				hand over own: changed: own-app-1 has another configuration`,
		},
		{
			name: "that is busy is left alone", state: ownWorld(one, stack("own", changed), busy("own")),
			want: `hold own: busy: an operation still runs`,
		},
		{
			name:  "that lost a network of which only the daemon is left gets it by a hand-over",
			state: ownWorld(one, one, func(st *State) { delete(st.Observed.Networks, "own_default"); st.Observed.Running[0].Networks = nil }),
			want:  `hand over own: drift: network own_default is missing`,
		},
	})
}

func TestTheDaemonsOwnService(t *testing.T) {
	one, next := stack("own"), stack("own", changed)
	watched := func(s *Service) { s.Pull, s.Every = PullRefresh, time.Hour }
	moved := func(st *State) {
		st.Observed.Latest = map[string]string{"app:1": "sha256:new"}
		st.Observed.Images["app@sha256:old"] = "id of app:1"
	}
	follower := stack("own", app(func(s *Service) { s.Follows = []string{"vpn"} }), with("vpn"))
	another := func(st *State) { st.Observed.Running[0].Containers[0].Hash = "by hand" }
	run(t, []buildCase{
		{
			name:  "gets its image before it is handed over, after the checkout",
			state: ownWorld(one, stack("own", changed, app(func(s *Service) { s.Image = "app:2" })), commit),
			want: `checkout 2222222: from 1111111
				pull own: changed: own-app-1 has another configuration
				hand over own: changed: own-app-1 has another configuration`,
		},
		{
			name: "whose version failed is not handed over to it again", state: ownWorld(one, next, remembered(Own{Applied: "h1", Failed: "h2", Error: "it ended"})),
			want: `hold own: version: handing over to this version failed, and is not tried again until git changes: it ended`,
		},
		{
			name: "whose version failed is handed over to another one", state: ownWorld(one, next, remembered(Own{Applied: "h1", Failed: "h3", Error: "it ended"})),
			want: `hand over own: changed: own-app-1 has another configuration`,
		},
		{
			name: "whose version failed is left alone when git takes it back", state: ownWorld(one, one, remembered(Own{Applied: "h1", Failed: "h2", Error: "it ended"})),
		},
		{
			name:  "whose hand-over was interrupted waits",
			state: ownWorld(one, next, remembered(Own{Applied: "h1", Failed: "h2", Error: "killed", RetryAt: noon().Add(time.Second)})),
			want:  `hold own: retry: killed`,
		},
		{
			name:  "whose hand-over was interrupted is handed over again when the pause is over",
			state: ownWorld(one, next, remembered(Own{Applied: "h1", Failed: "h2", Error: "killed", RetryAt: noon()})),
			want:  `hand over own: changed: own-app-1 has another configuration`,
		},
		{
			name: "that was changed by hand is handed over as a repair", state: ownWorld(one, one, another, remembered(Own{Applied: "h1"})),
			want: `hand over own: drift: own-app-1 has another configuration`,
		},
		{
			name: "that was changed by hand is held when healing is off", state: ownWorld(one, one, another, remembered(Own{Applied: "h1"})), noHeal: true,
			want: `hold own: drift: drifted (own-app-1 has another configuration); not repaired because SELF_HEAL=false`,
		},
		{
			name:  "whose repair failed is handed over again with healing off: it was begun",
			state: ownWorld(one, one, another, remembered(Own{Applied: "h1", Failed: "h1", RetryAt: noon()})), noHeal: true,
			want: `hand over own: drift: own-app-1 has another configuration`,
		},
		{
			name: "that git changed is handed over when healing is off", state: ownWorld(one, next, remembered(Own{Applied: "h1"})), noHeal: true,
			want: `hand over own: changed: own-app-1 has another configuration`,
		},
		{
			name: "that git changed is handed over when nothing is remembered", state: ownWorld(one, next), noHeal: true,
			want: `hand over own: changed: own-app-1 has another configuration`,
		},
		{
			name: "off its network is a drift when nothing is remembered", noHeal: true,
			state: ownWorld(one, one, func(st *State) { clear(st.Observed.Running[0].Containers[0].Networks) }),
			want:  `hold own: drift: drifted (own-app-1 is not on network own_default); not repaired because SELF_HEAL=false`,
		},
		{
			name:  "that needs what a held stack does not provide is held",
			state: world(stacks(stack("own", changed, needs("edge_default")), stack("edge", invalid("no image"))), projects(running(one, isSelf))),
			want: `hold edge: invalid: no image
				hold own: needs: it needs network edge_default of edge, which is not there (invalid: no image)`,
		},
		{
			name:  "that needs what comes up in the same plan is handed over after it",
			state: world(stacks(stack("own", changed, needs("edge_default")), stack("edge")), projects(running(one, isSelf))),
			want: `up edge: new
				hand over own: changed: own-app-1 has another configuration`,
		},
		{
			name: "whose tag moved at the registry is pulled and handed over", noHeal: true,
			state: ownWorld(stack("own", app(watched)), stack("own", app(watched)), moved, remembered(Own{Applied: "h1@sha256:old"})),
			want: `pull own: changed: app has an older image than app:1 at the registry (sha256:new)
				hand over own: changed: app has an older image than app:1 at the registry (sha256:new)`,
		},
		{
			name:  "whose tag moved to an image that failed is held",
			state: ownWorld(stack("own", app(watched)), stack("own", app(watched)), moved, remembered(Own{Applied: "h1", Failed: "h1@sha256:new", Error: "it ended"})),
			want:  `hold own: version: handing over to this version failed, and is not tried again until git changes: it ended`,
		},
		{
			name: "that has another container beside the daemon's is held",
			state: ownWorld(stack("own"), stack("own", changed), func(st *State) {
				r := &st.Observed.Running[0]
				other := r.Containers[0]
				other.Self, other.ID, other.Name = false, "another", "own-app-2"
				r.Containers = append(r.Containers, other)
			}),
			want: `hold own: controller: service app has another container, own-app-2, beside the daemon's, own-app-1; remove it: docker rm -f own-app-2`,
		},
		{
			name:  "that follows another service is handed over when that is replaced",
			state: ownWorld(follower, func() Stack { s := follower; other(&s); return s }()),
			want: `up own: changed: own-vpn-1 has another configuration
				hand over own: changed: app follows vpn, which is brought up`,
		},
		{
			name:  "that follows another service is handed over with healing off when git changes that",
			state: ownWorld(follower, func() Stack { s := follower; other(&s); return s }(), remember("own", applied(follower)), remembered(Own{Applied: "h1"})), noHeal: true,
			want: `up own: changed: own-vpn-1 has another configuration
				hand over own: changed: app follows vpn, which is brought up`,
		},
		{
			name:  "that follows another service is left alone while that waits",
			state: ownWorld(follower, func() Stack { s := follower; other(&s); return s }(), remember("own", failed("own-1+", time.Hour))),
			want:  `hold own: retry: it broke`,
		},
		{
			name:  "that follows another service is handed over when that ended: its network is another then",
			state: ownWorld(follower, follower, func(st *State) { c := &st.Observed.Running[0].Containers[1]; c.State, c.ExitCode = "exited", 1 }),
			want: `
				up own: drift: own-vpn-1 exited (1)
				hand over own: drift: app follows vpn, which is brought up`,
		},
	})
}

// What an operation of the daemon's own stack is about, its text does not say.
func TestOperationsOnTheDaemonsOwnStackLeaveServicesOut(t *testing.T) {
	p := Build(ownWorld(stack("own", with("db"), with("web")), stack("own", changed, with("db"), with("web"))), Policy{Heal: true})
	var got []string
	for _, op := range p.Ops {
		got = append(got, string(op.Kind)+" "+strings.Join(op.Services, " ")+" "+op.Version)
	}
	if text := strings.Join(got, ", "); text != "up db web , hand over app h2" {
		t.Errorf("got %s", text)
	}
}
