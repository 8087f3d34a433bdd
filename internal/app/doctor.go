package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/reconcile"
)

// Diagnosis is what stands in the way of the stacks on this host.
type Diagnosis struct {
	// Stacks is how many stacks there are.
	Stacks int
	// Offline says why the remote could not be asked; then the clone's head was
	// looked at. Empty if it was.
	Offline  string
	Findings []Finding
}

// Finding is what there is to say of one stack.
type Finding struct {
	Stack, File string
	// Problems keep it from being as git wants it, Notes do not.
	Problems, Notes []string
}

// Well says whether nothing stands in the way.
func (d Diagnosis) Well() bool {
	return d.Offline == "" && !slices.ContainsFunc(d.Findings, func(f Finding) bool { return len(f.Problems) > 0 })
}

// String gives a paragraph for each stack with something to say, and a line that
// sums up.
func (d Diagnosis) String() string {
	var b strings.Builder
	if d.Offline != "" {
		fmt.Fprintf(&b, "the remote can't be asked: %s\nwhat the clone has is looked at\n\n", d.Offline)
	}
	held := 0
	for _, f := range d.Findings {
		if len(f.Problems) > 0 {
			held++
		}
		name := f.Stack
		if f.File != "" && f.File != f.Stack {
			name = strings.TrimSpace(name + " (" + f.File + ")")
		}
		fmt.Fprintf(&b, "%s\n", name)
		for _, p := range f.Problems {
			fmt.Fprintf(&b, "  %s\n", p)
		}
		for _, n := range f.Notes {
			fmt.Fprintf(&b, "  note: %s\n", n)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%d of %d stacks can't be as git wants them\n", held, d.Stacks)
	return b.String()
}

// Doctor says what stands in the way of the stacks of a repository on this host:
// what a look would hold, and what may not be meant. It touches nothing.
func Doctor(ctx context.Context, o Options) (d Diagnosis, err error) {
	parts, err := open(ctx, o, true, nil)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, undo(parts.teardown)) }()
	p, offline, err := parts.dry(o).Examine(ctx)
	if err != nil {
		return d, err
	}
	d = diagnose(p, parts.clone.Path, parts.seesHost())
	if offline != nil {
		d.Offline = offline.Error()
	}
	return d, nil
}

// diagnose takes from a plan what stands in the way.
func diagnose(p plan.Plan, clone string, seesHost bool) (d Diagnosis) {
	at := map[string]int{}
	of := func(stack, file string) *Finding {
		key := stack + "\x00" + file
		i, ok := at[key]
		if !ok {
			i = len(d.Findings)
			at[key], d.Findings = i, append(d.Findings, Finding{Stack: stack, File: file})
		}
		return &d.Findings[i]
	}
	for _, h := range p.Held {
		if !passing(h.Reason) {
			f := of(h.Stack, h.File)
			f.Problems = append(f.Problems, string(h.Reason)+": "+h.Detail)
		}
	}
	for _, v := range p.Views {
		if v.Wanted == nil {
			continue
		}
		d.Stacks++
		notes := slices.Clone(v.Wanted.Warnings)
		if p.From == p.To { // else the files of the stack may not be there yet
			notes = union(notes, reconcile.MissingFolders(*v.Wanted, clone, seesHost))
		}
		if len(notes) > 0 {
			f := of(v.Name, v.File)
			f.Notes = append(f.Notes, notes...)
		}
	}
	slices.SortStableFunc(d.Findings, func(a, b Finding) int { return strings.Compare(a.Stack+a.File, b.Stack+b.File) })
	return d
}

// union adds to a list what it does not have.
func union(list, more []string) []string {
	for _, m := range more {
		if !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}

// passing says of a hold that it is over by itself.
func passing(r plan.Reason) bool {
	return r == plan.HeldRetry || r == plan.HeldBusy || r == plan.HeldOffline || r.Intended()
}
