package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/korbiniankuhn/gitops-compose/internal/app"
	"github.com/korbiniankuhn/gitops-compose/internal/config"
)

func planCommand(environ []string, stderr io.Writer) *cobra.Command {
	return quiet(&cobra.Command{
		Use:   "plan",
		Short: "Print what the next check would do, and do nothing",
		Long: "Print what the next check would do, and do nothing: neither the clone nor the\nengine is touched.\n\n" +
			"Exit code 0: nothing to do. 2: something to do. 1: an error.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(environ)
			if err != nil {
				return err
			}
			c.LogLevel = max(c.LogLevel, slog.LevelWarn) // the plan is what was asked for
			p, err := app.Plan(cmd.Context(), app.Options{Config: c, Logger: logger(c, stderr), Version: version})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprint(cmd.OutOrStdout(), p.String()); err != nil {
				return err
			}
			if len(p.Ops) > 0 {
				return errPending
			}
			return nil
		},
	})
}
