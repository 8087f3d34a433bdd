package repo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// journal says which checkout is under way. It exists from before the first
// write to the work tree until after the head has moved, so that after a kill
// the half-written paths are known to be the daemon's doing and not a person's.
type journal struct {
	From string `json:"from"` // head before; 40 zeros for a first checkout
	To   string `json:"to"`
	// Beside are temporary files that had to be written next to their place,
	// because the place is on another file system than .git.
	Beside []string `json:"beside,omitempty"`
}

func (j *journal) from() plumbing.Hash { return plumbing.NewHash(j.From) }
func (j *journal) to() plumbing.Hash   { return plumbing.NewHash(j.To) }

const journalFile = "checkout.json"

// readJournal returns the journal, or nil if there is none.
func (r *Repository) readJournal() (*journal, error) {
	b, err := os.ReadFile(r.state(journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal of the last checkout: %w", err)
	}
	var j journal
	if err := json.Unmarshal(b, &j); err != nil || !plumbing.IsHash(j.From) || !plumbing.IsHash(j.To) {
		return nil, nil // written in one step; whatever this is, it isn't ours
	}
	return &j, nil
}

// pending returns the checkout that was interrupted on its way from head, or
// nil. A journal of another head is out of date: the head moved last, or a
// person has moved it since.
func (r *Repository) pending(head plumbing.Hash) (*journal, error) {
	j, err := r.readJournal()
	if err != nil || j == nil || j.from() != head || !r.objects.has(j.to()) {
		return nil, err
	}
	return j, nil
}

func (r *Repository) writeJournal(j *journal) error {
	b, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if err := r.disk.replace(r.state(journalFile), r.state("checkout.new"), 0o600, b); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// removeBeside removes the temporary files in the work tree that a journal
// knows of.
func (r *Repository) removeBeside(j *journal) error {
	for _, p := range j.Beside {
		if err := r.disk.remove(r.work.abs(p)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (r *Repository) dropJournal() error {
	err := r.disk.remove(r.state(journalFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the journal: %w", err)
	}
	return nil
}

// The heads that the remote is known to have had, oldest first: what tells a
// rewritten branch, which is followed, from a person's own commits, which are
// not.
const (
	seenFile = "seen"
	maxSeen  = 64
)

func (r *Repository) seen() []plumbing.Hash {
	b, err := os.ReadFile(r.state(seenFile))
	if err != nil {
		return nil
	}
	var out []plumbing.Hash
	for len(b) >= 41 {
		if line := string(b[:40]); plumbing.IsHash(line) {
			out = append(out, plumbing.NewHash(line))
		}
		b = b[41:]
	}
	return out
}

func (r *Repository) remember(heads ...plumbing.Hash) error {
	list := r.seen()
	changed := false
	for _, h := range heads {
		if h.IsZero() || len(list) > 0 && list[len(list)-1] == h {
			continue
		}
		list = append(slices.DeleteFunc(list, func(o plumbing.Hash) bool { return o == h }), h)
		changed = true
	}
	if !changed {
		return nil
	}
	if n := len(list) - maxSeen; n > 0 {
		list = list[n:]
	}
	var b []byte
	for _, h := range list {
		b = append(append(b, h.String()...), '\n')
	}
	if err := r.disk.replace(r.state(seenFile), r.state("seen.new"), 0o600, b); err != nil {
		return fmt.Errorf("write down the remote's head: %w", err)
	}
	return nil
}
