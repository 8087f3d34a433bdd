package control

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
	"github.com/korbiniankuhn/gitops-compose/internal/web"
)

// InSync says whether stacks are as git wants them; of all, whether the daemon can tell as
// well.
func InSync(s web.Status, all bool) bool {
	for _, stack := range s.Stacks {
		if !web.Settled(stack) {
			return false
		}
	}
	return !all || s.Synced
}

func only(all []report.Stack, names []string) ([]report.Stack, error) {
	if len(names) == 0 {
		return all, nil
	}
	var some []report.Stack
	for _, name := range names {
		n := len(some)
		for _, s := range all {
			if s.Name == name {
				some = append(some, s)
			}
		}
		if len(some) == n {
			return nil, fmt.Errorf("there is no stack of that name: %s", name)
		}
	}
	return some, nil
}

// Table is a status as people read it: a line for each stack, and what is wrong below.
func Table(s web.Status, now time.Time, colours bool) string {
	var lines strings.Builder
	w := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STACK\tSTATUS\tSYNC\tCOMMIT\tSINCE")
	for _, stack := range s.Stacks {
		sync := string(stack.Sync)
		if stack.Held != "" {
			sync += " (" + stack.Held + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", stack.Name, stack.Status, sync, cmp.Or(stack.Commit[:min(7, len(stack.Commit))], "-"), ago(stack.LastSuccess, now))
	}
	_ = w.Flush() // to memory
	out := strings.Split(strings.TrimSuffix(lines.String(), "\n"), "\n")
	var text strings.Builder
	for i, line := range out {
		if i > 0 && colours {
			line = colour(s.Stacks[i-1]) + line + "\x1b[0m"
		}
		fmt.Fprintln(&text, strings.TrimRight(line, " "))
	}
	for _, stack := range s.Stacks {
		if why := cmp.Or(stack.Error, stack.Reason); why != "" && !(web.Settled(stack) && stack.Held == "") {
			fmt.Fprintf(&text, "\n%s: %s\n", stack.Name, why)
			if stack.Error != "" && stack.Reason != "" && stack.Reason != stack.Error {
				fmt.Fprintf(&text, "  %s\n", stack.Reason)
			}
			if !stack.NextRetry.IsZero() {
				fmt.Fprintf(&text, "  next try in %s\n", stack.NextRetry.Sub(now).Round(time.Second))
			}
			for line := range strings.SplitSeq(stack.Detail, "\n") {
				if line != "" {
					fmt.Fprintf(&text, "  | %s\n", line)
				}
			}
		}
	}
	if s.Reason != "" {
		fmt.Fprintf(&text, "\nnot ready: %s\n", s.Reason)
	}
	if !s.OfflineSince.IsZero() {
		fmt.Fprintf(&text, "\nthe remote can't be asked since %s\n", ago(s.OfflineSince, now))
	}
	return text.String()
}

// colour is green, yellow or red.
func colour(s report.Stack) string {
	switch {
	case s.Status == report.Failed || s.Status == report.Invalid:
		return "\x1b[31m"
	case !web.Settled(s):
		return "\x1b[33m"
	default:
		return "\x1b[32m"
	}
}

// ago is how long something is ago, in one unit.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	d := now.Sub(at)
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}} {
		if d >= unit.of {
			return fmt.Sprintf("%d %s", d/unit.of, unit.name)
		}
	}
	return fmt.Sprintf("%d s", max(d, 0)/time.Second)
}

// Lines are events as people read them, the oldest first.
func Lines(events []report.Event) string {
	var lines strings.Builder
	w := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', 0)
	for _, e := range slices.Backward(events) {
		result := "done"
		switch {
		case e.Error != "":
			result = "failed: " + e.Error
		case e.By != "":
			result = "by " + e.By
		}
		took := "-"
		if d := e.Took + e.Settled; d > 0 {
			took = d.Round(100 * time.Millisecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.At.Local().Format("2006-01-02 15:04:05"), cmp.Or(e.Stack, "-"), e.Operation, cmp.Or(e.Commit[:min(7, len(e.Commit))], "-"), took, result, e.Cause)
	}
	_ = w.Flush() // to memory
	return lines.String()
}
