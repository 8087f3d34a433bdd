package reconcile

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// limit is a context whose time is measured anew once: what a stack replaces may
// take as long to stop as its owner has given it, and only then begins the time that
// the stack has to come up. Its error at the end of either is that of a deadline.
type limit struct {
	context.Context
	cancel context.CancelCauseFunc
	mu     sync.Mutex
	timer  *time.Timer
	again  bool
	over   atomic.Bool
}

// newLimit gives a context that ends after some time with a cause. It is to be
// ended.
func newLimit(ctx context.Context, after time.Duration, cause error) *limit {
	l := &limit{}
	l.Context, l.cancel = context.WithCancelCause(ctx)
	l.timer = l.in(after, cause)
	return l
}

func (l *limit) in(after time.Duration, cause error) *time.Timer {
	return time.AfterFunc(after, func() {
		l.over.Store(true)
		l.cancel(cause)
	})
}

// restart measures from now on, with another limit. It does so once; it is too late
// when the first one is over.
func (l *limit) restart(after time.Duration, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.again && l.timer.Stop() {
		l.again, l.timer = true, l.in(after, cause)
	}
}

func (l *limit) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer.Stop()
	l.cancel(nil)
}

// Err is what tells the end of the time from an end by others.
func (l *limit) Err() error {
	if err := l.Context.Err(); err == nil || !l.over.Load() {
		return err
	}
	return context.DeadlineExceeded
}
