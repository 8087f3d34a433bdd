package render

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/tree"
	"github.com/compose-spec/compose-go/v2/types"
)

// blanks hears of the variables that a compose file uses and that have no value,
// while it is loaded. Compose takes nothing for them; where that would mount
// another folder of the host, the stack is refused.
//
// It is called back by compose-go: substitute for each text, and right after it the
// cast of the text's place, if that has one.
type blanks struct {
	home string // see Loader.home
	// warnings name the variables that are not set where a value is expected.
	warnings map[string]bool
	// remarks are of what Compose takes all the same, and says so.
	remarks map[string]bool
	// images are the references that are made with a blank, with the variables.
	images map[string][]string
	// text and lookup are what substitute was called with last.
	text   string
	lookup template.Mapping
}

func newBlanks(home string, warnings, remarks map[string]bool) *blanks {
	return &blanks{home: home, warnings: warnings, remarks: remarks, images: map[string][]string{}}
}

// hear is an option of compose-go's loader.
func (b *blanks) hear(o *loader.Options) {
	if o.Interpolate == nil {
		return // it only looks for files
	}
	o.Interpolate.Substitute = b.substitute
	casts := make(map[tree.Path]interpolation.Cast, len(o.Interpolate.TypeCastMapping))
	for at, cast := range o.Interpolate.TypeCastMapping {
		casts[at] = func(value string) (any, error) {
			v, err := cast(value)
			if is, ok := v.(bool); ok && err == nil && !strings.EqualFold(value, strconv.FormatBool(is)) {
				b.remarks[fmt.Sprintf("%q is no boolean of YAML 1.2; write %t", value, is)] = true
			}
			return v, b.explain(err)
		}
	}
	maps.Copy(casts, map[tree.Path]interpolation.Cast{
		"services.*.volumes.[]":                  b.mount,
		"services.*.volumes.[].source":           b.source,
		"configs.*.file":                         b.source,
		"secrets.*.file":                         b.source,
		"volumes.*.driver_opts.device":           b.device,
		"services.*.devices.[]":                  b.given,
		"services.*.devices.[].source":           b.given,
		"services.*.network_mode":                b.joined,
		"services.*.ipc":                         b.joined,
		"services.*.pid":                         b.joined,
		"networks.*.name":                        b.called,
		"networks.*.external.name":               b.calledOldly,
		"volumes.*.name":                         b.called,
		"volumes.*.external.name":                b.calledOldly,
		"services.*.image":                       b.image,
		"services.*.ports.[]":                    b.port,
		"services.*.env_file":                    b.path,
		"services.*.env_file.[]":                 b.path,
		"services.*.env_file.[].path":            b.path,
		"services.*.label_file":                  b.path,
		"services.*.label_file.[]":               b.path,
		"services.*.build":                       b.path,
		"services.*.build.context":               b.path,
		"services.*.build.additional_contexts.*": b.path,
		"services.*.develop.watch.[].path":       b.path,
	})
	o.Interpolate.TypeCastMapping = casts
}

// substitute is template.Substitute, which logs what is not set without saying of
// which stack.
func (b *blanks) substitute(text string, lookup template.Mapping) (string, error) {
	b.text, b.lookup = text, lookup
	if !strings.Contains(text, "$") {
		return text, nil
	}
	value, err := template.SubstituteWithOptions(text, lookup, template.WithoutLogging)
	if err == nil {
		for _, u := range blanksIn(text, lookup) {
			if u.plain {
				b.warnings["variable "+u.name+" is not set"] = true
			}
		}
	}
	return value, err
}

// blank is a variable in whose place a text has nothing.
type blank struct {
	name string
	// plain says that it is not set, and that no default is given for it.
	plain bool
	// first says that the text begins with it.
	first bool
}

// blanksIn finds them, sorted by name: a variable is one if another value of it
// would stand in the text, and nothing else would change.
func blanksIn(text string, lookup template.Mapping) []blank {
	empty := map[string]bool{} // whether it is set
	value, err := template.SubstituteWithOptions(text, func(name string) (string, bool) {
		v, set := lookup(name)
		if v == "" {
			empty[name] = set
		}
		return v, set
	}, template.WithoutLogging)
	if err != nil || len(empty) == 0 {
		return nil
	}
	plain := map[string]bool{}
	for _, m := range plainly().FindAllStringSubmatch(text, -1) {
		plain[m[1]+m[2]] = true
	}
	var out []blank
	for _, name := range slices.Sorted(maps.Keys(empty)) {
		with, err := template.SubstituteWithOptions(text, func(n string) (string, bool) {
			if n == name {
				return string(begin), true
			}
			return lookup(n)
		}, template.WithoutLogging)
		if err == nil && strings.Contains(with, string(begin)) && strings.ReplaceAll(with, string(begin), "") == value {
			out = append(out, blank{name: name, plain: plain[name] && !empty[name], first: strings.HasPrefix(with, string(begin))})
		}
	}
	return out
}

// plainly finds variables for which no default is given.
func plainly() *regexp.Regexp { return regexp.MustCompile(`\$(?:\$|\{(\w+)\}|(\w+))`) }

// begin and end enclose, in a path that must not be mounted, why: see refused.
const begin, end = '\uE000', '\uE001'

// refused is a path that compose-go takes for one in full. It says which variables
// have no value, and what became of the path without.
func refused(names []string, path string) string {
	return "/" + string(begin) + strings.Join(names, " ") + string(end) + path
}

// unrefused gives back what refused was called with.
func unrefused(path string) (names []string, was string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/"+string(begin))
	if !ok {
		return nil, path, false
	}
	list, was, _ := strings.Cut(rest, string(end))
	return strings.Fields(list), was, true
}

// path is a path of the host; ~ is the home there.
func (b *blanks) path(value string) (any, error) {
	switch {
	case !strings.HasPrefix(value, "~"):
		return value, nil
	case b.home == "":
		return refused([]string{"~"}, value), nil
	}
	return filepath.Join(b.home, value[1:]), nil
}

// source is what is mounted.
func (b *blanks) source(value string) (any, error) {
	path, err := b.device(value)
	if path != value {
		return path, err
	}
	return b.path(value)
}

// device is what a volume mounts. Compose takes it as it is.
func (b *blanks) device(value string) (any, error) {
	if names := missing(blanksIn(b.text, b.lookup)); len(names) > 0 && pathLike(value) {
		return refused(names, value), nil
	}
	return value, nil
}

// pathLike says whether a source is a path and no volume's name. Nothing is one: it
// was to be something.
func pathLike(source string) bool {
	return source == "" || strings.ContainsAny(source[:1], "/.~")
}

// mount is one in short form.
func (b *blanks) mount(value string) (any, error) {
	if _, err := format.ParseVolume(value); err != nil {
		return value, b.blame(err)
	}
	source, rest, ok := strings.Cut(value, ":")
	if !ok {
		return value, nil
	}
	if names := missing(blanksIn(sourceOf(b.text), b.lookup)); len(names) > 0 && pathLike(source) {
		return refused(names, source) + ":" + rest, nil
	}
	at, err := b.path(source)
	return fmt.Sprint(at, ":", rest), err
}

// given is a device of the host, in short form or its source.
func (b *blanks) given(value string) (any, error) {
	source, rest, more := strings.Cut(value, ":")
	names := missing(blanksIn(sourceOf(b.text), b.lookup))
	switch {
	case len(names) == 0:
		return value, nil
	case more:
		return refused(names, source) + ":" + rest, nil
	default:
		return refused(names, source), nil
	}
}

// joined is whose network or other namespace a service lives in.
func (b *blanks) joined(value string) (any, error) {
	if names := missing(blanksIn(b.text, b.lookup)); len(names) > 0 && (strings.HasPrefix(value, types.ContainerPrefix) || strings.HasPrefix(value, types.ServicePrefix)) {
		return refused(names, value), nil
	}
	return value, nil
}

// called is the name of a network or a volume.
func (b *blanks) called(value string) (any, error) {
	if names := missing(blanksIn(b.text, b.lookup)); len(names) > 0 && value == "" {
		return refused(names, value), nil
	}
	return value, nil
}

func (b *blanks) calledOldly(value string) (any, error) {
	b.remarks["external: {name: "+value+"} is obsolete; write external: true, and name: beside it"] = true
	return b.called(value)
}

// sourceOf is a mount in short form up to the colon that ends its source, which is
// none in a variable's braces.
func sourceOf(text string) string {
	depth := 0
	for i, c := range text {
		switch {
		case c == '{' && i > 0 && text[i-1] == '$':
			depth++
		case c == '}' && depth > 0:
			depth--
		case c == ':' && depth == 0:
			return text[:i]
		}
	}
	return text
}

// missing are the variables without which a path is not to be mounted: those that
// are not set, and those that it should begin with. One that is empty on purpose can
// be left out further on.
func missing(all []blank) []string {
	var names []string
	for _, u := range all {
		if u.plain || u.first {
			names = append(names, u.name)
		}
	}
	return names
}

func (b *blanks) image(value string) (any, error) {
	for _, u := range blanksIn(b.text, b.lookup) {
		b.images[value] = append(b.images[value], u.name)
	}
	return value, nil
}

func (b *blanks) port(value string) (any, error) {
	if !strings.Contains(b.text, "$") {
		return value, nil
	}
	_, err := types.ParsePortConfig(value)
	return value, b.blame(err)
}

// explain adds to the error of a text which variables of it have no value.
func (b *blanks) explain(err error) error {
	if err == nil || !strings.Contains(b.text, "$") {
		return err
	}
	var names []string
	for _, u := range blanksIn(b.text, b.lookup) {
		names = append(names, u.name)
	}
	return noValue(names, err)
}

// blame is explain where compose-go itself will find the same error: it is left to
// it if no variable is to blame.
func (b *blanks) blame(err error) error {
	if explained := b.explain(err); explained != err { //nolint:errorlint // the same one, or another that wraps it
		return explained
	}
	return nil
}

// noValue adds to an error which variables have no value; there may be none.
func noValue(names []string, err error) error {
	if err == nil || len(names) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, valueless(slices.Compact(slices.Sorted(slices.Values(names)))))
}

func valueless(names []string) string {
	const remedy = "in the stack's .env, or for all stacks in STACK_ENV"
	if len(names) == 1 {
		return fmt.Sprintf("variable %s has no value; give it one %s", names[0], remedy)
	}
	return fmt.Sprintf("variables %s have no value; give them one %s", strings.Join(names, " and "), remedy)
}

// tell makes a text of compose-go readable in which a path of refused is.
func tell(text string) string {
	return regexp.MustCompile(`/`+string(begin)+`[^`+string(end)+`]*`+string(end)).ReplaceAllString(strings.ReplaceAll(text, "failed to cast to expected type: ", ""), "")
}

// refuseBlanks refuses a project that would mount something else than is meant, as
// a variable or the home that ~ means is not known. What only compose itself uses is
// put back as it was. The project must be a copy.
func refuseBlanks(p *types.Project) error {
	var errs []error
	refuseAs := func(where, value, would string) {
		names, was, ok := unrefused(value)
		switch {
		case !ok:
		case slices.Equal(names, []string{"~"}):
			errs = append(errs, fmt.Errorf("%s: %s: ~ is the home of whoever runs docker compose, which is not known in the daemon's container; give HOME in STACK_ENV, or write the path in full", where, was))
		default:
			errs = append(errs, fmt.Errorf("%s: %q %s: %s", where, was, would, valueless(names)))
		}
	}
	refuse := func(where, path string) { refuseAs(where, path, "would be mounted") }
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		for _, v := range s.Volumes {
			refuse("services."+name+".volumes", v.Source)
		}
		for _, d := range s.Devices {
			refuseAs("services."+name+".devices", d.Source, "would be the device")
		}
		refuseAs("services."+name+".network_mode", s.NetworkMode, "would be its network")
		refuseAs("services."+name+".ipc", s.Ipc, "would be its ipc namespace")
		refuseAs("services."+name+".pid", s.Pid, "would be its pid namespace")
	}
	for _, key := range slices.Sorted(maps.Keys(p.Configs)) {
		refuse("configs."+key+".file", p.Configs[key].File)
	}
	for _, key := range slices.Sorted(maps.Keys(p.Secrets)) {
		refuse("secrets."+key+".file", p.Secrets[key].File)
	}
	for _, key := range slices.Sorted(maps.Keys(p.Networks)) {
		if p.Networks[key].Name == "" {
			errs = append(errs, fmt.Errorf("networks.%s.name: it is empty", key))
		}
		refuseAs("networks."+key+".name", p.Networks[key].Name, "would be its name")
	}
	for _, key := range slices.Sorted(maps.Keys(p.Volumes)) {
		refuseAs("volumes."+key+".name", p.Volumes[key].Name, "would be its name")
		options := p.Volumes[key].DriverOpts
		device, ok := options["device"]
		if !ok {
			continue
		}
		if strings.Contains(options["o"], "bind") {
			refuse("volumes."+key+".driver_opts.device", device)
		}
		_, options["device"], _ = unrefused(device)
	}
	return errors.Join(errs...)
}
