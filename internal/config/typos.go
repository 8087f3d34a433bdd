package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// typos warns of variables that nobody reads and that were most likely meant
// for this program: everything under prefixes that are only ours, and what is
// a slip or two away from one of ours. Values are never shown.
func typos(environ map[string]string) []string {
	known := map[string]bool{}
	for _, v := range Variables() {
		known[v.Name] = true
		if v.File != "" {
			known[v.File] = true
		}
	}
	names := slices.Sorted(maps.Keys(known))
	var warnings []string
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		if known[name] {
			continue
		}
		nearest, slips := nearest(name, names)
		switch {
		case slips <= 2 && slips < len(name):
			warnings = append(warnings, fmt.Sprintf("%s is not a variable of this program: did you mean %s?", name, nearest))
		case ours(name):
			warnings = append(warnings, fmt.Sprintf("%s is not a variable of this program", name))
		}
	}
	return warnings
}

// ours says whether a name begins like those that no other program has. CHECK_,
// LOG_, HTTP_ and the like are too common: HTTP_PROXY is not a typo.
func ours(name string) bool {
	for _, prefix := range []string{"REPOSITORY_", "DOCKER_REGISTR", "WEBHOOK_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func nearest(name string, names []string) (string, int) {
	best, slips := "", len(name)+1
	for _, candidate := range names {
		if d := distance(name, candidate); d < slips {
			best, slips = candidate, d
		}
	}
	return best, slips
}

// distance is the Levenshtein distance of two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
