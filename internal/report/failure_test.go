package report

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// crash is an error with a detail.
type crash struct{ reason, log string }

func (c crash) Error() string  { return c.reason }
func (c crash) Detail() string { return c.log }

func TestAFailureHasAReasonAndADetail(t *testing.T) {
	plain, ended := errors.New("no space left on device"), crash{"app ended with exit code 1", "panic: no database"}
	for name, c := range map[string]struct {
		err            error
		reason, detail string
	}{
		"none":               {nil, "", ""},
		"without a detail":   {plain, "no space left on device", ""},
		"with a detail":      {ended, "app ended with exit code 1", "panic: no database"},
		"wrapped":            {fmt.Errorf("up web: %w", ended), "up web: app ended with exit code 1", "panic: no database"},
		"joined with others": {errors.Join(plain, ended), "no space left on device\napp ended with exit code 1", "panic: no database"},
	} {
		if reason, detail := Reason(c.err), Detail(c.err); reason != c.reason || detail != c.detail {
			t.Errorf("%s: got %q and %q", name, reason, detail)
		}
	}
}

func TestIdsAndNumbersDoNotMakeAnotherReason(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"", "", true},
		{"app is unhealthy", "app is unhealthy", true},
		{"app is unhealthy", "db is unhealthy", false},
		{"app is unhealthy", "app is unhealthy again", false},
		{"not up within 5m0s", "not up within 4m59s", true},
		{"not up within 5m0s", "not up within 4m", false},
		{"exit code 1", "exit code 137", true},
		{"read 127.0.0.1:4711", "read 127.0.0.1:38442", true},
		{"no container DEADBEEFCAFE", "no container DEADBEEFCAFF", false}, // ids are in small letters
		{"no container " + id, "no container " + id[:12], true},
		{"no container " + id, "no container deadbeefcafe", true},
		{"no container deadbeefcaf", "no container deadbeefcab", false}, // eleven letters are a word
		{"web1 failed", "web2 failed", true},
		{"web failed", "web2 failed", false},
		{"größe 1", "größe 22", true},
		{"größe 1", "grösse 1", false},
	} {
		if got := SameReason(c.a, c.b); got != c.same {
			t.Errorf("%q and %q: got %t", c.a, c.b, got)
		}
	}
}
