package render

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
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
		if _, _, blank := unrefused(v.Name); !blank && !engineName().MatchString(v.Name) {
			return fmt.Errorf("volumes.%s: the engine takes no volume named %q: a name has at least two of the characters a-z, A-Z, 0-9, _, . and -, and begins with a letter or a digit", key, v.Name)
		}
	}
	if err := portsMeet(p); err != nil {
		return err
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

// binding is a port of the host that each container of a service binds.
type binding struct {
	plan.Port
	host, target string
}

// bindings are those of a service. IP is as it is written: 0.0.0.0 and [::] meet none of
// each other's.
func bindings(s types.ServiceConfig) []binding {
	if s.GetScale() == 0 {
		return nil
	}
	var out []binding
	for _, c := range s.Ports {
		one := s
		one.Ports = []types.ServicePortConfig{c}
		for _, port := range ports(one) {
			port.IP = strings.Trim(c.HostIP, "[]")
			out = append(out, binding{port, c.Published + "/" + port.Protocol, strconv.FormatUint(uint64(c.Target), 10)})
		}
	}
	return out
}

// meets says whether two containers can't have them at the same time. Of a range the
// engine takes a port that is free.
func (b binding) meets(other binding) bool {
	return b.First == b.Last && other.First == other.Last && b.First == other.First && b.Protocol == other.Protocol && sameAddress(b.IP, other.IP)
}

// sameAddress says whether there is an address that is bound by both.
func sameAddress(a, b string) bool {
	if a == "" || b == "" {
		return true
	}
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX != nil || errY != nil {
		return a == b
	}
	return x == y || x.Is4() == y.Is4() && (x.IsUnspecified() || y.IsUnspecified())
}

// portsMeet refuses ports of the host that containers of the stack would take from each
// other: the engine only says so when one of them is made or started, and then the old
// ones have gone. Services that run as hooks have none.
func portsMeet(p *types.Project) error {
	const remedy = "publish one of them at another port of the host"
	x, err := extensionOf(p)
	if err != nil {
		return err
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(p.Services)), func(name string) bool { return slices.Contains(x.hooks(), name) })
	for i, name := range names {
		s := p.Services[name]
		all := bindings(s)
		for n, b := range all {
			if scale := s.GetScale(); scale > int(b.Last-b.First)+1 {
				return fmt.Errorf("services.%s.ports: %d containers can't all have %s of the host; publish a range that is at least as long as they are many (%d-%d), or leave the port of the host out", name, scale, b.host, b.First, int(b.First)+scale-1)
			}
			for _, other := range all[:n] {
				if b.meets(other) && b.target != other.target {
					return fmt.Errorf("services.%s.ports: %s of the host can't lead to both %s and %s of the container; %s", name, b.host, other.target, b.target, remedy)
				}
			}
			for _, other := range names[:i] {
				for _, o := range bindings(p.Services[other]) {
					if b.meets(o) && !ends(p, other, name, map[string]bool{}) && !ends(p, name, other, map[string]bool{}) {
						return fmt.Errorf("services.%s.ports: %s of the host is wanted by service %s as well; %s, or put one of them into a profile", name, b.host, other, remedy)
					}
				}
			}
		}
	}
	return nil
}

// ends says whether a service only starts when a job has succeeded, be it that services
// between them wait for it: it may have the ports that the job had. seen are services
// that were asked already.
func ends(p *types.Project, job, name string, seen map[string]bool) bool {
	seen[name] = true
	for on, how := range p.Services[name].DependsOn {
		if on == job && how.Condition == types.ServiceConditionCompletedSuccessfully || !seen[on] && ends(p, job, on, seen) {
			return true
		}
	}
	return false
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
	case o.Driver != "", o.TemplateDriver != "":
		return errors.New("has a driver: or a template_driver:, which only Swarm knows; take file:, or environment: with a variable of the stack's .env")
	case s.ReadOnly && (o.Content != "" || o.Environment != ""):
		return errors.New("has its value in content: or environment:, which Compose copies into the container; that can't be with read_only: true, where only file: works")
	}
	return nil
}
