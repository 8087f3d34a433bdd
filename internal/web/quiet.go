package web

import (
	"net"
	"net/http"
	"sync"
)

// quiet knows the connections on which nothing is asked. At a shutdown they are
// closed at once: http.Server would wait five seconds for those that are new,
// and browsers open some ahead of need, and one second for those of HTTP/2.
type quiet struct {
	mu    sync.Mutex
	open  map[net.Conn]bool
	ended bool
}

// follow is told of every change of a connection.
func (q *quiet) follow(c net.Conn, state http.ConnState) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.ended && state == http.StateNew: // accepted just before the listener was closed
		_ = c.Close()
	case q.ended: // an answer may be on its way
	case state == http.StateNew, state == http.StateIdle:
		q.open[c] = true
	default:
		delete(q.open, c)
	}
}

func (q *quiet) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	for c := range q.open {
		_ = c.Close()
	}
	q.open = nil
}
