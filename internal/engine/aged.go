package engine

import (
	"regexp"
	"strconv"
	"time"

	"github.com/docker/go-units"
)

// aged is the status of a container, in the words of the engine's list, as it
// reads some time after it was listed: "Up 5 minutes (healthy)" is "Up 15
// minutes (healthy)" ten minutes later. What has no time in it stays as it is.
func aged(status string, later time.Duration) string {
	if later < time.Second {
		return status
	}
	m := regexp.MustCompile(`^(Up |Exited \(-?\d+\) |Restarting \(-?\d+\) )(.*?)( ago)?( \([^)]*\))?$`).FindStringSubmatch(status)
	if m == nil {
		return status
	}
	before, ok := readDuration(m[2])
	if !ok {
		return status
	}
	return m[1] + units.HumanDuration(before+later) + m[3] + m[4]
}

// readDuration reads what units.HumanDuration writes.
func readDuration(words string) (time.Duration, bool) {
	switch words {
	case "Less than a second":
		return 0, true
	case "About a minute":
		return time.Minute, true
	case "About an hour":
		return time.Hour, true
	}
	m := regexp.MustCompile(`^(\d+) (second|minute|hour|day|week|month|year)s?$`).FindStringSubmatch(words)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	const day = 24 * time.Hour
	unit := map[string]time.Duration{
		"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": day,
		"week": 7 * day, "month": 30 * day, "year": 365 * day,
	}
	return time.Duration(n) * unit[m[2]], err == nil
}
