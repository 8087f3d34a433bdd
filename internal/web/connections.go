package web

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// connections bounds how many connections are open, and knows those on which
// nothing is asked: new ones, and ones that are kept for another request.
//
// Where there are too many, the one that has been quiet the longest makes room.
// To let new ones wait instead would let strangers who only connect shut out
// everybody, the health check too.
//
// At a shutdown the quiet ones are closed at once: http.Server would wait five
// seconds for those that are new, and browsers open some ahead of need.
type connections struct {
	most int

	mu    sync.Mutex
	open  map[net.Conn]int // its turn among the quiet ones; 0 while something is asked
	turn  int
	ended bool
}

// follow is told of every change of a connection.
func (c *connections) follow(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateNew && (c.ended || !c.room()) {
		cut(conn)
		return
	}
	if _, known := c.open[conn]; !known && state != http.StateNew {
		return // it made room
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.turn++
		c.open[conn] = c.turn
	case http.StateActive:
		c.open[conn] = 0
	default:
		delete(c.open, conn)
	}
}

// room says whether there is room for one more, and makes it if it can.
func (c *connections) room() bool {
	if len(c.open) < c.most {
		return true
	}
	var oldest net.Conn
	for conn, turn := range c.open {
		if turn > 0 && (oldest == nil || turn < c.open[oldest]) {
			oldest = conn
		}
	}
	if oldest == nil {
		return false
	}
	cut(oldest)
	delete(c.open, oldest)
	return true
}

// close ends the quiet ones and lets in no more. On the others an answer may be
// on its way, also when they are quiet again: the server ends those.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for conn, turn := range c.open {
		if turn > 0 {
			cut(conn)
		}
	}
}

// cut closes a connection without the goodbye of TLS, for which it could have
// to wait.
func cut(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	_ = conn.Close()
}
