package plan

import (
	"slices"
	"testing"
	"time"
)

// in puts a stack into another folder.
func in(folder string) func(*Stack) {
	return func(s *Stack) { s.File = folder + "/compose.yaml" }
}

func image(ref string) func(*Stack) { return app(func(v *Service) { v.Image = ref }) }
func port(n uint16) func(*Stack) {
	return app(func(v *Service) { v.Ports = []Port{{Protocol: "tcp", First: n, Last: n}} })
}

func called(name string) func(*Stack)     { return app(func(v *Service) { v.ContainerName = name }) }
func blob(id string) func(*Stack)         { return func(s *Stack) { s.Blob = id } }
func untracked(f string) func(*Stack)     { return func(s *Stack) { s.Untracked = []string{f} } }
func before(s ...Stack) func(*State)      { return func(st *State) { st.Before = s; commit(st) } }
func newData(s *Stack)                    { s.Services[0].NewData = true }
func offline(st *State)                   { st.Offline = "no route to host" }
func edited(files ...string) func(*Stack) { return func(s *Stack) { s.Edited = files } }

func TestMoves(t *testing.T) {
	blog := stack("blog", blob("b1"), image("blog:1"))
	weblog := stack("weblog", blob("b1"), image("blog:1"))
	data := volume("blog_data", "v1")
	run(t, []buildCase{
		{
			name:  "a folder that got another name is one move, and the images come before the old one is stopped",
			state: world(stacks(weblog), projects(running(blog)), before(blog)),
			want: `pull weblog: moved: from blog
				stop blog: moved: to weblog (after pull weblog)
				checkout 2222222: from 1111111
				up weblog: moved: from blog (after stop blog)`,
		},
		{
			name: "a folder that got another name is known by the journal when the clone has moved on already",
			state: world(stacks(stack("weblog", blob("b1"), image("other:1"))), projects(running(blog)),
				remember("blog", Record{File: blog.File, Blob: "b1", Applied: "blog-1", Tried: "blog-1"})),
			want: `pull weblog: moved: from blog
				stop blog: moved: to weblog (after pull weblog)
				up weblog: moved: from blog (after stop blog)`,
		},
		{
			name:  "a folder that got another name is known by its services when nothing is remembered",
			state: world(stacks(weblog), projects(running(stack("blog", image("blog:0"))))),
			want: `pull weblog: moved: from blog
				stop blog: moved: to weblog (after pull weblog)
				up weblog: moved: from blog (after stop blog)`,
		},
		{
			name:  "a stack of other images takes no place",
			state: world(stacks(stack("weblog", image("app:1"))), projects(running(stack("blog", image("nginx:1"))))),
			want: `stop blog: removed
				up weblog: new`,
		},
		{
			name:  "a stack that was there before takes no place",
			state: world(stacks(weblog), projects(running(blog)), before(blog, weblog)),
			want: `stop blog: removed
				checkout 2222222: from 1111111
				pull weblog: new
				up weblog: new`,
		},
		{
			name:  "an image that is built needs the new files, and is there before the old one is stopped as well",
			state: world(stacks(stack("weblog", blob("b1"), app(func(v *Service) { v.Pull = PullBuild }))), projects(running(blog)), before(blog)),
			want: `checkout 2222222: from 1111111
				pull weblog: moved: from blog
				stop blog: moved: to weblog (after pull weblog)
				up weblog: moved: from blog (after stop blog)`,
		},
		{
			name:  "a folder that moved under a name that is kept is an update in place",
			state: world(stacks(stack("blog", in("apps/blog"), changed)), projects(running(stack("blog"))), before(stack("blog"))),
			want: `checkout 2222222: from 1111111
				up blog: changed: blog-app-1 has another configuration`,
		},
		{
			name:  "the old one goes on while the new one is invalid",
			state: world(stacks(stack("weblog", blob("b1"), invalid("no image"))), projects(running(blog)), before(blog)),
			want: `checkout 2222222: from 1111111
				hold weblog: invalid: no image
				hold blog: needs: it may be what weblog/compose.yaml is now, which does not load; it goes on as it is until that file is mended or removed`,
		},
		{
			name:  "the new one waits while the old one can't be stopped",
			state: world(stacks(weblog), projects(running(blog)), before(blog), remember("blog", failed(StopDigest, time.Minute))),
			want: `checkout 2222222: from 1111111
				hold weblog: needs: its place is still taken by blog, which does not give it up yet (retry: it broke)
				hold blog: retry: it broke`,
		},
		{
			name:  "nothing is moved while the remote can't be asked",
			state: world(stacks(stack("db")), projects(running(stack("db"), exited(1)), running(blog)), offline),
			want:  `up db: drift: db-app-1 exited (1)`,
		},
		{
			name:  "a volume with content would stay behind",
			state: world(stacks(stack("weblog", blob("b1"), image("blog:1"), volume("weblog_data", "v1"))), projects(running(stack("blog", blob("b1"), image("blog:1"), data))), before(blog)),
			loses: []string{"/data"},
			want: `checkout 2222222: from 1111111
				hold weblog: data: service app has its data in volume blog_data (at /data), and would start with volume weblog_data, which does not exist or is empty; ` +
				`keep the project name (name: blog), fill volume weblog_data with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
		},
		{
			name:  "a volume with content may stay behind when git says so",
			state: world(stacks(stack("weblog", blob("b1"), volume("weblog_data", "v1"), newData)), projects(running(stack("blog", data))), before(blog)),
			loses: []string{"/data"},
			want: `stop blog: moved: to weblog
				checkout 2222222: from 1111111
				up weblog: moved: from blog (after stop blog)`,
		},
		{
			name:  "a volume with a name of its own stays the same",
			state: world(stacks(stack("weblog", blob("b1"), volume("shared", "v1"))), projects(running(stack("blog", volume("shared", "v1")))), before(blog)),
			loses: []string{"/data"},
			want: `stop blog: moved: to weblog
				checkout 2222222: from 1111111
				up weblog: moved: from blog (after stop blog)`,
		},
		{
			name: "a folder with content would stay behind",
			state: world(stacks(stack("weblog", blob("b1"), mounts(MountClone, "weblog/data", "/data"))),
				projects(running(stack("blog", mounts(MountClone, "blog/data", "/data")))), before(blog)),
			loses: []string{"/data"},
			want: `checkout 2222222: from 1111111
				hold weblog: data: service app has its data in ./blog/data (at /data), and would start with ./weblog/data, which does not exist or is empty; ` +
				`move the content to ./weblog/data, or, to start without it, give the service the label gitops.data=new in git`,
		},
		{
			name:  "an edit that mounts an empty volume in place of one with content is held like a move",
			state: world(stacks(stack("blog", changed, volume("other", "v1"))), projects(running(stack("blog", data)))),
			loses: []string{"/data"},
			want: `hold blog: data: service app has its data in volume blog_data (at /data), and would start with volume other, which does not exist or is empty; ` +
				`fill volume other with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
		},
		{
			name:  "an env file that git does not track would stay behind",
			state: world(stacks(stack("weblog", blob("b1"))), projects(running(blog)), before(stack("blog", blob("b1"), untracked("blog/.env")))),
			loses: []string{"blog/.env"},
			want: `checkout 2222222: from 1111111
				hold weblog: data: blog/.env is not tracked by git and stays behind where the stack was before; move it: mv blog/.env weblog/.env`,
		},
		{
			name: "an env file would stay behind when the name is kept, too",
			state: world(stacks(stack("blog", in("apps/blog"), changed)), projects(running(blog)),
				remember("blog", Record{File: blog.File, Untracked: []string{"blog/db.env"}, Applied: "blog-1", Tried: "blog-1"})),
			loses: []string{"blog/db.env"},
			want:  `hold blog: data: blog/db.env is not tracked by git and stays behind where the stack was before; move it: mv blog/db.env apps/blog/db.env`,
		},
		{
			name: "a folder that moved first and got another name later is known by the journal, not by the label",
			state: world(stacks(stack("site", in("apps/blog"), volume("site_data", "v1"))), projects(running(stack("blog", data))),
				remember("blog", Record{File: "apps/blog/compose.yaml", Applied: "blog-1", Tried: "blog-1"})),
			loses: []string{"/data"},
			want: `hold site: data: service app has its data in volume blog_data (at /data), and would start with volume site_data, which does not exist or is empty; ` +
				`keep the project name (name: blog), fill volume site_data with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
		},
	})
}

func TestSwaps(t *testing.T) {
	a, b := stack("x", in("a")), stack("y", in("b"))
	run(t, []buildCase{
		{
			name:  "two stacks that swap names are both stopped first",
			state: world(stacks(stack("y", in("a")), stack("x", in("b"))), projects(running(a), running(b)), before(a, b)),
			want: `stop x: moved: to y
				stop y: moved: to x
				checkout 2222222: from 1111111
				up x: moved: from y (after stop x, stop y)
				up y: moved: from x (after stop x, stop y)`,
		},
		{
			name: "two stacks that swap ports stop those services first",
			state: world(stacks(stack("a", port(81), changed), stack("b", port(80), changed)),
				projects(running(stack("a", port(80))), running(stack("b", port(81))))),
			want: `stop a (app): changed: port 80/tcp goes to b
				stop b (app): changed: port 81/tcp goes to a
				up a: changed: a-app-1 has another configuration (after stop a, stop b)
				up b: changed: b-app-1 has another configuration (after stop a, stop b)`,
		},
		{
			name: "a port that is given up is free before it is taken",
			state: world(stacks(stack("a", port(80), changed), stack("b", port(90), changed)),
				projects(running(stack("a")), running(stack("b", port(80))))),
			want: `up b: changed: b-app-1 has another configuration
				up a: changed: a-app-1 has another configuration (after up b)`,
		},
		{
			name: "a port that is not given up yet is waited for",
			state: world(stacks(stack("a", port(80), changed), stack("b", port(90), changed)),
				projects(running(stack("a")), running(stack("b", port(80)))), remember("b", failed("b-1+", time.Minute))),
			want: `hold a: needs: port 80/tcp is still taken by b, which does not give it up yet (retry: it broke)
				hold b: retry: it broke`,
		},
		{
			name: "a port of another address is no matter",
			state: world(stacks(stack("a", app(func(v *Service) { v.Ports = []Port{{IP: "127.0.0.1", Protocol: "tcp", First: 80, Last: 80}} }), changed), stack("b", port(90), changed)),
				projects(running(stack("a")), running(stack("b", app(func(v *Service) { v.Ports = []Port{{IP: "10.0.0.1", Protocol: "tcp", First: 80, Last: 80}} }))))),
			want: `up a: changed: a-app-1 has another configuration
				up b: changed: b-app-1 has another configuration`,
		},
		{
			name: "two stacks that swap container names have those containers removed first",
			state: world(stacks(stack("a", called("two"), changed), stack("b", called("one"), changed)),
				projects(running(stack("a", called("one"))), running(stack("b", called("two"))))),
			want: `stop a (app): changed: container name one goes to b
				stop b (app): changed: container name two goes to a
				up a: changed: one has another configuration (after stop a, stop b)
				up b: changed: two has another configuration (after stop a, stop b)`,
		},
		{
			name: "a folder of the host that two want to mount is not mounted twice on the way",
			state: world(stacks(stack("new", image("db:2"), mounts(MountHost, "/srv/db", "/data"))),
				projects(running(stack("old", with("x"), image("db:1"), mounts(MountHost, "/srv/db", "/data")))), remember("new", applied(stack("new"))), func(st *State) { st.Observed.Images["db:2"] = "2" }),
			want: `stop old: removed
				up new: drift: network new_default is missing, app is missing (after stop old)`,
		},
	})
	p := Build(world(stacks(stack("a", called("two"), changed), stack("b", called("one"), changed)),
		projects(running(stack("a", called("one"))), running(stack("b", called("two"))))), Policy{Heal: true})
	if !p.Ops[0].FreeNames || !slices.Equal(p.Ops[0].Services, []string{"app"}) {
		t.Errorf("the name is not freed: %+v", p.Ops[0])
	}
}

func TestServicesThatMove(t *testing.T) {
	db := func(s *Stack) { with("db", func(v *Service) { v.Image = "db:1" })(s) }
	run(t, []buildCase{
		{
			name:  "a service is gone from the old stack before it comes up in the new one, and its image is here before",
			state: world(stacks(stack("a"), stack("b", db)), projects(running(stack("a", db)), running(stack("b"))), before(stack("a", db), stack("b"))),
			want: `checkout 2222222: from 1111111
				pull b: changed: db is new
				up a: changed: db is removed (after pull b)
				up b: changed: db is new (after up a)`,
		},
		{
			name: "a service stays where it was while the new stack is held",
			state: world(stacks(stack("a", changed), stack("b", db)), projects(running(stack("a", db)), running(stack("b"))),
				remember("b", failed("b-1", time.Minute))),
			want: `up a: changed: a-app-1 has another configuration
				hold b: retry: it broke`,
		},
		{
			name: "a service that only goes away stays, too, and then there is nothing to do",
			state: world(stacks(stack("a"), stack("b", db)), projects(running(stack("a", db)), running(stack("b"))),
				remember("b", failed("b-1", time.Minute))),
			want: `hold b: retry: it broke`,
		},
		{
			name: "a service whose data would stay behind goes on where it is",
			state: world(stacks(stack("a"), stack("b", with("db", func(v *Service) {
				v.Image, v.Mounts = "db:1", []Mount{{Target: "/data", Type: MountVolume, Source: "b_data"}}
			}))), projects(running(stack("a", with("db", func(v *Service) {
				v.Image, v.Mounts = "db:1", []Mount{{Target: "/data", Type: MountVolume, Source: "a_data"}}
			}))), running(stack("b")))),
			loses: []string{"/data"},
			want: `hold b: data: service db has its data in volume a_data (at /data), and would start with volume b_data, which does not exist or is empty; ` +
				`keep the project name (name: a), fill volume b_data with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
		},
	})
}

func TestSharedNetworks(t *testing.T) {
	edge := func(hash string) func(*Stack) {
		return func(s *Stack) {
			s.Networks = append(s.Networks, Resource{Name: "edge", Hash: hash})
			s.Services[0].Networks = append(slices.Clone(s.Services[0].Networks), "edge")
		}
	}
	old, next := stack("proxy", edge("n1")), stack("proxy", edge("n2"))
	web, api := stack("web", needs("edge")), stack("api", needs("edge"))
	run(t, []buildCase{
		{
			name:  "a network that only its own stack is on is replaced by its Up",
			state: world(stacks(next), projects(running(old))),
			want:  `up proxy: changed: network edge has another definition`,
		},
		{
			name:  "a network that managed stacks are on: they are taken off it, and brought back",
			state: world(stacks(next, web, api), projects(running(old), running(web), running(api))),
			want: `stop api (app): changed: network edge of proxy is made anew
				stop web (app): changed: network edge of proxy is made anew
				up proxy: changed: network edge has another definition (after stop api, stop web)
				up api: changed: network edge of proxy is made anew (after stop api, up proxy)
				up web: changed: network edge of proxy is made anew (after stop web, up proxy)`,
		},
		{
			name:  "a network that a removed stack is on is replaced after that is stopped",
			state: world(stacks(next), projects(running(old), running(web))),
			want: `stop web: removed
				up proxy: changed: network edge has another definition (after stop web)`,
		},
		{
			name:  "a network that a foreign project is on is held",
			state: world(stacks(next, web), projects(running(old), running(web), running(stack("theirs", needs("edge")), notOurs))),
			want:  `hold proxy: network: the definition of network edge changed, and project theirs is on it; take them off it, or give the network another name`,
		},
		{
			name: "a network that a container of no project is on is held",
			state: world(stacks(next), projects(running(old)),
				func(st *State) { st.Observed.Strangers = map[string][]string{"edge": {"tmp"}} }),
			want: `hold proxy: network: the definition of network edge changed, and container tmp is on it; take them off it, or give the network another name`,
		},
		{
			name:  "a network that a held stack is on is held as well",
			state: world(stacks(next, stack("web", needs("edge"), invalid("no image"))), projects(running(old), running(web))),
			want: `hold proxy: network: the definition of network edge changed, and stack web is on it; take them off it, or give the network another name
				hold web: invalid: no image`,
		},
		{
			name:  "nobody is taken off a network whose stack waits",
			state: world(stacks(next, web), projects(running(old), running(web)), remember("proxy", failed("proxy-1", time.Minute))),
			want:  `hold proxy: retry: it broke`,
		},
		{
			name:   "a stack that was taken off a network and not brought back is, with healing off",
			state:  world(stacks(next, web), projects(running(next), running(web, exited(0))), remember("web", Record{Applied: "web-1", Tried: RoomDigest})),
			noHeal: true,
			want:   `up web: changed: web-app-1 exited (0)`,
		},
	})
	p := Build(world(stacks(next, web), projects(running(old), running(web))), Policy{Heal: true})
	for _, op := range p.Ops {
		if op.ID == "up web" && !slices.Equal(op.Orders.Recreate, []string{"app"}) || op.ID == "up proxy" && !slices.Equal(op.Orders.Networks, []string{"edge"}) {
			t.Errorf("%s: orders %+v", op.ID, op.Orders)
		}
	}
}

func TestChangesByHand(t *testing.T) {
	web := stack("web", changed, edited("web/compose.yaml"))
	run(t, []buildCase{
		{
			name:  "hold a stack that differs",
			state: world(stacks(web), projects(running(stack("web"))), offline),
			want:  `hold web: local: web/compose.yaml was changed by hand in the clone; commit that or undo it there (git checkout -- web/compose.yaml), or set REPOSITORY_LOCAL_CHANGES=keep`,
		},
		{
			name:  "are no matter to one that does not",
			state: world(stacks(stack("web", edited("web/compose.yaml"))), projects(running(stack("web"))), offline),
		},
	})
	if got := Build(world(stacks(web), projects(running(stack("web")))), Policy{Heal: true, KeepEdits: true}).String(); got != "up web: changed: web-app-1 has another configuration\n" {
		t.Errorf("with changes to be kept: %s", got)
	}
}

func TestWhatTheFirstCheckFoundIsRepairedLater(t *testing.T) {
	web := stack("web")
	run(t, []buildCase{
		{
			name: "with healing off",
			state: world(stacks(web), projects(running(web, exited(1))), remember("web", applied(web)),
				func(st *State) { st.Repair = map[string]bool{"web": true} }),
			noHeal: true,
			want:   `up web: drift: web-app-1 exited (1)`,
		},
		{
			name:   "a first application that was cut off is no drift",
			state:  world(stacks(web), projects(running(web, exited(1))), remember("web", Record{Tried: "web-1"})),
			noHeal: true,
			want:   `up web: changed: web-app-1 exited (1)`,
		},
	})
}

func TestWake(t *testing.T) {
	web, db := stack("web"), stack("db")
	p := Build(world(stacks(web, db), nil, remember("web", failed("web-1", time.Hour)), remember("db", failed("db-1", time.Minute))), Policy{Heal: true})
	if want := noon().Add(time.Minute); !p.Wake.Equal(want) {
		t.Errorf("wakes at %s, want %s", p.Wake, want)
	}
	p = Build(world(stacks(web), projects(running(web)), remember("web", failed("web-1", -time.Hour))), Policy{Heal: true})
	if !p.Wake.IsZero() {
		t.Errorf("wakes at %s for what was due before", p.Wake)
	}
}

func TestWhoHasMountedAFolderAlreadyWaitsForNobodyElse(t *testing.T) {
	media := mounts(MountHost, "/srv/media", "/media")
	old, web := stack("old", media, app(func(s *Service) { s.Image = "other:1" })), stack("web", media)
	run(t, []buildCase{
		{
			name:  "it had it before the other one goes",
			state: world(stacks(stack("web", media, changed)), projects(running(old), running(web)), commit, remember("web", applied(web))),
			want: `stop old: removed
				checkout 2222222: from 1111111
				up web: changed: web-app-1 has another configuration`,
		},
		{
			name:  "it gets it from the other one",
			state: world(stacks(stack("web", media, changed)), projects(running(old), running(stack("web"))), commit, remember("web", applied(web))),
			want: `stop old: removed
				checkout 2222222: from 1111111
				up web: changed: web-app-1 has another configuration (after stop old)`,
		},
	})
}
