package repo

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// action is a change that the preflight has looked at.
type action struct {
	change
	was  fileState // what stands there now
	done bool      // it is already as the new commit wants it
	kept bool      // and so is the index, which a person may have done: both are left alone
}

// preflight looks at every path that a checkout will touch. Its rules, with the
// path as the old commit has it, as it stands, and as the new commit has it:
//
//	old     stands           new      verdict
//	file    as old           any      go
//	any     as new           any      already done (an earlier try was killed)
//	file    absent           none     already done
//	file    absent           file     refused: deleted by hand; or go, if local changes are kept
//	none    absent           file     go
//	none    folder           file     go, if all that is in it goes away too
//	none    anything else    file     refused: untracked
//	file    anything else    any      refused: changed by hand
//
// and no folder on the way may be a link or an untracked file. If local changes
// are kept the index has a say too, before the work tree:
//
//	staged                            verdict
//	nothing: the index has the old    as above
//	the new                           already done, whatever stands there
//	anything else                     refused: staged
//
// This is git's rule for git merge --ff-only (git-read-tree, two tree merge). git
// refuses two things more, neither of which loses anything: a file that was
// changed to what the new commit has, and one that the commit removes and that is
// untracked since git rm --cached.
type preflight struct {
	r       *Repository
	x       *index
	keep    bool            // local changes
	leaves  map[string]bool // paths whose file goes away or changes its kind
	arrives map[string]bool // folders that the new commit puts something into
	becomes map[string]bool // paths that are files in the new commit
	dirs    map[string]bool // folders on the way that were looked at: fine or not
	// submodules are those that were refused, with all that comes in their place.
	submodules []string
	list       []finding
}

const (
	cantMove       = "the clone can't be moved to the new commit, nothing was changed"
	remedyInTheWay = "commit and push what was changed by hand or undo it, and move untracked files out of the way"
)

func (r *Repository) preflight(ctx context.Context, x *index, changes []change) ([]action, error) {
	p := &preflight{
		r: r, x: x, keep: r.opt.KeepLocalChanges,
		leaves: map[string]bool{}, arrives: map[string]bool{}, becomes: map[string]bool{}, dirs: map[string]bool{},
	}
	for _, c := range changes {
		if c.to.mode == 0 {
			// What is no longer in the index is untracked, and stays.
			p.leaves[c.path] = !p.keep || x.entry(c.path).mode != 0
			continue
		}
		p.becomes[c.path] = true
		for d := parent(c.path); d != "" && !p.arrives[d]; d = parent(d) {
			p.arrives[d] = true
		}
	}
	actions := make([]action, 0, len(changes))
	for i, c := range changes {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		a := action{change: c}
		p.look(&a)
		actions = append(actions, a)
	}
	if p.list != nil {
		return nil, refuse(cantMove, p.list, remedyInTheWay)
	}
	return actions, nil
}

func (p *preflight) refuse(path, why string) { p.help(path, why, "") }

// help refuses a path, and says what removes the reason.
func (p *preflight) help(path, why, command string) {
	p.list = append(p.list, finding{path, why, command})
}

// aside is where an untracked file can be moved to.
func (p *preflight) aside(path string) string {
	for n := 0; ; n++ {
		to := path + ".before"
		if n > 0 {
			to += strconv.Itoa(n)
		}
		if s, err := look(p.r.work.abs(to)); err != nil || s.mode == 0 && !p.becomes[to] && !p.arrives[to] {
			return to
		}
	}
}

func (p *preflight) look(a *action) {
	if why := unsafePath(a.path); why != "" && a.to.mode != 0 {
		p.refuse(a.path, "unsafe name: "+why)
		return
	}
	if p.keep && p.staged(a) {
		return
	}
	if p.inSubmodule(a.path) {
		return
	}
	onWay := p.way(parent(a.path))
	if onWay == wayRefused {
		return
	}
	if onWay == wayOpen {
		var err error
		if a.was, err = look(p.r.work.abs(a.path)); err != nil {
			p.refuse(a.path, err.Error())
			return
		}
	}
	if a.from.mode == modeSubmodule || a.to.mode == modeSubmodule {
		p.submodule(a)
		return
	}
	isNew, err := p.holds(a, a.to)
	if err == nil && isNew {
		a.done = true
		return
	}
	isOld, err2 := p.holds(a, a.from)
	switch {
	case isOld:
	case err != nil || err2 != nil:
		if err == nil {
			err = err2
		}
		p.refuse(a.path, "unreadable: "+err.Error())
	case a.from.mode != 0 && a.was.mode == 0 && p.keep: // git puts it there again
	case a.from.mode != 0 && a.was.mode == 0:
		p.refuse(a.path, "deleted by hand")
	case a.from.mode != 0:
		p.refuse(a.path, "changed by hand")
	case a.was.mode == modeFolder:
		p.clearFolder(a.path)
	case p.sameContent(a):
		// Untracked, with the new content but another exec bit: nothing is lost.
	default:
		p.help(a.path, "an untracked file is in the way", "mv -- "+shellWord(a.path)+" "+shellWord(p.aside(a.path)))
	}
	if !a.done {
		p.writable(parent(a.path))
	}
}

// staged says whether the index decides.
func (p *preflight) staged(a *action) bool {
	switch have := p.x.entry(a.path); {
	case have.same(a.from):
		return false
	case have.same(a.to):
		a.done, a.kept = true, true
	default:
		p.refuse(a.path, "staged")
	}
	return true
}

// holds compares what stands at the path with an entry; none (mode 0) is held
// by nothing, and by the folder that the new commit puts there.
func (p *preflight) holds(a *action, want treeEntry) (bool, error) {
	if want.mode == 0 {
		return a.was.mode == 0 || a.to.mode == 0 && a.was.mode == modeFolder && p.arrives[a.path], nil
	}
	return p.r.work.holds(a.path, a.was, want, p.x)
}

func (p *preflight) sameContent(a *action) bool {
	if a.was.mode != modeFile && a.was.mode != modeExec || a.to.mode == modeLink {
		return false
	}
	ok, err := contentIs(p.r.work.abs(a.path), a.was, a.to.hash)
	return ok && err == nil
}

// submodule: their folders are git's to fill, not ours. An entry that comes
// gets the empty folder that git gives it; one that goes loses it if it is
// empty. One that git has filled is emptied by a person before something else can
// take its place: what is in it may be nowhere else.
func (p *preflight) submodule(a *action) {
	if p.r.once("submodule") {
		p.r.log.Warn("submodules are not checked out; what they hold is left alone", "path", a.path)
	}
	becomes := a.to.mode != 0 || p.arrives[a.path]
	switch {
	case a.from.mode == modeSubmodule && a.was.mode == modeFolder && becomes && a.to.mode != modeSubmodule && p.filled(a.path):
		p.submodules = append(p.submodules, a.path)
		p.help(a.path, "it was a submodule, whose files are still there", "git submodule deinit -- "+shellWord(a.path))
	case a.was.mode == 0, a.from.mode == modeSubmodule && a.was.mode == modeFolder && a.to.mode == 0:
	case a.to.mode == modeSubmodule && a.was.mode == modeFolder:
		a.done = true
	case a.from.mode == modeSubmodule && a.was.mode == modeFolder:
		if entries, err := os.ReadDir(p.r.work.abs(a.path)); err != nil || len(entries) > 0 {
			p.refuse(a.path, "the folder of a submodule that becomes a file is not empty")
		}
	default:
		if ok, err := p.holds(a, a.to); ok && err == nil {
			a.done = true
		} else if ok, err := p.holds(a, a.from); !ok || err != nil {
			p.refuse(a.path, "not as the commit says")
		}
	}
}

// filled says whether git has checked a submodule out.
func (p *preflight) filled(path string) bool {
	s, err := look(p.r.work.abs(join(path, ".git")))
	return err == nil && s.mode != 0
}

// inSubmodule says whether a path lies in a submodule that was refused.
func (p *preflight) inSubmodule(path string) bool {
	return slices.ContainsFunc(p.submodules, func(sub string) bool { return strings.HasPrefix(path, sub+"/") })
}

type way int

const (
	wayOpen    way = iota // a folder
	wayAbsent             // will be created
	wayRefused            // something is in the way; it is on the list
)

// way looks at the folders that lead to a path.
func (p *preflight) way(dir string) way {
	if dir == "" {
		return wayOpen
	}
	if w := p.way(parent(dir)); w != wayOpen {
		return w
	}
	s, err := look(p.r.work.abs(dir))
	switch {
	case err != nil:
		p.once(dir, err.Error())
	case s.mode == modeFolder:
		return wayOpen
	case s.mode == 0:
		return wayAbsent
	case p.leaves[dir]: // the tracked file or link here goes first
		return wayAbsent
	case p.becomes[dir]: // an earlier try has put the new file here; its own look will tell
		return wayAbsent
	case !p.arrives[dir]: // only deletions below: they are gone already, with a link or file in their place
		p.once(dir, "a folder was replaced by hand")
	default:
		p.once(dir, "an untracked file or link is where a folder must be")
	}
	return wayRefused
}

func (p *preflight) once(path, why string) {
	if !p.dirs[path] {
		p.dirs[path] = true
		p.refuse(path, why)
	}
}

// clearFolder allows a folder to become a file only if everything in it is
// tracked and goes away. Folders without a file in them are no content, as for
// git.
func (p *preflight) clearFolder(dir string) {
	entries, err := os.ReadDir(p.r.work.abs(dir))
	if err != nil {
		p.refuse(dir, "unreadable: "+err.Error())
		return
	}
	if len(entries) == 0 && !p.x.hasFolder(dir) {
		return // rmdir will do
	}
	for _, e := range entries {
		path := join(dir, e.Name())
		switch {
		case p.leaves[path]:
		case e.IsDir() && (p.x.hasFolder(path) || hollow(p.r.work.abs(path))):
			p.clearFolder(path)
		default:
			p.refuse(path, "untracked, in a folder that becomes a file")
		}
	}
}

// hollow says whether a folder has nothing but folders in it, all the way down.
func hollow(full string) bool {
	entries, err := os.ReadDir(full)
	return err == nil && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return !e.IsDir() || !hollow(filepath.Join(full, e.Name()))
	})
}

// writable finds a denied write before the first change instead of half way.
func (p *preflight) writable(dir string) {
	for ; dir != ""; dir = parent(dir) {
		if s, err := look(p.r.work.abs(dir)); err == nil && s.mode == modeFolder {
			break
		}
	}
	key := "w:" + dir
	if seen, ok := p.dirs[key]; ok && seen {
		return
	}
	p.dirs[key] = true
	if err := unix.Access(filepath.Clean(p.r.work.abs(dir)), unix.W_OK|unix.X_OK); err != nil {
		p.refuse(dir+"/", "the folder can't be written to: "+err.Error())
	}
}
