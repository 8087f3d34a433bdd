package metrics

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// dashboard is what matters of dashboard.json.
type dashboard struct {
	Panels []struct {
		ID          int
		Type, Title string
		Datasource  *source
		GridPos     struct{ H, W, X, Y int }
		Targets     []struct {
			Expr       string
			Datasource source
		}
	}
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Annotations struct {
		List []struct {
			Name, Expr string
			Datasource source
		}
	}
}

type source struct{ Type, UID string }

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	content, err := os.ReadFile("../../dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(content, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// queries are all queries by where they are, with Grafana's variables filled in.
func (d dashboard) queries() map[string]string {
	fill := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$__interval", "1m", "$instance", ".*").Replace
	all := map[string]string{}
	for _, p := range d.Panels {
		for i, target := range p.Targets {
			all[p.Title+" "+string(rune('A'+i))] = fill(target.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		all[a.Name] = fill(a.Expr)
	}
	return all
}

// exported are the label values of everything that the daemon exports, by
// metric and label; every family has a series.
func exported(t *testing.T) map[string]map[string][]string {
	t.Helper()
	m, reg := fresh()
	live(m)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string][]string{}
	for _, f := range families {
		names := []string{f.GetName()}
		if f.GetType() == dto.MetricType_HISTOGRAM || f.GetType() == dto.MetricType_SUMMARY {
			names = []string{f.GetName() + "_bucket", f.GetName() + "_sum", f.GetName() + "_count"}
		}
		for _, name := range names {
			values := map[string][]string{"instance": {"x"}, "job": {"x"}, "le": {"x"}}
			for _, series := range f.GetMetric() {
				for _, l := range series.GetLabel() {
					values[l.GetName()] = append(values[l.GetName()], l.GetValue())
				}
			}
			all[name] = values
		}
	}
	all["gitops_stack_held"]["reason"] = reasons() // a picture has only some of them
	return all
}

// hold parses a query and holds what it selects against what is exported.
func hold(t *testing.T, place, query string, exported map[string]map[string][]string) {
	t.Helper()
	expr, err := parser.ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %v", place, err)
		return
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			values, known := exported[v.Name]
			if !known {
				t.Errorf("%s: the daemon exports no %s", place, v.Name)
			}
			matchable(t, place, v, values)
		}
		return nil
	})
}

// matchable checks that each matcher matches something that is exported.
func matchable(t *testing.T, place string, v *parser.VectorSelector, values map[string][]string) {
	t.Helper()
	for _, m := range v.LabelMatchers {
		if m.Name != labels.MetricName && !slices.ContainsFunc(values[m.Name], m.Matches) {
			t.Errorf("%s: %s has nothing with %s", place, v.Name, m)
		}
	}
}

func TestEveryQueryOfTheDashboardAsksForWhatIsExported(t *testing.T) {
	queries, exported := readDashboard(t).queries(), exported(t)
	if len(queries) < 30 {
		t.Errorf("only %d queries", len(queries))
	}
	for _, place := range slices.Sorted(maps.Keys(queries)) {
		hold(t, place, queries[place], exported)
	}
}

func TestTheSixFamiliesAndMostOthersAreOnTheDashboard(t *testing.T) {
	all := strings.Join(slices.Collect(maps.Values(readDashboard(t).queries())), "\n")
	var missing []string
	for name := range exported(t) {
		if strings.HasPrefix(name, "gitops_") && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") && !strings.Contains(all, name) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	// Since when a stack is suspended, and when it is tried again, says the status page.
	if got := strings.Join(missing, " "); got != "gitops_stack_next_retry_timestamp_seconds gitops_stack_suspended_timestamp_seconds" {
		t.Errorf("missing: %s", got)
	}
}

func TestTheDashboardIsWellFormed(t *testing.T) {
	d := readDashboard(t)
	want := source{"prometheus", "${datasource}"}
	if d.Templating.List[0].Name != "datasource" || d.Templating.List[0].Type != "datasource" {
		t.Errorf("the first variable is %v", d.Templating.List[0])
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: id %d is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			if target.Datasource != want || p.Datasource == nil || *p.Datasource != want {
				t.Errorf("%s: data source %v", p.Title, target.Datasource)
			}
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s and %s overlap at %d, %d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
