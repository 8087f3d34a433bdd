package engine

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
)

const (
	// labelReader marks a container that is never started: it is there to read a
	// volume that no other container has. Its value is the volume's name.
	labelReader = "gitops.reader"
	// readerAge is when a reader is one that a kill left.
	readerAge = 5 * time.Minute
	// readerTarget is where it has the volume.
	readerTarget = "/volume"
)

// HasContent says whether what a container mounts at a target has any content:
// a folder with a file or a folder in it, a file with a byte. The container may
// run or not. A file system's lost+found does not count, nor does what another
// mount shows inside of the first.
func (e *Engine) HasContent(ctx context.Context, containerID, target string) (bool, error) {
	c, err := e.api.ContainerInspect(ctx, containerID)
	if err != nil {
		return false, fmt.Errorf("inspect container %s: %w", shortID(containerID), err)
	}
	there := false
	var inside []string
	for _, m := range c.Mounts {
		at := path.Clean(m.Destination)
		there = there || at == path.Clean(target)
		if rel, ok := strings.CutPrefix(at, path.Clean(target)+"/"); ok {
			inside = append(inside, rel)
		}
	}
	if !there {
		return false, fmt.Errorf("container %s mounts nothing at %s", strings.TrimPrefix(c.Name, "/"), target)
	}
	stream, _, err := e.api.CopyFromContainer(ctx, containerID, target)
	if err != nil {
		return false, fmt.Errorf("read %s of container %s: %w", target, strings.TrimPrefix(c.Name, "/"), err)
	}
	defer stream.Close()
	full, err := hasContent(stream, inside)
	if err != nil {
		return false, fmt.Errorf("read %s of container %s: %w", target, strings.TrimPrefix(c.Name, "/"), err)
	}
	return full, nil
}

// hasContent reads an archive of one folder or file no further than it has to.
// inside are paths in the folder that something else is mounted at.
func hasContent(archive io.Reader, inside []string) (bool, error) {
	files := tar.NewReader(archive)
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		_, name, _ := strings.Cut(path.Clean(h.Name), "/") // the first part is the target's own
		switch {
		case name == "" && h.Typeflag == tar.TypeDir:
		case name == "":
			return h.Size > 0, nil
		case name == "lost+found" || strings.HasPrefix(name, "lost+found/"):
		case slices.ContainsFunc(inside, func(at string) bool { return onTheWay(name, at) }):
		default:
			return true, nil
		}
	}
}

// onTheWay says whether a path is another, below it, or leads to it.
func onTheWay(name, at string) bool {
	return name == at || strings.HasPrefix(name, at+"/") || strings.HasPrefix(at, name+"/")
}

// VolumeEmpty says whether a volume that exists has no content, see HasContent.
// It reads it through a container that has it, or else through one that it makes
// for that from an image that is here, never starts, and removes.
func (e *Engine) VolumeEmpty(ctx context.Context, volume string) (bool, error) {
	if _, err := e.api.VolumeInspect(ctx, volume); err != nil {
		return false, fmt.Errorf("look for volume %s: %w", volume, err)
	}
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("volume", volume))})
	if err != nil {
		return false, fmt.Errorf("list the containers of volume %s: %w", volume, err)
	}
	for _, c := range list {
		if c.Labels[labelReader] != "" {
			if time.Since(time.Unix(c.Created, 0)) > readerAge {
				_ = e.removeReader(ctx, c.ID) // the next may have more luck
			}
			continue
		}
		target, err := e.wholeVolume(ctx, c.ID, volume)
		if err != nil {
			return false, err
		}
		if target != "" {
			full, err := e.HasContent(ctx, c.ID, target)
			return !full, err
		}
	}
	return e.emptyByReader(ctx, volume)
}

// wholeVolume is where a container has a volume; empty if it has only a part.
func (e *Engine) wholeVolume(ctx context.Context, id, volume string) (string, error) {
	c, err := e.api.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("inspect container %s: %w", shortID(id), err)
	}
	for _, m := range c.Mounts {
		part := c.HostConfig != nil && slices.ContainsFunc(c.HostConfig.Mounts, func(h mount.Mount) bool {
			return h.Target == m.Destination && h.VolumeOptions != nil && h.VolumeOptions.Subpath != ""
		})
		if m.Type == mount.TypeVolume && m.Name == volume && !part {
			return m.Destination, nil
		}
	}
	return "", nil
}

// emptyByReader reads a volume through a container of our own.
func (e *Engine) emptyByReader(ctx context.Context, volume string) (empty bool, err error) {
	images, err := e.api.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return false, fmt.Errorf("list the images: %w", err)
	}
	if len(images) == 0 {
		return false, fmt.Errorf("volume %s can't be looked into: no container has it, and there is no image to make one of", volume)
	}
	host := &container.HostConfig{NetworkMode: "none", Mounts: []mount.Mount{{
		Type: mount.TypeVolume, Source: volume, Target: readerTarget, ReadOnly: true,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true}, // or the image's files would be in it
	}}}
	config := &container.Config{Image: images[0].ID, Entrypoint: []string{"/never-started"}, Labels: map[string]string{labelReader: volume}}
	made, err := e.api.ContainerCreate(ctx, config, host, nil, nil, "gitops-compose-reader-"+strings.ToLower(rand.Text()[:10]))
	if err != nil {
		return false, fmt.Errorf("make a container to look into volume %s: %w", volume, err)
	}
	defer func() {
		err = errors.Join(err, e.removeReader(context.WithoutCancel(ctx), made.ID))
	}()
	full, err := e.HasContent(ctx, made.ID, readerTarget)
	return !full, err
}

// removeReader removes a reader, with the volumes that its image declares.
func (e *Engine) removeReader(ctx context.Context, id string) error {
	err := e.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s, which was made to look into a volume: %w", shortID(id), err)
	}
	return nil
}
