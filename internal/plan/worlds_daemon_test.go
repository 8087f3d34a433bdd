package plan

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// robot is the daemon as a model: it looks, remembers, and walks the operations
// of its plans, of which several run at once. It decides nothing.
type robot struct {
	*host
	now           time.Time
	policy        Policy
	commits       map[string]head
	local, remote string // the clone's head, and the remote's
	known         string // the remote's head when it was last asked
	offline       bool
	faults        bool
	edited        map[string]bool // compose files that were changed by hand
	memory        map[string]Record
	suspended     map[string]Suspension
	repair        map[string]bool
	first         map[string]bool // stacks that the first look after a start had an Up for
	done          map[string]string
	jobs          []*job
	looks         int
	last          Plan
	story         []string
	ups           map[string]*look // of the Ups that were begun last, by stack
	judge         func(*look)
	begins        func(*job)
}

// look is one check.
type look struct {
	state     State
	plan      Plan
	head      head
	pods      map[string]pod // as they were, by id
	content   map[string]bool
	files     map[string]bool
	at        time.Time
	jobs      map[ID]*job
	overtaken bool
}

// job is an operation that has not ended.
type job struct {
	Op
	look    *look
	stack   Stack
	begun   time.Time
	ended   bool
	err     error
	needs   bool
	stale   bool
	advance func() (struct{}, bool)
	cut     func()
	touches bool // containers
}

// since is when the wait for it begins.
func (j *job) since() time.Time {
	if j.begun.IsZero() {
		return j.look.at
	}
	return j.begun
}

func (j *job) missed() bool { return j.needs || j.stale }

var (
	errFault = errors.New("it failed")
	errCut   = errors.New("cut short")
)

func (r *robot) tell(format string, a ...any) {
	r.story = append(r.story, fmt.Sprintf(format, a...))
}

func (r *robot) alone() bool {
	return slices.ContainsFunc(r.jobs, func(j *job) bool {
		return j.Kind == Checkout || j.Kind == HandOver && !j.begun.IsZero()
	})
}

// has says whether something is at a place of the clone, as a commit has it, or
// in a volume.
func (h *host) has(at head, m Mount) bool {
	return h.content[m.Source] || h.files[m.Source] || m.Type == MountClone && at.tracks(m.Source)
}

// state is all that a plan depends on.
func (r *robot) state() State {
	st := State{
		Now: r.now, Local: r.local, Remote: r.known, Observed: r.observe(), Memory: copyOf(r.memory), Busy: map[string]bool{}, Repair: copyOf(r.repair),
		Suspended: copyOf(r.suspended),
	}
	if r.offline {
		st.Remote, st.Offline = r.local, "it can't be reached"
	}
	if st.Local != st.Remote {
		st.Before = r.commits[st.Local].stacks(r.files)
	}
	st.Wanted = r.commits[st.Remote].stacks(r.files)
	for i, s := range st.Wanted {
		if r.edited[s.File] {
			st.Wanted[i].Edited = []string{s.File}
		}
		if r.repair == nil {
			st.Repair[s.Name] = true
		}
		if s.Invalid != "" && st.Local != st.Remote {
			st.Wanted[i].From = r.commits[st.Remote].renamed(s.File, r.commits[st.Local])
		}
	}
	for _, j := range r.jobs {
		if j.Stack != "" {
			st.Busy[j.Stack] = true
		}
	}
	st.Observed.Latest, st.Observed.Seen = maps.Clone(r.registry.said), maps.Clone(r.registry.seen)
	st = st.Ripen(r.policy)
	st.Losses = map[Doubt]bool{}
	for _, d := range Doubts(st, r.policy) {
		st.Losses[d] = r.has(r.commits[st.Local], d.Old) && !r.has(r.commits[st.Remote], d.New)
	}
	return st
}

// look plans and takes the operations over.
func (r *robot) look() *look {
	if r.alone() {
		return nil
	}
	if !r.offline {
		r.known = r.remote
	}
	r.ask(!r.faults)
	st := r.state()
	l := &look{
		state: st, plan: Build(st, r.policy), head: r.commits[st.Remote], pods: map[string]pod{}, content: copyOf(r.content), files: copyOf(r.files),
		at: r.now, jobs: map[ID]*job{},
	}
	for _, p := range r.pods {
		l.pods[p.ID] = *p
	}
	r.looks++
	r.tell("look %s -> %s\n%s", st.Local, st.Remote, l.plan)
	r.judge(l)
	r.remember(l)
	r.last = l.plan
	for _, j := range r.jobs {
		j.look.overtaken = true
	}
	for _, op := range l.plan.Ops {
		j := &job{Op: op, look: l, touches: op.Kind == Up || op.Kind == Stop || op.Kind == Before}
		for _, s := range st.Wanted {
			if s.Name == op.Stack && s.Invalid == "" {
				j.stack = s
			}
		}
		l.jobs[op.ID] = j
		r.jobs = append(r.jobs, j)
	}
	return l
}

// remember is what the journal learns from a look.
func (r *robot) remember(l *look) {
	running := map[string]Running{}
	for _, run := range l.state.Observed.Running {
		running[run.Project] = run
	}
	for _, s := range l.state.Before {
		rec := r.memory[s.Name]
		if (running[s.Name].Ours || l.state.Busy[s.Name]) && s.Invalid == "" && rec.File == "" {
			rec.File, rec.Blob, rec.Untracked = s.File, s.Blob, s.Untracked
			r.memory[s.Name] = rec
		}
	}
	for _, v := range l.plan.Views {
		if v.Wanted == nil || v.Wanted.Invalid != "" {
			continue
		}
		s, rec := *v.Wanted, r.memory[v.Name]
		if s.Mode == Ignored {
			there := l.state.Local == l.state.Remote
			switch moved := l.plan.Heirs[s.Name].File != ""; {
			case moved:
			case !there:
				rec.Ignored = true
				r.memory[s.Name] = rec
			case !rec.Ignored || rec.Applied != "":
				r.memory[s.Name] = renewed(rec, Record{File: s.File, Ignored: true, Tried: rec.Tried})
			}
			continue
		}
		if rec.Ignored {
			rec.Ignored = false
			r.memory[s.Name] = rec
		}
		if len(v.Next) == 0 && v.Held == nil && !v.Starting && v.Settled() {
			r.done[s.Name] = s.Digest
			if rec.Lasts(s.Digest, r.now) {
				if rec.Applied != s.Digest || rec.LastSuccess.IsZero() {
					rec.LastSuccess = r.now
				}
				rec = renewed(rec, recordOf(s))
				rec.Flaps = 0
				r.memory[s.Name] = rec
			}
		}
		if self, own := selfOf(v.Running); own && !slices.ContainsFunc(v.Differences, func(d Difference) bool { return d.Service == self.Service }) {
			for _, svc := range s.Services {
				if svc.Name == self.Service {
					rec := r.memory[s.Name]
					rec.Own = Own{Applied: svc.Version(l.state.Observed)}
					r.memory[s.Name] = rec
				}
			}
		}
	}
	for _, project := range l.plan.HandsOff {
		rec := r.memory[project]
		rec.Ignored = true
		r.memory[project] = rec
	}
	for project, file := range l.plan.Heirs {
		rec := r.memory[project]
		rec.SetHeir(file, l.state.Before)
		r.memory[project] = rec
	}
	if r.repair == nil {
		r.repair, r.first = l.state.Repair, map[string]bool{}
		for _, op := range l.plan.Ops {
			if op.Kind == Up {
				r.first[op.Stack] = true
			}
		}
	}
	for _, v := range l.plan.Views {
		if len(v.Differences) == 0 {
			delete(r.repair, v.Name)
			delete(r.first, v.Name)
		}
	}
	for name := range r.memory {
		wanted := slices.ContainsFunc(l.state.Wanted, func(s Stack) bool { return s.Name == name })
		if !wanted && !running[name].Ours && !l.state.Busy[name] {
			delete(r.memory, name)
		}
	}
}

func renewed(old, rec Record) Record {
	rec.Own, rec.LastSuccess, rec.Flaps = old.Own, old.LastSuccess, old.Flaps
	return rec
}

func recordOf(s Stack) Record {
	return Record{File: s.File, Blob: s.Blob, Untracked: s.Untracked, Applied: s.Digest, Tried: s.Digest}
}

// proceed lets one operation, chosen by chance, begin or go one step further.
func (r *robot) proceed() bool {
	for _, n := range r.g.Perm(len(r.jobs)) {
		j := r.jobs[n]
		switch {
		case j.begun.IsZero() && r.turn(j):
			r.begin(j)
		case !j.begun.IsZero():
			if j.Kind == Checkout && r.inTheWay(j.look) && r.now.Sub(j.look.at) < Patience {
				continue
			}
			if _, more := j.advance(); more {
				return true
			}
			r.end(j)
		default:
			continue
		}
		r.jobs = slices.DeleteFunc(r.jobs, func(j *job) bool { return j.ended })
		return true
	}
	return false
}

// inTheWay says whether a checkout moves files that an Up uses.
func (r *robot) inTheWay(checkout *look) bool {
	return slices.ContainsFunc(r.jobs, func(j *job) bool {
		return (j.Kind == Up || j.Kind == Before) && !j.begun.IsZero() && j.stack.UsesFiles() && !slices.ContainsFunc(checkout.state.Wanted, func(s Stack) bool {
			return s.Name == j.Stack && s.File == j.File && s.Invalid == "" && s.Digest == j.stack.Digest
		})
	})
}

// turn says whether a job's turn has come, be it only to be missed.
func (r *robot) turn(j *job) bool {
	for _, a := range j.After {
		before := j.look.jobs[a.ID]
		switch {
		case !before.ended && a.AtMost > 0 && r.now.Sub(before.since()) >= a.AtMost:
			continue
		case !before.ended:
			return false
		case !a.Ended && (before.err != nil || before.missed()):
			j.needs, j.stale = true, before.stale
			return true
		}
	}
	j.stale = j.Kind == HandOver && (len(r.jobs) > 1 || j.look.overtaken)
	if j.touches && (r.local != j.look.state.Remote && (j.Kind != Stop || r.local != j.look.state.Local)) {
		j.stale = true
	}
	checkout := slices.ContainsFunc(r.jobs, func(k *job) bool { return k.Kind == Checkout && !k.begun.IsZero() })
	return !j.touches || j.stale || !checkout
}

func (r *robot) begin(j *job) {
	j.begun = r.now
	if j.missed() {
		r.tell("  not tried: %s", j.ID)
		j.ended = true
		return
	}
	r.tell("  begin %s", j.ID)
	rec := r.memory[j.Stack]
	switch {
	case j.Kind == Up:
		rec.Tried = j.stack.Digest
		rec.Becomes(j.File)
		rec.File, rec.Blob, rec.Untracked = j.File, j.stack.Blob, j.stack.Untracked
		r.memory[j.Stack] = rec
	case j.Kind == Stop && j.Services != nil:
		rec.Tried = RoomDigest
		r.memory[j.Stack] = rec
	}
	r.begins(j)
	j.advance, j.cut = iter.Pull(func(yield func(struct{}) bool) {
		j.err = r.run(j, func() error {
			switch {
			case !yield(struct{}{}):
				return errCut
			case r.faults && r.g.IntN(10) == 0:
				return errFault
			default:
				return nil
			}
		})
	})
}

func (r *robot) run(j *job, do step) error {
	if err := do(); err != nil {
		return err
	}
	u, _ := j.look.head.of(j.File)
	switch j.Kind {
	case Stop:
		return r.stop(j.Op, do)
	case Checkout:
		r.local = j.look.state.Remote
		return nil
	case Pull:
		return r.pull(j.stack, j.Op, j.look.state.Observed, do)
	case Before:
		return r.hook(j.Op, do)
	case Up:
		if err := r.up(j.stack, u, j.Op, do); err != nil {
			return err
		}
		return r.hook(j.Op, do)
	default:
		return r.handOver(j.stack, u, j.Op)
	}
}

// hook runs the hooks of an operation, each of which may fail.
func (r *robot) hook(op Op, do step) error {
	for range op.Hooks {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

func (h *host) handOver(s Stack, u unit, op Op) error {
	i := slices.IndexFunc(s.Services, func(svc Service) bool { return svc.Name == op.Services[0] })
	h.pods = slices.DeleteFunc(h.pods, func(p *pod) bool { return p.Self })
	p, err := h.create(s, u, s.Services[i], 1)
	if err != nil {
		return err
	}
	p.Self, p.State = true, "running"
	return nil
}

// end is what the journal learns from an operation.
func (r *robot) end(j *job) {
	j.ended = true
	r.tell("  end %s: %v", j.ID, j.err)
	rec := r.memory[j.Stack]
	if j.Kind == Pull && j.err == nil {
		r.pulled(j)
	}
	var moved movedAgain
	switch {
	case j.Kind == Checkout:
		return
	case errors.As(j.err, &moved): // as if it had not been begun
		r.registry.told(moved.ref, r.now)
		return
	case j.Kind == HandOver || j.Kind == Pull && strings.HasSuffix(string(j.ID), "to hand over"):
		version := ""
		for _, svc := range j.stack.Services {
			if svc.Name == j.Services[0] {
				version = svc.Version(j.look.state.Observed)
			}
		}
		if j.err != nil {
			rec.Own = Own{Applied: rec.Own.Applied, Failed: version, Failures: rec.Own.Failures + 1, RetryAt: r.now.Add(10 * time.Second)}
			r.memory[j.Stack] = rec
			return
		}
		if j.Kind == HandOver {
			rec.Own = Own{Applied: version}
			r.memory[j.Stack] = rec
			r.restart()
		}
		return
	case j.err != nil:
		digest := j.stack.Digest
		if j.Kind == Stop && j.Services == nil {
			digest = StopDigest
		}
		if rec.Failed != digest {
			rec.Failures = 0
		}
		rec.Failed, rec.Error, rec.Ignored = digest, j.err.Error(), false
		rec.Failures++
		if j.Again {
			rec.Flaps = rec.Failures
		}
		rec.RetryAt = r.now.Add(pause(rec.Failures))
		if rec.File == "" && j.Kind == Stop {
			rec.File = j.File
		}
		r.memory[j.Stack] = rec
		delete(r.repair, j.Stack)
	case j.Kind == Stop && j.Services == nil:
		if j.Cause.Why != Moved || j.File != j.stack.File || j.stack.Name != j.Stack {
			delete(r.memory, j.Stack)
		}
	case j.Kind == Up:
		flaps := rec.Flaps + 1
		heir, of, former := rec.Heir, rec.HeirOf, rec.FormerHeir // which a look found meanwhile
		rec = renewed(rec, recordOf(j.stack))
		rec.Heir, rec.HeirOf, rec.FormerHeir = heir, of, former
		rec.LastSuccess, rec.Flaps = r.now, 0
		if j.Again {
			rec.Flaps, rec.Failures, rec.Failed = flaps, flaps, j.stack.Digest
			rec.RetryAt = r.now.Add(pause(flaps))
		}
		r.memory[j.Stack] = rec
		delete(r.repair, j.Stack)
		delete(r.first, j.Stack)
		r.done[j.Stack] = j.stack.Digest
	}
}

func pause(failures int) time.Duration {
	return min(10*time.Second<<min(failures-1, 10), time.Hour)
}

// restart ends the daemon, and what it was at, and starts it again.
func (r *robot) restart() {
	r.tell("restart")
	for _, j := range r.jobs {
		if !j.begun.IsZero() && !j.ended {
			j.cut()
		}
		j.ended = true
	}
	r.jobs, r.repair, r.first = nil, nil, nil
}
