package plan

import "strings"

// String gives a line per operation, per hold and per stack with warnings, in an
// order in which the operations can run. What an operation comes after is said where the order of
// a check (stops, checkout, pull, up) does not say it already. The log, the dry
// run and the tests read the same text:
//
//	pull blog: moved: from weblog
//	stop weblog: moved: to blog (after pull blog)
//	checkout 9f3c21e: from 1a2b3c4
//	up blog: moved: from weblog (after stop weblog)
//	hold bad: invalid: services.app.image must be a string
//	warn blog: variable TOKEN is not set, variable USER is not set
func (p Plan) String() string {
	var b strings.Builder
	for _, op := range p.Ops {
		b.WriteString(op.text(p.To))
		b.WriteByte('\n')
	}
	for _, h := range p.Held {
		b.WriteString(h.String())
		b.WriteByte('\n')
	}
	for _, v := range p.Views {
		if v.Wanted != nil && len(v.Wanted.Warnings) > 0 {
			b.WriteString("warn " + v.Name + ": " + strings.Join(v.Wanted.Warnings, ", ") + "\n")
		}
	}
	return b.String()
}

func (o Op) text(to string) string {
	subject := o.Stack
	if o.Kind == Checkout {
		subject = short(to)
	}
	text := string(o.Kind) + " " + subject
	if o.Kind == Stop && o.Services != nil {
		text += " (" + strings.Join(o.Services, ", ") + ")"
	}
	if o.Kind == Before {
		text += " (" + strings.Join(o.Hooks, ", ") + ")"
	}
	text += ": " + o.Cause.String()
	if o.Kind == Up && len(o.Hooks) > 0 {
		text += " (then the after hook: " + strings.Join(o.Hooks, ", ") + ")"
	}
	if after := o.special(); len(after) > 0 {
		text += " (after " + strings.Join(after, ", ") + ")"
	}
	return text
}

// special are the operations that this one comes after although the order of a
// check does not say so.
func (o Op) special() []string {
	var out []string
	for _, a := range o.After {
		kind, stack, _ := strings.Cut(string(a.ID), " ")
		usual := o.Kind == Checkout || o.Kind == HandOver || o.ID == pullOver(o.Stack) || a.ID == idOf(Checkout, "") || a.ID == idOf(Before, o.Stack) ||
			stack == o.Stack && Kind(kind) == Pull || Kind(kind) == Stop && o.Kind == Stop
		if !usual {
			out = append(out, string(a.ID))
		}
	}
	return out
}

// String gives the cause as it is logged.
func (c Cause) String() string {
	switch {
	case c.Why == "":
		return c.text()
	case c.text() == "":
		return string(c.Why)
	default:
		return string(c.Why) + ": " + c.text()
	}
}

// String gives the hold as it is logged.
func (h Held) String() string {
	subject := h.Stack
	if subject == "" {
		subject = h.File
	}
	if subject == "" {
		subject = "everything"
	}
	return "hold " + subject + ": " + string(h.Reason) + ": " + h.Detail
}

func short(commit string) string {
	if len(commit) > 7 {
		return commit[:7]
	}
	return commit
}
