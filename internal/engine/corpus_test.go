//go:build engine

package engine_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/schema"
	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// atOnce is how many stacks of the corpus are up at the same time.
const atOnce = 3

// Every stack of testdata/corpus is the same to the engine, whether we brought it
// up or a person's docker compose: after ours that person's up recreates nothing
// and leaves us nothing to do, and alone it makes what we made.
//
// A folder there is a stack. In its files the words of enginetest.Stack are
// replaced; its networks and volumes that are named NAME-ext exist before.
func TestTheCorpusIsWhatDockerComposeMakesOfIt(t *testing.T) {
	folders, err := filepath.Glob("testdata/corpus/*/compose.yaml")
	ok(t, err)
	if len(folders) < 60 {
		t.Fatalf("the corpus has %d stacks only", len(folders))
	}
	limit := make(chan struct{}, atOnce)
	for _, file := range folders {
		folder := filepath.Dir(file)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			limit <- struct{}{}
			t.Cleanup(func() { <-limit }) // the last of its clean-ups
			newPlace(t).compare(folder)
		})
	}
}

// compare brings a stack up by us, by us and by hand, and by hand alone.
func (p *place) compare(folder string) {
	name := p.name()
	text := p.lay(folder, name)
	if strings.Contains(text, name+"-ext") {
		p.outside(name)
	}

	project := p.load(name, text)
	p.up(project)
	ours, before := p.made(name)
	if len(before) == 0 {
		p.t.Fatal("the stack has no container")
	}
	p.byHand(name)
	if _, after := p.made(name); !maps.Equal(before, after) {
		p.t.Errorf("docker compose up after ours made containers (-before +after):\n%s", cmp.Diff(before, after))
	}
	for _, d := range p.differences(project) {
		p.t.Errorf("after docker compose up there is something to do: %s", d.Text)
	}

	p.Clean(p.t, name)
	p.byHand(name)
	theirs, started := p.made(name)
	for _, d := range p.differences(project) {
		p.t.Errorf("what a person started is not taken over as it is: %s", d.Text)
	}
	p.up(project)
	if _, after := p.made(name); !maps.Equal(started, after) {
		p.t.Errorf("our up after docker compose's made containers (-before +after):\n%s", cmp.Diff(started, after))
	}
	for _, what := range slices.Sorted(maps.Keys(union(ours, theirs))) {
		if diff := cmp.Diff(theirs[what], ours[what]); diff != "" {
			p.t.Errorf("%s differs (-docker compose +ours):\n%s", what, diff)
		}
	}
}

// lay writes the files of a stack of the corpus into the clone and gives the
// text of its compose file.
func (p *place) lay(folder, name string) string {
	p.t.Helper()
	words := strings.NewReplacer(
		"SLEEP", `image: `+p.image+`, stop_signal: SIGKILL, command: [/bin/busybox, sleep, "1000"]`,
		"RUN", `image: `+p.image+`, stop_signal: SIGKILL`, "IMAGE", p.image, "NAME", name)
	ok(p.t, filepath.WalkDir(folder, func(from string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		within, err := filepath.Rel(folder, from)
		ok(p.t, err)
		to := filepath.Join(p.root, name, within)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		b, err := os.ReadFile(from)
		ok(p.t, err)
		return os.WriteFile(to, []byte(words.Replace(string(b))), 0o644)
	}))
	b, err := os.ReadFile(filepath.Join(p.root, name, "compose.yaml"))
	ok(p.t, err)
	return string(b)
}

// outside makes a network and a volume of no project, for the stack of a name.
func (p *place) outside(name string) {
	p.t.Helper()
	p.MakeNetwork(p.t, name+"-ext", nil)
	_, err := p.api.VolumeCreate(p.t.Context(), volume.CreateOptions{Name: name + "-ext"})
	ok(p.t, err)
	p.t.Cleanup(func() {
		p.Clean(p.t, name) // what uses the volume
		ok(p.t, p.api.VolumeRemove(context.Background(), name+"-ext", true))
	})
}

// made tells what the engine has of a project, as text by what it is, and the
// ids of its containers by name. What has to differ from one time to the next is
// not in the text.
func (p *place) made(name string) (texts, ids map[string]string) {
	p.t.Helper()
	ctx := p.t.Context()
	of := filters.NewArgs(filters.Arg("label", api.ProjectLabel+"="+name))
	list, err := p.api.ContainerList(ctx, container.ListOptions{All: true, Filters: of})
	ok(p.t, err)
	var all []container.InspectResponse
	texts, ids = map[string]string{}, map[string]string{}
	generated := []string{}
	for _, c := range list {
		full, err := p.api.ContainerInspect(ctx, c.ID)
		ok(p.t, err)
		all = append(all, full)
		ids[full.Name] = full.ID
		generated = append(generated, full.ID, "ID of "+full.Name, full.ID[:12], "short ID of "+full.Name)
	}
	words := strings.NewReplacer(generated...)
	for _, c := range all {
		texts["container "+c.Name] = words.Replace(p.text(containerFacts(c)))
	}
	networks, err := p.api.NetworkList(ctx, network.ListOptions{Filters: of})
	ok(p.t, err)
	for _, n := range networks {
		texts["network "+n.Name] = p.text([]any{n.Driver, n.Options, n.Internal, n.Attachable, n.EnableIPv6, n.IPAM.Driver, n.IPAM.Options, labels(n.Labels)})
	}
	volumes, err := p.api.VolumeList(ctx, volume.ListOptions{Filters: of})
	ok(p.t, err)
	for _, v := range volumes.Volumes {
		if !isAnonymous(v.Name) { // those are in the containers' mounts
			texts["volume "+v.Name] = p.text([]any{v.Driver, v.Options, v.Scope, labels(v.Labels)})
		}
	}
	return texts, ids
}

func (p *place) text(facts any) string {
	p.t.Helper()
	b, err := json.MarshalIndent(facts, "", " ")
	ok(p.t, err)
	return string(b)
}

// facts are what a compose file decides of a container.
type facts struct {
	Config     *container.Config
	HostConfig *container.HostConfig
	Mounts     []container.MountPoint
	Networks   map[string]endpoint
}

// endpoint is how a container is on a network.
type endpoint struct {
	IPAM           *network.EndpointIPAMConfig
	Links, Aliases []string
	Options        map[string]string
}

// containerFacts leaves out what the engine chooses, and sorts what Compose has
// from a map.
func containerFacts(c container.InspectResponse) facts {
	slices.Sort(c.Config.Env)
	c.Config.Labels = labels(c.Config.Labels)
	dependsOn := strings.Split(c.Config.Labels[api.DependenciesLabel], ",")
	slices.Sort(dependsOn)
	c.Config.Labels[api.DependenciesLabel] = strings.Join(dependsOn, ",")
	if shares(c) { // its hash has the id of the container that it lives with
		delete(c.Config.Labels, api.ConfigHashLabel)
	}
	h := c.HostConfig
	for _, list := range [][]string{h.Binds, h.ExtraHosts, h.Links, h.VolumesFrom, h.SecurityOpt} {
		slices.Sort(list)
	}
	slices.SortFunc(h.Ulimits, func(a, b *container.Ulimit) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(h.Mounts, func(a, b mount.Mount) int { return strings.Compare(a.Target, b.Target) })
	slices.SortFunc(c.Mounts, func(a, b container.MountPoint) int { return strings.Compare(a.Destination, b.Destination) })
	for i, m := range c.Mounts {
		if isAnonymous(m.Name) {
			c.Mounts[i].Name, c.Mounts[i].Source = "anonymous", "anonymous"
		}
	}
	f := facts{c.Config, h, c.Mounts, map[string]endpoint{}}
	for name, n := range c.NetworkSettings.Networks {
		if i := slices.Index(n.Aliases, c.ID[:12]); i >= 0 {
			n.Aliases[i] = "short ID"
		}
		slices.Sort(n.Links)
		slices.Sort(n.Aliases)
		f.Networks[name] = endpoint{n.IPAMConfig, n.Links, n.Aliases, n.DriverOpts}
	}
	return f
}

// labels leaves out our own, and Compose's that have a version or a path.
func labels(all map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range all {
		switch k {
		case api.VersionLabel, api.WorkingDirLabel, api.ConfigFilesLabel:
		default:
			if !strings.HasPrefix(k, "gitops.") {
				out[k] = v
			}
		}
	}
	return out
}

func shares(c container.InspectResponse) bool {
	h := c.HostConfig
	return h.NetworkMode.IsContainer() || h.IpcMode.IsContainer() || h.PidMode.IsContainer() || len(h.VolumesFrom) > 0
}

func isAnonymous(volume string) bool {
	return regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(volume)
}

func union(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// notInTheCorpus are attributes of services that no stack of it has, and why.
func notInTheCorpus() map[string]string {
	return map[string]string{
		"build":              "an image is compared where images are built",
		"pull_refresh_after": "it is about pulls, and no part of a container",
		"use_api_socket":     "it is refused",
		"provider":           "it is a program beside the engine",
		"models":             "the engine needs a program for them",
		"gpus":               "it takes a GPU",
		"privileged":         "not every machine lets an engine do it",
		"blkio_config":       "it takes a block device, and a kernel that weighs",
		"storage_opt":        "it takes a storage driver with quotas",
		"cpu_rt_period":      "it takes a kernel for real time",
		"cpu_rt_runtime":     "it takes a kernel for real time",
		"cpu_count":          "it is for Windows",
		"cpu_percent":        "it is for Windows",
		"credential_spec":    "it is for Windows",
	}
}

// A new version of the Compose specification shows here with what it adds.
func TestTheCorpusHasEveryAttributeOfAService(t *testing.T) {
	var spec struct {
		Definitions struct {
			Service struct {
				Properties map[string]any `json:"properties"`
			} `json:"service"`
		} `json:"definitions"`
	}
	ok(t, json.Unmarshal([]byte(schema.Schema), &spec))
	if len(spec.Definitions.Service.Properties) < 50 {
		t.Fatalf("the schema has %d attributes only: it is laid out in another way", len(spec.Definitions.Service.Properties))
	}
	used := map[string]bool{}
	files, err := filepath.Glob("testdata/corpus/*/*.yaml")
	ok(t, err)
	for _, file := range files {
		b, err := os.ReadFile(file)
		ok(t, err)
		var stack struct {
			Services map[string]map[string]any `yaml:"services"`
		}
		text := strings.NewReplacer("SLEEP", "image: x, stop_signal: SIGKILL, command: x", "RUN", "image: x, stop_signal: SIGKILL").Replace(string(b))
		text = regexp.MustCompile(`!(reset|override)\b`).ReplaceAllString(text, "")
		if err := yaml.Unmarshal([]byte(text), &stack); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, service := range stack.Services {
			for attribute := range service {
				used[attribute] = true
			}
		}
	}
	missing := notInTheCorpus()
	for attribute := range spec.Definitions.Service.Properties {
		_, excused := missing[attribute]
		switch {
		case !used[attribute] && !excused:
			t.Errorf("no stack of the corpus has %s", attribute)
		case used[attribute] && excused:
			t.Errorf("the corpus has %s", attribute)
		}
	}
}
