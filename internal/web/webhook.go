package web

import (
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// webhook answers POST /webhook.
//
//	method, size as declared           405, 413
//	token, or a signature to check     401 if neither is there
//	the body goes by                   413, 400
//	signature                          401
//	what it says                       202 queued or ignored
//
// Nothing that was sent is interpreted before it has proved to be authentic. The
// answer does not wait for the daemon, as Trigger does not block; with wait=true it
// comes when the check has ended, or with 503 when the daemon stops, see wait.
type webhook struct {
	o   Options
	log *slog.Logger
	// closing is closed when the server shuts down, waits are places for those
	// who wait.
	closing <-chan struct{}
	waits   chan struct{}
	// warned has a place for the one warning a minute that requests without a
	// valid proof get: a stranger must not fill the log.
	warned chan time.Time
}

// Decision is the answer to a request to the webhook.
type Decision struct {
	// Status is queued, ignored, unauthorized or rejected.
	Status string `json:"status"`
	Reason string `json:"reason"`

	code int
}

func newWebhook(o Options, closing <-chan struct{}) *webhook {
	h := &webhook{o: o, log: o.Log, closing: closing, waits: make(chan struct{}, maxWaits), warned: make(chan time.Time, 1)}
	h.warned <- time.Time{}
	return h
}

func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := recognise(r.Header)
	d := h.decide(r, s)
	h.o.Count(s.provider, d.Status)
	h.report(r, s, d)
	switch d.code {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if d.code != http.StatusAccepted {
		// There may be megabytes of body that nobody will read.
		w.Header().Set("Connection", "close")
	}
	since := time.Now()
	if d.Status == "queued" {
		h.o.Trigger("webhook")
	}
	if d.Status != "queued" || !wants(r) {
		answer(w, d.code, d)
		return
	}
	defer func() { <-h.waits }()
	// The server's limits are for requests that end soon.
	control := http.NewResponseController(w)
	_, _ = control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})
	code, body := h.wait(r, since)
	answer(w, code, body)
}

func (h *webhook) decide(r *http.Request, s sender) Decision {
	if r.Method != http.MethodPost {
		return rejected(http.StatusMethodNotAllowed, "only POST")
	}
	if r.ContentLength > maxBody {
		return rejected(http.StatusRequestEntityTooLarge, errTooLarge.Error())
	}
	secret, err := h.o.WebhookSecret()
	if err != nil {
		h.log.Error("webhook secret can't be read", "err", err)
		return rejected(http.StatusServiceUnavailable, "the secret can't be read")
	}
	proved := secret == "" || token(r.Header, secret)
	claims := readClaims(r.Header, time.Now())
	if !proved && claims.none() {
		return unauthorized("no valid token and no signature")
	}
	b, err := readBody(r, secret, claims.prefix)
	switch {
	case errors.Is(err, errTooLarge):
		return rejected(http.StatusRequestEntityTooLarge, err.Error())
	case err != nil:
		return rejected(http.StatusBadRequest, "the body ended early")
	case !proved && !b.proves(claims):
		return unauthorized("the signature is not that of the body")
	}
	queued, reason := s.judge(scan(b.head.bytes), h.o.Branch, locate(h.o.Remote()))
	if !queued {
		return Decision{"ignored", reason, http.StatusAccepted}
	}
	if wants(r) {
		return h.waiting(secret, reason)
	}
	return Decision{"queued", reason, http.StatusAccepted}
}

// waiting takes a place for one who wants to wait. Strangers could take them
// all, so it takes a secret.
func (h *webhook) waiting(secret, reason string) Decision {
	if secret == "" {
		return rejected(http.StatusForbidden, "wait=true needs WEBHOOK_SECRET to be set")
	}
	select {
	case h.waits <- struct{}{}:
		return Decision{"queued", reason, http.StatusAccepted}
	default:
		return rejected(http.StatusServiceUnavailable, "too many are waiting already")
	}
}

func rejected(code int, reason string) Decision { return Decision{"rejected", reason, code} }

func unauthorized(reason string) Decision {
	return Decision{"unauthorized", reason, http.StatusUnauthorized}
}

// report writes one line for a request. Who sent it is only of interest when it
// was refused.
func (h *webhook) report(r *http.Request, s sender, d Decision) {
	switch d.Status {
	case "queued":
		h.log.Info("webhook asks for a check", "trigger", s.provider, "cause", d.Reason)
	case "ignored":
		h.log.Debug("webhook ignored", "trigger", s.provider, "cause", d.Reason)
	default:
		h.log.Log(r.Context(), h.complain(), "webhook refused", "trigger", s.provider, "cause", d.Reason+", from "+r.RemoteAddr)
	}
}

// complain is the level for a refusal.
func (h *webhook) complain() slog.Level {
	last, now := <-h.warned, time.Now()
	if now.Sub(last) < time.Minute {
		h.warned <- last
		return slog.LevelDebug
	}
	h.warned <- now
	return slog.LevelWarn
}
