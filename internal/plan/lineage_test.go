package plan

import "testing"

// The clone goes on with the next commit while what moved in one before is held.

func TestAMoveThatIsHeldIsStillOneAtTheNextCommit(t *testing.T) {
	blog := stack("blog", volume("blog_data", "v1"))
	weblog := stack("weblog", volume("weblog_data", "v1"))
	shop := stack("shop")
	run(t, []buildCase{
		{
			name: "a stack with another folder and name",
			state: world(stacks(weblog, shop), projects(running(blog)), commit, remember("blog", applied(blog)),
				func(st *State) { st.Before = stacks(weblog) }),
			loses: []string{"/data"},
			want: `checkout 2222222: from 1111111
				up shop: new
				hold weblog: data: service app has its data in volume blog_data (at /data), and would start with volume weblog_data, which does not exist or is empty; keep the project name (name: blog), fill volume weblog_data with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
		},
		{
			name: "a stack that was beside the one that goes does not come from it",
			state: world(stacks(weblog), projects(running(blog)), commit, remember("blog", applied(blog)),
				func(st *State) { st.Before = stacks(blog, weblog) }),
			loses: []string{"/data"},
			want: `stop blog: removed
				checkout 2222222: from 1111111
				up weblog: new`,
		},
	})
	db := with("db", func(s *Service) {
		s.Image = "db:1"
		s.Mounts = []Mount{{Target: "/data", Type: MountVolume, Source: "blog_db"}}
	})
	old, left := stack("blog", db), stack("blog", func(s *Stack) { s.Digest += "+" })
	store := stack("store", app(func(s *Service) {
		s.Name, s.Image = "db", "db:1"
		s.Mounts = []Mount{{Target: "/data", Type: MountVolume, Source: "store_db"}}
	}))
	run(t, []buildCase{
		{
			name: "a service that went to another stack",
			state: world(stacks(left, store), projects(running(old)), commit, remember("blog", applied(old)),
				func(st *State) { st.Before = stacks(left, store); st.Observed.Images["db:1"] = "id of db:1" }),
			loses: []string{"/data"},
			want: `checkout 2222222: from 1111111
				hold store: data: service db has its data in volume blog_db (at /data), and would start with volume store_db, which does not exist or is empty; keep the project name (name: blog), fill volume store_db with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
		},
		{
			name: "a service that both stacks had",
			state: world(stacks(left, store), projects(running(old)), commit, remember("blog", applied(old)),
				func(st *State) { st.Before = stacks(old, store); st.Observed.Images["db:1"] = "id of db:1" }),
			loses: []string{"/data"},
			want: `checkout 2222222: from 1111111
				up blog: changed: db is removed
				up store: new`,
		},
	})
}

func TestWhatABrokenStackHasIsNotTaken(t *testing.T) {
	named := app(func(s *Service) { s.ContainerName = "proxy" })
	blog := stack("blog", named)
	run(t, []buildCase{
		{
			name:  "a container's name",
			state: world(stacks(stack("blog", invalid("it is broken")), stack("shop", named)), projects(running(blog))),
			want: `hold blog: invalid: it is broken
				hold shop: needs: container name proxy is still taken by blog, which does not give it up yet (invalid: it is broken)`,
		},
		{
			name:  "that of one that was ignored when git last had it",
			state: world(stacks(stack("shop", named)), projects(running(blog)), remember("blog", Record{File: blog.File, Ignored: true})),
			want:  `hold shop: name: service app wants the container name proxy, which service app of blog has, which is ignored (gitops.ignore=true); give one of them another container_name:, or remove the one that is not needed`,
		},
	})
}

func TestAMoveIsKnownByWhatIsRemembered(t *testing.T) {
	web := stack("web")
	other := func(s Stack, file string) Stack { s.File = file + "/compose.yaml"; return s }
	was := func(s Stack) Record { r := applied(s); r.Blob = s.Blob; return r }
	shop := stack("shop")
	run(t, []buildCase{
		{
			name: "names that were swapped, and held, are still those of each other at the next commit",
			state: world(stacks(other(web, "shop"), other(shop, "web")), projects(running(web), running(shop)), commit,
				remember("web", was(web)), remember("shop", was(shop)), func(st *State) { st.Before = st.Wanted }),
			want: `stop shop: moved: to web
				stop web: moved: to shop
				checkout 2222222: from 1111111
				up shop: moved: from web (after stop shop, stop web)
				up web: moved: from shop (after stop shop, stop web)`,
		},
		{
			name: "a heir that was found before is one, however it has changed",
			state: world(stacks(stack("blog", app(func(s *Service) { s.Name, s.Image = "server", "other:1" }))), projects(running(web)),
				remember("web", Record{File: web.File, Heir: "blog/compose.yaml"})),
			want: `pull blog: moved: from web
				stop web: moved: to blog (after pull blog)
				up blog: moved: from web (after stop web)`,
		},
		{
			name: "the name is another's whose file is broken",
			state: world(stacks(other(stack("blog"), "web"), other(stack("web", invalid("it is broken")), "shop")), projects(running(web)),
				remember("web", was(web))),
			want: `stop web: moved: to blog
				up blog: moved: from web (after stop web)
				hold web: invalid: it is broken`,
		},
		{
			name: "the name is one that another stack had which is gone",
			state: world(stacks(other(web, "shop")), projects(running(web), running(shop)),
				remember("web", was(web)), remember("shop", was(shop))),
			want: `stop shop: moved: to web
				stop web: removed
				up web: moved: from shop (after stop shop, stop web)`,
		},
		{
			name: "an Up of before the move that has not made anything yet",
			state: world(stacks(other(stack("blog"), "web")), nil, busy("web"),
				remember("web", Record{File: web.File, Tried: web.Digest})),
			want: `hold blog: needs: its place is still taken by web, which does not give it up yet (busy: an operation still runs)
				hold web: busy: an operation still runs`,
		},
		{
			name: "and its heir moves on",
			state: world(stacks(stack("shop", changed)), nil, commit, busy("web"),
				remember("web", Record{File: web.File, Heir: "blog/compose.yaml"}), func(st *State) { st.Before = stacks(stack("blog")) }),
			want: `checkout 2222222: from 1111111
				hold shop: needs: its place is still taken by web, which does not give it up yet (busy: an operation still runs)
				hold web: busy: an operation still runs`,
		},
		{
			name: "most of it was removed by hand",
			state: world(stacks(stack("blog", with("db", func(s *Service) { s.Image = "db:1" }))), projects(running(stack("web", app(func(s *Service) { s.Image = "gone:1" })))), commit,
				func(st *State) {
					st.Before = stacks(stack("web", app(func(s *Service) { s.Image = "gone:1" }), with("db", func(s *Service) { s.Image = "db:1" })))
					st.Observed.Images["db:1"] = "id of db:1"
				}),
			want: `stop web: moved: to blog
				checkout 2222222: from 1111111
				up blog: moved: from web (after stop web)`,
		},
	})
}

func TestServicesOfAStackThatGoesAreKnownInAnother(t *testing.T) {
	db := with("db", func(s *Service) {
		s.Image = "db:1"
		s.Mounts = []Mount{{Target: "/data", Type: MountVolume, Source: "store_db"}}
	})
	store := stack("store", db)
	blog := stack("blog")
	more := stack("blog", changed, with("db", func(s *Service) {
		s.Image = "db:1"
		s.Mounts = []Mount{{Target: "/data", Type: MountVolume, Source: "blog_db"}}
	}))
	here := func(st *State) { st.Observed.Images["db:1"] = "id of db:1" }
	run(t, []buildCase{
		{
			name:  "its data would stay behind: it goes on",
			state: world(stacks(more), projects(running(blog), running(store)), commit, here, func(st *State) { st.Before = stacks(blog, store) }),
			loses: []string{"/data"},
			want: `checkout 2222222: from 1111111
				hold blog: data: service db has its data in volume store_db (at /data), and would start with volume blog_db, which does not exist or is empty; keep the project name (name: store), fill volume blog_db with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
		},
		{
			name:  "its data is there: it ends before",
			state: world(stacks(more), projects(running(blog), running(store)), commit, here, func(st *State) { st.Before = stacks(blog, store) }),
			want: `stop store: removed
				checkout 2222222: from 1111111
				up blog: changed: blog-app-1 has another configuration, db is missing (after stop store)`,
		},
	})
}

func TestAContainersNameGoesFromOneServiceToAnother(t *testing.T) {
	name := func(s *Service) { s.ContainerName = "proxy" }
	before := stack("web", app(name), with("db", func(s *Service) { s.ContainerName = "" }))
	after := stack("web", changed, with("db", name))
	run(t, []buildCase{{
		name:  "of the same stack",
		state: world(stacks(after), projects(running(before)), remember("web", applied(before))),
		want: `stop web (app): changed: container name proxy goes to db
			up web: changed: proxy has another configuration, web-db-1 has another configuration (after stop web)`,
	}})
}

func TestAnEnvFileThatStaysBehindHoldsAtTheNextCommitToo(t *testing.T) {
	web := stack("web")
	moved := stack("web", changed, func(s *Stack) { s.File = "apps/web/compose.yaml" })
	run(t, []buildCase{{
		name: "the name is kept",
		state: world(stacks(moved), projects(running(web)), commit, func(st *State) { st.Before = stacks(moved) },
			remember("web", Record{File: web.File, Applied: web.Digest, Untracked: []string{"web/.env"}})),
		loses: []string{"web/.env"},
		want: `checkout 2222222: from 1111111
			hold web: data: web/.env is not tracked by git and stays behind where the stack was before; move it: mv web/.env apps/web/.env`,
	}, {
		name: "and it moves on while it is held",
		state: world(stacks(stack("blog", func(s *Stack) { s.File = "apps/blog/compose.yaml" })), projects(running(web)), commit,
			func(st *State) { st.Before = stacks(stack("blog")) },
			remember("web", Record{File: web.File, Applied: web.Digest, Untracked: []string{"web/.env"}, Heir: "blog/compose.yaml"})),
		loses: []string{"web/.env"},
		want: `checkout 2222222: from 1111111
			hold blog: data: web/.env is not tracked by git and stays behind where the stack was before; move it: mv web/.env apps/blog/.env`,
	}, {
		name: "two that are where they belong",
		state: world(stacks(moved), projects(running(web)), commit, func(st *State) { st.Before = stacks(moved) },
			remember("web", Record{File: web.File, Applied: web.Digest, Untracked: []string{"web/.env", "web/db.env"}})),
		want: `checkout 2222222: from 1111111
			up web: changed: web-app-1 has another configuration`,
	}})
}

func TestAServiceThatStaysKeepsItsPort(t *testing.T) {
	port := []Port{{Protocol: "tcp", First: 8080, Last: 8080}}
	db := func(volume string, ports []Port) func(*Stack) {
		return with("db", func(s *Service) {
			s.Image, s.Ports, s.Mounts = "db:1", ports, []Mount{{Target: "/data", Type: MountVolume, Source: volume}}
		})
	}
	blog := stack("blog", db("blog_db", port))
	store := stack("store", db("store_db", nil))
	held := `hold store: data: service db has its data in volume blog_db (at /data), and would start with volume store_db, which does not exist or is empty; keep the project name (name: blog), fill volume store_db with the data by hand, or, to start without it, give the service the label gitops.data=new in git`
	here := func(st *State) {
		st.Observed.Images["db:1"] = "id of db:1"
		st.Before = stacks(blog)
	}
	run(t, []buildCase{
		{
			name:  "another stack wants it",
			state: world(stacks(stack("blog", changed), store, stack("web", app(func(s *Service) { s.Ports = port }))), projects(running(blog)), commit, here, remember("blog", applied(blog))),
			loses: []string{"/data"},
			want: `checkout 2222222: from 1111111
				up blog: changed: blog-app-1 has another configuration
				` + held + `
				hold web: needs: port 8080/tcp is still taken by blog, which does not give it up yet`,
		},
		{
			name:  "another service of its stack wants it",
			state: world(stacks(stack("blog", changed, app(func(s *Service) { s.Ports = port })), store), projects(running(blog)), commit, here, remember("blog", applied(blog))),
			loses: []string{"/data"},
			want: `checkout 2222222: from 1111111
				hold blog: needs: port 8080/tcp is still taken by service db, which stays until the stack that it goes to is no longer held
				` + held,
		},
	})
}
