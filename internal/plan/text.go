package plan

import "strings"

// String gives a line per operation and per hold. The log, the dry run and
// the tests read the same text:
//
//	stop old: removed
//	checkout 9f3c21e: from 1a2b3c4
//	pull web: changed: web has another image
//	up web: changed: web has another image
//	hold bad: invalid: services.app.image must be a string
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
	return b.String()
}

func (o Op) text(to string) string {
	subject := o.Stack
	if o.Kind == Checkout {
		subject = short(to)
	}
	return string(o.Kind) + " " + subject + ": " + o.Cause.String()
}

// String gives the cause as it is logged.
func (c Cause) String() string {
	switch {
	case c.Why == "":
		return c.Detail
	case c.Detail == "":
		return string(c.Why)
	default:
		return string(c.Why) + ": " + c.Detail
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
