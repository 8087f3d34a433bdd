package plan

import (
	"fmt"
	"testing"
)

// many is a host with 500 stacks of three services, all as they are wanted.
func many() State {
	var wanted []Stack
	var runs []Running
	st := world(nil, nil)
	for n := range 500 {
		s := stack(fmt.Sprintf("s%03d", n), volume(fmt.Sprintf("s%03d_data", n), "v1"), with("db"), with("job"))
		s.Services[0].Image, s.Services[2].Image = s.Name+":1", s.Name+"-job:1"
		s.Services[0].Ports = []Port{{Protocol: "tcp", First: uint16(8000 + n), Last: uint16(8000 + n)}}
		wanted, runs = append(wanted, s), append(runs, running(s))
		st.Memory[s.Name] = applied(s)
	}
	whole := world(wanted, runs)
	for _, s := range wanted {
		for _, svc := range s.Services {
			whole.Observed.Images[svc.Image] = "id of " + svc.Image
		}
	}
	whole.Memory = st.Memory
	return whole
}

func benchmark(b *testing.B, st State, ops int) {
	if got := len(Build(st, Policy{Heal: true}).Ops); got != ops {
		b.Fatalf("%d operations, want %d", got, ops)
	}
	for b.Loop() {
		Build(st, Policy{Heal: true})
	}
}

func BenchmarkBuildWithNothingToDo(b *testing.B) { benchmark(b, many(), 0) }

func BenchmarkBuildWithOneChange(b *testing.B) {
	st := many()
	commit(&st)
	st.Before = append([]Stack{}, st.Wanted...)
	st.Wanted[250].Services = append([]Service{}, st.Wanted[250].Services...)
	changed(&st.Wanted[250])
	benchmark(b, st, 2)
}

func BenchmarkBuildOfAllAnew(b *testing.B) {
	st := many()
	st.Observed.Running, st.Memory = nil, nil
	benchmark(b, st, 500)
}

func BenchmarkBuildWhenAllChange(b *testing.B) {
	st := many()
	commit(&st)
	st.Before = append([]Stack{}, st.Wanted...)
	for i := range st.Wanted {
		st.Wanted[i].Services = append([]Service{}, st.Wanted[i].Services...)
		changed(&st.Wanted[i])
	}
	benchmark(b, st, 501)
}
