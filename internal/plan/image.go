package plan

import "strings"

// HasMoved says whether the tag of a service's image, if it is to be watched,
// points to another image at the registry than the one that is here.
func HasMoved(s Service, o Observed) bool {
	here, latest := o.Images[s.Image], o.Latest[s.Image]
	return s.Every > 0 && here != "" && latest != "" && o.Images[Repository(s.Image)+"@"+latest] != here
}

// Repository is a reference without its tag or digest.
func Repository(ref string) string {
	name, _, _ := strings.Cut(ref, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	return name
}

// Due is a service with the decision made whether a timed policy wants its image
// pulled.
func (s Service) Due(o Observed) Service {
	if s.Pull == PullRefresh {
		s.Pull = PullMissing
		if HasMoved(s, o) {
			s.Pull = PullAlways
		}
	}
	return s
}
