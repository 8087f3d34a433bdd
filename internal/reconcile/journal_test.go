package reconcile

import (
	"fmt"
	"os"
	"strings"
	"testing"
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
