package render

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/tree"
	"go.yaml.in/yaml/v3"
)

// resets are the places of one document that are marked with !reset or !override:
// what an earlier file, or an extended service, has there is dropped. It does what
// the loader's ResetProcessor does, whose places nobody else can ask for.
type resets struct {
	paths []tree.Path
	seen  map[*yaml.Node][]string // by alias, where
}

// resetsOf takes them out of a document.
func resetsOf(doc *yaml.Node) (*resets, error) {
	r := &resets{seen: map[*yaml.Node][]string{}}
	if !slices.ContainsFunc(doc.Content, tagged) {
		return r, nil
	}
	for i, n := range doc.Content {
		left, err := r.resolve(n, tree.NewPath())
		if err != nil {
			return nil, err
		}
		if left == nil {
			return nil, errRefused // nothing is left
		}
		doc.Content[i] = left
	}
	return r, nil
}

// tagged says whether something is marked.
func tagged(n *yaml.Node) bool {
	return n.Tag == "!reset" || n.Tag == "!override" || slices.ContainsFunc(n.Content, tagged)
}

// resolve gives what is left of a node, nil for nothing.
func (r *resets) resolve(n *yaml.Node, at tree.Path) (*yaml.Node, error) {
	if text := at.String(); strings.Contains(text, ".<<") {
		at = tree.NewPath(strings.Replace(text, ".<<", "", 1))
	}
	if n.Kind == yaml.AliasNode {
		// One that is used at two places of one service may be a circle.
		if r.seen[n.Alias] = append(r.seen[n.Alias], at.String()); len(r.seen[n.Alias]) > 1 {
			return nil, errUnsure
		}
		return r.resolve(n.Alias, at)
	}
	switch n.Tag {
	case "!reset":
		r.paths = append(r.paths, at)
		return nil, nil //nolint:nilnil // nothing is left, and that is right
	case "!override":
		r.paths = append(r.paths, at)
		return n, nil
	}
	var left []*yaml.Node
	keys := map[string]bool{}
	for i, child := range n.Content {
		switch {
		case n.Kind == yaml.MappingNode && i%2 == 0:
			if keys[child.Value] {
				return nil, errRefused // what decodes it sees what is left only
			}
			keys[child.Value] = true
		case n.Kind == yaml.MappingNode:
			value, err := r.resolve(child, at.Next(n.Content[i-1].Value))
			if err != nil {
				return nil, err
			}
			if value != nil {
				left = append(left, n.Content[i-1], value)
			}
		default:
			value, err := r.resolve(child, at.Next(strconv.Itoa(i)))
			if err != nil {
				return nil, err
			}
			if value != nil {
				left = append(left, value)
			}
		}
	}
	n.Content = left
	return n, nil
}

// Apply drops what is at the places of a document that comes before, or that is
// extended. It is loader.PostProcessor's.
func (r *resets) Apply(target any) error {
	r.drop(target, tree.NewPath())
	return nil
}

func (r *resets) drop(value any, at tree.Path) {
	here := func(at tree.Path) bool {
		return slices.ContainsFunc(r.paths, func(p tree.Path) bool { return at.Matches(p) })
	}
	switch v := value.(type) {
	case map[string]any:
		for k, e := range v {
			if next := at.Next(k); here(next) {
				delete(v, k)
			} else {
				r.drop(e, next)
			}
		}
	case []any:
		for i, e := range v {
			if next := at.Next(fmt.Sprintf("[%d]", i)); !here(next) {
				r.drop(e, next)
			}
		}
	}
}

// extend does what loader.ApplyExtends does with a document that has resets, and
// always in one order: each service after the one of the same file that it extends.
//
// The loader goes through the services as they come out of a map. Where a extends b,
// b extends c, and b resets something of c, that counts if b comes first; else b is
// merged on behalf of a, by code that has not got b's resets, and is done then. So
// one file is two projects, by chance.
func (r *reader) extend(ctx context.Context, cfg map[string]any, options *loader.Options, marked *resets) error {
	apply := func(part map[string]any) error {
		return loader.ApplyExtends(ctx, part, options, newOf(loader.ApplyExtends), marked)
	}
	services, ok := cfg["services"].(map[string]any)
	if !ok || len(marked.paths) == 0 {
		return apply(cfg)
	}
	extends := func(name string) (ref string, does bool) {
		s, _ := services[name].(map[string]any)
		switch e := s["extends"].(type) {
		case string:
			return e, true
		case map[string]any:
			if e["file"] == nil {
				ref, _ = e["service"].(string)
			}
			return ref, true
		}
		return "", false
	}
	done := map[string]bool{} // whether its base is merged into it
	var merge func(name string) error
	merge = func(name string) error {
		merged, begun := done[name]
		if begun && !merged {
			return errRefused // a circle
		}
		ref, does := extends(name)
		if merged || !does {
			return nil
		}
		done[name] = false
		part := map[string]any{name: services[name]}
		if _, there := services[ref]; there {
			if _, too := extends(ref); too {
				r.in.byChance(name, ref, marked)
			}
			if err := merge(ref); err != nil {
				return err
			}
			part[ref] = services[ref]
		}
		if err := apply(map[string]any{"services": part}); err != nil {
			return err
		}
		services[name], done[name] = part[name], true
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if err := merge(name); err != nil {
			return err
		}
	}
	return nil
}

// byChance warns of a service whose resets Compose heeds or not as it comes.
func (in *inputs) byChance(name, base string, marked *resets) {
	at := tree.NewPath("services").Next(base)
	if slices.ContainsFunc(marked.paths, func(p tree.Path) bool { return strings.HasPrefix(string(p), string(at)+".") }) {
		in.warnings[fmt.Sprintf("services.%s: !reset and !override beside extends count by chance in docker compose, as %s extends it; here they always do", base, name)] = true
	}
}
