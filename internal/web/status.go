package web

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// Status is the answer of GET /api/v1/status. Fields are added, never renamed
// or removed. Times are RFC 3339 and left out when there is none, durations are
// nanoseconds.
type Status struct {
	// Version of the daemon.
	Version string `json:"version"`
	// Repository is host and path of the remote, without credentials.
	Repository string `json:"repository,omitempty"`
	Branch     string `json:"branch"`
	// Ready is what /readyz says, Reason why it is not.
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
	// Synced says that every managed stack is what git wants and runs.
	Synced bool `json:"synced"`
	// Now is the daemon's clock.
	Now time.Time `json:"now"`
	// LastSuccess is when the last successful check ended.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// NextCheck is when the next one is due, if nothing triggers one before.
	NextCheck time.Time `json:"next_check,omitzero"`
	// OfflineSince is since when the remote can't be asked; Look.Offline says why.
	OfflineSince time.Time `json:"offline_since,omitzero"`
	// Look is the newest comparison of what is wanted with what runs; absent
	// before the first.
	Look *report.Look `json:"look,omitempty"`
	// Stacks are all stacks, by name and file.
	Stacks []report.Stack `json:"stacks"`
	// Pulls are the images that are being pulled.
	Pulls []report.Pull `json:"pulls,omitempty"`
	// Checks are the last ten that ended, newest first.
	Checks []report.Check `json:"checks"`
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, s.overview(r, authenticated(s.o.ConfigFile, r)))
}

func (s *Server) overview(r *http.Request, detailed bool) Status {
	o := s.known(detailed)
	status := Status{
		Version:      s.o.Version,
		Repository:   locate(s.o.Remote()).String(),
		Branch:       s.o.Branch,
		Ready:        true,
		Synced:       o.Problem == "",
		Now:          time.Now(),
		LastSuccess:  o.Success,
		NextCheck:    o.Next,
		OfflineSince: o.OfflineSince,
		Stacks:       sorted(o.Stacks),
		Pulls:        o.Pulls,
		Checks:       append([]report.Check{}, o.Checks...), // [] and not null
	}
	if !o.Look.At.IsZero() {
		status.Look = &o.Look
	}
	if err := s.ready(r.Context()); err != nil {
		status.Ready, status.Reason, status.Synced = false, err.Error(), false
	}
	for _, stack := range o.Stacks {
		if !Settled(stack) {
			status.Synced = false
		}
	}
	return status
}

// Settled says that there is nothing to be done about a stack. One that waits for the
// age of an image is as git wants it, and one that is suspended if it does not differ.
func Settled(s report.Stack) bool {
	synced := s.Held == string(plan.HeldSuspended) && len(s.Differences) == 0 || s.Sync == report.Synced || s.Sync == report.Unknown || s.Held == string(plan.HeldAge)
	return s.Status == report.Ignored || (s.Status == report.Running || s.Status == report.Idle) && synced
}

func sorted(stacks []report.Stack) []report.Stack {
	all := append([]report.Stack{}, stacks...)
	slices.SortStableFunc(all, func(a, b report.Stack) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.File, b.File))
	})
	return all
}

// answer writes a value as JSON.
func answer(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value) // the client has gone: there is nobody to tell
}
