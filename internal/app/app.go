// Package app builds everything from a configuration, starts it and stops it.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/korbiniankuhn/gitops-compose/internal/config"
	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/eventlog"
	"github.com/korbiniankuhn/gitops-compose/internal/handover"
	"github.com/korbiniankuhn/gitops-compose/internal/metrics"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/reconcile"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/repo"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
	"github.com/korbiniankuhn/gitops-compose/internal/secrets"
	"github.com/korbiniankuhn/gitops-compose/internal/web"
)

// Options of an App.
type Options struct {
	Config  config.Config
	Logger  *slog.Logger
	Version string
	// Commit is what the program was built from; "" if that is not known.
	Commit string
}

// App is the daemon, built and not yet running.
type App struct {
	log        *slog.Logger
	engine     *engine.Engine
	server     *web.Server
	profiler   *web.Profiler // nil where nobody wants profiles
	reconciler *reconcile.Reconciler
	events     func(context.Context) // relays engine events
	clone      string
	state      func() (string, error) // the folder for what is remembered
	handOver   *handover.HandOver     // nil outside of a container
	teardown   []step
}

// step undoes a start, by name, in reverse order.
type step struct {
	name string
	do   func() error
}

// New builds the daemon: it connects to the engine, opens the clone and binds
// the address. Its errors are for a person who starts it; none needs a stack
// trace to be understood.
func New(ctx context.Context, o Options) (*App, error) {
	a := &App{log: o.Logger}
	if err := a.build(ctx, o); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *App) build(ctx context.Context, o Options) error {
	c := o.Config
	// The history asks the engine, which tells the history of its pulls.
	history := report.NewHistory(func(ctx context.Context) error { return a.engine.Ping(ctx) })
	p, err := open(ctx, o, false, pulling(history))
	if err != nil {
		return err
	}
	a.teardown = append(a.teardown, p.teardown...)
	a.engine, a.clone, a.state = p.engine, p.clone.Path, p.repo.StateDir

	past := eventlog.Open(p.repo.StateDir)
	registry := prometheus.NewRegistry()
	counters := metrics.New(registry, metrics.Options{Version: o.Version, Commit: o.Commit, Interval: c.CheckInterval})
	events := make(chan plan.Event, 64)
	a.events = func(ctx context.Context) { relay(ctx, p.engine.Events(ctx), events) }
	reporters := report.Fan{counters, history}
	if p.self != "" {
		a.handOver = handover.New(handover.Options{
			Engine: p.engine, Dir: p.repo.StateDir, Clone: p.clone, Self: p.self, Logger: o.Logger,
		})
		reporters = append(reporters, a.handOver)
	}
	a.reconciler = reconcile.New(p.options(o, func(r *reconcile.Options) {
		r.Source = source{repo: p.repo, fetched: counters.Fetched}
		r.Reporter = reporters
		if a.handOver != nil {
			r.HandOver = successor{a.handOver}
		}
		r.Events = events
		r.Scheduled = history.Scheduled
		r.Happened = keep(past, o.Logger)
		r.Describe = describe(p.repo)
		r.Registry = p.engine
		if c.PruneImages {
			r.Pruner = p.engine
		}
	}))

	var gatherer prometheus.Gatherer = registry
	if c.DisableMetrics {
		gatherer = nil
	}
	a.server, err = web.New(web.Options{
		Address: c.HTTPAddress, ConfigFile: c.HTTPConfigFile, Log: o.Logger, Version: o.Version,
		History: history, Gatherer: gatherer, Trigger: a.reconciler.Trigger, Command: a.reconciler.Do, Past: past.Find,
		DisableWebhook: c.DisableWebhook, WebhookSecret: c.WebhookSecret.Value,
		Branch: c.RepositoryBranch, Remote: p.repo.Remote, Count: counters.Webhook,
	})
	if err == nil && c.PprofAddress != "" {
		a.profiler, err = web.NewProfiler(c.PprofAddress, o.Logger)
	}
	return err
}

// Run works until ctx ends, then stops cleanly.
func (a *App) Run(ctx context.Context) error {
	growLess()
	forgetStart()
	a.log.Info("listening", "address", a.server.Addr())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { a.engine.CheckLogins(ctx); return nil })
	g.Go(func() error { a.engine.SweepSecrets(ctx); return nil })
	g.Go(func() error { a.events(ctx); return nil })
	g.Go(func() error { return a.server.Run(ctx) })
	if a.profiler != nil {
		a.log.Info("showing profiles", "address", a.profiler.Addr())
		g.Go(func() error { return a.profiler.Run(ctx) })
	}
	g.Go(func() error { return a.work(ctx) })
	return errors.Join(g.Wait(), a.Close())
}

// work reconciles, as the only daemon that works on the clone.
func (a *App) work(ctx context.Context) error {
	release, err := handover.Claim(ctx, a.clone, func() {
		a.log.Warn("another daemon works on this clone; waiting for its end")
	})
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		a.log.Warn("can't lock the clone against other daemons", "err", err)
	default:
		defer release()
	}
	listening := make(chan struct{})
	defer func() { <-listening }()
	go func() {
		defer close(listening)
		a.listen(ctx)
	}()
	if a.handOver == nil {
		return a.reconciler.Run(ctx)
	}
	if err := a.handOver.Start(ctx); ctx.Err() != nil {
		return nil
	} else if err != nil {
		a.log.Warn("can't clean up after an earlier hand-over", "err", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.reconciler.Run(ctx) })
	g.Go(func() error {
		err := a.handOver.Attend(ctx, func() { a.reconciler.Trigger("hand_over") })
		if err != nil && ctx.Err() == nil {
			a.log.Warn("can't follow the running hand-over", "err", err)
		}
		return nil
	})
	return g.Wait()
}

// listen opens the control socket once there is a clone, and serves it until ctx ends.
// The daemon works without it.
func (a *App) listen(ctx context.Context) {
	const again = time.Second // until the first fetch has made a clone
	dir, err := a.state()
	for ; err != nil; dir, err = a.state() {
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return
		}
	}
	socket, err := a.server.Listen(dir)
	if err == nil {
		err = socket.Run(ctx)
	}
	if err != nil && ctx.Err() == nil {
		a.log.Warn("the commands that ask the daemon, such as status and suspend, don't work", "err", err)
	}
}

// Close releases what New took, last in first out. Run does so by itself.
func (a *App) Close() error {
	return undo(a.teardown)
}

func undo(steps []step) error {
	var errs []error
	for i := len(steps) - 1; i >= 0; i-- {
		if err := steps[i].do(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", steps[i].name, err))
		}
	}
	return errors.Join(errs...)
}

// Plan says what the next check of a daemon with this configuration would do,
// and touches nothing: neither the clone nor the engine.
func Plan(ctx context.Context, o Options) (p plan.Plan, err error) {
	parts, err := open(ctx, o, true, nil)
	if err != nil {
		return plan.Plan{}, err
	}
	defer func() { err = errors.Join(err, undo(parts.teardown)) }()
	return parts.dry(o).Plan(ctx)
}

// parts are what the daemon and a dry run have in common.
type parts struct {
	repo     *repo.Repository
	engine   *engine.Engine
	loader   *render.Loader
	journal  string
	window   plan.Window
	clone    handover.Clone
	self     string // the daemon's container, if it runs in one
	teardown []step
}

// seesHost says whether a path of the engine's host is the same here: not in a container
// of its own, nor where the engine is on another host.
func (p parts) seesHost() bool {
	return p.self == "" && p.clone.HostRoot != "" && p.clone.HostRoot == p.clone.Path
}

// dry is a reconciler that only says what there is to do.
func (p parts) dry(o Options) *reconcile.Reconciler {
	return reconcile.New(p.options(o, func(r *reconcile.Options) {
		r.Source = source{repo: p.repo, fetched: func(time.Duration, error) {}}
	}))
}

func open(ctx context.Context, o Options, readOnly bool, progress func(engine.Progress)) (p parts, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, undo(p.teardown))
		}
	}()
	c := o.Config
	api, err := engine.Connect(ctx)
	if err != nil {
		return p, err
	}
	p.teardown = append(p.teardown, step{"engine", api.Close})
	p.repo, err = repo.Open(ctx, repo.Options{
		Path: c.RepositoryPath, URL: c.RepositoryURL, Branch: c.RepositoryBranch,
		Credentials: func() (string, string, error) {
			username, err := c.RepositoryUsername.Value()
			if err != nil {
				return "", "", err
			}
			password, err := c.RepositoryPassword.Value()
			return username, password, err
		},
		SSHKeyFile: c.SSHKeyFile, SSHKnownHostsFile: c.SSHKnownHostsFile, SSHPassphrase: c.SSHKeyPassphrase.Value,
		CAFile: c.CAFile, FastForwardOnly: c.FastForwardOnly, KeepLocalChanges: c.KeepLocalChanges, ReadOnly: readOnly, Logger: o.Logger,
	})
	if err != nil {
		return p, err
	}
	p.teardown = append(p.teardown, step{"repository", p.repo.Close})
	if p.window, err = plan.ParseWindow(c.SyncWindows, time.Local); err != nil { //nolint:gosmopolitan // TZ says where that is
		return p, fmt.Errorf("SYNC_WINDOWS: %w", err)
	}
	p.journal = journal(p.repo, c.RepositoryPath)

	root := realPath(c.RepositoryPath)
	place := engine.Locate(ctx, api, root)
	tellPlace(place, o.Logger)
	p.self = place.Container
	p.clone = handover.Clone{Path: root, HostRoot: place.HostRoot, Branch: c.RepositoryBranch, Identity: p.repo.Identity()}
	home := ""
	if place.Container == "" {
		home, _ = os.UserHomeDir()
	}
	clear, hostClear := engine.LocateClear(ctx, api, c.SecretsPath)
	p.engine = engine.New(api, engine.Options{
		Repository: p.repo.Identity(), HostRoot: place.HostRoot, Self: place.Container, Secrets: clear, HostSecrets: hostClear,
		Registries: logins(c.Registries), Progress: progress, Logger: o.Logger,
	})
	tellKeys(keys(c), o.Logger)
	p.loader = render.New(render.Options{
		Root: root, HostRoot: place.HostRoot, HostHome: home, Files: c.StackFiles, Environment: c.StackEnvironment, Keys: keys(c), SecretsDir: c.SecretsDir, HostSecrets: hostClear, Rollback: c.Rollback, StopFirst: c.StartFirst == config.StartIgnore,
		Repository: p.repo.Identity(), Hasher: engine.Hasher{}, Logger: o.Logger,
	})
	return p, nil
}

// keys decrypt what is encrypted in the repository.
func keys(c config.Config) secrets.Keys {
	k := secrets.Keys{AgeFile: c.AgeKeyFile, SSHFile: c.AgeSSHKeyFile, PGPFile: c.PGPKeyFile, PGPPassphraseFile: c.PGPPassphrase}
	if k.AgeFile == "" {
		k.Age, _ = c.AgeKey.Value() // it is no file, and can't fail
	}
	return k
}

// realPath follows links, as the loader does: paths are compared with it.
func realPath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return path
}

// tellPlace says when it is not known where the clone is on the host. That is
// no reason to end: stacks that mount nothing of the clone work all the same.
func tellPlace(place engine.Place, log *slog.Logger) {
	if place.HostRoot == "" {
		log.Warn("it could not be found out where the clone is on the engine's host; stacks that mount files of the clone are refused", "cause", place.Unknown)
		return
	}
	log.Debug("the clone on the engine's host", "path", place.HostRoot)
}

// tellKeys says at the start which keys there are, by their public parts, and which
// can't be used: nobody has to push something encrypted to find that out.
func tellKeys(k secrets.Keys, log *slog.Logger) {
	if k.None() {
		return
	}
	public, err := k.Public()
	if err != nil {
		log.Warn("a key for what is encrypted in the repository can't be used", "err", err)
	}
	if len(public) > 0 {
		log.Info("keys for what is encrypted in the repository", "cause", strings.Join(public, ", "))
	}
}

func (p parts) options(o Options, more func(*reconcile.Options)) reconcile.Options {
	c := o.Config
	r := reconcile.Options{
		Loader: p.loader, Engine: p.engine, Logger: o.Logger, Journal: p.journal,
		Interval: c.CheckInterval, Heal: c.SelfHeal, AllowEmpty: c.AllowEmpty, MakeNetworks: c.CreateExternalNetworks,
		KeepEdits: c.KeepLocalChanges, HoldOrder: c.StartFirst == config.StartHold, MinAge: c.ImageMinAge, Window: p.window, Volumes: p.engine, Clone: p.clone.Path, SeesHost: p.seesHost(),
		Parallel: c.MaxParallelStacks, DeployTimeout: c.DeployTimeout,
	}
	more(&r)
	return r
}

// journal names the journal. The folder is there once the clone is; before the
// first clone there is nothing to remember.
func journal(r *repo.Repository, path string) string {
	dir, err := r.StateDir()
	if err != nil {
		dir = filepath.Join(path, ".git", "gitops-compose")
	}
	return filepath.Join(dir, "journal.json")
}

func logins(rs []config.Registry) []engine.Registry {
	out := make([]engine.Registry, len(rs))
	for i, r := range rs {
		out[i] = engine.Registry{Host: r.Host(), Username: r.Username, Password: r.Password.Value}
	}
	return out
}

// pulling tells a history how far pulls are.
func pulling(h *report.History) func(engine.Progress) {
	return func(p engine.Progress) {
		h.Pulling(report.Pull{Image: p.Image, Started: p.Started, Layers: p.Layers, Done: p.Done, Bytes: p.Bytes, Total: p.Total}, p.Ended)
	}
}

// keep adds what was done to the history. That it can't be kept is said once, until it can.
func keep(past *eventlog.Log, log *slog.Logger) func(report.Event) {
	failed := false // asked by the loop alone
	return func(e report.Event) {
		err := past.Add(e)
		if err != nil && !failed {
			log.Warn("the history can't be kept", "err", err)
		}
		failed = err != nil
	}
}

func describe(r *repo.Repository) func(string) (report.Commit, error) {
	return func(hash string) (report.Commit, error) {
		c, err := r.Describe(hash)
		return report.Commit{Hash: c.Hash, Subject: c.Subject, Author: c.Author, At: c.Time}, err
	}
}

// relay passes events on until ctx ends; one that nobody takes is dropped.
func relay(ctx context.Context, from <-chan plan.Event, to chan<- plan.Event) {
	for {
		select {
		case e := <-from:
			select {
			case to <- e:
			default:
			}
		case <-ctx.Done():
			return
		}
	}
}

// Healthcheck asks the daemon on this host that listens on an address whether it
// is alive. configFile is its web configuration, or "".
func Healthcheck(ctx context.Context, address, configFile string) error {
	return web.Healthcheck(ctx, address, configFile)
}
