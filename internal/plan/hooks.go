package plan

import (
	"fmt"
	"slices"
	"time"
)

// Hooks are services that run once around an update, to their end. They are no part of
// what runs otherwise. Each run is a container of its own, which is removed after it; a
// hook that has succeeded may be run again (after a kill, a retry), and has to bear that.
//
//	what is planned                                          before       after
//	---------------                                          ------       -----
//	a stack that is new or has moved, a change in git or of
//	a tag that is watched                                    runs         runs
//	the same again, as its after hook has not succeeded      -            runs
//	a repair of what has drifted                             -            -
//	going back to the last good version                      -            -
//	an update of some services of the daemon's own stack     -            -
type Hooks struct {
	// Before run one after the other from the new images, when all images are here and
	// before the first container is stopped. If one fails, nothing is touched.
	Before []Service `json:",omitempty"`
	// After run one after the other when the stack is up. If one fails, the update has
	// failed, as if a container were unhealthy.
	After []Service `json:",omitempty"`
	// Timeout is how long each may take; 0 for as long as a stack may take to come up.
	Timeout time.Duration `json:",omitempty"`
}

// HookKind says which of its stack's hooks a container is a run of.
type HookKind string

// The kinds of hooks.
const (
	BeforeHook HookKind = "before"
	AfterHook  HookKind = "after"
)

// All are the services of the hooks; one that is both is there once.
func (h Hooks) All() []Service {
	all := slices.Clone(h.Before)
	for _, svc := range h.After {
		if !slices.ContainsFunc(all, func(v Service) bool { return v.Name == svc.Name }) {
			all = append(all, svc)
		}
	}
	return all
}

// Has says whether a service runs as a hook.
func (h Hooks) Has(service string) bool {
	return slices.ContainsFunc(h.All(), func(v Service) bool { return v.Name == service })
}

// runHooks decides which hooks an Up has.
func (b *builder) runHooks(s Stack, op *Op, diffs []Difference) {
	if op.Services != nil || op.Cause.Why == Drifted || op.Cause.Why == RolledBack {
		return
	}
	op.Hooks = hookNames(s.Hooks.After)
	if !slices.ContainsFunc(diffs, func(d Difference) bool { return !d.aside }) {
		return
	}
	if names := hookNames(s.Hooks.Before); names != nil {
		b.hooked[s.Name] = names
	}
}

func hookNames(hooks []Service) (names []string) {
	for _, svc := range hooks {
		names = append(names, svc.Name)
	}
	return names
}

// unpassed says whether a version was begun whose after hooks have not succeeded.
func (r Record) unpassed(s Stack) bool {
	return len(s.Hooks.After) > 0 && s.Back == nil && r.Tried == s.Digest && r.Applied != s.Digest
}

// ready is the last operation before a stack's containers are touched, if there is one:
// its before hook, or else its pull.
func (b *builder) ready(stack string) ID {
	if _, hooks := b.hooked[stack]; hooks {
		return idOf(Before, stack)
	}
	return idOf(Pull, stack)
}

// awaited says whether who gives something up to a stack does so only when that stack is
// ready: always if it has a before hook, which runs before anything is stopped for it.
func (b *builder) awaited(stack string, d dep) bool {
	_, hooks := b.hooked[stack]
	return d.images || hooks
}

// addBefore adds the before hooks of Ups. They are shown with them.
func (b *builder) addBefore(g *graph) {
	for name, hooks := range b.hooked {
		up := b.up[name]
		id := idOf(Before, name)
		g.ops[id] = &Op{ID: id, Kind: Before, Stack: name, File: up.File, Cause: up.Cause, Hooks: hooks}
	}
}

func (b *builder) showBefore(g *graph, stack string) {
	if id := idOf(Before, stack); g.ops[id] != nil {
		g.ids = append(g.ids, id)
	}
}

// dependants are the projects whose stacks depended on one that goes.
func (b *builder) dependants(name string) []string {
	var out []string
	for project := range b.stop {
		if s, known := b.ix.before.find(b.fileOf(b.running.at(project))); known && slices.Contains(s.DependsOn, name) {
			out = append(out, project)
		}
	}
	slices.Sort(out)
	return out
}

// orderBefore says what before hooks come after. They may need what other stacks make,
// unless those in turn wait for what the hook lets go.
func (b *builder) orderBefore(g *graph) {
	for _, name := range sortedKeys(b.hooked) {
		op := g.ops[idOf(Before, name)]
		g.after(op, After{ID: idOf(Pull, name)})
		for _, req := range b.wanted.at(name).needs() {
			up := idOf(Up, b.providers()[req].Name)
			if _, comes := g.ops[up]; comes && !g.reaches(up, op.ID) {
				g.after(op, After{ID: up})
			}
		}
	}
}

// reaches says whether an operation comes after another one, through others too.
func (g *graph) reaches(id, other ID) bool {
	seen := map[ID]bool{}
	var visit func(ID) bool
	visit = func(id ID) bool {
		if id == other {
			return true
		}
		if seen[id] {
			return false
		}
		seen[id] = true
		return slices.ContainsFunc(g.ops[id].After, func(a After) bool { return visit(a.ID) })
	}
	return visit(id)
}

// lacksStack says what of a stack that another one depends on is not there.
func (b *builder) lacksStack(name string, of Stack) string {
	if of.Name == "" {
		return fmt.Sprintf("it depends on stack %s (x-gitops.depends_on), which git does not have", name)
	}
	return fmt.Sprintf("it depends on stack %s (x-gitops.depends_on), which does not run%s", name, b.because(of.File))
}

// thereStack says whether there is what others depend on of a stack: it runs, or has
// nothing to run.
func (b *builder) thereStack(name string) bool {
	s, wanted := b.wanted.find(name)
	return hasContainers(b.running.at(name)) || wanted && s.Invalid == "" && (s.Mode == Ignored || !slices.ContainsFunc(s.Services, func(v Service) bool { return v.Scale > 0 }))
}
