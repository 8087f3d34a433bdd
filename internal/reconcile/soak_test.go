package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// TestWhateverHappensTheHostConverges throws commits, moves, crashes, people,
// faults, slowness, restarts, a remote that is away, tags that move and files that are changed by
// hand in the clone at the loop, with healing on and off, and with local changes
// that stop all or are kept. When they end, the host is as git wants it, whatever was left half
// done. The fakes watch for overlaps on the way.
func TestWhateverHappensTheHostConverges(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for n := range uint64(40) {
		t.Run(fmt.Sprint("round ", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { soak(t, rand.New(rand.NewPCG(seed, n)), n%2 == 0) })
		})
	}
}

func soak(t *testing.T, rng *rand.Rand, heal bool) {
	h := history{rng: rng}
	h.add()
	h.add()
	w := newWorld(t, h.stacks()...)
	keep := rng.IntN(2) == 0
	w.ownImages, w.editsStop = true, !keep
	images := newTagged(w)
	images.minAge = time.Duration(rng.IntN(2)) * 15 * time.Minute
	move := func(ref string) {
		h.tags++
		images.move(ref, fmt.Sprint("d", h.tags))
	}
	publish := func() {
		for _, s := range h.stacks() {
			if ref := s.Services[0].Image; images.latest(ref) == "" {
				move(ref)
			}
		}
	}
	publish()
	faults := rand.New(rand.NewPCG(rng.Uint64(), 1)) // under the world's lock
	calm, away := false, false
	trouble := func(what string) func(context.Context) error {
		return func(ctx context.Context) error {
			w.mu.Lock()
			kind, long := faults.IntN(6), time.Duration(faults.IntN(120))*time.Second
			quiet, gone := calm, away && what == "fetch"
			inTheWay := (what == "fetch" || what == "checkout") && w.inTheWay(keep)
			w.mu.Unlock()
			switch {
			case inTheWay:
				return errors.New("files that were changed by hand are in the way")
			case gone:
				return errors.New("the remote is away")
			case quiet || kind > 2:
				return nil
			case kind == 0 && what == "up" && long > time.Minute:
				return errHalf
			case kind == 0:
				return errors.New("cut")
			default:
				return takes(long)(ctx)
			}
		}
	}
	for _, what := range []string{"fetch", "observe", "checkout"} {
		w.on(what, trouble(what))
	}
	for _, name := range pool {
		for _, what := range []string{"pull", "up", "wait", "settle", "down"} {
			w.on(what+" "+name, trouble(what))
		}
	}
	set := func(flag *bool, to bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		*flag = to
	}
	watched := rng.IntN(2) == 0
	settings := func(o *Options) {
		o.Interval, o.Parallel, o.Heal, o.KeepEdits, o.MinAge = 5*time.Minute, 2, heal, keep, images.minAge
		images.use(o)
		if watched {
			o.Events = w.events
		}
	}
	d := start(t, w, settings)
	for step := range 60 {
		switch rng.IntN(9) {
		case 0, 1:
			for range 1 + rng.IntN(2) {
				h.move()
			}
			publish()
			w.pushAll(fmt.Sprint("n", step), &h)
			d.r.Trigger("webhook")
		case 2:
			name := pool[rng.IntN(len(pool))]
			if strings.Contains(" "+w.runs(), " "+name+"=") {
				w.crash(name)
				w.tell(name)
			}
		case 3:
			if rng.IntN(4) == 0 {
				d.stop()
				d = start(t, w, settings, sameJournal(d))
			}
		case 4:
			set(&away, rng.IntN(3) == 0)
		case 5:
			w.visit(rng.IntN(2) == 0)
		case 6:
			w.edit(rng)
		case 7:
			if all := h.stacks(); len(all) > 0 {
				move(all[rng.IntN(len(all))].Services[0].Image)
			}
		}
		pass(time.Duration(rng.IntN(90)) * time.Second)
	}
	set(&calm, true)
	set(&away, false)
	w.visit(false)
	w.edit(nil)
	pass(3 * time.Hour) // pauses are at most one
	before, spoiled := d.did(), h.spoiled()
	for _, s := range h.stacks() {
		if image := spoiled[s.Name]; image != "" && d.status(s.Name).Held == string(plan.HeldRollback) {
			runs := " " + d.runs()
			if strings.Contains(runs, " "+s.Name+"="+s.Digest) || !strings.Contains(runs, " "+s.Name+"="+image+":") {
				t.Errorf("%s is held as rolled back from %s: %s", s.Name, s.Digest, runs)
			}
		}
	}
	pass(3 * time.Hour)
	for _, s := range h.stacks() {
		if again := d.didUp(s.Name); d.status(s.Name).Held == string(plan.HeldRollback) && again > 0 {
			t.Errorf("%s is rolled back, and was brought up %d times; before: %s", s.Name, again, before)
		}
	}
	h.mend()
	w.pushAll("mended", &h)
	d.r.Trigger("webhook")
	var want []string
	for _, s := range h.stacks() {
		want = append(want, s.Name+"="+s.Digest)
	}
	slices.Sort(want)
	pass(3 * time.Hour)
	if !heal {
		// What crashed without a commit stays so, and is what is wanted otherwise;
		// the first check after a start repairs it.
		d.expect("runs", strings.ReplaceAll(d.runs(), "(exited)", ""), strings.Join(want, " "))
		d.stop()
		d = start(t, w, settings, sameJournal(d))
		pass(time.Hour)
	}
	d.expect("runs", d.runs(), strings.Join(want, " "))
	for _, s := range h.stacks() {
		if svc := s.Services[0]; svc.Every > 0 {
			d.expect(s.Name, images.image(s.Name), images.latest(svc.Image))
		}
	}
	if strings.Contains(d.last(), "failed") || strings.Contains(d.last(), "applying") {
		t.Errorf("picture: %s", d.last())
	}
	before = d.did()
	pass(time.Hour)
	if after := d.did(); after != "" {
		t.Errorf("it does not come to rest: %s; before: %s", after, before)
	}
	d.stop()
	if t.Failed() {
		t.Log(d.logs.String())
	}
}

// visit lets a project of somebody else run, or not.
func (w *world) visit(comes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, "foreign")
	if comes {
		w.running["foreign"] = plan.Running{
			Project: "foreign", Origin: "/home/mia", Containers: []plan.Container{{ID: "foreign", Name: "foreign-app-1", Service: "app", State: "running"}},
		}
	}
	w.tell("foreign")
}

// edit changes the file of a stack by hand in the clone, or undoes all that was
// changed so.
func (w *world) edit(rng *rand.Rand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var files []string
	for _, s := range w.commits[w.local] {
		files = append(files, s.File)
	}
	if rng == nil || len(files) == 0 || rng.IntN(2) == 0 {
		w.edited = nil
		return
	}
	w.edited = append(slices.Clone(w.edited), files[rng.IntN(len(files))])
}

// inTheWay says whether files that were changed by hand keep the clone from going
// to the remote head: any, or those that are other ones there. The lock is held.
func (w *world) inTheWay(keep bool) bool {
	blobs := func(commit string) map[string]string {
		m := map[string]string{}
		for _, s := range w.commits[commit] {
			m[s.File] = s.Blob
		}
		return m
	}
	from, to := blobs(w.local), blobs(w.remote)
	return slices.ContainsFunc(w.edited, func(f string) bool { return !keep || from[f] != to[f] })
}

// pool are the names that stacks have.
var pool = []string{"a", "b", "c", "d", "e", "f", "g", "h"}

// history is what commits make of some stacks.
type history struct {
	rng    *rand.Rand
	serial int
	tags   int // how many digests there were
	all    []kept
}

// kept is a stack through its moves.
type kept struct {
	image, name, dir string
	version          int
	needs            string // the image of another
	// moves says that it changes folders; others change names. Who did both at
	// once could be told by nobody.
	moves bool
	// rolls says that it goes back when a new version fails, bad that its version does.
	rolls, bad bool
	// watches says that it wants to know when the tag of its image moves.
	watches bool
}

func (h *history) add() {
	h.serial++
	image := fmt.Sprint("i", h.serial)
	if name := h.free(); name != "" {
		rolls := h.rng.IntN(2) == 0
		h.all = append(h.all, kept{image: image, name: name, dir: image, moves: h.rng.IntN(2) == 0, rolls: rolls, watches: !rolls && h.rng.IntN(2) == 0})
	}
}

// free is a name that no stack has.
func (h *history) free() string {
	name := pool[h.rng.IntN(len(pool))]
	if slices.ContainsFunc(h.all, func(k kept) bool { return k.name == name }) {
		return ""
	}
	return name
}

// move is one change that people make.
func (h *history) move() {
	if len(h.all) < 2 {
		h.add()
		return
	}
	n, m := h.rng.IntN(len(h.all)), h.rng.IntN(len(h.all))
	k, other := &h.all[n], &h.all[m]
	switch h.rng.IntN(8) {
	case 0, 1:
		k.version++
		k.bad = k.rolls && h.rng.IntN(3) == 0
	case 2:
		h.add()
	case 3:
		h.all = slices.Delete(h.all, n, n+1)
	case 4: // git mv, and the name is kept
		if h.serial++; k.moves {
			k.dir = fmt.Sprint("f", h.serial)
		}
	case 5:
		if name := h.free(); name != "" && !k.moves {
			k.name = name
		}
	case 6:
		if !k.moves && !other.moves {
			k.name, other.name = other.name, k.name
		}
	case 7:
		k.needs = ""
		if other.needs == "" && m != n && !slices.ContainsFunc(h.all, func(o kept) bool { return o.needs == k.image }) {
			k.needs = other.image
		}
	}
}

// mend makes a good version of all that goes back: what somebody killed while it came
// up was taken for a bad one.
func (h *history) mend() {
	for i := range h.all {
		if k := &h.all[i]; k.rolls {
			k.version++
			k.bad = false
		}
	}
}

// spoiled are the stacks whose version fails, by name, with the image that they and
// their versions have.
func (h *history) spoiled() map[string]string {
	m := map[string]string{}
	for _, k := range h.all {
		if k.bad {
			m[k.name] = k.image
		}
	}
	return m
}

// pushAll makes a commit of the history.
func (w *world) pushAll(commit string, h *history) {
	stacks := h.stacks()
	for i, k := range h.all {
		w.spoil(stacks[i].Digest, k.bad)
	}
	w.push(commit, stacks...)
}

// stacks are what a commit has.
func (h *history) stacks() []plan.Stack {
	var all []plan.Stack
	for _, k := range h.all {
		var needs []string
		for _, o := range h.all {
			if o.image == k.needs {
				needs = append(needs, o.name)
			}
		}
		s := stack(k.name, needs...)
		if k.moves {
			s = files(s)
		}
		if k.rolls {
			s = rolling(s)
		}
		s.File, s.Digest = k.dir+"/compose.yaml", fmt.Sprint(k.image, ":", k.version, needs)
		s.Blob = fmt.Sprint(k.image, k.version, k.name, needs)
		s.Services[0].Hash, s.Services[0].Image = s.Digest, fmt.Sprint(k.image, ":", k.version)
		if k.watches {
			s.Services[0].Pull, s.Services[0].Every = plan.PullAlways, 5*time.Minute
		}
		all = append(all, s)
	}
	return all
}
