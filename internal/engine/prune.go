package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// Prune removes an image by its id, unless a container was made from it, it has
// a name other than the given one, or a name that is wanted. It never forces
// the engine: what becomes used in between stays.
func (e *Engine) Prune(ctx context.Context, id, name string, wanted []string) (string, error) {
	inspect, err := e.api.ImageInspect(ctx, id)
	if errdefs.IsNotFound(err) || id == "" {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for image %s: %w", id, err)
	}
	own, err := render.Reference(name)
	if err != nil || strings.HasPrefix(name, "sha256:") {
		own = "" // the engine shows the id of an image that has lost its name
	}
	for _, ref := range slices.Concat(inspect.RepoTags, inspect.RepoDigests) {
		if slices.Contains(wanted, ref) {
			return "", nil
		}
	}
	for _, ref := range inspect.RepoTags {
		if ref != own {
			return "", nil
		}
	}
	users, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("ancestor", id))})
	if err != nil {
		return "", fmt.Errorf("list the containers of image %s: %w", id, err)
	}
	if len(users) > 0 {
		return "", nil
	}
	remove, removed := id, id
	if len(inspect.RepoTags) == 1 {
		remove, removed = own, own
	}
	_, err = e.api.ImageRemove(ctx, remove, image.RemoveOptions{PruneChildren: true})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return "", nil // somebody was faster, or uses it now
	}
	if err != nil {
		return "", fmt.Errorf("remove image %s: %w", removed, err)
	}
	return removed, nil
}
