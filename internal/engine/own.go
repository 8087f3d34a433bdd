package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// This file has what a hand-over does to single containers: the daemon's own,
// its successor, and the helpers that replace one by the other. Each method can
// be called again after an error or a kill.

// labelHelper marks the helpers of a hand-over; its value says whose they are.
const labelHelper = "gitops.handover"

// asideMark stands in the name of a container that has given its name to its
// successor, before the beginning of its id.
const asideMark = ".replaced-"

// Aside is the name that a container gets while it is being replaced.
// Observe does not see a container of that name, unless the daemon runs in it.
func Aside(name, id string) string { return name + asideMark + shortID(id) }

func isAside(name, id string) bool { return strings.HasSuffix(name, asideMark+shortID(id)) }

func shortID(id string) string { return id[:min(12, len(id))] }

// Restart is a container's restart policy.
type Restart struct {
	Name string // no, always, unless-stopped, on-failure
	Max  int    // of on-failure
}

// Live is what a hand-over wants to know of a container.
type Live struct {
	ID, Name string
	// Image is the id of the image that it was created from, Reference what its
	// configuration calls it.
	Image, Reference string
	// State is the engine's word: created, running, restarting, exited, ...
	State    string
	ExitCode int
	// Restarts counts how often the engine has restarted it by itself.
	Restarts int
	Policy   Restart
}

// Live looks at a container by id or name; there is false if there is none.
func (e *Engine) Live(ctx context.Context, id string) (l Live, there bool, err error) {
	c, err := e.api.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return Live{}, false, nil
	}
	if err != nil {
		return Live{}, false, fmt.Errorf("inspect container %s: %w", shortID(id), err)
	}
	l = Live{ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), Image: c.Image, Restarts: c.RestartCount}
	if c.Config != nil {
		l.Reference = c.Config.Image
	}
	if c.State != nil {
		l.State, l.ExitCode = c.State.Status, c.State.ExitCode
	}
	if c.HostConfig != nil {
		l.Policy = Restart{Name: string(c.HostConfig.RestartPolicy.Name), Max: c.HostConfig.RestartPolicy.MaximumRetryCount}
		if l.Policy.Name == "" { // what a container is created with; it can't be set back to that
			l.Policy.Name = string(container.RestartPolicyDisabled)
		}
	}
	return l, true, nil
}

// Successor gives the id of the image that a service's next container is made
// from, which has to be here, and the entrypoint if it is not the image's own.
func (e *Engine) Successor(ctx context.Context, p render.Project, service string) (image string, entrypoint []string, err error) {
	project, err := p.Compose()
	if err != nil {
		return "", nil, err
	}
	for _, s := range p.Services {
		if s.Name != service {
			continue
		}
		i, err := e.api.ImageInspect(ctx, s.Image)
		if err != nil {
			return "", nil, fmt.Errorf("look for image %s: %w", s.Image, err)
		}
		return i.ID, project.Services[service].Entrypoint, nil
	}
	return "", nil, fmt.Errorf("%s has no service %s", p.Name, service)
}

// Helper is a container that sees what another one sees: its mounts, its user
// and groups, and its way to the engine.
type Helper struct {
	Name  string
	Owner string // whose it is, see Helpers
	Like  string // the other container's id
	Image string // an id
	// Entrypoint is the other container's if it is nil and the image the same,
	// and else the image's own.
	Entrypoint []string
	Args       []string
}

// StartHelper creates and starts a helper. One of that name that is left over is
// replaced. The engine starts it again whenever it ends, until it is removed: a
// helper that is killed half-way is to go on.
func (e *Engine) StartHelper(ctx context.Context, h Helper) (id string, err error) {
	like, err := e.api.ContainerInspect(ctx, h.Like)
	if err != nil {
		return "", fmt.Errorf("inspect container %s: %w", shortID(h.Like), err)
	}
	config, host, networks := e.helperConfig(h, like)
	create := func() (container.CreateResponse, error) {
		return e.api.ContainerCreate(ctx, config, host, nil, nil, h.Name)
	}
	made, err := create()
	if errdefs.IsConflict(err) {
		if err := e.Remove(ctx, h.Name); err != nil {
			return "", err
		}
		made, err = create()
	}
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", h.Name, err)
	}
	for _, n := range networks {
		if err == nil {
			err = e.api.NetworkConnect(ctx, n, made.ID, &network.EndpointSettings{})
		}
	}
	if err == nil {
		err = e.api.ContainerStart(ctx, made.ID, container.StartOptions{})
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("start container %s: %w", h.Name, err), e.Remove(context.WithoutCancel(ctx), made.ID))
	}
	return made.ID, nil
}

// helperConfig takes over from a container what a helper needs, and nothing
// that it could be mistaken for it by: no name, no port, no label. It is on the
// container's networks only if the engine is reached through them; all but the
// first are to be connected afterwards.
func (e *Engine) helperConfig(h Helper, like container.InspectResponse) (*container.Config, *container.HostConfig, []string) {
	from := like.HostConfig
	config := &container.Config{
		Image: h.Image, Entrypoint: h.Entrypoint, Cmd: h.Args, User: like.Config.User,
		Labels:      map[string]string{labelHelper: h.Owner},
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	if h.Entrypoint == nil && h.Image == like.Image {
		config.Entrypoint = like.Config.Entrypoint
	}
	for _, v := range like.Config.Env {
		name, _, _ := strings.Cut(v, "=")
		if forHelpers(name) {
			config.Env = append(config.Env, v)
		}
	}
	host := &container.HostConfig{
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyAlways},
		Binds:         from.Binds, Tmpfs: from.Tmpfs, VolumesFrom: from.VolumesFrom,
		GroupAdd: from.GroupAdd, UsernsMode: from.UsernsMode, Privileged: from.Privileged,
		ReadonlyRootfs: from.ReadonlyRootfs, CapAdd: from.CapAdd, CapDrop: from.CapDrop, SecurityOpt: from.SecurityOpt,
		DNS: from.DNS, DNSOptions: from.DNSOptions, DNSSearch: from.DNSSearch, ExtraHosts: from.ExtraHosts,
		LogConfig: from.LogConfig, NetworkMode: network.NetworkNone,
	}
	for _, m := range from.Mounts {
		if m.Type != mount.TypeVolume || m.Source != "" { // not a volume without a name: it would get a new one
			host.Mounts = append(host.Mounts, m)
		}
	}
	if strings.HasPrefix(e.api.DaemonHost(), "unix://") {
		return config, host, nil
	}
	host.NetworkMode = from.NetworkMode
	if !from.NetworkMode.IsUserDefined() || like.NetworkSettings == nil {
		return config, host, nil
	}
	var more []string
	for _, n := range slices.Sorted(maps.Keys(like.NetworkSettings.Networks)) {
		if n != string(from.NetworkMode) {
			more = append(more, n)
		}
	}
	return config, host, more
}

// forHelpers says whether a helper gets a variable of the daemon's: how to
// reach the engine, how to log, and what its own stack is loaded with; no login.
func forHelpers(variable string) bool {
	switch variable {
	case "HOME", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "LOG_LEVEL", "LOG_FORMAT", "STACK_FILES", "STACK_ENV", "STACK_ENV_FILE",
		"SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "SOPS_PGP_KEY_FILE", "SOPS_PGP_PASSPHRASE_FILE", "SECRETS_DIR", "SECRETS_PATH":
		return true
	default:
		return strings.HasPrefix(variable, "DOCKER_") && !strings.HasPrefix(variable, "DOCKER_REGISTR")
	}
}

// Helpers lists the ids of an owner's helpers, running or not.
func (e *Engine) Helpers(ctx context.Context, owner string) ([]string, error) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelHelper+"="+owner))})
	if err != nil {
		return nil, fmt.Errorf("list the helpers: %w", err)
	}
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids, nil
}

// Asides lists the ids of a project's containers that have given their name
// away and do not run.
func (e *Engine) Asides(ctx context.Context, project string) ([]string, error) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: projectFilter(project)})
	if err != nil {
		return nil, fmt.Errorf("list the containers of %s: %w", project, err)
	}
	var ids []string
	for _, c := range list {
		if isAside(containerName(c), c.ID) && c.State != container.StateRunning && c.ID != e.o.Self {
			ids = append(ids, c.ID)
		}
	}
	return ids, nil
}

// CreateSuccessor makes the container of a service beside the one that it is to
// replace, which has given its name away, and does not start it. What an
// earlier call has left is removed.
func (e *Engine) CreateSuccessor(ctx context.Context, p render.Project, service, old string) (id string, err error) {
	project, err := p.Compose()
	if err != nil {
		return "", err
	}
	release, err := e.clear.lay(p.VolumeFiles())
	defer release()
	if err != nil {
		return "", err
	}
	if err := e.removeUnstarted(ctx, p.Name, service, old); err != nil {
		return "", err
	}
	var others []string
	for name, s := range project.Services {
		project.Services[name] = ready(s)
		if name != service {
			others = append(others, name)
		}
	}
	sdk, err := e.sdkOn(hiding{APIClient: e.api, id: old}, io.Discard)
	if err != nil {
		return "", err
	}
	err = sdk.Create(ctx, project.WithServicesDisabled(others...), api.CreateOptions{
		Services: []string{service}, IgnoreOrphans: true, Recreate: api.RecreateDiverged, RecreateDependencies: api.RecreateNever,
		QuietPull: true, AssumeYes: false,
	})
	if err != nil {
		return "", explain(ctx, err)
	}
	r, err := e.project(ctx, p.Name)
	if err != nil {
		return "", err
	}
	for _, c := range containersOf(r, service) {
		if c.ID != old && c.State == "created" {
			return c.ID, nil
		}
	}
	return "", fmt.Errorf("the engine made no container of %s", service)
}

func (e *Engine) removeUnstarted(ctx context.Context, project, service, old string) error {
	r, err := e.project(ctx, project)
	if err != nil {
		return err
	}
	for _, c := range containersOf(r, service) {
		switch {
		case c.ID == old:
		case c.State != "created":
			return fmt.Errorf("%s has another container already, %s, which is %s", service, c.Name, c.State)
		default:
			if err := e.Remove(ctx, c.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// hiding is a client that does not list one container.
type hiding struct {
	client.APIClient
	id string
}

func (h hiding) ContainerList(ctx context.Context, o container.ListOptions) ([]container.Summary, error) {
	list, err := h.APIClient.ContainerList(ctx, o)
	return slices.DeleteFunc(list, func(c container.Summary) bool { return c.ID == h.id }), err
}

// Rename gives a container a name; one that has it already is no error.
func (e *Engine) Rename(ctx context.Context, id, name string) error {
	l, there, err := e.Live(ctx, id)
	if err != nil || there && l.Name == name {
		return err
	}
	if err := e.api.ContainerRename(ctx, id, name); err != nil {
		return fmt.Errorf("rename container %s to %s: %w", shortID(id), name, err)
	}
	return nil
}

// SetRestart changes a container's restart policy.
func (e *Engine) SetRestart(ctx context.Context, id string, r Restart) error {
	_, err := e.api.ContainerUpdate(ctx, id, container.UpdateConfig{
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(r.Name), MaximumRetryCount: r.Max},
	})
	if err != nil {
		return fmt.Errorf("set the restart policy of container %s: %w", shortID(id), err)
	}
	return nil
}

// End ends a container within the time that it is given; one that does not
// run is no error.
func (e *Engine) End(ctx context.Context, id string) error {
	if err := e.api.ContainerStop(ctx, id, container.StopOptions{}); err != nil {
		return fmt.Errorf("stop container %s: %w", shortID(id), err)
	}
	return nil
}

// Start starts a container; one that runs is no error.
func (e *Engine) Start(ctx context.Context, id string) error {
	if err := e.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return explain(ctx, fmt.Errorf("start container %s: %w", shortID(id), err))
	}
	return nil
}

// Remove ends and removes a container, and leaves its volumes; one that is not
// there is no error.
func (e *Engine) Remove(ctx context.Context, id string) error {
	err := e.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true})
	if err != nil && !errdefs.IsNotFound(err) && !strings.Contains(err.Error(), "is already in progress") {
		return fmt.Errorf("remove container %s: %w", shortID(id), err)
	}
	return nil
}

// LastLines gives the end of a container's log; empty if that can't be had.
func (e *Engine) LastLines(ctx context.Context, id string) string { return e.lastLines(ctx, id) }

// Unreachable says whether an error is not the engine's answer: it could not be
// asked, or ended before it answered, or a proxy before it says so.
func Unreachable(err error) bool {
	if err == nil {
		return false
	}
	if client.IsErrConnectionFailed(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	return slices.ContainsFunc([]string{
		"error during connect", "Cannot connect to the Docker daemon",
		"502 Bad Gateway", "503 Service Unavailable", "504 Gateway Time-out", "504 Gateway Timeout",
	}, func(said string) bool { return strings.Contains(err.Error(), said) })
}

// Self finds the container that this process runs in; empty outside of one.
func Self(ctx context.Context, api client.APIClient) string {
	if !inContainer() {
		return ""
	}
	c, err := readTraces().own(ctx, api, "")
	if err != nil {
		return ""
	}
	return c.ID
}
