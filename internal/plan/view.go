package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// view gives the verdict on each stack.
func (b *builder) view() {
	held := map[string]*Held{} // by name and file
	for i := range b.plan.Held {
		h := &b.plan.Held[i]
		held[h.Stack+"\x00"+h.File] = h
	}
	next := map[string][]ID{}
	for _, op := range b.plan.Ops {
		if op.Stack != "" {
			next[op.Stack] = append(next[op.Stack], op.ID)
		}
	}
	b.plan.Views = slices.Grow(b.plan.Views, len(b.state.Wanted))
	for _, s := range b.state.Wanted {
		v := View{Name: s.Name, File: s.File, Wanted: &s, Running: b.of(s), Held: held[s.Name+"\x00"+s.File]}
		if s.Invalid == "" {
			v.Next = next[s.Name]
			if s.Mode != Ignored {
				v.Differences = b.differences(s)
			}
			v.Problems, v.Starting = problems(s, v.Running)
		}
		delete(held, s.Name+"\x00"+s.File)
		b.plan.Views = append(b.plan.Views, v)
	}
	for _, h := range held {
		if h.Stack != "" {
			b.plan.Views = append(b.plan.Views, View{Name: h.Stack, File: h.File, Running: b.running.at(h.Stack), Held: h})
		}
	}
	for name, op := range b.stop {
		if _, wanted := b.wanted.find(name); !wanted {
			b.plan.Views = append(b.plan.Views, View{Name: name, File: op.File, Running: b.running.at(name), Next: next[name]})
		}
	}
	slices.SortFunc(b.plan.Views, func(a, b View) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.File, b.File))
	})
}

// problems sees what only time or a person can change.
func problems(s Stack, r Running) (out []string, starting bool) {
	for _, c := range r.Containers {
		if c.OneOff || !has(s, c.Service) {
			continue
		}
		switch {
		case c.State == "restarting":
			out = append(out, c.Service+" keeps crashing"+exitCode(c))
		case c.State == "running" && c.Health == "unhealthy":
			out = append(out, c.Service+" is unhealthy")
		case c.State == "running" && c.Health == "starting":
			starting = true
		}
	}
	return out, starting
}

// Broken says whether something is wrong with what runs, other than that git
// wants another configuration now.
func (v View) Broken() bool {
	return len(v.Problems) > 0 || slices.ContainsFunc(v.Differences, func(d Difference) bool { return !d.Config })
}

// Settled says whether all that should run does so.
func (v View) Settled() bool { return len(v.Problems) == 0 && len(v.Differences) == 0 }

// wake finds the earliest pause that ends, or image that reaches its age. What has
// ended is part of this plan.
func (b *builder) wake() {
	add := func(at time.Time) {
		if at.After(b.state.Now) && (b.plan.Wake.IsZero() || at.Before(b.plan.Wake)) {
			b.plan.Wake = at
		}
	}
	for name, rec := range b.state.Memory {
		if !b.state.Busy[name] {
			add(rec.RetryAt)
			add(rec.Own.RetryAt)
		}
	}
	b.reminders(add)
	for _, at := range b.opens {
		add(at)
	}
	for _, y := range b.state.Young {
		add(y.From)
	}
}
