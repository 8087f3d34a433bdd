// Package enginetest has the contract that an engine keeps, as a suite of
// tests, and an engine in memory that passes it as the real one does.
package enginetest

import (
	"context"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// Engine is what the reconciler needs of an engine, see reconcile.Engine.
type Engine interface {
	Observe(ctx context.Context) (plan.Observed, error)
	Pull(ctx context.Context, p render.Project) error
	Up(ctx context.Context, p render.Project, op plan.Op, turn engine.Turn) error
	Settle(ctx context.Context, p render.Project) (plan.Running, error)
	RunHook(ctx context.Context, p render.Project, kind plan.HookKind, service string) error
	Keep(ctx context.Context, project string, images map[string]string) error
	Stop(ctx context.Context, p render.Project, op plan.Op) error
}

// Daemon is what a daemon in a container needs of an engine for a hand-over, see
// handover.Engine.
type Daemon interface {
	Engine
	Live(ctx context.Context, id string) (engine.Live, bool, error)
	StartHelper(ctx context.Context, h engine.Helper) (id string, err error)
	Helpers(ctx context.Context, owner string) ([]string, error)
	Asides(ctx context.Context, project string) ([]string, error)
	CreateSuccessor(ctx context.Context, p render.Project, service, old string) (id string, err error)
	Successor(ctx context.Context, p render.Project, service string) (image string, entrypoint []string, err error)
	Rename(ctx context.Context, id, name string) error
	SetRestart(ctx context.Context, id string, r engine.Restart) error
	End(ctx context.Context, id string) error
	Start(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	LastLines(ctx context.Context, id string) string
}

// Host is an engine, and what a person at the host does to it by hand. The
// methods that take a test end it when they fail.
type Host interface {
	Engine
	HasContent(ctx context.Context, containerID, target string) (bool, error)
	VolumeEmpty(ctx context.Context, volume string) (bool, error)
	// Within is the engine as a daemon sees it that runs in a container.
	Within(container string) Daemon
	// Import makes an image of busybox under a name, for the length of a test. It
	// may declare volumes at some targets.
	Import(t testing.TB, ref string, volumes ...string)
	// Make creates and starts a container.
	Make(t testing.TB, name, image string, labels map[string]string)
	// Guest creates and starts a container of no project on a network, for the
	// length of a test.
	Guest(t testing.TB, name, image, network string)
	// Copy makes a second container like one, with the next number.
	Copy(t testing.TB, id, name string)
	Kill(t testing.TB, id string)
	Pause(t testing.TB, id string)
	Rename(t testing.TB, id, name string)
	Remove(t testing.TB, id string)
	MakeNetwork(t testing.TB, name string, labels map[string]string)
	// DropNetwork removes a network, whoever uses it.
	DropNetwork(t testing.TB, name string)
	// Volumes are the names of the volumes that a container has, by where.
	Volumes(t testing.TB, id string) map[string]string
	// Put puts an empty file into what a container mounts at a target, or a folder
	// if the name ends with a slash.
	Put(t testing.TB, id, target, name string)
	// Started tells one start of a container from another.
	Started(t testing.TB, id string) string
	// Clean removes all that carries a project's label, its volumes too.
	Clean(t testing.TB, project string)
}
