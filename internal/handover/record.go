package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/atomicfile"
	"github.com/korbiniankuhn/gitops-compose/internal/engine"
)

// Step is how far a hand-over has come, see the package's comment.
type Step string

// The steps, see the package's comment.
const (
	Asked    Step = "asked"
	Helped   Step = "helped"
	Begun    Step = "begun"
	Renamed  Step = "renamed"
	Created  Step = "created"
	Disarmed Step = "disarmed"
	Stopped  Step = "stopped"
	Started  Step = "started"
	Ready    Step = "ready"
	Removed  Step = "removed"

	Failing  Step = "failing"
	Cleared  Step = "cleared"
	Restored Step = "restored"
	Revived  Step = "revived"

	Done Step = "done"
)

// Steps lists all steps of a hand-over that works.
func Steps() []Step {
	return []Step{Asked, Helped, Begun, Renamed, Created, Disarmed, Stopped, Started, Ready, Removed, Done}
}

// StepsBack lists the steps that take back one that does not.
func StepsBack() []Step { return []Step{Failing, Cleared, Restored, Revived, Done} }

// reached says whether the way forward has got as far as a step.
func (r *Record) reached(s Step) bool {
	return !r.back() && slices.Index(Steps(), r.Step) >= slices.Index(Steps(), s)
}

// back says whether the hand-over is being taken back, or was.
func (r *Record) back() bool { return r.Reason != "" }

// Clone says where the repository is.
type Clone struct {
	// Path is the clone as the daemon and its helpers see it, HostRoot as the
	// engine does.
	Path, HostRoot string
	Branch         string
	// Identity names the repository in labels.
	Identity string
}

// Request is what a daemon wants.
type Request struct {
	// Stack, File and Service say what the daemon runs as.
	Stack, File, Service string
	// Version is what is wanted of the service, see plan.Service.Version.
	Version string
	Commit  string
	Cause   string
	// Timeout is how long the new daemon may take to be ready.
	Timeout time.Duration
}

// Container is one of the two that are exchanged.
type Container struct {
	ID string
	// Name, Image and Restart are what the old one had. Image is an id, Reference
	// what it was called.
	Name, Image, Reference string         `json:",omitempty"`
	Restart                engine.Restart `json:",omitzero"`
}

// recordFormat is the newest format of a record that this release knows.
const recordFormat = 1

// Record is all that is known of a hand-over. It holds no secret. One release
// writes it and another goes on with it: testdata has it as each format is.
type Record struct {
	// V is its format: that of the release that asked for the hand-over, which all
	// who go on with it keep, so that this one can follow. It was not written
	// before it was first needed; that is 1.
	V int `json:"v"`
	Request
	Clone    Clone
	Old, New Container
	// Helper and Guard are the ids of the two helpers.
	Helper, Guard string
	Step          Step
	// At says when each step was done.
	At map[Step]time.Time
	// Reason is why it is taken back; empty if it is not.
	Reason string `json:",omitempty"`
	// Detail are the last lines of the new daemon's log then. They are for those
	// who have authenticated, and forgotten with the record.
	Detail string `json:",omitempty"`
	// Again says of one that failed that the version is not to blame: it was
	// interrupted, or could not be judged.
	Again bool `json:",omitempty"`
}

// Files in the daemon's folder within .git.
const (
	recordFile = "handover.json"
	signFile   = "successor.json"
	lockFile   = "handover.lock"
)

// read gives the record; nil if there is none. One that can't be read counts as
// none: it was not written by us, for ours are written whole.
//
// One of a newer release is an error. Nobody knows then who is who in it, and
// what was done: so it is left as it is, and whoever finds it does nothing to any
// container. A helper ends, and is taken for one that can't do the hand-over; a
// daemon works on, if no other has the clone, and asks for no hand-over.
func read(dir string) (*Record, error) {
	path := filepath.Join(dir, recordFile)
	var format struct {
		V int `json:"v"`
	}
	ok, err := readFile(path, &format)
	if err != nil || !ok {
		return nil, err
	}
	if format.V > recordFormat {
		return nil, fmt.Errorf("%s has format %d and this release knows %d: a newer release wrote it; it is left alone, and no hand-over begins meanwhile; "+
			"let the newer release end it, or remove the file when no other container of the daemon is left", path, format.V, recordFormat)
	}
	r := &Record{}
	ok, err = readFile(path, r)
	if err != nil || !ok || r.Old.ID == "" {
		return nil, err
	}
	r.V = max(r.V, 1)
	return r, nil
}

// save writes the record as it is, after a step.
func (r *Record) save(dir string, step Step) error {
	r.Step = step
	if r.At == nil {
		r.At = map[Step]time.Time{}
	}
	r.At[step] = time.Now()
	return writeFile(filepath.Join(dir, recordFile), r)
}

// sign is what a new daemon says of itself while the helper waits for it.
type sign struct {
	Container string
	// Ready says that the last look succeeded, Ended that the whole check has
	// ended whose look was the first to.
	Ready, Ended bool
	// Error is why it is not ready, Blocked that only a person can change that.
	Error   string
	Blocked bool
}

func readFile(path string, v any) (bool, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case json.Unmarshal(b, v) != nil:
		return false, nil
	default:
		return true, nil
	}
}

// writeFile replaces a file at once: a kill leaves the old or the new one. One at
// a time writes each file.
func writeFile(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(path, b, atomicfile.Options{}); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
