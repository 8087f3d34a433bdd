package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// Registry is asked where tags point. Its method may be called for several
// images at the same time.
type Registry interface {
	// Latest gives the digest that an image's tag points to at its registry.
	Latest(ctx context.Context, ref string) (string, error)
}

// asking is how many images are asked for at the same time.
const asking = 4

// asked is what is remembered of a watched tag.
type asked struct {
	// At is when the registry was last asked, or the image last pulled.
	At time.Time
	// Latest is what it said; empty if that has been pulled since.
	Latest string `json:",omitempty"`
	// First is when it said so first, of what it has said since: the age of an image
	// is counted from then. Releases before did not write it.
	First time.Time `json:",omitzero"`
	// Failures counts those in a row.
	Failures int `json:",omitempty"`
	// Wait is for how long it wants not to be asked.
	Wait time.Duration `json:",omitempty"`
}

// due is when it is to be asked again. After a failure that is sooner than a
// weekly policy would have it, unless the registry wants to be left alone.
func (a asked) due(every time.Duration) time.Time {
	if a.Failures > 0 {
		every = min(every, time.Minute<<min(a.Failures-1, 6))
	}
	return a.At.Add(max(every, a.Wait))
}

// watch asks registries for the images of services whose pull policy wants to
// know when a tag moves. A tag that has moved is a reason to look, and to the
// plan it is as if git had changed. What a registry said is in the journal, so
// that a daily question stays one over restarts.
//
// Questions are asked beside the loop, one round at a time; all else is used by
// the loop only.
type watch struct {
	registry Registry
	log      *slog.Logger
	every    map[string]time.Duration // of the watched, by reference
	services []plan.Service
	observed plan.Observed // of the last look
	asking   bool
	answers  chan []answer
}

type answer struct {
	ref, latest string
	err         error
}

// movedAgain is the error of a pull that was to bring one digest of a tag and no
// other, and has found that the tag points to another one by now.
type movedAgain interface {
	error
	// MovedTo gives the image, and what its tag points to.
	MovedTo() (ref, digest string)
}

// newWatch makes a watch. What a journal of a release before says of tags counts as
// said now.
func newWatch(registry Registry, log *slog.Logger, j *journal) *watch {
	for ref, a := range j.Images {
		if a.Latest != "" && a.First.IsZero() {
			a.First = time.Now()
			j.asked(ref, a)
		}
	}
	return &watch{registry: registry, log: log, answers: make(chan []answer, 1)}
}

// watch takes over from a look which images are to be watched. One that is not
// here is about to be pulled, so there is no need to ask for it at once.
func (w *watch) watch(v view, j *journal) {
	w.every, w.services, w.observed = map[string]time.Duration{}, nil, v.state.Observed
	for _, p := range v.git {
		if p.Mode == plan.Ignored || w.registry == nil {
			continue
		}
		for _, s := range p.Services {
			if s.Every <= 0 {
				continue
			}
			w.services = append(w.services, s)
			if every, ok := w.every[s.Image]; !ok || s.Every < every {
				w.every[s.Image] = s.Every
			}
			if _, known := j.Images[s.Image]; !known && w.observed.Images[s.Image] == "" {
				j.asked(s.Image, asked{At: v.at})
			}
		}
	}
	// Nobody knows what an invalid stack watches.
	broken := slices.ContainsFunc(v.state.Wanted, func(s plan.Stack) bool { return s.Invalid != "" })
	j.forgetImages(func(ref string) bool { return w.every[ref] > 0 || w.registry == nil || broken })
}

// next is when the next question is due, zero if none is.
func (w *watch) next(j *journal) time.Time {
	var next time.Time
	if w.asking {
		return next
	}
	for ref, every := range w.every {
		if due := j.Images[ref].due(every); next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next
}

// due says whether a question is.
func (w *watch) due(now time.Time, j *journal) bool {
	return !w.asking && len(w.every) > 0 && !w.next(j).After(now)
}

// ask asks for all images that are due.
func (w *watch) ask(ctx context.Context, j *journal) {
	var refs []string
	now := time.Now()
	for ref, every := range w.every {
		if !j.Images[ref].due(every).After(now) {
			refs = append(refs, ref)
		}
	}
	w.asking = true
	go func() {
		answers := make([]answer, len(refs))
		slots := make(chan struct{}, asking)
		var wg sync.WaitGroup
		for i, ref := range refs {
			slots <- struct{}{}
			wg.Go(func() {
				latest, err := w.registry.Latest(ctx, ref)
				answers[i] = answer{ref, latest, err}
				<-slots
			})
		}
		wg.Wait()
		w.answers <- answers
	}()
}

// answered takes answers in, and says whether a tag may have moved: what the
// last look saw can be older than the last pull, so a new look has to tell.
func (w *watch) answered(answers []answer, j *journal) (moved bool) {
	w.asking = false
	news := map[string]bool{}
	for _, a := range answers {
		was := j.Images[a.ref]
		is := was.says(a.latest)
		if a.err != nil {
			is = asked{At: is.At, Latest: was.Latest, First: was.First, Failures: was.Failures + 1, Wait: retryAfter(a.err)}
			if is.Failures == 1 { // and no more until it works again
				w.log.Warn("can't check the registry for a newer image", "image", a.ref, "err", a.err)
			}
		}
		news[a.ref] = is.Latest != was.Latest
		j.asked(a.ref, is)
	}
	j.save()
	w.observed.Latest, w.observed.Seen = j.latest()
	for _, s := range w.services {
		moved = moved || news[s.Image] && (w.observed.Images[s.Image] == "" || plan.HasMoved(s, w.observed))
	}
	return moved
}

// says is what is remembered once the registry has said where the tag points now. A
// digest that it points to again is as new as any.
func (a asked) says(latest string) asked {
	is := asked{At: time.Now(), Latest: latest, First: a.First}
	if latest != a.Latest || is.First.IsZero() {
		is.First = is.At
	}
	return is
}

// waits says whether a stack has to wait for the age of an image, whatever else is
// done to it.
func (v view) waits(stack string) bool {
	return slices.ContainsFunc(v.state.Wanted, func(s plan.Stack) bool {
		return s.Name == stack && slices.ContainsFunc(s.Services, func(svc plan.Service) bool {
			_, young := v.state.Young[svc.Image]
			return young && svc.Every > 0
		})
	})
}

// pulled notes that what a registry had was pulled, if it was not one digest of
// all: of that it is known which it is. o is what was here before.
func (w *watch) pulled(services []plan.Service, o plan.Observed, j *journal) {
	for _, s := range services {
		plain := s.Pull == plan.PullAlways && s.Digest == "" || o.Images[s.Image] == ""
		if s.Every > 0 && plain {
			j.asked(s.Image, asked{At: time.Now()})
		}
	}
}

// movedAgain notes where a tag was found to point by a pull that wanted another
// digest.
func (w *watch) movedAgain(err error, j *journal) {
	var moved movedAgain
	if errors.As(err, &moved) {
		ref, digest := moved.MovedTo()
		j.asked(ref, j.Images[ref].says(digest))
	}
}
