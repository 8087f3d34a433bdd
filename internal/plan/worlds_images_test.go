package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// registry is where images come from, and what the daemon knows of it.
type registry struct {
	rng  *rand.Rand                       // of its own: what moves here is no part of other stories
	tags map[string]string                // what they point to, by reference
	had  map[string][]string              // what they pointed to before
	born map[string]time.Time             // when a digest was pushed
	said map[string]string                // what it said of a tag when it was last asked
	seen map[string]time.Time             // since when
	free func(svc Service, digest string) // is told of a digest that comes by no order
}

func newRegistry(rng *rand.Rand) *registry {
	return &registry{
		rng: rng, tags: map[string]string{}, had: map[string][]string{}, born: map[string]time.Time{}, said: map[string]string{}, seen: map[string]time.Time{},
	}
}

func (r *registry) at(ref string) string {
	if r.tags[ref] == "" {
		return "sha256:first"
	}
	return r.tags[ref]
}

// move lets a tag point to something new, or back to what it pointed to before.
func (r *registry) move(ref string, now time.Time) {
	old := r.had[ref]
	r.had[ref] = append(old, r.at(ref))
	if len(old) > 0 && r.rng.IntN(4) == 0 {
		r.tags[ref] = old[r.rng.IntN(len(old))]
		return
	}
	r.tags[ref] = fmt.Sprintf("sha256:%d", len(r.born))
	r.born[r.tags[ref]] = now
}

// told takes in what the registry says of a tag.
func (r *registry) told(ref string, now time.Time) {
	if r.said[ref] != r.at(ref) {
		r.said[ref], r.seen[ref] = r.at(ref), now
	}
}

// movedAgain is the error of a pull that was to bring another digest than the tag
// points to by now.
type movedAgain struct{ ref string }

func (m movedAgain) Error() string { return m.ref + " has moved again" }

// have brings an image here.
func (h *host) have(ref string) {
	h.images[ref] = h.registry.at(ref)
	h.digests[Repository(ref)+"@"+h.images[ref]] = h.idOf(ref)
}

// idOf is the id of the image that is here; empty if there is none.
func (h *host) idOf(ref string) string {
	if h.images[ref] == "" {
		return ""
	}
	return "id of " + ref + h.images[ref]
}

func (h *host) pull(s Stack, op Op, o Observed, do step) error {
	for _, svc := range append(slices.Clip(s.Services), s.Hooks.All()...) {
		if op.Services != nil && !slices.Contains(op.Services, svc.Name) {
			continue
		}
		if err := do(); err != nil {
			return err
		}
		due := svc.Due(o, op.Digests)
		switch here := h.images[svc.Image] != ""; {
		case due.Digest != "" && due.Digest != h.registry.at(svc.Image):
			return movedAgain{svc.Image}
		case here && due.Pull == PullAlways:
			h.registry.free(due, h.registry.at(svc.Image))
			h.have(svc.Image)
		case !here:
			h.have(svc.Image)
		}
	}
	return nil
}

// watchedOf are the references that stacks of a head watch.
func (r *robot) watchedOf(commit string) []string {
	var refs []string
	for _, s := range r.commits[commit].stacks(r.files) {
		for _, svc := range s.Services {
			if svc.Every > 0 && s.Mode != Ignored {
				refs = append(refs, svc.Image)
			}
		}
	}
	return refs
}

// ask asks the registry, for some images or for all.
func (r *robot) ask(all bool) {
	for _, ref := range r.watchedOf(r.known) {
		if all || r.registry.rng.IntN(4) == 0 {
			r.registry.told(ref, r.now)
		}
	}
}

// pulled is what the journal learns from a pull.
func (r *robot) pulled(j *job) {
	for _, svc := range j.stack.Services {
		due := svc.Due(j.look.state.Observed, j.Digests)
		plain := due.Pull == PullAlways && due.Digest == "" || j.look.state.Observed.Images[svc.Image] == ""
		if concerned := j.Services == nil || slices.Contains(j.Services, svc.Name); concerned && svc.Every > 0 && plain {
			delete(r.registry.said, svc.Image)
		}
	}
}

// publish moves a tag, now and then, and lets a person pull one.
func (w *story) publish() {
	refs := w.watchedOf(w.remote)
	if len(refs) == 0 {
		return
	}
	ref := refs[w.registry.rng.IntN(len(refs))]
	switch w.registry.rng.IntN(24) {
	case 0, 1, 2:
		w.registry.move(ref, w.now)
		w.tell("%s is %s at the registry", ref, w.registry.at(ref))
	case 3:
		if w.images[ref] != "" {
			w.have(ref)
			w.tell("%s is pulled by hand: %s", ref, w.images[ref])
		}
	}
}

// comes holds an image that comes in the place of another one to its age.
func (w *story) comes(due Service, digest string) {
	if w.policy.MinAge == 0 || due.Every == 0 {
		return
	}
	if due.Digest == "" {
		w.t.Errorf("%s is pulled as the registry has it: %s", due.Image, digest)
	}
	if born := w.registry.born[digest]; w.now.Sub(born) < w.policy.MinAge {
		w.t.Errorf("%s is pulled, %s old: %s", due.Image, w.now.Sub(born), digest)
	}
}
