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
	})
}
