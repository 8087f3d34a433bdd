package reconcile

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// hooking is a world in which one stack has pre_stop hooks.
type hooking struct {
	*world
	with render.Project
	// ran says of each stop whether hooks were to run.
	ran []bool
}

func (h *hooking) Load(ctx context.Context, t render.Tree) (render.Loaded, error) {
	all, err := h.world.Load(ctx, t)
	for i, p := range all.Projects {
		if p.Name == h.with.Name {
			with := h.with
			with.Stack = p.Stack
			all.Projects[i] = with
		}
	}
	return all, err
}

func (h *hooking) Stop(ctx context.Context, p render.Project, op plan.Op) error {
	h.ran = append(h.ran, p.HasPreStop())
	return h.world.Stop(ctx, p, op)
}

// single is a tree with one stack file.
type single struct{ dir, file string }

func (single) Commit() string            { return "c1" }
func (s single) Dir() string             { return s.dir }
func (single) ID(string) string          { return "" }
func (single) Edited(string) bool        { return false }
func (s single) Find(...string) []string { return []string{s.file} }

// unhashed hashes nothing.
type unhashed struct{}

func (unhashed) Service(types.ServiceConfig) (string, error) { return "h", nil }
func (unhashed) Network(types.NetworkConfig) (string, error) { return "h", nil }
func (unhashed) Volume(types.VolumeConfig) (string, error)   { return "h", nil }

func withPreStop(t *testing.T, name string) render.Project {
	t.Helper()
	dir, file := t.TempDir(), name+"/compose.yaml"
	if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "services: {app: {image: a, pre_stop: [{command: 'true'}]}}"
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	loaded, err := render.New(render.Options{Root: dir, HostRoot: dir, Hasher: unhashed{}}).Load(t.Context(), single{dir, file})
	if err != nil || len(loaded.Projects) != 1 || !loaded.Projects[0].HasPreStop() {
		t.Fatalf("%+v, %v", loaded, err)
	}
	return loaded.Projects[0]
}

func TestPreStopHooksOfAStackThatGitHasNoMore(t *testing.T) {
	for what, c := range map[string]struct {
		checkedOut bool
		want       bool
	}{
		"run after a restart of the daemon as well, as the clone has the stack still": {want: true},
		"are forgotten when the daemon ends with the stack checked out away":          {checkedOut: true},
	} {
		with := withPreStop(t, "web")
		bubble(t, what, func(t *testing.T) {
			h := &hooking{world: newWorld(t, stack("web"), stack("stays")), with: with}
			in := func(o *Options) { o.Loader, o.Engine = h, h }
			d := start(t, h.world, in)
			d.stop()
			h.push("c2", stack("stays"))
			if c.checkedOut {
				h.mu.Lock()
				h.local = "c2"
				h.mu.Unlock()
			}
			d = start(t, h.world, in, sameJournal(d))
			d.expect("runs", d.runs(), "stays=stays1")
			d.stop()
			if !slices.Equal(h.ran, []bool{c.want}) {
				t.Errorf("hooks of the stops: %v", h.ran)
			}
		})
	}
}
