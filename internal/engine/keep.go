package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// Keep gives the images of a project that are kept for it to go back to their names, see
// plan.KeptAs, by service and as ids. Other images that had such a name of the project lose
// it, and stay. What is named already costs one call of the engine.
func (e *Engine) Keep(ctx context.Context, project string, images map[string]string) error {
	list, err := e.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", plan.KeptRepository))})
	if err != nil {
		return fmt.Errorf("list the images that are kept: %w", err)
	}
	kept := map[string]string{} // ids by name
	for _, i := range list {
		for _, name := range i.RepoTags {
			kept[name] = i.ID
		}
	}
	wanted := map[string]string{}
	for service, id := range images {
		wanted[plan.KeptAs(project, service)] = id
	}
	for name, id := range wanted {
		if kept[name] == id {
			continue
		}
		if err := e.api.ImageTag(ctx, id, name); err != nil {
			return fmt.Errorf("keep image %s, which the last good version was made from: %w", id, err)
		}
	}
	for name, id := range kept {
		if _, still := wanted[name]; !still && plan.IsKept(name, project) {
			if err := e.unname(ctx, name, id, list); err != nil {
				return fmt.Errorf("take the name %s from an image that is kept no longer: %w", name, err)
			}
		}
	}
	return nil
}

// unname takes a name from an image, and leaves the image: an engine removes one with its
// last name. So the name goes to another image first, which has others.
func (e *Engine) unname(ctx context.Context, name, id string, kept []image.Summary) error {
	others := func(i image.Summary) bool {
		return slices.ContainsFunc(i.RepoTags, func(tag string) bool { return !strings.HasPrefix(tag, plan.KeptRepository+":") })
	}
	if i := slices.IndexFunc(kept, func(i image.Summary) bool { return i.ID == id }); i < 0 || !others(kept[i]) {
		all, err := e.api.ImageList(ctx, image.ListOptions{})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, others)
		if i < 0 {
			return nil // then it keeps its name
		}
		if err := e.api.ImageTag(ctx, all[i].ID, name); err != nil {
			return err
		}
	}
	_, err := e.api.ImageRemove(ctx, name, image.RemoveOptions{})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
