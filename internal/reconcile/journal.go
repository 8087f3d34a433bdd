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
	"slices"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/atomicfile"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// journalFormat is the newest format of a journal that this release knows.
const journalFormat = 1

// journal remembers stacks between checks and starts: one JSON file with a line
// for each stack, written whole. It holds history and pauses, nothing that correctness rests on. testdata
// has it as each format is.
type journal struct {
	path string
	log  *slog.Logger
	// aside is what to call the file that is there before the first one is written;
	// "" if it may go.
	aside string
	// V is the format. It was not written before it was first needed; that is 1.
	V      int               `json:"v"`
	Stacks map[string]*entry `json:"stacks"`
	Images map[string]asked  `json:"images,omitempty"`
	// Suspended are what people have suspended, see plan.State.
	Suspended map[string]plan.Suspension `json:"suspended,omitempty"`
	// lines are the entries as they were last written, but for those that may have
	// changed since: most do not from one operation to the next.
	lines map[string][]byte
	// written is what was last written, for its room.
	written []byte
	// version counts changes.
	version uint64
	dirty   bool
	failed  bool // the last save did, and that was said
}

// entry is what is remembered of one stack.
type entry struct {
	plan.Record
	// Commit was last applied with success, Attempted last tried.
	Commit    string           `json:",omitempty"`
	Attempted string           `json:",omitempty"`
	Outcomes  []report.Outcome `json:",omitempty"`
}

// renew replaces what is remembered, but for what is about the daemon's own
// service, the version that it can go back to, and history.
func (e *entry) renew(r plan.Record) {
	r.Own, r.LastSuccess, r.Flaps = e.Own, e.LastSuccess, e.Flaps
	r.Good, r.Bad, r.BadError, r.Labelled = e.Good, e.Bad, e.BadError, e.Labelled
	e.Record = r
}

// runs notes the version that runs well.
func (e *entry) runs(v plan.Version) {
	e.Good, e.Bad, e.BadError = v, plan.Version{}, ""
}

// outcomesKept is how many outcomes of a stack are remembered.
const outcomesKept = 10

// openJournal reads the journal. One that can't be read, or that a newer release
// has written, is set aside when the first one is saved: a dry run changes
// nothing.
func openJournal(path string, log *slog.Logger) *journal {
	j := &journal{path: path, log: log, Stacks: map[string]*entry{}, Images: map[string]asked{}, Suspended: map[string]plan.Suspension{}}
	if path == "" {
		return j
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return j
	}
	var format struct {
		V int `json:"v"`
	}
	if err == nil {
		err = json.Unmarshal(b, &format)
	}
	if err == nil && format.V <= journalFormat {
		err = json.Unmarshal(b, j)
	}
	switch {
	case err != nil:
		j.aside = path + ".broken"
		log.Warn("the journal can't be read: history and pauses start anew", "err", err)
	case format.V > journalFormat:
		j.aside = fmt.Sprintf("%s.v%d", path, format.V)
		log.Warn("the journal is of a newer release: history and pauses start anew", "version", format.V)
	}
	if j.aside != "" {
		j.Stacks, j.Images, j.Suspended = nil, nil, nil
	}
	if j.Images == nil {
		j.Images = map[string]asked{}
	}
	if j.Suspended == nil {
		j.Suspended = map[string]plan.Suspension{}
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
	j.touch()
	delete(j.lines, stack)
	e := j.Stacks[stack]
	if e == nil {
		e = &entry{}
		j.Stacks[stack] = e
	}
	return e
}

func (j *journal) touch() {
	j.dirty = true
	j.version++
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
	if len(j.Stacks) != n {
		maps.DeleteFunc(j.lines, func(name string, _ []byte) bool { return j.Stacks[name] == nil })
		j.touch()
	}
}

// asked notes when a registry was asked for an image, and what it said.
func (j *journal) asked(ref string, a asked) {
	j.Images[ref] = a
	j.touch()
}

// forgetImages drops images that nobody watches.
func (j *journal) forgetImages(keep func(ref string) bool) {
	n := len(j.Images)
	maps.DeleteFunc(j.Images, func(ref string, _ asked) bool { return !keep(ref) })
	if len(j.Images) != n {
		j.touch()
	}
}

// latest gives what the registries said that has not been pulled since, and since
// when they do.
func (j *journal) latest() (digests map[string]string, seen map[string]time.Time) {
	digests, seen = make(map[string]string, len(j.Images)), make(map[string]time.Time, len(j.Images))
	for ref, a := range j.Images {
		digests[ref], seen[ref] = a.Latest, a.First
	}
	return digests, seen
}

func (j *journal) memory() map[string]plan.Record {
	m := make(map[string]plan.Record, len(j.Stacks))
	for name, e := range j.Stacks {
		m[name] = e.Record
	}
	return m
}

// save writes the journal if it changed. It is no reason to stop if that
// fails: the host is still kept in step.
func (j *journal) save() {
	if !j.dirty || j.path == "" {
		return
	}
	if err := j.write(); err != nil {
		if !j.failed {
			j.log.Warn("the journal can't be written", "err", err)
		}
		j.failed = true
		return
	}
	j.dirty, j.failed = false, false
}

// write writes the journal, but not over one that is to be set aside.
func (j *journal) write() error {
	if j.aside != "" {
		switch err := os.Rename(j.path, j.aside); {
		case err == nil:
			j.log.Warn("the journal that was there has been set aside", "path", j.aside)
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("set the old one aside: %w", err)
		}
		j.aside = ""
	}
	j.V = journalFormat
	b, err := j.encode()
	if err != nil {
		return err
	}
	return writeWhole(j.path, b)
}

// encode gives the journal as JSON. It is good until the next call.
func (j *journal) encode() ([]byte, error) {
	if j.lines == nil {
		j.lines = map[string][]byte{}
	}
	b := fmt.Appendf(j.written[:0], `{"v":%d,"stacks":{`, j.V)
	for i, name := range slices.Sorted(maps.Keys(j.Stacks)) {
		line := j.lines[name]
		if line == nil {
			var err error
			if line, err = json.Marshal(map[string]*entry{name: j.Stacks[name]}); err != nil {
				return nil, err
			}
			line = line[1 : len(line)-1] // without the braces
			j.lines[name] = line
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, '\n'), line...)
	}
	b = append(b, '}')
	if len(j.Images) > 0 {
		images, err := json.Marshal(j.Images)
		if err != nil {
			return nil, err
		}
		b = append(append(b, ",\n\"images\":"...), images...)
	}
	if len(j.Suspended) > 0 {
		suspended, err := json.Marshal(j.Suspended)
		if err != nil {
			return nil, err
		}
		b = append(append(b, ",\n\"suspended\":"...), suspended...)
	}
	b = append(b, "}\n"...)
	j.written = b
	return b, nil
}

// writeWhole replaces a file at once: a kill leaves the old or the new one.
func writeWhole(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := atomicfile.Write(path, b, atomicfile.Options{}); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
