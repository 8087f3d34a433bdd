package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

const (
	// pause gathers changes that come close together into one round of events.
	pause = 200 * time.Millisecond
	// heartbeat keeps proxies from closing a quiet stream, and finds clients
	// that have gone.
	heartbeat = 15 * time.Second
)

// events answers GET /api/v1/events with what changes, as server-sent events:
//
//	look     a comparison has ended: the look of /api/v1/status
//	stack    a stack is new or has changed: a stack of /api/v1/status
//	removed  a stack is gone: {"name","file"}
//	check    a check has ended: a check of /api/v1/status
//	pulls    a pull has begun, gone on or ended: the pulls of /api/v1/status
//
// A stream begins with all that is known. It ends when the daemon
// does; browsers come back by themselves.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events back
	stream := &stream{w: w, control: http.NewResponseController(w)}
	// The server's limits are for requests that end.
	_ = stream.control.SetReadDeadline(time.Time{})
	// Asked once: a configuration that gets passwords later has let in who is here
	// without one.
	detailed := authenticated(s.o.ConfigFile, r)
	for {
		changed := s.o.History.Changed()
		if stream.send(s.known(detailed)) != nil {
			return
		}
		select {
		case <-changed:
		case <-time.After(heartbeat):
		case <-s.closing:
			return
		case <-r.Context().Done():
			return
		}
		select {
		case <-time.After(pause):
		case <-s.closing:
			return
		}
	}
}

// stream is a client and what it knows.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	known   report.Overview
}

// send tells the client what it does not know yet.
func (s *stream) send(now report.Overview) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	before := s.known
	s.known = now
	if _, err := fmt.Fprint(s.w, ": \n"); err != nil { // a comment: something is written each time
		return err
	}
	if !now.Look.At.Equal(before.Look.At) {
		s.event("look", now.Look)
	}
	for _, stack := range now.Stacks {
		if old, ok := find(before.Stacks, stack); !ok || !reflect.DeepEqual(old, stack) {
			s.event("stack", stack)
		}
	}
	for _, stack := range before.Stacks {
		if _, ok := find(now.Stacks, stack); !ok {
			s.event("removed", map[string]string{"name": stack.Name, "file": stack.File})
		}
	}
	for _, check := range newer(now.Checks, before.Checks) {
		s.event("check", check)
	}
	if !reflect.DeepEqual(now.Pulls, before.Pulls) && len(now.Pulls)+len(before.Pulls) > 0 {
		s.event("pulls", append([]report.Pull{}, now.Pulls...)) // [] and not null
	}
	return s.control.Flush()
}

// event writes one event; an error shows when the stream is flushed.
func (s *stream) event(name string, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		return // nothing of a report can't be marshalled
	}
	_, _ = fmt.Fprintf(s.w, "event: %s\ndata: %s\n\n", name, data)
}

func find(stacks []report.Stack, like report.Stack) (report.Stack, bool) {
	for _, s := range stacks {
		if s.Name == like.Name && s.File == like.File {
			return s, true
		}
	}
	return report.Stack{}, false
}

// newer are the checks that ended since, oldest first.
func newer(now, before []report.Check) []report.Check {
	var since time.Time
	if len(before) > 0 {
		since = before[0].Ended
	}
	var all []report.Check
	for _, c := range now {
		if c.Ended.After(since) {
			all = append([]report.Check{c}, all...)
		}
	}
	return all
}
