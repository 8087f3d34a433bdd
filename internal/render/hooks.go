package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// Extension is the top-level section of a compose file that is ours. Compose leaves
// out what begins with x-.
const Extension = "x-gitops"

// extension is what it says.
type extension struct {
	before, after, dependsOn []string
	timeout                  time.Duration
}

// hooks are the names of the services in before and after, sorted.
func (x extension) hooks() []string {
	all := slices.Concat(x.before, x.after)
	slices.Sort(all)
	return slices.Compact(all)
}

// extensionOf reads the section.
func extensionOf(p *types.Project) (x extension, err error) {
	section, ok := p.Extensions[Extension]
	if !ok || section == nil {
		return x, nil
	}
	entries, ok := section.(map[string]any)
	if !ok {
		return x, fmt.Errorf("%s: want a mapping with before, after, timeout and depends_on", Extension)
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		value := entries[key]
		switch key {
		case "before":
			x.before, err = names(value)
		case "after":
			x.after, err = names(value)
		case "depends_on":
			if x.dependsOn, err = names(value); err == nil {
				slices.Sort(x.dependsOn)
				x.dependsOn = slices.Compact(x.dependsOn)
			}
		case "timeout":
			x.timeout, err = hookTimeout(value)
		default:
			err = errors.New("there is no such key; known are before, after, timeout and depends_on")
		}
		if err != nil {
			return x, fmt.Errorf("%s.%s: %w", Extension, key, err)
		}
	}
	if slices.Contains(x.dependsOn, p.Name) {
		return x, fmt.Errorf("%s.depends_on: the stack can't depend on itself", Extension)
	}
	return x, nil
}

// names reads one name or a list of them, each of which is there once.
func names(value any) ([]string, error) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var all []string
	for _, v := range list {
		name, ok := v.(string)
		if !ok || name == "" {
			return nil, fmt.Errorf("want a name or a list of names, and not %v", v)
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all, nil
}

func hookTimeout(value any) (time.Duration, error) {
	text, _ := value.(string)
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("want a time like 90s or 30m, and not %v", value)
	}
	return d, nil
}

// enableHooks makes services that run as hooks active, whatever their profiles are: a
// profile keeps docker compose up from starting them.
func enableHooks(p *types.Project) error {
	x, err := extensionOf(p)
	if err != nil {
		return err
	}
	for _, name := range x.hooks() {
		if s, ok := p.DisabledServices[name]; ok {
			p.Services[name] = s
			delete(p.DisabledServices, name)
		}
	}
	return x.fits(p)
}

// fits refuses hooks that can't be.
func (x extension) fits(p *types.Project) error {
	for _, name := range x.hooks() {
		where := Extension + ".before"
		if !slices.Contains(x.before, name) {
			where = Extension + ".after"
		}
		s, ok := p.Services[name]
		switch {
		case !ok:
			return fmt.Errorf("%s: there is no service %s", where, name)
		case !completes(s):
			return fmt.Errorf("%s: service %s is restarted when it has ended, and a hook is to end; take its restart policy away", where, name)
		}
		for _, other := range p.Services {
			_, waits := other.DependsOn[name]
			switch {
			case slices.Contains(x.hooks(), other.Name):
			case slices.Contains(follows(other), name):
				return fmt.Errorf("%s: service %s lives in the namespaces, or with the volumes, of %s, which runs only as a hook", where, other.Name, name)
			case waits && !slices.Contains(x.before, name):
				return fmt.Errorf("%s: service %s depends on %s, which runs after it", where, other.Name, name)
			}
		}
	}
	if len(x.hooks()) > 0 && modeOf(p) == plan.Controller {
		return fmt.Errorf("%s: the daemon's own stack can have no hooks", Extension)
	}
	return nil
}

// WithHooks is the project with the services that run as its hooks among the others.
func (p Project) WithHooks() Project {
	hooks := p.Hooks.All()
	if p.withHooks || len(hooks) == 0 {
		return p
	}
	p.withHooks = true
	p.Services = append(slices.Clone(p.Services), hooks...)
	slices.SortFunc(p.Services, func(a, b plan.Service) int { return strings.Compare(a.Name, b.Name) })
	return p
}

// take makes hooks of those of a project's services that are to run as such.
func (x extension) take(p *Project, services map[string]plan.Service) {
	of := func(names []string) (hooks []plan.Service) {
		for _, name := range names {
			hook := services[name]
			hook.Every = 0 // a tag that moves is no reason to run it
			hooks = append(hooks, hook)
		}
		return hooks
	}
	p.DependsOn = x.dependsOn
	p.Hooks = plan.Hooks{Before: of(x.before), After: of(x.after), Timeout: x.timeout}
	if len(x.hooks()) == 0 {
		p.Hooks.Timeout = 0
	}
}
