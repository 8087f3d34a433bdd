package app

import (
	"context"
	"errors"

	"github.com/korbiniankuhn/gitops-compose/internal/control"
	"github.com/korbiniankuhn/gitops-compose/internal/repo"
)

// Control gives a client of the daemon that works on the clone of a configuration.
func Control(ctx context.Context, o Options) (*control.Client, error) {
	r, err := repo.Open(ctx, repo.Options{
		Path: o.Config.RepositoryPath, URL: o.Config.RepositoryURL, Branch: o.Config.RepositoryBranch, ReadOnly: true, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	dir, err := r.StateDir()
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return control.Dial(dir), nil
}
