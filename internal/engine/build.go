package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
	"github.com/docker/compose/v2/pkg/api"
	"github.com/docker/docker/api/types/versions"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// build builds the images of services with a build section.
func (e *Engine) build(ctx context.Context, p render.Project, services []string) error {
	project, err := p.BuildContext()
	if err != nil {
		return err
	}
	release, err := e.pulls.turnOf(ctx, "build", buildsAtOnce)
	if err != nil {
		return err
	}
	defer release()
	failed := func(err error, said string) error {
		err = fmt.Errorf("build %s: %w", strings.Join(services, ", "), err)
		if said == "" {
			return err
		}
		return &Failure{Err: err, Said: said}
	}
	var out tail
	cli, err := e.cli(e.api, &out)
	if err != nil {
		return err
	}
	kit, err := cli.BuildKitEnabled()
	if err == nil && kit {
		err = e.hasBuildKit(ctx)
	}
	if err != nil {
		return failed(err, "")
	}
	err = sdkOf(cli, nil).Build(ctx, project, api.BuildOptions{Services: services, Quiet: true, Progress: "quiet", Out: &out})
	switch {
	case err == nil:
		return nil
	case !kit && errdefs.IsPermissionDenied(err): // which no step of a build is
		return failed(cantBuild("/build", "403"), "")
	}
	if version := e.api.ClientVersion(); kit && versions.LessThan(version, namedContexts) && slices.ContainsFunc(services, func(name string) bool { return hasContexts(project.Services[name]) }) {
		err = fmt.Errorf("%w (additional_contexts are too new for what this engine builds with, API %s: make \"# syntax=docker/dockerfile:1\" the first line of the Dockerfile, or take an engine from 23.0 on)", err, version)
	}
	return failed(err, out.said())
}

// namedContexts is the first API version whose engine builds with additional
// contexts by itself; ones before fetch what can.
const namedContexts = "1.42"

func hasContexts(s types.ServiceConfig) bool {
	return s.Build != nil && len(s.Build.AdditionalContexts) > 0
}

// hasBuildKit says why the engine's BuildKit can't be used. The SDK would not
// say: it takes another one then, which it installs as a privileged container.
func (e *Engine) hasBuildKit(ctx context.Context) error {
	if os.Getenv("BUILDX_BUILDER") != "" {
		return nil // that one is wanted
	}
	for _, path := range []string{"/grpc", "/session"} {
		conn, err := e.api.DialHijack(ctx, path, "h2c", map[string][]string{"X-Docker-Expose-Session-Uuid": {rand.Text()}})
		if code := regexp.MustCompile(`received ([0-9]{3})$`).FindStringSubmatch(fmt.Sprint(err)); code != nil {
			return cantBuild(path, code[1])
		}
		if err != nil {
			return fmt.Errorf("ask the engine for BuildKit: %w", err)
		}
		_ = conn.Close()
	}
	return nil
}

// cantBuild is the error when the engine, or what is before it, answers a call
// that builds need as if there were no such thing.
func cantBuild(path, code string) error {
	return fmt.Errorf("the engine does not let the daemon build images (%s is answered with %s): "+
		"if there is a proxy between them, let it pass POST requests to /build, /grpc and /session (docker-socket-proxy: POST=1 BUILD=1 GRPC=1 SESSION=1); "+
		"or build the image elsewhere, push it, and put image: with its name in the place of the build section", path, code)
}

// tail keeps the last of what was written.
type tail struct{ buf bytes.Buffer }

func (t *tail) Write(b []byte) (int, error) {
	t.buf.Write(b)
	if over := t.buf.Len() - logBytes; over > 0 {
		t.buf.Next(over)
	}
	return len(b), nil
}

func (t *tail) said() string { return strings.TrimSpace(t.buf.String()) }

var _ io.Writer = (*tail)(nil)
