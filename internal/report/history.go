package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// kept is how many ended checks a History remembers.
const kept = 10

// Reporter is told what checks do: Looked when a look has ended, Updated when
// a stack has changed while operations run, Ended when all operations of a
// check have. Looks and ends of different checks overlap when a stack is slow.
type Reporter interface {
	Looked(Look)
	Updated(Stack)
	Ended(Check)
}

// Fan passes everything on to several reporters, in order.
type Fan []Reporter

// Looked passes a look on.
func (f Fan) Looked(l Look) {
	for _, r := range f {
		r.Looked(l)
	}
}

// Updated passes a stack on.
func (f Fan) Updated(s Stack) {
	for _, r := range f {
		r.Updated(s)
	}
}

// Ended passes a check on.
func (f Fan) Ended(c Check) {
	for _, r := range f {
		r.Ended(c)
	}
}

// Overview is the state of everything at one moment. What its slices hold is
// shared and must not be changed.
type Overview struct {
	// Problem says why the daemon is not ready as far as checks can tell; empty
	// if it is.
	Problem string
	// Stacks is the picture of the newest look that saw one, with what has
	// changed since.
	Stacks []Stack
	// Look is the newest; its At is zero before the first.
	Look Look
	// OfflineSince is when the first of the looks began that could not ask the
	// remote, up to the newest; zero when the newest could.
	OfflineSince time.Time
	// Checks are the last ten that ended, newest first. They have no Stacks, but
	// the Final picture.
	Checks []Check
	// Success is when the last successful check ended.
	Success time.Time
	// Next is when the next check is due; zero if not known.
	Next time.Time
	// Pulls are those that run, by image.
	Pulls []Pull
}

// Public is what strangers may read: an Overview without any Detail, whose checks
// have no pictures.
func (o Overview) Public() Overview {
	o.Stacks = public(o.Stacks)
	o.Checks = slices.Clone(o.Checks)
	for i, c := range o.Checks {
		c.Final = nil
		c.Operations = slices.Clone(c.Operations)
		for j := range c.Operations {
			c.Operations[j].Detail = ""
		}
		o.Checks[i] = c
	}
	o.Look.Stacks = public(o.Look.Stacks)
	return o
}

// At is the overview with the words of the engine as they read at a time.
func (o Overview) At(now time.Time) Overview {
	o.Stacks = slices.Clone(o.Stacks)
	for i := range o.Stacks {
		services := slices.Clone(o.Stacks[i].Services)
		for j, s := range services {
			if !s.Said.IsZero() {
				services[j].Since = aged(s.Since, now.Sub(s.Said))
			}
		}
		o.Stacks[i].Services = services
	}
	return o
}

// public copies: what an Overview holds is shared.
func public(stacks []Stack) []Stack {
	all := slices.Clone(stacks)
	for i := range all {
		all[i].Detail = ""
	}
	return all
}

// History is the memory behind status page, API and readiness. It is a
// Reporter and safe for concurrent use. Nothing is decided by it.
type History struct {
	ping func(context.Context) error

	mu      sync.Mutex
	now     Overview
	own     bool // nobody else has the list of now's stacks
	changed chan struct{}
}

// NewHistory makes an empty History. ping asks whether the engine answers; nil
// if there is nothing to ask.
func NewHistory(ping func(context.Context) error) *History {
	return &History{ping: ping, now: Overview{Problem: "no check has looked yet"}, changed: make(chan struct{})}
}

// Looked takes over the picture of a look. A look that failed saw none: what
// was known before still holds.
func (h *History) Looked(l Look) {
	h.change(func(o *Overview) {
		switch {
		case l.Offline == "":
			o.OfflineSince = time.Time{}
		case o.OfflineSince.IsZero():
			o.OfflineSince = l.At
		}
		o.Look = l
		o.Problem = problem(l.Error)
		if l.Stacks != nil {
			o.Stacks, h.own = l.Stacks, false
		}
	})
}

// Updated replaces the state of one stack. Name and file together identify it:
// two files can want the same name, and a file can change its name.
func (h *History) Updated(s Stack) {
	h.change(func(o *Overview) {
		for i, old := range o.Stacks {
			if old.Name == s.Name && old.File == s.File {
				if !h.own {
					o.Stacks, h.own = slices.Clone(o.Stacks), true
				}
				o.Stacks[i] = s
				return
			}
		}
		o.Stacks, h.own = append(slices.Clip(o.Stacks), s), true
	})
}

// Ended records a check. One that a newer look has overtaken says nothing any
// more about readiness, and its picture lacks the stacks that are new since:
// what it did to single stacks has been told by Updated.
func (h *History) Ended(c Check) {
	c.Stacks = nil // a picture of 500 stacks is large
	h.change(func(o *Overview) {
		o.Checks = slices.Insert(slices.Clone(o.Checks), 0, c)
		o.Checks = o.Checks[:min(len(o.Checks), kept)]
		if c.Success() {
			o.Success = c.Ended
		}
		if c.At.Before(o.Look.At) {
			return
		}
		o.Problem = problem(c.Error)
		if c.Final != nil {
			o.Stacks, h.own = c.Final, false
		}
	})
}

// Scheduled records when the next check is due; the zero time means that none
// is.
func (h *History) Scheduled(next time.Time) {
	h.change(func(o *Overview) { o.Next = next })
}

// Pulling records how far a pull is, or that it has ended.
func (h *History) Pulling(p Pull, ended bool) {
	h.change(func(o *Overview) {
		o.Pulls = slices.DeleteFunc(slices.Clone(o.Pulls), func(other Pull) bool { return other.Image == p.Image })
		if !ended {
			o.Pulls = append(o.Pulls, p)
		}
		slices.SortFunc(o.Pulls, func(a, b Pull) int { return strings.Compare(a.Image, b.Image) })
	})
}

// Snapshot is the state now.
func (h *History) Snapshot() Overview {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.own = false
	return h.now
}

// Changed gives a channel that is closed at the next change. Take it before
// the Snapshot, and no change is missed in between.
func (h *History) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// Ready says why the daemon is not ready: no successful look yet, the last one
// failed, or the engine does not answer now. nil if it is ready.
func (h *History) Ready(ctx context.Context) error {
	if p := h.Snapshot().Problem; p != "" {
		return errors.New(p)
	}
	if h.ping == nil {
		return nil
	}
	if err := h.ping(ctx); err != nil {
		return fmt.Errorf("the engine does not answer: %w", err)
	}
	return nil
}

// change changes the state and wakes everybody who waits for that.
func (h *History) change(f func(*Overview)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.now)
	close(h.changed)
	h.changed = make(chan struct{})
}

func problem(err string) string {
	if err == "" {
		return ""
	}
	return "the last check failed: " + err
}
