package eventlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

func in(dir string) func() (string, error) { return func() (string, error) { return dir, nil } }

func add(t *testing.T, l *Log, events ...report.Event) {
	t.Helper()
	for _, e := range events {
		if err := l.Add(e); err != nil {
			t.Fatal(err)
		}
	}
}

func find(t *testing.T, l *Log, f report.EventFilter) string {
	t.Helper()
	events, err := l.Find(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range events {
		all = append(all, e.Operation+" "+e.Stack)
	}
	return strings.Join(all, ", ")
}

func TestEventsAreFoundTheNewestFirst(t *testing.T) {
	l := Open(in(t.TempDir()))
	if got := find(t, l, report.EventFilter{}); got != "" {
		t.Errorf("there is %s", got)
	}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	add(t, l, report.Event{At: at, Operation: "up", Stack: "web", Took: time.Second, Error: "no"}, report.Event{At: at.Add(time.Hour), Operation: "checkout"}, report.Event{At: at.Add(2 * time.Hour), Operation: "up", Stack: "db"})
	for want, f := range map[string]report.EventFilter{
		"up db, checkout , up web": {},
		"checkout , up web":        {Stack: "web"},
		"up db, checkout ":         {Since: at.Add(time.Minute)},
		"up db":                    {Most: 1},
	} {
		if got := find(t, l, f); got != want {
			t.Errorf("%+v: got %q, want %q", f, got, want)
		}
	}
	events, _ := Open(l.dir).Find(report.EventFilter{Stack: "web", Most: 5})
	if e := events[1]; !e.At.Equal(at) || e.Took != time.Second || e.Error != "no" {
		t.Errorf("after a restart it is %+v", e)
	}
}

func TestAKillCostsTheLastLineOnly(t *testing.T) {
	dir := t.TempDir()
	l := Open(in(dir))
	add(t, l, report.Event{Operation: "up", Stack: "a"}, report.Event{Operation: "up", Stack: "b"})
	path := filepath.Join(dir, name)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content[:len(content)-7], 0o600); err != nil {
		t.Fatal(err)
	}
	add(t, l, report.Event{Operation: "up", Stack: "c"})
	if got := find(t, l, report.EventFilter{}); got != "up c, up a" {
		t.Errorf("there is %s", got)
	}
	if err := os.WriteFile(path, []byte("no JSON\n{}\n[]\n\n\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := find(t, l, report.EventFilter{}); got != "" {
		t.Errorf("there is %s", got)
	}
}

func TestTheHistoryIsBounded(t *testing.T) {
	dir := t.TempDir()
	l := Open(in(dir))
	long := strings.Repeat("x", 20<<10)
	for n := range 600 {
		add(t, l, report.Event{Operation: fmt.Sprint(n), Error: long})
	}
	size := int64(0)
	for _, name := range []string{name, older} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %s", name, info.Mode())
		}
		size += info.Size()
	}
	if size > 2*full {
		t.Errorf("it has %d bytes", size)
	}
	events, err := l.Find(report.EventFilter{})
	if err != nil || len(events) < 200 || events[0].Operation != "599" || events[len(events)-1].Operation != fmt.Sprint(600-len(events)) {
		t.Errorf("%d are kept, %v", len(events), err)
	}
}

func TestAFolderThatCantBeIsAnError(t *testing.T) {
	l := Open(func() (string, error) { return "", errors.New("there is no clone") })
	if _, err := l.Find(report.EventFilter{}); err == nil || l.Add(report.Event{}) == nil {
		t.Error("there is no error")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l = Open(in(file))
	if _, err := l.Find(report.EventFilter{}); err == nil || l.Add(report.Event{}) == nil {
		t.Error("there is no error")
	}
}
