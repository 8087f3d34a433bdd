package main

import "runtime/debug"

// Set by the linker; a build of the image has no git at hand to ask.
var (
	version = "dev"
	commit  = ""
)

// builtFrom is the commit that the program was built from: the one that the
// linker was told, else the one that Go found, with "-dirty" behind it when
// files differed from it; "" if neither is known.
func builtFrom(linked string, found []debug.BuildSetting) string {
	if linked != "" {
		return linked
	}
	settings := map[string]string{}
	for _, s := range found {
		settings[s.Key] = s.Value
	}
	revision := settings["vcs.revision"]
	if revision != "" && settings["vcs.modified"] == "true" {
		revision += "-dirty"
	}
	return revision
}

// buildSettings are what Go wrote into this program when it was built.
func buildSettings() []debug.BuildSetting {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	return info.Settings
}
