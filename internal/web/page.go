package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// pageSource is the whole page: markup, style and script are one file, so that
// it needs no other request and works wherever it is proxied to.
//
//go:embed page.html
var pageSource string

// page renders the status page.
type page struct {
	template *template.Template
	// policy lets in the page's own style and script, by their hashes, and
	// nothing else: what a compose file says can't become code even if it got
	// through the template's escaping.
	policy string
}

func newPage() (*page, error) {
	t, err := template.New("page").Funcs(template.FuncMap{"short": shortHash, "took": took, "megabytes": megabytes}).Parse(pageSource)
	if err != nil {
		return nil, fmt.Errorf("parse page: %w", err)
	}
	p := &page{template: t}
	// The hashes are of what the browser gets, which is not what is in the file:
	// html/template takes comments out.
	var b bytes.Buffer
	if err := t.Execute(&b, view{}); err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	p.policy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		hashOf(b.String(), "style"), hashOf(b.String(), "script"))
	return p, nil
}

// hashOf is the hash of an element's content in the form of a policy.
func hashOf(html, element string) string {
	_, rest, _ := strings.Cut(html, "<"+element+">")
	content, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(content))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// index answers with the status page.
func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, func(st Status) view { return newView(st, r.URL.Query().Get("show"), r.URL.Query().Get("q")) })
}

// pastOfOne is how much of what was done to a stack its page shows.
const pastOfOne = 100

// one answers with the page of one stack.
func (s *Server) one(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if !slices.ContainsFunc(s.known(false).Stacks, func(stack report.Stack) bool { return stack.Name == name }) {
		http.Error(w, "there is no stack of that name", http.StatusNotFound)
		return
	}
	s.show(w, r, func(st Status) view {
		st.Stacks = slices.DeleteFunc(st.Stacks, func(stack report.Stack) bool { return stack.Name != name })
		st.Pulls = nil
		v := newView(st, "", "")
		v.Base, v.One = strings.Repeat("../", strings.Count(strings.TrimPrefix(r.URL.Path, "/"), "/")), name
		v.Good, v.Headline = st.Ready, name+" is as git wants it"
		for i := range v.Shown {
			if v.Shown[i].Open = true; !Settled(v.Shown[i].Stack) {
				v.Good, v.Headline = false, name+" is not as git wants it"
			}
		}
		if !st.Ready {
			v.Headline = headline(st)
		}
		if s.o.Past == nil {
			return v
		}
		var err error
		if v.Past, err = s.o.Past(report.EventFilter{Stack: name, Most: pastOfOne}); err != nil {
			s.o.Log.Warn("the history can't be read", "err", err)
		}
		return v
	})
}

func (s *Server) show(w http.ResponseWriter, r *http.Request, of func(Status) view) {
	known := authenticated(s.o.ConfigFile, r)
	v := of(s.overview(r, known))
	v.CheckNow, v.Commands, v.HasPast = known, known && s.o.Command != nil, s.o.Past != nil
	var b bytes.Buffer // an error must not leave half a page
	if err := s.page.template.Execute(&b, v); err != nil {
		s.o.Log.Error("status page can't be rendered", "err", err)
		http.Error(w, "the page can't be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Security-Policy", s.page.policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w)
}

// view is what the page shows.
type view struct {
	Status
	Headline string
	Good     bool
	Show     string // the filter
	Query    string // what is searched for
	Filters  []filter
	Shown    []stackView
	Wanted   commitView
	Applied  commitView
	CheckNow bool
	HasPast  bool
	// Base leads from the page to where all begins, One is the stack that it is about, if it
	// is about one, and Past what was done to that.
	Base, One string
	Past      []report.Event
	Commands  bool // whoever sees it may act on stacks
}

// filter is a link that shows some of the stacks.
type filter struct {
	Name  string
	Count int
	On    bool
}

// stackView is a stack with ages instead of times.
type stackView struct {
	report.Stack
	Open      bool
	Succeeded string
	Retry     string
}

// Path is the name as a part of an address.
func (s stackView) Path() string { return url.PathEscape(s.Name) }

// outcomeView is an outcome, and how often the same came in a row.
type outcomeView struct {
	report.Outcome
	Times int
	First time.Time
}

// Done are the outcomes, with those that are the same in a row as one.
func (s stackView) Done() []outcomeView {
	var all []outcomeView
	for _, o := range s.Outcomes { // the newest first
		last := len(all) - 1
		if last >= 0 && all[last].Error != "" && all[last].Operation == o.Operation && all[last].Commit == o.Commit && report.SameReason(all[last].Error, o.Error) {
			all[last].Times++
			all[last].First = o.At
			continue
		}
		all = append(all, outcomeView{Outcome: o, Times: 1, First: o.At})
	}
	return all
}

// Acts says whether a person can act on it here: one that is ignored is left alone anyway,
// and one that does not load has no name for sure.
func (s stackView) Acts() bool {
	return s.Status != report.Invalid && s.Status != report.Ignored
}

// Resumes says whether a suspension can be ended here; one of git's is ended there.
func (s stackView) Resumes() bool { return s.Suspended != nil && s.Suspended.By != report.ByGit }

// Retries says whether there is something to try again.
func (s stackView) Retries() bool {
	return s.Sync == report.Waiting || s.Held == string(plan.HeldRollback) || s.Held == string(plan.HeldVersion)
}

// commitView is a commit with an age.
type commitView struct {
	report.Commit
	Age string
}

func newView(s Status, show, query string) view {
	v := view{Status: s, Show: show, Query: query, Good: s.Synced, Headline: headline(s)}
	s.Stacks = slices.DeleteFunc(slices.Clone(s.Stacks), func(stack report.Stack) bool { return !found(query, stack) })
	all := filter{Name: "all", Count: len(s.Stacks), On: true}
	v.Filters = []filter{all}
	for _, name := range []string{"running", "failed", "invalid", "idle", "ignored", "held"} {
		f := filter{Name: name, On: name == show}
		for _, stack := range s.Stacks {
			if shows(name, stack) {
				f.Count++
			}
		}
		if f.On {
			v.Filters[0].On = false
		}
		v.Filters = append(v.Filters, f)
	}
	for _, stack := range s.Stacks {
		if v.Filters[0].On || shows(show, stack) {
			v.Shown = append(v.Shown, v.stack(stack))
		}
	}
	slices.SortStableFunc(v.Shown, func(a, b stackView) int { return rank(a) - rank(b) })
	v.Wanted, v.Applied = v.commits()
	return v
}

// rank puts first what needs a person, and keeps the order by name otherwise.
func rank(s stackView) int {
	if s.Open {
		return 0
	}
	return 1
}

// found says whether a stack has all words of a query in its name, its file, or the names
// and images of its services.
func found(query string, s report.Stack) bool {
	text := strings.ToLower(s.Name + " " + s.File)
	for _, svc := range s.Services {
		text += " " + strings.ToLower(svc.Name+" "+svc.Image)
	}
	for _, word := range strings.Fields(strings.ToLower(query)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

func shows(filter string, s report.Stack) bool {
	return filter == string(s.Status) || filter == "held" && s.Held != ""
}

func (v view) stack(s report.Stack) stackView {
	return stackView{Stack: s, Open: !Settled(s), Succeeded: v.Ago(s.LastSuccess), Retry: v.Ago(s.NextRetry)}
}

// headline answers the one question that the page is opened for.
func headline(s Status) string {
	if !s.Ready {
		return "Not ready: " + s.Reason
	}
	n := 0
	for _, stack := range s.Stacks {
		if !Settled(stack) {
			n++
		}
	}
	switch {
	case n == 1:
		return "One stack is not as git wants it"
	case n > 1:
		return fmt.Sprintf("%d stacks are not as git wants them", n)
	}
	return "Everything is as git wants it"
}

// commits are the wanted one and the one that the clone has. The look says
// where the clone was before; a check that has ended since may have moved it.
func (v view) commits() (wanted, applied commitView) {
	if v.Look == nil {
		return commitView{}, commitView{}
	}
	local := v.Look.From
	for _, c := range v.Checks {
		for _, op := range c.Operations {
			if c.At.Equal(v.Look.At) && op.Kind == "checkout" && op.Error == "" {
				local = v.Look.To
			}
		}
	}
	return v.commit(v.Look.To), v.commit(local)
}

func (v view) commit(hash string) commitView {
	for _, c := range v.Look.Commits {
		if c.Hash == hash {
			return commitView{c, v.Ago(c.At)}
		}
	}
	return commitView{Commit: report.Commit{Hash: hash}}
}

// Ago is a time in words, seen from now; "" for none.
func (v view) Ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := v.Now.Sub(t)
	if d < 0 {
		return "in " + rough(-d)
	}
	return rough(d) + " ago"
}

// rough is a duration as people say it.
func rough(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func took(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// megabytes are of 1,000,000 bytes, as registries and engines count.
func megabytes(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/1e6) }

// Took is how long a check took.
func (v view) Took(c report.Check) string { return took(c.Ended.Sub(c.At)) }

// shortHash is the part of a hash that people use: of a commit, or of an image
// id behind its algorithm.
func shortHash(s string) string {
	if _, rest, ok := strings.Cut(s, "sha256:"); ok {
		return rest[:min(12, len(rest))]
	}
	return s[:min(7, len(s))]
}
