package web

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// listen opens a stream of events.
func (f *face) listen() (*bufio.Scanner, *http.Response) {
	f.Helper()
	request, err := http.NewRequestWithContext(f.Context(), "GET", f.url+"/api/v1/events", nil)
	if err != nil {
		f.Fatal(err)
	}
	response, err := f.client.Do(request)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = response.Body.Close() })
	return bufio.NewScanner(response.Body), response
}

// next reads a number of events as "name data".
func next(t *testing.T, s *bufio.Scanner, n int) string {
	t.Helper()
	var all []string
	name := ""
	for len(all) < n && s.Scan() {
		if event, ok := strings.CutPrefix(s.Text(), "event: "); ok {
			name = event
		}
		if data, ok := strings.CutPrefix(s.Text(), "data: "); ok {
			all = append(all, name+" "+data)
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return strings.Join(all, "\n")
}

func TestAStreamTellsWhatIsKnownAndThenWhatChanges(t *testing.T) {
	f := serve(t, nil)
	at := time.Date(2026, 11, 22, 17, 0, 0, 0, time.UTC)
	web, db := report.Stack{Name: "web", File: "w", Status: report.Running}, report.Stack{Name: "db", File: "d", Status: report.Running}
	f.history.Looked(report.Look{At: at, Trigger: "start", Stacks: []report.Stack{web, db}})
	events, response := f.listen()
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type: %s", got)
	}
	const first = `look {"at":"2026-11-22T17:00:00Z","trigger":"start"}
stack {"name":"web","file":"w","mode":"","status":"running","sync":""}
stack {"name":"db","file":"d","mode":"","status":"running","sync":""}`
	if got := next(t, events, 3); got != first {
		t.Errorf("got %s", got)
	}
	web.Status = report.Failed
	f.history.Updated(web)
	if got, want := next(t, events, 1), `stack {"name":"web","file":"w","mode":"","status":"failed","sync":""}`; got != want {
		t.Errorf("got %s", got)
	}
	f.history.Ended(report.Check{Look: report.Look{At: at, Trigger: "start"}, Ended: at.Add(time.Second), Final: []report.Stack{web}})
	const last = `removed {"file":"d","name":"db"}
check {"at":"2026-11-22T17:00:00Z","trigger":"start","ended":"2026-11-22T17:00:01Z"}`
	if got := next(t, events, 2); got != last {
		t.Errorf("got %s", got)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	f := serve(t, nil)
	for range maxStreams {
		if _, response := f.listen(); response.StatusCode != 200 {
			t.Fatalf("got %d", response.StatusCode)
		}
	}
	if _, response := f.listen(); response.StatusCode != 503 {
		t.Errorf("one more: got %d", response.StatusCode)
	}
	f.expect("GET", "/healthz", 200, "ok\n")
}

func TestAStreamTellsHowFarPullsAre(t *testing.T) {
	f := serve(t, nil)
	began := time.Date(2026, 11, 22, 17, 0, 0, 0, time.UTC)
	pull := report.Pull{Image: "nginx:1.29", Started: began, Layers: 2, Bytes: 5, Total: 10}
	f.history.Pulling(pull, false)
	events, _ := f.listen()
	if got, want := next(t, events, 1), `pulls [{"image":"nginx:1.29","started":"2026-11-22T17:00:00Z","layers":2,"done":0,"bytes":5,"total":10}]`; got != want {
		t.Errorf("got %s", got)
	}
	f.history.Updated(report.Stack{Name: "web"})
	f.history.Pulling(pull, true)
	if got := next(t, events, 2); !strings.HasSuffix(got, "\npulls []") {
		t.Errorf("got %s", got)
	}
}
