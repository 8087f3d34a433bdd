package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/korbiniankuhn/gitops-compose/internal/app"
	"github.com/korbiniankuhn/gitops-compose/internal/config"
)

// errUnwell ends doctor when something stands in the way.
var errUnwell = errors.New("something stands in the way, see above")

func doctorCommand(environ []string, stderr io.Writer) *cobra.Command {
	return quiet(&cobra.Command{
		Use:   "doctor",
		Short: "Print what keeps stacks from running on this host, and do nothing",
		Long: "Print what keeps stacks from running on this host, and do nothing: files that\nare missing and where they belong, variables that are not set, networks and\n" +
			"volumes that nobody makes, names that are taken.\n\n" +
			"Exit code 0: nothing stands in the way. 1: something does, or an error.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(environ)
			if err != nil {
				return err
			}
			c.LogLevel = max(c.LogLevel, slog.LevelError) // what is found is printed
			d, err := app.Doctor(cmd.Context(), app.Options{Config: c, Logger: logger(c, stderr), Version: version})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprint(cmd.OutOrStdout(), d.String()); err != nil {
				return err
			}
			if !d.Well() {
				return errUnwell
			}
			return nil
		},
	})
}
