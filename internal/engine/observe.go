package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// observeTimeout bounds one snapshot: an engine that hangs must not hang us.
const observeTimeout = 60 * time.Second

// Observe takes one snapshot, with at most four calls however many stacks there
// are. While the engine's events are heard, see Events, it asks for images and
// for what has changed since the last one; every ten minutes it asks for all.
// What a snapshot holds is shared by all that are alike, and must not be changed.
func (e *Engine) Observe(ctx context.Context) (plan.Observed, error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	s := e.sight
	s.snapshot.Lock()
	defer s.snapshot.Unlock()
	if err := s.refresh(ctx, e.api); err != nil {
		return plan.Observed{}, err
	}
	if s.last.Version != s.version {
		s.last = e.collect(s)
		s.last.Version = s.version
	}
	return s.last, nil
}

// collect sorts what the engine listed by project.
func (e *Engine) collect(s *sight) plan.Observed {
	o := plan.Observed{Images: s.names, Networks: map[string]string{}, Volumes: map[string]bool{}, Strangers: map[string][]string{}}
	byProject := map[string]*found{}
	at := func(name string) *found {
		f := byProject[name]
		if f == nil {
			f = &found{Running: plan.Running{Project: name, Ours: true}}
			byProject[name] = f
		}
		return f
	}
	for _, id := range slices.Sorted(maps.Keys(s.containers)) {
		c := s.containers[id]
		if c.project != "" {
			at(c.project).add(c)
			continue
		}
		o.Others = append(o.Others, c.Container)
		for _, name := range c.guestOf {
			o.Strangers[name] = append(o.Strangers[name], c.Name)
		}
	}
	for _, n := range s.networks {
		o.Networks[n.Name] = n.ID
		if name := n.Labels[api.ProjectLabel]; name != "" {
			f := at(name)
			labelled := e.addResource(f, n.Labels)
			f.Networks = append(f.Networks, plan.Resource{Name: n.Name, Hash: n.Labels[api.ConfigHashLabel], Labelled: labelled})
		}
	}
	for _, v := range s.volumes {
		o.Volumes[v.Name] = true
		if name := v.Labels[api.ProjectLabel]; name != "" {
			f := at(name)
			f.Volumes = append(f.Volumes, plan.Resource{Name: v.Name, Hash: v.Labels[api.ConfigHashLabel], Made: plan.VolumeMade(v.Driver, v.Options)})
		}
	}
	for _, f := range byProject {
		f.Ours = f.Ours && f.owned
		o.Running = append(o.Running, f.Running)
	}
	slices.SortFunc(o.Running, func(a, b plan.Running) int { return strings.Compare(a.Project, b.Project) })
	return o
}

// networksOf are the networks that a container which runs is on.
func networksOf(c container.Summary) []string {
	if c.NetworkSettings == nil || c.State != container.StateRunning && c.State != container.StatePaused {
		return nil
	}
	return slices.Sorted(maps.Keys(c.NetworkSettings.Networks))
}

// found is a project while its parts are being collected. It is ours when
// something of it is and nothing of it is another's.
type found struct {
	plan.Running
	owned bool
}

// sighted is a container as the engine listed it, and what that says of its
// project.
type sighted struct {
	plan.Container
	// project is empty for a stranger, that is on the networks of guestOf.
	project string
	guestOf []string
	// file is the stack file that it belongs to; empty if it is not ours, and then
	// origin is where it comes from.
	file, origin                  string
	labelled, ignored, controller bool
	// aside says that a hand-over has to do with it, and nobody else.
	aside bool
}

// read takes from a list what we want to know of a container; at is when it was
// listed.
func (e *Engine) read(c container.Summary, at time.Time) sighted {
	labels := c.Labels
	if labels[api.ProjectLabel] == "" {
		return sighted{Container: plan.Container{ID: c.ID, Name: containerName(c), State: string(c.State), Created: time.Unix(c.Created, 0)}, guestOf: networksOf(c)}
	}
	con := plan.Container{
		ID: c.ID, Name: containerName(c), Service: labels[api.ServiceLabel],
		OneOff: labels[api.OneoffLabel] == "True", Hook: plan.HookKind(labels[render.LabelHook]),
		State: string(c.State), Hash: labels[render.LabelHash], Image: labels[api.ImageDigestLabel], Reference: c.Image,
		Created: time.Unix(c.Created, 0), Since: c.Status, Said: at,
		Networks: map[string]string{}, Mounts: e.mounts(c.Mounts), Ports: ports(c.Ports),
	}
	con.Grace, _ = time.ParseDuration(labels[render.LabelGrace])
	con.Number, _ = strconv.Atoi(labels[api.ContainerNumberLabel])
	if con.Hash == "" {
		con.Hash = labels[api.ConfigHashLabel]
	}
	if con.Image == "" {
		con.Image = c.ImageID
	}
	con.Digested = labels[render.LabelContent] != ""
	con.Former = con.Digested && labels[api.ConfigHashLabel] == con.Hash
	con.Self = e.o.Self != "" && c.ID == e.o.Self
	con.Health, con.ExitCode = readStatus(c.Status)
	con.Replacing = temporary(con.Name, labels[api.ProjectLabel])
	con.SharesNetworkOf, _ = strings.CutPrefix(c.HostConfig.NetworkMode, "container:")
	if con.SharesNetworkOf == c.HostConfig.NetworkMode {
		con.SharesNetworkOf = ""
	}
	if c.NetworkSettings != nil {
		for name, n := range c.NetworkSettings.Networks {
			con.Networks[name] = n.NetworkID
		}
	}
	s := sighted{
		Container: con, project: labels[api.ProjectLabel], aside: isAside(con.Name, c.ID) && !con.Self,
		ignored:    render.IsTrue(labels[render.LabelIgnore]),
		controller: render.IsTrue(labels[render.LabelController]) || con.Self,
	}
	if s.file, s.labelled = e.owner(labels); s.file == "" {
		s.origin = labels[api.WorkingDirLabel]
	}
	return s
}

func (f *found) add(c sighted) {
	if c.aside {
		return
	}
	f.Containers = append(f.Containers, c.Container)
	if !c.OneOff {
		f.Ours = f.Ours && c.file != ""
	}
	if c.file != "" {
		f.owned, f.File = true, c.file
	} else {
		f.Origin = c.origin
	}
	f.Labelled = f.Labelled || c.labelled
	f.Ignored = f.Ignored || c.ignored
	f.Controller = f.Controller || c.controller
}

// addResource lets a network that is left alone tell whose project it is of.
// Compose sets no working_dir on networks, so that one without our labels
// says nothing either way. It says whether our labels are on it.
func (e *Engine) addResource(f *found, labels map[string]string) bool {
	ours := labels[render.LabelRepository] == e.o.Repository && labels[render.LabelStack] != ""
	if ours {
		f.owned, f.Labelled = true, true
		if f.File == "" {
			f.File = labels[render.LabelStack]
		}
	}
	return ours
}

// owner gives the stack file that a container belongs to, if it is ours: by
// our labels, or because it was started from a folder inside our clone.
func (e *Engine) owner(labels map[string]string) (file string, labelled bool) {
	if labels[render.LabelRepository] == e.o.Repository && labels[render.LabelStack] != "" {
		return labels[render.LabelStack], true
	}
	// The repository's address or branch changed, or it was started by hand.
	first, _, _ := strings.Cut(labels[api.ConfigFilesLabel], ",")
	if rel, ok := e.inClone(first); ok {
		return rel, labels[render.LabelStack] != ""
	}
	return "", false
}

// temporary says whether a name is one that the SDK gives a container until it
// has taken the old one's place: the first 12 digits of the old one's id, an
// underscore, and the name to be.
// A project may have a name like that itself.
func temporary(name, project string) bool {
	id, rest, ok := strings.Cut(name, "_")
	return ok && !strings.HasPrefix(name, project+"-") && rest != "" && len(id) == 12 && strings.Trim(id, "0123456789abcdef") == ""
}

func containerName(c container.Summary) string {
	for _, n := range c.Names {
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
			return n
		}
	}
	return c.ID
}

// readStatus reads health and exit code from the words of a container list,
// "Up 3 hours (healthy)" or "Exited (137) 2 minutes ago", as the API of the
// engines that we support has no field for them there.
func readStatus(status string) (health string, exitCode int) {
	open := strings.IndexByte(status, '(')
	end := strings.IndexByte(status, ')')
	if open < 0 || end < open {
		return "", 0
	}
	switch word := status[open+1 : end]; {
	case word == "healthy" || word == "unhealthy":
		return word, 0
	case word == "health: starting":
		return "starting", 0
	default:
		exitCode, _ = strconv.Atoi(word)
		return "", exitCode
	}
}

func containersOf(r plan.Running, service string) []plan.Container {
	var of []plan.Container
	for _, c := range r.Containers {
		if c.Service == service && !c.OneOff {
			of = append(of, c)
		}
	}
	return of
}

// project observes one project only.
func (e *Engine) project(ctx context.Context, name string) (plan.Running, error) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: projectFilter(name)})
	if err != nil {
		return plan.Running{}, fmt.Errorf("list the containers of %s: %w", name, err)
	}
	f := &found{Running: plan.Running{Project: name, Ours: true}}
	for _, c := range list {
		f.add(e.read(c, time.Now()))
	}
	return f.Running, nil
}

func projectFilter(name string) filters.Args {
	return filters.NewArgs(filters.Arg("label", api.ProjectLabel+"="+name))
}
