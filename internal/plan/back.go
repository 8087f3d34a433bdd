package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// A stack whose new version fails goes back to the last good one if that is wanted
// (Service.Rollback). Nothing of that lives in memory only: what is remembered says
// that the version which git wants is bad, and then the last good one is what is
// wanted instead. So a kill at any time, and a drift afterwards, heal as they always
// do.
//
//	what is remembered            what git wants             what is wanted
//	------------------            --------------             --------------
//	no bad version                any                        that
//	a bad version                 the bad one                the last good one
//	a bad version                 another one, or a tag of   that
//	                              it has moved since

// RollsBack says whether a stack goes back to its last good version, as containers of some
// services failed, with the ids of the images that they were made from: if one of these
// wants that, and is not what it was in the good version. The update has to come from git
// or from a tag that has moved.
func (r Record) RollsBack(s Stack, cause Cause, failed map[string]string) bool {
	if cause.Why != Changed || s.Back != nil || s.Mode != Managed || len(r.Good.Services) == 0 || r.Good.Digest == "" || r.Good.File != s.File {
		return false
	}
	return slices.ContainsFunc(s.Services, func(v Service) bool {
		image, has := failed[v.Name]
		was, had := r.Good.Services[v.Name]
		return has && v.Rollback && (!had || was.Hash != v.Hash || image != "" && was.Image != "" && was.Image != image)
	})
}

// IsBad says whether what git wants of a stack is the version that it was rolled back
// from. It is another one once a tag leads to another image than then. A stack that is
// not to go back any more is not held to it.
func (r Record) IsBad(s Stack, o Observed) bool {
	if !s.rolls() || r.Bad.Digest == "" || r.Bad.Digest != s.Digest || r.Bad.File != s.File || r.Good.Digest == "" {
		return false
	}
	return !slices.ContainsFunc(s.Services, func(v Service) bool {
		here, was := o.Images[v.Image], r.Bad.Services[v.Name].Image
		return HasMoved(v, o) || here != "" && was != "" && here != was
	})
}

// rolls says whether a stack is to go back if a service of it fails.
func (s Stack) rolls() bool {
	return slices.ContainsFunc(s.Services, func(v Service) bool { return v.Rollback })
}

// VersionOf is what a stack is now: what git wants, and the images that this means here.
func VersionOf(s Stack, commit string, o Observed) Version {
	return versionOf(s, commit, func(svc *Service) Variant { return Variant{svc.Hash, o.Images[svc.Image]} })
}

// VersionRun is what runs of a stack, which is as it is wanted.
func VersionRun(s Stack, commit string, r Running) Version {
	return versionOf(s, commit, func(svc *Service) Variant { return variantOf(svc, r) })
}

func versionOf(s Stack, commit string, of func(*Service) Variant) Version {
	v := Version{Commit: commit, File: s.File, Digest: s.Digest, Services: make(map[string]Variant, len(s.Services))}
	for i := range s.Services {
		v.Services[s.Services[i].Name] = of(&s.Services[i])
	}
	return v
}

// Runs says whether a version is what runs of a stack, which is as it is wanted.
func (v Version) Runs(s Stack, r Running) bool {
	if v.File != s.File || v.Digest != s.Digest || len(v.Services) != len(s.Services) {
		return false
	}
	for i := range s.Services {
		was, ok := v.Services[s.Services[i].Name]
		if !ok || was != variantOf(&s.Services[i], r) {
			return false
		}
	}
	return true
}

func variantOf(s *Service, r Running) Variant {
	v := Variant{Hash: s.Hash}
	for i := range r.Containers {
		if c := &r.Containers[i]; c.Service == s.Name && !c.OneOff {
			v.Image = c.Image
		}
	}
	return v
}

// Keeps says whether there are images that are kept for a project.
func (o Observed) Keeps(project string) bool {
	for ref := range o.Images {
		if IsKept(ref, project) {
			return true
		}
	}
	return false
}

// Images are those of a version by service, as ids.
func (v Version) Images() map[string]string {
	ids := map[string]string{}
	for name, of := range v.Services {
		if of.Image != "" {
			ids[name] = of.Image
		}
	}
	return ids
}

// KeptRepository is the name of the images that are kept for stacks to go back to.
const KeptRepository = "gitops-compose/keep"

// KeptAs is what an image is called that is kept for a service of a stack: as long as
// it has a name, docker image prune leaves it. A project's name has no dot.
func KeptAs(project, service string) string {
	const longest = 128 // of a tag
	tag := project + "." + service
	if len(tag) > longest {
		sum := sha256.Sum256([]byte(tag))
		tag = tag[:longest-33] + "." + hex.EncodeToString(sum[:16])
	}
	return KeptRepository + ":" + tag
}

// IsKept says whether a reference is what KeptAs calls an image of a project.
func IsKept(ref, project string) bool {
	return strings.HasPrefix(ref, KeptRepository+":"+project+".")
}

// unseen says whether a version was begun that could be rolled back, and nobody saw how
// it went: the daemon ended while it came up. Brought up again, it is watched.
func (r Record) unseen(s Stack) bool {
	return s.rolls() && s.Back == nil && r.Tried == s.Digest && r.Applied != s.Digest && r.Failed != s.Digest && r.Good.Digest != ""
}

// keeps are the images that have to stay until a stack is up, see Op.Keep.
func (r Record) keeps(s Stack) map[string]string {
	if s.Back == nil && (!s.rolls() || s.Mode != Managed || r.Good.File != s.File) {
		return nil
	}
	if images := r.Good.Images(); len(images) > 0 {
		return images
	}
	return nil
}

// Held says why a stack that is rolled back is left as it is.
func (b Back) Held() string {
	return fmt.Sprintf("it runs in the version of %s, as that of %s failed: %s. That one is tried again once git changes the stack, or a tag that it uses has moved", short(b.To), short(b.From), b.Error)
}
