package repo

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// BlockedError says that a person is needed: nothing was touched, and trying
// again without a change outside gives the same answer. The check may go on
// asking, because the change may come at any time (a rotated secret, a mended
// clone); it need not be reported again while the text is the same.
type BlockedError struct {
	// Reason is one line: what, where, and what to do about it.
	Reason string
	// Paths are the files concerned, if files are; all of them, while Reason
	// names only the first ones.
	Paths []string
	// Err is the cause, if there is one.
	Err error
}

func (e *BlockedError) Error() string {
	if e.Err != nil {
		return e.Reason + ": " + e.Err.Error()
	}
	return e.Reason
}

func (e *BlockedError) Unwrap() error { return e.Err }

// Blocked marks the error for callers that don't want to name its type.
func (e *BlockedError) Blocked() bool { return true }

func blocked(format string, args ...any) error {
	return &BlockedError{Reason: fmt.Sprintf(format, args...)}
}

// blockedBy keeps the cause for errors.Is and shows it behind the reason.
func blockedBy(err error, format string, args ...any) error {
	return &BlockedError{Reason: fmt.Sprintf(format, args...), Err: err}
}

// IsBlocked tells whether a person is needed before a new try can succeed.
func IsBlocked(err error) bool {
	var b interface{ Blocked() bool }
	return errors.As(err, &b) && b.Blocked()
}

// finding is one path that stands in the way of a checkout, with the reason.
type finding struct {
	path, why string
	// help is a command that removes the reason and loses nothing, for the folder of
	// the clone; empty if there is none.
	help string
}

const (
	shownFindings = 10
	shownCommands = 3
)

// commands are those that remove all of some findings; empty if one has none, or if
// they are too many for a line.
func commands(list []finding) string {
	var all []string
	for _, f := range list {
		if f.help == "" || len(all) == shownCommands {
			return ""
		}
		all = append(all, f.help)
	}
	return strings.Join(all, " && ")
}

// refuse turns findings into one error: the first ones in full, the others as a
// number, so that a log line stays readable when ten thousand files differ.
func refuse(what string, list []finding, remedy string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", what)
	paths := make([]string, 0, len(list))
	for i, f := range list {
		paths = append(paths, f.path)
		if i >= shownFindings {
			continue
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%s)", quotePath(f.path), f.why)
	}
	if n := len(list) - shownFindings; n > 0 {
		fmt.Fprintf(&b, " and %d more", n)
	}
	b.WriteString("; ")
	if run := commands(list); run != "" {
		remedy = "run in the clone: " + run
	}
	b.WriteString(remedy)
	return &BlockedError{Reason: b.String(), Paths: paths}
}

// shellWord is a path as a shell takes it for one word.
func shellWord(p string) string {
	for _, r := range p {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("./_-+,:@", r) {
			return "'" + strings.ReplaceAll(p, "'", `'\''`) + "'"
		}
	}
	return p
}

// quotePath keeps a name with a line break or a control character from breaking
// up a log line.
func quotePath(p string) string {
	for _, r := range p {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return fmt.Sprintf("%q", p)
		}
	}
	return p
}
