package engine

import (
	"context"
	"io"
	"log/slog"
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
		// Its name may be the rest of a password in an env file that has a $ in it. Those in
		// compose files are warnings of the stack.
		text = "a variable is not set and counts as blank; if no warning of a stack names it, an env file has a $ in a value, which is written $$, or in single quotes"
	}
	if entry.Level <= logrus.WarnLevel && r.first(text) {
		level = slog.LevelWarn
	}
	r.log.Log(context.Background(), level, "compose says", "cause", text)
	return nil
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
