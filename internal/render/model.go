package render

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/consts"
	interp "github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/override"
	"github.com/compose-spec/compose-go/v2/paths"
	"github.com/compose-spec/compose-go/v2/transform"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/compose-spec/compose-go/v2/validation"
	"go.yaml.in/yaml/v3"
)

var (
	// errUnsure says that the reader can't tell what compose-go's loader would do,
	// nor what it would read for that.
	errUnsure = errors.New("not known to the reader")
	// errRefused says that the loader will refuse it, with a better reason.
	errRefused = errors.New("refused by the reader")
)

// reader does what compose-go's loader does, with the loader's own parts in the
// loader's own order, except that the schema comes compiled and that it tells
// which paths are looked at.
//
// It need not understand everything, but what it accepts the loader accepts with
// the same result. On any error the loader is asked (see Loader.compose), so
// that all messages are the loader's own.
type reader struct {
	loader *Loader
	in     *inputs
}

// project is ProjectOptions.LoadProject for the options of loadNamed.
func (r *reader) project(ctx context.Context, o *cli.ProjectOptions) (*types.Project, error) {
	if o.Environment["COMPOSE_CONVERT_WINDOWS_PATHS"] != "" {
		return nil, errUnsure
	}
	details, err := o.ReadConfigFiles(ctx, o.WorkingDir, o)
	if err != nil {
		return nil, err
	}
	// A copy: the name that is put into it must not look like one from an .env.
	details.Environment = o.Environment.Clone()
	files, err := parseAll(details.ConfigFiles)
	if err != nil {
		return nil, err
	}
	var profiles []string
	for _, p := range strings.Split(o.Environment[consts.ComposeProfiles], ",") {
		profiles = append(profiles, strings.TrimSpace(p))
	}
	options := loader.ToOptions(details, []func(*loader.Options){
		loader.WithProfiles(profiles),
		func(opts *loader.Options) {
			opts.SkipResolveEnvironment = true
			opts.Listeners = r.listeners(o.WorkingDir)
			r.in.blanks.hear(opts)
		},
	})
	if err := nameOf(o, details, files, options); err != nil {
		return nil, err
	}
	dict, err := r.model(ctx, *details, files, options, nil)
	if err != nil {
		return nil, err
	}
	name, _ := options.GetProjectName()
	if len(dict) == 0 || name == "" {
		return nil, errRefused
	}
	dict["name"] = name
	if dict, err = loader.Normalize(dict, details.Environment); err != nil {
		return nil, err
	}
	project, err := loader.ModelToProject(dict, options, *details)
	if err != nil {
		return nil, err
	}
	for _, f := range details.ConfigFiles {
		project.ComposeFiles = append(project.ComposeFiles, f.Filename)
	}
	return project, nil
}

// parsed is a file's YAML: its documents.
type parsed []document

// document is one, without what it only resets.
type document struct {
	*yaml.Node
	resets *resets
}

func parseAll(files []types.ConfigFile) ([]parsed, error) {
	out := make([]parsed, len(files))
	for i, f := range files {
		text := f.Content
		if text == nil {
			var err error
			if text, err = os.ReadFile(f.Filename); err != nil {
				return nil, err
			}
		}
		for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
			node := &yaml.Node{}
			err := decoder.Decode(node)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			marked, err := resetsOf(node)
			if err != nil {
				return nil, err
			}
			out[i] = append(out[i], document{node, marked})
		}
	}
	return out, nil
}

// nameOf sets the project's name: COMPOSE_PROJECT_NAME, else name:, else the
// folder.
func nameOf(o *cli.ProjectOptions, details *types.ConfigDetails, files []parsed, options *loader.Options) error {
	fixed := o.Name
	if fixed == "" {
		fixed = o.Environment[consts.ComposeProjectName]
	}
	if fixed != "" {
		if loader.NormalizeProjectName(fixed) != fixed {
			return loader.InvalidProjectNameErr(fixed)
		}
		options.SetProjectName(fixed, true)
		details.Environment[consts.ComposeProjectName] = fixed
		return nil
	}
	first, written := false, "" // whether a first document has one; the last that any has
	for _, docs := range files {
		for i, doc := range docs {
			var named struct {
				Name string `yaml:"name"`
			}
			if err := doc.Decode(&named); err != nil {
				return err
			}
			if named.Name != "" {
				first, written = first || i == 0, named.Name
			}
		}
	}
	interpolated, err := interp.Interpolate(map[string]any{"name": written}, *options.Interpolate)
	if err != nil {
		return err
	}
	written, _ = interpolated["name"].(string)
	name := loader.NormalizeProjectName(written)
	if name == "" && !first {
		name = loader.NormalizeProjectName(filepath.Base(o.WorkingDir))
	}
	options.SetProjectName(name, false)
	details.Environment[consts.ComposeProjectName] = name
	return nil
}

// model is the loader's loadYamlModel.
func (r *reader) model(ctx context.Context, details types.ConfigDetails, files []parsed, options *loader.Options, included []string) (map[string]any, error) {
	dict := map[string]any{}
	for i, f := range details.ConfigFiles {
		above := slices.Clone(included)
		for _, doc := range files[i] {
			above = append(above, f.Filename)
			var err error
			if dict, err = r.document(ctx, doc, above, details, options, dict); err != nil {
				return nil, err
			}
		}
	}
	dict, err := transform.SetDefaultValues(dict)
	if err != nil {
		return nil, err
	}
	if err := validation.Validate(dict); err != nil {
		return nil, err
	}
	if err := paths.ResolveRelativePaths(dict, details.WorkingDir, nil); err != nil {
		return nil, err
	}
	r.labelFiles(dict)
	loader.ResolveEnvironment(dict, details.Environment)
	return dict, nil
}

// listeners hear which file a service extends, in a file whose paths are
// relative to dir, before it is read.
func (r *reader) listeners(dir string) []loader.Listener {
	return []loader.Listener{func(event string, meta map[string]any) {
		if file, ok := meta["file"].(string); ok && event == "extends" {
			r.in.add(absolute(dir, file))
		}
	}}
}

func absolute(dir, p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

// labelFiles adds what ModelToProject reads before a project is there to ask.
func (r *reader) labelFiles(dict map[string]any) {
	services, _ := dict["services"].(map[string]any)
	for _, s := range services {
		service, _ := s.(map[string]any)
		files, _ := service["label_file"].([]any)
		for _, f := range files {
			if full, ok := f.(string); ok {
				r.in.add(full)
			}
		}
	}
}

// document merges one document into dict, as the loader's loadYamlFile does. It
// is of the last of the files that included has.
func (r *reader) document(ctx context.Context, doc document, included []string, details types.ConfigDetails, options *loader.Options, dict map[string]any) (map[string]any, error) {
	file := included[len(included)-1]
	var raw any
	if err := doc.Decode(&raw); err != nil {
		return nil, err
	}
	cfg, ok := raw.(map[string]any)
	if !ok || !stringKeys(raw) {
		return nil, errRefused
	}
	if _, ok := cfg["version"]; ok {
		r.in.remarks[r.in.shown(file)+" has a version:, which is obsolete and ignored"] = true
	}
	// It copies, and turns empty lists that are nil into ones that are not.
	cfg, err := interp.Interpolate(cfg, *options.Interpolate)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, consts.ComposeFileKey{}, file)
	if err := r.extend(ctx, cfg, options, doc.resets); err != nil {
		return nil, err
	}
	if err := doc.resets.Apply(dict); err != nil {
		return nil, err
	}
	if err := r.include(ctx, cfg, details, options, included); err != nil {
		return nil, err
	}
	if dict, err = override.Merge(dict, cfg); err != nil {
		return nil, err
	}
	if dict, err = override.EnforceUnicity(dict); err != nil {
		return nil, err
	}
	compiled, err := r.loader.schema()
	if err != nil {
		return nil, err
	}
	if err := compiled.Validate(dict); err != nil {
		return nil, err
	}
	delete(dict, "version")
	if dict, err = transform.Canonical(dict, false); err != nil {
		return nil, err
	}
	return override.EnforceUnicity(loader.OmitEmpty(dict))
}

// newOf makes the tracker that ApplyExtends wants, whose type has no name
// outside of the loader.
func newOf[T any](func(context.Context, map[string]any, *loader.Options, *T, ...loader.PostProcessor) error) *T {
	return new(T)
}

// stringKeys says whether all keys are strings, as the schema needs them.
func stringKeys(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		for _, e := range v {
			if !stringKeys(e) {
				return false
			}
		}
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !stringKeys(e) })
	case map[any]any:
		return false
	}
	return true
}
