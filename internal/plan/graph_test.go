package plan

import (
	"slices"
	"testing"
)

func TestACheckoutWaitsForStopsOfWhatUsesItsFiles(t *testing.T) {
	tracked := func(s *Stack) {
		mounts(MountClone, "old/conf", "/conf")(s)
		s.Services[0].Bare = "without its files"
	}
	data := mounts(MountClone, "old/data", "/data")
	moved := func(change ...func(*Stack)) Stack {
		s := stack("new", change...)
		s.File = "old/compose.yaml"
		return s
	}
	// user is on a network of old, and moves.
	user := stack("user", needs("old_default"), with("side", func(s *Service) { s.Image = "side:1" }))
	renamed := stack("renamed", with("side", func(s *Service) { s.Image = "side:2" }))
	renamed.File = user.File
	elsewhere := app(func(s *Service) { s.Image = "app:2" })
	none, stop := After{}, After{ID: "stop old", Ended: true, AtMost: StopPatience}
	for name, c := range map[string]struct {
		before, after []Stack
		runs          Stack // as old
		want          After
	}{
		"files that git tracks":                    {stacks(stack("old", tracked)), nil, stack("old", tracked), stop},
		"of a stack that moves":                    {stacks(stack("old", tracked)), stacks(moved(tracked)), stack("old", tracked), stop},
		"which is stopped after a pull":            {stacks(stack("old", tracked)), stacks(moved(tracked, elsewhere)), stack("old", tracked), none},
		"or after a stop that is":                  {stacks(stack("old", tracked), user), stacks(renamed), stack("old", tracked), none},
		"files of a stack that is broken":          {stacks(stack("old", invalid("it is broken"))), nil, stack("old", tracked), stop},
		"none":                                     {stacks(stack("old")), nil, stack("old"), none},
		"only those that git does not track":       {stacks(stack("old", data)), nil, stack("old", data), none},
		"those that are gone since another commit": {nil, nil, stack("old", tracked), none},
	} {
		t.Run(name, func(t *testing.T) {
			web := stack("web")
			all := projects(running(c.runs), running(web))
			for _, s := range c.before {
				if s.Name != "old" {
					all = append(all, running(s))
				}
			}
			st := world(append(c.after, web), all, commit, func(st *State) { st.Before = append(c.before, web) })
			p := Build(st, Policy{Heal: true})
			i := slices.IndexFunc(p.Ops, func(op Op) bool { return op.Kind == Checkout })
			if i < 0 || !slices.ContainsFunc(p.Ops, func(op Op) bool { return op.ID == "stop old" }) {
				t.Fatalf("the plan is\n%s", p)
			}
			got := none
			for _, a := range p.Ops[i].After {
				got = a
			}
			if got != c.want || len(p.Ops[i].After) > 1 {
				t.Errorf("the checkout comes after %v, want %v, in\n%s", p.Ops[i].After, c.want, p)
			}
		})
	}
}
