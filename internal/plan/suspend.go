package plan

import (
	"errors"
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

// Action is what a person asks for, of a stack or of all.
type Action string

// The actions.
const (
	// Suspend leaves it as it is, see Suspension.
	Suspend Action = "suspend"
	// Resume ends that.
	Resume Action = "resume"
	// Retry tries what failed at once, without the pause that it waits for; also a version
	// that was rolled back from, or handed over to in vain.
	Retry Action = "retry"
	// Sync asks the remote and looks.
	Sync Action = "sync"
)

// Command is an action of a person's.
type Command struct {
	Action Action
	// Stack is the name of one, or Everything.
	Stack string
	// Suspension is how a Suspend is to be. Since is given by whoever carries it out. By is
	// who acts in all of them.
	Suspension
}

// ErrNoStack is the error of a command for a stack that there is not.
var ErrNoStack = errors.New("there is no stack of that name")

// Everything stands for all stacks among the suspended. No project has that name.
const Everything = "*"

// Remind is how often people are reminded that a stack is suspended.
const Remind = 24 * time.Hour

// reminders are when they are to be reminded next.
func (b *builder) reminders(add func(time.Time)) {
	after := func(since time.Time) {
		if !since.IsZero() {
			add(since.Add((b.state.Now.Sub(since)/Remind + 1) * Remind))
		}
	}
	for _, s := range b.state.Suspended {
		if !s.over(b.state.Now) {
			after(s.Since)
			add(s.Until)
		}
	}
	for _, s := range b.state.Wanted {
		if s.Suspend {
			after(b.state.Memory[s.Name].Labelled)
		}
	}
}

// over says whether it has ended.
func (s Suspension) over(now time.Time) bool { return !s.Until.IsZero() && !now.Before(s.Until) }

// suspended says how a stack is suspended: by its label, by its name, or with all; empty
// if it is not.
func (b *builder) suspended(name string, label bool) string {
	if label {
		return "gitops.suspend=true is set in git; take it away to go on"
	}
	for _, key := range []string{name, Everything} {
		if s, is := b.state.Suspended[key]; is && !s.over(b.state.Now) {
			return s.text(key)
		}
	}
	return ""
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
