package engine

import (
	"context"
	"sync"

	"github.com/distribution/reference"
	"golang.org/x/sync/semaphore"
)

// pullsOfRegistry is how many images are pulled from one registry at the same
// time. The limit is for each, so that one that hangs holds up its own only.
const pullsOfRegistry = 4

// pulls lets several stacks that want one image at the same time pull it once.
type pulls struct {
	mu      sync.Mutex
	running map[string]*pull
	turns   map[string]*semaphore.Weighted // by registry
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
	host := reference.Domain(named)
	p.mu.Lock()
	if p.turns == nil {
		p.turns = map[string]*semaphore.Weighted{}
	}
	turns := p.turns[host]
	if turns == nil {
		turns = semaphore.NewWeighted(pullsOfRegistry)
		p.turns[host] = turns
	}
	p.mu.Unlock()
	if err := turns.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { turns.Release(1) }, nil
}
