package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const threeDays = 72 * time.Hour

// seen says what a registry has under app:1, and since when that is known.
func seen(digest string, ago time.Duration) func(*State) {
	return func(st *State) {
		latest(digest)(st)
		st.Observed.Seen = map[string]time.Time{"app:1": st.Now.Add(-ago)}
	}
}

func age(d time.Duration) func(*Stack) { return func(s *Stack) { s.MinAge = &d } }

// outcome is a plan with what its pulls are to bring, and when it is made anew.
func outcome(p Plan) string {
	text := p.String()
	for _, op := range p.Ops {
		for _, ref := range sortedKeys(op.Digests) {
			text += fmt.Sprintf("%s: %s is to be %q\n", op.ID, ref, op.Digests[ref])
		}
	}
	if !p.Wake.IsZero() {
		text += fmt.Sprintf("again in %s\n", p.Wake.Sub(noon()))
	}
	return text
}

func TestImagesThatAreTooYoungWait(t *testing.T) {
	web := stack("web", app(watched))
	eager := stack("web", app(always))
	const held = `hold web: age: app:1 at the registry is a newer image (sha256:new), first seen on 2026-05-01 11:00 UTC and taken after 2026-05-04 11:00 UTC; to take it now, on the host: docker pull app:1
		again in 71h0m0s`
	const taken = `pull web: changed: app has an older image than app:1 at the registry (sha256:new)
		up web: changed: app has an older image than app:1 at the registry (sha256:new)
		pull web: app:1 is to be "sha256:new"`
	known := remember("web", applied(web))
	for _, c := range []struct {
		name   string
		state  State
		policy Policy
		want   string
	}{
		{
			name:   "a tag that moved an hour ago",
			state:  world(stacks(web), projects(running(web)), known, seen("sha256:new", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want:   held,
		},
		{
			name:   "with pull_policy: always",
			state:  world(stacks(eager), projects(running(eager)), known, seen("sha256:new", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want:   held,
		},
		{
			name:   "healing is off",
			state:  world(stacks(web), projects(running(web)), known, seen("sha256:new", time.Hour)),
			policy: Policy{MinAge: threeDays},
			want:   held,
		},
		{
			name:   "the remote is away",
			state:  world(stacks(web), projects(running(web)), known, seen("sha256:new", time.Hour), func(st *State) { st.Offline = "it is down" }),
			policy: Policy{Heal: true, MinAge: threeDays},
			want:   held,
		},
		{
			name:   "nobody remembers when it was seen",
			state:  world(stacks(web), projects(running(web)), known, latest("sha256:new")),
			policy: Policy{Heal: true, MinAge: time.Hour},
			want: `hold web: age: app:1 at the registry is a newer image (sha256:new), first seen on 2026-05-01 12:00 UTC and taken after 2026-05-01 13:00 UTC; to take it now, on the host: docker pull app:1
				again in 1h0m0s`,
		},
		{
			name:   "at its age it is taken, and no other",
			state:  world(stacks(web), projects(running(web)), known, seen("sha256:new", threeDays)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want:   taken,
		},
		{
			name:   "with pull_policy: always too",
			state:  world(stacks(eager), projects(running(eager)), known, seen("sha256:new", threeDays)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want:   taken,
		},
		{
			name:   "the stack asks for a longer time",
			state:  world(stacks(stack("web", app(watched), age(2*time.Hour))), projects(running(web)), known, seen("sha256:new", time.Hour)),
			policy: Policy{Heal: true, MinAge: time.Minute},
			want: `hold web: age: app:1 at the registry is a newer image (sha256:new), first seen on 2026-05-01 11:00 UTC and taken after 2026-05-01 13:00 UTC; to take it now, on the host: docker pull app:1
				again in 1h0m0s`,
		},
		{
			name:   "the stack asks for none, and then whatever the registry has is taken",
			state:  world(stacks(stack("web", app(watched), age(0))), projects(running(web)), known, seen("sha256:new", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want: `pull web: changed: app has an older image than app:1 at the registry (sha256:new)
				up web: changed: app has an older image than app:1 at the registry (sha256:new)`,
		},
		{
			name:   "a tag that is not watched",
			state:  world(stacks(stack("web")), projects(running(stack("web"))), known, seen("sha256:new", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
		},
		{
			name:   "a tag that points to what is here",
			state:  world(stacks(web), projects(running(web)), known, seen("sha256:here", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
		},
		{
			name:   "a service that has no containers",
			state:  world(stacks(stack("web", app(watched), app(none))), projects(running(stack("web", app(none)))), known, seen("sha256:new", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want:   `again in 71h0m0s`,
		},
		{
			name:   "an ignored stack",
			state:  world(stacks(stack("web", app(watched), mode(Ignored))), projects(running(web)), known, seen("sha256:new", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
		},
		{
			name:   "an image that is not here comes as the registry has it",
			state:  world(stacks(web), nil, seen("sha256:new", time.Hour), func(st *State) { clear(st.Observed.Images) }),
			policy: Policy{Heal: true, MinAge: threeDays},
			want: `pull web: new
				up web: new
				pull web: app:1 is to be ""`,
		},
		{
			name:   "what git changes is done without the young image",
			state:  world(stacks(stack("web", app(always), changed)), projects(running(eager)), known, seen("sha256:new", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want: `up web: changed: web-app-1 has another configuration
				again in 71h0m0s`,
		},
		{
			name:   "what git changes brings no image that nobody has seen yet",
			state:  world(stacks(stack("web", app(always), changed)), projects(running(eager)), known, seen("sha256:here", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want:   `up web: changed: web-app-1 has another configuration`,
		},
		{
			name:   "what git changes is done with what has reached its age",
			state:  world(stacks(stack("web", app(always), changed)), projects(running(eager)), known, seen("sha256:new", threeDays)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want: `pull web: changed: app has an older image than app:1 at the registry (sha256:new), web-app-1 has another configuration
				up web: changed: app has an older image than app:1 at the registry (sha256:new), web-app-1 has another configuration
				pull web: app:1 is to be "sha256:new"`,
		},
		{
			name: "another image of the stack that has to come leaves the young one",
			state: world(stacks(stack("web", app(always), changed, with("db", func(s *Service) { s.Image, s.Pull, s.Every = "db:1", PullMissing, 0 }))),
				projects(running(eager)), known, seen("sha256:new", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want: `pull web: changed: web-app-1 has another configuration, db is missing
				up web: changed: web-app-1 has another configuration, db is missing
				pull web: app:1 is to be ""
				again in 71h0m0s`,
		},
		{
			name:   "a repair is done without the young image",
			state:  world(stacks(eager), projects(running(eager, exited(1))), known, seen("sha256:new", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want: `up web: drift: web-app-1 exited (1)
				again in 71h0m0s`,
		},
		{
			name:   "by hand it passes: what was pulled on the host is taken",
			state:  world(stacks(web), projects(running(web, first(func(c *Container) { c.Image = "old" }))), known, seen("sha256:here", time.Minute)),
			policy: Policy{MinAge: threeDays},
			want:   `up web: changed: web-app-1 has another image than app:1 (old → id of app:1)`,
		},
		{
			name:   "another hold says more",
			state:  world(stacks(web), projects(running(web, exited(1))), known, seen("sha256:new", time.Hour)),
			policy: Policy{MinAge: threeDays},
			want: `hold web: drift: drifted (web-app-1 exited (1)); not repaired because SELF_HEAL=false
				again in 71h0m0s`,
		},
		{
			name: "of stacks that watch one tag the longest age counts, as they share the image",
			state: world(stacks(stack("web", app(watched), age(0)), stack("api", app(watched))), projects(running(web), running(stack("api", app(watched)))),
				known, seen("sha256:new", time.Hour)),
			policy: Policy{Heal: true, MinAge: threeDays},
			want: `hold api: age: app:1 at the registry is a newer image (sha256:new), first seen on 2026-05-01 11:00 UTC and taken after 2026-05-04 11:00 UTC; to take it now, on the host: docker pull app:1
				` + held,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := c.state
			before := fmt.Sprintf("%+v", st)
			if got, want := outcome(Build(st, c.policy)), unindent(c.want); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if got, want := outcome(Build(st.Ripen(c.policy), c.policy)), unindent(c.want); got != want {
				t.Errorf("of the ripe state, got\n%swant\n%s", got, want)
			}
			if after := fmt.Sprintf("%+v", st); after != before {
				t.Errorf("it changed its input:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

func none(s *Service) { s.Scale = 0 }

func TestTheDaemonItselfWaitsForTheAgeOfItsImage(t *testing.T) {
	own := stack("own", app(watched))
	version := func(st State) string { return own.Services[0].Version(st.Ripen(Policy{MinAge: threeDays}).Observed) }
	runs := world(stacks(own), projects(running(own, isSelf)), seen("sha256:here", time.Hour))
	young := world(stacks(own), projects(running(own, isSelf)), seen("sha256:new", time.Hour))
	ripe := world(stacks(own), projects(running(own, isSelf)), seen("sha256:new", threeDays))
	if version(young) != version(runs) {
		t.Errorf("an image that is not taken makes another version: %s, was %s", version(young), version(runs))
	}
	policy := Policy{MinAge: threeDays}
	if got, want := outcome(Build(young, policy)), unindent(`
		hold own: age: app:1 at the registry is a newer image (sha256:new), first seen on 2026-05-01 11:00 UTC and taken after 2026-05-04 11:00 UTC; to take it now, on the host: docker pull app:1
		again in 71h0m0s`); got != want {
		t.Errorf("young: got\n%swant\n%s", got, want)
	}
	p := Build(ripe, policy)
	if got, want := outcome(p), unindent(`
		pull own: changed: app has an older image than app:1 at the registry (sha256:new)
		hand over own: changed: app has an older image than app:1 at the registry (sha256:new)
		pull own to hand over: app:1 is to be "sha256:new"`); got != want {
		t.Errorf("ripe: got\n%swant\n%s", got, want)
	}
	if over := p.Ops[len(p.Ops)-1]; over.Version != "h1@sha256:new" {
		t.Errorf("it hands over to %s", over.Version)
	}
	// A version that failed stays the one that failed when a newer one comes.
	failed := remember("own", Record{Own: Own{Applied: "h1@sha256:old", Failed: "h1@sha256:here", Error: "not ready"}})
	back := world(stacks(own), projects(running(own, isSelf, first(func(c *Container) { c.Image = "old" }))), failed, seen("sha256:new", time.Hour))
	if got, want := outcome(Build(back, policy)), unindent(`
		hold own: version: handing over to this version failed, and is not tried again until git changes: not ready
		again in 71h0m0s`); got != want {
		t.Errorf("failed: got\n%swant\n%s", got, want)
	}
}

func TestWhatIsPulledForAnAge(t *testing.T) {
	o := Observed{Images: map[string]string{"app:1": "id"}, Latest: map[string]string{"app:1": "sha256:new"}}
	timed, plain := Service{Image: "app:1", Pull: PullRefresh, Every: time.Hour}, Service{Image: "app:1", Pull: PullMissing}
	eager := Service{Image: "app:1", Pull: PullAlways, Every: time.Hour}
	keep, take := map[string]string{"app:1": ""}, map[string]string{"app:1": "sha256:old"}
	var got []string
	for _, s := range []Service{timed, eager, plain} {
		for _, digests := range []map[string]string{nil, keep, take} {
			d := s.Due(o, digests)
			got = append(got, string(d.Pull)+d.Digest)
		}
	}
	if want := []string{"always", "missing", "alwayssha256:old", "always", "missing", "alwayssha256:old", "missing", "missing", "missing"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
