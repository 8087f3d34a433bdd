package handover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// HelpOptions of Help.
type HelpOptions struct {
	// Role is helper or guard, Dir the folder of the record.
	Role, Dir string
	Engine    Engine
	// Self is the container that it runs in.
	Self   string
	Logger *slog.Logger
	// Load loads the stack as the record's commit has it.
	Load func(ctx context.Context, c Clone, commit, stack string) (render.Project, error)
}

// Help is the life of a helper or of a guard: it attends the hand-over that the
// record in Dir tells of, and removes its own container at the end. Told to stop
// by ctx, it returns nil at once.
func Help(ctx context.Context, o HelpOptions) error {
	as := role(o.Role)
	if as != helper && as != guard {
		return fmt.Errorf("a hand-over has a helper and a guard, and no %q", o.Role)
	}
	w := &worker{
		engine: o.Engine, dir: o.Dir, me: o.Self, log: o.Logger,
		load: func(ctx context.Context, r *Record) (render.Project, error) {
			return o.Load(ctx, r.Clone, r.Commit, r.Stack)
		},
	}
	if err := w.attend(ctx, as); err != nil {
		if ctx.Err() != nil {
			return nil // it was told to stop, and nobody is to take that for a fault of the image
		}
		return err
	}
	if o.Self == "" {
		return errors.New("the hand-over has ended, and this container can't be removed: the engine does not know it")
	}
	return o.Engine.Remove(ctx, o.Self)
}

// noLoad is for those who never create the new container.
func noLoad(context.Context, *Record) (render.Project, error) {
	return render.Project{}, errors.New("only a helper can make the new container")
}
