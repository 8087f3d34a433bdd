//go:build engine

package e2e

import (
	"fmt"
	"os"
	"testing"
)

// row is a line of the table that `make bench` prints: what the daemon needs for a
// piece of work, and what the reference does: the raw engine and git, told to do
// the same in the same run, or a limit.
type row struct {
	work            string
	n               int // of stacks
	unit            string
	ours, reference float64
	most            float64 // of the ratio
}

const rowFormat = "%-44s %7s %12s %12s %6s  %s\n"

func (r row) String() string {
	number := func(v float64) string {
		decimals := 2
		if v >= 100 {
			decimals = 0
		} else if v >= 10 {
			decimals = 1
		}
		return fmt.Sprintf("%.*f %s", decimals, v, r.unit)
	}
	ratio := r.ours / r.reference
	verdict := fmt.Sprintf("at most %.2f", r.most)
	if ratio > r.most {
		verdict += ": OVER THE LIMIT"
	}
	return fmt.Sprintf(rowFormat, r.work, fmt.Sprint(r.n), number(r.ours), number(r.reference), fmt.Sprintf("%.2f", ratio), verdict)
}

// tabulate prints rows, and adds them to the file that BENCH_TABLE names, if it
// does.
func tabulate(b *testing.B, rows ...row) {
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
