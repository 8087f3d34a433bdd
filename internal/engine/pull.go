package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"golang.org/x/sync/errgroup"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

const (
	// pullStall is how long a pull may go without a word from the engine.
	pullStall = 5 * time.Minute
	// inspectTimeout is how long the engine may take to say whether an image is
	// here.
	inspectTimeout = time.Minute
)

// Pull brings every image of a project here, pulled or built, and touches no
// container. When it returns without an error, Up needs no registry.
//
// As with Compose, an image that a service of the project builds is there for its
// other services too, and is built where it was to be pulled and can't be.
func (e *Engine) Pull(ctx context.Context, p render.Project) error {
	project, err := p.Compose()
	if err != nil {
		return err
	}
	builders := builders(p, project)
	g, pullCtx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	build := map[string]bool{}
	var built []plan.Service // by another service, once that was done
	for _, svc := range p.Services {
		s, builder := project.Services[svc.Name], builders[svc.Image]
		for _, ref := range svc.MountedImages {
			g.Go(func() error { return e.needMissing(pullCtx, ref, "") })
		}
		switch {
		case svc.Pull == plan.PullBuild:
			build[svc.Name] = true
			continue
		case builder != "" && builder != svc.Name && svc.Pull != plan.PullAlways:
			built = append(built, svc)
			continue
		}
		g.Go(func() error {
			err := e.need(pullCtx, s, svc)
			if err == nil || builder == "" || svc.Pull == plan.PullNever || errors.As(err, &movedTo{}) || pullCtx.Err() != nil {
				return err
			}
			e.o.Logger.Warn("an image can't be pulled, and is built", "stack", p.Name, "image", svc.Image, "err", err)
			mu.Lock()
			defer mu.Unlock()
			build[builder] = true
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if len(build) > 0 {
		if err := e.build(ctx, p, slices.Sorted(maps.Keys(build))); err != nil {
			return err
		}
	}
	for _, svc := range built {
		if err := e.need(ctx, project.Services[svc.Name], svc); err != nil {
			return err
		}
	}
	return nil
}

// builders are services with a build section, by the image that they make. Of
// several, the first one by name is given.
func builders(p render.Project, project *types.Project) map[string]string {
	m := map[string]string{}
	for _, svc := range p.Services { // sorted by name
		if project.Services[svc.Name].Build != nil && m[svc.Image] == "" {
			m[svc.Image] = svc.Name
		}
	}
	return m
}

// need pulls a service's image unless its policy is content with what is here.
func (e *Engine) need(ctx context.Context, s types.ServiceConfig, svc plan.Service) error {
	switch svc.Pull {
	case plan.PullAlways:
		return e.pull(ctx, svc.Image, s.Platform, svc.Digest)
	case plan.PullNever:
		here, err := e.here(ctx, svc.Image, "") // whatever it is for: it is the engine's to say
		if err == nil && !here {
			err = fmt.Errorf("image %s of service %s is not here, and its pull_policy is never: load or build it on the host", s.Image, s.Name)
		}
		return err
	}
	return e.needMissing(ctx, svc.Image, s.Platform)
}

// needMissing pulls an image that is not here.
func (e *Engine) needMissing(ctx context.Context, ref, platform string) error {
	// Whoever wants the same waits here, and asks the engine nothing.
	return e.pulls.once(ctx, "missing "+ref+" "+platform, func(ctx context.Context) error {
		here, err := e.here(ctx, ref, platform)
		if err != nil || here {
			return err
		}
		return e.pull(ctx, ref, platform, "")
	})
}

// pull pulls an image when its registry's turn has come: the one of a digest, if that
// is given, and no other.
func (e *Engine) pull(ctx context.Context, ref, platform, digest string) error {
	return e.pulls.once(ctx, "pull "+ref+" "+platform+" "+digest, func(ctx context.Context) error {
		release, err := e.pulls.turn(ctx, ref)
		if err != nil {
			return err
		}
		defer release()
		if digest == "" {
			err = e.pullImage(ctx, ref, platform)
		} else {
			err = e.pullDigest(ctx, ref, platform, digest)
		}
		if err != nil {
			return e.withRetryAfter(ctx, ref, fmt.Errorf("pull %s: %w", ref, err))
		}
		return nil
	})
}

// movedTo is the error of a pull that was to bring another digest than the tag
// points to, see reconcile.
type movedTo struct{ ref, digest string }

func (m movedTo) Error() string { return "its tag has moved again, to " + m.digest }

// MovedTo gives the image, and the digest that its tag points to.
func (m movedTo) MovedTo() (ref, digest string) { return m.ref, m.digest }

// pullDigest pulls an image whose tag is to point to a digest. Where it points to
// another one, nothing is changed, and the error says to which.
//
// It is pulled by its tag all the same. A pull by digest leaves the image under a
// second name with an engine that has containerd's image store, which can't be
// removed without the first: once a newer one has the tag, the image would not be
// dangling, as others are, but stay for good. So the registry is asked before, and
// if what came is another all the same, the tag is given back to what had it.
func (e *Engine) pullDigest(ctx context.Context, ref, platform, digest string) error {
	latest, err := e.Latest(ctx, ref)
	if err != nil {
		return fmt.Errorf("ask whether the tag has moved again: %w", err)
	}
	if latest != digest {
		return movedTo{ref, latest}
	}
	before, there, err := e.inspect(ctx, ref)
	if err != nil {
		return err
	}
	if err := e.pullImage(ctx, ref, platform); err != nil {
		return err
	}
	after, _, err := e.inspect(ctx, ref)
	if err != nil {
		return err
	}
	name := plan.Repository(ref) + "@"
	if !there || slices.Contains(after.RepoDigests, name+digest) { // what is missing comes as it is
		return nil
	}
	if err := e.api.ImageTag(ctx, before.ID, ref); err != nil {
		return fmt.Errorf("what came is not %s, and the tag can't be given back to the image that had it: %w", digest, err)
	}
	for _, other := range after.RepoDigests {
		if latest, ok := strings.CutPrefix(other, name); ok {
			return movedTo{ref, latest}
		}
	}
	return fmt.Errorf("what came is not %s", digest)
}

// inspect looks at an image; there is false if there is none.
func (e *Engine) inspect(ctx context.Context, ref string) (found image.InspectResponse, there bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, inspectTimeout, fmt.Errorf("the engine said nothing for %s", inspectTimeout))
	defer cancel()
	found, err = e.api.ImageInspect(ctx, ref)
	switch {
	case err == nil:
		return found, true, nil
	case errdefs.IsNotFound(err):
		return image.InspectResponse{}, false, nil
	}
	return found, false, fmt.Errorf("look for image %s: %w", ref, causeOr(ctx, err))
}

// here says whether the engine has an image, and for a platform if one is given.
func (e *Engine) here(ctx context.Context, ref, platform string) (bool, error) {
	release, err := e.pulls.turnOf(ctx, "inspect", inspectsAtOnce)
	if err != nil {
		return false, err
	}
	defer release()
	found, there, err := e.inspect(ctx, ref)
	if err != nil || !there || platform == "" {
		return there, err
	}
	want, err := platforms.Parse(platform)
	if err != nil {
		return false, fmt.Errorf("platform of image %s: %w", ref, err)
	}
	return platforms.NewMatcher(want).Match(platforms.Platform{OS: found.Os, Architecture: found.Architecture, Variant: found.Variant}), nil
}

func (e *Engine) pullImage(ctx context.Context, ref, platform string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	auth, err := e.authFor(ref)
	if err != nil {
		return err
	}
	stall := time.AfterFunc(pullStall, func() { cancel(fmt.Errorf("the engine said nothing for %s", pullStall)) })
	defer stall.Stop()
	stream, err := e.api.ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth, Platform: platform})
	if err != nil {
		return causeOr(ctx, err)
	}
	defer stream.Close()
	told := e.progress(ref)
	defer told.end()
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		stall.Reset(pullStall)
		var m pullMessage
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			continue
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
		told.add(m)
	}
	if err := lines.Err(); err != nil {
		return causeOr(ctx, err)
	}
	if _, err := e.api.ImageInspect(ctx, ref); err != nil {
		return fmt.Errorf("the engine said that it is here, but: %w", err)
	}
	return nil
}

// causeOr prefers why we gave up over what giving up looked like.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// authFor finds the login of an image's registry, and of no other.
func (e *Engine) authFor(ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", err
	}
	login, err := e.loginFor(reference.Domain(named))
	if err != nil {
		return "", err
	}
	return registry.EncodeAuthConfig(registry.AuthConfig(login))
}
