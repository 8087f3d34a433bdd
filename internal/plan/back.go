package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
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

// RollsBack says whether a stack goes back to its last good version, as a container of a
// service failed that was made from an image: if the service wants that, and is not what
// it was in the good version. The update has to come from git or from a tag that has moved.
func (r Record) RollsBack(s Stack, cause Cause, service, image string) bool {
	if cause.Why != Changed || s.Back != nil || s.Mode != Managed || len(r.Good.Services) == 0 || r.Good.Digest == "" || r.Good.File != s.File {
		return false
	}
	i := slices.IndexFunc(s.Services, func(v Service) bool { return v.Name == service })
	if i < 0 || !s.Services[i].Rollback {
		return false
	}
	was, had := r.Good.Services[service]
	return !had || was.Hash != s.Services[i].Hash || image != "" && was.Image != "" && was.Image != image
}

// IsBad says whether what git wants of a stack is the version that it was rolled back
// from. It is another one once a tag leads to another image than then.
func (r Record) IsBad(s Stack, o Observed) bool {
	if r.Bad.Digest == "" || r.Bad.Digest != s.Digest || r.Bad.File != s.File || r.Good.Digest == "" {
		return false
	}
	return !slices.ContainsFunc(s.Services, func(v Service) bool {
		here, was := o.Images[v.Image], r.Bad.Services[v.Name].Image
		return HasMoved(v, o) || here != "" && was != "" && here != was
	})
}

// VersionOf is what a stack is now: what git wants, and the images that this means here.
func VersionOf(s Stack, commit string, o Observed) Version {
	v := Version{Commit: commit, File: s.File, Digest: s.Digest, Services: map[string]Variant{}}
	for _, svc := range s.Services {
		v.Services[svc.Name] = Variant{Hash: svc.Hash, Image: o.Images[svc.Image]}
	}
	return v
}

// VersionRun is what runs of a stack, which is as it is wanted.
func VersionRun(s Stack, commit string, r Running) Version {
	v := Version{Commit: commit, File: s.File, Digest: s.Digest, Services: map[string]Variant{}}
	for _, svc := range s.Services {
		v.Services[svc.Name] = Variant{Hash: svc.Hash}
		for _, c := range r.Containers {
			if c.Service == svc.Name && !c.OneOff {
				v.Services[svc.Name] = Variant{svc.Hash, c.Image}
			}
		}
	}
	return v
}

// Equal says whether two versions are the same, whatever commit they are of.
func (v Version) Equal(o Version) bool {
	return v.File == o.File && v.Digest == o.Digest && maps.Equal(v.Services, o.Services)
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

// unconfirmed says whether a version was begun that could be rolled back, and has never
// been seen to run well: the daemon ended while it came up.
func (r Record) unconfirmed(s Stack) bool {
	rolls := slices.ContainsFunc(s.Services, func(v Service) bool { return v.Rollback })
	return rolls && s.Back == nil && r.Tried == s.Digest && r.Applied != s.Digest && r.Good.Digest != ""
}

// keeps are the images that have to stay until a stack is up, see Op.Keep.
func (r Record) keeps(s Stack) map[string]string {
	rolls := slices.ContainsFunc(s.Services, func(v Service) bool { return v.Rollback })
	if s.Back == nil && (!rolls || s.Mode != Managed || r.Good.File != s.File) {
		return nil
	}
	if images := r.Good.Images(); len(images) > 0 {
		return images
	}
	return nil
}

// notWell is what keeps a version from being seen to run well: brought up again, it is
// seen to fail.
func notWell(s Stack, r Running) (ds []Difference) {
	all, _ := problems(s, r)
	for _, text := range all {
		ds = append(ds, Difference{Config: true, Text: text})
	}
	return ds
}

// rolledBack is the hold of a stack that runs in an earlier version.
func (b *builder) rolledBack(s Stack) {
	b.hold(s, HeldRollback, fmt.Sprintf("it runs in the version of %s, as that of %s failed: %s. That one is tried again once git changes the stack, or a tag that it uses has moved", short(s.Back.To), short(s.Back.From), s.Back.Error))
}
