package reconcile

import (
	"slices"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// basis is what a plan is made of, by what tells it from another one. Two looks
// with an equal basis come to the same, unless a pause has ended in between.
type basis struct {
	heads   Heads
	offline string
	// loaded, observed and journal are versions. 0 is of somebody who does not
	// know whether anything has changed.
	loaded, observed, journal uint64
	repairs                   int // of ledger.repair; stacks only ever leave it
}

func (b basis) equal(o basis) bool {
	edited := slices.Equal(b.heads.Edited, o.heads.Edited)
	return b.heads.Local == o.heads.Local && b.heads.Remote == o.heads.Remote && b.heads.Rewritten == o.heads.Rewritten && edited &&
		b.offline == o.offline && b.loaded == o.loaded && b.observed == o.observed && b.journal == o.journal && b.repairs == o.repairs
}

// told says whether the basis tells all that a plan is made of.
func (b basis) told() bool { return b.loaded != 0 && b.observed != 0 }

// rest is a look that found nothing to do, and nothing that only time settles.
// As long as the basis stays what it was, another look would find the same.
type rest struct {
	view    view
	commits []report.Commit
	valid   bool
}

// holds says whether a look at a time, with that basis, would find what the last
// one found.
func (r *rest) holds(b basis, at time.Time) bool {
	wake := r.view.plan.Wake
	return r.valid && b.told() && b.equal(r.view.basis) && (wake.IsZero() || at.Before(wake))
}

// rests remembers a look after which nothing is left to be done.
func (r *Reconciler) rests(c *check) {
	v := c.view
	r.rest = rest{view: v, commits: c.Commits}
	r.rest.valid = len(v.plan.Ops) == 0 && len(v.state.Busy) == 0 && len(v.state.Losses) == 0 && !v.unsure && !v.missing &&
		v.heads.Local == v.heads.Remote && !r.ledger.restless && r.executor.idle()
	if !r.rest.valid {
		r.rest = rest{} // it is as large as the repository
	}
}
