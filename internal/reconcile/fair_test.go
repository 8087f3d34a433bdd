package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

// fair is for how long stacks may delay one that has nothing to do with them.
const fair = time.Second

// TestWhatIsSlowOrFailsDelaysNobodyElse pushes commits while other stacks are
// slow or fail, and sees how long it takes until each is looked at, until the
// clone is at it, and until a stack that it changes is up. The time is synthetic:
// all of it is spent on waiting for others.
func TestWhatIsSlowOrFailsDelaysNobodyElse(t *testing.T) {
	for name, c := range map[string]struct {
		goesOn []func(*scene)
		// parallel is MAX_PARALLEL_STACKS, if it is not the default.
		parallel int
		// changes is the stack that commits change; z if it is empty.
		changes string
		// waits is for how long a checkout waits, if it does.
		waits time.Duration
	}{
		"a pull of ten minutes":                                        {goesOn: do(pulling)},
		"a pull of ten minutes for a stack that moves":                 {goesOn: do(moving)},
		"a stack that takes five minutes to become healthy":            {goesOn: do(starting(1))},
		"more of these than are brought up at once":                    {goesOn: do(starting(9))},
		"a service that waits five minutes for another of its stack":   {goesOn: do(waiting(1))},
		"more of those than are brought up at once":                    {goesOn: do(waiting(9))},
		"a stop of ten minutes":                                        {goesOn: do(stopping)},
		"a stop of ten minutes of what uses files of the clone":        {goesOn: do(stoppingWith(files(stack("stopped")))), waits: plan.StopPatience},
		"more of those than are brought up at once, of what uses none": {goesOn: do(leaving)},
		"an Up of ten minutes":                                         {goesOn: do(creating)},
		"fifty stacks in back-off":                                     {goesOn: do(refused)},
		"fifty stacks that end soon after each start":                  {goesOn: do(dying)},
		"fifty retries of a minute that are due at once":               {goesOn: do(retried)},
		"those, where one stack is brought up at a time":               {goesOn: do(retried), parallel: 1},
		"those, where the commit mends one that is yet to come":        {goesOn: do(retried), changes: "retried49"},
		"fifty stops of a minute that are tried again":                 {goesOn: do(clinging)},
		"all but the slow Up":                                          {goesOn: do(pulling, moving, starting(9), waiting(9), stopping, refused, dying, retried)},
		"all of that, where one stack is brought up at a time":         {goesOn: do(pulling, moving, starting(9), waiting(9), refused, dying, retried), parallel: 1},
	} {
		bubble(t, name, func(t *testing.T) {
			s := &scene{world: newWorld(t), t: t, stack: files(stack("z"))}
			if c.changes != "" {
				s.stack = files(stack(c.changes))
			}
			for _, begin := range c.goesOn {
				begin(s)
			}
			s.commits["c1"] = s.with(s.first, 1)
			d := start(t, s.world, s.watched, func(o *Options) {
				if c.parallel > 0 {
					o.Parallel = c.parallel
				}
			})
			pass(backoff(1) + time.Second/2) // the first retries are under way
			s.pushes(d, 2, fair+c.waits)
			pass(backoff(2) + time.Second/2) // and the next ones
			s.pushes(d, 3, fair)
			d.stop()
		})
	}
}

func do(what ...func(*scene)) []func(*scene) { return what }

// scene is a world in which something goes on beside the stack that is watched.
type scene struct {
	*world
	t     *testing.T
	stack plan.Stack
	// first are the other stacks of the first commit, then those of the next ones.
	first, then []plan.Stack
	// slow are stacks of which an operation lasts from the second commit on.
	slow []string
}

// add adds a stack to the commits: to those from the second on only if it is new
// there.
func (s *scene) add(isNew bool, stack plan.Stack) {
	if !isNew {
		s.first = append(s.first, stack)
	}
	s.then = append(s.then, stack)
}

// with gives stacks and the one that is watched.
func (s *scene) with(stacks []plan.Stack, v int) []plan.Stack {
	others := slices.DeleteFunc(slices.Clone(stacks), func(o plan.Stack) bool { return o.Name == s.stack.Name })
	return append(others, version(v, s.stack))
}

// pushes pushes a commit with a version of the stack that is watched, and sees
// that what follows happens in time.
func (s *scene) pushes(d *daemon, v int, within time.Duration) {
	s.t.Helper()
	commit, pushed := fmt.Sprint("c", v), time.Now()
	took := map[string]time.Duration{}
	note := func(what string) func(context.Context) error {
		return func(context.Context) error { took[what] = time.Since(pushed); return nil }
	}
	s.on("checkout", note("checked out"))
	s.on("up "+s.stack.Name, note("up"))
	s.push(commit, s.with(s.then, v)...)
	d.look()
	for !strings.Contains(d.runs(), version(v, s.stack).Digest) {
		if time.Since(pushed) > 2*time.Hour {
			s.t.Fatalf("%s is not up two hours after the push of %s", s.stack.Name, commit)
		}
		pass(time.Second / 2)
	}
	for _, l := range slices.Backward(d.looksSoFar()) {
		if l.To == commit {
			took["looked at"] = l.At.Sub(pushed)
		}
	}
	for what, delay := range took {
		s.t.Logf("%s is %s %s after the push", commit, what, delay)
		if delay > within {
			s.t.Errorf("%s is %s only %s after the push", commit, what, delay)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.slow {
		if s.active[name] == 0 {
			s.t.Errorf("nothing is slow: there is no operation on %s", name)
		}
	}
}

func pulling(s *scene) {
	s.add(true, stack("pulled"))
	s.on("pull pulled", takes(10*time.Minute))
	s.slow = append(s.slow, "pulled")
}

// moving lets a stack move to another name, with a new image.
func moving(s *scene) {
	old, moved := files(stack("old")), version(2, files(stack("moved")))
	moved.File = old.File
	s.first = append(s.first, old)
	s.add(true, moved)
	s.on("pull moved", takes(10*time.Minute))
	s.slow = append(s.slow, "moved")
}

// starting are stacks that take long to become healthy.
func starting(n int) func(*scene) {
	return func(s *scene) {
		for i := range n {
			name := fmt.Sprint("starting", i)
			s.add(true, files(stack(name)))
			s.on("settle "+name, takes(5*time.Minute))
			s.slow = append(s.slow, name)
		}
	}
}

// waiting are stacks of which a service waits for another one before it starts.
func waiting(n int) func(*scene) {
	return func(s *scene) {
		for i := range n {
			name := fmt.Sprint("waiting", i)
			s.add(true, files(stack(name)))
			s.on("wait "+name, takes(5*time.Minute))
			s.slow = append(s.slow, name)
		}
	}
}

func stopping(s *scene) { stoppingWith(stack("stopped"))(s) }

func stoppingWith(gone plan.Stack) func(*scene) {
	return func(s *scene) {
		s.first = append(s.first, gone)
		s.on("down "+gone.Name, takes(10*time.Minute))
		s.slow = append(s.slow, gone.Name)
	}
}

// leaving are stacks that take long to stop.
func leaving(s *scene) {
	for i := range 50 {
		gone := stack(fmt.Sprint("leaving", i))
		s.first = append(s.first, gone)
		s.on("down "+gone.Name, takes(10*time.Minute))
	}
	s.slow = append(s.slow, "leaving0")
}

// creating is a stack whose Up takes the engine long, and whose files stay.
func creating(s *scene) {
	s.add(true, files(stack("created")))
	s.on("up created", takes(10*time.Minute))
	s.slow = append(s.slow, "created")
}

// fifty adds stacks with a hook for each, which are gone from the second commit on
// or stay.
func fifty(s *scene, gone bool, name, what string, hook func(name string) func(context.Context) error) {
	for i := range 50 {
		stack := files(stack(fmt.Sprint(name, i)))
		if gone {
			s.first = append(s.first, stack)
		} else {
			s.add(false, stack)
		}
		s.on(what+" "+stack.Name, hook(stack.Name))
	}
}

func refused(s *scene) {
	fifty(s, false, "refused", "up", func(string) func(context.Context) error { return fails("port is taken") })
}

// dying are stacks whose containers end while they are waited for.
func dying(s *scene) {
	fifty(s, false, "dying", "settle", func(name string) func(context.Context) error {
		return func(context.Context) error {
			s.crash(name)
			s.tell(name)
			return nil
		}
	})
}

// retried are stacks whose Up fails at once, and then after a minute.
func retried(s *scene) { fifty(s, false, "retried", "up", onceAtOnce) }

// clinging are stacks whose stop does.
func clinging(s *scene) { fifty(s, true, "clinging", "down", onceAtOnce) }

// onceAtOnce fails at once, and then after a minute.
func onceAtOnce(string) func(context.Context) error {
	again := false
	return func(ctx context.Context) error {
		if again {
			if err := takes(time.Minute)(ctx); err != nil {
				return err
			}
		}
		again = true
		return errors.New("it broke")
	}
}
