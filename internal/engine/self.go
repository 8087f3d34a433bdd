package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/docker/docker/client"
)

// Place is where the daemon finds itself.
type Place struct {
	// Container is the id of the daemon's own container; empty outside of one.
	Container string
	// HostRoot is the clone's folder as the engine sees it; empty if that
	// could not be found out, with the reason in Unknown.
	HostRoot string
	Unknown  string
}

// Locate finds out where the engine sees a folder of this process. Outside of
// a container that is the folder itself, with links resolved. Inside one the
// engine tells where the mount that holds the folder comes from.
func Locate(ctx context.Context, api client.APIClient, folder string) Place {
	folder, err := resolve(folder)
	if err != nil {
		return Place{Unknown: err.Error()}
	}
	if !inContainer() {
		if !strings.HasPrefix(api.DaemonHost(), "unix://") {
			return Place{Unknown: "the engine is on another host (" + withoutPassword(api.DaemonHost()) + ")"}
		}
		return Place{HostRoot: folder}
	}
	var tried []string
	for _, id := range candidates() {
		c, err := api.ContainerInspect(ctx, id)
		if err != nil {
			tried = append(tried, err.Error())
			continue
		}
		if hostname, _ := os.Hostname(); c.Config != nil && c.Config.Hostname != hostname && c.HostConfig != nil && !c.HostConfig.NetworkMode.IsHost() {
			tried = append(tried, "container "+id[:min(12, len(id))]+" has another host name")
			continue
		}
		best := ""
		place := Place{Container: c.ID}
		for _, m := range c.Mounts {
			if rel, err := filepath.Rel(m.Destination, folder); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") && len(m.Destination) > len(best) {
				best = m.Destination
				place.HostRoot = filepath.Join(m.Source, rel)
			}
		}
		if place.HostRoot == "" {
			place.Unknown = fmt.Sprintf("no mount of the daemon's container holds %s", folder)
		}
		return place
	}
	return Place{Unknown: "the engine does not know the daemon's container: " + strings.Join(tried, "; ")}
}

func resolve(folder string) (string, error) {
	abs, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real, nil
	}
	return abs, nil
}

// inContainer looks for the marks that engines leave.
func inContainer() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return false
}

// candidates are what may be our container's id: the engine mounts files from
// a folder of that name, older ones name the control group so, and it is the
// host name unless that is set.
func candidates() []string {
	id := regexp.MustCompile(`/(?:containers|docker|overlay-containers)[/-]([0-9a-f]{64})`)
	var out []string
	for _, f := range []string{"/proc/self/mountinfo", "/proc/self/cgroup"} {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for _, m := range id.FindAllSubmatch(b, -1) {
			out = append(out, string(m[1]))
		}
	}
	if hostname, err := os.Hostname(); err == nil && hostname != "" {
		out = append(out, hostname)
	}
	seen := map[string]bool{}
	unique := out[:0]
	for _, c := range out {
		if !seen[c] {
			seen[c] = true
			unique = append(unique, c)
		}
	}
	return unique
}
