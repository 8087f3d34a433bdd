package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/korbiniankuhn/gitops-compose/internal/app"
	"github.com/korbiniankuhn/gitops-compose/internal/config"
)

func daemonCommand(environ []string, stderr io.Writer) *cobra.Command {
	return quiet(&cobra.Command{
		Use:   "gitops-compose",
		Short: "Keep this host's Docker Compose stacks in step with a git repository",
		Long: "Keep this host's Docker Compose stacks in step with a git repository.\n\n" +
			"Without a subcommand it runs as the daemon. It is configured by environment\nvariables; the README lists them.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(environ)
			if err != nil {
				return err
			}
			log := logger(c, stderr)
			log.LogAttrs(cmd.Context(), slog.LevelInfo, "starting", append([]slog.Attr{slog.String("version", version)}, c.Banner()...)...)
			for _, w := range c.Warnings {
				log.Warn("configuration", "cause", w)
			}
			a, err := app.New(cmd.Context(), app.Options{Config: c, Logger: log, Version: version, Commit: builtFrom(commit, buildSettings())})
			if err != nil {
				return err
			}
			err = a.Run(cmd.Context())
			log.Info("stopped")
			return err
		},
	})
}
