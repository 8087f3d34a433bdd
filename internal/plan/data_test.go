package plan

import "testing"

func TestADoubtWithoutAnAnswerHoldsAndSaysSo(t *testing.T) {
	blog := stack("blog", volume("blog_data", "v1"))
	weblog := stack("weblog", volume("weblog_data", "v1"))
	env := func(s *Stack) { s.Untracked = []string{"blog/.env"} }
	unsure := `checkout 2222222: from 1111111
		hold weblog: data: service app has its data in volume blog_data (at /data), and would start with volume weblog_data; whether anything would stay behind could not be found out, for the reason in the log; that is tried again`
	run(t, []buildCase{
		{
			name:   "about a volume",
			state:  world(stacks(weblog), projects(running(blog)), commit, func(st *State) { st.Before = stacks(blog) }),
			unsure: []string{"/data"},
			want:   unsure,
		},
		{
			name:   "what is known to be lost is said first",
			state:  world(stacks(stack("weblog", volume("weblog_data", "v1"), mounts(MountClone, "weblog/conf", "/conf"))), projects(running(stack("blog", volume("blog_data", "v1"), mounts(MountClone, "blog/conf", "/conf")))), commit, func(st *State) { st.Before = stacks(blog) }),
			unsure: []string{"/data"},
			loses:  []string{"/conf"},
			want: `checkout 2222222: from 1111111
				hold weblog: data: service app has its data in ./blog/conf (at /conf), and would start with ./weblog/conf, which does not exist or is empty; move the content to ./weblog/conf, or, to start without it, give the service the label gitops.data=new in git`,
		},
		{
			name:   "about an env file",
			state:  world(stacks(stack("weblog")), projects(running(stack("blog"))), commit, func(st *State) { st.Before = stacks(stack("blog", env)) }),
			unsure: []string{"blog/.env"},
			want: `checkout 2222222: from 1111111
				hold weblog: data: blog/.env is not tracked by git, and the stack reads weblog/.env now; whether anything would stay behind could not be found out, for the reason in the log; that is tried again`,
		},
	})
}
