package render

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// mapping takes a path that a load resolved to where it is to be used. It
// fails for a path inside the clone when that place is not known.
type mapping func(full string) (string, error)

var errUnknownHost = errors.New("lies in the clone, and where the clone is on the engine's host could not be found out; mount it at the same path as on the host, or see the message at start")

// visible maps to the paths that the engine sees.
func (l *Loader) visible(tree Tree) mapping {
	return func(full string) (string, error) {
		rel, ok := l.rel(tree, full)
		switch {
		case !ok:
			return full, nil
		case l.o.HostRoot == "":
			return "", fmt.Errorf("%s %w", rel, errUnknownHost)
		default:
			return moved(l.o.HostRoot, rel, full), nil
		}
	}
}

// moved is a path below another root. The rest stays as it is written, as Compose
// leaves it: a slash at its end is in the hash.
func moved(root, rel, full string) string {
	root = strings.TrimSuffix(filepath.Clean(root), "/")
	if rel != "" || strings.HasSuffix(full, "/") {
		return root + "/" + rel
	}
	return cmp.Or(root, "/")
}

// readable maps to the clone as this process sees it.
func (l *Loader) readable(tree Tree) mapping {
	return func(full string) (string, error) {
		if rel, ok := l.rel(tree, full); ok {
			return moved(l.o.Root, rel, full), nil
		}
		return full, nil
	}
}

// hostPath is for labels and PWD, where a path that is not known on the host
// does no harm.
func (l *Loader) hostPath(tree Tree, full string) string {
	rel, ok := l.rel(tree, full)
	if !ok {
		return full
	}
	return moved(cmp.Or(l.o.HostRoot, l.o.Root), rel, full)
}

// rel gives a path relative to the repository, whether it was loaded from a
// staged tree or, as always when symbolic links are resolved, from the clone.
func (l *Loader) rel(tree Tree, full string) (string, bool) {
	if rel, ok := within(tree.Dir(), full); ok {
		return filepath.FromSlash(rel), true
	}
	if c, ok := tree.(*cleared); ok { // reached by a link
		return l.rel(c.Tree, full)
	}
	rel, ok := within(l.o.Root, full)
	if !ok {
		rel, ok = within(l.realRoot, full)
	}
	if strings.HasPrefix(rel, ".git/") { // a staged tree, reached without the links on the way to it
		if dir, err := filepath.EvalSymlinks(tree.Dir()); err == nil {
			if staged, ok := within(dir, full); ok {
				rel = staged
			}
		}
	}
	return filepath.FromSlash(rel), ok
}

// mapPaths rewrites, in place, every path of a project that is not read while
// loading: to says where the ones go that are mounted. p must be a copy.
func (l *Loader) mapPaths(p *types.Project, tree Tree, to mapping) (*types.Project, error) {
	read := l.readable(tree)
	// What is only part of the hash is as it is on the host if that is known.
	note := func(full string) (string, error) { return l.hostPath(tree, full), nil }
	var errs []error
	moveBy := func(by mapping, where string, full *string) {
		if *full == "" || !filepath.IsAbs(*full) {
			return
		}
		there, err := by(*full)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
			return
		}
		*full = there
	}
	move := func(where string, full *string) { moveBy(to, where, full) }
	for name, s := range p.Services {
		where := "services." + name
		for i := range s.Volumes {
			if s.Volumes[i].Type == types.VolumeTypeBind {
				move(where+".volumes", &s.Volumes[i].Source)
			}
		}
		for i := range s.LabelFiles {
			moveBy(note, where+".label_file", &s.LabelFiles[i])
		}
		if s.Develop != nil {
			for i := range s.Develop.Watch {
				moveBy(note, where+".develop", &s.Develop.Watch[i].Path)
			}
		}
		if s.Build != nil {
			moveBy(read, where+".build.context", &s.Build.Context)
			for key, c := range s.Build.AdditionalContexts {
				moveBy(read, where+".build.additional_contexts", &c)
				s.Build.AdditionalContexts[key] = c
			}
		}
		p.Services[name] = s
	}
	for key, c := range p.Configs {
		move("configs."+key+".file", &c.File)
		p.Configs[key] = c
	}
	for key, s := range p.Secrets {
		move("secrets."+key+".file", &s.File)
		p.Secrets[key] = s
	}
	for key, v := range p.Volumes {
		if device, ok := v.DriverOpts["device"]; ok && strings.Contains(v.DriverOpts["o"], "bind") {
			move("volumes."+key+".driver_opts.device", &device)
			v.DriverOpts["device"] = device
			p.Volumes[key] = v
		}
	}
	return p, errors.Join(errs...)
}

// shown is a file as messages name it: as it is in the repository.
func (in *inputs) shown(full string) string {
	if rel, ok := in.loader.rel(in.tree, full); ok {
		return rel
	}
	return full
}
