package plan

import (
	"fmt"
	"slices"
	"strings"
)

// causeOf tells a change in git from a change on the host. What was applied
// last is not what runs when another digest was tried since: going back to it
// in git is a change. So is a watched tag that has moved, and so is what was
// begun for the first time, or to make room for another, and was cut off.
func (b *builder) causeOf(s Stack, r Running, rec Record, diffs []Difference) Cause {
	changed := Cause{Why: Changed, Detail: texts(diffs), Changes: b.changes(s, diffs)}
	drifted := Cause{Why: Drifted, Detail: texts(diffs)}
	switch known := rec.Applied != "" && !b.displaced[s.Name]; { // else that is remembered of another
	case s.Back != nil && (rec.Applied != s.Digest || rec.Tried != s.Digest):
		return Cause{Why: RolledBack, Detail: fmt.Sprintf("from %s to %s, as it failed: %s", short(s.Back.From), short(s.Back.To), s.Back.Error)}
	case known && slices.ContainsFunc(diffs, func(d Difference) bool { return d.Moved }):
		return changed
	case known && rec.Applied == s.Digest && (rec.Tried == "" || rec.Tried == s.Digest):
		return drifted
	case known:
		return changed
	case !hasContainers(r):
		if old := b.movedFrom(s.Name); old != "" {
			return Cause{Why: Moved, Detail: "from " + old}
		}
		return Cause{Why: New}
	case rec.Tried == s.Digest, len(changed.Changes) > 0, slices.ContainsFunc(diffs, func(d Difference) bool { return d.Config }):
		return changed
	default:
		return drifted
	}
}

// movedFrom names the project whose heir a stack is.
func (b *builder) movedFrom(stack string) string {
	for _, project := range sortedKeys(b.heir) {
		if b.heir[project] == stack && b.removed(b.running.at(project)) {
			return project
		}
	}
	return ""
}

// changes compares the versions of a stack that the clone's head and the remote
// head have. It is nil where that explains nothing: where one of them is not
// known, or where what runs differs by something else.
func (b *builder) changes(s Stack, diffs []Difference) []Change {
	i := slices.IndexFunc(b.state.Before, func(was Stack) bool { return was.Name == s.Name && was.Invalid == "" && len(was.Services) > 0 })
	if i < 0 {
		return nil
	}
	was := b.state.Before[i]
	var out []Change
	for _, svc := range s.Services {
		j := slices.IndexFunc(was.Services, func(v Service) bool { return v.Name == svc.Name })
		if j < 0 {
			out = append(out, Change{Service: svc.Name, To: "new"})
			continue
		}
		out = append(out, fields(svc.Name, was.Services[j].Fields, svc.Fields)...)
	}
	for _, svc := range was.Services {
		if !has(s, svc.Name) {
			out = append(out, Change{Service: svc.Name, To: "removed"})
		}
	}
	for _, d := range diffs {
		if d.Service != "" && !slices.ContainsFunc(out, func(c Change) bool { return c.Service == d.Service }) {
			return nil
		}
	}
	return out
}

// fields compares two sorted lists. What people look for first comes first.
func fields(service string, was, is []Field) []Change {
	var out []Change
	for len(was) > 0 || len(is) > 0 {
		switch {
		case len(is) == 0 || len(was) > 0 && was[0].Name < is[0].Name:
			out = append(out, Change{Service: service, Field: was[0].Name, From: was[0].Value, To: "removed"})
			was = was[1:]
		case len(was) == 0 || is[0].Name < was[0].Name:
			out = append(out, Change{Service: service, Field: is[0].Name, From: "added", To: is[0].Value})
			is = is[1:]
		default:
			if was[0].Sum != is[0].Sum || was[0].Value != is[0].Value {
				out = append(out, Change{Service: service, Field: is[0].Name, From: was[0].Value, To: is[0].Value})
			}
			was, is = was[1:], is[1:]
		}
	}
	slices.SortStableFunc(out, func(a, b Change) int {
		switch {
		case a.Field == "image" && b.Field != "image":
			return -1
		case b.Field == "image" && a.Field != "image":
			return 1
		default:
			return 0
		}
	})
	return out
}

// text is the cause without its kind: "web: image web:1.4 → web:2.0,
// environment LOG_LEVEL; db is new".
func (c Cause) text() string {
	if len(c.Changes) == 0 {
		return c.Detail
	}
	var out []string
	for i, ch := range c.Changes {
		text := ch.text()
		switch {
		case ch.Field == "":
			out = append(out, text)
		case i > 0 && c.Changes[i-1].Service == ch.Service && c.Changes[i-1].Field != "":
			out[len(out)-1] += ", " + text
		default:
			out = append(out, ch.Service+": "+text)
		}
	}
	return strings.Join(out, "; ")
}

func (c Change) text() string {
	switch {
	case c.Field == "":
		return c.Service + " is " + c.To
	case c.To == "removed":
		return c.Field + " removed"
	case c.From == "added" && c.To != "":
		return c.Field + " " + c.To + " added"
	case c.From == "added":
		return c.Field + " added"
	case c.From != "" || c.To != "":
		return c.Field + " " + c.From + " → " + c.To
	default:
		return c.Field
	}
}
