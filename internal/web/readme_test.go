package web

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// What the README shows of the API is what programs are written for.
func TestTheREADMEShowsEveryFieldOfTheStatus(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "### The status as JSON")
	_, rest, _ = strings.Cut(rest, "```json")
	example, after, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("no example")
	}
	decoder := json.NewDecoder(strings.NewReader(example))
	decoder.DisallowUnknownFields()
	var s Status
	if err := decoder.Decode(&s); err != nil {
		t.Fatalf("the example is none: %v", err)
	}
	var shown any
	if err := json.Unmarshal([]byte(example), &shown); err != nil {
		t.Fatal(err)
	}
	want, got := map[string]bool{}, map[string]bool{}
	fields(reflect.TypeFor[Status](), want)
	keys(shown, got)
	if !maps.Equal(got, want) {
		t.Errorf("it has\n%v, there is\n%v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	for _, value := range []any{report.Running, report.Failed, report.Invalid, report.Ignored, report.Idle, report.Synced, report.Applying, report.Deferred, report.Waiting, report.Unknown} {
		if word := reflect.ValueOf(value).String(); !strings.Contains(after, "`"+word+"`") {
			t.Errorf("nothing is said of %s", word)
		}
	}
}

// fields collects the names that a type's fields have in JSON, at all depths.
func fields(of reflect.Type, names map[string]bool) {
	for of.Kind() == reflect.Slice || of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() {
		return
	}
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name != "" { // not embedded
			names[name] = true
		}
		fields(f.Type, names)
	}
}

// keys collects the keys of a JSON value, at all depths.
func keys(value any, names map[string]bool) {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			keys(element, names)
		}
	case map[string]any:
		for name, element := range v {
			names[name] = true
			keys(element, names)
		}
	}
}
