package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/korbiniankuhn/gitops-compose/internal/app"
	"github.com/korbiniankuhn/gitops-compose/internal/config"
	"github.com/korbiniankuhn/gitops-compose/internal/control"
)

// controlCommands ask the daemon that works on the same clone, over its socket.
func controlCommands(environ []string, stderr io.Writer) []*cobra.Command {
	a := asker{environ, stderr}
	return []*cobra.Command{
		a.suspend(),
		a.command("resume", "End a suspension", "End a suspension: what has waited is done at the next check, which begins at once.", &control.Order{}),
		a.command("retry", "Try what failed again, without its pause",
			"Try what failed again at once, without the pause that it waits for, and do at\nonce what waits for its window. A version that was rolled back from, or that the\ndaemon could not be handed over to, is tried again as well.", &control.Order{}),
		a.sync(),
		a.status(),
		a.history(),
	}
}

// asker makes commands for a daemon.
type asker struct {
	environ []string
	stderr  io.Writer
}

func (a asker) client(ctx context.Context) (*control.Client, error) {
	c, err := config.Load(a.environ)
	if err != nil {
		return nil, err
	}
	c.LogLevel = max(c.LogLevel, slog.LevelError)
	return app.Control(ctx, app.Options{Config: c, Logger: logger(c, a.stderr), Version: version})
}

func (a asker) suspend() *cobra.Command {
	var order control.Order
	c := a.command("suspend", "Leave stacks as they are until resume",
		"Leave stacks as they are until resume, or for a time: they are not started,\nupdated, repaired or stopped, also when git removes them. The daemon remembers\nit over restarts.", &order)
	c.Flags().DurationVar(&order.For, "for", 0, "for how long, like 90m or 2h; without it until resume")
	c.Flags().StringVar(&order.Reason, "reason", "", "why, for those who look at it later")
	return c
}

// command is one about stacks, or all. order is what its flags say of it.
func (a asker) command(action, short, long string, order *control.Order) *cobra.Command {
	all := false
	c := quiet(&cobra.Command{
		Use: action + " STACK... | --all", Short: short, Long: long,
		ValidArgsFunction: a.complete,
		RunE: func(cmd *cobra.Command, stacks []string) error {
			switch {
			case order.For < 0:
				return fmt.Errorf("--for is %s, and can only be a time like 90m or 2h", order.For)
			case all && len(stacks) > 0:
				return errors.New("give names of stacks, or --all, and not both")
			case all:
				stacks = []string{""}
			case len(stacks) == 0:
				return errors.New("give the names of stacks, or --all")
			}
			client, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			for _, stack := range stacks {
				o := *order
				o.Action, o.Stack, o.By = action, stack, a.who()
				if err := do(cmd, client, o); err != nil {
					return err
				}
			}
			return nil
		},
	})
	c.Args = cobra.ArbitraryArgs
	c.Flags().BoolVar(&all, "all", false, "all stacks of this host")
	return c
}

func do(cmd *cobra.Command, client *control.Client, o control.Order) error {
	said, err := client.Do(cmd.Context(), o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
	return err
}

// who is the user that the command was typed by, as far as the environment tells.
func (a asker) who() string {
	return cmp.Or(a.env("SUDO_USER"), a.env("USER"), "somebody on the host")
}

func (a asker) env(name string) string {
	for _, v := range a.environ {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

func (a asker) sync() *cobra.Command {
	return quiet(&cobra.Command{
		Use: "sync", Short: "Check the remote now", Long: "Check the remote now, as a webhook or the end of the interval does. It does not\nwait for the end of the check.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			return do(cmd, client, control.Order{Action: "sync", By: a.who()})
		},
	})
}

func (a asker) status() *cobra.Command {
	asJSON := false
	c := quiet(&cobra.Command{
		Use: "status [STACK...]", Short: "Print how the stacks are",
		Long:              "Print how the stacks are, all or some.\n\nExit code 0: they are as git wants them. 2: some are not. 1: an error.",
		ValidArgsFunction: a.complete,
		RunE: func(cmd *cobra.Command, names []string) error {
			client, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			s, err := client.Status(cmd.Context(), names...)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				err = printJSON(out, s)
			} else {
				_, err = io.WriteString(out, control.Table(s, time.Now(), a.coloured(out)))
			}
			if err == nil && !control.InSync(s, len(names) == 0) {
				err = errPending
			}
			return err
		},
	})
	c.Args = cobra.ArbitraryArgs
	c.Flags().BoolVar(&asJSON, "json", false, "as GET /api/v1/status gives it")
	return c
}

func (a asker) history() *cobra.Command {
	const most = 5000
	asJSON, since, lines := false, time.Duration(0), 50
	c := quiet(&cobra.Command{
		Use: "history [STACK]", Short: "Print what was done, over restarts",
		Long:              "Print what was done to a stack, or to all, also before the daemon was restarted:\nwhen, what, at which commit, how long it took, how it ended, and why.",
		ValidArgsFunction: a.complete,
		RunE: func(cmd *cobra.Command, names []string) error {
			client, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			events, err := client.History(cmd.Context(), strings.Join(names, ""), since, min(max(lines, 1), most))
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return printJSON(out, events)
			}
			_, err = io.WriteString(out, control.Lines(events))
			return err
		},
	})
	c.Args = cobra.MaximumNArgs(1)
	c.Flags().DurationVar(&since, "since", 0, "only what is not longer ago, like 24h")
	c.Flags().IntVarP(&lines, "lines", "n", lines, "at most so many, the newest")
	c.Flags().BoolVar(&asJSON, "json", false, "as GET /api/v1/history gives it")
	return c
}

func printJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// coloured says whether output is for a terminal, and nobody has asked for it plain
// (https://no-color.org).
func (a asker) coloured(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || a.env("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// complete gives the names of stacks for the shell.
func (a asker) complete(cmd *cobra.Command, given []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	client, err := a.client(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	s, err := client.Status(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	for _, stack := range s.Stacks {
		if !slices.Contains(given, stack.Name) {
			names = append(names, stack.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
