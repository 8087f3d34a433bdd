package metrics

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func readme(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// rowOf is the row of a table of the README that begins with a name.
func rowOf(t *testing.T, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(readme(t), "\n| `"+name+"`")
	if !found {
		t.Fatalf("the README has no row for %s", name)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

func TestTheREADMENamesEveryMetric(t *testing.T) {
	text := readme(t)
	m, reg := fresh()
	busy(m)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if name := f.GetName(); strings.HasPrefix(name, "gitops_") && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("it says nothing of %s", name)
		}
	}
}

func TestTheREADMENamesTheTriggersAndNoOthers(t *testing.T) {
	_, list, _ := strings.Cut(rowOf(t, "gitops_looks_total"), "`trigger`: ")
	list, _, _ = strings.Cut(list, " |")
	if got := strings.Split(list, ", "); !slices.Equal(got, triggers()) {
		t.Errorf("it has %q, there are %q", got, triggers())
	}
	_, status, _ := strings.Cut(readme(t), "\n- `trigger`: ")
	status, _, _ = strings.Cut(status, "\n- ")
	for _, trigger := range triggers() {
		if !strings.Contains(status, "`"+trigger+"`") {
			t.Errorf("the part on the status says nothing of %s", trigger)
		}
	}
}

func TestTheREADMESaysWhatToDoAboutEveryHold(t *testing.T) {
	for _, reason := range reasons() {
		if cells := strings.Split(rowOf(t, reason), " | "); len(cells) != 3 {
			t.Errorf("%s: %q", reason, cells)
		}
	}
	_, table, _ := strings.Cut(readme(t), "\n| reason | why | what to do |\n| --- | --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		if reason, _, _ := strings.Cut(strings.TrimPrefix(line, "| `"), "`"); !slices.Contains(reasons(), reason) {
			t.Errorf("it has %s, which is counted as %s", reason, other)
		}
	}
}

func TestNoLabelHasASpace(t *testing.T) {
	for _, value := range slices.Concat(kinds(), triggers(), providers(), decisions(), reasons(), statuses()) {
		if strings.ContainsRune(value, ' ') {
			t.Errorf("%q", value)
		}
	}
}
