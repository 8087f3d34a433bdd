// Package report holds what the daemon says about its work, as values. The
// loop makes them; metrics, status page and notices read them.
package report

import "time"

// Status is the state of a stack, one of the label values of
// gitops_deployments_active_total.
type Status string

// The states a stack can be in.
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
	// Idle: every service is switched off by its profiles, so that there is
	// nothing to run.
	Idle Status = "idle"
)

// Statuses are all values of Status.
func Statuses() []Status { return []Status{Failed, Idle, Ignored, Invalid, Running} }

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
	// Since is the engine's words, "Up 3 hours", as they were at the time of Said;
	// see Overview.At.
	Since string    `json:"since,omitempty"`
	Said  time.Time `json:"-"`
}

// Event is something that was done, as it is kept over restarts: an operation, or a
// command of a person's.
type Event struct {
	At time.Time `json:"at"`
	// Stack is a name; empty for a checkout, and for a command about all.
	Stack string `json:"stack,omitempty"`
	// Operation is what an operation's Kind is, or suspend, resume, retry or sync.
	Operation string `json:"operation"`
	// Cause is why, Trigger what began the check, By who gave the command.
	Cause   string `json:"cause,omitempty"`
	Trigger string `json:"trigger,omitempty"`
	By      string `json:"by,omitempty"`
	// Commit is the one that it was about.
	Commit string `json:"commit,omitempty"`
	// Took and Settled are what they are of an operation.
	Took    time.Duration `json:"took_ns,omitempty"`
	Settled time.Duration `json:"settled_ns,omitempty"`
	// Error is why it failed; empty if it did not.
	Error string `json:"error,omitempty"`
}

// EventFilter says which events are asked for.
type EventFilter struct {
	Stack string    // empty for all
	Since time.Time // zero for all
	Most  int       // how many, the newest; 0 for all that are kept
}

// ByGit is who suspends a stack by its label.
const ByGit = "git"

// Suspension is that a stack is left as it is because somebody wants that.
type Suspension struct {
	// By is who: ByGit for the label. Reason is why; either may be empty.
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"` // zero for when somebody ends it
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
	// Held is the kind of hold, one of the values of plan.Reason:
	//
	//	invalid     the compose file can't be deployed
	//	foreign     another project has the name
	//	data        going on would start a container on an empty volume or folder,
	//	            or lose or strand data
	//	local       files changed by hand in the clone are in the way
	//	network     a network that others use would have to be replaced
	//	retry       it failed, and the pause before the next try is not over
	//	drift       it has drifted, and SELF_HEAL is off
	//	age         a watched tag points to an image that is too young
	//	needs       a stack that it needs, or whose place it takes, is not ready
	//	busy        an operation of an earlier check still runs
	//	empty       the commit has no stack at all
	//	controller  the daemon's own stack, which a hand-over can't change
	//	version     a version of the daemon failed
	//	order       a service is to start before its old container stops, and can't
	//	suspended   a person wants it to be left as it is
	//	window      an update, a start or a stop waits for its window
	//	rollback    it was rolled back from the version that git wants
	//
	// Empty if the stack is not held.
	Held string `json:"held,omitempty"`
	// Suspended says who wants it to be left as it is, and until when; nil if nobody does.
	Suspended *Suspension `json:"suspended,omitempty"`
	// Error is the reason of the last failure, empty after a success: short, the
	// same for the same failure, and without anything that a container wrote.
	Error string `json:"error,omitempty"`
	// Detail is what there is to say besides, such as the last lines of a
	// container's log. It is shown to those who have authenticated and to nobody
	// else, see Overview.Public.
	Detail string `json:"detail,omitempty"`
	// Edited are the tracked files of the stack that were changed by hand in the
	// clone, as paths in the repository.
	Edited []string `json:"edited,omitempty"`
	// Warnings are about what works and may not be meant, one sentence each.
	Warnings []string `json:"warnings,omitempty"`
	// Differences say what the host has otherwise than git wants it, one sentence
	// each. Values of the environment and secrets are never in them.
	Differences []string `json:"differences,omitempty"`
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

// Outcome is how one attempt at a stack ended. It is kept in the journal, and
// has no Detail for that reason.
type Outcome struct {
	At        time.Time `json:"at"`
	Commit    string    `json:"commit"`
	Operation string    `json:"operation"` // "up", "stop", "pull"
	Cause     string    `json:"cause"`
	Error     string    `json:"error,omitempty"`
}

// Operation is one operation of a check, after it has ended.
type Operation struct {
	Kind    string    `json:"kind"` // stop, checkout, pull, before hook, up, hand over
	Stack   string    `json:"stack,omitempty"`
	Cause   string    `json:"cause"`
	Started time.Time `json:"started"`
	// Took is the doing; Settled is the waiting after it, until what was brought
	// up had become healthy and stayed up.
	Took    time.Duration `json:"took_ns"`
	Settled time.Duration `json:"settled_ns,omitempty"`
	// Error is the reason why it failed, Detail what there is to say besides, as
	// for a Stack.
	Error  string `json:"error,omitempty"`
	Detail string `json:"detail,omitempty"`
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
	Trigger string    `json:"trigger"` // start, tick, webhook, page, retry, engine, lane, image, hand_over, person
	// From is the clone's head, To what is wanted: the remote's head, or the
	// clone's when the look is offline.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Asked is when the remote was asked for what this look knows of it: the
	// moment before the request. A look that takes over what an earlier one
	// learnt has the time of that one. It is set for a request that failed, too.
	Asked time.Time `json:"asked,omitzero"`
	// Offline is why the remote could not be asked; empty if it could. What the
	// clone has is kept running meanwhile. Error is set as well.
	Offline string `json:"offline,omitempty"`
	// Error is why the look ended before anything was started: nothing could be
	// compared, or the clone not moved. Empty if it did not. An offline look goes
	// on with what the clone has, and counts as failed all the same. Blocked says
	// that a person is needed.
	Error   string `json:"error,omitempty"`
	Blocked bool   `json:"blocked,omitempty"`
	// Commits say more of From and To, as far as that is known.
	Commits []Commit `json:"commits,omitempty"`
	// Stacks is the whole picture; nil when the look failed before it saw one:
	// what was known before still holds. It is shared and must not be changed.
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
