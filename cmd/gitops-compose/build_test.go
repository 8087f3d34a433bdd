package main

import (
	"runtime/debug"
	"testing"
)

func TestTheCommitOfTheBuildIsThatOfTheLinkerOrOfGo(t *testing.T) {
	clean := []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "vcs.revision", Value: "9f3c21e0"}, {Key: "vcs.modified", Value: "false"}}
	dirty := []debug.BuildSetting{{Key: "vcs.revision", Value: "9f3c21e0"}, {Key: "vcs.modified", Value: "true"}}
	for _, c := range []struct {
		linked string
		found  []debug.BuildSetting
		want   string
	}{
		{"", nil, ""},
		{"", []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}, ""},
		{"", clean, "9f3c21e0"},
		{"", dirty, "9f3c21e0-dirty"},
		{"1a2b3c4d", nil, "1a2b3c4d"},
		{"1a2b3c4d", clean, "1a2b3c4d"},
	} {
		if got := builtFrom(c.linked, c.found); got != c.want {
			t.Errorf("%q, %v: got %q, want %q", c.linked, c.found, got, c.want)
		}
	}
}
