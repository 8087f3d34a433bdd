package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// startFirst says whether a service's new containers start before the old ones stop,
// how many at a time (0 for all), and why that can't be where it is wanted.
func startFirst(s types.ServiceConfig) (yes bool, parallelism int, why string) {
	if s.Deploy == nil || s.Deploy.UpdateConfig == nil || s.Deploy.UpdateConfig.Order != "start-first" {
		return false, 0, ""
	}
	if why := alone(s); why != "" {
		return false, 0, why
	}
	parallelism = 1
	if n := s.Deploy.UpdateConfig.Parallelism; n != nil {
		parallelism = int(min(*n, 1<<16))
	}
	return true, parallelism, ""
}

// alone says why two containers of a service can't run at the same time; "" if they can.
func alone(s types.ServiceConfig) string {
	switch {
	case s.ContainerName != "":
		return "it has a container_name, which only one container can have"
	case s.NetworkMode == "host" || strings.HasPrefix(s.NetworkMode, types.ServicePrefix) || strings.HasPrefix(s.NetworkMode, types.ContainerPrefix):
		return "it uses network_mode: " + s.NetworkMode
	case len(follows(s)) > 0 || len(joins(s)) > 0:
		return "it lives in the namespaces, or with the volumes, of another container"
	case s.MacAddress != "":
		return "it has a mac_address"
	case len(s.Devices) > 0:
		return "it uses a device of the host (" + s.Devices[0].Source + ")"
	}
	for _, p := range s.Ports {
		if p.Published != "" && p.Published != "0" {
			return "it publishes port " + p.Published + " of the host"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Networks)) {
		n := s.Networks[name]
		if n != nil && (n.Ipv4Address != "" || n.Ipv6Address != "" || n.MacAddress != "" || len(n.LinkLocalIPs) > 0) {
			return "it has an address of its own on network " + name
		}
	}
	i := slices.IndexFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool {
		return !v.ReadOnly && (v.Type == types.VolumeTypeVolume || v.Type == types.VolumeTypeBind || v.Type == types.VolumeTypeCluster)
	})
	if i >= 0 {
		return fmt.Sprintf("it can write to what it mounts at %s, and so would both; mount it with :ro if it only reads", s.Volumes[i].Target)
	}
	return ""
}
