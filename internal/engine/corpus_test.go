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
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/api/types/volume"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// atOnce is how many stacks of the corpus are up at the same time.
const atOnce = 3

// Every stack of testdata/corpus is the same to the engine, whether we brought it
// up or a person's docker compose: after ours that person's up recreates nothing
// and leaves us nothing to do, and alone it makes what we made.
//
// A folder there is a stack. In its files the words of enginetest.Stack are
// replaced, and DISK by a disk of this machine; its networks and volumes that are
// named NAME-ext exist before. One whose compose file begins with a comment like
// "# from API 1.44" is loaded, but not brought up, where the engine is older. One
// that begins with "# where the machine can" may fail, but in both ways then.
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
	if first := firstAPI(text); versions.LessThan(p.api.ClientVersion(), first) {
		testenv.Unavailable(p.t, "it takes an engine with API %s", first)
	}
	p.t.Cleanup(func() { p.Clean(p.t, name); p.dropBuilt(name) })
	// To engines that keep how an image was built, the same built again is another image.
	builds := slices.ContainsFunc(project.Services, func(s plan.Service) bool { return s.Pull == plan.PullBuild })
	p.anew = builds && !versions.LessThan(p.api.ClientVersion(), "1.44")
	if strings.HasPrefix(text, "# where the machine can\n") {
		err := p.tryByHand(name)
		p.Clean(p.t, name)
		if err != nil {
			if p.Up(p.t.Context(), project, plan.Op{}, nil) == nil && p.settled(project) == nil {
				p.t.Errorf("docker compose fails where we do not: %s", err)
			}
			return
		}
	}
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
	p.dropBuilt(name)
	p.byHand(name)
	theirs, started := p.made(name)
	for _, d := range p.differences(project) {
		p.t.Errorf("what a person started is not taken over as it is: %s", d.Text)
	}
	p.up(project)
	if _, after := p.made(name); !p.anew && !maps.Equal(started, after) {
		p.t.Errorf("our up after docker compose's made containers (-before +after):\n%s", cmp.Diff(started, after))
	}
	for _, what := range slices.Sorted(maps.Keys(union(ours, theirs))) {
		if diff := cmp.Diff(theirs[what], ours[what]); diff != "" {
			p.t.Errorf("%s differs (-docker compose +ours):\n%s", what, diff)
		}
	}
}

// firstAPI is the API version from which engines can do what a stack asks for:
// what the comment says that its file begins with, if there is one.
func firstAPI(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	version, _ := strings.CutPrefix(line, "# from API ")
	return version
}

// lay writes the files of a stack of the corpus into the clone and gives the
// text of its compose file.
func (p *place) lay(folder, name string) string {
	p.t.Helper()
	words := strings.NewReplacer(
		"SLEEP", `image: `+p.image+`, stop_signal: SIGKILL, command: [/bin/busybox, sleep, "1000"]`,
		"RUN", `image: `+p.image+`, stop_signal: SIGKILL`, "IMAGE", p.image, "NAME", name, "DISK", disk())
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

// dropBuilt removes the images that were built for a project.
func (p *place) dropBuilt(name string) {
	p.t.Helper()
	ctx := context.Background()
	built, err := p.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", api.ProjectLabel+"="+name))})
	ok(p.t, err)
	for _, i := range built {
		_, err := p.api.ImageRemove(ctx, i.ID, image.RemoveOptions{Force: true})
		ok(p.t, err)
	}
}

// disk is the path of a disk, for what is set per disk; it is not touched.
func disk() string {
	for _, pattern := range []string{"/sys/block/[hsvx]*", "/sys/block/nvme*", "/sys/block/*"} {
		if disks, _ := filepath.Glob(pattern); len(disks) > 0 {
			return "/dev/" + filepath.Base(disks[0])
		}
	}
	return "/dev/none"
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
		if p.anew {
			delete(c.Config.Labels, api.ImageDigestLabel)
		}
		texts["container "+c.Name] = words.Replace(p.text(containerFacts(c)))
	}
	networks, err := p.api.NetworkList(ctx, network.ListOptions{Filters: of})
	ok(p.t, err)
	for _, n := range networks {
		texts["network "+n.Name] = p.text([]any{n.Driver, n.Options, n.Internal, n.Attachable, n.EnableIPv4, n.EnableIPv6, n.IPAM.Driver, n.IPAM.Options, labels(n.Labels)})
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
	Gateway        int // the priority of the network's
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
		if m.Type == mount.TypeImage { // a folder of the container's own
			c.Mounts[i].Source = "image"
		}
	}
	f := facts{c.Config, h, c.Mounts, map[string]endpoint{}}
	for name, n := range c.NetworkSettings.Networks {
		if i := slices.Index(n.Aliases, c.ID[:12]); i >= 0 {
			n.Aliases[i] = "short ID"
		}
		slices.Sort(n.Links)
		slices.Sort(n.Aliases)
		f.Networks[name] = endpoint{n.IPAMConfig, n.Links, n.Aliases, n.DriverOpts, n.GwPriority}
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

// notInTheCorpus are attributes that no stack of it has, and why. What is below
// one is not in it either.
func notInTheCorpus() map[string]string {
	const (
		windows  = "it is for Windows"
		registry = "it takes a registry"
		llm      = "the engine needs a program for it"
		refused  = "it is refused, by docker compose or here"
	)
	return map[string]string{
		"configs.*.external":            refused,
		"configs.*.template_driver":     refused,
		"models":                        llm,
		"secrets.*.driver":              refused,
		"secrets.*.driver_opts":         refused,
		"secrets.*.external":            refused,
		"secrets.*.template_driver":     refused,
		"services.*.build.cache_from":   registry,
		"services.*.build.cache_to":     registry,
		"services.*.build.entitlements": "the engine has to allow them",
		"services.*.build.isolation":    windows,
		"services.*.build.no_cache":     "each build is another image then",
		"services.*.build.privileged":   "the engine has to allow it",
		"services.*.build.provenance":   "it is kept in a registry only",
		"services.*.build.pull":         registry,
		"services.*.build.sbom":         "it is kept in a registry only",
		"services.*.build.ssh":          "it takes an agent with keys",
		"services.*.credential_spec":    windows,
		"services.*.models":             llm,
		"services.*.provider":           "it is a program beside the engine",
		"services.*.pull_refresh_after": "it is about pulls, and no part of a container",
		"services.*.use_api_socket":     refused,
	}
}

// A new version of the Compose specification shows here with what it adds, as deep
// as its schema goes.
func TestTheCorpusHasEveryAttribute(t *testing.T) {
	var spec node
	ok(t, json.Unmarshal([]byte(schema.Schema), &spec))
	all := map[string]bool{}
	spec.attributes(&spec, "", nil, all)
	if len(all) < 300 {
		t.Fatalf("the schema has %d attributes only: it is laid out in another way", len(all))
	}
	used := map[string]bool{}
	files, err := filepath.Glob("testdata/corpus/*/*.yaml")
	ok(t, err)
	for _, file := range files {
		b, err := os.ReadFile(file)
		ok(t, err)
		text := strings.NewReplacer("SLEEP", "image: x, stop_signal: SIGKILL, command: x", "RUN", "image: x, stop_signal: SIGKILL").Replace(string(b))
		text = regexp.MustCompile(`!(reset|override)\b`).ReplaceAllString(text, "")
		var stack any
		if err := yaml.Unmarshal([]byte(text), &stack); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		spec.uses(&spec, "", stack, used)
	}
	missing := notInTheCorpus()
	excused := func(path string) bool {
		for ; path != ""; path = path[:max(0, strings.LastIndexByte(path, '.'))] {
			if missing[path] != "" {
				return true
			}
		}
		return false
	}
	for path := range all {
		switch {
		case !used[path] && !excused(path):
			t.Errorf("no stack of the corpus has %s", path)
		case used[path] && excused(path):
			t.Errorf("the corpus has %s, for which there is an excuse", path)
		}
	}
	for path := range missing {
		if !all[path] {
			t.Errorf("there is no attribute %s", path)
		}
	}
}

// node is a part of a JSON schema, as far as attributes need it.
type node struct {
	Ref                  string           `json:"$ref"`
	Definitions          map[string]*node `json:"definitions"`
	Properties           map[string]*node `json:"properties"`
	PatternProperties    map[string]*node `json:"patternProperties"`
	AdditionalProperties *node            `json:"additionalProperties"`
	Items                *node            `json:"items"`
	OneOf                []*node          `json:"oneOf"`
	AnyOf                []*node          `json:"anyOf"`
	AllOf                []*node          `json:"allOf"`
}

// UnmarshalJSON takes true and false too, which say nothing of attributes.
func (n *node) UnmarshalJSON(b []byte) error {
	type plain node
	if b[0] != '{' {
		return nil
	}
	return json.Unmarshal(b, (*plain)(n))
}

// same are the nodes that say something of the same values as n does.
func (n *node) same(root *node) []*node {
	list := slices.Concat(n.OneOf, n.AnyOf, n.AllOf)
	if name, ok := strings.CutPrefix(n.Ref, "#/definitions/"); ok {
		list = append(list, root.Definitions[name])
	}
	if n.Items != nil { // an item of a list has the path of the list
		list = append(list, n.Items)
	}
	return list
}

// named is what names that people choose stand for; nil if they choose none.
func (n *node) named() *node {
	for pattern, below := range n.PatternProperties {
		if pattern != "^x-" {
			return below
		}
	}
	return n.AdditionalProperties
}

// attributes collects the paths of all attributes. within is what leads to n.
func (n *node) attributes(root *node, path string, within []*node, all map[string]bool) {
	if slices.Contains(within, n) {
		return
	}
	within = append(slices.Clone(within), n)
	for _, other := range n.same(root) {
		other.attributes(root, path, within, all)
	}
	for name, below := range n.Properties {
		all[join(path, name)] = true
		below.attributes(root, join(path, name), within, all)
	}
	if below := n.named(); below != nil {
		below.attributes(root, join(path, "*"), within, all)
	}
}

// uses collects the paths of the attributes that a value has.
func (n *node) uses(root *node, path string, value any, used map[string]bool) {
	for _, other := range n.same(root) {
		other.uses(root, path, value, used)
	}
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			n.uses(root, path, item, used)
		}
	case map[string]any:
		for name, v := range value {
			if below := n.Properties[name]; below != nil {
				used[join(path, name)] = true
				below.uses(root, join(path, name), v, used)
			} else if below := n.named(); below != nil && !strings.HasPrefix(name, "x-") {
				below.uses(root, join(path, "*"), v, used)
			}
		}
	}
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }
