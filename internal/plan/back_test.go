package plan

import (
	"strings"
	"testing"
)

func TestWhatTakesAStackBack(t *testing.T) {
	rolls := app(func(s *Service) { s.Rollback = true })
	web := stack("web", with("db"), rolls, changed)
	good := Version{Commit: "c1", File: web.File, Digest: "good", Services: map[string]Variant{
		"app": {Hash: "h1", Image: "id of app:1"}, "db": {Hash: web.Services[1].Hash, Image: "id of db:1"},
	}}
	for name, c := range map[string]struct {
		change  func(*Record, *Stack)
		why     Why
		service string
		image   string
		want    bool
	}{
		"another configuration":              {nil, Changed, "app", "id of app:1", true},
		"another image":                      {func(r *Record, s *Stack) { s.Services[0].Hash = "h1" }, Changed, "app", "another", true},
		"the same as in the good one":        {func(r *Record, s *Stack) { s.Services[0].Hash = "h1" }, Changed, "app", "id of app:1", false},
		"a service that the good one lacked": {func(r *Record, s *Stack) { delete(r.Good.Services, "app") }, Changed, "app", "x", true},
		"a service that does not want to":    {nil, Changed, "db", "another", false},
		"a service that is none":             {nil, Changed, "other", "another", false},
		"a drift":                            {nil, Drifted, "app", "x", false},
		"a first deployment":                 {nil, New, "app", "x", false},
		"a roll-back itself":                 {func(r *Record, s *Stack) { s.Back = &Back{} }, Changed, "app", "x", false},
		"no good version":                    {func(r *Record, s *Stack) { r.Good = Version{} }, Changed, "app", "x", false},
		"a good version of nothing":          {func(r *Record, s *Stack) { r.Good.Services = nil }, Changed, "app", "x", false},
		"a good version elsewhere":           {func(r *Record, s *Stack) { r.Good.File = "old/compose.yaml" }, Changed, "app", "x", false},
		"the daemon's own stack":             {func(r *Record, s *Stack) { s.Mode = Controller }, Changed, "app", "x", false},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := Record{Good: good}, web
			s.Services = append([]Service(nil), web.Services...)
			r.Good.Services = map[string]Variant{}
			for k, v := range good.Services {
				r.Good.Services[k] = v
			}
			if c.change != nil {
				c.change(&r, &s)
			}
			if got := r.RollsBack(s, Cause{Why: c.why}, map[string]string{c.service: c.image}); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestTheNamesOfKeptImages(t *testing.T) {
	long := strings.Repeat("a", 60)
	names := map[string]bool{}
	for _, of := range [][2]string{{"web", "app"}, {"web-a", "pp"}, {"web", "a-pp"}, {"web", "a.pp"}, {long, long + "1" + long}, {long, long + "2" + long}} {
		name := KeptAs(of[0], of[1])
		tag := strings.TrimPrefix(name, KeptRepository+":")
		if names[name] || len(tag) > 128 || !strings.HasPrefix(tag, of[0]+".") {
			t.Errorf("%v is kept as %s", of, name)
		}
		names[name] = true
	}
	o := Observed{Images: map[string]string{KeptAs("web", "app"): "id"}}
	if !o.Keeps("web") || o.Keeps("we") || o.Keeps("web-app") {
		t.Error("whose image it is can't be told")
	}
}

func TestAServiceThatIsToStartFirstAndCantHoldsItsStackIfThatIsWanted(t *testing.T) {
	cant := app(func(s *Service) { s.StopFirst = "it publishes port 80 of the host" })
	for name, c := range map[string]struct {
		wanted Stack
		hold   bool
		held   bool
	}{
		"it changes":                         {stack("web", changed, cant), true, true},
		"it changes, and is stopped first":   {stack("web", changed, cant), false, false},
		"it is as it is wanted":              {stack("web", cant), true, false},
		"only another service is to be made": {stack("web", with("db"), cant), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := Build(world(stacks(c.wanted), projects(running(stack("web"))), remember("web", applied(stack("web")))), Policy{Heal: true, HoldOrder: c.hold})
			held := len(p.Held) == 1 && p.Held[0].Reason == HeldOrder && strings.Contains(p.Held[0].Detail, "it publishes port 80 of the host")
			if held != c.held || len(p.Held) > 0 != c.held {
				t.Errorf("held %v\n%s", held, p)
			}
		})
	}
}
