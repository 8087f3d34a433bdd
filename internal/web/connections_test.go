package web

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// closed says whether the other side has closed a connection.
func closed(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now()) // what is closed is so at once in a pipe
	_, err := c.Read(make([]byte, 1))
	return err != nil && !strings.Contains(err.Error(), "timeout")
}

// TestTheConnectionThatIsQuietTheLongestMakesRoom tells of connections a, b, c
// and so on in order; the numbers are what was told.
func TestTheConnectionThatIsQuietTheLongestMakesRoom(t *testing.T) {
	for _, c := range []struct{ told, want string }{
		{"a new, b new, c new", "abc"},
		{"a new, b new, c new, d new", "bcd"},
		{"a new, b new, c new, a active, d new", "acd"},
		{"a new, b new, c new, a active, a idle, d new", "acd"},
		{"a new, b new, c new, a active, b active, c active, d new", "abc"},
		{"a new, b new, c new, b closed, d new", "acd"},
		{"a new, b new, c new, d new, a active, a idle, e new", "cde"},
		{"a new, a active, b new, c new, c active, c idle, end", "a"},
		{"a new, a active, end, a idle, b new", "a"},
	} {
		all := &connections{most: 3, open: map[net.Conn]int{}}
		near, far := map[string]net.Conn{}, map[string]net.Conn{}
		for told := range strings.SplitSeq(c.told, ", ") {
			name, state, _ := strings.Cut(told, " ")
			switch {
			case name == "end":
				all.close()
				continue
			case near[name] == nil:
				near[name], far[name] = net.Pipe()
			case state == "closed":
				_ = near[name].Close()
			}
			all.follow(near[name], map[string]http.ConnState{"new": http.StateNew, "active": http.StateActive, "idle": http.StateIdle, "closed": http.StateClosed}[state])
		}
		got := ""
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			if far[name] != nil && !closed(far[name]) {
				got += name
			}
		}
		if got != c.want {
			t.Errorf("%s: %s are open, want %s", c.told, got, c.want)
		}
	}
}

func TestWhoOnlyConnectsShutsNobodyOut(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %t", withTLS), func(t *testing.T) {
			path := configFile(t, withTLS, "")
			f := serve(t, func(o *Options) { o.ConfigFile = path })
			address := strings.TrimPrefix(f.url, "http://")
			var silent []net.Conn
			for range maxConnections + 44 {
				c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				silent = append(silent, c)
			}
			if err := Healthcheck(t.Context(), address, path); err != nil {
				t.Error(err)
			}
			if n, err := silent[0].Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("the first is still open: %d, %v", n, err)
			}
		})
	}
}
