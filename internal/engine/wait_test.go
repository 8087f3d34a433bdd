package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// inspects is an engine that tells of one container.
type inspects struct {
	client.APIClient
	state    *container.State
	restarts int
	err      error
}

func (i inspects) ContainerInspect(context.Context, string) (container.InspectResponse, error) {
	return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{State: i.state, RestartCount: i.restarts}}, i.err
}

func TestWhenAContainerCountsAsUp(t *testing.T) {
	const (
		never = "0001-01-01T00:00:00Z"
		ended = -2 // for age
	)
	running := plan.Container{Image: "id", State: "running"}
	healthy := plan.Container{Image: "id", State: "running", Health: "healthy"}
	exited := plan.Container{Image: "id", State: "exited", ExitCode: 137}
	for name, c := range map[string]struct {
		monitor   time.Duration
		container plan.Container
		age       time.Duration // since it started, or ended; -1 for never, -2 for long ago
		restarts  int
		err       error
		want      string // what is pending, or has failed
		blames    bool
	}{
		"a second old":                   {0, running, time.Second, 0, nil, "", true},
		"just started":                   {0, running, 0, 0, nil, "app has just been started", true},
		"healthy and just started":       {0, healthy, 0, 0, nil, "", true},
		"watched, and not for long":      {10 * time.Second, running, 9 * time.Second, 0, nil, "app has not run for 10s yet", true},
		"watched, healthy, not for long": {10 * time.Second, healthy, 9 * time.Second, 0, nil, "app has not run for 10s yet", true},
		"watched for long":               {10 * time.Second, running, 10 * time.Second, 0, nil, "", true},
		"restarted":                      {0, running, 9 * time.Second, 1, nil, "app has just been restarted", true},
		"gone since it was listed":       {0, running, time.Hour, 0, errdefs.ErrNotFound, "app has just been started", true},
		"listed as running, and ended":   {0, running, ended, 0, nil, "app has just been started", true},
		"about to run":                   {0, running, -1, 0, nil, "app has just been started", true},
		"not told of":                    {0, running, 0, 0, errdefs.ErrUnavailable, "", true},
		"stopped by hand":                {0, exited, 5 * time.Second, 0, nil, "app was stopped while it came up (137)", false},
		"ended, and to be started again": {0, exited, time.Second, 0, nil, "app is exited", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := time.Now().Add(-c.age).Format(time.RFC3339Nano)
				if c.age < 0 {
					at = never
				}
				state := &container.State{Running: c.container.State == "running", StartedAt: at, FinishedAt: at}
				if c.age == ended {
					state.Running = false
					state.FinishedAt = time.Now().Add(-time.Hour).Format(time.RFC3339Nano)
				}
				e := New(inspects{state: state, restarts: c.restarts, err: c.err}, Options{})
				v := e.judgeContainer(t.Context(), plan.Service{Name: "app", Scale: 1, Monitor: c.monitor}, c.container)
				got := v.pending
				if v.failed != nil {
					got = v.failed.Error()
				}
				if got != c.want || (v.image != "") != c.blames {
					t.Errorf("%q, blames %q; want %q", got, v.image, c.want)
				}
			})
		})
	}
}
