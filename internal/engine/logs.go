package engine

import (
	"context"
	"io"
	"log/slog"
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
	if entry.Level <= logrus.WarnLevel && r.first(entry.Message) {
		level = slog.LevelWarn
	}
	r.log.Log(context.Background(), level, "compose says", "cause", entry.Message)
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
