package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/korbiniankuhn/gitops-compose/internal/config"
	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/handover"
	"github.com/korbiniankuhn/gitops-compose/internal/reconcile"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/repo"
)

// successor fits hand-overs to what the loop asks for.
type successor struct{ *handover.HandOver }

func (s successor) Over(ctx context.Context, p render.Project, o reconcile.Own) error {
	return s.HandOver.Over(ctx, p, handover.Request{
		Stack: p.Name, File: p.File, Service: o.Service, Version: o.Version, Commit: o.Commit, Cause: o.Cause, Timeout: o.Timeout,
	})
}

func (s successor) Outcome() (reconcile.Outcome, bool) {
	o, ok := s.HandOver.Outcome()
	return reconcile.Outcome{
		Own:   reconcile.Own{Service: o.Service, Version: o.Version, Commit: o.Commit, Cause: o.Cause, Timeout: o.Timeout},
		Stack: o.Stack, File: o.File, Started: o.Started, Ended: o.Ended, Gap: o.Gap, Image: o.Image, Reference: o.Reference, Error: o.Error, Detail: o.Detail, Again: o.Again,
	}, ok
}

// HandOverCommand is the subcommand that Help is behind.
const HandOverCommand = handover.Command

// Help is what a helper container of a hand-over does: role says which it is,
// and dir is the folder that tells of the hand-over. Of the daemon's configuration,
// which may be what changes, it needs what config.ForHelper gives.
func Help(ctx context.Context, c config.Config, log *slog.Logger, role, dir string) (err error) {
	api, err := engine.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, api.Close()) }()
	clear, hostClear := engine.LocateClear(ctx, api, c.SecretsPath)
	e := engine.New(api, engine.Options{Secrets: clear, HostSecrets: hostClear, Logger: log})
	return handover.Help(ctx, handover.HelpOptions{
		Role: role, Dir: dir, Engine: e, Self: engine.Self(ctx, api), Logger: log,
		Load: func(ctx context.Context, clone handover.Clone, commit, stack string) (render.Project, error) {
			return loadOne(ctx, c, hostClear, log, clone, commit, stack)
		},
	})
}

// loadOne loads one stack of a clone at a commit, and changes nothing of the
// clone: a daemon may be at work in it.
func loadOne(ctx context.Context, c config.Config, hostClear string, log *slog.Logger, clone handover.Clone, commit, stack string) (p render.Project, err error) {
	r, err := repo.Open(ctx, repo.Options{Path: clone.Path, Branch: clone.Branch, ReadOnly: true, Logger: log})
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	tree, err := r.Stage(ctx, commit)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	loaded, err := render.New(render.Options{
		Root: clone.Path, HostRoot: clone.HostRoot, Files: c.StackFiles, Environment: c.StackEnvironment, Keys: keys(c), SecretsDir: c.SecretsDir, HostSecrets: hostClear,
		Repository: clone.Identity, Hasher: engine.Hasher{}, Logger: log,
	}).Load(ctx, tree)
	if err != nil {
		return p, err
	}
	projects := loaded.Projects
	i := slices.IndexFunc(projects, func(p render.Project) bool { return p.Name == stack })
	switch {
	case i < 0:
		return p, fmt.Errorf("commit %s has no stack %s", commit, stack)
	case projects[i].Invalid != "":
		return p, fmt.Errorf("stack %s: %s", stack, projects[i].Invalid)
	default:
		return projects[i], nil
	}
}
