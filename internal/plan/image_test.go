package plan

import "testing"

// watched is a service whose tag the registry is asked about.
func watched(s *Service) { s.Pull, s.Every = PullRefresh, 3600e9 }

func always(s *Service) { s.Pull, s.Every = PullAlways, 300e9 }

// latest says what a registry has under app:1, and what is here under it.
func latest(digest string) func(*State) {
	return func(st *State) {
		st.Observed.Images["app@sha256:here"] = "id of app:1"
		st.Observed.Latest = map[string]string{"app:1": digest}
	}
}

func TestWatchedTags(t *testing.T) {
	web := stack("web", app(watched))
	run(t, []buildCase{
		{
			name:  "a tag that has not moved is nothing to do",
			state: world(stacks(web), projects(running(web)), remember("web", applied(web)), latest("sha256:here")),
		},
		{
			name:  "a tag that nobody was asked about is nothing to do",
			state: world(stacks(web), projects(running(web)), remember("web", applied(web)), latest("")),
		},
		{
			name:  "a tag that has moved is pulled, as if git had changed",
			state: world(stacks(web), projects(running(web)), remember("web", applied(web)), latest("sha256:new")),
			want: `pull web: changed: app has an older image than app:1 at the registry (sha256:new)
				up web: changed: app has an older image than app:1 at the registry (sha256:new)`,
		},
		{
			name:   "a tag that has moved is a change when healing is off",
			state:  world(stacks(web), projects(running(web)), remember("web", applied(web)), latest("sha256:new")),
			noHeal: true,
			want: `pull web: changed: app has an older image than app:1 at the registry (sha256:new)
				up web: changed: app has an older image than app:1 at the registry (sha256:new)`,
		},
		{
			name: "a watched image that another stack has pulled already is a change when healing is off",
			state: world(stacks(web), projects(running(web, first(func(c *Container) { c.Image = "old" }))),
				remember("web", applied(web)), latest("sha256:here")),
			noHeal: true,
			want:   `up web: changed: web-app-1 has another image than app:1 (old → id of app:1)`,
		},
		{
			name: "an update for another reason does not pull a timed image that is not due",
			state: world(stacks(stack("web", app(watched), changed)), projects(running(web)), remember("web", applied(web)),
				latest("sha256:here")),
			want: `up web: changed: web-app-1 has another configuration`,
		},
		{
			name:  "a timed image that is not here is pulled",
			state: world(stacks(stack("web", app(watched), app(func(s *Service) { s.Image = "app:2" }))), nil),
			want: `pull web: new
				up web: new`,
		},
		{
			name: "a moved tag of a service without containers is not asked for",
			state: world(stacks(stack("web", app(watched), app(func(s *Service) { s.Scale = 0 }))),
				projects(running(stack("web", app(func(s *Service) { s.Scale = 0 })))), latest("sha256:new")),
		},
		{
			name: "a moved tag whose pull failed waits for its pause",
			state: world(stacks(stack("web", app(always))), projects(running(web)), remember("web", failed("web-1", 60e9)),
				latest("sha256:new")),
			want: `hold web: retry: it broke`,
		},
		{
			name:  "a tag that nobody watches may move",
			state: world(stacks(stack("web")), projects(running(stack("web"))), remember("web", applied(stack("web"))), latest("sha256:new")),
		},
	})
}

func TestTheRepositoryOfAReference(t *testing.T) {
	for ref, want := range map[string]string{
		"app": "app", "app:1": "app", "app@sha256:1": "app", "host:5000/app": "host:5000/app",
		"host:5000/a/app:1": "host:5000/a/app", "host:5000/app:1@sha256:1": "host:5000/app",
	} {
		if got := Repository(ref); got != want {
			t.Errorf("%s: %s", ref, got)
		}
	}
}

func TestImagesThatHaveToCome(t *testing.T) {
	changedTo := func(change func(*Service)) Stack { return stack("web", changed, app(change)) }
	mounts := func(s *Service) { s.MountedImages = []string{"assets:1"} }
	here := func(st *State) { st.Observed.Images["assets:1"] = "id of assets:1" }
	web := stack("web")
	run(t, []buildCase{
		{
			name:  "an image of another platform may be here under that name",
			state: world(stacks(changedTo(func(s *Service) { s.Platform = "linux/arm64" })), projects(running(web)), remember("web", applied(web))),
			want: `pull web: changed: web-app-1 has another configuration
				up web: changed: web-app-1 has another configuration`,
		},
		{
			name:  "an image that is mounted is missing",
			state: world(stacks(changedTo(mounts)), projects(running(web)), remember("web", applied(web))),
			want: `pull web: changed: web-app-1 has another configuration
				up web: changed: web-app-1 has another configuration`,
		},
		{
			name:  "an image that is mounted is here",
			state: world(stacks(changedTo(mounts)), projects(running(web)), remember("web", applied(web)), here),
			want:  `up web: changed: web-app-1 has another configuration`,
		},
	})
}
