package report

import (
	"strconv"
	"strings"
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
	state, words := status, ""
	if rest, up := strings.CutPrefix(status, "Up "); up {
		state, words = "Up", rest
	} else if end := strings.Index(status, ") "); end > 0 { // the exit code
		state, words = status[:end+1], status[end+2:]
	}
	after := ""
	if i := strings.Index(words, " ("); i >= 0 { // health, or that it is paused
		words, after = words[:i], words[i:]
	}
	words, ago := strings.CutSuffix(words, " ago")
	if ago {
		after = " ago" + after
	}
	before, ok := readDuration(words)
	if !ok {
		return status
	}
	return state + " " + units.HumanDuration(before+later) + after
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
	number, unit, _ := strings.Cut(words, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0, false
	}
	const day = 24 * time.Hour
	switch strings.TrimSuffix(unit, "s") {
	case "second":
		return time.Duration(n) * time.Second, true
	case "minute":
		return time.Duration(n) * time.Minute, true
	case "hour":
		return time.Duration(n) * time.Hour, true
	case "day":
		return time.Duration(n) * day, true
	case "week":
		return time.Duration(n) * 7 * day, true
	case "month":
		return time.Duration(n) * 30 * day, true
	case "year":
		return time.Duration(n) * 365 * day, true
	default:
		return 0, false
	}
}
