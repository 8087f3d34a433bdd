package reconcile

import (
	"context"
	"slices"
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
	for _, run := range v.observed.Running {
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
	for _, s := range v.wanted {
		for _, svc := range s.Services {
			refs = append(refs, svc.Image)
		}
	}
	return refs
}

// prune removes images that the stack used before and that nothing uses any
// more. It is tidying up: an image that stays is no failure.
func (r *Reconciler) prune(ctx context.Context, t *turn) {
	for _, o := range t.old {
		removed, err := r.o.Pruner.Prune(ctx, o.id, o.name, t.wanted)
		switch {
		case err != nil:
			r.o.Logger.Warn("old image could not be removed", "stack", t.stack, "image", o.name, "err", err)
		case removed != "":
			r.o.Logger.Info("old image removed", "stack", t.stack, "image", removed)
		}
	}
}
