package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
)

// traces are what this process sees of the container that it may run in.
type traces struct {
	// groups are the ids that its control groups are named after: nobody else's
	// can be. Newer systems show none.
	groups []string
	// files are the ids of the folders that /etc/hostname and its kin are mounted
	// from: its own, or those of the container whose network it shares. What else
	// is mounted from such folders says nothing: a process beside the engine sees
	// the shared memory of containers.
	files []string
	// hostname is an id, cut short, unless it was given; like files it can be that
	// of the container whose network is shared.
	hostname string
	// mounts are where something is mounted.
	mounts []string
}

func readTraces() traces {
	// Where one of them can't be read, the others say enough or nothing does.
	groups, _ := os.ReadFile("/proc/self/cgroup")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	hostname, _ := os.Hostname()
	return parseTraces(string(groups), string(mounts), hostname)
}

// parseTraces reads the contents of /proc/self/cgroup and /proc/self/mountinfo:
//
//	5:devices:/docker/<id>
//	612 590 254:0 /var/lib/docker/containers/<id>/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw
func parseTraces(groups, mounts, hostname string) traces {
	var t traces
	for _, m := range regexp.MustCompile(`(?m)[/-]([0-9a-f]{64})(?:\.scope)?$`).FindAllStringSubmatch(groups, -1) {
		t.groups = append(t.groups, m[1])
	}
	file := regexp.MustCompile(`/([0-9a-f]{64})/(?:userdata/)?(?:hostname|hosts|resolv\.conf)$`)
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		at := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
		t.mounts = append(t.mounts, at)
		if m := file.FindStringSubmatch(fields[3]); m != nil && filepath.Dir(at) == "/etc" {
			t.files = append(t.files, m[1])
		}
	}
	if regexp.MustCompile(`^[0-9a-f]{12}([0-9a-f]{52})?$`).MatchString(hostname) {
		t.hostname = hostname
	}
	slices.Sort(t.groups)
	slices.Sort(t.files)
	t.groups, t.files = slices.Compact(t.groups), slices.Compact(t.files)
	return t
}

// own finds the container that left the traces. Only what is certain counts: a
// stranger's container that is taken for ours would never be touched, or handed
// over. The folder is one that the process can see; empty for none.
func (t traces) own(ctx context.Context, api client.APIClient, folder string) (container.InspectResponse, error) {
	var none container.InspectResponse
	groups, tried := inspect(ctx, api, t.groups)
	if len(groups) == 1 {
		return groups[0], nil
	}
	ids := t.files
	if t.hostname != "" {
		ids = append(slices.Clone(ids), t.hostname)
	}
	named, more := inspect(ctx, api, ids)
	tried = append(tried, more...)
	switch {
	case len(named) == 0 && len(tried) == 0:
		return none, errors.New("this process has no trace of one")
	case len(named) == 0:
		return none, fmt.Errorf("the engine has none of those that this process has a trace of: %w", errors.Join(tried...))
	case len(named) > 1:
		return none, fmt.Errorf("its files are those of %s, its host name is that of %s", named[0].ID, named[1].ID)
	}
	sharing, err := sharers(ctx, api, named[0].ID)
	if err != nil {
		return none, err
	}
	var fit []container.InspectResponse
	for _, c := range append(named, sharing...) {
		if t.fits(c, folder) {
			fit = append(fit, c)
		}
	}
	switch len(fit) {
	case 0:
		return none, fmt.Errorf("what is mounted here is not what %s has mounted", named[0].ID)
	case 1:
		return fit[0], nil
	default:
		return none, fmt.Errorf("%s and %s share a network, and both could be it", fit[0].ID, fit[1].ID)
	}
}

// inspect gives the containers with these ids, each once; errors are for those
// that the engine does not know.
func inspect(ctx context.Context, api client.APIClient, ids []string) (found []container.InspectResponse, errs []error) {
	for _, id := range ids {
		c, err := api.ContainerInspect(ctx, id)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !strings.HasPrefix(c.ID, id): // it found a name
			errs = append(errs, errors.New("no container has the id "+id))
		case !slices.ContainsFunc(found, func(f container.InspectResponse) bool { return f.ID == c.ID }):
			found = append(found, c)
		}
	}
	return found, errs
}

// sharers are the running containers that share the network of another one, and
// with it the files that tell of the network and the host name.
func sharers(ctx context.Context, api client.APIClient, id string) ([]container.InspectResponse, error) {
	list, err := api.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("status", "running"))})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var ids []string
	for _, c := range list {
		if c.HostConfig.NetworkMode == "container:"+id {
			ids = append(ids, c.ID)
		}
	}
	found, _ := inspect(ctx, api, ids) // one that is gone meanwhile is not ours
	return found, nil
}

// fits says whether all that a container mounts is mounted here, among it what
// holds the folder.
func (t traces) fits(c container.InspectResponse, folder string) bool {
	holds := "/"
	for _, m := range t.mounts {
		if rel, err := filepath.Rel(m, folder); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") && len(m) > len(holds) {
			holds = m
		}
	}
	has := holds == "/"
	for _, m := range c.Mounts {
		at, err := resolve(m.Destination)
		if err != nil || !slices.Contains(t.mounts, at) {
			return false
		}
		has = has || at == holds
	}
	return has
}
