package engine

import (
	"context"
	"sync"

	"github.com/distribution/reference"
	"golang.org/x/sync/semaphore"
)

const (
	// pullsOfRegistry is how many images are pulled from one registry at the
	// same time. The limit is for each, so that one that hangs holds up its own
	// only. It is more than an engine downloads at once, which has another image
	// to get on with while it unpacks.
	pullsOfRegistry = 8
	// buildsAtOnce and inspectsAtOnce keep the engine usable when many stacks
	// come at once.
	buildsAtOnce   = 4
	inspectsAtOnce = 16
)

// pulls lets several stacks that want one image at the same time pull it once.
// Those that wait for that take up nobody's turn.
type pulls struct {
	mu      sync.Mutex
	running map[string]*pull
	turns   map[string]*semaphore.Weighted // by registry, or what else it is for
}

type pull struct {
	done chan struct{}
	err  error
}

// once runs do for a key, or waits for the one that runs already. A caller
// whose context ends leaves the others alone.
func (p *pulls) once(ctx context.Context, key string, do func(context.Context) error) error {
	p.mu.Lock()
	if p.running == nil {
		p.running = map[string]*pull{}
	}
	running, ok := p.running[key]
	if !ok {
		running = &pull{done: make(chan struct{})}
		p.running[key] = running
		go func() {
			running.err = do(context.WithoutCancel(ctx))
			p.mu.Lock()
			delete(p.running, key)
			p.mu.Unlock()
			close(running.done)
		}()
	}
	p.mu.Unlock()
	select {
	case <-running.done:
		return running.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// turn waits until another image may be pulled from a reference's registry.
func (p *pulls) turn(ctx context.Context, ref string) (release func(), err error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, err
	}
	return p.turnOf(ctx, "registry "+reference.Domain(named), pullsOfRegistry)
}

// turnOf waits until one more of a kind may be done, of which at most so many
// are at the same time.
func (p *pulls) turnOf(ctx context.Context, kind string, most int64) (release func(), err error) {
	p.mu.Lock()
	if p.turns == nil {
		p.turns = map[string]*semaphore.Weighted{}
	}
	turns := p.turns[kind]
	if turns == nil {
		turns = semaphore.NewWeighted(most)
		p.turns[kind] = turns
	}
	p.mu.Unlock()
	if err := turns.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { turns.Release(1) }, nil
}
