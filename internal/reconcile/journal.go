package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// journal remembers stacks between checks and starts: one JSON file, written
// whole. It holds history and pauses, nothing that correctness rests on.
type journal struct {
	path   string
	log    *slog.Logger
	Stacks map[string]*entry `json:"stacks"`
	dirty  bool
}

// entry is what is remembered of one stack.
type entry struct {
	plan.Record
	// Commit was last applied with success, Attempted last tried.
	Commit      string           `json:",omitempty"`
	Attempted   string           `json:",omitempty"`
	LastSuccess time.Time        `json:",omitzero"`
	Outcomes    []report.Outcome `json:",omitempty"`
}

// outcomesKept is how many outcomes of a stack are remembered.
const outcomesKept = 10

func openJournal(path string, log *slog.Logger) *journal {
	j := &journal{path: path, log: log, Stacks: map[string]*entry{}}
	if path == "" {
		return j
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return j
	}
	if err == nil {
		err = json.Unmarshal(b, j)
	}
	if err != nil {
		log.Warn("the journal can't be read: history and pauses start anew", "err", err)
		j.Stacks = nil
	}
	if j.Stacks == nil {
		j.Stacks = map[string]*entry{}
	}
	for name, e := range j.Stacks {
		if e == nil {
			delete(j.Stacks, name)
		}
	}
	return j
}

// at gives the entry of a stack, to be changed; save writes it.
func (j *journal) at(stack string) *entry {
	j.dirty = true
	e := j.Stacks[stack]
	if e == nil {
		e = &entry{}
		j.Stacks[stack] = e
	}
	return e
}

// peek gives the entry of a stack, to be read.
func (j *journal) peek(stack string) entry {
	if e := j.Stacks[stack]; e != nil {
		return *e
	}
	return entry{}
}

// forget drops stacks that nobody wants and nothing runs of.
func (j *journal) forget(keep func(stack string) bool) {
	n := len(j.Stacks)
	maps.DeleteFunc(j.Stacks, func(name string, _ *entry) bool { return !keep(name) })
	j.dirty = j.dirty || len(j.Stacks) != n
}

func (j *journal) memory() map[string]plan.Record {
	m := make(map[string]plan.Record, len(j.Stacks))
	for name, e := range j.Stacks {
		m[name] = e.Record
	}
	return m
}

// nextRetry is the earliest time at which a stack that is not busy may be
// tried again; zero if none waits.
func (j *journal) nextRetry(busy map[string]bool) time.Time {
	var next time.Time
	for name, e := range j.Stacks {
		if !busy[name] && !e.RetryAt.IsZero() && (next.IsZero() || e.RetryAt.Before(next)) {
			next = e.RetryAt
		}
	}
	return next
}

// save writes the journal if it changed. It is no reason to stop if that
// fails: the host is still kept in step.
func (j *journal) save() {
	if !j.dirty || j.path == "" {
		return
	}
	if err := writeWhole(j.path, j); err != nil {
		j.log.Warn("the journal can't be written", "err", err)
		return
	}
	j.dirty = false
}

// writeWhole replaces a file at once: a kill leaves the old or the new one.
func writeWhole(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails when it was renamed, as it should
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
