package reconcile

import (
	"context"
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

// tags watches the images of services whose pull policy wants to know when a
// tag moves. A tag that has moved is a reason to look, and to the plan it is
// as if git had changed. What a registry said is in the journal, so that a
// daily question stays one over restarts.
//
// Questions are asked beside the loop, one round at a time; all else is
// touched by the goroutine of Run only.
type tags struct {
	every    map[string]time.Duration // of the watched, by reference
	services []plan.Service
	observed plan.Observed // of the last look
	due      *alarm
	asking   bool
	answers  chan []answer
}

type answer struct {
	ref, latest string
	err         error
}

func newTags() *tags { return &tags{due: newAlarm(), answers: make(chan []answer, 1)} }

// watch takes over from a look which images are to be watched. One that is not
// here is about to be pulled, so there is no need to ask for it at once.
func (r *Reconciler) watch(v view) {
	t := r.tags
	t.every, t.services, t.observed = map[string]time.Duration{}, nil, v.observed
	for _, p := range v.projects {
		if p.Mode == plan.Ignored || r.o.Registry == nil {
			continue
		}
		for _, s := range p.Services {
			if s.Every <= 0 {
				continue
			}
			t.services = append(t.services, s)
			if every, ok := t.every[s.Image]; !ok || s.Every < every {
				t.every[s.Image] = s.Every
			}
			if _, known := r.journal.Images[s.Image]; !known && v.observed.Images[s.Image] == "" {
				r.journal.asked(s.Image, asked{At: v.at})
			}
		}
	}
	r.journal.forgetImages(func(ref string) bool { return t.every[ref] > 0 || r.o.Registry == nil })
}

// untilDue is the time to the next question, 0 for none.
func (r *Reconciler) untilDue() time.Duration {
	if r.tags.asking {
		return 0
	}
	var next time.Time
	for ref, every := range r.tags.every {
		if due := r.journal.Images[ref].due(every); next.IsZero() || due.Before(next) {
			next = due
		}
	}
	if len(r.tags.every) == 0 {
		return 0
	}
	return max(time.Until(next), time.Millisecond)
}

// ask asks for all images that are due.
func (r *Reconciler) ask(ctx context.Context) {
	var refs []string
	now := time.Now()
	for ref, every := range r.tags.every {
		if !r.journal.Images[ref].due(every).After(now) {
			refs = append(refs, ref)
		}
	}
	r.tags.asking = true
	go func() {
		answers := make([]answer, len(refs))
		slots := make(chan struct{}, asking)
		var wg sync.WaitGroup
		for i, ref := range refs {
			slots <- struct{}{}
			wg.Go(func() {
				latest, err := r.o.Registry.Latest(ctx, ref)
				answers[i] = answer{ref, latest, err}
				<-slots
			})
		}
		wg.Wait()
		r.tags.answers <- answers
	}()
}

// answered takes answers in, and says whether a tag may have moved: what the
// last look saw can be older than the last pull, so a new look has to tell.
func (r *Reconciler) answered(answers []answer) (moved bool) {
	r.tags.asking = false
	news := map[string]bool{}
	for _, a := range answers {
		is := asked{At: time.Now(), Latest: a.latest}
		was := r.journal.Images[a.ref]
		if a.err != nil {
			is.Latest, is.Failures, is.Wait = was.Latest, was.Failures+1, retryAfter(a.err)
			if is.Failures == 1 { // and no more until it works again
				r.o.Logger.Warn("registry does not say whether there is a newer image", "image", a.ref, "err", a.err)
			}
		}
		news[a.ref] = is.Latest != was.Latest
		r.journal.asked(a.ref, is)
	}
	r.journal.save()
	r.tags.observed.Latest = r.journal.latest()
	for _, s := range r.tags.services {
		moved = moved || news[s.Image] && (r.tags.observed.Images[s.Image] == "" || plan.Moved(s, r.tags.observed))
	}
	return moved
}

// pulled notes that what a registry had was pulled.
func (r *Reconciler) pulled(services []plan.Service) {
	for _, s := range services {
		if s.Every > 0 && s.Pull == plan.PullAlways {
			r.journal.asked(s.Image, asked{At: time.Now()})
		}
	}
}
