package engine

import (
	"context"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// noting is a client that notes what our own calls may have changed, the SDK's
// among them: the events of the engine tell of it too, but maybe after the next
// look.
type noting struct {
	client.APIClient
	sight *sight
}

func (n noting) ContainerCreate(ctx context.Context, c *container.Config, h *container.HostConfig, nc *network.NetworkingConfig, p *ocispec.Platform, name string) (container.CreateResponse, error) {
	if mountsVolumes(c, h) {
		defer n.sight.doubtVolumes() // it makes those that are not there
	}
	made, err := n.APIClient.ContainerCreate(ctx, c, h, nc, p, name)
	n.sight.named(name, made.ID)
	n.sight.doubt(made.ID)
	return made, err
}

// mountsVolumes says whether a container that is created so may have volumes,
// besides those that its image declares: these have no names that anybody wants.
func mountsVolumes(c *container.Config, h *container.HostConfig) bool {
	return c != nil && len(c.Volumes) > 0 || h != nil && (len(h.Mounts) > 0 || len(h.Binds) > 0)
}

func (n noting) ContainerStart(ctx context.Context, id string, o container.StartOptions) error {
	defer n.sight.doubt(id)
	return n.APIClient.ContainerStart(ctx, id, o)
}

func (n noting) ContainerStop(ctx context.Context, id string, o container.StopOptions) error {
	defer n.sight.doubt(id)
	return n.APIClient.ContainerStop(ctx, id, o)
}

func (n noting) ContainerRestart(ctx context.Context, id string, o container.StopOptions) error {
	defer n.sight.doubt(id)
	return n.APIClient.ContainerRestart(ctx, id, o)
}

func (n noting) ContainerKill(ctx context.Context, id, signal string) error {
	defer n.sight.doubt(id)
	return n.APIClient.ContainerKill(ctx, id, signal)
}

func (n noting) ContainerPause(ctx context.Context, id string) error {
	defer n.sight.doubt(id)
	return n.APIClient.ContainerPause(ctx, id)
}

func (n noting) ContainerUnpause(ctx context.Context, id string) error {
	defer n.sight.doubt(id)
	return n.APIClient.ContainerUnpause(ctx, id)
}

func (n noting) ContainerRename(ctx context.Context, id, name string) error {
	defer n.sight.doubt(id)
	return n.APIClient.ContainerRename(ctx, id, name)
}

func (n noting) ContainerRemove(ctx context.Context, id string, o container.RemoveOptions) error {
	defer n.sight.doubt(id)
	if o.RemoveVolumes {
		defer n.sight.doubtVolumes()
	}
	return n.APIClient.ContainerRemove(ctx, id, o)
}

func (n noting) NetworkCreate(ctx context.Context, name string, o network.CreateOptions) (network.CreateResponse, error) {
	defer n.sight.doubtNetworks()
	return n.APIClient.NetworkCreate(ctx, name, o)
}

func (n noting) NetworkRemove(ctx context.Context, id string) error {
	defer n.sight.doubtNetworks()
	return n.APIClient.NetworkRemove(ctx, id)
}

func (n noting) NetworkConnect(ctx context.Context, id, container string, s *network.EndpointSettings) error {
	defer n.sight.doubt(container)
	return n.APIClient.NetworkConnect(ctx, id, container, s)
}

func (n noting) NetworkDisconnect(ctx context.Context, id, container string, force bool) error {
	defer n.sight.doubt(container)
	return n.APIClient.NetworkDisconnect(ctx, id, container, force)
}

func (n noting) VolumeCreate(ctx context.Context, o volume.CreateOptions) (volume.Volume, error) {
	defer n.sight.doubtVolumes()
	return n.APIClient.VolumeCreate(ctx, o)
}

func (n noting) VolumeRemove(ctx context.Context, id string, force bool) error {
	defer n.sight.doubtVolumes()
	return n.APIClient.VolumeRemove(ctx, id, force)
}
