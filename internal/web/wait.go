package web

import (
	"net/http"
	"slices"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

const (
	// maxWaits is how many requests may wait for the end of a check.
	maxWaits = 16
	// maxWait is how long one of them waits. Pipelines give up earlier.
	maxWait = 30 * time.Minute
)

// Outcome is the answer to POST /webhook?wait=true: how the check ended that
// covers the request.
type Outcome struct {
	// Status is done, or failed when the check or a stack is.
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	// Commit is the commit that was wanted.
	Commit string `json:"commit,omitempty"`
	// Stacks are all stacks at the end of the check.
	Stacks []StackOutcome `json:"stacks"`

	code int
}

// hide takes out what is not for strangers.
func (o Outcome) hide() {
	for i := range o.Stacks {
		o.Stacks[i].Detail = ""
	}
}

// StackOutcome is what became of a stack.
type StackOutcome struct {
	Name   string        `json:"name"`
	File   string        `json:"file"`
	Status report.Status `json:"status"`
	Sync   report.Sync   `json:"sync"`
	Reason string        `json:"reason,omitempty"`
	Error  string        `json:"error,omitempty"`
	Detail string        `json:"detail,omitempty"`
}

// wants says whether the sender wants to know how it ends.
func wants(r *http.Request) bool { return r.URL.Query().Get("wait") == "true" }

// stopping is what who waits is told when the daemon stops or is replaced.
// Nothing has failed: a daemon that starts looks at everything.
const stopping = "the daemon is stopping; the first check of the next one covers this"

// wait waits for the end of a check that asked the remote after since, and gives
// what to answer. It is told of by the history: nothing of a request is kept anywhere
// else.
func (h *webhook) wait(r *http.Request, since time.Time) (code int, body any) {
	detailed := authenticated(h.o.ConfigFile, r)
	timeout := time.NewTimer(maxWait)
	defer timeout.Stop()
	for {
		changed := h.o.History.Changed()
		if o, ended := covering(h.o.History.Snapshot(), since); ended {
			if !detailed {
				o.hide()
			}
			return o.code, o
		}
		select {
		case <-changed:
		case <-timeout.C:
			return http.StatusGatewayTimeout, failed(http.StatusGatewayTimeout, "the check has not ended in time")
		case <-h.closing:
			return http.StatusServiceUnavailable, Decision{Status: "queued", Reason: stopping}
		case <-r.Context().Done():
			return http.StatusServiceUnavailable, Decision{Status: "queued", Reason: "nobody reads this"}
		}
	}
}

// covering looks for the end of what was asked for: a look that asked the remote
// since and failed, or a check that did, has ended, and found no stack busy with
// what was wanted before. When a look began says nothing: one that the engine
// caused goes by what was learnt from the remote earlier.
func covering(now report.Overview, since time.Time) (Outcome, bool) {
	if now.Look.Error != "" && !now.Look.Asked.Before(since) {
		return failed(http.StatusBadGateway, now.Look.Error), true
	}
	for _, c := range slices.Backward(now.Checks) { // the first that ended
		if c.Asked.Before(since) || slices.ContainsFunc(c.Final, busy) {
			continue
		}
		return outcome(c), true
	}
	return Outcome{}, false
}

func busy(s report.Stack) bool {
	return s.Sync == report.Applying || s.Held == string(plan.HeldBusy)
}

func failed(code int, reason string) Outcome {
	return Outcome{Status: "failed", Reason: reason, Stacks: []StackOutcome{}, code: code}
}

func outcome(c report.Check) Outcome {
	o := Outcome{Status: "done", Commit: c.To, Stacks: []StackOutcome{}, code: http.StatusOK}
	if !c.Success() {
		o = failed(http.StatusBadGateway, c.Error)
	}
	for _, s := range sorted(c.Final) {
		o.Stacks = append(o.Stacks, StackOutcome{s.Name, s.File, s.Status, s.Sync, s.Reason, s.Error, s.Detail})
		if s.Status == report.Failed || s.Status == report.Invalid {
			o.Status, o.code = "failed", http.StatusBadGateway
		}
	}
	return o
}
