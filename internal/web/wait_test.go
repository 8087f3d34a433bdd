package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// knock sends a push that waits, and gives the answer when there is one.
func knock(h *hook, hook *webhook) <-chan *httptest.ResponseRecorder {
	answered := make(chan *httptest.ResponseRecorder, 1)
	r := httptest.NewRequestWithContext(h.Context(), http.MethodPost, "/webhook?wait=true", nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	go func() {
		w := httptest.NewRecorder()
		hook.ServeHTTP(w, r)
		answered <- w
	}()
	synctest.Wait()
	return answered
}

// pending checks that there is no answer yet.
func pending(t *testing.T, answered <-chan *httptest.ResponseRecorder) {
	t.Helper()
	synctest.Wait()
	select {
	case w := <-answered:
		t.Fatalf("answered too early: %d %s", w.Code, w.Body)
	default:
	}
}

func waiting(t *testing.T) (*hook, *webhook, chan struct{}) {
	h := newHook(t, secret)
	h.o.History = report.NewHistory(nil)
	closing := make(chan struct{})
	return h, newWebhook(h.o, closing), closing
}

// check is one that asked the remote when it began.
func check(began time.Time, err string, stacks ...report.Stack) report.Check {
	return report.Check{Look: report.Look{At: began, Asked: began, To: "9f3c21e", Error: err}, Ended: time.Now(), Final: stacks}
}

func TestWhoWaitsIsAnsweredWhenTheCheckThatCoversItHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, hook, _ := waiting(t)
		before := time.Now()
		time.Sleep(time.Second) // the bubble's clock
		answered := knock(h, hook)
		if h.triggered != 1 {
			t.Fatalf("triggered %d times", h.triggered)
		}
		web := report.Stack{Name: "web", File: "web/compose.yaml", Status: report.Running, Sync: report.Synced}
		h.o.History.Ended(check(before, "", web)) // ran already
		pending(t, answered)
		time.Sleep(time.Second)
		began := time.Now()
		h.o.History.Looked(report.Look{At: began, To: "9f3c21e"})
		pending(t, answered)
		applying := web
		applying.Sync = report.Applying
		h.o.History.Ended(check(began, "", applying)) // busy with what was wanted before
		pending(t, answered)
		h.o.History.Ended(check(began.Add(time.Second), "", web))
		w := <-answered
		const want = `{
  "status": "done",
  "commit": "9f3c21e",
  "stacks": [
    {
      "name": "web",
      "file": "web/compose.yaml",
      "status": "running",
      "sync": "synced"
    }
  ]
}
`
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}

// What the engine causes goes by what the remote said before the push.
func TestWhoWaitsIsNotAnsweredByALookThatDidNotAskTheRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, hook, _ := waiting(t)
		before := time.Now()
		time.Sleep(time.Second)
		answered := knock(h, hook)
		asked := time.Now()
		caused := check(time.Now(), "")
		caused.Asked, caused.To = before, "1a2b3c4"
		h.o.History.Looked(caused.Look)
		h.o.History.Ended(caused)
		pending(t, answered)
		caused.Error = "observe: the engine does not answer"
		h.o.History.Looked(caused.Look)
		h.o.History.Ended(caused)
		pending(t, answered)
		// One that begins later goes by what was learnt since.
		time.Sleep(time.Second)
		later := check(time.Now(), "")
		later.Asked = asked
		h.o.History.Ended(later)
		const want = `{
  "status": "done",
  "commit": "9f3c21e",
  "stacks": []
}
`
		if w := <-answered; w.Code != 200 || w.Body.String() != want {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}

func TestWhoWaitsIsToldOfFailures(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(*report.History, chan struct{})
		code    int
		want    string
	}{
		"a stack failed": {func(h *report.History, _ chan struct{}) {
			h.Ended(check(time.Now(), "", report.Stack{Name: "web", Status: report.Failed, Error: "not healthy"}, report.Stack{Name: "db", Status: report.Running}))
		}, 502, `{
  "status": "failed",
  "commit": "9f3c21e",
  "stacks": [
    {
      "name": "db",
      "file": "",
      "status": "running",
      "sync": ""
    },
    {
      "name": "web",
      "file": "",
      "status": "failed",
      "sync": "",
      "error": "not healthy"
    }
  ]
}
`},
		"the check failed": {func(h *report.History, _ chan struct{}) { h.Ended(check(time.Now(), "checkout failed")) }, 502, `{
  "status": "failed",
  "reason": "checkout failed",
  "stacks": []
}
`},
		"the look failed": {func(h *report.History, _ chan struct{}) {
			h.Looked(report.Look{At: time.Now(), Asked: time.Now(), Error: "remote is down"})
		}, 502, `{
  "status": "failed",
  "reason": "remote is down",
  "stacks": []
}
`},
		"nothing happens": {func(*report.History, chan struct{}) {}, 504, `{
  "status": "failed",
  "reason": "the check has not ended in time",
  "stacks": []
}
`},
		"the daemon stops": {func(_ *report.History, closing chan struct{}) { close(closing) }, 503, `{
  "status": "queued",
  "reason": "the daemon is stopping; the first check of the next one covers this"
}
`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, hook, closing := waiting(t)
				answered := knock(h, hook)
				c.happens(h.o.History, closing)
				if w := <-answered; w.Code != c.code || w.Body.String() != c.want {
					t.Errorf("got %d %s", w.Code, w.Body)
				}
			})
		})
	}
}

func TestPlacesToWaitAreBoundedAndForThoseWithTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, hook, closing := waiting(t)
		for range maxWaits {
			pending(t, knock(h, hook))
		}
		h.compare("503 rejected: too many are waiting already", <-knock(h, hook), "one more")
		if h.triggered != maxWaits {
			t.Errorf("triggered %d times", h.triggered)
		}
		close(closing)
		synctest.Wait()
	})
	h := newHook(t, "")
	r := httptest.NewRequest(http.MethodPost, "/webhook?wait=true", nil)
	w := httptest.NewRecorder()
	newWebhook(h.o, nil).ServeHTTP(w, r)
	h.compare("403 rejected: wait=true needs WEBHOOK_SECRET to be set", w, "no secret")
	if h.triggered != 0 {
		t.Error("triggered")
	}
}
