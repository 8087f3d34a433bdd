package engine

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
)

// takeLogs leads what the SDK and its loader say through logrus' standard
// logger, which writes to our stderr, into our log.
func takeLogs(logger *slog.Logger) {
	logrus.SetOutput(io.Discard)
	hooks := logrus.LevelHooks{}
	hooks.Add(&relay{log: logger, said: map[string]bool{}})
	logrus.StandardLogger().ReplaceHooks(hooks)
}

// relay passes on a warning once, and further on for debugging only: the same
// is said of a compose file whenever it is loaded.
type relay struct {
	log  *slog.Logger
	mu   sync.Mutex
	said map[string]bool
}

// saidMost bounds what is remembered.
const saidMost = 1000

// Levels implements logrus.Hook.
func (r *relay) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (r *relay) Fire(entry *logrus.Entry) error {
	level := slog.LevelDebug
	text := entry.Message
	if strings.HasSuffix(text, "variable is not set. Defaulting to a blank string.") {
		// Its name may be the rest of a password in an env file that has a $ in it.
		text = "a variable is not set and counts as blank"
	}
	if entry.Level <= logrus.WarnLevel && !warnedOf(text) && r.first(text) {
		level = slog.LevelWarn
	}
	r.log.Log(context.Background(), level, "compose says", "cause", text)
	return nil
}

// warnedOf says whether the loader of stacks finds the same: then it is a warning of a
// stack, with its name, and the log has that.
func warnedOf(text string) bool {
	return slices.ContainsFunc([]string{
		"a variable is not set and counts as blank", "Found multiple config files", "Found multiple override files", "Using /",
		"external.name is deprecated", "the attribute `version` is obsolete", "for boolean is not supported by YAML 1.2",
	}, func(part string) bool { return strings.Contains(text, part) })
}

func (r *relay) first(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.said) >= saidMost {
		clear(r.said)
	}
	if r.said[text] {
		return false
	}
	r.said[text] = true
	return true
}
