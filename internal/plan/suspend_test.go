package plan

import (
	"testing"
	"time"
)

func suspended(key string, s Suspension) func(*State) {
	return func(st *State) {
		if st.Suspended == nil {
			st.Suspended = map[string]Suspension{}
		}
		st.Suspended[key] = s
	}
}

func TestSuspendedStacks(t *testing.T) {
	web := stack("web")
	byMia := Suspension{By: "mia", Reason: "migrating", Since: noon().Add(-time.Hour), Until: noon().Add(time.Hour)}
	const mia = "suspended by mia since 2026-05-01 11:00 UTC until 2026-05-01 13:00 UTC: migrating; to go on: gitops-compose resume web"
	label := func(s *Stack) { s.Suspend = true }
	run(t, []buildCase{
		{
			name:  "a change waits, and other stacks go on",
			state: world(stacks(stack("web", changed), stack("db")), projects(running(web)), remember("web", applied(web)), suspended("web", byMia)),
			want: `up db: new
				hold web: suspended: ` + mia,
		},
		{
			name:  "a repair waits",
			state: world(stacks(web), projects(running(web, exited(1))), remember("web", applied(web)), suspended("web", byMia)),
			want:  "hold web: suspended: " + mia,
		},
		{
			name:  "it is shown where there is nothing to do",
			state: world(stacks(web), projects(running(web)), remember("web", applied(web)), suspended("web", byMia)),
			want:  "hold web: suspended: " + mia,
		},
		{
			name:  "until its time is over",
			state: world(stacks(stack("web", changed)), projects(running(web)), remember("web", applied(web)), suspended("web", Suspension{Until: noon()})),
			want:  "up web: changed: web-app-1 has another configuration",
		},
		{
			name:  "one that git no longer has stays",
			state: world(stacks(stack("other", app(func(v *Service) { v.Name = "api" }))), projects(running(web)), remember("web", applied(web)), suspended("web", Suspension{})),
			want: `up other: new
				hold web: suspended: it is no longer in git, and is suspended; to go on: gitops-compose resume web`,
		},
		{
			name:  "one that has another name now waits, and its heir with it",
			state: world(stacks(stack("blog")), projects(running(web)), remember("web", applied(web)), func(st *State) { st.Before = stacks(web) }, suspended("web", Suspension{}), commit),
			want: `checkout 2222222: from 1111111
				hold blog: needs: its place is still taken by web, which does not give it up yet (suspended: it is no longer in git, and is suspended; to go on: gitops-compose resume web)
				hold web: suspended: it is no longer in git, and is suspended; to go on: gitops-compose resume web`,
		},
		{
			name:  "all",
			state: world(stacks(web, stack("db")), nil, suspended(Everything, Suspension{By: "mia"})),
			want: `hold db: suspended: suspended with all others by mia; to go on: gitops-compose resume --all
				hold web: suspended: suspended with all others by mia; to go on: gitops-compose resume --all`,
		},
		{
			name:  "by a label",
			state: world(stacks(stack("web", label, changed)), projects(running(web)), remember("web", applied(web))),
			want:  "hold web: suspended: gitops.suspend=true is set in git; take it away to go on",
		},
		{
			name:  "the daemon's own waits as well",
			state: world(stacks(stack("web", label, changed)), projects(running(web, isSelf)), remember("web", applied(web))),
			want:  "hold web: suspended: gitops.suspend=true is set in git; take it away to go on",
		},
		{
			name:  "what is ignored or does not load says that",
			state: world(stacks(stack("a", mode(Ignored)), stack("b", invalid("no image"))), nil, suspended(Everything, Suspension{})),
			want:  "hold b: invalid: no image",
		},
	})
	st := world(stacks(web), projects(running(web)), remember("web", applied(web)), suspended("web", byMia))
	if wake := Build(st, Policy{Heal: true}).Wake; !wake.Equal(byMia.Until) {
		t.Errorf("the next plan is due at %s", wake)
	}
}
