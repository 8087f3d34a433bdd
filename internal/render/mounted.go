package render

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// What is bind-mounted and encrypted in the repository is mounted from a volume of the
// daemon's own, where it lies in clear: an encrypted file in its place, and those of a
// folder over the ones in it. A file there never changes; another content is another
// file, so that exactly the services that mount it are made anew.

// needsVolume says what to do where there is no such volume.
const needsVolume = "for that the daemon needs a volume of its own, for files in clear; give its service the volume gitops-secrets:/secrets"

// VolumeFile is a file that containers mount from the daemon's own volume: in clear what
// is encrypted in git, or what git had when the version ran that a stack is rolled back
// to.
type VolumeFile struct {
	// Path is below the folder for such files, with slashes:
	// <project>/<digest>/<name>, and of what is in a folder that is mounted
	// <project>/<digest>/<name of the folder>/<path>.
	Path     string
	Content  []byte
	Mode     fs.FileMode
	UID, GID int // -1 for the daemon's own
}

// VolumeFiles are those that have to be there before containers of the stack are made.
func (p Project) VolumeFiles() []VolumeFile { return p.files }

// mounts are the encrypted files in what a project's services mount: by service, and
// by the position of the volume.
type mounts map[string]map[int]sealedMount

// sealedMount is a mounted file, or a folder, with something encrypted in it.
type sealedMount struct {
	files []sealedFile
	// id tells versions of all of it apart, whoever it is encrypted for.
	id string
}

type sealedFile struct {
	below  string // what is mounted; empty if it is that itself
	name   string
	digest string
	text   []byte
	mode   fs.FileMode
}

// sealedMounts finds what services mount encrypted. Folders are looked through where
// there is reason to, see searched: it takes a look into every file.
func (l *Loader) sealedMounts(p *types.Project, in *inputs) (mounts, error) {
	found := mounts{}
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		for i, v := range p.Services[name].Volumes {
			rel, inside := l.inRepository(in.tree, v.Source)
			if v.Type != types.VolumeTypeBind || !inside || rel == "" {
				continue
			}
			m, err := l.sealedMount(in, rel)
			if err != nil {
				return nil, fmt.Errorf("services.%s.volumes: %w", name, err)
			}
			if m.files == nil {
				continue
			}
			if l.o.HostSecrets == "" {
				return nil, fmt.Errorf("services.%s.volumes: %s is encrypted, and mounted: %s", name, path.Join(rel, m.files[0].below), needsVolume)
			}
			if found[name] == nil {
				found[name] = map[int]sealedMount{}
			}
			found[name][i] = m
		}
	}
	return found, l.refuseSealedVolumes(p, in)
}

// refuseSealedVolumes refuses volumes whose driver mounts a folder of the repository
// with something encrypted in it: over what is in a volume nothing is mounted.
func (l *Loader) refuseSealedVolumes(p *types.Project, in *inputs) error {
	for _, name := range slices.Sorted(maps.Keys(p.Volumes)) {
		v := p.Volumes[name]
		rel, inside := l.inRepository(in.tree, v.DriverOpts["device"])
		if !inside || rel == "" || !strings.Contains(v.DriverOpts["o"], "bind") {
			continue
		}
		m, err := l.sealedMount(in, rel)
		if err != nil {
			return fmt.Errorf("volumes.%s: %w", name, err)
		}
		if m.files != nil {
			return fmt.Errorf("volumes.%s: %s is encrypted: mount %s in the volumes: of the services themselves, where it is mounted in clear", name, path.Join(rel, m.files[0].below), rel)
		}
	}
	return nil
}

// inRepository gives a path of the repository, without a slash at its end, be it
// written as we see it or as the engine does (with $PWD). The root is "".
func (l *Loader) inRepository(tree Tree, full string) (rel string, ok bool) {
	rel, ok = l.rel(tree, full)
	if !ok && l.o.HostRoot != "" {
		rel, ok = within(filepath.Clean(l.o.HostRoot), full)
	}
	if rel = path.Clean(filepath.ToSlash(rel)); !ok || !filepath.IsLocal(rel) {
		return "", false
	}
	if rel == "." {
		rel = ""
	}
	return rel, true
}

// real gives the path of the repository that a path of it leads to.
func (l *Loader) real(tree Tree, rel string) (string, bool) {
	full, err := filepath.EvalSymlinks(place(tree, rel))
	if err != nil {
		return "", false
	}
	return l.inRepository(tree, full)
}

// sealedMount looks at one path of the repository.
func (l *Loader) sealedMount(in *inputs, rel string) (m sealedMount, err error) {
	tree := original(in.tree)
	full := place(tree, rel)
	info, err := os.Stat(full)
	switch {
	case err != nil: // the engine makes a folder of what is not there
		return m, nil
	case info.Mode().IsRegular():
		if !isSealed(full) {
			in.addPlace(place(in.tree, rel))
			in.id(rel)
			return m, nil
		}
		in.addKeys()
		in.addCarried(place(in.tree, rel))
		f, err := l.sealedFile(tree, rel, "", info.Mode())
		return sealedMount{[]sealedFile{f}, f.digest}, err
	case !info.IsDir() || !in.searched():
		return m, nil
	}
	dir, inside := l.real(tree, rel) // git tracks nothing behind a link
	if !inside || dir == "" {
		return m, nil
	}
	in.addPlace(place(in.tree, rel))
	in.id(rel)
	in.id(dir)
	var ids []string
	err = eachTracked(tree, dir, func(file string, info fs.FileInfo) error {
		if !isSealed(place(tree, file)) {
			ids = append(ids, file+" "+tree.ID(file))
			return nil
		}
		f, err := l.sealedFile(tree, file, strings.TrimPrefix(file, dir+"/"), info.Mode())
		m.files, ids = append(m.files, f), append(ids, file+" "+f.digest)
		return err
	})
	in.addKeys() // with others, more may be found
	m.id = sumOf(strings.Join(ids, "\n"))
	return m, err
}

func (l *Loader) sealedFile(tree Tree, rel, below string, mode fs.FileMode) (sealedFile, error) {
	text, digest, err := l.decrypt(tree, rel)
	return sealedFile{below: below, name: path.Base(rel), digest: digest, text: text, mode: mode.Perm()}, err
}

// searched says whether folders are looked through for encrypted files: if there are
// keys, or if .sops.yaml at the top of the repository says that it has such files.
func (in *inputs) searched() bool {
	const rules = ".sops.yaml"
	return !in.loader.o.Keys.None() || in.id(rules) != ""
}

// eachTracked calls do for each regular file that git tracks below a folder.
func eachTracked(tree Tree, rel string, do func(file string, info fs.FileInfo) error) error {
	entries, err := os.ReadDir(place(tree, rel))
	if err != nil {
		return err
	}
	for _, e := range entries {
		file := path.Join(rel, e.Name())
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || tree.ID(file) == "" {
			continue
		}
		switch {
		case err != nil:
		case info.IsDir():
			err = eachTracked(tree, file, do)
		case info.Mode().IsRegular():
			err = do(file, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// apply mounts what is in clear in the place of what is not.
func (m mounts) apply(p *types.Project, hostSecrets string) (files []VolumeFile) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		s := p.Services[name]
		var over []types.ServiceVolumeConfig
		for _, i := range slices.Sorted(maps.Keys(m[name])) {
			for _, f := range m[name][i].files {
				if f.below != "" && hidden(s, s.Volumes[i].Target, f.below) {
					continue
				}
				file := VolumeFile{Path: path.Join(p.Name, f.digest[:32], f.name), Content: f.text, Mode: f.mode, UID: -1, GID: -1}
				files = append(files, file)
				source := path.Join(hostSecrets, file.Path)
				if f.below == "" {
					bind := types.ServiceVolumeBind{}
					if s.Volumes[i].Bind != nil {
						bind = *s.Volumes[i].Bind
					}
					bind.CreateHostPath = false // a folder in the place of a lost file
					s.Volumes[i].Source, s.Volumes[i].Bind = source, &bind
					continue
				}
				over = append(over, types.ServiceVolumeConfig{
					Type: types.VolumeTypeBind, Source: source, Target: path.Join(s.Volumes[i].Target, f.below),
					ReadOnly: s.Volumes[i].ReadOnly, Bind: &types.ServiceVolumeBind{},
				})
			}
		}
		s.Volumes = append(s.Volumes, over...)
		p.Services[name] = s
	}
	return files
}

// hidden says whether a service mounts something else over a file below one of its
// mounts.
func hidden(s types.ServiceConfig, mount, below string) bool {
	file := path.Join(mount, below)
	return slices.ContainsFunc(targets(s), func(target string) bool {
		_, lower := within(path.Clean(mount), target)
		_, over := within(target, file)
		return lower && over && target != path.Clean(mount)
	})
}

// targets are where a service mounts something.
func targets(s types.ServiceConfig) []string {
	var out []string
	for _, v := range s.Volumes {
		out = append(out, path.Clean(v.Target))
	}
	for _, t := range s.Tmpfs {
		target, _, _ := strings.Cut(t, ":")
		out = append(out, path.Clean(target))
	}
	for _, u := range s.Configs {
		out = append(out, targetOf(types.FileReferenceConfig(u), configsFolder))
	}
	for _, u := range s.Secrets {
		out = append(out, targetOf(types.FileReferenceConfig(u), secretsFolder))
	}
	return out
}

// Where Compose puts configs and secrets that name no folder.
const (
	configsFolder = "/"
	secretsFolder = "/run/secrets"
)

func targetOf(u types.FileReferenceConfig, folder string) string {
	target := cmp.Or(u.Target, u.Source)
	if !path.IsAbs(target) {
		target = path.Join(folder, target)
	}
	return path.Clean(target)
}

// behindMount says whether a path in a service's containers is, or may be, in something
// that they mount.
func behindMount(p *types.Project, s types.ServiceConfig, target string) bool {
	s.Configs, s.Secrets = nil, nil
	if slices.ContainsFunc(targets(s), func(mount string) bool { _, ok := within(mount, target); return ok }) {
		return true
	}
	return slices.ContainsFunc(s.VolumesFrom, func(from string) bool {
		name, _, _ := strings.Cut(from, ":")
		other, ok := p.Services[name]
		return !ok || behindMount(p, other, target)
	})
}

// uncopyable says whether nothing can be copied into a service's containers: engine 29
// refuses that where a file is mounted in something that is mounted read-only, as those
// in clear in a folder are.
func (m mounts) uncopyable(p *types.Project, name string) bool {
	s := p.Services[name]
	for i, of := range m[name] {
		below := func(f sealedFile) bool { return f.below != "" && !hidden(s, s.Volumes[i].Target, f.below) }
		if s.Volumes[i].ReadOnly && slices.ContainsFunc(of.files, below) {
			return true
		}
	}
	return slices.ContainsFunc(s.VolumesFrom, func(from string) bool {
		other, _, _ := strings.Cut(from, ":")
		return m.uncopyable(p, other)
	})
}

// inline gives a config or a secret whose content stands in the file or in a variable.
func inline(p *types.Project, o types.FileObjectConfig) (clearObject, bool) {
	text := cmp.Or(o.Content, p.Environment[o.Environment])
	return clearObject{text, sumOf(text)}, text != ""
}

// mountObjects mounts configs and secrets in clear where Compose can't copy them: into
// services that are read_only, that nothing can be copied into, and where something else
// is mounted. In that a copy would stay, and it may be the clone.
func (o clearObjects) mountObjects(p *types.Project, sealed mounts, hostSecrets string) (files []VolumeFile, err error) {
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		uncopyable := sealed.uncopyable(p, name)
		copied := func(u types.FileReferenceConfig, folder string) bool {
			return !s.ReadOnly && !uncopyable && !behindMount(p, p.Services[name], targetOf(u, folder))
		}
		mount := func(u types.FileReferenceConfig, object clearObject, folder string) error {
			file, err := fileFor(p.Name, u, object)
			if err != nil {
				return err
			}
			if hostSecrets == "" {
				return fmt.Errorf("%s is encrypted, and the service read_only or what it is put into mounted: %s", u.Source, needsVolume)
			}
			files = append(files, file)
			s.Volumes = append(s.Volumes, types.ServiceVolumeConfig{
				Type: types.VolumeTypeBind, Source: path.Join(hostSecrets, file.Path), Target: targetOf(u, folder), ReadOnly: true, Bind: &types.ServiceVolumeBind{},
			})
			return nil
		}
		s.Configs = slices.DeleteFunc(s.Configs, func(u types.ServiceConfigObjConfig) bool {
			object, ok := o.configs[u.Source]
			if !ok && uncopyable {
				object, ok = inline(p, types.FileObjectConfig(p.Configs[u.Source]))
			}
			if !ok || copied(types.FileReferenceConfig(u), configsFolder) {
				return false
			}
			err = errors.Join(err, mount(types.FileReferenceConfig(u), object, configsFolder))
			return true
		})
		s.Secrets = slices.DeleteFunc(s.Secrets, func(u types.ServiceSecretConfig) bool {
			object, ok := o.secrets[u.Source]
			if !ok && uncopyable {
				object, ok = inline(p, types.FileObjectConfig(p.Secrets[u.Source]))
			}
			if !ok || copied(types.FileReferenceConfig(u), secretsFolder) {
				return false
			}
			err = errors.Join(err, mount(types.FileReferenceConfig(u), object, secretsFolder))
			return true
		})
		if err != nil {
			return nil, fmt.Errorf("services.%s: %w", name, err)
		}
		p.Services[name] = s
	}
	return files, nil
}

// fileFor is the file of a config or a secret as a service wants it. With another
// owner or mode it is another file.
func fileFor(project string, u types.FileReferenceConfig, o clearObject) (VolumeFile, error) {
	f := VolumeFile{Content: []byte(o.text), Mode: 0o444, UID: -1, GID: -1}
	var err error
	for _, id := range []struct {
		text string
		to   *int
	}{{u.UID, &f.UID}, {u.GID, &f.GID}} {
		if id.text == "" {
			continue
		}
		if *id.to, err = strconv.Atoi(id.text); err != nil || *id.to < 0 {
			return f, fmt.Errorf("the owner of %s is %q: want a number", u.Source, id.text)
		}
	}
	if u.Mode != nil {
		f.Mode = fs.FileMode(*u.Mode).Perm()
	}
	digest := sumOf(fmt.Sprint(o.digest, f.UID, f.GID, f.Mode))
	f.Path = path.Join(project, digest[:32], u.Source)
	return f, nil
}

// refuseSealedContexts refuses builds that would put something encrypted into an image.
// What the stack itself is loaded from, or has as a config or a secret, is not meant for
// it, and neither is what .dockerignore leaves out.
func (l *Loader) refuseSealedContexts(p *types.Project, clear clearObjects, in *inputs) error {
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		build := p.Services[name].Build
		if build == nil {
			continue
		}
		for _, use := range build.Secrets {
			if _, ok := clear.secrets[use.Source]; ok {
				rel, _ := l.inRepository(in.tree, p.Secrets[use.Source].File)
				return fmt.Errorf("services.%s.build.secrets: %s is encrypted, and builds get no such secrets: keep it in the stack's .env, and give the secret the environment: of its variable", name, rel)
			}
		}
		if !in.searched() {
			continue
		}
		for _, context := range append(slices.Sorted(maps.Values(build.AdditionalContexts)), build.Context) {
			rel, inside := l.inRepository(in.tree, context)
			if !inside {
				continue
			}
			found, err := in.sealedBelow(rel)
			if err != nil {
				return fmt.Errorf("services.%s.build: %w", name, err)
			}
			if found != "" {
				return fmt.Errorf("services.%s.build: %s is encrypted, and would get into the image: name it in .dockerignore, and give it to the container as a secret", name, found)
			}
		}
	}
	return nil
}

// sealedBelow finds an encrypted file in a build context; "" for none.
func (in *inputs) sealedBelow(rel string) (found string, err error) {
	tree := original(in.tree)
	c, _ := in.tree.(*cleared)
	known := func(file string) bool { return in.carried[file] || c != nil && c.files[file] }
	if info, err := os.Stat(place(tree, rel)); err != nil || !info.IsDir() {
		return "", nil // a URL, or what the build says is missing
	}
	rel, inside := in.loader.real(tree, rel) // git tracks nothing behind a link
	if !inside {
		return "", nil
	}
	ignored, err := dockerIgnore(place(tree, rel))
	if err != nil {
		return "", err
	}
	err = eachTracked(tree, rel, func(file string, _ fs.FileInfo) error {
		below := strings.TrimPrefix(strings.TrimPrefix(file, rel), "/")
		if found != "" || known(file) {
			return nil
		}
		if out, err := ignored.MatchesOrParentMatches(below); err != nil || out {
			return err
		}
		if isSealed(place(tree, file)) {
			found = file
		}
		return nil
	})
	return found, err
}

// dockerIgnore reads what a build leaves out of a folder.
func dockerIgnore(dir string) (*patternmatcher.PatternMatcher, error) {
	var patterns []string
	f, err := os.Open(filepath.Join(dir, ".dockerignore"))
	if err == nil {
		defer f.Close()
		if patterns, err = ignorefile.ReadAll(f); err != nil {
			return nil, fmt.Errorf(".dockerignore: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return patternmatcher.New(patterns)
}
