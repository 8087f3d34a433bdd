package reconcile

import (
	"errors"
	"time"
)

// lookBackoff is the pause after failed looks in a row.
func lookBackoff(failures int) time.Duration {
	return min(5*time.Second<<min(failures-1, 10), 5*time.Minute)
}

// backoff is the pause before a stack is tried again after failures in a row.
func backoff(failures int) time.Duration {
	return min(10*time.Second<<min(failures-1, 10), time.Hour)
}

// retryAfter is the pause that somebody else asked for with an error.
func retryAfter(err error) time.Duration {
	var wait interface{ RetryAfter() time.Duration }
	if !errors.As(err, &wait) {
		return 0
	}
	return wait.RetryAfter()
}

// alarm is a timer that can be unset.
type alarm struct {
	t  *time.Timer
	at time.Time // zero when unset
}

func newAlarm() *alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &alarm{t: t}
}

// set arms it, or unsets it for 0.
func (a *alarm) set(d time.Duration) {
	a.t.Stop()
	a.at = time.Time{}
	if d > 0 {
		a.t.Reset(d)
		a.at = time.Now().Add(d)
	}
}

// until arms it for a time, which may have passed, or unsets it for none.
func (a *alarm) until(at time.Time) {
	if a.at.Equal(at) {
		return
	}
	if at.IsZero() {
		a.set(0)
		return
	}
	a.set(max(time.Until(at), time.Millisecond))
	a.at = at
}

func (a *alarm) ring() <-chan time.Time { return a.t.C }
