package render

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// fields collects the parts of one service. Parts of one name, such as a volume
// that is mounted twice, become one.
type fields struct {
	key   []byte
	parts map[string]*part
	errs  []error
}

// part is what a plan.Field is made of.
type part struct {
	value string
	sums  []string
}

// add adds a part whose value is compared and never shown.
func (f *fields) add(name string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		f.errs = append(f.errs, fmt.Errorf("%s: %w", name, err))
	}
	if f.parts[name] == nil {
		f.parts[name] = &part{}
	}
	f.parts[name].sums = append(f.parts[name].sums, string(text))
}

// show adds a part whose value is no secret.
func (f *fields) show(name, value string) {
	f.add(name, value)
	f.parts[name].value = value
}

func (f *fields) list() []plan.Field {
	out := make([]plan.Field, 0, len(f.parts))
	for name, p := range f.parts {
		slices.Sort(p.sums)
		mac := hmac.New(sha256.New, f.key)
		for _, s := range p.sums {
			fmt.Fprintf(mac, "%d %s", len(s), s)
		}
		out = append(out, plan.Field{Name: name, Value: p.value, Sum: hex.EncodeToString(mac.Sum(nil)[:16])})
	}
	slices.SortFunc(out, func(a, b plan.Field) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// fields takes a service apart: what people name one by one in a compose file
// (a variable, a port, a mount) is a field of its own, all else is by its key.
// p has the paths of the engine, dir is the stack's folder relative to the
// repository's root. Sums are made with the Loader's key, so that those of
// secrets mean nothing outside of this process.
func (l *Loader) fields(p *types.Project, s types.ServiceConfig, dir string, used contentOf) ([]plan.Field, error) {
	f := &fields{key: l.key, parts: map[string]*part{}}
	f.show("image", cmp.Or(s.Image, p.Name+"-"+s.Name))
	f.show("scale", strconv.Itoa(s.GetScale()))
	for key, value := range s.Environment {
		f.add("environment "+key, value)
	}
	for key, value := range s.Labels {
		f.add("label "+key, value)
	}
	for _, c := range s.Ports {
		f.add("port "+portText(c), c)
	}
	for key, n := range s.Networks {
		f.add("network "+key, []any{p.Networks[key].Name, n})
	}
	for _, v := range s.Volumes {
		f.mount(l, p, v, dir, used)
	}
	for _, use := range s.Configs {
		f.object("config", use.Source, use, types.FileObjectConfig(p.Configs[use.Source]), used)
	}
	for _, use := range s.Secrets {
		f.object("secret", use.Source, use, types.FileObjectConfig(p.Secrets[use.Source]), used)
	}
	f.content("build", used.parts["build"])
	f.content("security_opt", used.parts["seccomp"])
	f.rest(s)
	if len(f.errs) > 0 {
		return nil, f.errs[0]
	}
	return f.list(), nil
}

// mount adds a mount under the name that people wrote: a path from the stack's
// folder, a volume's key; or the target, if it has no source.
func (f *fields) mount(l *Loader, p *types.Project, v types.ServiceVolumeConfig, dir string, used contentOf) {
	m, data := l.mount(p, v)
	name := cmp.Or(v.Source, v.Target)
	if !data && v.Type == types.VolumeTypeBind {
		name = v.Target // a file in clear, which has another path with each content
	}
	switch m.Type {
	case plan.MountClone:
		name = fromFolder(dir, m.Source)
	case plan.MountHost:
		name = m.Source
	}
	f.add("mount "+name, []any{v, m.Source})
	if v.Type == types.VolumeTypeBind {
		f.content("mount "+name, used.parts["bind "+m.Source])
	}
}

// object adds a config or a secret: how it is used, and what is in it.
func (f *fields) object(kind, name string, use any, o types.FileObjectConfig, used contentOf) {
	f.add(kind+" "+name, []any{use, o.Name, o.File, o.Environment, o.External})
	f.content(kind+" "+name, used.parts[kind+" "+name])
}

func (f *fields) content(name string, ids []string) {
	if len(ids) > 0 {
		f.add(name+" (content)", ids)
	}
}

// rest adds what has no field of its own yet, by its key.
func (f *fields) rest(s types.ServiceConfig) {
	s.Image, s.Scale, s.Environment, s.Labels, s.Ports, s.Networks, s.Volumes, s.Configs, s.Secrets = "", nil, nil, nil, nil, nil, nil, nil, nil
	if s.Deploy != nil { // its replicas are the scale
		deploy := *s.Deploy
		deploy.Replicas = nil
		if s.Deploy = &deploy; reflect.DeepEqual(deploy, types.DeployConfig{}) {
			s.Deploy = nil
		}
	}
	var keys map[string]json.RawMessage
	text, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(text, &keys)
	}
	if err != nil {
		f.errs = append(f.errs, err)
	}
	for key, value := range keys {
		if text := string(value); text != "null" && text != "{}" {
			f.add(key, value)
		}
	}
}

// portText gives a port as people write it: 8080:80/tcp.
func portText(c types.ServicePortConfig) string {
	text := fmt.Sprintf("%d/%s", c.Target, cmp.Or(c.Protocol, "tcp"))
	if c.Published != "" || c.HostIP != "" {
		text = c.Published + ":" + text
	}
	switch {
	case strings.Contains(c.HostIP, ":"):
		return "[" + c.HostIP + "]:" + text
	case c.HostIP != "":
		return c.HostIP + ":" + text
	default:
		return text
	}
}

// fromFolder gives a path of the repository as it is written in a folder of it.
func fromFolder(dir, rel string) string {
	out, err := filepath.Rel(path.Join("/", dir), path.Join("/", rel))
	switch {
	case err != nil:
		return rel
	case out == "." || out == ".." || strings.HasPrefix(out, "../"):
		return out
	default:
		return "./" + out
	}
}
