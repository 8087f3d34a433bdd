//go:build engine

package e2e

import (
	"bytes"
	"context"
	wire "encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"

	"golang.org/x/sys/unix"

	"github.com/korbiniankuhn/gitops-compose/internal/handover"
)

// moment is a point in time within a step of a hand-over.
type moment string

const (
	// before: the step is written down, and the engine has not heard of what is
	// to be done next. Nor will it.
	before moment = "before"
	// late: the same, but the engine hears of it when the caller is dead.
	late moment = "late"
	// after: what is to be done next is done, and not written down.
	after moment = "after"
)

// gate holds a hand-over up.
type gate struct {
	matches func(kind string) bool // the engine's calls that are held up
	late    bool
	once    sync.Once
	hit     chan struct{} // closed when somebody is held up
	open    chan struct{} // lets them go on
}

func newGate() *gate { return &gate{hit: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) stop() { g.once.Do(func() { close(g.hit) }) }

func (g *gate) reached() bool {
	select {
	case <-g.hit:
		return true
	default:
		return false
	}
}

// stopAt holds the hand-over up at a moment of a step until pass is called.
func (o *own) stopAt(step handover.Step, m moment) (g *gate, pass func()) {
	g = newGate()
	if m == after {
		o.writes.set(step, g)
		return g, func() { o.writes.set("", nil); close(g.open) }
	}
	g.late = m == late
	g.matches = func(kind string) bool {
		now := o.step()
		if step == handover.Done && now == "" && g.reached() { // those that are left forget the record
			now = step
		}
		switch {
		case now != step:
			return false
		case step == handover.Helped: // what follows only looks
			return kind == "GET /containers/*/json"
		case step == handover.Started: // what follows is the new daemon's to do
			return strings.HasPrefix(kind, "GET /containers/json")
		default:
			return mutates(kind)
		}
	}
	o.proxy.setGate(g)
	return g, func() { o.proxy.setGate(nil); close(g.open) }
}

// writes watches who writes the record of a hand-over, in whatever container,
// and makes them wait.
type writes struct {
	o  *own
	fd int

	mu   sync.Mutex
	step handover.Step // at which writers wait
	gate *gate
}

func (w *writes) set(step handover.Step, g *gate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.step, w.gate = step, g
}

// watchWrites has the kernel ask whether a file may be opened, for all in the
// folder of the record.
func (o *own) watchWrites(t *testing.T) {
	t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC)
	if err != nil {
		t.Fatalf("this test needs root: fanotify_init: %v", err)
	}
	// The runtime's poller waits for it, so that closing it ends the wait.
	f := os.NewFile(uintptr(fd), "fanotify")
	o.writes = &writes{o: o, fd: fd}
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_PERM|unix.FAN_EVENT_ON_CHILD, -1, filepath.Dir(o.recordFile())); err != nil {
		t.Fatalf("fanotify_mark: %v", err)
	}
	done := make(chan struct{})
	go func() { defer close(done); o.writes.answer(f) }()
	t.Cleanup(func() { _ = f.Close(); <-done })
}

// answer lets everybody open everything, but writers of the record wait when
// they are to.
func (w *writes) answer(f *os.File) {
	buf := make([]byte, 64<<10)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for {
		n, err := f.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		for events := buf[:max(n, 0)]; len(events) >= unix.FAN_EVENT_METADATA_LEN; {
			var e unix.FanotifyEventMetadata
			_ = wire.Read(bytes.NewReader(events), wire.NativeEndian, &e)
			events = events[e.Event_len:]
			path, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", e.Fd))
			// Containers have the folder elsewhere, and it is the only one watched.
			if filepath.Base(path) != filepath.Base(w.o.recordFile())+".new" {
				w.allow(f, e.Fd)
				continue
			}
			// To look at the record is to open it: not in this goroutine, which
			// would have to allow it.
			waiting.Add(1)
			go func() { defer waiting.Done(); w.hold(); w.allow(f, e.Fd) }()
		}
	}
}

func (w *writes) hold() {
	step := w.o.step()
	w.mu.Lock()
	g := w.gate
	if w.step != step {
		g = nil
	}
	w.mu.Unlock()
	if g != nil {
		g.stop()
		<-g.open
	}
}

func (w *writes) allow(f *os.File, fd int32) {
	b, _ := wire.Append(nil, wire.NativeEndian, unix.FanotifyResponse{Fd: fd, Response: unix.FAN_ALLOW})
	_, _ = f.Write(b)
	_ = syscall.Close(int(fd))
}

// reached waits until somebody is held up.
func (o *own) reached(g *gate) {
	o.t.Helper()
	select {
	case <-g.hit:
	case <-time.After(limit):
		o.t.Fatalf("the hand-over does not get to where it is to be held up; it is at %q", o.step())
	}
}

func projectArgs(project string) filters.Args {
	return filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+project))
}

// works asks a daemon whether it works: one that waits for another's end has
// not looked, and is not ready.
func works(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+":2112/readyz", nil)
	if err != nil {
		return false
	}
	r.SetBasicAuth(httpUser, httpPassword)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
