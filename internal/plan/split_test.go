package plan

import "testing"

// What a stack is known by when it moves, loses services and is held, in several
// commits or at once.

func TestAStackWithNothingToRunWaitsForItsName(t *testing.T) {
	web, shop := stack("web", volume("web_data", "v1")), stack("shop", app(func(s *Service) { s.Image = "shop:1" }))
	swapped := func(s Stack, name string) Stack { s.Name = name; return s }
	none := swapped(stack("shop", app(func(s *Service) { s.Image, s.Scale = "shop:1", 0 })), "web")
	none.Networks = web.Networks
	run(t, []buildCase{{
		name: "which the other one keeps, as it is held",
		state: world(stacks(swapped(stack("web", volume("shop_data", "v1")), "shop"), none), projects(running(web), running(shop)), commit,
			remember("web", applied(web)), remember("shop", applied(shop)), func(st *State) { st.Before = stacks(web, shop) }),
		loses: []string{"/data"},
		want: `checkout 2222222: from 1111111
			hold web: needs: its name is still taken by web, which does not give it up yet
			hold shop: data: service app has its data in volume web_data (at /data), and would start with volume shop_data, which does not exist or is empty; keep the project name (name: web), fill volume shop_data with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
	}})
}

func TestWhatIsLeftOfAStackIsKnownByTheCloneHead(t *testing.T) {
	twin := func(name string) func(*Stack) { return with(name, func(s *Service) { s.Image = name + ":1" }) }
	old := stack("web", twin("db"), twin("job"))
	run(t, []buildCase{{
		name: "containers of services that it lost before do not count against it",
		state: world(stacks(stack("site", changed)), projects(running(old)), commit, remember("web", applied(old)),
			func(st *State) { st.Before = stacks(stack("web", twin("db"))) }),
		want: `stop web: moved: to site
			checkout 2222222: from 1111111
			up site: moved: from web (after stop web)`,
	}})
}

func TestAServiceIsKnownByNameAndImage(t *testing.T) {
	db := func(image, volume string) func(*Stack) {
		return with("db", func(s *Service) {
			s.Image, s.Hash, s.Mounts = image, image, []Mount{{Target: "/data", Type: MountVolume, Source: volume}}
		})
	}
	blog := stack("blog", db("postgres:1", "blog_db"))
	store := stack("store", app(func(s *Service) {
		s.Name, s.Image, s.Mounts = "db", "postgres:1", []Mount{{Target: "/data", Type: MountVolume, Source: "store_db"}}
	}))
	here := func(st *State) {
		st.Before = stacks(blog)
		st.Observed.Images["postgres:1"], st.Observed.Images["redis:1"] = "id of postgres:1", "id of redis:1"
	}
	after := stack("blog", changed, db("redis:1", "blog_db"))
	run(t, []buildCase{{
		name:  "it goes to another stack, and another service takes its name",
		state: world(stacks(after, store), projects(running(blog)), commit, here, remember("blog", applied(blog))),
		want: `checkout 2222222: from 1111111
			up blog: changed: blog-app-1 has another configuration, blog-db-1 has another configuration
			up store: new (after up blog)`,
	}, {
		name:  "both stay as they are while its data would stay behind",
		state: world(stacks(after, store), projects(running(blog)), commit, here, remember("blog", applied(blog))),
		loses: []string{"/data"},
		want: `checkout 2222222: from 1111111
			hold blog: needs: service db stays what it was until the stack that it goes to is no longer held
			hold store: data: service db has its data in volume blog_db (at /data), and would start with volume store_db, which does not exist or is empty; keep the project name (name: blog), fill volume store_db with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
	}})
}

func TestAServiceWaitsForAnUpThatMayStillMakeItElsewhere(t *testing.T) {
	db := with("db", func(s *Service) { s.Image = "db:1" })
	blog, shop := stack("blog", db), stack("shop", db)
	here := func(st *State) { st.Observed.Images["db:1"] = "id of db:1" }
	run(t, []buildCase{{
		name:  "of a stack that goes on without it",
		state: world(stacks(stack("blog"), shop), nil, commit, here, busy("blog"), func(st *State) { st.Before = stacks(blog) }),
		want: `checkout 2222222: from 1111111
			hold blog: busy: an operation still runs
			hold shop: needs: service db is still taken by blog, which does not give it up yet (busy: an operation still runs)`,
	}, {
		name:  "of a stack that both had it before",
		state: world(stacks(stack("blog"), shop), nil, commit, here, busy("blog"), func(st *State) { st.Before = stacks(blog, shop) }),
		want: `checkout 2222222: from 1111111
			up shop: new
			hold blog: busy: an operation still runs`,
	}})
}

func TestAnEnvFileIsCopiedWhereAStackIsSplit(t *testing.T) {
	twin := func(name string) func(*Stack) { return with(name, func(s *Service) { s.Image = name + ":1" }) }
	home := stack("home", twin("db"), twin("job"))
	rec := applied(home)
	rec.Untracked = []string{"home/.env"}
	run(t, []buildCase{{
		name:  "into so many that none takes its place",
		state: world(stacks(stack("web", changed)), projects(running(home)), commit, remember("home", rec), func(st *State) { st.Before = stacks(home) }),
		loses: []string{"home/.env"},
		want: `checkout 2222222: from 1111111
			hold web: data: home/.env is not tracked by git and stays behind where the stack was before; copy it: cp home/.env web/.env`,
	}})
}

func TestAnIgnoredStackIsNobodysHeirByWhatItHas(t *testing.T) {
	blog := stack("blog", with("db"))
	web := stack("web", volume("web_data", "v1"), changed)
	run(t, []buildCase{{
		name: "a service that went elsewhere is still held by its data",
		state: world(stacks(stack("other", mode(Ignored), with("db")), web), projects(running(stack("blog", volume("blog_data", "v1"), with("db")))),
			remember("blog", applied(blog))),
		loses: []string{"/data"},
		want:  `hold web: data: service app has its data in volume blog_data (at /data), and would start with volume web_data, which does not exist or is empty; keep the project name (name: blog), fill volume web_data with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
	}})
}

func TestAStackThatTookANameDoesNotHideWhoseItWas(t *testing.T) {
	named := func(s Stack, name string) Stack { s.Name = name; return s }
	job := func(volume string) func(*Stack) {
		return with("job", func(s *Service) {
			s.Image, s.Mounts = "job:1", []Mount{{Target: "/data", Type: MountVolume, Source: volume}}
		})
	}
	old := stack("blog", job("blog_job"))
	heir := named(stack("blog"), "store") // blog's file, and its name goes to web's
	web := named(stack("web", app(func(s *Service) { s.Image = "web:1" }), job("web_job")), "blog")
	run(t, []buildCase{{
		name: "at the commit after the one in which the service moved, too",
		state: world(stacks(heir, web), projects(running(old)), commit, remember("blog", applied(old)),
			func(st *State) {
				st.Before = stacks(heir, web)
				st.Observed.Images["job:1"], st.Observed.Images["web:1"] = "id of job:1", "id of web:1"
			}),
		loses: []string{"/data"},
		want: `checkout 2222222: from 1111111
			hold store: needs: its place is still taken by blog, which does not give it up yet
			hold blog: data: service job has its data in volume blog_job (at /data), and would start with volume web_job, which does not exist or is empty; fill volume web_job with the data by hand, or, to start without it, give the service the label gitops.data=new in git`,
	}})
}

func TestANetworkOfWhatHasAnothersNameIsNotRedefinedUnderOthers(t *testing.T) {
	front := func(hash string) func(*Stack) {
		return func(s *Stack) {
			s.Networks = []Resource{{Name: "front", Hash: hash}}
			s.Services[0].Networks = []string{"front"}
		}
	}
	was := stack("web", front("n1"))
	shop := stack("shop", front("n2")) // had the name web, of which only the network is left
	foreign := Running{Project: "foreign", Containers: []Container{{ID: "f", Name: "f", Service: "f", State: "running", Networks: map[string]string{"front": "id of front"}}}}
	left := running(was, onlyNetworks)
	left.Networks[0].Labelled = true
	run(t, []buildCase{{
		name:  "others are on it",
		state: world(stacks(shop, stack("web")), projects(left, foreign)),
		want: `up web: new
			hold shop: network: the definition of network front changed, and project foreign is on it; take them off it, or give the network another name`,
	}, {
		name:  "that stack is broken",
		state: world(stacks(shop, stack("web", invalid("it is broken"))), projects(left)),
		want: `hold shop: network: the definition of network front changed, and it is still web's (invalid: it is broken); remove it (docker network rm front), or give the network another name
			hold web: invalid: it is broken`,
	}, {
		name:  "nobody is: it goes when that stack comes up",
		state: world(stacks(shop, stack("web")), projects(left)),
		want: `up web: new
			up shop: new (after up web)`,
	}})
}

func TestAHeirIsForgottenWhenTheProjectGoesOn(t *testing.T) {
	web := stack("web")
	rec := applied(web)
	rec.Heir = "blog/compose.yaml"
	p := Build(world(stacks(web), projects(running(web)), remember("web", rec)), Policy{Heal: true})
	if heir, said := p.Heirs["web"]; !said || heir.File != "" {
		t.Errorf("heirs are %v, want web without one", p.Heirs)
	}
}
