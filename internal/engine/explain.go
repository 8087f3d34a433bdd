package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// explain adds what a person can do to errors of the engine that don't say.
func explain(ctx context.Context, err error) error {
	text := err.Error()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && context.Cause(ctx) != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case strings.Contains(text, "could not find an available, non-overlapping IPv4 address pool"),
		strings.Contains(text, "all predefined address pools have been fully subnetted"):
		return fmt.Errorf(`%w: the engine has no address range left for another network; give it more with "default-address-pools" in its daemon.json, for example [{"base":"10.200.0.0/14","size":24}], and restart it`, err)
	case strings.Contains(text, "port is already allocated"), strings.Contains(text, "address already in use"):
		return fmt.Errorf("%w: another container or program has the port", err)
	default:
		return err
	}
}
