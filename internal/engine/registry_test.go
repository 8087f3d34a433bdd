package engine

import (
	"errors"
	"testing"
	"time"
)

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"120":                           2 * time.Minute,
		"-5":                            0,
		"soon":                          0,
		"99999999999":                   longestWait,
		"Fri, 01 May 2026 12:01:30 GMT": 90 * time.Second,
		"Fri, 01 May 2026 11:00:00 GMT": 0,
		"Fri, 01 May 2027 11:00:00 GMT": longestWait,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestRateLimitsAreRecognised(t *testing.T) {
	for text, want := range map[string]bool{
		"toomanyrequests: You have reached your pull rate limit.":                            true,
		"received unexpected HTTP status: 429 Too Many Requests":                             true,
		"unauthorized: authentication required":                                              false,
		"manifest for app@sha256:4290429b6a1d42942942942900000000000000 not found: manifest": false,
	} {
		if got := rateLimited(errors.New(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestOnlyTheLoopbackIsPlainHTTP(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.3.4.5": true,
		"localhost.example.com": false, "127.0.0.1.example.com:80": false, "docker.io": false, "10.0.0.1:5000": false,
	} {
		if got := loopback(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

func TestAPullIsAddedUpByLayers(t *testing.T) {
	var told []Progress
	w := (&Engine{o: Options{Progress: func(p Progress) { told = append(told, p) }}}).progress("app:1")
	say := func(id, status string, current, total int64) {
		m := pullMessage{ID: id, Status: status}
		m.ProgressDetail.Current, m.ProgressDetail.Total = current, total
		w.add(m)
	}
	say("1", "Pulling from app", 0, 0)
	say("", "Digest: sha256:1", 0, 0)
	if len(told) > 0 {
		t.Errorf("told of no layer: %+v", told)
	}
	say("a", "Pulling fs layer", 0, 0)
	say("b", "Already exists", 0, 0)
	say("a", "Downloading", 10, 100)
	say("c", "Downloading", 50, 200)
	say("a", "Download complete", 0, 0)
	say("a", "Extracting", 30, 100)
	if p := w.now; p.Layers != 3 || p.Done != 1 || p.Bytes != 150 || p.Total != 300 {
		t.Errorf("%+v", p)
	}
	say("a", "Pull complete", 0, 0)
	say("c", "Pull complete", 0, 0)
	if p := w.now; p.Done != 3 || p.Bytes != 300 {
		t.Errorf("%+v", p)
	}
	w.end()
	if len(told) != 2 || !told[1].Ended {
		t.Errorf("once at the beginning and once at the end: %+v", told)
	}
}
