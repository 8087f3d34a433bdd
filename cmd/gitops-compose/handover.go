package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/korbiniankuhn/gitops-compose/internal/app"
	"github.com/korbiniankuhn/gitops-compose/internal/config"
)

// handOverCommand is for the helper containers of a hand-over, and for nobody
// else.
func handOverCommand(environ []string, stderr io.Writer) *cobra.Command {
	c := quiet(&cobra.Command{
		Use: app.HandOverCommand + " ROLE FOLDER", Short: "replace the daemon's container by its successor", Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return app.Help(cmd.Context(), config.ForHelper(environ), helperLogger(environ, stderr), args[0], args[1])
		},
	})
	c.Args = cobra.ExactArgs(2)
	return c
}

// helperLogger logs as the daemon does, as far as that can be told: a helper
// must work with a configuration that the daemon refuses.
func helperLogger(environ []string, stderr io.Writer) *slog.Logger {
	var c config.Config
	for _, v := range environ {
		switch v {
		case "LOG_FORMAT=json":
			c.LogFormat = "json"
		case "LOG_LEVEL=debug":
			c.LogLevel = slog.LevelDebug
		}
	}
	return logger(c, stderr)
}
