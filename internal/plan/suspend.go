package plan

import (
	"fmt"
	"strings"
	"time"
)

// Suspension is that a person wants a stack, or all, to be left as they are for a while.
// It is what a hold is, by a person's word: nothing is started, updated, repaired or
// stopped, also when git removes the stack.
type Suspension struct {
	// By is who wants it, Reason why; both may be empty.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Since is when it began; zero if only git tells. Until is when it ends by itself; zero
	// for when it is ended.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Everything stands for all stacks among the suspended. No project has that name.
const Everything = "*"

// over says whether it has ended.
func (s Suspension) over(now time.Time) bool { return !s.Until.IsZero() && !now.Before(s.Until) }

// suspended says whether a stack is suspended: by its label, by its name, or with all.
func (b *builder) suspended(name string, label bool) (Suspension, string) {
	if label {
		return Suspension{}, "gitops.suspend=true is set in git; take it away to go on"
	}
	for _, key := range []string{name, Everything} {
		if s, is := b.state.Suspended[key]; is && !s.over(b.state.Now) {
			return s, s.text(key)
		}
	}
	return Suspension{}, ""
}

func (b *builder) isSuspended(s Stack) bool {
	_, detail := b.suspended(s.Name, s.Suspend)
	return detail != ""
}

// text says what a person did, and how it ends.
func (s Suspension) text(key string) string {
	var t strings.Builder
	t.WriteString("suspended")
	if key == Everything {
		t.WriteString(" with all others")
	}
	if s.By != "" {
		t.WriteString(" by " + s.By)
	}
	if !s.Since.IsZero() {
		t.WriteString(" since " + dateOf(s.Since))
	}
	if !s.Until.IsZero() {
		t.WriteString(" until " + dateOf(s.Until))
	}
	if s.Reason != "" {
		t.WriteString(": " + s.Reason)
	}
	if key == Everything {
		key = "--all"
	}
	return fmt.Sprintf("%s; to go on: gitops-compose resume %s", t.String(), key)
}
