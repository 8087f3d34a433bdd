// Command gitops-compose keeps a host's Docker Compose stacks in step with a
// git repository.
//
// Without a subcommand it is the daemon. This package is the process's edge:
// environment, signals, exit codes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // zones of windows: the image has no files of them

	"github.com/spf13/cobra"

	"github.com/korbiniankuhn/gitops-compose/internal/config"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	// exitPending is plan's answer that the next check would do something, and status's
	// that not all is as git wants it.
	exitPending = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errPending ends plan when there is something to do.
var errPending = errors.New("there is something to do")

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	root := daemonCommand(environ, stderr)
	root.AddCommand(planCommand(environ, stderr), doctorCommand(environ, stderr), healthcheckCommand(environ), handOverCommand(environ, stderr), versionCommand())
	root.AddCommand(controlCommands(environ, stderr)...)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitOK
	case errors.Is(err, errPending):
		return exitPending
	default:
		fmt.Fprintln(stderr, "gitops-compose: "+strings.TrimSpace(err.Error()))
		return exitError
	}
}

// logger makes the logger that the configuration asks for.
func logger(c config.Config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// quiet lets run print errors, once and without a usage text: what goes wrong
// here is hardly ever the command line.
func quiet(c *cobra.Command) *cobra.Command {
	c.SilenceErrors, c.SilenceUsage = true, true
	c.Args = cobra.NoArgs
	return c
}
