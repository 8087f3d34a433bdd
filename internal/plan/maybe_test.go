package plan

import "testing"

// What does not load may be anybody's: its name can't be read.

func TestAStackThatIsBrokenInTheCommitThatMovesItGoesOn(t *testing.T) {
	web := stack("prod-web", func(s *Stack) { s.File = "web/compose.yaml" })
	at := func(file string, change ...func(*Stack)) Stack {
		s := Stack{Name: "web", File: file, Mode: Managed, Invalid: "it is broken"}
		for _, c := range change {
			c(&s)
		}
		return s
	}
	from := func(file string) func(*Stack) { return func(s *Stack) { s.From = file } }
	named := func(name string) func(*Stack) { return func(s *Stack) { s.Name = name } }
	before := func(all ...Stack) func(*State) { return func(st *State) { st.Before = all } }
	was := remember("prod-web", applied(web))
	goesOn := func(file string) string {
		return `hold prod-web: needs: it may be what ` + file + ` is now, which does not load; it goes on as it is until that file is mended or removed`
	}
	blog := stack("blog", app(func(s *Service) { s.Image = "blog:1" }))
	run(t, []buildCase{
		{
			name:  "git takes it for what runs",
			state: world(stacks(at("apps/web/compose.yaml", from(web.File))), projects(running(web)), commit, before(web), was),
			want: `checkout 2222222: from 1111111
				hold web: invalid: it is broken
				` + goesOn("apps/web/compose.yaml"),
		},
		{
			name:  "its file has another name in the same folder, and hardly a line is the same",
			state: world(stacks(at("web/docker-compose.yml")), projects(running(web)), commit, before(web), was),
			want: `checkout 2222222: from 1111111
				hold web: invalid: it is broken
				` + goesOn("web/docker-compose.yml"),
		},
		{
			name:  "git takes it for another one",
			state: world(stacks(at("apps/web/compose.yaml", from(blog.File))), projects(running(web)), commit, before(web, blog), was),
			want: `stop prod-web: removed
				checkout 2222222: from 1111111
				hold web: invalid: it is broken`,
		},
		{
			name:  "at the next look, when the clone has gone on",
			state: world(stacks(at("apps/web/compose.yaml")), projects(running(web)), remember("prod-web", Record{File: web.File, Applied: web.Digest, Heir: "apps/web/compose.yaml"})),
			want: `hold web: invalid: it is broken
				` + goesOn("apps/web/compose.yaml"),
		},
		{
			name: "it moves on, broken as it is",
			state: world(stacks(at("b/compose.yaml", from("apps/web/compose.yaml"))), projects(running(web)), commit, before(at("apps/web/compose.yaml")),
				remember("prod-web", Record{File: web.File, Applied: web.Digest, Heir: "apps/web/compose.yaml"})),
			want: `checkout 2222222: from 1111111
				hold web: invalid: it is broken
				` + goesOn("b/compose.yaml"),
		},
		{
			name: "it moves on before the clone has gone on",
			state: world(stacks(at("b/compose.yaml", from("apps/web/compose.yaml"))), projects(running(web)), commit, before(at("apps/web/compose.yaml")),
				remember("prod-web", Record{File: web.File, Applied: web.Digest, Heir: "gone/compose.yaml", FormerHeir: "apps/web/compose.yaml"})),
			want: `checkout 2222222: from 1111111
				hold web: invalid: it is broken
				` + goesOn("b/compose.yaml"),
		},
		{
			name:  "nothing is remembered",
			state: world(stacks(at("apps/web/compose.yaml")), projects(running(web))),
			want: `hold web: invalid: it is broken
				` + goesOn("apps/web/compose.yaml"),
		},
		{
			name:  "nothing is remembered, and the stack that is broken runs",
			state: world(stacks(at(blog.File, named("blog"))), projects(running(blog), running(web))),
			want: `stop prod-web: removed
				hold blog: invalid: it is broken`,
		},
		{
			name:  "another stack has its name now",
			state: world(stacks(at("apps/web/compose.yaml", from(web.File)), stack("prod-web", changed)), projects(running(web)), commit, before(web), was),
			want: `checkout 2222222: from 1111111
				hold web: invalid: it is broken
				hold prod-web: invalid: what runs as prod-web may be what apps/web/compose.yaml is now, which does not load; mend or remove that file, or set another name:`,
		},
		{
			name:  "another new stack has services like its, which says less",
			state: world(stacks(at("apps/web/compose.yaml", from(web.File)), stack("shop")), projects(running(web)), commit, before(web), was),
			want: `checkout 2222222: from 1111111
				up shop: new
				hold web: invalid: it is broken
				` + goesOn("apps/web/compose.yaml"),
		},
		{
			name: "it is mended",
			state: world(stacks(stack("prod-web", func(s *Stack) { s.File = "apps/web/compose.yaml" })), projects(running(web)), commit, before(at("apps/web/compose.yaml")),
				remember("prod-web", Record{File: web.File, Applied: web.Digest, Tried: web.Digest, Heir: "apps/web/compose.yaml"})),
			want: `checkout 2222222: from 1111111`,
		},
		{
			name: "it is mended, and has another name",
			state: world(stacks(stack("shop", func(s *Stack) { s.File = "apps/web/compose.yaml" })), projects(running(web)), commit, before(at("apps/web/compose.yaml")),
				remember("prod-web", Record{File: web.File, Applied: web.Digest, Heir: "apps/web/compose.yaml"})),
			want: `stop prod-web: moved: to shop
				checkout 2222222: from 1111111
				up shop: moved: from prod-web (after stop prod-web)`,
		},
		{
			name:  "it is removed",
			state: world(stacks(blog), projects(running(web), running(blog)), commit, before(at("apps/web/compose.yaml"), blog), remember("prod-web", Record{File: web.File, Applied: web.Digest, Heir: "apps/web/compose.yaml"}), remember("blog", applied(blog)), func(st *State) { st.Observed.Images["blog:1"] = "id of blog:1" }),
			want: `stop prod-web: removed
				checkout 2222222: from 1111111`,
		},
	})
}

func TestAHeirThatIsFoundMeanwhileIsRemembered(t *testing.T) {
	broken := stack("web", invalid("it is broken"), func(s *Stack) { s.File = "b/compose.yaml" })
	rec := Record{Heir: "b/compose.yaml"}
	rec.SetHeir(Heir{File: "c/compose.yaml"}, stacks(broken))
	rec.SetHeir(Heir{File: "d/compose.yaml", Of: "web/compose.yaml"}, stacks(broken)) // the checkout to the one before failed
	if rec.Heir != "d/compose.yaml" || rec.FormerHeir != "b/compose.yaml" {
		t.Errorf("heir %s, before %s", rec.Heir, rec.FormerHeir)
	}
	rec.Becomes("web/compose.yaml")
	rec.SetHeir(Heir{File: "e/compose.yaml", Of: "web/compose.yaml"}, nil)
	if rec.Heir != "e/compose.yaml" || rec.FormerHeir != "" {
		t.Errorf("at the clone's own head: heir %s, before %s", rec.Heir, rec.FormerHeir)
	}
	if rec.Becomes("shop/compose.yaml"); rec.Heir != "" {
		t.Errorf("%s is the heir of what ran before", rec.Heir)
	}
}
