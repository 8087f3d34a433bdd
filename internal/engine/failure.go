package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

const (
	// logLines of a container that failed go into the detail of an error.
	logLines = 10
	// logBytes bounds them.
	logBytes = 4096
)

// Failure is an error that somebody's program caused. As text it is the reason
// only, the same at each try: what a program says, which may be a secret and
// differs each time, is its detail.
type Failure struct {
	// Err is the reason.
	Err error
	// Said is what the programs concerned said last, and their healthchecks:
	// several lines.
	Said string
}

// Error gives the reason.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap gives the reason.
func (f *Failure) Unwrap() error { return f.Err }

// Detail gives what was said. It is not for those who may not read the logs of
// containers.
func (f *Failure) Detail() string { return f.Said }

// withLogs adds to an error about a project, as its detail, what the containers
// said last that are not well: those of the services named, and all that don't
// run.
func (e *Engine) withLogs(ctx context.Context, name string, err error, services ...string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	r, observeErr := e.project(ctx, name)
	if observeErr != nil {
		return err
	}
	var all []string
	for _, c := range r.Containers {
		well := c.State == "running" && c.Health != "unhealthy" && c.Health != "starting" || c.State == "exited" && c.ExitCode == 0 || c.State == "created"
		if c.OneOff || well && !slices.Contains(services, c.Service) {
			continue
		}
		if said := e.lastProbe(ctx, c); said != "" {
			all = append(all, fmt.Sprintf("the healthcheck of %s says: %s", c.Service, said))
		}
		if lines := e.lastLines(ctx, c.ID); lines != "" {
			all = append(all, fmt.Sprintf("%s says: %s", c.Service, lines))
		}
	}
	if len(all) == 0 {
		return err
	}
	return &Failure{Err: err, Said: strings.Join(all, "\n")}
}

// lastProbe gives the output of the last healthcheck of a container that is
// not healthy.
func (e *Engine) lastProbe(ctx context.Context, c plan.Container) string {
	if c.Health != "unhealthy" && c.Health != "starting" {
		return ""
	}
	i, err := e.api.ContainerInspect(ctx, c.ID)
	if err != nil || i.ContainerJSONBase == nil || i.State == nil || i.State.Health == nil || len(i.State.Health.Log) == 0 {
		return ""
	}
	text := strings.TrimSpace(i.State.Health.Log[len(i.State.Health.Log)-1].Output)
	return text[:min(len(text), logBytes)]
}

func (e *Engine) lastLines(ctx context.Context, id string) string {
	logs, err := e.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: fmt.Sprint(logLines)})
	if err != nil {
		return ""
	}
	defer logs.Close()
	raw, err := io.ReadAll(io.LimitReader(logs, 64*logBytes))
	if err != nil {
		return ""
	}
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, bytes.NewReader(raw)); err != nil {
		out.Reset()
		out.Write(raw) // a terminal's log has no frames
	}
	text := strings.TrimSpace(out.String())
	if len(text) > logBytes {
		text = "..." + text[len(text)-logBytes:]
	}
	return text
}
