package reconcile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// MissingFolders says what a stack mounts that is not there: the engine makes a folder
// of it. Of the host outside of the clone only a process that sees it can tell; others
// are not to guess.
func MissingFolders(s plan.Stack, clone string, seesHost bool) []string {
	var notes []string
	note := func(service, shown, full string) {
		if _, err := os.Lstat(full); errors.Is(err, os.ErrNotExist) {
			notes = append(notes, fmt.Sprintf("services.%s mounts %s, which is not there: the engine makes it, as a folder of root's", service, shown))
		}
	}
	for _, svc := range s.Services {
		for _, m := range svc.Mounts {
			switch {
			case m.Type == plan.MountClone:
				note(svc.Name, "./"+m.Source, filepath.Join(clone, filepath.FromSlash(m.Source)))
			case m.Type == plan.MountHost && seesHost:
				note(svc.Name, m.Source, m.Source)
			}
		}
	}
	return slices.Compact(notes)
}

// warnMissing adds to the warnings of stacks that are held what they mount and is not
// there. Others come up, and then it is there.
func (v *view) warnMissing(clone string, seesHost bool) {
	if v.heads.Local != v.heads.Remote {
		return // the files may come with the checkout
	}
	for i := range v.plan.Views {
		w := &v.plan.Views[i]
		if w.Held == nil || w.Wanted == nil || w.Wanted.Mode == plan.Ignored {
			continue
		}
		if notes := MissingFolders(*w.Wanted, clone, seesHost); len(notes) > 0 {
			s := *w.Wanted
			s.Warnings = slices.Concat(s.Warnings, notes)
			w.Wanted, v.missing = &s, true
		}
	}
}
