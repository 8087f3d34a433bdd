package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/consts"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// load loads one stack; what goes wrong ends in Invalid.
func (l *Loader) load(ctx context.Context, tree Tree, file string) *entry {
	return l.loadAs(ctx, tree, file, nil)
}

// loadAs loads one stack, of an earlier commit if back is not nil.
func (l *Loader) loadAs(ctx context.Context, tree Tree, file string, back *back) *entry {
	p := Project{Commit: tree.Commit(), Stack: plan.Stack{File: file, Mode: plan.Managed}}
	in, project, err := l.loadClear(ctx, tree, file)
	clear, _ := in.tree.(*cleared)
	defer func() {
		if err := clear.close(); err != nil {
			l.o.Logger.Error("decrypted files can't be removed", "stack", p.Name, "err", err)
		}
	}()
	p.Blob = in.id(file)
	if err == nil {
		p.Name = project.Name
		p.Mode = modeOf(project)
		if err = l.finish(&p, project, in, back); err != nil {
			p.compose, p.build, p.Services, p.aged = nil, nil, nil, nil // half of them, by chance
		}
		if p.Mode == plan.Ignored {
			err = nil // nobody will deploy it
		}
	} else {
		p.Name = cmp.Or(l.guessName(tree, file), file)
	}
	p.words = l.secretsOf(clear)
	quoted := file + ": it does not load with what is secret in it; what is wrong is not shown, as that quotes a secret: run docker compose config with them"
	if err != nil {
		p.Invalid = withhold(p.words, l.explain(ctx, in.tree, in, file, err), quoted)
	}
	in.tree = tree // from which the next look takes what it compares
	if p.Mode != plan.Ignored {
		for _, why := range slices.Sorted(maps.Keys(in.warnings)) {
			p.Warnings = append(p.Warnings, withhold(p.words, why, quoted))
		}
		if len(p.Warnings)+len(p.Invalid) > 0 {
			if why := in.noEnv(file); why != "" {
				p.Warnings = append(p.Warnings, why)
			}
		}
		for _, why := range slices.Sorted(maps.Keys(in.remarks)) {
			p.Warnings = append(p.Warnings, withhold(p.words, why, quoted))
		}
	}
	p.Untracked = in.untracked()
	return in.entry(p)
}

// loadClear loads a stack, and again as long as that shows that a file which was read
// is encrypted. The inputs have the tree that was loaded from: what is in clear there
// is to be closed, also after an error.
func (l *Loader) loadClear(ctx context.Context, tree Tree, file string) (*inputs, *types.Project, error) {
	began := time.Now() // what is in clear was read in a round before
	for from := tree; ; {
		in := l.newInputs(from)
		in.began = began
		in.before = l.cache[file]
		in.addFolder(path.Dir(file))
		project, err := l.loadCompose(ctx, from, file, in)
		sealed := in.sealed()
		if len(sealed) == 0 {
			return in, project, err
		}
		clear, err := l.unseal(from, sealed)
		if clear != nil {
			from, in.tree = clear, clear
		}
		if err != nil {
			in.addKeys()
			return in, nil, err
		}
	}
}

// loadCompose does what `docker compose` does in the stack's folder, with an
// environment that holds nothing but what its env files say.
func (l *Loader) loadCompose(ctx context.Context, tree Tree, file string, in *inputs) (*types.Project, error) {
	project, err := l.loadNamed(ctx, tree, file, "", in)
	if err != nil || project.WorkingDir != tree.Dir() {
		return project, err
	}
	// A project in the repository's root takes its name from the folder of the
	// clone on the host, which is not the one it is loaded from.
	if project.Name == loader.NormalizeProjectName(filepath.Base(tree.Dir())) {
		root := l.o.HostRoot
		if root == "" {
			root = l.o.Root
		}
		return l.loadNamed(ctx, tree, file, loader.NormalizeProjectName(filepath.Base(root)), in)
	}
	return project, nil
}

func (l *Loader) loadNamed(ctx context.Context, tree Tree, file, name string, in *inputs) (*types.Project, error) {
	dir := filepath.Join(tree.Dir(), filepath.FromSlash(path.Dir(file)))
	var files []string
	if l.named(tree, file) {
		files = []string{filepath.Join(dir, path.Base(file))}
	}
	vars := l.variables(tree, file)
	options, err := cli.NewProjectOptions(files,
		cli.WithWorkingDirectory(dir),
		cli.WithEnv([]string{"PWD=" + l.hostPath(tree, dir)}),
		cli.WithEnvFiles(),
		in.dotEnv(vars),
		composeFiles(vars),
		in.projectFolder(vars),
		ofAllStacks(vars),
		cli.WithDefaultProfiles(),
		cli.WithName(name),
		cli.WithResolvedPaths(true),
		cli.WithoutEnvironmentResolution,
		cli.WithLoadOptions(in.blanks.hear),
	)
	if err != nil {
		return nil, err
	}
	for _, f := range options.ConfigPaths {
		in.add(f)
	}
	if len(files) == 0 && cmp.Or(options.Environment["COMPOSE_FILE"], vars["COMPOSE_FILE"]) == "" {
		in.several(dir)
	}
	project, err := l.compose(ctx, options, in)
	if err != nil && strings.HasSuffix(err.Error(), "project name must not be empty") {
		err = fmt.Errorf("%w: of the folder's name nothing can be in one; set name: at the top of the file", err)
	}
	if err != nil {
		return nil, err
	}
	if err := enableHooks(project); err != nil && modeOf(project) != plan.Ignored {
		return nil, err
	}
	in.addProject(project)
	if modeOf(project) != plan.Ignored {
		if err := l.missing(tree, project, in); err != nil {
			return nil, err
		}
	}
	in.hearEnvFiles(project)
	return project.WithServicesEnvironmentResolved(true)
}

// several remarks that of files which Compose looks for in a folder only the first counts.
func (in *inputs) several(dir string) {
	for _, names := range [][]string{fileNames(), overrideNames()} {
		found := slices.DeleteFunc(names, func(name string) bool { return nothing(filepath.Join(dir, name)) })
		if len(found) > 1 {
			in.remarks[fmt.Sprintf("%s counts, and not %s beside it", found[0], strings.Join(found[1:], " and "))] = true
		}
	}
}

// compose gives the project as compose-go loads it. Its own loader, which is
// several times as dear, is asked where ours finds something wrong or does not
// know; it is what says what is wrong.
func (l *Loader) compose(ctx context.Context, o *cli.ProjectOptions, in *inputs) (*types.Project, error) {
	r := reader{loader: l, in: in}
	project, ours := safely(func() (*types.Project, error) { return r.project(ctx, o) })
	if ours == nil {
		return project, nil
	}
	o.WithListeners(func(event string, meta map[string]any) { in.listen(event, meta, o.WorkingDir) })
	l.library.Lock()
	defer l.library.Unlock()
	project, err := safely(func() (*types.Project, error) { return o.LoadProject(ctx) })
	if err == nil || errors.Is(ours, errUnsure) {
		in.volatile = in.volatile || in.doubtful
	}
	return project, err
}

// safely makes an error of a panic: there are files on which compose-go panics, and
// one of those must not end the daemon.
func safely[T any](do func() (T, error)) (out T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("docker compose breaks on it: %v", p)
		}
	}()
	return do()
}

// composeFiles takes the files that COMPOSE_FILE names, whose relative paths
// Compose takes from the folder that it was started in; else the folder's own. If
// that was deleted by hand, the file of a folder above, which Compose would take, is
// another stack's.
func composeFiles(given map[string]string) cli.ProjectOptionsFn {
	return func(o *cli.ProjectOptions) error {
		if len(o.ConfigPaths) > 0 {
			return nil // they are given, which comes before COMPOSE_FILE
		}
		variable := func(name string) string { return cmp.Or(o.Environment[name], given[name]) }
		list := variable("COMPOSE_FILE")
		if list == "" {
			return defaultFile(o)
		}
		for f := range strings.SplitSeq(list, cmp.Or(variable("COMPOSE_PATH_SEPARATOR"), string(os.PathListSeparator))) {
			o.ConfigPaths = append(o.ConfigPaths, filepath.Clean(absolute(o.WorkingDir, f)))
		}
		return nil
	}
}

func defaultFile(o *cli.ProjectOptions) error {
	for _, name := range fileNames() {
		if _, err := os.Stat(filepath.Join(o.WorkingDir, name)); err == nil {
			return cli.WithDefaultConfigPath(o)
		}
	}
	return nil
}

// modeOf reads the labels; they count for the whole stack, also from a
// service that its profile switches off.
func modeOf(p *types.Project) plan.Mode {
	mode := plan.Managed
	for _, services := range []types.Services{p.Services, p.DisabledServices} {
		for _, s := range services {
			if IsTrue(s.Labels[LabelIgnore]) {
				return plan.Ignored
			}
			if IsTrue(s.Labels[LabelController]) {
				mode = plan.Controller
			}
		}
	}
	return mode
}

// IsTrue says whether the value of one of our labels means yes.
func IsTrue(v string) bool {
	b, err := strconv.ParseBool(v)
	return err == nil && b
}

// guessName finds the project name of a stack that does not load, so that
// what runs of it is recognised: COMPOSE_PROJECT_NAME of its .env, else its name:
// line, else its folder, as Compose does.
func (l *Loader) guessName(tree Tree, file string) string {
	o := l.environmentOf(tree, file)
	if name := o.Environment[consts.ComposeProjectName]; name != "" && name == loader.NormalizeProjectName(name) {
		return name
	}
	dir := filepath.Base(l.hostPath(tree, o.WorkingDir))
	first := filepath.Join(tree.Dir(), filepath.FromSlash(file))
	if len(o.ConfigPaths) > 0 {
		first = o.ConfigPaths[0]
	}
	if b, err := os.ReadFile(first); err == nil {
		if m := regexp.MustCompile(`(?m)^name:[ \t]*(?:"([^"\n]*)"|'([^'\n]*)'|([^"'#\s][^#\n]*))`).FindSubmatch(b); m != nil {
			written := strings.TrimSpace(string(slices.Concat(m[1], m[2], m[3])))
			name, err := template.SubstituteWithOptions(written, o.Environment.Resolve, template.WithoutLogging)
			if name = loader.NormalizeProjectName(name); err == nil && name != "" && len(blanksIn(written, o.Environment.Resolve)) == 0 {
				return name
			}
		}
	}
	return loader.NormalizeProjectName(dir)
}

// environmentOf gives the options of a stack as far as they can be told: the
// environment, the compose files and the folder.
func (l *Loader) environmentOf(tree Tree, file string) *cli.ProjectOptions {
	dir := filepath.Join(tree.Dir(), filepath.FromSlash(path.Dir(file)))
	o := &cli.ProjectOptions{WorkingDir: dir, Environment: types.Mapping{"PWD": l.hostPath(tree, dir)}}
	if l.named(tree, file) {
		o.ConfigPaths = []string{filepath.Join(dir, path.Base(file))}
	}
	vars, in := l.env.vars, l.newInputs(tree)
	for _, step := range []cli.ProjectOptionsFn{cli.WithEnvFiles(), in.dotEnv(vars), composeFiles(vars), in.projectFolder(vars), ofAllStacks(vars)} {
		_ = step(o) // it does not load for some reason
	}
	return o
}

// explain makes an error readable: paths as they are in the repository, one
// line, beginning with the compose file unless it names one.
func (l *Loader) explain(ctx context.Context, tree Tree, in *inputs, file string, err error) string {
	var pathErr *os.PathError
	text := err.Error()
	if errors.As(err, &pathErr) && errors.Is(err, os.ErrPermission) {
		text = fmt.Sprintf("%s; the daemon runs as user %d and may not read it", text, os.Getuid())
	}
	for _, root := range []string{tree.Dir(), original(tree).Dir(), l.o.Root, l.realRoot} {
		text = strings.ReplaceAll(text, root+string(filepath.Separator), "")
		text = strings.ReplaceAll(text, root, ".")
	}
	text = strings.Join(strings.Fields(tell(text)), " ")
	if dir := path.Dir(file) + "/"; !strings.Contains(text, file) && (dir == "./" || !strings.Contains(text, dir)) {
		text = in.culprit(ctx, file, err) + ": " + text
	}
	var missing missingError
	if errors.As(err, &missing) {
		text += missing.where
	}
	return text
}
