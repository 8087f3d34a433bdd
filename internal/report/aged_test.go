package report

import (
	"testing"
	"time"
)

func TestTheTimeInAStatusGoesOn(t *testing.T) {
	for _, c := range []struct {
		status string
		later  time.Duration
		want   string
	}{
		{"Up 2 seconds", 10 * time.Minute, "Up 10 minutes"},
		{"Up Less than a second", 5 * time.Second, "Up 5 seconds"},
		{"Up About a minute (healthy)", 9 * time.Minute, "Up 10 minutes (healthy)"},
		{"Up 3 hours (Paused)", time.Hour, "Up 4 hours (Paused)"},
		{"Up 3 hours", 0, "Up 3 hours"},
		{"Up 5 days (unhealthy)", 10 * time.Minute, "Up 5 days (unhealthy)"},
		{"Up 10 seconds (health: starting)", 10 * time.Second, "Up 20 seconds (health: starting)"},
		{"Exited (137) 2 minutes ago", 8 * time.Minute, "Exited (137) 10 minutes ago"},
		{"Exited (-1) About an hour ago", time.Hour, "Exited (-1) 2 hours ago"},
		{"Restarting (1) 5 seconds ago", time.Second, "Restarting (1) 6 seconds ago"},
		{"Created", time.Hour, "Created"},
		{"Dead", time.Hour, "Dead"},
		{"Removal In Progress", time.Hour, "Removal In Progress"},
		{"Up a while", time.Hour, "Up a while"},
	} {
		if got := aged(c.status, c.later); got != c.want {
			t.Errorf("%q after %s: %q, want %q", c.status, c.later, got, c.want)
		}
	}
}
