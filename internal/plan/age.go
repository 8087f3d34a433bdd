package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Young is a digest that a watched tag points to and that has not reached the age
// at which it is taken.
type Young struct {
	Digest string
	// Seen is when the tag was first seen to point to it, From when it is taken.
	Seen, From time.Time
}

// Ripen sees to the age of images: where a watched tag points to a digest that is
// too young, the state becomes one in which the tag has not moved, and Young says
// so. Thus nothing that goes by the state takes it: no difference, no pull, no
// version of the daemon. A state that has been ripened stays as it is.
//
//	the tag points to                            what is taken
//	-----------------                            -------------
//	what is here                                 that
//	what is not here, first seen long enough ago that
//	what is not here, and younger                what is here
//	anything, and nothing is here                whatever the registry has
//
// The age is counted from when this daemon first saw the tag point to that digest,
// and not from when the image says that it was made: that is its publisher's word.
func (st State) Ripen(p Policy) State {
	young := map[string]Young{}
	for ref, age := range agesOf(st.Wanted, p) {
		digest, seen := st.Observed.Latest[ref], st.Observed.Seen[ref]
		if seen.IsZero() { // a journal that does not say
			seen = st.Now
		}
		if from := seen.Add(age); st.Now.Before(from) && st.Observed.moved(ref) {
			young[ref] = Young{digest, seen, from}
		}
	}
	if len(young) == 0 {
		return st
	}
	st.Young, st.Observed.Latest = young, maps.Clone(st.Observed.Latest)
	for ref := range young {
		st.Observed.Latest[ref] = st.Observed.digestOf(ref)
	}
	return st
}

// agesOf are the ages that images have to reach, by reference; those that need not
// are not in it. Stacks that watch the same tag share what the host has under it:
// the longest age of theirs counts, so that none gets what is too young for it.
func agesOf(stacks []Stack, p Policy) map[string]time.Duration {
	ages := map[string]time.Duration{}
	for _, s := range stacks {
		age := p.MinAge
		if s.MinAge != nil {
			age = *s.MinAge
		}
		if age <= 0 || s.Invalid != "" || s.Mode == Ignored {
			continue
		}
		for _, svc := range s.Services {
			if svc.Every > 0 {
				ages[svc.Image] = max(ages[svc.Image], age)
			}
		}
	}
	return ages
}

// digestOf is a digest under which the image that is here under a tag is known;
// empty if there is none.
func (o Observed) digestOf(ref string) string {
	var digests []string
	for name, id := range o.Images {
		if digest, ok := strings.CutPrefix(name, Repository(ref)+"@"); ok && id == o.Images[ref] {
			digests = append(digests, digest)
		}
	}
	if len(digests) == 0 {
		return ""
	}
	return slices.Min(digests)
}

// digests are what a pull is to bring of the images of a stack that have to reach
// an age, see Op.Digests. One that is not here comes as any other that is missing.
func (b *builder) digests(s Stack) map[string]string {
	var out map[string]string
	for _, svc := range s.Services {
		if b.ages[svc.Image] == 0 || svc.Every <= 0 {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[svc.Image] = ""
		if HasMoved(svc, b.state.Observed) {
			out[svc.Image] = b.state.Observed.Latest[svc.Image]
		}
	}
	return out
}

// holdYoung holds the stacks in which there is nothing to do but to wait for the
// age of an image. Others are brought to what is wanted without it, and it is
// looked at again after that.
func (b *builder) holdYoung() {
	if len(b.state.Young) == 0 {
		return
	}
	for _, s := range b.state.Wanted {
		_, comes := b.up[s.Name]
		comes = comes || b.over != nil && b.over.Stack == s.Name
		if held := b.held[s.File].Reason != ""; held || comes || s.Invalid != "" || s.Mode == Ignored {
			continue
		}
		if detail := b.awaits(s); detail != "" {
			b.hold(s, HeldAge, detail)
		}
	}
}

// awaits says for the age of which images a stack waits; empty if it does not.
func (b *builder) awaits(s Stack) string {
	var images, parts []string
	for _, svc := range s.Services {
		y, young := b.state.Young[svc.Image]
		if !young || svc.Every <= 0 || svc.Scale == 0 || slices.Contains(images, svc.Image) {
			continue
		}
		images = append(images, svc.Image)
		parts = append(parts, fmt.Sprintf("%s at the registry is a newer image (%s), first seen on %s and taken after %s", svc.Image, shortID(y.Digest), dateOf(y.Seen), dateOf(y.From)))
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, "; ") + "; to take it now, on the host: docker pull " + images[0]
}

// dateOf is a time as people read it, on whatever host it is.
func dateOf(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
