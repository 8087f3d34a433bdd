package plan

import (
	"strings"
	"testing"
	"time"
)

// words are orders as text: "recreate a b; halt c".
func (o Orders) words() string {
	var out []string
	for _, l := range []struct {
		order string
		names []string
	}{
		{"recreate", o.Recreate},
		{"beside", o.Beside},
		{"former", o.Former},
		{"networks", o.Networks},
		{"orphans", o.Orphans},
		{"done", o.Done},
		{"halt", o.Halt},
		{"spare", o.Spare},
	} {
		if len(l.names) > 0 {
			out = append(out, l.order+" "+strings.Join(l.names, " "))
		}
	}
	return strings.Join(out, "; ")
}

func TestOrders(t *testing.T) {
	web := stack("web")
	job := app(func(s *Service) { s.Completes = true })
	two := stack("web", with("db"))
	redefined := func(s *Stack) { s.Networks[0].Hash = "n2" }
	inside := with("worker", func(s *Service) { s.Follows, s.Shares, s.Networks = []string{"app"}, []string{"app"}, nil })
	borrows := with("worker", func(s *Service) { s.Follows = []string{"app"} })
	begins := app(func(s *Service) { s.StartFirst, s.Parallelism = true, 1 })
	lives := func(r *Running) { r.Containers[1].SharesNetworkOf = r.Containers[0].ID }
	gone := first(func(c *Container) { c.Networks["web_default"] = "an id of before" })
	in := func(state string) func(*Running) { return first(func(c *Container) { c.State = state }) }
	hand := func(bare string) func(*Container) {
		return func(c *Container) { c.Hash = bare }
	}
	former := func(c *Container) { c.Digested, c.Former = true, true }
	uses := stack("web", app(func(s *Service) { s.Hash, s.Bare, s.Touched = "with files", "bare", noon().Add(-2*time.Hour) }))
	spareNetwork := func(labelled bool) func(*Running) {
		return func(r *Running) { r.Networks = append(r.Networks, Resource{Name: "web_old", Labelled: labelled}) }
	}
	for _, c := range []struct {
		name  string
		stack Stack
		runs  Running
		world func(*Observed)
		only  []string
		want  string
	}{
		{name: "nothing for what runs as it is wanted", stack: two, runs: running(two)},
		{name: "nothing for what does not run at all", stack: two},

		{name: "not started, and its networks taken from it for that", stack: web, runs: running(web, first(func(c *Container) { c.State, c.Networks = "created", nil })), want: "recreate app"},
		{name: "done, and its networks taken from it", stack: stack("web", job), runs: running(stack("web", job), first(func(c *Container) { c.State, c.Networks = "exited", nil })), want: "done app"},
		{name: "another configuration", stack: stack("web", changed), runs: running(web), want: "recreate app"},
		{name: "another image, which Compose sees itself", stack: web, runs: running(web), world: func(o *Observed) { o.Images["app:1"] = "another" }},
		{name: "stopped on a network that is gone", stack: two, runs: running(two, gone, in("exited")), want: "recreate app"},
		{name: "created on no network yet", stack: web, runs: running(web, in("created"), first(func(c *Container) { c.Networks["web_default"] = "" }))},
		{name: "running off its network", stack: web, runs: running(web, gone), want: "recreate app"},
		{name: "paused off its network", stack: web, runs: running(web, gone, in("paused")), want: "recreate app"},
		{name: "done on a network that is gone", stack: stack("web", job), runs: running(web, gone, exited(0)), want: "done app"},
		{name: "failed on a network that is gone", stack: stack("web", job), runs: running(web, gone, exited(1)), want: "recreate app"},
		{
			name: "follows a younger container", stack: stack("web", borrows),
			runs: running(stack("web", borrows), first(func(c *Container) { c.Created = noon() })), want: "recreate worker",
		},
		{
			name: "lives with a younger one that is its own", stack: stack("web", inside),
			runs: running(stack("web", inside), lives, first(func(c *Container) { c.Created = noon() })),
		},
		{name: "a container of compose run", stack: two, runs: running(two, gone, in("exited"), first(func(c *Container) { c.OneOff = true }))},
		{
			name: "a half-made replacement beside the old one", stack: web,
			runs: running(stack("web", app(func(s *Service) { s.Scale = 2 })), func(r *Running) {
				r.Containers[1].Number, r.Containers[1].Replacing, r.Containers[1].Hash = 1, true, "h0"
			}),
		},
		{name: "a half-made replacement without the old one", stack: web, runs: running(web, first(func(c *Container) { c.Replacing, c.Hash = true, "h0" })), want: "recreate app"},
		{name: "a dead container, which is removed before", stack: stack("web", changed), runs: running(web, in("dead"))},

		{name: "a network of another definition", stack: stack("web", redefined), runs: running(web), want: "recreate app; networks web_default"},
		{
			name: "a network of another definition, with one that is not on it, and one that is done", stack: stack("web", redefined, job, with("off", func(s *Service) { s.Networks = nil })),
			runs: running(stack("web", with("off", func(s *Service) { s.Networks = nil })), exited(0)), want: "networks web_default; done app off",
		},
		{name: "a network of unknown definition", stack: web, runs: running(web, func(r *Running) { r.Networks[0].Hash = "" })},

		{name: "a service that is no more", stack: web, runs: running(stack("web", with("old"))), want: "orphans old"},
		{name: "a service that is switched off", stack: stack("web", func(s *Stack) { s.Disabled = []string{"db"} }), runs: running(two)},
		{
			name: "a compose run of a service that is no more", stack: web,
			runs: running(two, func(r *Running) { r.Containers[1].OneOff = true }),
		},

		{name: "started by hand from files as they are", stack: uses, runs: running(uses, first(hand("bare")))},
		{name: "made by a release with its marks in the hash", stack: uses, runs: running(uses, first(former)), want: "former app"},
		{name: "the same from other files", stack: uses, runs: running(uses, first(former), first(hand("other"))), want: "recreate app"},
		{name: "started by hand from other files", stack: uses, runs: running(uses, first(hand("other"))), want: "recreate app"},
		{
			name: "started by hand, from an older image", stack: uses, runs: running(uses, first(hand("bare"))),
			world: func(o *Observed) { o.Images["app:1"] = "another" },
		},

		{name: "a job that is done", stack: stack("web", job), runs: running(web, exited(0)), want: "done app"},
		{name: "a job that may be done by then", stack: stack("web", job), runs: running(web), want: "done app"},
		{name: "a job that runs off its network", stack: stack("web", job), runs: running(web, gone), want: "recreate app"},
		{name: "a job that failed", stack: stack("web", job), runs: running(web, exited(3))},
		{name: "a job that is done and changed", stack: stack("web", job, changed), runs: running(web, exited(0)), want: "recreate app"},
		{name: "a job that is done, with another image", stack: stack("web", job), runs: running(web, exited(0)), world: func(o *Observed) { o.Images["app:1"] = "another" }},
		{name: "a service that is to run and ended well", stack: web, runs: running(web, exited(0))},

		{name: "lives with one that is started", stack: stack("web", inside), runs: running(stack("web", inside), lives, exited(1)), want: "halt worker"},
		{name: "lives with one that is paused", stack: stack("web", inside), runs: running(stack("web", inside), lives, in("paused"))},
		{name: "lives with one that lacks a container", stack: stack("web", inside, app(func(s *Service) { s.Scale = 2 })), runs: running(stack("web", inside), lives), want: "halt worker"},
		{name: "lives with one that is recreated", stack: stack("web", inside, changed), runs: running(stack("web", inside), lives), want: "recreate app"},
		{name: "lives with a job that is done", stack: stack("web", job, inside), runs: running(stack("web", inside), lives, exited(0)), want: "done app worker"},
		{name: "does not run itself", stack: stack("web", inside), runs: running(stack("web", inside), lives, exited(1), func(r *Running) { r.Containers[1].State = "exited" })},
		{name: "shares only volumes with one that is started", stack: stack("web", borrows), runs: running(stack("web", borrows), exited(1))},

		{name: "a network that is no more", stack: web, runs: running(web, spareNetwork(true)), want: "spare web_old"},
		{name: "a network that somebody else made", stack: web, runs: running(web, spareNetwork(false))},
		{name: "a network that is external now", stack: stack("web", needs("web_old")), runs: running(web, spareNetwork(true)), want: "recreate app"},
		{
			name: "a network that is no more and that another project is on", stack: web, runs: running(web, spareNetwork(true)),
			world: func(o *Observed) {
				o.Running = append(o.Running, Running{Project: "shop", Containers: []Container{{Networks: map[string]string{"web_old": "x"}}}})
			},
		},

		{name: "to start first, and another configuration", stack: stack("web", changed, begins), runs: running(web), want: "beside app"},
		{name: "to start first, and another image", stack: stack("web", begins), runs: running(web), world: func(o *Observed) { o.Images["app:1"] = "another" }, want: "beside app"},
		{name: "to start first, and what a pull brings", stack: stack("web", begins, app(func(s *Service) { s.Pull = PullAlways })), runs: running(web), want: "beside app"},
		{name: "to start first, and as it is wanted", stack: stack("web", begins), runs: running(web)},
		{
			name: "to start first, and another service is to have its port", stack: stack("web", changed, begins, with("db", func(s *Service) { s.StartFirst = false; s.Ports = []Port{{Protocol: "tcp", First: 80, Last: 80}} })),
			runs: running(two, first(func(c *Container) { c.Ports = []Port{{Protocol: "tcp", First: 80, Last: 80}} })), want: "recreate app db",
		},
		{name: "to start first, and nothing runs", stack: stack("web", changed, begins), runs: running(web, exited(1)), want: "recreate app"},
		{name: "to start first, with a volume of its image", stack: stack("web", changed, begins), runs: running(web, first(func(c *Container) { c.Mounts = []Mount{{Type: MountAnonymous}} })), want: "recreate app"},
		{name: "to start first, on a network of another definition", stack: stack("web", changed, begins, redefined), runs: running(web), want: "recreate app; networks web_default"},
		{name: "to start first, with one that lives in it", stack: stack("web", inside, changed, begins), runs: running(stack("web", inside), lives), want: "recreate app"},
		{name: "to start first, half replaced in the plain way", stack: stack("web", changed, begins), runs: running(web, first(func(c *Container) { c.Replacing = true })), want: "recreate app"},
		{
			name: "to start first, and left beside the old one by a kill", stack: stack("web", begins),
			runs: running(stack("web", app(func(s *Service) { s.Scale = 2 })), first(func(c *Container) { c.Hash = "h0" })), want: "beside app",
		},

		{name: "only what is asked for", stack: stack("web", changed, with("db", func(s *Service) { s.Hash = "h2" })), runs: running(two), only: []string{"db"}, want: "recreate db"},
		{name: "nothing of what is asked for", stack: stack("web", changed, with("db")), runs: running(two), only: []string{}},
		{name: "orphans, whatever is asked for", stack: web, runs: running(two), only: []string{}, want: "orphans db"},
		{
			name: "lives with one that is not asked for", stack: stack("web", inside), runs: running(stack("web", inside), lives, exited(1)),
			only: []string{"worker"},
		},
		{name: "never the daemon's own", stack: stack("web", changed, job, with("db", func(s *Service) { s.Hash = "h2" })), runs: running(two, isSelf), want: "recreate db"},
		{name: "not even when its service is no more", stack: stack("web", app(func(s *Service) { s.Name = "new" })), runs: running(web, isSelf)},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := world(nil, projects(c.runs))
			if c.world != nil {
				c.world(&st.Observed)
			}
			if got := OrdersFor(c.stack, c.runs, st.Observed, c.only).words(); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestAnUpCarriesItsOrders(t *testing.T) {
	web := stack("web")
	p := Build(world(stacks(stack("web", changed)), projects(running(web))), Policy{Heal: true})
	if got := p.Ops[0].Orders.words(); len(p.Ops) != 1 || got != "recreate app" {
		t.Errorf("orders %q of\n%s", got, p)
	}
}
