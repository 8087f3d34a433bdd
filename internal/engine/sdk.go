package engine

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	clitypes "github.com/docker/cli/cli/config/types"
	"github.com/docker/cli/cli/flags"
	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/compose/v2/pkg/compose"
	"github.com/docker/docker/client"
)

// Hasher gives the compose SDK's hashes, see render.Hasher.
type Hasher struct{}

// Service hashes a service's configuration.
func (Hasher) Service(s types.ServiceConfig) (string, error) {
	if s.Deploy != nil { // ServiceHash forgets the replicas, through the pointer
		deploy := *s.Deploy
		s.Deploy = &deploy
	}
	return compose.ServiceHash(s)
}

// Network hashes a network's definition.
func (Hasher) Network(n types.NetworkConfig) (string, error) { return compose.NetworkHash(&n) }

// Volume hashes a volume's definition.
func (Hasher) Volume(v types.VolumeConfig) (string, error) { return compose.VolumeHash(v) }

// errWouldLoseData is what every question of the SDK is answered with: it asks
// before it deletes a volume.
var errWouldLoseData = errors.New("applying it would delete a volume and its data")

// sdk makes a compose service for one call, with its own streams.
func (e *Engine) sdk(out io.Writer) (api.Compose, error) { return e.sdkOn(e.api, out) }

// sdkOn does the same for a client that shows less than there is.
func (e *Engine) sdkOn(client client.APIClient, out io.Writer) (api.Compose, error) {
	cli, err := e.cli(client, out)
	if err != nil {
		return nil, err
	}
	return sdkOf(cli, nil), nil
}

// sdkOf answers questions about volumes that are kept with no. Others are an error.
func sdkOf(cli command.Cli, kept []string) api.Compose {
	return compose.NewComposeService(cli,
		compose.WithPrompt(func(message string, _ bool) (bool, error) {
			if slices.ContainsFunc(kept, func(name string) bool { return strings.HasPrefix(message, fmt.Sprintf("Volume %q exists", name)) }) {
				return false, nil
			}
			return false, fmt.Errorf("%w (%s)", errWouldLoseData, message)
		}))
}

// cli is what the SDK takes from Docker's command line.
func (e *Engine) cli(client client.APIClient, out io.Writer) (command.Cli, error) {
	cli, err := command.NewDockerCli(command.WithAPIClient(client), command.WithCombinedStreams(out))
	if err != nil {
		return nil, fmt.Errorf("prepare the compose SDK: %w", err)
	}
	file, err := e.configFile()
	if err != nil {
		return nil, err
	}
	// Initialize reads contexts, which the client that we give it overrules.
	if err := cli.Initialize(flags.NewClientOptions(), func(*command.DockerCli) error { return nil }); err != nil {
		return nil, fmt.Errorf("prepare the compose SDK: %w", err)
	}
	return &fixedCli{DockerCli: cli, api: client, file: file}, nil
}

// fixedCli gives the SDK our client and logins; the CLI's own would end the
// process when it dislikes DOCKER_HOST.
type fixedCli struct {
	*command.DockerCli
	api  client.APIClient
	file *configfile.ConfigFile
}

func (c *fixedCli) Client() client.APIClient           { return c.api }
func (c *fixedCli) ConfigFile() *configfile.ConfigFile { return c.file }

// configFile is Docker's config.json, read anew each time as logins change,
// with our registries on top.
func (e *Engine) configFile() (*configfile.ConfigFile, error) {
	file, err := config.Load(config.Dir())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(config.Dir(), config.ConfigFileName), err)
	}
	for _, r := range e.o.Registries {
		password, err := r.Password()
		if err != nil {
			return nil, fmt.Errorf("login of registry %s: %w", r.Host, err)
		}
		key := registryKey(r.Host)
		file.AuthConfigs[key] = clitypes.AuthConfig{Username: r.Username, Password: password, ServerAddress: key}
		if file.CredentialHelpers == nil {
			file.CredentialHelpers = map[string]string{}
		}
		file.CredentialHelpers[key] = "" // ours wins over a credential store
	}
	return file, nil
}

// registryKey is the name under which config.json keeps a registry's login.
func registryKey(address string) string {
	host := strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://")
	host, _, _ = strings.Cut(host, "/")
	switch host {
	case "docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return hubKey
	}
	return host
}
