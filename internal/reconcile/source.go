package reconcile

import (
	"context"
	"time"
)

// Heads are where the clone is and where the remote is.
type Heads struct {
	Local, Remote string
	// Rewritten says that the remote's history was replaced.
	Rewritten bool
	// Edited are tracked files that were changed by hand in the clone.
	Edited []string
}

// Source is the repository. Fetch may take long and is called by a goroutine of
// its own; the other methods are called by the loop meanwhile, and don't wait
// for it.
type Source interface {
	// Fetch gets the remote head. After an error nothing of git may be applied.
	Fetch(ctx context.Context) (Heads, error)
	// Local asks nobody: the clone's head is the remote head, too. Only where a
	// checkout was interrupted is Local another one: where that was going to.
	Local(ctx context.Context) (Heads, error)
	// Stage shows a commit: the local head, or a fetched one.
	Stage(ctx context.Context, commit string) (Tree, error)
	// Renamed tells which of some files of a commit git takes for which of an earlier
	// one's, by what is in them. Those that both have are left out.
	Renamed(ctx context.Context, from, to string, were, are []string) (map[string]string, error)
	// Checkout takes the clone to a commit, all of it or nothing, and never
	// touches what git does not track. At that commit already it does nothing.
	Checkout(ctx context.Context, commit string) error
}

// known is what is known of the remote.
type known struct {
	Heads
	// trigger is why it was asked, asked when.
	trigger string
	asked   time.Time
	// tree shows the remote head, as seen from the clone's; nil if that is the
	// same commit. It is to be closed.
	tree Tree
	err  error
	// fresh says that no look has gone by it yet.
	fresh bool
}

func (k *known) close() error {
	if k.tree == nil {
		return nil
	}
	tree := k.tree
	k.tree = nil
	return tree.Close()
}

// remote asks the remote beside the loop, so that a slow one delays nobody.
type remote struct {
	source Source
	asks   chan string
	news   chan known
}

func newRemote(s Source) *remote {
	return &remote{source: s, asks: make(chan string, 1), news: make(chan known)}
}

// ask wants the remote to be asked. It never blocks; what is asked for while a
// fetch runs is one more fetch.
func (r *remote) ask(trigger string) {
	select {
	case r.asks <- trigger:
	default: // one is waiting already, and will see the same
	}
}

// run answers until ctx ends.
func (r *remote) run(ctx context.Context) {
	for {
		select {
		case trigger := <-r.asks:
			k := r.fetch(ctx, trigger)
			select {
			case r.news <- k:
			case <-ctx.Done():
				_ = k.close() // the next start clears away what is left
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// fetch fetches and stages.
func (r *remote) fetch(ctx context.Context, trigger string) known {
	k := known{trigger: trigger, asked: time.Now()}
	if k.Heads, k.err = r.source.Fetch(ctx); k.err != nil {
		k.err = verb(k.err, "fetch")
		return k
	}
	if k.Local != k.Remote {
		k.tree, k.err = r.source.Stage(ctx, k.Remote)
		k.err = verb(k.err, "stage %s", k.Remote)
	}
	return k
}
