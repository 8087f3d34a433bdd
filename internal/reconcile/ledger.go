package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// ledger is what is remembered, counted, said and shown. It hears of looks and
// operations, and changes nothing but itself and what it is handed.
type ledger struct {
	journal *journal
	log     *slog.Logger
	// stacks is the picture: the state of every stack, by name and file.
	stacks map[string]report.Stack
	// concerns are the projects that a look is about: wanted ones, and ours.
	concerns map[string]bool
	// needs is what stacks are held for because it is not there.
	needs map[plan.Requirement]bool
	// reminded is how often it was said of a stack that it is still suspended.
	reminded map[string]int
	// repair are stacks that the first look after a start found drifted and that
	// were not brought up since; nil before that look.
	repair map[string]bool
	// restless says that a stack is as it is wanted, and has to be so for longer to
	// be believed.
	restless bool
	// happened is told of what was done.
	happened func(report.Event)
	// drawn is what picture gave last; nil if that has changed.
	drawn []report.Stack
	// wake is when the last plan wants to be made anew.
	wake time.Time
	// back says that a stack is to be rolled back, with which another plan is made.
	back bool
	// busy are stacks that the last plan left out because operations had not
	// ended: their own, or, of the daemon's stack, any.
	busy map[string]bool

	// What was counted or logged last, so that it is not said at each look again.
	failures map[string]failure   // by stack
	details  map[string]string    // by stack: what it said when it last failed
	holds    map[string]plan.Held // by name and file
	invalid  map[string]string    // by name and file: commit and reason
	ignored  map[string]bool      // by file

	failedLooks int
	unsure      int    // looks in a row that could not tell about data
	doubts      string // what they could not tell
	lastError   string // of a check
}

// failure is one that was counted.
type failure struct{ commit, reason string }

func newLedger(j *journal, log *slog.Logger) *ledger {
	return &ledger{
		journal: j, log: log, happened: func(report.Event) {}, stacks: map[string]report.Stack{}, concerns: map[string]bool{},
		failures: map[string]failure{}, details: map[string]string{}, holds: map[string]plan.Held{}, invalid: map[string]string{}, ignored: map[string]bool{},
	}
}

// key identifies a stack: two files can want the same name, and a file can
// change its name.
func key(name, file string) string { return name + "\x00" + file }

// doubt says what could not be told about data, if it is not what was said last.
func (l *ledger) doubt(err error) {
	text := ""
	if err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if text != "" && text != l.doubts {
		l.log.Warn("can't tell whether data would stay behind", "err", text)
	}
	l.doubts = text
}

// looked takes a look in that succeeded.
func (l *ledger) looked(c *check) {
	v := c.view
	l.wake = v.plan.Wake
	if l.unsure++; v.unsure { // which no event changes
		l.wakeAt(c.At.Add(lookBackoff(l.unsure)))
	} else {
		l.unsure = 0
	}
	l.concerns = map[string]bool{}
	for _, s := range v.state.Wanted {
		l.concerns[s.Name] = true
	}
	for _, run := range v.state.Observed.Running {
		l.concerns[run.Project] = l.concerns[run.Project] || run.Ours
	}
	for name := range v.state.Busy {
		l.concerns[name] = true
	}
	l.needs = map[plan.Requirement]bool{}
	for _, req := range v.plan.Needs {
		l.needs[req] = true
	}
	l.busy = map[string]bool{}
	for _, h := range v.plan.Held {
		if h.Reason == plan.HeldBusy {
			l.busy[h.Stack] = true
		}
	}
	l.suspensions(c)
	l.stacks, l.drawn, l.restless = l.statuses(v), nil, false
	l.countInvalid(c)
	l.countIgnored(c)
	l.sayHolds(c)
	l.remember(c)
	if l.repair == nil {
		l.repair = v.state.Repair
	}
	for _, w := range v.plan.Views {
		if len(w.Differences) == 0 {
			delete(l.repair, w.Name)
		}
	}
	l.forget()
}

// remember notes what the look itself settles.
func (l *ledger) remember(c *check) {
	v := c.view
	for _, s := range v.state.Before { // the journal has to know where it was once the clone has moved on
		run := slices.ContainsFunc(v.state.Observed.Running, func(r plan.Running) bool { return r.Project == s.Name && r.Ours })
		comes := v.state.Busy[s.Name]
		if e := l.journal.peek(s.Name); (run || comes) && s.Invalid == "" && e.File == "" {
			n := l.journal.at(s.Name)
			n.File, n.Blob, n.Untracked = s.File, s.Blob, s.Untracked
		}
	}
	for project, heir := range v.plan.Heirs {
		if e := l.journal.peek(project); e.Heir != heir.File || e.HeirOf != heir.Of {
			l.journal.at(project).SetHeir(heir, v.state.Before)
		}
	}
	for _, w := range v.plan.Views {
		s := w.Wanted
		if s == nil || s.Invalid != "" {
			continue
		}
		e := l.journal.peek(s.Name)
		switch {
		case s.Mode == plan.Ignored:
			switch moved := v.plan.Heirs[s.Name].File != ""; { // then what is remembered is of what moved away from that name
			case moved:
			case v.heads.Local != v.heads.Remote && !e.Ignored: // it may be managed again at the next look, which may be offline
				n := l.journal.at(s.Name)
				n.Ignored = true
				n.runs(plan.Version{})
			case v.heads.Local == v.heads.Remote && (!e.Ignored || e.Applied != ""): // what was begun is still no drift when it is managed again
				n := l.journal.at(s.Name)
				n.renew(plan.Record{File: s.File, Ignored: true, Tried: e.Tried})
				n.runs(plan.Version{})
			}
			continue
		case e.Ignored:
			l.journal.at(s.Name).Ignored = false
		}
		if e.Passed != "" && len(w.Next) == 0 && w.Settled() { // it is done, and counts for nothing else
			l.journal.at(s.Name).Passed = ""
		}
		asWanted := w.Held == nil || w.Held.Reason == plan.HeldAge
		if len(w.Next) == 0 && asWanted && !w.Starting && w.Settled() {
			l.settled(*s, w.Running, c)
		}
		if v.state.Offline == "" { // or a version that failed is not what is wanted now
			l.ownSettled(w, v)
		}
	}
	for _, project := range v.plan.HandsOff {
		if !l.journal.peek(project).Ignored {
			l.journal.at(project).Ignored = true
		}
	}
}

// settled notes that a stack is as it is wanted without our doing. One that
// did not last before has to last for a while to be believed.
func (l *ledger) settled(s plan.Stack, run plan.Running, c *check) {
	e := l.journal.peek(s.Name)
	known := e.Applied == s.Digest && e.Tried == s.Digest && e.Failed == "" && e.Error == "" && e.Bad.Digest == "" && e.Good.Runs(s, run)
	if !e.Lasts(s.Digest, c.At) {
		l.restless = true
		return
	}
	if known && e.File == s.File && e.Blob == s.Blob && slices.Equal(e.Untracked, s.Untracked) {
		return
	}
	n := l.journal.at(s.Name)
	if n.Applied != s.Digest || n.LastSuccess.IsZero() {
		n.Commit, n.LastSuccess = c.To, c.At
	}
	n.renew(recordOf(s))
	n.Flaps = 0
	n.runs(plan.VersionRun(s, c.To, run))
	l.refresh(s.Name, s.File)
}

func recordOf(s plan.Stack) plan.Record {
	return plan.Record{File: s.File, Blob: s.Blob, Untracked: s.Untracked, Applied: s.Digest, Tried: s.Digest}
}

// forget drops what is remembered of stacks that nobody wants and nothing runs
// of.
func (l *ledger) forget() {
	l.journal.forget(func(stack string) bool {
		_, ok := l.concerns[stack]
		return ok
	})
	for name := range l.failures {
		if e := l.journal.peek(name); e.Failed == "" && e.Own.Failed == "" {
			delete(l.failures, name)
			delete(l.details, name)
		}
	}
}

// refresh takes what is remembered into a stack's status.
func (l *ledger) refresh(name, file string) {
	if s, ok := l.stacks[key(name, file)]; ok {
		l.fill(&s)
		l.put(s)
	}
}

// put changes the picture.
func (l *ledger) put(s report.Stack) {
	l.stacks[key(s.Name, s.File)], l.drawn = s, nil
}

// countInvalid counts stacks that can't be deployed, once for each reason and
// commit.
func (l *ledger) countInvalid(c *check) {
	now := map[string]string{}
	for _, h := range c.view.plan.Held {
		if h.Reason != plan.HeldInvalid {
			continue
		}
		k := key(h.Stack, h.File)
		now[k] = c.To + h.Detail
		if l.invalid[k] != now[k] {
			c.count(h.Stack, report.ResultInvalid)
		}
	}
	l.invalid = now
}

// countIgnored counts ignored stacks when they are first seen.
func (l *ledger) countIgnored(c *check) {
	now := map[string]bool{}
	for _, s := range c.view.state.Wanted {
		if s.Mode != plan.Ignored || s.Invalid != "" {
			continue
		}
		now[s.File] = true
		if !l.ignored[s.File] {
			l.log.Info("stack ignored", "stack", s.Name, "cause", "gitops.ignore=true")
			c.count(s.Name, report.ResultIgnored)
		}
	}
	l.ignored = now
}

// sayHolds logs holds when they begin or change, and when they end.
func (l *ledger) sayHolds(c *check) {
	now := map[string]plan.Held{}
	for _, h := range c.view.plan.Held {
		if h.Reason == plan.HeldBusy || h.Reason == plan.HeldRetry {
			continue
		}
		k := key(h.Stack, h.File)
		if h.Reason == plan.HeldInvalid {
			k += c.To // it is said anew of each commit
		}
		now[k] = h
		if l.holds[k] != h {
			level := slog.LevelWarn
			if h.Reason.Intended() {
				level = slog.LevelInfo
			}
			l.log.Log(context.Background(), level, "stack held", "stack", h.Stack, "cause", string(h.Reason)+": "+h.Detail, "commit", short(c.To))
		}
	}
	for k, h := range l.holds {
		still := slices.ContainsFunc(c.view.plan.Held, func(n plan.Held) bool { return n.Stack == h.Stack && n.File == h.File })
		switch _, ok := now[k]; {
		case ok:
		case h.Reason == plan.HeldAge && c.view.waits(h.Stack): // whatever else is done to it
			now[k] = h
		case !still:
			l.log.Info("stack no longer held", "stack", h.Stack)
		}
	}
	l.holds = now
}

// checkFailed notes that a check as such failed: it is repeated soon. An error
// is said when it begins, and then no more until it changes.
func (l *ledger) checkFailed(c *check, err error) {
	l.failedLooks++
	c.Error, c.Blocked = err.Error(), blocked(err)
	level := slog.LevelError
	if l.lastError == c.Error {
		level = slog.LevelDebug
	}
	l.lastError = c.Error
	l.log.Log(context.Background(), level, "check failed", "trigger", c.Trigger, "err", err)
}

// checkWorks notes that a check got as far as its operations on stacks.
func (l *ledger) checkWorks(c *check) {
	if l.lastError != "" {
		l.log.Info("check works again", "trigger", c.Trigger)
	}
	if c.view.heads.Rewritten {
		l.log.Warn("the remote's history was rewritten; followed it", "commit", short(c.To))
	}
	l.failedLooks, l.lastError = 0, ""
}

// began notes that an operation begins, and gives the stack's state if that is
// another one now.
func (l *ledger) began(t *task) (report.Stack, bool) {
	switch {
	case t.Kind == plan.Up:
		e := l.journal.at(t.Stack)
		e.Tried = t.project.Digest
		e.Becomes(t.File)
		e.File, e.Blob, e.Untracked = t.File, t.project.Blob, t.project.Untracked // of whatever is made from now on
	case t.Kind == plan.Stop && t.Services != nil:
		l.journal.at(t.Stack).Tried = plan.RoomDigest // whatever happens now, it has to come up again
	}
	return l.show(t, func(s *report.Stack) { s.Sync, s.Reason, s.Held = report.Applying, t.Cause.String(), "" })
}

// changes says whether another plan would be made now that an operation has
// ended: as the last one of its stack, if that is free now, and as the last one
// at all. What was brought up without an image that is too young is held for that.
func (l *ledger) changes(t *task, free, last bool) bool {
	switch {
	case t.cut:
		return false
	case t.missed():
		return t.stale || t.needs.Stack != "" && t.needs.Stack != t.Stack
	case t.Kind == plan.HandOver:
		return t.err == nil // the outcome is taken in at the beginning of a look
	case t.Kind == plan.Up && t.err == nil && free && t.check.view.waits(t.Stack):
		return true
	default:
		return free && l.busy[t.Stack] || last && len(l.busy) > 0
	}
}

// ended takes in how an operation ended, and gives the stack's state if that is
// another one now.
func (l *ledger) ended(t *task) (report.Stack, bool) {
	c := t.check
	switch {
	case t.cut || t.stale: // as if it had not been begun
		return report.Stack{}, false
	case t.needs.ID != "":
		return l.missed(t)
	}
	if t.Kind != plan.HandOver || t.err != nil { // how one ended is told by the next look
		c.add(t.operation())
		l.happened(t.event())
	}
	if t.Kind != plan.HandOver && t.Kind != plan.Checkout || (t.err == nil) == (t.Kind == plan.Checkout) { // the check says that a checkout failed
		logOperation(l.log, t.Op, t.took, t.settled, c.To, t.err)
	}
	switch {
	case t.Kind == plan.Checkout:
		return report.Stack{}, false
	case t.Kind == plan.HandOver || t.Kind == plan.Pull && strings.HasSuffix(string(t.ID), "to hand over"):
		return l.handedOver(t)
	case t.err != nil:
		return l.failed(t)
	case t.Kind == plan.Stop && t.Services == nil:
		return l.stopped(t)
	case t.Kind == plan.Up:
		return l.applied(t)
	default:
		return report.Stack{}, false
	}
}

// missed notes that an operation was not tried, because another one failed.
func (l *ledger) missed(t *task) (report.Stack, bool) {
	if t.needs.Stack == t.Stack || t.needs.Stack == "" {
		return report.Stack{}, false // it was said of that one
	}
	return l.show(t, func(s *report.Stack) {
		s.Status, s.Sync, s.Held = report.Failed, report.Deferred, string(plan.HeldNeeds)
		s.Reason = fmt.Sprintf("%s of %s failed, which has to come first", t.needs.Kind, t.needs.Stack)
		if t.needs.Kind == plan.Up {
			s.Reason = fmt.Sprintf("it needs %s, which failed", t.needs.Stack)
		}
	})
}

func (l *ledger) stopped(t *task) (report.Stack, bool) {
	t.check.count(t.Stack, report.ResultStopped)
	delete(l.failures, t.Stack)
	l.journal.forget(func(stack string) bool { return stack != t.Stack })
	delete(l.stacks, key(t.Stack, t.File))
	l.drawn = nil
	return report.Stack{}, false
}

func (l *ledger) applied(t *task) (report.Stack, bool) {
	e, c := l.journal.at(t.Stack), t.check
	now := time.Now()
	flaps := e.Flaps + 1
	rec := recordOf(t.project.Stack)
	rec.Heir, rec.HeirOf, rec.FormerHeir = e.Heir, e.HeirOf, e.FormerHeir // which a look found meanwhile
	e.renew(rec)
	e.Commit, e.Attempted, e.LastSuccess, e.Flaps = c.To, c.To, now, 0
	if back := t.project.Back; back != nil {
		e.Commit, e.Attempted, e.Error = back.To, back.From, back.Error
		if t.Cause.Why == plan.RolledBack {
			l.log.Warn("stack rolled back", "stack", t.Stack, "from", short(back.From), "to", short(back.To), "err", back.Error)
		}
	} else {
		e.runs(plan.VersionRun(t.project.Stack, c.To, t.runs))
	}
	e.Outcomes = outcomes(e.Outcomes, t)
	if t.Again {
		// It is up, but so it was before: the next repair has to wait.
		e.Flaps, e.Failures, e.Failed = flaps, flaps, t.project.Digest
		e.RetryAt = now.Add(backoff(flaps))
		e.Error = "it had to be repaired soon after the last time: " + t.Cause.Detail
		if t.Crashed {
			e.Error = "it does not stay up: " + t.Cause.Detail
		}
	}
	delete(l.failures, t.Stack)
	delete(l.details, t.Stack)
	delete(l.repair, t.Stack)
	if t.Fresh {
		c.count(t.Stack, report.ResultStarted)
	} else {
		c.count(t.Stack, report.ResultUpdated)
	}
	return l.show(t, func(s *report.Stack) {
		s.Status, s.Sync, s.Reason, s.Differences = report.Running, report.Synced, "", nil
		if back := t.project.Back; back != nil {
			s.Status, s.Sync, s.Held, s.Reason = report.Failed, report.Deferred, string(plan.HeldRollback), back.Held()
		}
	})
}

func (l *ledger) failed(t *task) (report.Stack, bool) {
	c := t.check
	digest := t.project.Digest
	if t.Kind == plan.Stop && t.Services == nil {
		digest = plan.StopDigest
	}
	e := l.journal.at(t.Stack)
	if e.Failed != digest {
		e.Failures = 0
	}
	reason := reasonOf(t, report.Reason(t.err))
	e.Failed, e.Error, e.Attempted, e.Ignored = digest, reason, c.To, false
	e.Failures++
	l.back = l.back || l.rollsBack(t, reason)
	if t.Again { // which is true of the next repair too, however long it waits
		e.Flaps = e.Failures
	}
	e.RetryAt = time.Now().Add(max(backoff(e.Failures), retryAfter(t.err)))
	l.wakeAt(e.RetryAt)
	if e.File == "" && t.Kind == plan.Stop {
		e.File = t.File
	}
	e.Outcomes = outcomes(e.Outcomes, t)
	delete(l.repair, t.Stack)
	l.failedOnce(c, t.Stack, c.To, reason)
	l.details[t.Stack] = report.Detail(t.err)
	if k := key(t.Stack, t.File); t.Kind == plan.Stop && l.stacks[k].Name == "" {
		l.put(report.Stack{Name: t.Stack, File: t.File, Mode: string(plan.Managed)})
	}
	return l.show(t, func(s *report.Stack) {
		s.Status, s.Sync, s.Reason = report.Failed, report.Waiting, fmt.Sprintf("%s failed", t.Kind)
	})
}

// wakeAt wants a plan to be made at a time, if none is sooner.
func (l *ledger) wakeAt(at time.Time) {
	if l.wake.IsZero() || at.Before(l.wake) {
		l.wake = at
	}
}

// failedOnce counts a failure of a stack, but not again for the same reason at
// the same commit.
func (l *ledger) failedOnce(c *check, stack, commit, reason string) {
	before, known := l.failures[stack]
	if known && before.commit == commit && report.SameReason(before.reason, reason) {
		return
	}
	l.failures[stack] = failure{commit, reason}
	c.count(stack, report.ResultFailed)
}

// show changes a stack's status and gives it.
func (l *ledger) show(t *task, change func(*report.Stack)) (report.Stack, bool) {
	s, ok := l.stacks[key(t.Stack, t.File)]
	if !ok {
		return s, false
	}
	change(&s)
	l.fill(&s)
	l.put(s)
	return s, true
}

func outcomes(old []report.Outcome, t *task) []report.Outcome {
	return remembered(old, report.Outcome{
		At: time.Now(), Commit: t.check.To, Operation: string(t.Kind), Cause: t.Cause.String(), Error: report.Reason(t.err),
	})
}

func remembered(old []report.Outcome, o report.Outcome) []report.Outcome {
	all := append([]report.Outcome{o}, old...)
	return all[:min(len(all), outcomesKept)]
}

// said logs a check that has ended.
func (l *ledger) said(c *check) {
	if c.Error != "" && len(c.Operations) == 0 {
		return // which was said
	}
	level := slog.LevelDebug
	if len(c.Operations) > 0 {
		level = slog.LevelInfo
	}
	failures := 0
	for _, op := range c.Operations {
		if op.Error != "" {
			failures++
		}
	}
	l.log.Log(context.Background(), level, "check done", "trigger", c.Trigger, "commit", short(c.To),
		"operations", len(c.Operations), "failed", failures, "took", c.Ended.Sub(c.At))
}

func errorOf(s string) error {
	if s == "" {
		return nil
	}
	return errors.New(s)
}
