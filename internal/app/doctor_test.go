package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

func TestTheDoctorSaysWhatStandsInTheWayOfEachStack(t *testing.T) {
	clone := t.TempDir()
	there := filepath.Join(clone, "there")
	if err := os.Mkdir(there, 0o755); err != nil {
		t.Fatal(err)
	}
	wants := func(name string, change func(*plan.Stack, *plan.Service)) plan.Stack {
		s := plan.Stack{Name: name, File: name + "/compose.yaml", Digest: name, Mode: plan.Managed}
		svc := plan.Service{Name: "app", Hash: "h", Image: "app:1", Pull: plan.PullMissing, Scale: 1}
		change(&s, &svc)
		s.Services = []plan.Service{svc}
		return s
	}
	named := func(_ *plan.Stack, v *plan.Service) { v.ContainerName = "db" }
	port := func(_ *plan.Stack, v *plan.Service) {
		v.Ports = []plan.Port{{Protocol: "tcp", First: 80, Last: 80}}
	}
	needs := func(kind string) func(*plan.Stack, *plan.Service) {
		return func(s *plan.Stack, _ *plan.Service) {
			s.Requires = []plan.Requirement{{Kind: kind, Name: "shared"}}
		}
	}
	mounts := func(s *plan.Stack, v *plan.Service) {
		s.Warnings = []string{"variable A is not set"}
		v.Mounts = []plan.Mount{
			{Target: "/a", Type: plan.MountClone, Source: "gone"},
			{Target: "/b", Type: plan.MountClone, Source: "there"},
			{Target: "/c", Type: plan.MountHost, Source: filepath.Join(clone, "nowhere")},
			{Target: "/d", Type: plan.MountHost, Source: there},
		}
	}
	for what, c := range map[string]struct {
		stacks []plan.Stack
		blind  bool // it does not see the host
		moves  bool // there is a commit to check out
		want   string
	}{
		"nothing": {stacks: []plan.Stack{wants("web", func(*plan.Stack, *plan.Service) {})}, want: "0 of 1 stacks can't be as git wants them"},
		"a name": {stacks: []plan.Stack{wants("a", named), wants("b", named)}, want: `a (a/compose.yaml)
  name: service app wants the container name db, and so does service app of b (b/compose.yaml); give one of them another container_name:, or remove the one that is not needed

b (b/compose.yaml)
  name: service app wants the container name db, and so does service app of a (a/compose.yaml); give one of them another container_name:, or remove the one that is not needed

2 of 2 stacks can't be as git wants them`},
		"a port": {stacks: []plan.Stack{wants("a", port), wants("b", port)}, want: `a (a/compose.yaml)
  port: service app wants port 80/tcp of the host, and so does service app of b (b/compose.yaml); publish one of them at another port (ports:), or remove the one that is not needed

b (b/compose.yaml)
  port: service app wants port 80/tcp of the host, and so does service app of a (a/compose.yaml); publish one of them at another port (ports:), or remove the one that is not needed

2 of 2 stacks can't be as git wants them`},
		"a volume": {stacks: []plan.Stack{wants("a", needs("volume"))}, want: `a (a/compose.yaml)
  needs: it needs volume shared, which is not there and which no stack makes; make it: docker volume create shared

1 of 1 stacks can't be as git wants them`},
		"folders": {stacks: []plan.Stack{wants("a", mounts)}, want: `a (a/compose.yaml)
  note: variable A is not set
  note: services.app mounts ./gone, which is not there: the engine makes it, as a folder of root's
  note: services.app mounts CLONE/nowhere, which is not there: the engine makes it, as a folder of root's

0 of 1 stacks can't be as git wants them`},
		"folders that can't be seen": {blind: true, stacks: []plan.Stack{wants("a", mounts)}, want: `a (a/compose.yaml)
  note: variable A is not set
  note: services.app mounts ./gone, which is not there: the engine makes it, as a folder of root's

0 of 1 stacks can't be as git wants them`},
		"folders that may come": {moves: true, stacks: []plan.Stack{wants("a", mounts)}, want: `a (a/compose.yaml)
  note: variable A is not set

0 of 1 stacks can't be as git wants them`},
	} {
		t.Run(what, func(t *testing.T) {
			st := plan.State{Now: time.Unix(1, 0), Local: "1", Remote: "1", Wanted: c.stacks, Observed: plan.Observed{Images: map[string]string{"app:1": "id"}}}
			if c.moves {
				st.Remote = "2"
			}
			got := diagnose(plan.Build(st, plan.Policy{}), clone, !c.blind).String()
			if want := strings.ReplaceAll(c.want, "CLONE", clone) + "\n"; got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
