package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/container"
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
	onThisHost := strings.HasPrefix(api.DaemonHost(), "unix://")
	if !inContainer() {
		if !onThisHost {
			return Place{Unknown: "the engine is on another host (" + withoutPassword(api.DaemonHost()) + ")"}
		}
		return Place{HostRoot: folder}
	}
	c, err := readTraces().own(ctx, api, folder)
	switch {
	case err == nil:
		return mounted(c, folder)
	case onThisHost && besideEngine(ctx, api):
		return Place{HostRoot: folder}
	default:
		return Place{Unknown: "it is not certain which container is the daemon's: " + err.Error()}
	}
}

// mounted finds the mount that holds a folder.
func mounted(c container.InspectResponse, folder string) Place {
	place, best := Place{Container: c.ID}, ""
	for _, m := range c.Mounts {
		rel, err := filepath.Rel(m.Destination, folder)
		if err == nil && rel != ".." && !strings.HasPrefix(rel, "../") && len(m.Destination) > len(best) {
			best, place.HostRoot = m.Destination, filepath.Join(m.Source, rel)
		}
	}
	if place.HostRoot == "" {
		place.Unknown = fmt.Sprintf("no mount of the daemon's container holds %s", folder)
	}
	return place
}

// besideEngine says whether the engine runs in the very container that we do,
// as in a development machine that is one: then both see the same folders. It
// has our host name and its data lies where it says.
func besideEngine(ctx context.Context, api client.APIClient) bool {
	info, err := api.Info(ctx)
	if err != nil {
		return false
	}
	hostname, err := os.Hostname()
	if err != nil || hostname != info.Name || info.DockerRootDir == "" {
		return false
	}
	_, err = os.Stat(info.DockerRootDir)
	return err == nil
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
