package reconcile

import (
	"context"
	"log/slog"
	"slices"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// Pruner removes images.
type Pruner interface {
	// Prune removes an image by its id, unless a container was made from it, it
	// has a name other than the given one, or a name that is wanted. It gives
	// what it removed, empty if the image had to stay, which is no error.
	Prune(ctx context.Context, id, name string, wanted []string) (string, error)
}

// old is an image that a container of a stack was made from, and what its
// configuration called it.
type old struct{ id, name string }

// images are those that a stack's containers use at a look.
func images(v view, stack string) []old {
	var olds []old
	for _, run := range v.state.Observed.Running {
		for _, c := range run.Containers {
			if o := (old{c.Image, c.Reference}); run.Project == stack && !c.OneOff && !slices.Contains(olds, o) {
				olds = append(olds, o)
			}
		}
	}
	return olds
}

// names are all images that stacks want.
func names(v view) []string {
	var refs []string
	of := func(s plan.Stack) {
		for _, svc := range append(slices.Clip(s.Services), s.Hooks.All()...) {
			refs = append(append(refs, svc.Image), svc.MountedImages...)
		}
	}
	for _, s := range v.state.Wanted {
		of(s)
		if s.Back == nil {
			continue
		}
		for _, p := range v.git { // the tags that git wants are still asked for
			if p.Name == s.Name {
				of(p.Stack)
			}
		}
	}
	return refs
}

// prune removes images that a stack used before and that nothing uses any more.
// It is tidying up: an image that stays is no failure.
func prune(ctx context.Context, p Pruner, log *slog.Logger, t *task) {
	for _, o := range t.old {
		removed, err := p.Prune(ctx, o.id, o.name, t.wanted)
		switch {
		case err != nil:
			log.Warn("old image could not be removed", "stack", t.Stack, "image", o.name, "err", err)
		case removed != "":
			log.Info("old image removed", "stack", t.Stack, "image", removed)
		}
	}
}
