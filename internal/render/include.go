package render

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/compose-spec/compose-go/v2/dotenv"
	interp "github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// include puts what the include: section of cfg names into cfg, as the loader's
// ApplyInclude does.
func (r *reader) include(ctx context.Context, cfg map[string]any, details types.ConfigDetails, options *loader.Options, included []string) error {
	section := cfg["include"]
	if list, ok := section.([]any); ok {
		for i, e := range list {
			if p, short := e.(string); short {
				list[i] = map[string]any{"path": p}
			}
		}
	} else if section != nil {
		return errRefused
	}
	var configs []types.IncludeConfig
	if section != nil {
		if err := loader.Transform(section, &configs); err != nil {
			return err
		}
	}
	for _, c := range configs {
		imported, err := r.included(ctx, c, details, options, included)
		if err != nil {
			return err
		}
		if err := importInto(cfg, imported); err != nil {
			return err
		}
	}
	delete(cfg, "include")
	return nil
}

// included loads one entry of an include: section.
func (r *reader) included(ctx context.Context, c types.IncludeConfig, details types.ConfigDetails, options *loader.Options, included []string) (map[string]any, error) {
	// In what is included itself the loader takes these from the folder that the
	// daemon was started in.
	if (c.ProjectDirectory != "" || len(c.EnvFile) > 0) && !filepath.IsAbs(details.WorkingDir) {
		return nil, errUnsure
	}
	local := options.ResourceLoaders[len(options.ResourceLoaders)-1]
	dir := "" // relative, as the loader wants it
	for i, p := range c.Path {
		full, err := local.Load(ctx, p)
		if err != nil {
			return nil, err
		}
		r.in.add(full)
		if c.Path[i] = full; i > 0 {
			continue // the others are overrides of the first
		}
		switch {
		case c.ProjectDirectory == "":
			dir, c.ProjectDirectory = local.Dir(full), filepath.Dir(full)
		case filepath.IsAbs(c.ProjectDirectory):
			dir = c.ProjectDirectory
		default:
			dir, c.ProjectDirectory = local.Dir(c.ProjectDirectory), filepath.Join(details.WorkingDir, c.ProjectDirectory)
		}
		if slices.Contains(included, full) {
			return nil, errRefused // a cycle
		}
	}
	env, err := r.includedEnv(c, details)
	if err != nil {
		return nil, err
	}
	inner := types.ConfigDetails{WorkingDir: dir, ConfigFiles: types.ToConfigFiles(c.Path), Environment: env}
	files, err := parseAll(inner.ConfigFiles)
	if err != nil {
		return nil, err
	}
	o := *options
	o.ResourceLoaders = loader.ToOptions(&types.ConfigDetails{WorkingDir: c.ProjectDirectory}, nil).ResourceLoaders
	o.Listeners = r.listeners(c.ProjectDirectory)
	o.Interpolate = &interp.Options{Substitute: options.Interpolate.Substitute, LookupValue: inner.LookupEnv, TypeCastMapping: options.Interpolate.TypeCastMapping}
	return r.model(ctx, inner, files, &o, included)
}

// includedEnv is the environment of what is included: that of the file which
// includes it, and what its own env files add.
func (r *reader) includedEnv(c types.IncludeConfig, details types.ConfigDetails) (types.Mapping, error) {
	var files []string
	if len(c.EnvFile) == 0 {
		f := filepath.Join(c.ProjectDirectory, ".env")
		r.in.addEnv(f)
		if info, err := os.Stat(f); err == nil && !info.IsDir() {
			files = []string{f}
		}
	}
	for _, f := range c.EnvFile {
		f = absolute(details.WorkingDir, f)
		r.in.addEnv(f)
		files = append(files, f)
	}
	env, err := dotenv.GetEnvFromFile(details.Environment, files) // it refuses a folder, and what is not there
	if err != nil {
		return nil, err
	}
	return details.Environment.Clone().Merge(env), nil
}

// importInto adds what was included to cfg. What both have must be the same.
func importInto(cfg, imported map[string]any) error {
	for _, key := range []string{"services", "volumes", "networks", "secrets", "configs", "models"} {
		if imported[key] == nil {
			continue
		}
		from, ok := imported[key].(map[string]any)
		if !ok {
			return errRefused
		}
		to := map[string]any{}
		if has, ok := cfg[key]; ok {
			if to, ok = has.(map[string]any); !ok {
				return errRefused
			}
		}
		for name, e := range from {
			if has, ok := to[name]; ok && !reflect.DeepEqual(e, has) {
				return errRefused
			}
			to[name] = e
		}
		cfg[key] = to
	}
	return nil
}
