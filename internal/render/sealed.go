package render

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"golang.org/x/sys/unix"

	"github.com/korbiniankuhn/gitops-compose/internal/secrets"
)

// Files that are encrypted with sops are loaded in clear, and the clone never has
// them so. What Compose reads by itself (compose files, env files, what they include
// or extend) is decrypted into a folder of its own, which only the daemon may read and
// which is removed after the load. Everything else there is a link to the tree.

// clearPrefix begins the names of these folders, so that a start finds what a crash
// has left.
const clearPrefix = "gitops-compose-clear-"

// maxSealed is how much of a file is looked at, in bytes: more than an encrypted one
// may have.
const maxSealed = 6 << 20

// cleared is a tree with some of its files in clear. What git says of it is what it
// says of the tree.
type cleared struct {
	Tree
	dir string
	// lock is held as long as the folder is in use.
	lock  *os.File
	files map[string]bool // in clear, relative to the root
	// words are what was decrypted, which no message may have.
	words []string
}

func (c *cleared) Dir() string { return c.dir }

// close removes what is in clear.
func (c *cleared) close() error {
	if c == nil {
		return nil
	}
	return errors.Join(os.RemoveAll(c.dir), c.lock.Close())
}

// scratch makes a folder that only we may look into, and locks it.
func scratch() (dir string, lock *os.File, err error) {
	for range 10 {
		if dir, err = os.MkdirTemp("", clearPrefix); err != nil {
			return "", nil, err
		}
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real // Compose follows links itself here and there, and paths are compared
		}
		lock, err = lockFolder(dir)
		if err == nil {
			if _, err = os.Stat(dir); err == nil {
				return dir, lock, nil
			}
			_ = lock.Close()
		}
		// Another process, which begins, has swept it away before we held the lock.
	}
	return "", nil, err
}

// sweepCleared removes the folders that a crash has left.
func sweepCleared() error {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), clearPrefix+"*"))
	for _, dir := range left {
		lock, openErr := lockFolder(dir)
		if openErr != nil {
			continue // in use, or gone
		}
		err = errors.Join(err, os.RemoveAll(dir), lock.Close())
	}
	return err
}

func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// newCleared makes a tree that has nothing in clear yet.
func newCleared(tree Tree) (*cleared, error) {
	dir, lock, err := scratch()
	if err != nil {
		return nil, fmt.Errorf("make a folder for decrypted files: %w", err)
	}
	c := &cleared{Tree: tree, dir: dir, lock: lock, files: map[string]bool{}}
	if err := c.link(""); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// link fills a folder with links to what the tree has in it.
func (c *cleared) link(rel string) error {
	entries, err := os.ReadDir(filepath.Join(c.Tree.Dir(), filepath.FromSlash(rel)))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if rel == "" && e.Name() == ".git" {
			continue
		}
		name := path.Join(rel, e.Name())
		if err := os.Symlink(filepath.Join(c.Tree.Dir(), filepath.FromSlash(name)), c.at(name)); err != nil {
			return err
		}
	}
	return nil
}

func (c *cleared) at(rel string) string { return filepath.Join(c.dir, filepath.FromSlash(rel)) }

// open makes a folder, and those above it, ones of their own instead of links.
func (c *cleared) open(rel string) error {
	if rel == "." || rel == "" {
		return nil
	}
	if err := c.open(path.Dir(rel)); err != nil {
		return err
	}
	if info, err := os.Lstat(c.at(rel)); err != nil || info.IsDir() {
		return err
	}
	if err := os.Remove(c.at(rel)); err != nil {
		return err
	}
	if err := os.Mkdir(c.at(rel), 0o700); err != nil {
		return err
	}
	return c.link(rel)
}

// put puts a file there in clear.
func (c *cleared) put(rel string, text []byte) error {
	if err := c.open(path.Dir(rel)); err != nil {
		return err
	}
	if err := os.Remove(c.at(rel)); err != nil {
		return err
	}
	c.files[rel] = true
	return os.WriteFile(c.at(rel), text, 0o600)
}

// original is the tree as git has it, be it loaded from in clear.
func original(tree Tree) Tree {
	if c, ok := tree.(*cleared); ok {
		return c.Tree
	}
	return tree
}

// unseal decrypts files that a load has read, into the tree that was loaded from if
// that has others in clear already.
func (l *Loader) unseal(tree Tree, sealed []string) (*cleared, error) {
	c, ok := tree.(*cleared)
	if !ok {
		var err error
		if c, err = newCleared(tree); err != nil {
			return nil, err
		}
	}
	for _, rel := range sealed {
		text, err := readSealed(place(c.Tree, rel))
		if err != nil {
			return c, err
		}
		clear, err := secrets.Open(rel, text, l.o.Keys)
		if err != nil {
			return c, fmt.Errorf("%s: %w", rel, err)
		}
		if err := c.put(rel, clear.Content); err != nil {
			return c, err
		}
		c.words = append(c.words, clear.Values...)
	}
	return c, nil
}

// decrypt gives a file of a tree in clear, and the digest of it as it is encrypted.
func (l *Loader) decrypt(tree Tree, rel string) (text []byte, digest string, err error) {
	sealed, err := readSealed(place(tree, rel))
	if err != nil {
		return nil, "", err
	}
	if digest, err = secrets.Digest(rel, sealed); err == nil {
		text, err = secrets.Decrypt(rel, sealed, l.o.Keys)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", rel, err)
	}
	return text, digest, nil
}

// readSealed reads as much of a regular file as an encrypted one may have.
func readSealed(full string) ([]byte, error) {
	info, err := os.Stat(full)
	if err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, error(fs.ErrInvalid))
	}
	f, err := os.Open(full)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSealed))
}

// isSealed says whether a file is encrypted. One that can't be read is not, and whoever
// needs it says so.
func isSealed(full string) bool {
	text, err := readSealed(full)
	if len(text) == maxSealed && bytes.Contains(text, []byte(secrets.Mark)) {
		text, err = os.ReadFile(full) // it is refused for its size; but sops's marks are at its end
	}
	return err == nil && secrets.Encrypted(text)
}

// sealed are the encrypted files of the repository that a load has read itself, sorted,
// without those that are in clear already.
func (in *inputs) sealed() []string {
	var out []string
	for p := range in.paths {
		c, _ := in.tree.(*cleared)
		if !filepath.IsLocal(p) || in.carried[p] || c != nil && c.files[p] {
			continue
		}
		if isSealed(place(in.tree, p)) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// addKeys adds the files that the keys are in.
func (in *inputs) addKeys() {
	for _, file := range in.loader.o.Keys.Files() {
		in.add(file)
	}
}

// refuseSealed refuses a project in which something is still encrypted: a file that
// sops has not written so, or one outside of the repository, says it. It would be
// deployed as a password.
func refuseSealed(p *types.Project) error {
	if len(p.Services) == 0 {
		return nil
	}
	parts := map[string]any{}
	for name, s := range p.Services {
		parts["services."+name] = s
	}
	for name, n := range p.Networks {
		parts["networks."+name] = n
	}
	for name, v := range p.Volumes {
		parts["volumes."+name] = v
	}
	for name, c := range p.Configs {
		parts["configs."+name] = []string{c.Content, p.Environment[c.Environment]}
	}
	for name, s := range p.Secrets {
		parts["secrets."+name] = []string{s.Content, p.Environment[s.Environment]}
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		text, err := json.Marshal(parts[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if bytes.Contains(text, []byte(secrets.Mark)) {
			return fmt.Errorf("%s has a value that is still encrypted (%s...]): it comes from a file that sops did not encrypt, or that lies outside of the repository", name, secrets.Mark)
		}
	}
	return nil
}

// clearObjects are the configs and secrets of a project in clear whose files are
// encrypted, by name.
type clearObjects struct {
	configs, secrets map[string]clearObject
}

type clearObject struct {
	text   string
	digest string // of the file as it is encrypted
}

// openObjects decrypts the files of configs and secrets.
func (l *Loader) openObjects(p *types.Project, in *inputs) (o clearObjects, err error) {
	o = clearObjects{map[string]clearObject{}, map[string]clearObject{}}
	for name, c := range p.Configs {
		if err := l.openObject(in, "configs."+name, c.File, o.configs, name); err != nil {
			return o, err
		}
	}
	for name, s := range p.Secrets {
		if err := l.openObject(in, "secrets."+name, s.File, o.secrets, name); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (l *Loader) openObject(in *inputs, where, full string, to map[string]clearObject, name string) error {
	rel, inside := l.inRepository(in.tree, full)
	if full == "" || !inside {
		return nil
	}
	tree := original(in.tree)          // in the other it may be in clear, for being an env file as well
	in.addCarried(place(in.tree, rel)) // full may be its path on the host
	if info, err := os.Stat(place(tree, rel)); err == nil && info.IsDir() && rel != "" {
		m, err := l.sealedMount(in, rel) // the engine mounts a folder as well
		if err == nil && m.files != nil {
			err = fmt.Errorf("%s is encrypted, and %s a folder: name the files in it one by one, or mount it as a volume", path.Join(rel, m.files[0].below), rel)
		}
		if err != nil {
			return fmt.Errorf("%s.file: %w", where, err)
		}
		return nil
	}
	if !isSealed(place(tree, rel)) {
		return nil
	}
	in.addKeys()
	text, digest, err := l.decrypt(tree, rel)
	if err != nil {
		return fmt.Errorf("%s.file: %w", where, err)
	}
	if len(text) == 0 {
		return fmt.Errorf("%s.file: %s is empty once it is decrypted, and Compose makes no file of that", where, rel)
	}
	to[name] = clearObject{string(text), digest}
	return nil
}

// carry gives what was decrypted to the containers in the way in which Compose gives
// them what environment: names: it copies it into them before each start.
func (o clearObjects) carry(p *types.Project) {
	if len(o.configs)+len(o.secrets) == 0 {
		return
	}
	p.Environment = maps.Clone(p.Environment)
	if p.Environment == nil {
		p.Environment = types.Mapping{}
	}
	for name, c := range o.configs {
		have := p.Configs[name]
		have.File, have.Environment = "", "gitops.config."+name // no variable of a file's can be called so
		p.Environment[have.Environment] = c.text
		p.Configs[name] = have
	}
	for name, c := range o.secrets {
		have := p.Secrets[name]
		have.File, have.Environment = "", "gitops.secret."+name
		p.Environment[have.Environment] = c.text
		p.Secrets[name] = have
	}
}

// shortestWord is from how many bytes on what was decrypted is looked for in messages:
// what is shorter is in many words by chance, and is no secret that lasts.
// shortestPart is the same for parts of it, as parsers quote them.
const (
	shortestWord = 4
	shortestPart = 8
)

// secretsOf are what was decrypted for a load, or comes from SecretsDir.
func (l *Loader) secretsOf(c *cleared) []string {
	words := slices.Clone(l.env.words)
	if c != nil {
		words = append(words, c.words...)
	}
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) })
	return words
}

// withhold takes words out of a message, the longest of which come first. Where a part
// of one may be left, as parsers quote from the middle of a line, instead is said.
func withhold(words []string, text, instead string) string {
	for _, w := range words {
		for _, form := range []string{w, fmt.Sprintf("%q", w), strings.Join(strings.Fields(w), " ")} {
			if form = strings.Trim(form, `"`); len(form) >= shortestWord {
				text = strings.ReplaceAll(text, form, "***")
			}
		}
	}
	for _, w := range words {
		for i := 0; i+shortestPart <= len(w); i++ {
			if strings.Contains(text, w[i:i+shortestPart]) {
				return instead
			}
		}
	}
	return text
}

// Withhold takes what is secret in a stack out of an error of what was done with it: an
// engine quotes what it was given. What the error is stays.
func (p Project) Withhold(err error) error {
	if err == nil || len(p.words) == 0 {
		return err
	}
	text := withhold(p.words, err.Error(), "what the engine said is not shown, as it quotes something that is secret in the stack: it is in the engine's own log")
	if text == err.Error() {
		return err
	}
	return withheld{err, text}
}

type withheld struct {
	error
	text string
}

func (w withheld) Error() string { return w.text }
func (w withheld) Unwrap() error { return w.error }
