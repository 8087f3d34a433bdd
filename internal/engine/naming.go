package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// naming is a client that says of which service a container is that can't be made or
// started: the engine's errors are about a device, a driver or a mount, and the SDK
// makes the containers of a stack side by side.
type naming struct{ client.APIClient }

func (n naming) ContainerCreate(ctx context.Context, c *container.Config, h *container.HostConfig, nc *network.NetworkingConfig, p *ocispec.Platform, name string) (container.CreateResponse, error) {
	made, err := n.APIClient.ContainerCreate(ctx, c, h, nc, p, name)
	if err != nil && ctx.Err() == nil && c != nil {
		err = ofService(c.Labels, err)
	}
	return made, err
}

func (n naming) ContainerStart(ctx context.Context, id string, o container.StartOptions) error {
	return n.name(ctx, id, n.APIClient.ContainerStart(ctx, id, o))
}

func (n naming) NetworkConnect(ctx context.Context, name, id string, s *network.EndpointSettings) error {
	return n.name(ctx, id, n.APIClient.NetworkConnect(ctx, name, id, s))
}

// name adds to an error about a container which service that is of.
func (n naming) name(ctx context.Context, id string, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, inspectErr := n.ContainerInspect(ctx, id)
	if inspectErr != nil || c.Config == nil {
		return err
	}
	return ofService(c.Config.Labels, err)
}

func ofService(labels map[string]string, err error) error {
	if service := labels[api.ServiceLabel]; service != "" {
		return fmt.Errorf("services.%s: %w", service, err)
	}
	return err
}
