package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// host is an engine in memory: what a person finds who looks at it. Its
// operations go in steps, and other things happen between them.
type host struct {
	g        generator
	serial   int
	pods     []*pod
	networks map[string]*network
	volumes  map[string]volumeOf
	images   map[string]string // digests of what is here, by reference
	digests  map[string]string // ids, by name and digest
	registry *registry
	// content are the volumes and the folders of the clone that something is in,
	// but for what git tracks.
	content map[string]bool
	// files are the files in the clone that git does not track.
	files map[string]bool
	// forgets says that the engine takes their networks from containers that it can't
	// start, as engine 29 does, and starts them without next time.
	forgets bool
	// wrong hears of what must not be.
	wrong func(format string, a ...any)
	// starts is told what is about to run.
	starts func(p *pod, s Stack, svc Service)
}

// pod is a container, with what the engine does not know of it.
type pod struct {
	Container
	project, file  string
	ours, labelled bool
	env            bool   // it was made with the .env of its stack
	unit, part     string // which programs they are, see unit and part
	life, joined   int    // how often it was started; in which of its leader's lives this one was
}

type network struct {
	id, hash, project string
	labelled          bool
}

type volumeOf struct{ project, hash string }

// step is called between the steps of an operation. After an error it ends.
type step func() error

func (h *host) next(what string) string {
	h.serial++
	return fmt.Sprint(what, h.serial)
}

func (p *pod) up() bool { return p.State == "running" || p.State == "paused" }

func (h *host) of(project string) []*pod {
	var out []*pod
	for _, p := range h.pods {
		if p.project == project {
			out = append(out, p)
		}
	}
	return out
}

func (h *host) observe() Observed {
	o := Observed{Images: map[string]string{}, Networks: map[string]string{}, Volumes: map[string]bool{}, Strangers: map[string][]string{}}
	maps.Copy(o.Images, h.digests)
	for image := range h.images {
		o.Images[image] = h.idOf(image)
	}
	by := map[string]*Running{}
	at := func(project string) *Running {
		if by[project] == nil {
			by[project] = &Running{Project: project, Ours: true}
		}
		return by[project]
	}
	owned := map[string]bool{}
	for _, p := range h.pods {
		if p.project == "" {
			o.Others = append(o.Others, p.Container)
			for name := range p.Networks {
				o.Strangers[name] = append(o.Strangers[name], p.Name)
			}
			continue
		}
		r := at(p.project)
		c := p.Container
		c.Networks = maps.Clone(c.Networks)
		if !p.up() {
			c.Ports = nil
		}
		r.Containers = append(r.Containers, c)
		r.Ours, r.Labelled, r.Controller = r.Ours && p.ours, r.Labelled || p.labelled, r.Controller || p.Self
		if p.ours {
			r.File, owned[p.project] = p.file, true
		}
	}
	for _, name := range sortedKeys(h.networks) {
		n := h.networks[name]
		o.Networks[name] = n.id
		if n.project != "" {
			r := at(n.project)
			r.Networks = append(r.Networks, Resource{Name: name, Hash: n.hash, Labelled: n.labelled})
			r.Labelled, owned[n.project] = r.Labelled || n.labelled, owned[n.project] || n.labelled
		}
	}
	for _, name := range sortedKeys(h.volumes) {
		v := h.volumes[name]
		o.Volumes[name] = true
		if v.project != "" {
			at(v.project).Volumes = append(at(v.project).Volumes, Resource{Name: name, Hash: v.hash})
		}
	}
	for _, project := range sortedKeys(by) {
		by[project].Ours = by[project].Ours && owned[project]
		o.Running = append(o.Running, *by[project])
	}
	return o
}

// touch is called before anything is done to a container.
func (h *host) touch(p *pod) {
	switch {
	case !p.ours:
		h.wrong("container %s is not ours and is touched", p.Name)
	case p.Self:
		h.wrong("the daemon's own container is touched")
	}
}

func (h *host) halt(p *pod, do step) error {
	h.touch(p)
	if p.up() {
		if err := do(); err != nil {
			return fmt.Errorf("stop %s: %w", p.Name, err)
		}
		p.State, p.ExitCode = "exited", 137
	}
	return nil
}

func (h *host) remove(p *pod, do step) error {
	if err := h.halt(p, do); err != nil {
		return err
	}
	h.pods = slices.DeleteFunc(h.pods, func(q *pod) bool { return q == p })
	return nil
}

// users are the containers that run on a network and are not a project's.
func (h *host) users(network, project string) (names []string) {
	for _, p := range h.pods {
		if _, on := p.Networks[network]; on && p.up() && p.project != project {
			names = append(names, p.Name)
		}
	}
	return names
}

func (h *host) stop(op Op, do step) error {
	h.mend(op.Stack)
	if op.Services != nil {
		for _, p := range h.of(op.Stack) {
			if !slices.Contains(op.Services, p.Service) {
				continue
			}
			if err := h.halt(p, do); err != nil {
				return err
			}
			if !op.FreeNames {
				continue
			}
			if h.named(p.PlainName(op.Stack)) == nil {
				p.Name = p.PlainName(op.Stack)
			} else if err := h.remove(p, do); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range h.of(op.Stack) {
		if err := h.remove(p, do); err != nil {
			return err
		}
	}
	for _, name := range sortedKeys(h.networks) {
		n := h.networks[name]
		if n.project != op.Stack || slices.Contains(op.Leave, name) {
			continue
		}
		if users := h.users(name, op.Stack); len(users) > 0 {
			continue // who came meanwhile
		}
		delete(h.networks, name)
	}
	return do()
}

// up does what the orders say and what Compose would see by itself.
func (h *host) up(s Stack, u unit, op Op, do step) error {
	h.mend(s.Name)
	op.Orders.Beside = slices.DeleteFunc(slices.Clone(op.Orders.Beside), func(name string) bool { // whatever it was before the pull
		i := slices.IndexFunc(s.Services, func(svc Service) bool { return svc.Name == name })
		return !slices.ContainsFunc(h.of(s.Name), func(p *pod) bool {
			return p.Service == name && !p.OneOff && (p.Hash != s.Services[i].Hash || p.Image != h.idOf(s.Services[i].Image))
		})
	})
	concerned := func(service string) bool { return op.Services == nil || slices.Contains(op.Services, service) }
	for _, n := range s.Networks {
		have := h.networks[n.Name]
		if have == nil || have.hash == n.Hash {
			continue
		}
		switch {
		case !slices.Contains(op.Orders.Networks, n.Name):
			return fmt.Errorf("network %s has got another definition", n.Name)
		case len(h.users(n.Name, s.Name)) > 0:
			return fmt.Errorf("network %s is used by %v", n.Name, h.users(n.Name, s.Name))
		}
	}
	for _, req := range s.Requires {
		if h.networks[req.Name] == nil {
			return fmt.Errorf("network %s not found", req.Name)
		}
	}
	for _, p := range h.of(s.Name) {
		if slices.Contains(op.Orders.Orphans, p.Service) && !p.Self {
			if err := h.remove(p, do); err != nil {
				return err
			}
		}
	}
	for _, n := range s.Networks {
		if have := h.networks[n.Name]; have != nil && have.hash != n.Hash {
			for _, p := range h.of(s.Name) {
				if _, on := p.Networks[n.Name]; on {
					if err := h.halt(p, do); err != nil {
						return err
					}
				}
			}
			delete(h.networks, n.Name)
		}
		if h.networks[n.Name] == nil {
			h.networks[n.Name] = &network{h.next("net"), n.Hash, s.Name, true}
		}
	}
	for _, v := range s.Volumes {
		if _, ok := h.volumes[v.Name]; !ok {
			h.volumes[v.Name] = volumeOf{s.Name, v.Hash}
		}
	}
	for _, svc := range s.Services {
		for _, name := range svc.Networks {
			if h.networks[name] == nil { // somebody removed it meanwhile
				return fmt.Errorf("network %s not found", name)
			}
		}
		if concerned(svc.Name) && !slices.Contains(op.Orders.Beside, svc.Name) {
			if err := h.converge(s, u, svc, op, do); err != nil {
				return err
			}
		}
	}
	for _, svc := range s.Services {
		for _, p := range h.of(s.Name) {
			if p.Service != svc.Name || p.Self || !concerned(svc.Name) || slices.Contains(op.Orders.Beside, svc.Name) {
				continue
			}
			if err := h.start(p, s, svc, do); err != nil {
				return err
			}
		}
	}
	for _, svc := range s.Services {
		if slices.Contains(op.Orders.Beside, svc.Name) {
			if err := h.beside(s, u, svc, do); err != nil {
				return err
			}
		}
	}
	for _, name := range op.Orders.Spare {
		if n := h.networks[name]; n != nil && n.project == s.Name && len(h.users(name, "")) == 0 {
			delete(h.networks, name)
		}
	}
	return nil
}

// converge makes the containers of a service anew that differ.
func (h *host) converge(s Stack, u unit, svc Service, op Op, do step) error {
	var have []*pod
	for _, p := range h.of(s.Name) {
		if p.Service == svc.Name {
			have = append(have, p)
		}
	}
	for n, p := range have {
		differs := p.Hash != svc.Hash || p.Image != h.idOf(svc.Image) || slices.Contains(op.Orders.Recreate, svc.Name)
		for _, name := range svc.Networks {
			differs = differs || p.up() && p.Networks[name] != h.networks[name].id
		}
		differs = differs || svc.ContainerName != "" && p.Name != svc.ContainerName && slices.Contains(op.Orders.Recreate, svc.Name)
		switch {
		case n >= svc.Scale:
			if err := h.remove(p, do); err != nil {
				return err
			}
		case differs:
			if err := h.replace(p, s, u, svc, do); err != nil {
				return err
			}
		}
	}
	for n := min(len(have), svc.Scale); n < svc.Scale; n++ {
		if _, err := h.create(s, u, svc, h.number(s.Name, svc.Name)); err != nil {
			return err
		}
	}
	return nil
}

// number is the next one of a service's containers.
func (h *host) number(project, service string) int {
	last := 0
	for _, p := range h.of(project) {
		if p.Service == service {
			last = max(last, p.Number)
		}
	}
	return last + 1
}

// beside replaces the containers of a service one by one by others that start first.
func (h *host) beside(s Stack, u unit, svc Service, do step) error {
	for {
		var old, next *pod
		up := 0
		for _, p := range h.of(s.Name) {
			switch is := p.Hash == svc.Hash && p.Image == h.idOf(svc.Image); {
			case p.Service != svc.Name || p.OneOff:
			case is && p.up():
				up++
			case is:
				next = p
			default:
				old = p
			}
		}
		switch {
		case old == nil && next == nil && up >= svc.Scale:
			return nil
		case up < svc.Scale && next == nil:
			var err error
			if next, err = h.create(s, u, svc, h.number(s.Name, svc.Name)); err != nil {
				return err
			}
		}
		if next != nil {
			if err := do(); err != nil {
				return err
			}
			if err := h.start(next, s, svc, do); err != nil {
				return err
			}
		}
		if err := do(); err != nil {
			return err
		}
		if old != nil {
			if !slices.ContainsFunc(h.of(s.Name), func(p *pod) bool { return p != old && p.Service == svc.Name && p.up() }) && svc.Scale > 0 {
				h.wrong("%s of %s stops before another one runs", old.Name, s.Name)
			}
			if err := h.remove(old, do); err != nil {
				return err
			}
		}
	}
}

// replace does as Compose does: the new one is made under a temporary name, which it
// keeps if its own is another's.
func (h *host) replace(old *pod, s Stack, u unit, svc Service, do step) error {
	number := old.Number
	next, err := h.make(s, u, svc, number)
	if err != nil {
		return err
	}
	name := next.Name
	next.Name, next.Replacing = old.ID+"_"+name, true
	if err := h.remove(old, do); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	if q := h.named(name); q != nil {
		return fmt.Errorf("the container name %s is in use by %s", name, q.project)
	}
	next.Name, next.Replacing = name, false
	return nil
}

func (h *host) named(name string) *pod {
	i := slices.IndexFunc(h.pods, func(p *pod) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return h.pods[i]
}

// mend ends replacements that were cut off.
func (h *host) mend(project string) {
	for _, p := range h.of(project) {
		if !p.Replacing {
			continue
		}
		old, name, _ := strings.Cut(p.Name, "_")
		q := h.named(name)
		switch {
		case slices.ContainsFunc(h.of(project), func(o *pod) bool { return o.ID == old }), q != nil && q.project == project:
			h.pods = slices.DeleteFunc(h.pods, func(o *pod) bool { return o == p })
			continue
		case q != nil:
			name = p.PlainName(project)
		}
		p.Name, p.Replacing = name, false
	}
}

func (h *host) create(s Stack, u unit, svc Service, number int) (*pod, error) {
	p, err := h.make(s, u, svc, number)
	if err != nil {
		return nil, err
	}
	for _, q := range h.pods {
		if q != p && q.Name == p.Name {
			h.pods = slices.DeleteFunc(h.pods, func(q *pod) bool { return q == p })
			return nil, fmt.Errorf("the container name %s is in use by %s", p.Name, q.project)
		}
	}
	return p, nil
}

func (h *host) make(s Stack, u unit, svc Service, number int) (*pod, error) {
	if h.images[svc.Image] == "" {
		return nil, fmt.Errorf("no image %s", svc.Image)
	}
	name := fmt.Sprintf("%s-%s-%d", s.Name, svc.Name, number)
	if svc.ContainerName != "" {
		name = svc.ContainerName
	}
	p := &pod{
		Container: Container{
			ID: h.next("pod"), Name: name, Service: svc.Name, Number: number, State: "created", Hash: svc.Hash,
			Image: h.idOf(svc.Image), Reference: svc.Image, Networks: map[string]string{}, Mounts: svc.Mounts, Ports: svc.Ports,
		},
		project: s.Name, file: s.File, ours: true, labelled: true, env: len(s.Untracked) > 0, unit: u.key,
	}
	for _, q := range u.parts {
		if q.name == svc.Name {
			p.part = q.key
		}
	}
	if svc.NetworkFrom != "" {
		leader := h.named(svc.NetworkFrom)
		if leader == nil {
			return nil, fmt.Errorf("no container %s", svc.NetworkFrom)
		}
		p.SharesNetworkOf = leader.ID
	}
	for _, n := range svc.Networks {
		p.Networks[n] = h.networks[n].id
	}
	h.pods = append(h.pods, p)
	return p, nil
}

var errPort = errors.New("the port is taken")

func (h *host) start(p *pod, s Stack, svc Service, do step) (err error) {
	if p.State == "running" {
		return nil
	}
	h.touch(p)
	defer func() {
		if err != nil && h.forgets {
			clear(p.Networks)
		}
	}()
	if err := do(); err != nil {
		return err
	}
	for name, id := range p.Networks {
		if h.networks[name] == nil || h.networks[name].id != id {
			return fmt.Errorf("network %s of %s is gone", name, p.Name)
		}
	}
	if p.SharesNetworkOf != "" {
		i := slices.IndexFunc(h.pods, func(q *pod) bool { return q.ID == p.SharesNetworkOf })
		if i < 0 || !h.pods[i].up() {
			return fmt.Errorf("%s can't join the network of container %s", p.Name, p.SharesNetworkOf)
		}
		p.joined = h.pods[i].life
	}
	p.life++
	h.starts(p, s, svc)
	for _, q := range h.pods {
		if q != p && q.up() && slices.ContainsFunc(q.Ports, func(port Port) bool { return slices.Contains(p.Ports, port) }) {
			return fmt.Errorf("start %s: %w by %s", p.Name, errPort, q.Name)
		}
	}
	p.State, p.ExitCode = "running", 0
	for _, name := range svc.Networks {
		if _, on := p.Networks[name]; !on {
			h.wrong("container %s is started without network %s", p.Name, name)
		}
	}
	for _, m := range p.Mounts {
		if !strings.Contains(m.Source, "/conf-") { // that is git's
			h.content[m.Source] = true
		}
	}
	return nil
}
