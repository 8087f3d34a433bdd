package reconcile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

func TestTheJournal(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"lost":    os.Remove,
		"corrupt": func(path string) error { return os.WriteFile(path, []byte(`{"stacks": {"web": nul`), 0o600) },
		"strange": func(path string) error { return os.WriteFile(path, []byte(`{"stacks": {"web": null}}`), 0o600) },
	} {
		bubble(t, name+" costs history and no correctness", func(t *testing.T) {
			w := newWorld(t, stack("web"), stack("db"))
			d := start(t, w)
			d.stop()
			w.did()
			if err := damage(d.o.Journal); err != nil {
				t.Fatal(err)
			}
			w.crash("db")
			d = start(t, w, sameJournal(d))
			d.expect("did", w.did(), "up db c1")
			d.expect("picture", d.last(), "db=running/synced web=running/synced")
			d.stop()
		})
	}
	bubble(t, "that can't be written stops nothing, and is said once", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("db"))
		d := start(t, w, func(o *Options) { o.Journal = "/dev/null/journal.json" })
		d.expect("runs", d.runs(), "db=db1 web=web1")
		if n := strings.Count(d.logs.String(), "can't be written"); n != 1 {
			t.Errorf("said %d times", n)
		}
		d.stop()
	})
	bubble(t, "keeps ten outcomes, newest first, and forgets stacks that are gone", func(t *testing.T) {
		w := newWorld(t, stack("web"), stack("old"))
		d := start(t, w)
		for v := range 12 {
			w.push(fmt.Sprint("v", v), version(v+2, stack("web")))
			d.look()
		}
		d.stop()
		j := openJournal(d.o.Journal, d.o.Logger)
		if len(j.Stacks) != 1 || len(j.peek("web").Outcomes) != 10 || j.peek("web").Outcomes[0].Commit != "v11" || j.peek("web").Commit != "v11" {
			t.Errorf("journal: %+v", j.peek("web"))
		}
	})
}

// The files in testdata are what releases write. One that is added stays.
func TestJournalsOfEveryFormatAreRead(t *testing.T) {
	at := time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)
	stacks := map[string]*entry{
		"web": {
			Record: plan.Record{
				File: "web/compose.yaml", Applied: "d1", Tried: "d2", Failed: "d2", Error: "up: image not found", Failures: 2, RetryAt: at.Add(time.Minute),
				LastSuccess: at, Flaps: 3,
			},
			Commit: "9f3c21e0c0ffee0000000000000000000000abcd", Attempted: "1a2b3c40c0ffee0000000000000000000000abcd",
			Outcomes: []report.Outcome{
				{At: at, Commit: "1a2b3c40c0ffee0000000000000000000000abcd", Operation: "up", Cause: "changed", Error: "image not found"},
			},
		},
		"gitops": {Record: plan.Record{
			File: "gitops/compose.yaml", Ignored: true,
			Own: plan.Own{Applied: "v1", Failed: "v2", Error: "not ready", Failures: 1, Interrupted: 1, RetryAt: at},
		}},
	}
	images := map[string]asked{"nginx:1": {At: at, Latest: "sha256:bb", Failures: 1, Wait: time.Minute}}
	for _, name := range []string{"journal-first.json", "journal-v1.json"} {
		var logs bytes.Buffer
		j := openJournal(filepath.Join("testdata", name), slog.New(slog.NewTextHandler(&logs, nil)))
		if !reflect.DeepEqual(j.Stacks, stacks) || !reflect.DeepEqual(j.Images, images) || j.aside != "" || logs.Len() > 0 {
			t.Errorf("%s: got %+v, log %s", name, j, &logs)
		}
	}
	j := openJournal(filepath.Join(t.TempDir(), "journal.json"), slog.New(slog.DiscardHandler))
	j.Stacks, j.Images, j.dirty = stacks, images, true
	j.save()
	if missing := lacks(jsonOf(t, j.path), jsonOf(t, "testdata/journal-v1.json"), ""); missing != nil {
		t.Errorf("a journal is written without what testdata/journal-v1.json has; an older release looks for that, so it is a new format: %q", missing)
	}
}

func jsonOf(t *testing.T, path string) (v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// lacks lists what of want is not in have, or otherwise; have may have more.
func lacks(have, want any, at string) (missing []string) {
	object, ok := want.(map[string]any)
	if !ok {
		if !reflect.DeepEqual(have, want) {
			missing = append(missing, at)
		}
		return missing
	}
	got, _ := have.(map[string]any)
	for key, value := range object {
		missing = append(missing, lacks(got[key], value, at+"/"+key)...)
	}
	return missing
}

func TestAJournalThatCannotBeReadIsSetAside(t *testing.T) {
	for name, c := range map[string]struct{ content, aside, says string }{
		"broken":             {`{"v": 1, "stacks": {"web": nul`, "journal.json.broken", "can't be read"},
		"of another type":    {`{"v": 1, "stacks": []}`, "journal.json.broken", "can't be read"},
		"of a newer release": {`{"v": 2, "stacks": ["web"]}`, "journal.json.v2", "of a newer release"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "journal.json")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			holds := func(name, want string) {
				t.Helper()
				if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
					t.Errorf("%s holds %q, %v", name, b, err)
				}
			}
			var logs bytes.Buffer
			j := openJournal(path, slog.New(slog.NewTextHandler(&logs, nil)))
			if !strings.Contains(logs.String(), "level=WARN") || !strings.Contains(logs.String(), c.says) {
				t.Errorf("it says %s", &logs)
			}
			j.save()
			holds("journal.json", c.content) // nothing to save yet: so it is in a dry run
			for range 2 {
				j.at("web").Commit = "c1"
				j.save()
			}
			holds(c.aside, c.content)
			if j := openJournal(path, j.log); j.peek("web").Commit != "c1" || j.aside != "" {
				t.Errorf("it was begun anew as %+v", j)
			}
			if n := strings.Count(logs.String(), "set aside"); n != 1 {
				t.Errorf("said %d times: %s", n, &logs)
			}
		})
	}
}
