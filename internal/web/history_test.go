package web

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

func TestTheHistoryIsAskedForByStackAndTime(t *testing.T) {
	var asked report.EventFilter
	f := serve(t, func(o *Options) {
		o.Past = func(f report.EventFilter) ([]report.Event, error) {
			asked = f
			return []report.Event{{Operation: "up", Stack: "web", Took: time.Second}}, nil
		}
	})
	for query, want := range map[string]report.EventFilter{
		"":                                   {Most: 200},
		"?stack=web&limit=3":                 {Stack: "web", Most: 3},
		"?since=2026-05-01T12:00:00Z":        {Since: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Most: 200},
		"?since=2026-05-01T14:00:00%2B02:00": {Since: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Most: 200},
	} {
		response, body := f.do("GET", "/api/v1/history"+query, "")
		var got Past
		if err := json.Unmarshal([]byte(body), &got); err != nil || response.StatusCode != 200 || len(got.Events) != 1 || got.Events[0].Took != time.Second {
			t.Errorf("%s: %d %s", query, response.StatusCode, body)
		}
		if !asked.Since.Equal(want.Since) || asked.Stack != want.Stack || asked.Most != want.Most {
			t.Errorf("%s: asked for %+v", query, asked)
		}
	}
	f.do("GET", "/api/v1/history?since=24h", "")
	if ago := time.Since(asked.Since); ago < 24*time.Hour || ago > 24*time.Hour+time.Minute {
		t.Errorf("24h are %s", ago)
	}
	for _, query := range []string{"?since=yesterday", "?since=-1h", "?limit=0", "?limit=many", "?limit=5001"} {
		if response, body := f.do("GET", "/api/v1/history"+query, ""); response.StatusCode != 400 || !strings.Contains(body, "can only be") {
			t.Errorf("%s: %d %s", query, response.StatusCode, body)
		}
	}
}

func TestAHistoryThatCantBeReadIsNoStatusOfNothing(t *testing.T) {
	f := serve(t, func(o *Options) {
		o.Past = func(report.EventFilter) ([]report.Event, error) { return nil, errors.New("the disk is broken") }
	})
	if response, body := f.do("GET", "/api/v1/history", ""); response.StatusCode != 503 || !strings.Contains(body, "the disk is broken") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	f = serve(t, func(o *Options) { o.Past = func(report.EventFilter) ([]report.Event, error) { return nil, nil } })
	if _, body := f.do("GET", "/api/v1/history", ""); !strings.Contains(body, `"events": []`) {
		t.Errorf("nothing is %s", body)
	}
	f = serve(t, nil)
	if response, _ := f.do("GET", "/api/v1/history", ""); response.StatusCode != 404 {
		t.Errorf("without a history: %d", response.StatusCode)
	}
}
