// Package eventlog keeps what was done over restarts: a line of JSON for each event, in
// two files of which the older one is dropped when the newer one is full.
package eventlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

const (
	// full is how many bytes a file has at most: some 2,000 events.
	full = 512 << 10
	// longest is how long a line is at most; errors that are longer are cut.
	longest = 8 << 10
	name    = "history.jsonl"
	older   = "history.1.jsonl"
)

// Log keeps events in a folder. It is safe for several goroutines.
type Log struct {
	dir func() (string, error)
	mu  sync.Mutex
}

// Open gives the log in a folder, which need not be there yet. Nothing is read or written.
func Open(dir func() (string, error)) *Log { return &Log{dir: dir} }

// Add appends an event. A kill leaves it whole, or not at all for whoever reads.
func (l *Log) Add(e report.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, err := l.dir()
	if err != nil {
		return err
	}
	line, err := encode(e)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	if info, err := os.Stat(path); err == nil && info.Size()+int64(len(line)) > full {
		if err := os.Rename(path, filepath.Join(dir, older)); err != nil {
			return fmt.Errorf("make room in the history: %w", err)
		}
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("add to the history: %w", err)
	}
	// A line that a kill has cut off ends here.
	if _, err = file.Write(append(append([]byte{'\n'}, line...), '\n')); err != nil {
		err = fmt.Errorf("add to the history: %w", err)
	}
	return errors.Join(err, file.Close())
}

func encode(e report.Event) ([]byte, error) {
	for _, text := range []*string{&e.Cause, &e.Error} {
		if len(*text) > longest/4 {
			*text = (*text)[:longest/4] + "…"
		}
	}
	return json.Marshal(e)
}

// Find gives the events that are asked for, the newest first. What can't be read of them
// is left out.
func (l *Log) Find(f report.EventFilter) ([]report.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, err := l.dir()
	if err != nil {
		return nil, err
	}
	found := []report.Event{}
	for _, name := range []string{older, name} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
		lines := bufio.NewScanner(bytes.NewReader(content))
		lines.Buffer(nil, full)
		for lines.Scan() {
			var e report.Event
			if json.Unmarshal(lines.Bytes(), &e) == nil && wanted(e, f) {
				found = append(found, e)
			}
		}
	}
	slices.Reverse(found)
	if f.Most > 0 && len(found) > f.Most {
		found = found[:f.Most]
	}
	return found, nil
}

// wanted says whether an event is asked for. One about all stacks is about each.
func wanted(e report.Event, f report.EventFilter) bool {
	return (f.Stack == "" || e.Stack == "" || e.Stack == f.Stack) && !e.At.Before(f.Since) && e.Operation != ""
}
