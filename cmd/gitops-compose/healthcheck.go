package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/korbiniankuhn/gitops-compose/internal/app"
	"github.com/korbiniankuhn/gitops-compose/internal/config"
)

func healthcheckCommand(environ []string) *cobra.Command {
	return quiet(&cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the daemon on this host whether it is alive (for the container's HEALTHCHECK)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			address, configFile, err := config.HTTP(environ)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Second)
			defer cancel()
			return app.Healthcheck(ctx, address, configFile)
		},
	})
}
