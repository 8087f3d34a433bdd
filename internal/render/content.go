package render

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// contents digests, for each service, what it uses and what the configuration
// only names: bind-mounted files and folders, configs, secrets, seccomp profiles,
// build contexts and how they are built. Git's own ids stand for what it tracks, so that no
// file is read; of untracked ones only configs and secrets count, as nobody
// but a person writes those. Who mounts the whole repository, as the daemon does,
// sees it change with every commit and is not recreated for that. built is the project with the paths that stay the
// same wherever the tree lies.
func (l *Loader) contents(p, built *types.Project, clear clearObjects, sealed mounts, in *inputs) (map[string]contentOf, error) {
	out := map[string]contentOf{}
	var sources []string
	for name, s := range p.Services {
		c := content{in: in, env: p.Environment, parts: map[string][]string{}}
		for i, v := range s.Volumes {
			if rel, inside := l.rel(in.tree, v.Source); v.Type == types.VolumeTypeBind && (rel != "" || !inside) {
				c.part = "bind " + filepath.Clean(cmp.Or(rel, v.Source)) // as a plan.Mount has it
				if m, ok := sealed[name][i]; ok {
					c.add("bind", rel, m.id)
					continue
				}
				c.tracked("bind", v.Source)
			}
		}
		if s.Build != nil {
			c.part = "build"
			c.tracked("build", s.Build.Context)
			for _, folder := range s.Build.AdditionalContexts {
				c.tracked("build", folder)
			}
			how, err := json.Marshal(built.Services[name].Build)
			if err != nil {
				return nil, fmt.Errorf("services.%s.build: %w", name, err)
			}
			c.part = "" // it is the service's own, and has its key
			c.state("build", "how", sumOf(string(how)))
		}
		for _, opt := range s.SecurityOpt {
			if err := c.seccomp(p, opt); err != nil {
				return nil, fmt.Errorf("services.%s.security_opt: %w", name, err)
			}
		}
		for _, use := range s.Configs {
			if err := c.object("config", use.Source, types.FileObjectConfig(p.Configs[use.Source]), clear.configs[use.Source].digest); err != nil {
				return nil, err
			}
		}
		for _, use := range s.Secrets {
			if err := c.object("secret", use.Source, types.FileObjectConfig(p.Secrets[use.Source]), clear.secrets[use.Source].digest); err != nil {
				return nil, err
			}
		}
		if len(c.lines) > 0 {
			slices.Sort(c.lines)
			of := contentOf{digest: sumOf(strings.Join(slices.Compact(c.lines), "\n"))[:32], parts: c.parts, aged: c.aged}
			if c.stated {
				if sources == nil {
					sources = in.sources()
				}
				of.aged = append(of.aged, sources...)
			}
			if c.ageless {
				of.aged = nil
			}
			out[name] = of
		}
	}
	return out, nil
}

// contentOf is the digest of what a service uses.
type contentOf struct {
	digest string
	// aged are the paths that say when that was last written, relative to the tree or
	// absolute; none if it can't be told.
	aged []string
	// parts are the ids of what the digest is made of: "bind <path>", "build",
	// "config <name>", "secret <name>".
	parts map[string][]string
}

// content collects what one service's digest is made of.
type content struct {
	in    *inputs
	env   types.Mapping
	lines []string
	// part is what the next lines are of, see contentOf; parts are the ids by it.
	part  string
	parts map[string][]string
	// aged are the paths among what was added, stated says that some of it is in
	// the files that the stack is loaded from, ageless that some has no time.
	aged            []string
	stated, ageless bool
}

// state adds what the files say that the stack is loaded from.
func (c *content) state(kind, name, id string) {
	c.stated = true
	c.line(kind, name, id)
}

// add adds what has no time of its own.
func (c *content) add(kind, name, id string) {
	c.ageless = true
	c.line(kind, name, id)
}

func (c *content) line(kind, name, id string) {
	c.lines = append(c.lines, kind+" "+name+" "+id)
	if c.part != "" {
		c.parts[c.part] = append(c.parts[c.part], id)
	}
}

// latest is the age of the newest of some paths; zero if that of one can't be told.
func latest(paths []string, age func(rel string) time.Time) time.Time {
	var newest time.Time
	for _, rel := range paths {
		at := age(rel)
		if at.IsZero() {
			return at
		}
		if at.After(newest) {
			newest = at
		}
	}
	return newest
}

// age is when a path was last written. A folder is as new as the newest that is
// tracked in it.
func age(tree Tree, rel string) time.Time {
	full := place(tree, rel)
	info, err := os.Stat(full)
	if err != nil {
		return time.Time{}
	}
	if !info.IsDir() {
		return info.ModTime()
	}
	entries, err := os.ReadDir(full)
	if err != nil {
		return time.Time{}
	}
	var below []string
	for _, e := range entries {
		if sub := path.Join(rel, e.Name()); e.Name() != ".git" && tree.ID(sub) != "" {
			below = append(below, sub)
		}
	}
	return latest(below, func(rel string) time.Time { return age(tree, rel) })
}

// tracked adds git's id of a path, and that of what it is a link to.
func (c *content) tracked(kind, full string) (found bool) {
	c.in.addPlace(full)
	places := []string{full}
	if real, err := filepath.EvalSymlinks(full); err == nil {
		places = append(places, real)
	}
	for _, place := range places {
		if rel, ok := c.in.loader.rel(c.in.tree, place); ok {
			if id := c.in.id(rel); id != "" {
				c.line(kind, rel, id)
				c.aged = append(c.aged, rel)
				found = true
			}
		}
	}
	return found
}

// seccomp adds the profile that an option of security_opt names. The SDK reads it
// when it makes the container, and not from the host.
func (c *content) seccomp(p *types.Project, opt string) error {
	profile := seccompProfile(opt)
	if profile == "" {
		return nil
	}
	full := p.RelativePath(profile)
	if _, inside := c.in.loader.inRepository(c.in.tree, full); inside && isSealed(full) {
		return fmt.Errorf("%s is encrypted, and the engine gets it as it is: a profile is no secret", profile)
	}
	c.part = "seccomp"
	if c.tracked("seccomp", full) {
		return nil
	}
	id, err := contentID(full)
	if err != nil {
		return fmt.Errorf("the daemon has to read the seccomp profile %s: %w; put it into the repository", profile, err)
	}
	c.in.add(full)
	c.add("seccomp", profile, id)
	return nil
}

// seccompProfile is the file that an option of security_opt names; "" for none.
func seccompProfile(opt string) string {
	i := strings.IndexAny(opt, "=:")
	if i < 0 || opt[:i] != "seccomp" || opt[i+1:] == "unconfined" || opt[i+1:] == "builtin" {
		return ""
	}
	return opt[i+1:]
}

// object adds a config or a secret. sealed is the digest of its file if that is
// encrypted: other recipients are no other content.
func (c *content) object(kind, name string, o types.FileObjectConfig, sealed string) error {
	c.part = kind + " " + name
	switch {
	case sealed != "":
		c.add(kind, name, sealed)
	case o.File != "":
		rel, ok := c.in.loader.rel(c.in.tree, o.File)
		if !ok {
			return nil // of the host: only the engine can see it
		}
		if c.tracked(kind, o.File) {
			return nil
		}
		id, err := contentID(o.File)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%ss.%s.file: %s does not exist", kind, name, rel)
		}
		if err == nil { // one that only others may read is the engine's to read
			c.line(kind, rel, id)
			c.aged = append(c.aged, rel)
		}
	case o.Content != "":
		c.state(kind, name, sumOf(o.Content))
	case o.Environment != "":
		value, ok := c.env[o.Environment]
		if !ok {
			return fmt.Errorf("%ss.%s.environment: variable %s is not set; the stack's .env can set it", kind, name, o.Environment)
		}
		c.state(kind, name, sumOf(value))
	}
	return nil
}

// readInFull is up to which size a file is read in full, in bytes. Of larger
// ones the beginning is, and for the rest their size and time stand.
const readInFull = 64 << 20

// contentID tells two contents of a file apart. Only a regular one has content:
// others may never end.
func contentID(full string) (string, error) {
	info, err := os.Stat(full)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file", full)
	}
	f, err := os.Open(full)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, readInFull)); err != nil {
		return "", err
	}
	if info.Size() > readInFull {
		fmt.Fprintf(h, "%d %d", info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func sumOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
