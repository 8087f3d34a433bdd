package plan

import "testing"

func TestAPortThatAnotherHasOrWants(t *testing.T) {
	at := func(ip string, first, last uint16) func(*Stack) {
		return app(func(s *Service) { s.Ports = []Port{{IP: ip, Protocol: "tcp", First: first, Last: last}} })
	}
	web, shop := stack("web", port(80)), stack("shop", port(80))
	completes, noPorts := app(func(s *Service) { s.Completes = true }), first(func(c *Container) { c.Ports = nil })
	noPort, always := func(s *Service) { s.Ports = nil }, func(s *Service) { s.Completes = false }
	job := stack("job", port(80), completes)
	other := func(st *State) {
		st.Observed.Others = []Container{{ID: "stranger", Name: "nginx", State: "running", Ports: []Port{{Protocol: "tcp", First: 80, Last: 80}}}}
	}
	const ways = "; publish one of them at another port (ports:), or remove the one that is not needed"
	run(t, []buildCase{
		{
			name:  "two new stacks want it",
			state: world(stacks(shop, web), nil),
			want: `hold shop: port: service app wants port 80/tcp of the host, and so does service app of web (web/compose.yaml)` + ways + `
				hold web: port: service app wants port 80/tcp of the host, and so does service app of shop (shop/compose.yaml)` + ways,
		},
		{
			name:  "the one that has it goes on, also when it changes",
			state: world(stacks(shop, stack("web", port(80), changed)), projects(running(web)), commit, remember("web", applied(web))),
			want: `checkout 2222222: from 1111111
				up web: changed: web-app-1 has another configuration
				hold shop: port: service app wants port 80/tcp of the host, which service app of web (web/compose.yaml) has` + ways,
		},
		{
			name:  "at another address it is another port",
			state: world(stacks(stack("a", at("127.0.0.1", 80, 80)), stack("b", at("10.0.0.1", 80, 80))), nil),
			want: `up a: new
				up b: new`,
		},
		{
			name:  "at every address it is the same",
			state: world(stacks(stack("a", at("127.0.0.1", 80, 80)), stack("b", at("", 80, 80), changed)), projects(running(stack("b", at("", 80, 80)))), commit),
			want: `checkout 2222222: from 1111111
				up b: changed: b-app-1 has another configuration
				hold a: port: service app wants port 80/tcp of the host, which service app of b (b/compose.yaml) has` + ways,
		},
		{
			name:  "of a range the engine takes one that is free",
			state: world(stacks(stack("a", at("", 80, 89)), web), nil),
			want: `up a: new
				up web: new`,
		},
		{
			name:  "another stack is broken, ignored or switched off",
			state: world(stacks(stack("a", port(80), mode(Ignored)), stack("b", port(80), invalid("it is broken")), stack("c", port(80), app(func(s *Service) { s.Scale = 0 })), web), nil),
			want: `up c: new
				up web: new
				hold b: invalid: it is broken`,
		},
		{
			name:  "a job has done its work",
			state: world(stacks(job, web), projects(running(job, exited(0), noPorts))),
			want:  `up web: new`,
		},
		{
			name:  "a job has done its work, and its stack comes up without it",
			state: world(stacks(web, stack("job", port(80), completes, with("other", noPort, always))), projects(running(web), running(job, exited(0), noPorts)), commit),
			want: `checkout 2222222: from 1111111
				up job: drift: other is missing`,
		},
		{
			name:  "a job has done its work, and is to do it again",
			state: world(stacks(stack("job", port(80), completes, changed), web), projects(running(web), running(job, exited(0), noPorts)), commit),
			want: `checkout 2222222: from 1111111
				hold job: port: service app wants port 80/tcp of the host, which service app of web (web/compose.yaml) has` + ways,
		},
		{
			name:  "a service without a restart policy has it",
			state: world(stacks(job, web), projects(running(job))),
			want:  `hold web: port: service app wants port 80/tcp of the host, which service app of job (job/compose.yaml) has` + ways,
		},
		{
			name:  "a service without a restart policy is about to have it",
			state: world(stacks(job, web), nil),
			want: `hold job: port: service app wants port 80/tcp of the host, and so does service app of web (web/compose.yaml)` + ways + `
				hold web: port: service app wants port 80/tcp of the host, and so does service app of job (job/compose.yaml)` + ways,
		},
		{
			name:  "a container of no project has it",
			state: world(stacks(web), nil, other),
			want:  `hold web: port: service app wants port 80/tcp of the host, which container nginx has that belongs to no stack` + ways,
		},
		{
			name:  "a project that is not ours has it",
			state: world(stacks(web), projects(running(stack("theirs", port(80)), notOurs))),
			want:  `hold web: port: service app wants port 80/tcp of the host, which a container of project theirs has that does not come from this repository (it comes from /home/mia/web)` + ways,
		},
		{
			name:  "it goes from one stack to another",
			state: world(stacks(stack("shop", port(80), changed), stack("web", port(81), changed)), projects(running(stack("shop", port(79))), running(web)), commit),
			want: `checkout 2222222: from 1111111
				up web: changed: web-app-1 has another configuration
				up shop: changed: shop-app-1 has another configuration (after up web)`,
		},
	})
}
