package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// maxCommand bounds the body of a command.
const maxCommand = 16 << 10

// Asked is the body of POST /api/v1/stacks/{name}/suspend and its like, as JSON or as a
// form. All of it may be left out.
type Asked struct {
	// For is for how long, like 90m or 2h; Reason is why. Both are for suspend.
	For    string `json:"for,omitempty"`
	Reason string `json:"reason,omitempty"`
	// By is who; whoever authenticated by name goes by that.
	By string `json:"by,omitempty"`
}

// Done is the answer to a command.
type Done struct {
	Action string `json:"action"`
	Stack  string `json:"stack,omitempty"`
	// Until is when a suspension ends by itself.
	Until time.Time `json:"until,omitzero"`
}

// pastAndCommands adds what was done, and what people can ask for. mayCommand says whether
// a request may.
func (s *Server) pastAndCommands(mux *http.ServeMux, mayCommand func(*http.Request) bool) {
	if s.o.Past != nil {
		mux.HandleFunc("GET /api/v1/history", s.past)
	}
	if s.o.Command == nil {
		return
	}
	protect := func(action plan.Action) http.Handler {
		return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !mayCommand(r) {
				http.Error(w, "requires basic auth or a client certificate (see HTTP_CONFIG_FILE)", http.StatusForbidden)
				return
			}
			s.command(w, r, action)
		}))
	}
	for _, action := range []plan.Action{plan.Suspend, plan.Resume, plan.Retry} {
		mux.Handle("POST /api/v1/stacks/{name}/"+string(action), protect(action))
		mux.Handle("POST /api/v1/"+string(action), protect(action))
	}
	mux.Handle("POST /api/v1/sync", protect(plan.Sync))
}

func (s *Server) command(w http.ResponseWriter, r *http.Request, action plan.Action) {
	asked, form, err := asks(w, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c := plan.Command{Action: action, Stack: plan.Everything, Suspension: plan.Suspension{By: asked.By, Reason: asked.Reason}}
	if name := r.PathValue("name"); name != "" {
		c.Stack = name
	}
	if name, _, ok := r.BasicAuth(); ok && name != "" {
		c.By = name
	}
	if asked.For != "" {
		d, err := time.ParseDuration(asked.For)
		if err != nil || d <= 0 {
			http.Error(w, fmt.Sprintf("for is %q, and can only be a time like 90m or 2h", asked.For), http.StatusBadRequest)
			return
		}
		c.Until = time.Now().Add(d)
	}
	switch err := s.o.Command(r.Context(), c); {
	case errors.Is(err, plan.ErrNoStack):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case form: // a button of the page, which is shown again
		w.Header().Set("Location", back(r))
		w.WriteHeader(http.StatusSeeOther)
	default:
		done := Done{Action: string(action), Until: c.Until}
		if c.Stack != plan.Everything {
			done.Stack = c.Stack
		}
		answer(w, http.StatusOK, done)
	}
}

// asks reads the body of a command, and says whether it is a form's.
func asks(w http.ResponseWriter, r *http.Request) (a Asked, form bool, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxCommand)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if form = kind == "application/x-www-form-urlencoded"; form {
		if err := r.ParseForm(); err != nil {
			return a, form, fmt.Errorf("the form can't be read: %w", err)
		}
		a = Asked{For: r.PostForm.Get("for"), Reason: r.PostForm.Get("reason"), By: r.PostForm.Get("by")}
	} else {
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&a); err != nil && !errors.Is(err, io.EOF) {
			return a, form, fmt.Errorf("the body is no JSON object with for, reason and by: %w", err)
		}
	}
	const longest = 500 // bytes
	for what, text := range map[string]string{"reason": a.Reason, "by": a.By} {
		if len(text) > longest || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' }) {
			return a, form, fmt.Errorf("%s is longer than %d bytes, or has more than one line", what, longest)
		}
	}
	return a, form, nil
}

// back is the page that a form was on, as a path that is relative: behind a proxy the page
// may be below another one.
func back(r *http.Request) string {
	up := strings.Repeat("../", strings.Count(strings.TrimPrefix(r.URL.Path, "/"), "/"))
	if from, err := url.Parse(r.Referer()); err == nil && from.Host == r.Host {
		if name, ok := strings.CutPrefix(from.Path[strings.LastIndex(from.Path, "/stacks/")+1:], "stacks/"); ok {
			return up + "stacks/" + url.PathEscape(name)
		}
	}
	if up == "" {
		up = "./"
	}
	return up
}
