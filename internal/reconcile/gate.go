package reconcile

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// gate keeps a checkout apart from operations that touch containers, as these are
// made from the files that it moves:
//
//	an operation                       when a checkout is due
//	------------                       ----------------------
//	has not begun                      waits until it is over, and begins if it
//	                                   still fits the commit
//	brings a stack up that uses files  is waited for, as far as patience goes
//	and that the commit changes, or
//	runs a hook of it
//	brings another stack up            goes on: its files stay
//	stops something                    goes on: it needs no files
//	waits within an Up                 goes on waiting, and starts nothing more if
//	                                   the commit changes the stack
type gate struct {
	mu     sync.Mutex
	head   string        // the commit that the clone is at
	wants  []plan.Stack  // its stacks, if they are known
	moving chan struct{} // closed when the checkout that is due is over; nil if none is
	inside map[*task]int // how often each is
	left   chan struct{} // a buffer of one: somebody is inside no more
}

func newGate() *gate {
	return &gate{inside: map[*task]int{}, left: make(chan struct{}, 1)}
}

var errStale = errors.New("the clone has moved on since this was planned")

// at says where the clone is, and what that commit wants, nil if it is not known
// now. No checkout may be due.
func (g *gate) at(head string, wants []plan.Stack) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.head != head || wants != nil {
		g.head, g.wants = head, wants
	}
}

// fits says whether an operation was planned for where the clone is.
func (g *gate) fits(t *task) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return t.fits(g.head)
}

// fits says whether a task was planned for a commit. A stop may come before the
// checkout of its plan.
func (t *task) fits(head string) bool {
	return head == t.check.To || t.Kind == plan.Stop && head == t.check.From
}

// touch runs what touches containers when no checkout is due, if that still fits
// where the clone is then.
func (g *gate) touch(ctx context.Context, t *task, do func() error) error {
	if err := g.enter(ctx, t, false); err != nil {
		return err
	}
	defer g.leave(t)
	return do()
}

// enter is for a task that begins, or enters again.
func (g *gate) enter(ctx context.Context, t *task, again bool) error {
	for {
		moving, err := g.tryEnter(t, again)
		if moving == nil {
			return err
		}
		select {
		case <-moving:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryEnter enters, if that is not to wait for a checkout.
func (g *gate) tryEnter(t *task, again bool) (moving <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.moving != nil:
		return g.moving, nil
	case !t.fits(g.head) && !(again && same(g.wants, t)):
		return nil, errStale
	}
	g.inside[t]++
	return nil, nil
}

func (g *gate) leave(t *task) {
	g.mu.Lock()
	if g.inside[t]--; g.inside[t] == 0 {
		delete(g.inside, t)
	}
	g.mu.Unlock()
	select {
	case g.left <- struct{}{}:
	default:
	}
}

// move lets a checkout take the clone to a commit that wants these stacks, when
// nobody is in its way or patience has ended. Until it is over nobody enters.
func (g *gate) move(patience context.Context, to string, wants []plan.Stack, checkout func() error) error {
	over := make(chan struct{})
	g.mu.Lock()
	g.moving = over
	g.mu.Unlock()
	for patience.Err() == nil && g.inTheWay(wants) {
		select {
		case <-g.left:
		case <-patience.Done():
		}
	}
	err := checkout()
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.head, g.wants = to, wants
	}
	g.moving = nil
	close(over)
	return err
}

// inTheWay says whether files would be moved that somebody inside uses.
func (g *gate) inTheWay(wants []plan.Stack) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for t := range g.inside {
		if (t.Kind == plan.Up || t.Kind == plan.Before) && t.project.UsesFiles() && !same(wants, t) {
			return true
		}
	}
	return false
}

// same says whether a stack is wanted as an operation on it has it, which goes for
// the files that it uses, too.
func same(wants []plan.Stack, t *task) bool {
	return slices.ContainsFunc(wants, func(s plan.Stack) bool {
		return s.Name == t.Stack && s.File == t.File && s.Invalid == "" && s.Digest == t.project.Digest
	})
}

// turn is what the Up of a task has while it is inside; see Turn.
type turn struct {
	gate   *gate
	task   *task
	rested atomic.Bool
	// rest is what is done once when it is given back.
	rest func()
	// starting begins the time that the stack has to come up.
	starting func()
}

func (u *turn) Starting() { u.starting() }

func (u *turn) Rest() {
	if u.rested.CompareAndSwap(false, true) {
		u.gate.leave(u.task)
		u.rest()
	}
}

func (u *turn) Touch(ctx context.Context, do func() error) error {
	if !u.rested.Load() {
		return do()
	}
	if err := u.gate.enter(ctx, u.task, true); err != nil {
		return err
	}
	defer u.gate.leave(u.task)
	return do()
}
