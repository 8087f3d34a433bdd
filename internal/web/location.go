package web

import (
	"net/url"
	"strings"
)

// location is where a repository is, without scheme and credentials.
type location struct{ host, path string }

// locate reads the address of a remote in any form that git takes. A path of
// this host has no host, and says nothing about what a provider calls it.
func locate(remote string) location {
	if u, err := url.Parse(remote); err == nil && u.Scheme != "" && u.Host != "" {
		return location{u.Host, clean(u.Path)}
	}
	if strings.Contains(remote, "://") || strings.HasPrefix(remote, "/") {
		return location{}
	}
	host, path, ok := strings.Cut(remote, ":") // user@host:path
	if !ok {
		return location{}
	}
	return location{host[strings.LastIndex(host, "@")+1:], clean(path)}
}

func clean(path string) string {
	return strings.TrimSuffix(strings.Trim(path, "/"), ".git")
}

// String is for people.
func (l location) String() string {
	if l.host == "" {
		return ""
	}
	return l.host + "/" + l.path
}

// is says whether a provider's name of a repository ("owner/name") means this
// one. Hosts are not compared: a provider knows itself by another name than
// its users do. The path may have something in front, like /scm at Bitbucket.
// What can't be told counts as equal, because a look too many costs nothing.
func (l location) is(name string) bool {
	name = strings.ToLower(clean(name))
	path := strings.ToLower(l.path)
	return name == "" || path == "" || path == name || strings.HasSuffix(path, "/"+name)
}
