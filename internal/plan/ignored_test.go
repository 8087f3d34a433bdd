package plan

import "testing"

func TestWhatIsIgnoredIsLeftAloneWhateverBecomesOfIt(t *testing.T) {
	web, off := stack("web"), stack("web", mode(Ignored))
	at := func(s Stack, name, folder string) Stack { s.Name, s.File = name, folder+"/compose.yaml"; return s }
	before := func(s ...Stack) func(*State) { return func(st *State) { st.Before = s } }
	wasIgnored := remember("web", Record{File: web.File, Ignored: true})
	run(t, []buildCase{
		{
			name:  "it gets another name",
			state: world(stacks(at(off, "site", "web")), projects(running(web)), commit, before(off)),
			want:  `checkout 2222222: from 1111111`,
		},
		{
			name:  "and the check after that",
			state: world(stacks(at(off, "site", "web")), projects(running(web)), wasIgnored),
		},
		{
			name:  "it gets another folder and name",
			state: world(stacks(at(off, "site", "site")), projects(running(web)), commit, before(off)),
			want:  `checkout 2222222: from 1111111`,
		},
		{
			name:  "it is ignored and gets another name in one commit",
			state: world(stacks(at(off, "site", "web")), projects(running(web)), commit, before(web), remember("web", applied(web))),
			want:  `checkout 2222222: from 1111111`,
		},
		{
			name:  "git has it no more, and the journal is lost",
			state: world(stacks(stack("db")), projects(running(web)), commit, before(off, stack("db"))),
			want: `checkout 2222222: from 1111111
				up db: new`,
		},
		{
			name:  "another stack takes its name",
			state: world(stacks(at(off, "site", "web"), at(stack("web"), "web", "other")), projects(running(web)), commit, before(off), wasIgnored),
			want: `checkout 2222222: from 1111111
				hold web: needs: its name is still taken by web, which does not give it up yet (gitops.ignore=true)`,
		},
		{
			name:  "a stack like it is new when git has it no more",
			state: world(stacks(stack("site")), projects(running(web)), commit, before(off), wasIgnored),
			want: `checkout 2222222: from 1111111
				up site: new`,
		},
		{
			name:  "it is taken over when it is managed again, under another name",
			state: world(stacks(at(web, "site", "web")), projects(running(web, func(r *Running) { r.Ignored = true })), commit, before(off), wasIgnored),
			want: `stop web: moved: to site
				checkout 2222222: from 1111111
				up site: moved: from web (after stop web)`,
		},
	})
}

func TestWhatIsLeftAloneIsToBeRemembered(t *testing.T) {
	off := stack("web", mode(Ignored))
	renamed := off
	renamed.Name = "site"
	for name, c := range map[string]struct {
		state State
		want  string
	}{
		"a name that git has no more": {world(stacks(renamed), projects(running(off))), "web"},
		"one that goes on":            {world(stacks(off), projects(running(off))), ""},
		"one that was never ignored":  {world(stacks(stack("db")), projects(running(stack("web")))), ""},
	} {
		got := ""
		for _, project := range Build(c.state, Policy{Heal: true}).HandsOff {
			got += project
		}
		if got != c.want {
			t.Errorf("%s: hands off %q, want %q", name, got, c.want)
		}
	}
}
