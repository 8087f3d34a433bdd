package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

const (
	// askTimeout bounds a question for where a tag points.
	askTimeout = 30 * time.Second
	// probeTimeout bounds the question for how long a registry wants us to wait.
	probeTimeout = 5 * time.Second
	// longestWait is the most that a registry can make us wait.
	longestWait = 24 * time.Hour
)

// Latest asks an image's registry which digest its tag points to now. Nothing
// is downloaded, and a registry that limits pulls does not count one. Where the
// engine has to ask, as it has its own idea of a registry or can reach what we
// can't, it reads the image's manifest.
func (e *Engine) Latest(ctx context.Context, ref string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %s", askTimeout))
	defer cancel()
	digest, final, err := e.head(ctx, ref)
	if err == nil || final {
		return digest, err
	}
	e.o.Logger.Debug("the engine asks the registry in our place", "image", ref, "cause", err)
	auth, err := e.authFor(ref)
	if err != nil {
		return "", err
	}
	answer, err := e.api.DistributionInspect(ctx, ref, auth)
	if err != nil {
		return "", causeOr(ctx, err)
	}
	return answer.Descriptor.Digest.String(), nil
}

// limited is the error of a pull from a registry that wants us to wait.
type limited struct {
	error
	after time.Duration
}

func (l limited) Unwrap() error { return l.error }

// RetryAfter is how long the registry wants to be left alone.
func (l limited) RetryAfter() time.Duration { return l.after }

// withRetryAfter adds to the error of a failed pull how long the registry wants
// us to wait, if it limits the rate. The engine does not tell, so the registry
// is asked once more.
func (e *Engine) withRetryAfter(ctx context.Context, ref string, err error) error {
	if !rateLimited(err) {
		return err
	}
	after := e.askToWait(ctx, ref)
	if after <= 0 {
		return err
	}
	return limited{fmt.Errorf("%w; the registry asks to wait %s", err, after), after}
}

func rateLimited(err error) bool {
	return regexp.MustCompile(`(?i)toomanyrequests|too many requests|\b429\b`).MatchString(err.Error())
}

// askToWait reads Retry-After off the answer to a question for an image; 0 if
// there is none, or the registry can't be asked from here.
func (e *Engine) askToWait(ctx context.Context, ref string) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, _, err := e.head(ctx, ref)
	var wait limited
	if errors.As(err, &wait) {
		return wait.after
	}
	return 0
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, 10.2.3).
func retryAfter(value string, now time.Time) time.Duration {
	after := time.Duration(0)
	if seconds, err := strconv.Atoi(value); err == nil {
		after = time.Duration(min(seconds, int(longestWait/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		after = at.Sub(now).Round(time.Second)
	}
	return max(0, min(after, longestWait))
}
