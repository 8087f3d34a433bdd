package web

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// Limits of how many events an answer has.
const (
	someEvents = 200
	mostEvents = 5000
)

// Past is the answer of GET /api/v1/history.
type Past struct {
	// Events are the newest first.
	Events []report.Event `json:"events"`
}

// past answers with what was done, of all stacks or one. It has no more than the status
// has for everybody.
func (s *Server) past(w http.ResponseWriter, r *http.Request) {
	f, err := filterOf(r, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	events, err := s.o.Past(f)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	answer(w, http.StatusOK, Past{Events: append([]report.Event{}, events...)}) // [] and not null
}

func filterOf(r *http.Request, now time.Time) (report.EventFilter, error) {
	q := r.URL.Query()
	f := report.EventFilter{Stack: q.Get("stack"), Most: someEvents}
	if since := q.Get("since"); since != "" {
		at, err := time.Parse(time.RFC3339, since)
		if d, durationErr := time.ParseDuration(since); durationErr == nil && d >= 0 {
			at, err = now.Add(-d), nil
		}
		if err != nil {
			return f, fmt.Errorf("since is %q, and can only be a time like 2026-05-01T12:00:00Z, or how long ago, like 24h", since)
		}
		f.Since = at
	}
	if limit := q.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > mostEvents {
			return f, fmt.Errorf("limit is %q, and can only be a number from 1 to %d", limit, mostEvents)
		}
		f.Most = n
	}
	return f, nil
}
