package web

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// end stops the server and checks that nobody had to be cut off.
func (f *face) end() {
	f.Helper()
	if err := f.stop(); err != nil {
		f.Errorf("got %v", err)
	}
	if strings.Contains(f.log.String(), "cut off") {
		f.Error("somebody was cut off")
	}
}

func TestAShutdownWaitsForNobodyWhoAsksNothing(t *testing.T) {
	f := serve(t, nil)
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	f.expect("GET", "/healthz", 200, "ok\n") // connections are accepted in order
	f.end()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the connection is still open: %d, %v", n, err)
	}
}

func TestAShutdownTellsWhoWaitsThatTheNextDaemonDoesIt(t *testing.T) {
	f := serve(t, func(o *Options) { o.WebhookSecret = func() (string, error) { return secret, nil } })
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/webhook?wait=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	answered := make(chan string, maxWaits)
	for range maxWaits {
		go func() {
			response, err := f.client.Do(request.Clone(t.Context()))
			if err != nil {
				answered <- err.Error()
				return
			}
			defer func() { _ = response.Body.Close() }()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				answered <- err.Error()
				return
			}
			answered <- response.Status + "\n" + string(body)
		}()
	}
	for range maxWaits {
		<-f.triggered
	}
	f.end()
	const want = `503 Service Unavailable
{
  "status": "queued",
  "reason": "the daemon is stopping; the first check of the next one covers this"
}
`
	for range maxWaits {
		if got := <-answered; got != want {
			t.Errorf("got %s", got)
		}
	}
}

func TestAShutdownEndsStreams(t *testing.T) {
	f := serve(t, nil)
	events, _ := f.listen()
	f.history.Looked(report.Look{At: time.Now()})
	_ = next(t, events, 1)
	f.end()
	for events.Scan() { // to the end of what was sent before
	}
	if err := events.Err(); err != nil {
		t.Errorf("the stream was broken off: %v", err)
	}
}

func TestAShutdownEndsStreamsOfHTTP2(t *testing.T) {
	f := serve(t, func(o *Options) { o.ConfigFile = configFile(t, true, "") })
	f.url = strings.Replace(f.url, "http://", "https://alice:hunter2@", 1)
	f.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	f.history.Looked(report.Look{At: time.Now()})
	events, response := f.listen()
	if response.ProtoMajor != 2 {
		t.Fatalf("got %s", response.Proto)
	}
	_ = next(t, events, 1)
	f.end()
	for events.Scan() { // to the end of what was sent before
	}
	if err := events.Err(); err != nil {
		t.Errorf("the stream was broken off: %v", err)
	}
}
