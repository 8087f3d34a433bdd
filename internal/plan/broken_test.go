package plan

import "testing"

func TestContainersDoNotChangeHandsByAMistakeInTheirFile(t *testing.T) {
	web := stack("web")
	other := stack("web", changed, func(s *Stack) { s.File = "other/compose.yaml" })
	broken := stack("web/compose.yaml", invalid("it is broken"), func(s *Stack) { s.File = "web/compose.yaml" })
	mended := stack("shop", func(s *Stack) { s.File = "web/compose.yaml" })
	run(t, []buildCase{
		{
			name:  "what runs is of the broken one",
			state: world(stacks(other, broken), projects(running(web)), commit),
			want: `checkout 2222222: from 1111111
				hold web: invalid: the project name web is used by web/compose.yaml too, from which it runs and which does not load; mend or remove that file, or set another name:
				hold web/compose.yaml: invalid: it is broken`,
		},
		{
			name:  "what runs is of the healthy one",
			state: world(stacks(other, broken), projects(running(web, func(r *Running) { r.File = other.File })), commit),
			want: `checkout 2222222: from 1111111
				up web: changed: web-app-1 has another configuration
				hold web/compose.yaml: invalid: it is broken`,
		},
		{
			name:  "nothing runs",
			state: world(stacks(other, broken), nil, commit),
			want: `checkout 2222222: from 1111111
				up web: new
				hold web/compose.yaml: invalid: it is broken`,
		},
		{
			name:  "the file has given the name away",
			state: world(stacks(other, mended), projects(running(web)), commit),
			want: `stop web: moved: to shop
				checkout 2222222: from 1111111
				up shop: moved: from web (after stop web)
				up web: new (after stop web)`,
		},
		{
			name:  "the file is gone",
			state: world(stacks(other), projects(running(web)), commit),
			want: `checkout 2222222: from 1111111
				up web: changed: web-app-1 has another configuration`,
		},
	})
}
