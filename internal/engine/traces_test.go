package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// inspected is an engine that has some containers.
type inspected struct {
	client.APIClient
	containers []container.InspectResponse
}

func (f inspected) ContainerInspect(_ context.Context, id string) (container.InspectResponse, error) {
	for _, c := range f.containers {
		if strings.HasPrefix(c.ID, id) || c.Name == "/"+id {
			return c, nil
		}
	}
	return container.InspectResponse{}, fmt.Errorf("no such container: %.4s", id)
}

func (f inspected) ContainerList(context.Context, container.ListOptions) ([]container.Summary, error) {
	var out []container.Summary
	for _, c := range f.containers {
		s := container.Summary{ID: c.ID}
		s.HostConfig.NetworkMode = string(c.HostConfig.NetworkMode)
		out = append(out, s)
	}
	return out, nil
}

func TestOnlyCertainTracesTellTheDaemonsOwnContainer(t *testing.T) {
	id := func(c string) string { return strings.Repeat(c, 64) }
	made := func(c, network string, mounts ...string) container.InspectResponse {
		r := container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{
			ID: id(c), Name: "/name-" + c, HostConfig: &container.HostConfig{NetworkMode: container.NetworkMode(network)},
		}}
		for _, m := range mounts {
			r.Mounts = append(r.Mounts, container.MountPoint{Destination: m, Source: "/srv" + m})
		}
		return r
	}
	daemon := made("d", "own_default", "/repository", "/socket")
	vpn := made("a", "vpn_default", "/vpn")
	sharing := made("d", "container:"+id("a"), "/repository", "/socket")
	file := func(c, name string) string {
		return fmt.Sprintf("612 590 254:0 /var/lib/docker/containers/%s/%s /etc/%[2]s rw,relatime - ext4 /dev/vda rw\n", id(c), name)
	}
	const (
		root  = "590 400 0:50 / / rw,relatime - overlay overlay rw,upperdir=/x\n"
		clone = "613 590 254:0 /home/me/my\\040clone /repository rw,relatime - ext4 /dev/vda rw\n614 590 0:20 /docker.sock /socket rw - tmpfs tmpfs rw\n"
	)
	shm := fmt.Sprintf("700 26 0:60 / /var/lib/docker/containers/%s/mounts/shm rw - tmpfs shm rw\n", id("a"))
	for _, c := range []struct {
		name, groups, mounts, hostname string
		has                            []container.InspectResponse
		want                           string // the id's digit, or the error
	}{
		{"its files", "0::/\n", root + file("d", "hostname") + file("d", "hosts") + clone, "box", []container.InspectResponse{daemon, vpn}, "d"},
		{"its files at another root of the engine's", "", root + strings.ReplaceAll(file("d", "hosts"), "/var/lib/docker", "") + clone, "box", []container.InspectResponse{daemon}, "d"},
		{"those of podman", "", root + fmt.Sprintf("1 2 0:1 /storage/overlay-containers/%s/userdata/resolv.conf /etc/resolv.conf rw - tmpfs x rw\n", id("d")) + clone, "box", []container.InspectResponse{daemon}, "d"},
		{"its control group", "5:devices:/docker/" + id("d") + "\n0::/\n", root + clone, "box", []container.InspectResponse{daemon, vpn}, "d"},
		{"its control group under systemd", "0::/system.slice/docker-" + id("d") + ".scope\n", root + clone, "box", []container.InspectResponse{daemon}, "d"},
		{"its host name", "0::/\n", root + clone, id("d")[:12], []container.InspectResponse{daemon, vpn}, "d"},
		{"a host name that is the name of a container", "0::/\n", root + clone, "name-d", []container.InspectResponse{daemon}, "this process has no trace of one"},
		{
			"the shared memory of others, beside the engine", "0::/\n", "26 1 254:0 / / rw - ext4 /dev/vda rw\n" + shm, "vm",
			[]container.InspectResponse{vpn},
			"this process has no trace of one",
		},
		{"the network of another, by files and host name", "0::/\n", root + file("a", "hostname") + clone, id("a")[:12], []container.InspectResponse{vpn, sharing}, "d"},
		{"the same with its control group", "1:cpu:/docker/" + id("d") + "\n", root + file("a", "hostname") + clone, id("a")[:12], []container.InspectResponse{vpn, sharing}, "d"},
		{
			"two that share a network and mount the same", "", root + file("a", "hostname") + clone, "",
			[]container.InspectResponse{made("a", "x", "/repository"), sharing},
			id("a") + " and " + id("d") + " share a network, and both could be it",
		},
		{"files that lead to a stranger", "", root + file("a", "hostname") + clone, "", []container.InspectResponse{vpn}, "what is mounted here is not what " + id("a") + " has mounted"},
		{
			"files and a host name that don't agree", "", root + file("d", "hostname") + clone, id("a")[:12],
			[]container.InspectResponse{daemon, vpn},
			"its files are those of " + id("d") + ", its host name is that of " + id("a"),
		},
		{"an engine in another container", "", root + file("d", "hostname") + clone, id("d")[:12], nil, "the engine has none of those that this process has a trace of: no such container: dddd\nno such container: dddd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseTraces(c.groups, c.mounts, c.hostname).own(t.Context(), inspected{containers: c.has}, "/repository/sub")
			switch {
			case err != nil && err.Error() == c.want:
			case err != nil:
				t.Errorf("error %v, want %s", err, c.want)
			case got.ID != id(c.want):
				t.Errorf("found %s, want %s", got.ID, c.want)
			}
		})
	}
}
