package reconcile

import (
	"log/slog"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// check is one comparison with the remote and what followed from it.
type check struct {
	report.Check
	view  view
	tasks map[plan.ID]*task
	open  int // operations whose end was not taken in yet
	// overtaken says that another look was taken since.
	overtaken bool
	looked    bool // that was reported
	began     func(*task)
}

func (c *check) add(op report.Operation) { c.Operations = append(c.Operations, op) }

func (c *check) count(stack string, result report.Result) {
	c.Counts = append(c.Counts, report.Count{Stack: stack, Result: result})
}

func (t *task) operation() report.Operation {
	return report.Operation{
		Kind: string(t.Kind), Stack: t.Stack, Cause: t.Cause.String(), Started: t.begun, Took: t.took, Settled: t.settled,
		Error: report.Reason(t.err), Detail: report.Detail(t.err),
	}
}

// event is how an operation is kept.
func (t *task) event() report.Event {
	e := report.Event{
		At: time.Now(), Stack: t.Stack, Operation: string(t.Kind), Cause: t.Cause.String(), Trigger: t.check.Trigger, Commit: t.check.To,
		Took: t.took, Settled: t.settled, Error: report.Reason(t.err),
	}
	if t.project.Back != nil {
		e.Commit = t.project.Back.To
	}
	return e
}

func logOperation(log *slog.Logger, op plan.Op, took, settled time.Duration, commit string, err error) {
	args := []any{"op", string(op.Kind), "cause", op.Cause.String(), "commit", short(commit), "took", took.Round(time.Millisecond)}
	if settled > 0 {
		args = append(args, "settled", settled.Round(time.Millisecond))
	}
	if op.Stack != "" {
		args = append([]any{"stack", op.Stack}, args...)
	}
	if err != nil {
		log.Error("operation failed", append(args, "err", err)...)
		return
	}
	log.Info("operation done", args...)
}

func short(commit string) string { return commit[:min(7, len(commit))] }
