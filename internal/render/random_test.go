package render_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// file is what a commit has under a name.
type file struct {
	text string // of a link, where it leads
	link bool
}

type files map[string]file

// snapshot shows a commit as the repository does: in the clone, or staged, with
// links to what is the same there and to what is untracked.
type snapshot struct {
	files  files
	ids    map[string]string
	dir    string
	edited map[string]bool
}

func (s snapshot) Commit() string       { return s.ids[""] }
func (s snapshot) Dir() string          { return s.dir }
func (s snapshot) ID(p string) string   { return s.ids[strings.Trim(path.Clean("/"+p), "/")] }
func (s snapshot) Edited(p string) bool { return s.edited[strings.Trim(path.Clean("/"+p), "/")] }

func (s snapshot) Find(names ...string) []string {
	var out []string
	for p := range s.files {
		if isNamed(names, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// idsOf are those of git: a link has that of a file with the same text, a folder
// knows which is which.
func idsOf(fs files) map[string]string {
	ids, lines := map[string]string{}, map[string][]string{}
	sum := func(text string) string {
		s := sha256.Sum256([]byte(text))
		return hex.EncodeToString(s[:20])
	}
	for p, f := range fs {
		ids[p] = sum(f.text)
		for dir := p; dir != ""; {
			if dir = path.Dir(dir); dir == "." {
				dir = ""
			}
			lines[dir] = append(lines[dir], fmt.Sprint(p, f.link, ids[p]))
		}
	}
	for dir, list := range lines {
		slices.Sort(list)
		ids[dir] = sum(strings.Join(list, "\n"))
	}
	return ids
}

// world is a clone at one commit, a remote at another, and files of the host.
type world struct {
	*testing.T
	r            *rand.Rand
	clone, out   string
	stages       string
	head, remote files
	clock        time.Time
	times        map[string]time.Time // of what the last checkouts wrote
	staged       int
	vars         map[string]string // of all stacks
}

func newWorld(t *testing.T, seed uint64) *world {
	dir := t.TempDir()
	w := &world{
		T: t, r: rand.New(rand.NewPCG(seed, 0)),
		clone: filepath.Join(dir, "clone"), out: filepath.Join(dir, "out"), stages: filepath.Join(dir, "clone/.git/stage"),
		head: files{}, remote: files{}, clock: time.Unix(1_000_000_000, 0), times: map[string]time.Time{},
	}
	for _, d := range []string{w.stages, w.out} {
		w.ok(os.MkdirAll(d, 0o755))
	}
	for range 25 {
		w.commit()
	}
	w.checkout()
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// put writes a file; whatever was there goes. Each has another time, and so have
// the folders.
func (w *world) put(full string, f file) {
	w.Helper()
	w.remove(full)
	for dir := filepath.Dir(full); len(dir) > 1; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			w.remove(dir)
		}
	}
	w.ok(os.MkdirAll(filepath.Dir(full), 0o755))
	if f.link {
		w.ok(os.Symlink(f.text, full))
	} else {
		w.ok(os.WriteFile(full, []byte(f.text), 0o644))
		w.touch(full)
	}
	w.touch(filepath.Dir(full))
}

func (w *world) remove(full string) {
	w.Helper()
	if _, err := os.Lstat(full); err != nil {
		return
	}
	w.ok(os.RemoveAll(full))
	w.touch(filepath.Dir(full))
	if filepath.Dir(full) != w.clone && filepath.Dir(full) != w.out && os.Remove(filepath.Dir(full)) == nil { // git keeps no empty folder
		w.touch(filepath.Dir(filepath.Dir(full)))
	}
}

func (w *world) touch(full string) {
	w.Helper()
	w.clock = w.clock.Add(time.Second)
	w.ok(os.Chtimes(full, w.clock, w.clock))
}

func one[T any](w *world, list ...T) T { return list[w.r.IntN(len(list))] }

// name is a path that stacks look at.
func (w *world) name() string {
	dir := one(w, "a", "b", "c", "deep/d")
	return one(w,
		dir+"/compose.yaml", dir+"/compose.yaml", dir+"/compose.yaml", dir+"/compose.yml", dir+"/docker-compose.yml",
		dir+"/compose.override.yaml", dir+"/.env", dir+"/.env", dir+"/app.env", dir+"/opt.env", dir+"/labels", dir+"/c.conf", dir+"/conf/x", dir+"/conf/x", dir+"/conf", "deep/link", dir+"/src/Dockerfile",
		"shared/app.env", "shared/app.env", "shared/key", "shared/.env", "inc/i.yaml", "inc/i.yaml", "inc/j.yaml", "inc/.env", "base/b.yaml", "base/b.yaml", "base/b.env", "compose.yaml", "deep/link", ".gitopsignore")
}

// content is one that a path may have.
func (w *world) content(name string) file {
	up := strings.Repeat("../", strings.Count(name, "/"))
	if w.r.IntN(8) == 0 && name != ".gitopsignore" { // that can't be a folder
		return file{text: one(w, up+"shared/app.env", up+"shared", up+"a/compose.yaml", "nowhere", up+"a", w.out+"/out.env", up+"shared/key", up+"base/b.yaml"), link: true}
	}
	text := ""
	switch base := path.Base(name); {
	case base == "compose.override.yaml":
		text = one(w, "services: {app: {command: x}}", "services: {app: {image: 'o:${TAG:-1}'}}", "services: {app: {env_file: opt.env}}", "services: {x: 1}")
	case base == ".gitopsignore":
		text = one(w, "a", "/b/\n*.yml", "*\n!/*\n!c/**", "inc", "")
	case base == ".env":
		text = one(w, "TAG=1", "TAG=2", "TOKEN=1", "COMPOSE_FILE=compose.yaml:UPinc/i.yaml", "COMPOSE_PROJECT_NAME=same", "A B", "COMPOSE_FILE=opt.yaml", "TOKEN=2\nTAG=3")
	case base == "i.yaml":
		text = one(w, "services: {inc: {image: 'i:${TAG:-1}'}}", "services: {inc: {image: i, env_file: ./x.env}}", "include: [j.yaml]\nservices: {inc: {image: 'i:${A:-1}'}}", "services: {inc: {extends: {file: ../base/b.yaml, service: b}}}", "services: {inc: 1}", "")
	case base == "j.yaml":
		text = one(w, "services: {j: {image: 'j:${TAG:-1}'}}", "services: {j: {image: j, volumes: ['../shared:/s']}}")
	case base == "b.yaml":
		text = one(w, "services: {b: {image: b}}", "services: {b: {image: b, env_file: b.env}}", "services: {b: {image: b, configs: [c]}}\nconfigs: {c: {file: ./c.conf}}", "services: {b: {extends: {file: UPinc/i.yaml, service: inc}}}")
	case strings.HasSuffix(base, ".yaml"), strings.HasSuffix(base, ".yml"):
		text = one(w,
			"services: {app: {image: 'web:${TAG:-1}'}}",
			"name: same\nservices: {app: {image: x}}",
			"services: {app: {image: a, env_file: [app.env, {path: opt.env, required: false}]}}",
			"services: {app: {image: a, env_file: UPshared/app.env}}",
			"include: [UPinc/i.yaml]\nservices: {app: {image: a}}",
			"include: [UPinc/i.yaml]",
			"include: [{path: UPinc/i.yaml, env_file: UPshared/app.env}]\nservices: {app: {image: a}}",
			"include: [{path: UPinc/j.yaml, project_directory: UPshared}]\nservices: {app: {image: a}}",
			"services: {app: {extends: {file: UPbase/b.yaml, service: b}}}",
			"services: {app: {image: a, label_file: labels}}",
			"services: {app: {image: a, configs: [c], secrets: [s]}}\nconfigs: {c: {file: ./c.conf}}\nsecrets: {s: {file: UPshared/key}}",
			"services: {app: {image: a, secrets: [t]}}\nsecrets: {t: {environment: TOKEN}}",
			"services: {app: {image: a, volumes: ['./conf:/c', 'UPshared:/s', './data:/d', 'OUT/data:/o']}}",
			"services: {app: {image: a, volumes: ['./conf/x:/x:ro', 'UPdeep/link:/l']}}",
			"services: {app: {image: a, volumes: ['./conf:/c:ro']}}",
			"services: {app: {image: a, volumes: ['./conf/x:/x:ro', 'UPdeep/link:/l']}}",
			"services: {app: {build: ./src}}",
			"services: {app: {build: {context: ./src, additional_contexts: {s: UPshared}}}}",
			"services: {app: {image: a, env_file: OUT/out.env}}",
			"include: [OUT/i.yaml]\nservices: {app: {image: a}}",
			"services: {app: {image: a, networks: [n]}}\nnetworks: {n: {external: true, name: b_default}}",
			"services: {app: {image: a, labels: {gitops.ignore: 'true'}}}",
			"services: {app: {image: a, env_file: UPdeep/link/app.env}}",
			"services: {app: {image: 'a:${TAG}', environment: [TOKEN, ALL], volumes: ['${ALL}/x:/x', '~/y:/y']}}",
			"services: {app: {image: a, volumes: ['./conf:/c', '${TAG}/x:/x'], labels: !override [a=b]}}",
			"services: [", "services: {app: {image: 1}}")
	default:
		text = one(w, "A=1", "A=2", "A=3\nTAG=7", "B=1", "no = 1 '")
	}
	return file{text: strings.NewReplacer("UP", up, "OUT", w.out).Replace(text)}
}

// commit changes what the remote has.
func (w *world) commit() string {
	fs := maps.Clone(w.remote)
	if dir := one(w, "a", "b", "c"); w.r.IntN(15) == 0 { // a move
		to := one(w, "a", "b", "c", "new")
		for p, f := range w.remote {
			if rest, ok := strings.CutPrefix(p, dir+"/"); ok {
				delete(fs, p)
				fs[to+"/"+rest] = f
			}
		}
		w.remote = fs
		return "move " + dir + " to " + to
	}
	name := w.name()
	if _, ok := fs[name]; ok && w.r.IntN(4) == 0 {
		delete(fs, name)
		w.remote = fs
		return "delete " + name
	}
	f := w.content(name)
	for p := range fs {
		if strings.HasPrefix(p, name+"/") || strings.HasPrefix(name, p+"/") {
			delete(fs, p)
		}
	}
	fs[name] = f
	w.remote = fs
	return fmt.Sprintf("commit %s: %q", name, f.text)
}

// checkout brings the clone to the remote's commit; edits go.
func (w *world) checkout() string {
	edited := w.edited()
	for p := range w.head {
		if _, ok := w.remote[p]; !ok {
			w.remove(filepath.Join(w.clone, p))
		}
	}
	for p, f := range w.remote {
		if old, ok := w.head[p]; !ok || old != f || edited[p] {
			w.put(filepath.Join(w.clone, p), f)
			w.timed(p, f, ok && old == f)
		}
	}
	w.head = w.remote
	return "checkout"
}

// edited are the files that are not as the head has them, and their folders.
func (w *world) edited() map[string]bool {
	out := map[string]bool{}
	for p, f := range w.head {
		full := filepath.Join(w.clone, p)
		text, same := "", false
		if info, err := os.Lstat(full); err == nil && info.Mode()&os.ModeSymlink != 0 {
			text, _ = os.Readlink(full)
			same = f.link
		} else if err == nil && info.Mode().IsRegular() {
			b, _ := os.ReadFile(full)
			text, same = string(b), !f.link
		}
		if same && text == f.text && w.real(p) {
			continue
		}
		for ; p != "."; p = path.Dir(p) {
			out[p] = true
		}
		out[""] = true
	}
	return out
}

// timed notes the time of what a checkout wrote, or gives a file that is the same
// again the time that it had: another time alone is seen with the next commit.
func (w *world) timed(name string, f file, same bool) {
	if f.link {
		return
	}
	full := filepath.Join(w.clone, name)
	if at, ok := w.times[name]; same && ok {
		w.ok(os.Chtimes(full, at, at))
		return
	}
	info, err := os.Stat(full)
	w.ok(err)
	w.times[name] = info.ModTime()
}

// conflict says whether what the remote changes was changed by hand: a checkout
// would be refused, and what is staged of it is new each time.
func (w *world) conflict() bool {
	edited := w.edited()
	for p, f := range w.remote {
		if edited[p] && w.head[p] != f {
			return true
		}
	}
	return false
}

// real says whether no folder on the way to a path is a link.
func (w *world) real(p string) bool {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if info, err := os.Lstat(filepath.Join(w.clone, dir)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// hand changes something in the clone by hand, or outside.
func (w *world) hand() string {
	if w.r.IntN(8) == 0 {
		w.vars = one(w, nil, map[string]string{"ALL": "/srv"}, map[string]string{"ALL": "/srv", "TAG": "9", "HOME": "/home/bob"}, map[string]string{"TOKEN": "3"})
		return fmt.Sprint("give all stacks ", w.vars)
	}
	if w.r.IntN(6) == 0 {
		name := one(w, "out.env", "i.yaml", ".env", "data/x")
		if w.r.IntN(3) == 0 {
			w.remove(filepath.Join(w.out, name))
			return "delete outside " + name
		}
		w.put(filepath.Join(w.out, name), w.content(name))
		return "write outside " + name
	}
	name := w.name()
	full := filepath.Join(w.clone, name)
	if !w.real(name) {
		return "nothing"
	}
	f, tracked := w.head[name]
	switch w.r.IntN(4) {
	case 0:
		w.remove(full)
		return "delete by hand " + name
	case 1:
		if tracked {
			w.put(full, f)
			w.timed(name, f, true)
			return "restore " + name
		}
	}
	f = w.content(name)
	w.put(full, f)
	if was, ok := w.head[name]; ok && was == f {
		w.timed(name, f, true)
	}
	return fmt.Sprintf("write by hand %s: %q", name, f.text)
}

// noise is what concerns no stack.
func (w *world) noise() string {
	name := one(w, "b/README.md", "docs/x", "deep/d/notes", "README.md") // no link leads there
	if w.r.IntN(2) == 0 && w.real(name) {
		w.put(filepath.Join(w.clone, name+".local"), file{text: fmt.Sprint(w.r.Int())})
		return "noise"
	}
	for p := name; p != "."; p = path.Dir(p) {
		if _, taken := w.remote[p]; taken {
			return "noise"
		}
	}
	w.remote = maps.Clone(w.remote)
	w.remote[name] = file{text: fmt.Sprint(w.r.Int())}
	return "noise"
}

func (w *world) local() snapshot {
	return snapshot{files: w.head, ids: idsOf(w.head), dir: w.clone, edited: w.edited()}
}

// stage shows the remote's commit beside the clone.
func (w *world) stage() snapshot {
	w.staged++
	s := snapshot{files: w.remote, ids: idsOf(w.remote), dir: filepath.Join(w.stages, fmt.Sprint(w.staged)), edited: w.edited()}
	head := idsOf(w.head)
	w.ok(os.Mkdir(s.dir, 0o755))
	w.stageFolder(s, head, "")
	return s
}

func (w *world) stageFolder(s snapshot, head map[string]string, dir string) {
	names := map[string]bool{}
	below := func(fs files) (out []string) {
		for p := range fs {
			if rest, ok := strings.CutPrefix(p, dir); ok {
				name, _, _ := strings.Cut(rest, "/")
				out = append(out, name)
			}
		}
		return out
	}
	tracked := slices.Concat(below(s.files), below(w.head))
	for _, name := range tracked {
		names[name] = true
	}
	if entries, err := os.ReadDir(filepath.Join(w.clone, dir)); err == nil && w.real(dir+"x") {
		for _, e := range entries {
			names[e.Name()] = true
		}
	}
	delete(names, ".git")
	for name := range names {
		p := dir + name
		in, at := filepath.Join(w.clone, p), filepath.Join(s.dir, p)
		f, isFile := s.files[p]
		old, was := w.head[p]
		_, inClone := os.Lstat(in)
		switch {
		case isFile && was && old == f && !f.link:
			if inClone == nil {
				w.ok(os.Symlink(in, at))
			}
		case isFile && was && old == f && inClone != nil: // deleted by hand
		case isFile:
			w.put(at, f)
		case s.ids[p] != "" && s.ids[p] == head[p] && !s.hasLinks(p):
			if inClone == nil {
				w.ok(os.Symlink(in, at))
			}
		case s.ids[p] != "" || head[p] != "" && !was:
			w.ok(os.MkdirAll(at, 0o755))
			w.stageFolder(s, head, p+"/")
			if s.ids[p] == "" {
				_ = os.Remove(at)
			}
		case !slices.Contains(tracked, name):
			w.ok(os.Symlink(in, at))
		}
	}
}

func (s snapshot) hasLinks(dir string) bool {
	for p, f := range s.files {
		if f.link && strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}

func (w *world) loader() *render.Loader {
	return render.New(render.Options{
		Root: w.clone, HostRoot: "/srv/stacks", HostHome: "/home/ann", Repository: "r", Hasher: engine.Hasher{},
		Environment: func() (map[string]string, error) { return w.vars, nil },
	}).WithoutTick()
}

// shown is all that is to be seen of a project.
type shown struct {
	Stack          any
	Compose, Build any
}

func show(p render.Project) shown {
	s := shown{Stack: beside(p)}
	if c, err := p.Compose(); err == nil {
		s.Compose = c
	}
	if c, err := p.BuildContext(); err == nil {
		s.Build = c
	}
	return s
}

// beside is the stack beside containers that a person started, so that the times of
// files show.
func beside(p render.Project) plan.Stack {
	var r plan.Running
	for _, svc := range p.Services {
		r.Containers = append(r.Containers, plan.Container{Service: svc.Name, Name: svc.Name, Hash: svc.Bare})
	}
	s, err := p.ByHand(r)
	if err != nil {
		panic(err) // engine.Hasher has none
	}
	return s
}

func (w *world) compare(what string, l *render.Loader, tree render.Tree) {
	w.Helper()
	kept := load(w, l, tree)
	fresh := load(w, w.loader().SameSums(l), tree)
	for file := range fresh {
		got := show(kept[file])
		for i := 0; ; i++ {
			want := show(fresh[file])
			if reflect.DeepEqual(got, want) {
				break
			}
			// Of two mistakes compose-go names one by chance.
			if fresh[file].Invalid == "" || kept[file].Invalid == "" || i == 20 {
				w.Fatalf("after %s\n%s is kept otherwise than a fresh loader gives it:\n%s", what, file, cmp.Diff(want, got))
			}
			fresh = load(w, w.loader().SameSums(l), tree)
		}
	}
	for file, p := range load(w, w.loader().SameSums(l).ByLibrary(), tree) {
		if want, got := show(p), show(kept[file]); (p.Invalid == "" || kept[file].Invalid == "") && !reflect.DeepEqual(got, want) {
			w.Fatalf("after %s\n%s is otherwise than compose-go gives it:\n%s", what, file, cmp.Diff(want, got))
		}
	}
	if len(kept) != len(fresh) {
		w.Fatalf("after %s: %d stacks, a fresh loader finds %d", what, len(kept), len(fresh))
	}
}

// What is kept of earlier loads never shows: whatever changed, stacks are as a
// loader gives them that has never seen another commit.
func TestALongLivedLoaderGivesWhatAFreshOneGives(t *testing.T) {
	for _, seed := range []uint64{0, 2, 7} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			l := w.loader()
			var did []string
			for range 40 {
				quiet := false
				switch n := w.r.IntN(10); {
				case n < 3:
					did = append(did, w.commit())
				case n < 7:
					did = append(did, w.hand())
				case n < 8:
					did = append(did, w.checkout())
				default:
					quiet = true
					did = append(did, w.noise())
				}
				before := l.Loads()
				local, remote := w.local(), w.stage()
				what := strings.Join(did, "\n")
				w.compare(what, l, local)
				w.compare(what, l, remote)
				if n := l.Loads() - before; quiet && len(did) > 1 && !w.conflict() && n > 0 {
					t.Errorf("after %s\n%d stacks were loaded though none changed", what, n)
				}
				// What could not be looked at is loaded once more, to be sure.
				load(t, l, local)
				load(t, l, remote)
				before = l.Loads()
				load(t, l, local)
				load(t, l, remote)
				if n := l.Loads() - before; n > 0 {
					t.Errorf("after %s\n%d stacks were loaded again and again", what, n)
				}
			}
		})
	}
}
