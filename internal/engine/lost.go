package engine

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// lost finds the id of a container whose start was cut off when the engine
// crashed, in the error of the next start. Engines before 23 leave half of it in
// containerd then, never clean that up and fail at every start for good. The
// container's own process has not begun: where it may have, the error is another,
// see orphaned.
func lost(err error) string {
	if err == nil {
		return ""
	}
	found := regexp.MustCompile(`\btask ([0-9a-f]{64}): already exists`).FindStringSubmatch(err.Error())
	if found == nil {
		return ""
	}
	return found[1]
}

// lostService gives the service of a container that is lost.
func (e *Engine) lostService(ctx context.Context, project string, err error) string {
	id := lost(err)
	if id == "" {
		return ""
	}
	r, err := e.project(ctx, project)
	if err != nil {
		return ""
	}
	for _, c := range r.Containers {
		if c.ID == id && !c.OneOff {
			return c.Service
		}
	}
	return ""
}

// orphaned says what to do about a container whose process had begun when the
// engine crashed and forgot it. No call of the engine reaches that process any
// more. The container is not replaced: two processes that write to one volume
// can destroy what is in it. The words for pkill are those of the process that holds
// the container, and not of the one with which containerd clears up after it: if that
// is killed too, the container can't be started before a reboot.
func (e *Engine) orphaned(ctx context.Context, project string, err error) error {
	if !strings.Contains(err.Error(), "id already in use") {
		return err
	}
	r, observeErr := e.project(ctx, project)
	if observeErr != nil {
		return err
	}
	var ids []string
	for _, c := range r.Containers {
		if c.State != "running" {
			ids = append(ids, c.ID[:min(12, len(c.ID))])
		}
	}
	return fmt.Errorf("%w: the engine crashed when it had just started a container, and has lost its process, which may still run; end it on the engine's host, with pkill -f 'moby -id (%s)' or a reboot, and the container is started again", err, strings.Join(ids, "|"))
}
