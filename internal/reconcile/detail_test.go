package reconcile

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// crash is an error with a detail.
type crash struct{}

func (crash) Error() string  { return "app ended with exit code 3" }
func (crash) Detail() string { return "last-words" }

func TestADetail(t *testing.T) {
	bubble(t, "of a failure is told of its stack and its operation, and kept nowhere", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("up web", func(context.Context) error { return fmt.Errorf("bring up web: %w", crash{}) })
		d := start(t, w)
		const want = "bring up web: app ended with exit code 3: last-words"
		op := d.ended[0].Operations[1]
		d.expect("the operation's", op.Error+": "+op.Detail, want)
		of := func(i int) string { return d.ended[i].Final[0].Error + ": " + d.ended[i].Final[0].Detail }
		d.expect("the stack's", of(0), want)
		d.look()
		d.expect("while it waits", of(1), want)
		file, err := os.ReadFile(d.o.Journal)
		if err != nil || strings.Contains(string(file), "last-words") || strings.Contains(d.logs.String(), "last-words") {
			t.Errorf("%v\n%s\n%s", err, file, d.logs)
		}
		w.on("up web", nil)
		pass(time.Minute)
		d.expect("after a success", of(len(d.ended)-1), ": ")
		d.stop()
	})
	bubble(t, "lasts as long as its error, be the stack tried again or not", func(t *testing.T) {
		w := newWorld(t, stack("web"))
		w.on("settle web", func(context.Context) error {
			w.host("web", func(c *plan.Container) { c.Health = "unhealthy" })
			return crash{}
		})
		d := start(t, w)
		d.look()
		d.look()
		s := d.ended[2].Final[0]
		d.expect("unhealthy", s.Reason+", "+s.Error+": "+s.Detail, "app is unhealthy, app ended with exit code 3: last-words")
		w.host("web", func(c *plan.Container) { c.Health = "healthy" })
		d.look()
		s = d.ended[3].Final[0]
		d.expect("healthy", s.Reason+", "+s.Error+": "+s.Detail, ", : ")
		d.stop()
	})
}
