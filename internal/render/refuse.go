package render

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// supported refuses what a daemon without a person, a plugin or a terminal
// can't do.
func supported(p *types.Project) error {
	if len(p.Services) == 0 && len(p.DisabledServices) == 0 {
		return errors.New("there is no service; give the file one")
	}
	for name, s := range p.Services {
		if s.Provider != nil {
			return fmt.Errorf("services.%s.provider: services of a provider plugin are not supported", name)
		}
		if s.UseAPISocket {
			return fmt.Errorf("services.%s.use_api_socket: it would hand the daemon's logins of all registries to the container; mount the socket in volumes: instead, and a config.json with the login that it needs", name)
		}
		if s.Image == "" && s.Build == nil {
			return fmt.Errorf("services.%s: neither image: nor build: is set", name)
		}
		if s.GetScale() > 1 && s.ContainerName != "" {
			return fmt.Errorf("services.%s: container_name: does not go with %d replicas", name, s.GetScale())
		}
		if err := ofSwarm(p, s); err != nil {
			return err
		}
		for _, check := range []func(*types.Project, types.ServiceConfig) error{nameWorks, portsWork, objectsWork} {
			if err := check(p, s); err != nil {
				return fmt.Errorf("services.%s.%w", name, err)
			}
		}
	}
	for key, v := range p.Volumes {
		if !engineName().MatchString(v.Name) {
			return fmt.Errorf("volumes.%s: the engine takes no volume named %q: a name has at least two of the characters a-z, A-Z, 0-9, _, . and -, and begins with a letter or a digit", key, v.Name)
		}
	}
	if len(p.Models) > 0 {
		return errors.New("models: are not supported")
	}
	return p.CheckContainerNameUnicity()
}

// ofSwarm refuses a service that only Docker Swarm can run. Much else that is meant
// for it, such as deploy.placement, Compose leaves out, and the service runs.
func ofSwarm(p *types.Project, s types.ServiceConfig) error {
	for key := range s.Networks {
		if n := p.Networks[key]; n.Driver == "overlay" && !n.Attachable && !bool(n.External) {
			return fmt.Errorf("networks.%s: this is a stack of Docker Swarm (docker stack deploy): only Swarm's own services can join an overlay network without attachable: true, and this daemon runs stacks on one host, as docker compose does", key)
		}
	}
	return nil
}

// engineName is what the engine takes for the name of a container or of a volume.
// Compose's schema only wants it to be a part of one.
func engineName() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`) }

func nameWorks(_ *types.Project, s types.ServiceConfig) error {
	if s.ContainerName == "" || engineName().MatchString(s.ContainerName) {
		return nil
	}
	return fmt.Errorf("container_name: the engine takes no container named %q: a name has at least two of the characters a-z, A-Z, 0-9, _, . and -, and begins with a letter or a digit", s.ContainerName)
}

// portsWork refuses ports that the engine would refuse when a container is made.
func portsWork(_ *types.Project, s types.ServiceConfig) error {
	const most = 1<<16 - 1
	for _, c := range s.Ports {
		switch _, _, ok := portRange(c.Published); {
		case c.Target == 0 || c.Target > most:
			return fmt.Errorf("ports: %d is no port of a container; one is from 1 to %d", c.Target, most)
		case c.Published != "" && c.Published != "0" && !ok:
			return fmt.Errorf("ports: %q is no port of the host and no range of them (8080, 8080-8089); one is from 1 to %d", c.Published, most)
		case c.HostIP != "" && net.ParseIP(strings.Trim(c.HostIP, "[]")) == nil:
			return fmt.Errorf("ports: %q is no address of the host", c.HostIP)
		}
	}
	return nil
}

// objectsWork refuses configs and secrets that Compose refuses when it makes, or
// has made, a container.
func objectsWork(p *types.Project, s types.ServiceConfig) error {
	for _, use := range s.Secrets {
		if err := objectWorks(s, types.FileObjectConfig(p.Secrets[use.Source])); err != nil {
			return fmt.Errorf("secrets: %s %w", use.Source, err)
		}
	}
	for _, use := range s.Configs {
		if err := objectWorks(s, types.FileObjectConfig(p.Configs[use.Source])); err != nil {
			return fmt.Errorf("configs: %s %w", use.Source, err)
		}
	}
	return nil
}

func objectWorks(s types.ServiceConfig, o types.FileObjectConfig) error {
	switch {
	case bool(o.External):
		return errors.New("is external, which only Swarm knows; take file:, or environment: with a variable of the stack's .env")
	case s.ReadOnly && (o.Content != "" || o.Environment != ""):
		return errors.New("has its value in content: or environment:, which Compose copies into the container; that can't be with read_only: true, where only file: works")
	}
	return nil
}
