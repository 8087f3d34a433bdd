package app

import (
	"context"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/reconcile"
	"github.com/korbiniankuhn/gitops-compose/internal/repo"
)

// source fits the repository to what the loop asks for.
type source struct {
	repo    *repo.Repository
	fetched func(took time.Duration, err error)
}

func (s source) Fetch(ctx context.Context) (reconcile.Heads, error) {
	started := time.Now()
	h, err := s.repo.Fetch(ctx)
	s.fetched(time.Since(started), err)
	if err != nil {
		return reconcile.Heads{}, err
	}
	// The first fetch may have made the clone, and with it the place for the
	// journal.
	if _, err := s.repo.StateDir(); err != nil {
		return reconcile.Heads{}, err
	}
	return headsOf(h), nil
}

func (s source) Local(ctx context.Context) (reconcile.Heads, error) {
	h, err := s.repo.Local(ctx)
	return headsOf(h), err
}

func headsOf(h repo.Heads) reconcile.Heads {
	return reconcile.Heads{Local: h.Local, Remote: h.Remote, Rewritten: h.Rewritten, Edited: h.Edited}
}

func (s source) Stage(ctx context.Context, commit string) (reconcile.Tree, error) {
	return s.repo.Stage(ctx, commit)
}

func (s source) Renamed(ctx context.Context, from, to string, were, are []string) (map[string]string, error) {
	return s.repo.Renamed(ctx, from, to, were, are)
}

func (s source) Checkout(ctx context.Context, commit string) error {
	return s.repo.Checkout(ctx, commit)
}
