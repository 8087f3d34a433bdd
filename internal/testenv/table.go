package testenv

import (
	"fmt"
	"os"
	"testing"
)

// Row is a line of the table that `make bench` prints: what the daemon needs for a
// piece of work, and what the reference does: the raw engine and git, told to do
// the same in the same run, or a limit.
type Row struct {
	Work            string
	Stacks          int
	Unit            string
	Ours, Reference float64
	Most            float64 // of the ratio
}

// Line makes a row.
func Line(work string, stacks int, unit string, ours, reference, most float64) Row {
	return Row{Work: work, Stacks: stacks, Unit: unit, Ours: ours, Reference: reference, Most: most}
}

const rowFormat = "%-44s %7s %12s %12s %6s  %s\n"

// String is the row as the table has it, with the line's end.
func (r Row) String() string {
	number := func(v float64) string {
		decimals := 2
		if v >= 100 {
			decimals = 0
		} else if v >= 10 {
			decimals = 1
		}
		return fmt.Sprintf("%.*f %s", decimals, v, r.Unit)
	}
	ratio := r.Ours / r.Reference
	verdict := fmt.Sprintf("at most %.2f", r.Most)
	if ratio > r.Most {
		verdict += ": OVER THE LIMIT"
	}
	return fmt.Sprintf(rowFormat, r.Work, fmt.Sprint(r.Stacks), number(r.Ours), number(r.Reference), fmt.Sprintf("%.2f", ratio), verdict)
}

// Tabulate prints rows, and adds them to the file that BENCH_TABLE names, if it
// does.
func Tabulate(b *testing.B, rows ...Row) {
	b.Helper()
	b.ReportMetric(0, "ns/op") // the time of all of it says nothing
	text := ""
	for _, r := range rows {
		text += r.String()
	}
	head := fmt.Sprintf(rowFormat, "work", "stacks", "ours", "reference", "ratio", "")
	b.Logf("\n%s%s", head, text)
	path := os.Getenv("BENCH_TABLE")
	if path == "" {
		return
	}
	if _, err := os.Stat(path); err != nil {
		text = head + text
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		b.Error(err)
	}
}
