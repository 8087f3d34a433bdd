// Package report holds what the daemon says about its work, as values. The
// loop makes them; metrics, status page and notices read them.
package report

import "time"

// Status is the state of a stack, one of the label values of
// gitops_deployments_active_total.
type Status string

// The four states a stack can be in.
const (
	// Running: everything that should run does, or is done.
	Running Status = "running"
	// Failed: the last attempt failed, something is not healthy, or the stack
	// is held back from its wanted state.
	Failed Status = "failed"
	// Invalid: the compose file can't be deployed.
	Invalid Status = "invalid"
	// Ignored: gitops.ignore=true.
	Ignored Status = "ignored"
)

// Statuses are all values of Status.
func Statuses() []Status { return []Status{Failed, Ignored, Invalid, Running} }

// Result is what a check did to a stack, one of the label values of
// gitops_deployments_operations_total.
type Result string

// The six results.
const (
	ResultFailed  Result = "failed"
	ResultIgnored Result = "ignored"
	ResultInvalid Result = "invalid"
	ResultStarted Result = "started"
	ResultStopped Result = "stopped"
	ResultUpdated Result = "updated"
)

// Results are all values of Result.
func Results() []Result {
	return []Result{ResultFailed, ResultIgnored, ResultInvalid, ResultStarted, ResultStopped, ResultUpdated}
}

// Sync says how far a stack is from what git wants.
type Sync string

// The values of Sync.
const (
	Synced   Sync = "synced"   // what runs is what git wants
	Deferred Sync = "held"     // it differs and is held back, with a reason
	Applying Sync = "applying" // an operation runs
	Waiting  Sync = "retrying" // it failed and waits for its next try
	Unknown  Sync = "unknown"  // not managed, or can't be told
)

// Service is one service of a stack.
type Service struct {
	Name   string `json:"name"`
	Image  string `json:"image"`
	Digest string `json:"digest,omitempty"` // id of the image that runs
	// Repository digest of the image that runs, as the registry knows it; empty
	// if it came from none.
	RepoDigest string `json:"repo_digest,omitempty"`
	State      string `json:"state"`            // running, exited, missing, ...
	Health     string `json:"health,omitempty"` // starting, healthy, unhealthy
	Since      string `json:"since,omitempty"`  // the engine's words: "Up 3 hours"
}

// Stack is the state of a stack, for people and for programs.
type Stack struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	Mode   string `json:"mode"` // managed, ignored, controller
	Status Status `json:"status"`
	Sync   Sync   `json:"sync"`
	// Reason says in a sentence why Status or Sync is not as one would wish.
	Reason string `json:"reason,omitempty"`
	// Held is the kind of hold (foreign, data, retry, drift, needs, busy,
	// empty, controller, invalid); empty if the stack is not held.
	Held string `json:"held,omitempty"`
	// Error is the last error, empty after a success.
	Error string `json:"error,omitempty"`
	// Commit is the commit that was last applied, Attempted the last tried.
	Commit      string    `json:"commit,omitempty"`
	Attempted   string    `json:"attempted,omitempty"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	NextRetry   time.Time `json:"next_retry,omitzero"`
	Services    []Service `json:"services,omitempty"`
	// Outcomes are the last ten, newest first.
	Outcomes []Outcome `json:"outcomes,omitempty"`
}

// Pull is how far the pull of an image is.
type Pull struct {
	Image   string    `json:"image"`
	Started time.Time `json:"started"`
	// Layers are those known so far, Done those that are here.
	Layers int `json:"layers"`
	Done   int `json:"done"`
	// Bytes of Total have come, of the layers whose download has begun.
	Bytes int64 `json:"bytes"`
	Total int64 `json:"total"`
}

// Outcome is how one attempt at a stack ended.
type Outcome struct {
	At        time.Time `json:"at"`
	Commit    string    `json:"commit"`
	Operation string    `json:"operation"` // "up", "stop", "pull"
	Cause     string    `json:"cause"`
	Error     string    `json:"error,omitempty"`
}

// Operation is one operation of a check, after it has ended.
type Operation struct {
	Kind    string        `json:"kind"` // stop, checkout, pull, up, hand over
	Stack   string        `json:"stack,omitempty"`
	Cause   string        `json:"cause"`
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took_ns"`
	Error   string        `json:"error,omitempty"`
}

// Count is an increment of gitops_deployments_operations_total.
type Count struct {
	Stack  string `json:"stack"`
	Result Result `json:"result"`
}

// Look is the observing and planning half of a check. It ends with the
// checkout, before the operations on stacks that follow do.
type Look struct {
	At      time.Time `json:"at"`
	Trigger string    `json:"trigger"` // start, tick, webhook, retry, engine, lane, image
	From    string    `json:"from,omitempty"`
	To      string    `json:"to,omitempty"`
	// Error is why the look ended before anything was started: nothing could be
	// compared, or the clone not moved. Empty if it did not. Blocked says that a
	// person is needed.
	Error   string `json:"error,omitempty"`
	Blocked bool   `json:"blocked,omitempty"`
	// Commits say more of From and To, as far as that is known.
	Commits []Commit `json:"commits,omitempty"`
	// Stacks is the whole picture; nil when the look failed before it saw one:
	// what was known before still holds.
	Stacks []Stack `json:"-"`
}

// Commit is what a person wants to know of a commit.
type Commit struct {
	Hash    string    `json:"hash"`
	Subject string    `json:"subject,omitempty"`
	Author  string    `json:"author,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

// Check is one whole check, when its operations have ended.
type Check struct {
	Look
	Ended      time.Time   `json:"ended"`
	Operations []Operation `json:"operations,omitempty"`
	Counts     []Count     `json:"-"`
	// Stacks of the embedded Look are as they were at the look; Final is the
	// picture at the end.
	Final []Stack `json:"-"`
}

// Success says whether the check counts as one: comparison and checkout went
// well. Errors of single stacks are theirs.
func (c Check) Success() bool { return c.Error == "" }

// Changed says whether the check applied a change, and whether all of it went
// well.
func (c Check) Changed() (changed, ok bool) {
	ok = true
	for _, op := range c.Operations {
		changed = true
		if op.Error != "" {
			ok = false
		}
	}
	return changed, ok
}
