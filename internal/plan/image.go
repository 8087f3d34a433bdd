package plan

import "strings"

// HasMoved says whether the tag of a service's image, if it is to be watched,
// points to another image at the registry than the one that is here.
func HasMoved(s Service, o Observed) bool { return s.Every > 0 && o.moved(s.Image) }

func (o Observed) moved(ref string) bool {
	here, latest := o.Images[ref], o.Latest[ref]
	return here != "" && latest != "" && o.Images[Repository(ref)+"@"+latest] != here
}

// Repository is a reference without its tag or digest.
func Repository(ref string) string {
	name, _, _ := strings.Cut(ref, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	return name
}

// Due is a service with the decision made whether its policy wants its image
// pulled. digests are those of the pull, see Op.Digests.
func (s Service) Due(o Observed, digests map[string]string) Service {
	digest, aged := digests[s.Image]
	switch {
	case aged && s.Every > 0 && digest == "":
		s.Pull = PullMissing
	case aged && s.Every > 0:
		s.Pull, s.Digest = PullAlways, digest
	case s.Pull == PullRefresh:
		s.Pull = PullMissing
		if HasMoved(s, o) {
			s.Pull = PullAlways
		}
	}
	return s
}
