package handover

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

func TestALaterCheckThatEndsBeforeTheFirstIsNotItsEnd(t *testing.T) {
	dir := t.TempDir()
	h := New(Options{Dir: func() (string, error) { return dir, nil }, Self: "new", Logger: slog.New(slog.DiscardHandler)})
	h.sign = &sign{Container: "new"}
	says := func(want sign) {
		t.Helper()
		var have sign
		want.Container = "new"
		if _, err := readFile(filepath.Join(dir, signFile), &have); err != nil || have != want {
			t.Errorf("it says %+v, want %+v, %v", have, want, err)
		}
	}
	look := func(minute int) report.Look { return report.Look{At: time.Unix(int64(60*minute), 0)} }

	failed := look(0)
	failed.Error = "fetch: the remote is down"
	h.Looked(failed)
	h.Ended(report.Check{Look: failed})
	says(sign{Error: failed.Error})

	h.Looked(look(1)) // which has much to do
	h.Looked(look(2))
	h.Ended(report.Check{Look: look(2)})
	says(sign{Ready: true})

	h.Ended(report.Check{Look: look(1)})
	says(sign{Ready: true, Ended: true})
	select {
	case <-h.done:
	default:
		t.Error("it does not know itself")
	}
}
