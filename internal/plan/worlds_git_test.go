package plan

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"time"
)

// unit is a stack as its owner thinks of it, whatever it is called and wherever
// it lies.
type unit struct {
	key   string // who it is
	dir   string
	name  string // what name: says; empty: the folder's name counts
	parts []part
	// network is the version of its network's definition, named its name if that
	// is not the project's.
	network int
	named   string
	needs   string // an external network
	// moves says that it changes folders; others change names with each other.
	// Who did both at once could be told by nobody.
	moves   bool
	env     bool // it reads .env, which git does not track
	broken  bool
	ignored bool
	// templated says that its name can't be read as long as it is broken: the folder
	// is taken for it.
	templated bool
}

// part is a service.
type part struct {
	key        string // which program it is: its data goes with it
	name       string
	image      int
	pull       PullPolicy
	scale      int
	port       int
	container  string
	joins      string // the container in whose network it lives
	data       dataKind
	definition int // of its volume
	newData    bool
	own        bool
	first      bool // it starts before the old one stops, if that can be
}

// dataKind is where a part has its data.
type dataKind int

const (
	noData dataKind = iota
	projectVolume
	fixedVolume
	ownFolder     // ./data, which git does not track
	trackedFolder // ./conf, which git does
	dataKinds
)

func (u unit) project() string {
	if u.name != "" {
		return u.name
	}
	return path.Base(u.dir)
}

func (u unit) file() string   { return u.dir + "/compose.yaml" }
func (u unit) dotenv() string { return u.dir + "/.env" }

func (u unit) networkName() string {
	if u.named != "" {
		return u.named
	}
	return u.project() + "_default"
}

// text is what the compose file says.
func (u unit) text() string {
	text := fmt.Sprint(u.name, u.network, u.named, u.needs, u.env, u.broken, u.ignored)
	for _, p := range u.parts {
		text += fmt.Sprint(p) // the key is the image's name
	}
	return text
}

func (p part) mounts(u unit) []Mount {
	m := Mount{Target: "/data", Type: MountVolume}
	switch p.data {
	case projectVolume:
		m.Source = u.project() + "_" + p.name
	case fixedVolume:
		m.Source = "data-of-" + p.key
	case ownFolder:
		m.Type, m.Source = MountClone, u.dir+"/data-"+p.name
	case trackedFolder:
		m.Type, m.Source = MountClone, u.dir+"/conf-"+p.name
	default:
		return nil
	}
	return []Mount{m}
}

func (p part) service(u unit) Service {
	svc := Service{
		Name: p.name, Image: fmt.Sprintf("%s:%d", p.key, p.image), Pull: p.pull, Scale: p.scale, Networks: []string{u.networkName()},
		ContainerName: p.container, Mounts: p.mounts(u), NewData: p.newData, Own: p.own,
	}
	if p.first && p.data == noData && p.port == 0 && p.container == "" && p.joins == "" && !p.own {
		svc.StartFirst, svc.Parallelism = true, 1
	}
	if p.pull == PullAlways {
		svc.Every = 5 * time.Minute
	}
	switch {
	case p.joins != "":
		svc.Networks, svc.Joins, svc.NetworkFrom = nil, []string{p.joins}, p.joins
	case u.needs != "":
		svc.Networks = append(svc.Networks, u.needs)
	}
	if p.port != 0 {
		svc.Ports = []Port{{Protocol: "tcp", First: uint16(p.port), Last: uint16(p.port)}}
	}
	folder := ""
	if p.data == ownFolder || p.data == trackedFolder {
		folder = u.dir
	}
	if p.data == trackedFolder {
		svc.Bare = "without its files"
	}
	svc.Hash = fmt.Sprint(svc.Image, svc.Ports, svc.ContainerName, p.data, folder, u.needs, u.env, p.newData, p.joins)
	return svc
}

// stack is what the daemon makes of a unit.
func (u unit) stack(files map[string]bool) Stack {
	s := Stack{
		Name: u.project(), File: u.file(), Mode: Managed, Blob: u.text(),
		Networks: []Resource{{Name: u.networkName(), Hash: fmt.Sprint("n", u.network)}},
	}
	if u.broken {
		s.Invalid = "it is broken"
		if u.templated {
			s.Name = path.Base(u.dir)
		}
		return s
	}
	for _, p := range u.parts {
		svc := p.service(u)
		s.Services = append(s.Services, svc)
		if p.own {
			s.Mode = Controller
		}
		for _, m := range svc.Mounts {
			if m.Type == MountVolume {
				s.Volumes = append(s.Volumes, Resource{Name: m.Source, Hash: fmt.Sprint("v", p.definition)})
			}
		}
	}
	slices.SortFunc(s.Services, func(a, b Service) int { return compare(a.Name, b.Name) })
	if u.ignored {
		s.Mode = Ignored
	}
	if u.needs != "" {
		s.Requires = []Requirement{{Kind: "network", Name: u.needs}}
	}
	if u.env && files[u.dotenv()] {
		s.Untracked = []string{u.dotenv()}
		for i := range s.Services {
			s.Services[i].Hash += " with .env"
		}
	}
	if s.Mode == Managed {
		s.Hooks = u.hooks(s)
	}
	s.Digest = fmt.Sprint(s.Name, s.File, s.Mode, s.Networks, s.Volumes, s.Services, s.Requires, s.Hooks)
	return s
}

// kind is one number of n, the same one for a unit in whatever history.
func (u unit) kind(n int) int {
	sum := len(u.key)
	for _, c := range u.key {
		sum += int(c)
	}
	return sum % n
}

// hooks are those of some units: with an image of their own, and with one that a
// service has as well.
func (u unit) hooks(s Stack) (h Hooks) {
	hook := Service{Name: "hook", Image: u.key + "-hook:1", Pull: PullMissing, Scale: 1, Networks: []string{u.networkName()}}
	if u.kind(2) == 0 {
		h.Before = []Service{hook}
	}
	if u.kind(3) == 0 && len(s.Services) > 0 {
		hook.Name, hook.Image = "smoke", s.Services[0].Image
		h.After = []Service{hook}
	}
	return h
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// head is what a commit has.
type head []unit

func (h head) clone() head {
	out := slices.Clone(h)
	for i := range out {
		out[i].parts = slices.Clone(out[i].parts)
	}
	return out
}

// stacks are the stacks of a commit, with names refused as the loader does.
func (h head) stacks(files map[string]bool) []Stack {
	var all []Stack
	names := map[string]int{}
	for _, u := range h {
		s := u.stack(files)
		if all = append(all, s); s.Invalid == "" {
			names[s.Name]++
		}
	}
	for i, s := range all {
		switch {
		case s.Invalid != "" && names[s.Name] > 0:
			all[i].Name = s.File
		case s.Invalid == "" && names[s.Name] > 1:
			all[i].Invalid = "the name is taken"
		}
	}
	for i, u := range h {
		if i > 0 && u.kind(4) == 1 && !u.parts[0].own {
			all[i].DependsOn = []string{all[i-1].Name}
			all[i].Digest += " after " + all[i-1].Name
		}
	}
	Cycles(all)
	return all
}

// renamed says which file a new one was before, as git tells by what is in it;
// empty if it was none.
func (h head) renamed(file string, before head) string {
	u, _ := h.of(file)
	if _, there := before.of(file); there {
		return ""
	}
	for _, was := range before {
		if _, stays := h.of(was.file()); was.key == u.key && !stays {
			return was.file()
		}
	}
	return ""
}

func (h head) of(file string) (unit, bool) {
	i := slices.IndexFunc(h, func(u unit) bool { return u.file() == file })
	if i < 0 {
		return unit{}, false
	}
	return h[i], true
}

// ignores says whether a stack is ignored, in a file or, if that is empty, in any.
func (h head) ignores(key, file string) bool {
	return slices.ContainsFunc(h, func(u unit) bool { return u.key == key && u.ignored && !u.broken && (file == "" || file == u.file()) })
}

// breaks says whether the file of a stack does not load.
func (h head) breaks(key string) bool {
	return slices.ContainsFunc(h, func(u unit) bool { return u.key == key && u.broken })
}

// whose says which stack has a part, or otherwise if none has it.
func (h head) whose(key, otherwise string) string {
	for _, u := range h {
		if slices.ContainsFunc(u.parts, func(p part) bool { return p.key == key }) {
			return u.key
		}
	}
	return otherwise
}

// tracks says whether a commit has something at a folder of the clone.
func (h head) tracks(folder string) bool {
	for _, u := range h {
		for _, p := range u.parts {
			if p.data == trackedFolder && folder == u.dir+"/conf-"+p.name {
				return true
			}
		}
	}
	return false
}

// commit changes a head as people do, in a few moves at once.
func (g generator) commit(was head, serial int) head {
	h := was.clone()
	for n := range 1 + g.IntN(3) {
		h = g.move(h, 10*serial+n)
	}
	return g.tidy(h)
}

func (g generator) move(h head, serial int) head {
	if len(h) < 3 || g.IntN(12) == 0 {
		return append(h, g.unit(serial))
	}
	n, m := g.IntN(len(h)), g.IntN(len(h))
	u, v := &h[n], &h[m]
	if u.parts[0].own { // where the daemon runs, only little changes
		p := &u.parts[g.IntN(len(u.parts))]
		p.image++
		return h
	}
	p := &u.parts[g.IntN(len(u.parts))]
	q := &v.parts[g.IntN(len(v.parts))]
	if v.parts[0].own {
		return h
	}
	switch kind := g.IntN(24); kind {
	case 0:
		p.image++
	case 1, 2, 17: // git mv; and the name is kept; and something changes
		if !u.moves {
			return h
		}
		if kind == 2 {
			u.name = u.project()
		}
		if kind == 17 {
			p.image++
		}
		u.dir = g.folder(serial)
	case 3:
		u.name = g.name(serial)
		if !u.moves && !v.moves && g.rarely() {
			u.name = v.project()
		}
	case 4:
		if !u.moves && !v.moves {
			u.name, v.name = v.project(), u.project()
		}
	case 5:
		p.port, q.port = q.port, p.port
	case 6:
		p.container, q.container = q.container, p.container
	case 7:
		g.hand(u, v)
	case 8:
		u.network++
	case 9:
		return slices.Delete(h, n, n+1)
	case 10:
		u.broken = !u.broken
	case 11:
		u.ignored = !u.ignored && g.rarely()
	case 12:
		p.newData = !p.newData
	case 13:
		p.data = dataKind(g.IntN(int(dataKinds)))
	case 14:
		if len(u.parts) > 1 {
			u.parts = u.parts[:len(u.parts)-1]
		} else {
			u.parts = append(u.parts, g.part(u.key, "extra", serial))
		}
	case 15:
		u.needs = ""
		if m != n && g.often() {
			u.needs = v.networkName()
		}
	case 16:
		p.scale = g.IntN(3)
	case 19, 20: // it goes behind a VPN
		if u.key != v.key {
			if q.container == "" {
				q.container, q.joins = fmt.Sprint("vpn", serial), ""
			}
			p.joins = q.container
		}
	case 21:
		p.joins = ""
	case 22, 23: // the owner of a shared network becomes another one, and the old one goes or has its own
		if v.needs != u.networkName() {
			v.needs = u.networkName()
			return h
		}
		v.named, v.needs, v.network = v.needs, "", u.network+g.IntN(2)
		if kind == 22 {
			return slices.Delete(h, n, n+1)
		}
		u.named = fmt.Sprint("net", serial)
	case 18: // git mv, with a mistake
		if u.moves {
			u.name, u.templated, u.broken = u.project(), true, true
			u.dir = g.folder(serial)
		}
	}
	return h
}

// hand moves a service to another stack.
func (g generator) hand(from, to *unit) {
	if from.key == to.key || len(from.parts) < 2 {
		return
	}
	p := from.parts[len(from.parts)-1]
	if slices.ContainsFunc(to.parts, func(q part) bool { return q.name == p.name }) {
		return
	}
	from.parts, to.parts = from.parts[:len(from.parts)-1], append(to.parts, p)
}

func (g generator) folder(serial int) string {
	return fmt.Sprintf("f%d/%s", serial, g.name(serial)) // no folder is ever another stack's
}

func (g generator) name(serial int) string {
	return fmt.Sprintf("%c%d", 'a'+g.IntN(26), serial)
}

func (g generator) unit(serial int) unit {
	u := unit{key: fmt.Sprint("u", serial), dir: g.folder(serial), env: g.IntN(4) == 0, moves: g.often()}
	if g.IntN(3) == 0 {
		u.named = "net-" + u.key
	}
	for i, name := range []string{"app", "db-" + u.key, "job-" + u.key}[:1+g.IntN(3)] {
		u.parts = append(u.parts, g.part(u.key, name, serial*10+i))
	}
	return u
}

func (g generator) part(unit, name string, serial int) part {
	p := part{
		key: fmt.Sprintf("%s-%s-%d", unit, name, serial), name: name, image: 1, scale: 1, data: dataKind(g.IntN(int(dataKinds))),
		pull: []PullPolicy{PullMissing, PullMissing, PullMissing, PullAlways, PullBuild}[g.IntN(5)],
	}
	if p.first = g.often(); g.IntN(3) == 0 {
		p.port = 8000 + g.IntN(6)
	}
	if g.IntN(4) == 0 {
		p.container = fmt.Sprint("c", g.IntN(4))
	}
	return p
}

// tidy sees to what nobody would commit for long: files and container names and
// ports that two have.
func (g generator) tidy(h head) head {
	ports, containers, dirs := map[int]bool{}, map[string]bool{}, map[string]bool{}
	var out head
	for _, u := range h {
		if dirs[u.dir] {
			continue
		}
		dirs[u.dir] = true
		if u.needs == u.networkName() || !slices.ContainsFunc(h, func(v unit) bool { return v.networkName() == u.needs }) {
			u.needs = ""
		}
		for i := range u.parts {
			p := &u.parts[i]
			if ports[p.port] {
				p.port = 0
			}
			twice := slices.ContainsFunc(u.parts[:i], func(q part) bool { return q.container == p.container }) // which the loader refuses
			if containers[p.container] && (twice || g.IntN(4) > 0) {
				p.container = ""
			}
			if slices.ContainsFunc(u.parts, func(q part) bool { return q.container == p.joins }) {
				p.joins = "" // in one stack, Compose wants network_mode: service:
			}
			if p.joins != "" {
				p.port = 0
			}
			if p.scale != 1 && (p.port != 0 || p.container != "") {
				p.scale = 1
			}
			ports[p.port], containers[p.container] = p.port != 0, p.container != ""
		}
		out = append(out, u)
	}
	return out
}

// ownUnit is where the daemon runs.
func ownUnit() unit {
	return unit{key: "gitops", dir: "gitops", parts: []part{
		{key: "gitops-daemon", name: "daemon", image: 1, scale: 1, own: true, pull: PullAlways},
		{key: "gitops-proxy", name: "proxy", image: 1, scale: 1, pull: PullMissing},
	}}
}

func copyOf[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}
