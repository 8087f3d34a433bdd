package plan

import "testing"

// parts gives the first service a configuration.
func parts(fs ...Field) func(*Stack) {
	return app(func(v *Service) { v.Fields = fs })
}

func TestCausesNameWhatChanged(t *testing.T) {
	secret := func(sum string) Field { return Field{Name: "environment PASSWORD", Sum: sum} }
	one := stack("web", parts(Field{Name: "environment LOG_LEVEL", Sum: "1"}, secret("s1"), Field{Name: "image", Value: "web:1.4", Sum: "1.4"}, Field{Name: "mount ./nginx.conf (content)", Sum: "c1"}))
	cause := func(next Stack, change ...func(*State)) string {
		next.Services[0].Hash, next.Digest = "h2", "web-2"
		st := world(stacks(next), projects(running(one)), append([]func(*State){before(one), remember("web", applied(one))}, change...)...)
		return Build(st, Policy{Heal: true}).Ops[1].Cause.String()
	}
	for _, c := range []struct {
		name, got, want string
	}{
		{
			"several parts", cause(stack("web", parts(Field{Name: "environment LOG_LEVEL", Sum: "2"}, secret("s1"), Field{Name: "image", Value: "web:2.0", Sum: "2.0"}, Field{Name: "mount ./nginx.conf (content)", Sum: "c2"}))),
			"changed: app: image web:1.4 → web:2.0, environment LOG_LEVEL, mount ./nginx.conf (content)",
		},
		{
			"a secret, without its value", cause(stack("web", parts(one.Services[0].Fields[0], secret("s2"), one.Services[0].Fields[2], one.Services[0].Fields[3]))),
			"changed: app: environment PASSWORD",
		},
		{
			"parts that came and went", cause(stack("web", parts(Field{Name: "command", Sum: "1"}, one.Services[0].Fields[0], one.Services[0].Fields[2], one.Services[0].Fields[3], Field{Name: "scale", Value: "2", Sum: "2"}))),
			"changed: app: command added, environment PASSWORD removed, scale 2 added",
		},
		{
			"a service that is new", cause(stack("web", parts(append([]Field{{Name: "environment LOG_LEVEL", Sum: "2"}}, one.Services[0].Fields[1:]...)...), with("db"))),
			"changed: app: environment LOG_LEVEL; db is new",
		},
		{
			"what git does not explain is told from what runs", cause(stack("web", parts(one.Services[0].Fields...))),
			"changed: web-app-1 has another configuration",
		},
		{
			"what runs, where the version before is not known", cause(stack("web", parts(Field{Name: "image", Value: "web:2.0"})), func(st *State) { st.Before = nil }),
			"changed: web-app-1 has another configuration",
		},
	} {
		want := c.want
		if got := c.got; got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, want)
		}
	}
}
