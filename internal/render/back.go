package render

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// monitor is for how long a container without update_config.monitor has to run, before
// a stack that would be rolled back counts as up.
const monitor = 10 * time.Second

// rollback says whether a service's failure takes its stack back to the last good
// version, and for how long it is watched for that. The label counts for the whole
// stack, and more than the service's own failure_action, which counts more than what is
// configured for all stacks.
func rollback(s types.ServiceConfig, label *bool, all bool) (bool, time.Duration) {
	on := all
	var update types.UpdateConfig
	if s.Deploy != nil && s.Deploy.UpdateConfig != nil {
		update = *s.Deploy.UpdateConfig
	}
	if update.FailureAction != "" {
		on = update.FailureAction == "rollback"
	}
	if label != nil {
		on = *label
	}
	if !on {
		return false, 0
	}
	if update.Monitor > 0 {
		return true, time.Duration(update.Monitor)
	}
	return true, monitor
}

// rollbackLabel reads LabelRollback; nil if no service has it.
func rollbackLabel(p *types.Project) (*bool, error) {
	return stackLabel(p, LabelRollback, "true or false", "the opposite", readBool)
}

// Past is a version of a stack that ran before.
type Past struct {
	plan.Version
	// Local are the ids of the images that are here, by name.
	Local map[string]string
}

// Back loads a stack as it was in an earlier commit, for it to run again beside what
// the clone has now. then and now show the two commits.
//
// It is to be what it was: what git does not track and the stack reads, or the
// variables for all stacks, must not have changed since. An image whose name is
// another's by now goes by the name that it is kept under. Of what the stack mounts of
// the repository, what is another now is mounted from the daemon's volume as it was then,
// read-only: what a container wrote there would not last.
func (l *Loader) Back(ctx context.Context, then, now Tree, past Past) (Project, error) {
	if err := l.readEnvironment(); err != nil {
		return Project{}, err
	}
	was := l.load(ctx, then, past.File).project
	switch {
	case ctx.Err() != nil:
		return Project{}, ctx.Err()
	case was.Invalid != "":
		return Project{}, errors.New(was.Invalid)
	case was.Digest != past.Digest:
		return Project{}, fmt.Errorf("%s is not any more what it was: what git does not track has changed since%s, or how this daemon is configured", past.File, since(was.Untracked))
	}
	b := &back{loader: l, then: then, now: now, images: map[string]string{}}
	for _, s := range was.Services {
		if id := past.Services[s.Name].Image; id != "" && past.Local[s.Image] != id {
			b.images[s.Name] = plan.KeptAs(was.Name, s.Name)
		}
	}
	is := l.loadAs(ctx, then, past.File, b).project
	if is.Invalid != "" {
		return Project{}, errors.New(is.Invalid)
	}
	for i := range is.Services {
		is.Services[i].Pull, is.Services[i].Every = plan.PullNever, 0
	}
	is.Commit, is.tree, is.ages = then.Commit(), then, newAges(then)
	return is, nil
}

func since(untracked []string) string {
	if len(untracked) == 0 {
		return ""
	}
	return " (" + strings.Join(untracked, ", ") + ")"
}

// back is how a stack is to differ from what its commit has.
type back struct {
	loader    *Loader
	then, now Tree
	// images are the names of those that are kept for it, by service.
	images map[string]string
}

// apply changes a project that has the engine's paths.
func (b *back) apply(p *types.Project) (files []VolumeFile, err error) {
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		if ref := b.images[name]; ref != "" {
			s.Image = ref
		}
		for i := range s.Volumes {
			v := &s.Volumes[i]
			if v.Type != types.VolumeTypeBind {
				continue
			}
			source, laid, err := b.asThen(p.Name, v.Source)
			if err != nil {
				return nil, fmt.Errorf("services.%s.volumes: %w", name, err)
			}
			if laid != nil {
				v.Source, v.ReadOnly, v.Bind = source, true, &types.ServiceVolumeBind{}
				files = append(files, laid...)
			}
		}
		for _, opt := range s.SecurityOpt {
			profile := seccompProfile(opt)
			if rel, ok := b.loader.inRepository(b.then, p.RelativePath(profile)); profile != "" && ok && b.changed(rel) {
				return nil, fmt.Errorf("services.%s.security_opt: the seccomp profile %s has changed since", name, rel)
			}
		}
		p.Services[name] = s
	}
	object := func(where string, o *types.FileObjectConfig) error {
		if o.File == "" {
			return nil
		}
		source, laid, err := b.asThen(p.Name, o.File)
		if err != nil {
			return fmt.Errorf("%s.file: %w", where, err)
		}
		if laid != nil {
			o.File, files = source, append(files, laid...)
		}
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(p.Configs)) {
		o := types.FileObjectConfig(p.Configs[name])
		if err := object("configs."+name, &o); err != nil {
			return nil, err
		}
		p.Configs[name] = types.ConfigObjConfig(o)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Secrets)) {
		o := types.FileObjectConfig(p.Secrets[name])
		if err := object("secrets."+name, &o); err != nil {
			return nil, err
		}
		p.Secrets[name] = types.SecretConfig(o)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Volumes)) {
		if rel, ok := b.loader.inRepository(b.then, p.Volumes[name].DriverOpts["device"]); ok && b.changed(rel) {
			return nil, fmt.Errorf("volumes.%s: %s has changed since, and a volume mounts it", name, rel)
		}
	}
	return files, nil
}

// changed says whether something that git had is another now.
func (b *back) changed(rel string) bool {
	was := b.then.ID(rel)
	return was != "" && was != b.now.ID(rel) || b.now.Edited(rel) && was != ""
}

// asThen gives what to mount in the place of something of the repository that has
// changed since, and the files to lay there; none if it has not.
func (b *back) asThen(project, source string) (instead string, files []VolumeFile, err error) {
	rel, inside := b.loader.inRepository(b.then, source)
	if !inside {
		return "", nil, nil
	}
	if real, ok := b.loader.real(b.then, rel); ok && b.changed(real) {
		rel = real // it is a link, or behind one
	}
	if !b.changed(rel) {
		return "", nil, nil
	}
	switch {
	case b.now.Edited(rel):
		return "", nil, fmt.Errorf("%s was changed by hand in the clone", rel)
	case rel == "":
		return "", nil, errors.New("the whole repository is mounted, and has changed since")
	case b.loader.o.HostSecrets == "":
		return "", nil, fmt.Errorf("%s has changed since, and for what it was the daemon needs a volume of its own; give its service the volume gitops-secrets:/secrets", rel)
	}
	at := path.Join(project, sumOf(rel + " " + b.then.ID(rel))[:32], path.Base(rel))
	full := place(b.then, rel)
	info, err := os.Stat(full)
	switch {
	case err != nil:
		return "", nil, err
	case info.Mode().IsRegular():
		file, err := fileThen(full, at, info)
		return path.Join(b.loader.o.HostSecrets, at), []VolumeFile{file}, err
	case !info.IsDir():
		return "", nil, fmt.Errorf("%s is neither a file nor a folder", rel)
	}
	files, err = b.folderThen(rel, at)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s had no files, and has some now", rel)
	}
	return path.Join(b.loader.o.HostSecrets, at), files, err
}

// folderThen gives what was in a folder. What git does not track is not to be seen at
// another place than before, or not at all.
func (b *back) folderThen(rel, at string) (files []VolumeFile, err error) {
	entries, err := os.ReadDir(place(b.then, rel))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		inner, at := path.Join(rel, e.Name()), path.Join(at, e.Name())
		full := place(b.then, inner)
		info, err := os.Stat(full)
		var more []VolumeFile
		switch {
		case b.then.ID(inner) == "":
			err = fmt.Errorf("%s has changed since, and has something in it that git does not track: %s", rel, inner)
		case err != nil:
		case b.isLink(inner):
			err = fmt.Errorf("%s has changed since, and has a link in it: %s", rel, inner)
		case info.IsDir():
			more, err = b.folderThen(inner, at)
		default:
			more = make([]VolumeFile, 1)
			more[0], err = fileThen(full, at, info)
		}
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	return files, nil
}

// isLink says whether git has a link. A staged tree has links of its own, to what the
// clone has at the same place.
func (b *back) isLink(rel string) bool {
	to, err := os.Readlink(place(b.then, rel))
	return err == nil && to != filepath.Join(b.loader.o.Root, filepath.FromSlash(rel)) && to != filepath.Join(b.loader.realRoot, filepath.FromSlash(rel))
}

func fileThen(full, at string, info fs.FileInfo) (VolumeFile, error) {
	content, err := os.ReadFile(full)
	return VolumeFile{Path: at, Content: content, Mode: info.Mode().Perm(), UID: -1, GID: -1}, err
}
