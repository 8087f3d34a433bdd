package web

import (
	"net/http"
	"strings"
)

// sender is who sent a request and what it says that it is about.
type sender struct {
	// provider is one of github, gitlab, gitea, gogs, bitbucket, generic.
	provider string
	event    string
}

// recognise looks at the headers. The order matters: Gitea and Forgejo send
// the headers of GitHub and Gogs as well.
func recognise(h http.Header) sender {
	for _, p := range []struct{ header, provider string }{
		{"X-Forgejo-Event", "gitea"},
		{"X-Gitea-Event", "gitea"},
		{"X-Gogs-Event", "gogs"},
		{"X-Github-Event", "github"},
		{"X-Gitlab-Event", "gitlab"},
		{"X-Event-Key", "bitbucket"},
	} {
		if event := h.Get(p.header); event != "" {
			return sender{p.provider, event}
		}
	}
	return sender{"generic", ""}
}

// judge says whether a delivery is a push to the branch of the repository, and
// in words why. What can't be told counts: a look too many costs nothing, one
// too few is a change that waits for the next tick.
func (s sender) judge(p payload, branch string, remote location) (queued bool, reason string) {
	if reason := s.noPush(p); reason != "" {
		return false, reason
	}
	if s.provider != "generic" && !remote.is(p.repository) {
		return false, "push to repository " + short(p.repository)
	}
	refs := p.pushed()
	if len(refs) == 0 {
		return true, "push"
	}
	for _, ref := range refs {
		if ref == "refs/heads/"+branch {
			return true, "push to " + branch
		}
	}
	return false, "push to " + short(refs[0]) + ", not to refs/heads/" + branch
}

// noPush says why a delivery is no push; "" if it is one.
func (s sender) noPush(p payload) string {
	event := s.event
	switch {
	case s.provider == "generic":
		return ""
	case event == "ping" || event == "diagnostics:ping":
		return "ping"
	case event == "System Hook" && s.provider == "gitlab":
		event = p.event
	}
	switch event {
	case "push", "Push Hook", "repo:push", "repo:refs_changed", "mirror:repo_synchronized":
		return ""
	}
	return "event " + short(event) + " is no push"
}

// short keeps a sender's words from filling the log.
func short(s string) string {
	const most = 100
	s = strings.ToValidUTF8(s, "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
