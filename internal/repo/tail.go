package repo

import (
	"strings"
	"sync"
)

// tail keeps the beginning of what a server writes to stderr.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const maxTail = 1024

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := maxTail - len(t.b); n > 0 {
		t.b = append(t.b, b[:min(n, len(b))]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
