package web

import (
	"bytes"
	"encoding/json"
	"strings"
)

// payload is what the payloads of all providers say about a push, as far as it
// matters. No library reads them for us: those that exist decode whole
// payloads, of which this is a handful of keys, and verify the parsed body.
type payload struct {
	// ref is the full name of what was pushed, for those that push one thing.
	ref string
	// event is what GitLab calls the event inside a system hook.
	event string
	// refs are what was pushed, for Bitbucket, which can push several.
	refs []string
	// repository is its name, "owner/name"; empty if it is not said.
	repository string
}

// scan reads the keys of a payload that can be cut off anywhere: it takes what
// it understands and never fails.
func scan(head []byte) payload {
	var p payload
	decoder := json.NewDecoder(bytes.NewReader(head))
	if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
		return p
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return p
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return p
		}
		if name, ok := key.(string); ok {
			p.take(name, value)
		}
	}
	return p
}

func (p *payload) take(key string, value []byte) {
	switch key {
	case "ref":
		p.ref = text(value)
	case "event_name", "object_kind": // GitLab; they are equal for pushes
		p.event = text(value)
	case "repository": // all but GitLab, which fills in another way
		p.setRepository(bitbucketOrFullName(value))
	case "project": // GitLab
		p.setRepository(field[struct {
			Path string `json:"path_with_namespace"`
		}](value).Path)
	case "push": // Bitbucket Cloud
		p.refs = append(p.refs, cloud(value)...)
	case "changes": // Bitbucket Server
		p.refs = append(p.refs, server(value)...)
	}
}

func (p *payload) setRepository(name string) {
	if name != "" {
		p.repository = name
	}
}

// bitbucketOrFullName reads a repository's name: Bitbucket Server has key and
// slug, the others a full name.
func bitbucketOrFullName(value []byte) string {
	r := field[struct {
		FullName string `json:"full_name"`
		Slug     string `json:"slug"`
		Project  struct {
			Key string `json:"key"`
		} `json:"project"`
	}](value)
	if r.FullName == "" && r.Slug != "" && r.Project.Key != "" {
		return r.Project.Key + "/" + r.Slug
	}
	return r.FullName
}

// cloud reads the changes of Bitbucket Cloud. A deleted branch has no new.
func cloud(value []byte) []string {
	type target struct{ Type, Name string }
	push := field[struct {
		Changes []struct{ New, Old *target }
	}](value)
	var refs []string
	for _, c := range push.Changes {
		t := c.New
		if t == nil {
			t = c.Old
		}
		if t == nil {
			continue
		}
		prefix := "refs/heads/"
		if t.Type == "tag" || t.Type == "annotated_tag" {
			prefix = "refs/tags/"
		}
		refs = append(refs, prefix+t.Name)
	}
	return refs
}

// server reads the changes of Bitbucket Server.
func server(value []byte) []string {
	var refs []string
	for _, c := range field[[]struct{ Ref struct{ ID string } }](value) {
		refs = append(refs, c.Ref.ID)
	}
	return refs
}

// pushed are the full names of what was pushed; none if that can't be told.
func (p payload) pushed() []string {
	var all []string
	for _, ref := range append(p.refs, p.ref) {
		// A name without refs/ is something else: GitHub's create event has a
		// short name, a stranger's "ref" may be a commit.
		if strings.HasPrefix(ref, "refs/") {
			all = append(all, ref)
		}
	}
	return all
}

func text(value []byte) string { return field[string](value) }

// field decodes a value, or gives nothing if it is of another kind.
func field[T any](value []byte) T {
	var v, none T
	if json.Unmarshal(value, &v) != nil {
		return none
	}
	return v
}
