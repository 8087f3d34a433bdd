package handover

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
)

// The files in testdata are what releases write. One that is added stays.

func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// put makes content a file of the daemon's folder.
func put(t *testing.T, name, content string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRecordsOfEveryFormatAreRead(t *testing.T) {
	at := time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)
	want := &Record{
		V: 1,
		Request: Request{
			Stack: "gitops", File: "gitops/compose.yaml", Service: "daemon", Version: "sha256:5f2c",
			Commit: "9f3c21e0c0ffee0000000000000000000000abcd", Cause: "changed", Timeout: 5 * time.Minute,
		},
		Clone: Clone{Path: "/repository", HostRoot: "/srv/deployments", Branch: "main", Identity: "https://git.example.com/me/deployments#main"},
		Old: Container{
			ID: "0123456789abcdef", Name: "gitops-daemon-1", Image: "sha256:aaaa", Reference: "ghcr.io/korbiniankuhn/gitops-compose:1.0.0",
			Restart: engine.Restart{Name: "on-failure", Max: 5},
		},
		New: Container{ID: "fedcba9876543210"}, Helper: "1111", Guard: "2222", Step: Failing,
		At:     map[Step]time.Time{Asked: at, Helped: at.Add(time.Second), Begun: at.Add(2 * time.Second), Failing: at.Add(3 * time.Second)},
		Reason: "the new daemon ended (exit code 1)", Again: true,
	}
	for _, name := range []string{"record-first.json", "record-v1.json"} {
		have, err := read(put(t, recordFile, golden(t, name)))
		if err != nil || !reflect.DeepEqual(have, want) {
			t.Errorf("%s: got %+v, %v", name, have, err)
		}
	}
	path := filepath.Join(t.TempDir(), recordFile)
	if err := writeFile(path, want); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != golden(t, "record-v1.json") {
		t.Errorf("a record is written otherwise than testdata/record-v1.json has it; other releases read it, so that is a new format: %v\n%s", err, b)
	}
}

func TestWhatANewDaemonSaysOfItselfStaysAsItIs(t *testing.T) {
	want := sign{Container: "fedcba9876543210", Ready: true, Ended: true, Error: "fetch: the remote is down", Blocked: true}
	var have sign
	path := filepath.Join(put(t, signFile, golden(t, "successor-first.json")), signFile)
	if ok, err := readFile(path, &have); !ok || err != nil || have != want {
		t.Errorf("got %+v, %v", have, err)
	}
	if err := writeFile(path, want); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != golden(t, "successor-first.json") {
		t.Errorf("it is written as\n%s", b)
	}
}

func TestARecordOfANewerReleaseIsLeftAlone(t *testing.T) {
	const newer = `{"v": 2, "Old": "who knows", "Step": ["done"]}`
	dir := put(t, recordFile, newer)
	// It has no engine: whoever touches a container panics.
	h := New(Options{Dir: func() (string, error) { return dir, nil }, Self: "me", Logger: slog.New(slog.DiscardHandler)})
	ctx := t.Context()
	help := func(role string) error {
		return Help(ctx, HelpOptions{Role: role, Dir: dir, Self: "me", Logger: slog.New(slog.DiscardHandler)})
	}
	for who, err := range map[string]error{
		"a daemon that starts":    h.Start(ctx),
		"a daemon that attends":   h.Attend(ctx, func() { t.Error("it has ended") }),
		"a daemon that asks":      h.ask(ctx, h.worker(dir), engine.Live{ID: "me"}, "image", nil, Request{}),
		"a daemon that clears up": h.Forget(ctx),
		"a helper":                help("helper"),
		"a guard":                 help("guard"),
	} {
		if err == nil || !strings.Contains(err.Error(), "handover.json has format 2 and this release knows 1: a newer release wrote it") {
			t.Errorf("%s: got %v", who, err)
		}
	}
	if _, ended := h.Outcome(); ended || !h.Pending() {
		t.Error("another one may begin")
	}
	if b, err := os.ReadFile(filepath.Join(dir, recordFile)); err != nil || string(b) != newer {
		t.Errorf("it is %q now, %v", b, err)
	}
}

// starts is an engine that only starts helpers.
type starts struct {
	Engine
	args []string
}

func (s *starts) StartHelper(_ context.Context, h engine.Helper) (string, error) {
	s.args = h.Args
	return "id", nil
}

// One release starts helpers from the image of another, and they meet in files.
func TestHelpersAreCalledAsOtherReleasesKnowThem(t *testing.T) {
	for as, want := range map[role]string{helper: "hand-over helper /repository/.git/gitops-compose", guard: "hand-over guard /repository/.git/gitops-compose"} {
		s := &starts{}
		w := &worker{engine: s, dir: "/repository/.git/gitops-compose", rec: &Record{Old: Container{ID: "old"}}}
		if _, err := w.startHelper(t.Context(), as, "old", "image", nil); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.args, " "); got != want {
			t.Errorf("a helper is called by %q, want %q", got, want)
		}
	}
	if got := strings.Join([]string{recordFile, signFile, lockFile}, " "); got != "handover.json successor.json handover.lock" {
		t.Errorf("the files are %s", got)
	}
}
