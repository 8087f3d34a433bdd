//go:build engine

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// soak is a host on which everything happens at random.
type soak struct {
	*host
	t       *testing.T
	proxy   *proxy
	random  *rand.Rand
	image   string
	want    want
	folder  map[string]string // of each stack
	gen     int
	head    string
	volumes map[string]string // when they were made, of those that are to be there for good
	done    map[string]int    // how often each thing was done
	edited  []string          // files that were changed by hand
	alive   bool
}

const soakStacks = 12

// TestSoak makes random commits over twelve stacks, which add, change, remove,
// move and rename them, while the daemon is killed, containers are deleted, calls
// of the engine fail, the remote is away and files are changed by hand in the
// clone, all at random. Whenever it is left alone, and what was changed by hand is
// undone, the engine's state becomes the wanted one.
//
// SOAK_COMMITS is the number of commits, SOAK_SEED repeats the choices.
func TestSoak(t *testing.T) {
	commits, seed := number(t, "SOAK_COMMITS", 30), number(t, "SOAK_SEED", int(time.Now().UnixNano()&0xffffffff))
	t.Logf("SOAK_SEED=%d SOAK_COMMITS=%d", seed, commits)
	h, ref := ownImage(t)
	s := &soak{
		host: h, t: t, proxy: h.behindProxy(), image: ref, want: want{}, folder: map[string]string{}, volumes: map[string]string{}, done: map[string]int{},
		random: rand.New(rand.NewPCG(uint64(seed), 1)),
	}
	if s.random.IntN(2) == 0 {
		h.env["REPOSITORY_LOCAL_CHANGES"] = "keep"
		s.done["local changes kept"]++
	}
	s.commit()
	s.revive()
	for made := 1; made < commits; {
		// A burst of commits and mishaps, and then peace.
		for range 1 + s.random.IntN(4) {
			s.commit()
			made++
			s.mishap()
		}
		s.peace(made)
	}
	t.Logf("%d commits, seed %d: %v", s.gen, seed, s.done)
}

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// commit adds, changes and removes some stacks.
func (s *soak) commit() {
	s.t.Helper()
	s.gen++
	for range 1 + s.random.IntN(3) {
		name := fmt.Sprintf("s%02d", s.random.IntN(soakStacks))
		if s.want[name] != nil && len(s.want) > 1 && s.random.IntN(4) == 0 {
			s.remove(s.folder[name])
			delete(s.want, name)
			delete(s.folder, name)
			s.done["stack removed"]++
			continue
		}
		if s.want[name] != nil && s.random.IntN(3) == 0 {
			s.relocate(name)
			continue
		}
		if s.want[name] == nil {
			s.want[name] = map[string]string{"app": ""}
			s.folder[name] = fmt.Sprintf("%s-%d", name, s.gen)
			s.done["stack added"]++
		} else {
			s.done["stack changed"]++
		}
		s.want[name]["app"] = fmt.Sprint(s.gen)
		switch s.random.IntN(4) {
		case 0:
			s.want[name]["tail"] = fmt.Sprint(s.gen)
		case 1:
			s.want[name]["side"] = fmt.Sprint(s.gen)
		case 2:
			delete(s.want[name], "side")
		}
		s.write(s.folder[name]+"/compose.yaml", s.file(name))
	}
	s.head = s.push(fmt.Sprintf("commit %d", s.gen))
	if s.alive && s.random.IntN(4) > 0 {
		s.ask()
	}
}

// relocate gives a stack another folder, or another name, or the name of another
// stack, which gets its name.
func (s *soak) relocate(name string) {
	s.t.Helper()
	other := fmt.Sprintf("s%02d", s.random.IntN(soakStacks))
	switch kind := s.random.IntN(2); {
	case kind == 0 || other == name:
		to := fmt.Sprintf("%s-%d", name, s.gen)
		if to == s.folder[name] {
			return
		}
		if err := os.Rename(filepath.Join(s.work, s.folder[name]), filepath.Join(s.work, to)); err != nil {
			s.t.Fatal(err)
		}
		s.folder[name] = to
		s.done["stack moved"]++
	case s.want[other] == nil:
		s.want[other], s.folder[other] = s.want[name], s.folder[name]
		delete(s.want, name)
		delete(s.folder, name)
		s.write(s.folder[other]+"/compose.yaml", s.file(other))
		s.done["stack renamed"]++
	default:
		s.want[name], s.want[other] = s.want[other], s.want[name]
		s.folder[name], s.folder[other] = s.folder[other], s.folder[name]
		s.write(s.folder[name]+"/compose.yaml", s.file(name))
		s.write(s.folder[other]+"/compose.yaml", s.file(other))
		s.done["names swapped"]++
	}
}

// file is a stack's file. The names of its services say what they are.
func (s *soak) file(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nvolumes: {data: {}}\nservices:\n", s.project(name))
	for _, service := range slices.Sorted(maps.Keys(s.want[name])) {
		gen := s.want[name][service]
		extra := map[string]string{"app": ", volumes: ['data:/data']", "tail": ", network_mode: 'service:app'"}[service]
		fmt.Fprintf(&b, "  %s: {image: '%s', command: [sleep, '100000'], stop_grace_period: 0s, labels: {gen: '%s'}%s}\n", service, s.image, gen, extra)
	}
	return b.String()
}

// ask triggers a check; the daemon may be about to die.
func (s *soak) ask() {
	resp, err := http.Post(s.daemon.base+"/webhook", "application/json", strings.NewReader("{}"))
	if err == nil {
		_ = resp.Body.Close()
		s.done["check asked for"]++
	}
}

func (s *soak) mishap() {
	s.t.Helper()
	switch s.random.IntN(8) {
	case 7:
		s.edit()
	case 6:
		s.down.Store(true)
		s.done["remote away"]++
	case 0: // at a random call of a sync
		if !s.alive {
			s.revive()
		}
		d := s.daemon
		r := s.proxy.arm(&rule{match: mutates, nth: 1 + s.random.IntN(12), what: []fault{cut, lost}[s.random.IntN(2)], do: d.kill})
		s.ask()
		select {
		case <-r.hit:
			s.done["kill in a call"]++
		case <-time.After(3 * time.Second): // there were fewer
			s.proxy.disarm()
			d.kill()
			s.done["kill between calls"]++
		}
		s.alive = false
	case 1, 2:
		all := s.all()
		if len(all) == 0 {
			return
		}
		if err := s.api.ContainerRemove(context.Background(), all[s.random.IntN(len(all))], container.RemoveOptions{Force: true}); err == nil {
			s.done["container deleted"]++
		}
	case 3:
		if s.alive {
			s.proxy.arm(&rule{match: mutates, nth: 1 + s.random.IntN(8), what: []fault{answers500, cut, lost}[s.random.IntN(3)]})
			s.done["call fails"]++
		}
	case 4:
		if s.alive {
			s.proxy.arm(&rule{match: func(string) bool { return true }, nth: 1 + s.random.IntN(40), what: []fault{answers500, cut}[s.random.IntN(2)]})
			s.done["any call fails"]++
		}
	case 5:
		s.done["nothing"]++
	}
}

// edit changes a tracked file in the clone, as a person does.
func (s *soak) edit() {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.clone, "*", "compose.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	if len(files) == 0 {
		return
	}
	f, err := os.OpenFile(files[s.random.IntN(len(files))], os.O_APPEND|os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) { // a checkout was faster
		return
	}
	if err == nil {
		_, err = f.WriteString("# by hand\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.edited = append(s.edited, f.Name())
	s.done["file changed by hand"]++
}

// undo takes back what was changed by hand, as far as it is still there and git
// in the clone is not just used by the daemon: peace tries it again.
func (s *soak) undo() {
	for _, path := range s.edited {
		rel, err := filepath.Rel(s.clone, path)
		if err != nil {
			s.t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(text), "# by hand\n") {
			continue
		}
		_, _ = gittest.Try(s.clone, "checkout", "--", rel)
	}
}

// all are the containers of this test.
func (s *soak) all() []string {
	s.t.Helper()
	var ids []string
	for _, name := range slices.Sorted(maps.Keys(s.want)) {
		for _, c := range s.containers(name) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// revive starts the daemon when it is dead.
func (s *soak) revive() {
	s.t.Helper()
	s.proxy.disarm()
	s.start()
	s.alive = true
}

// peace lets nothing more happen, and waits until all is as wanted.
func (s *soak) peace(made int) {
	s.t.Helper()
	s.proxy.disarm()
	s.down.Store(false)
	s.undo()
	started := time.Now()
	if !s.alive {
		s.revive()
	} else {
		s.ask()
	}
	// Pauses before retries get longer with each mishap of a stack.
	deadline, again := time.NewTimer(4*time.Minute), time.NewTicker(100*time.Millisecond)
	defer deadline.Stop()
	defer again.Stop()
	for err := s.off(); err != nil; err = s.off() {
		s.undo()
		select {
		case <-again.C:
		case <-deadline.C:
			st, statusErr := s.status()
			s.t.Fatalf("after %d commits: %v\nstatus: %+v %v", made, err, st.Stacks, statusErr)
		}
	}
	s.edited = nil
	for name := range s.want {
		v, err := s.api.VolumeInspect(context.Background(), s.project(name)+"_data")
		if err != nil {
			s.t.Fatal(err)
		}
		s.volumes[v.Name] = v.CreatedAt
	}
	s.t.Logf("%3d commits: as wanted after %.1f s, %d stacks", made, time.Since(started).Seconds(), len(s.want))
}

func (s *soak) off() error {
	if err := s.differs(s.want); err != nil {
		return err
	}
	if head, err := gittest.Try(s.clone, "rev-parse", "HEAD"); err != nil || head != s.head {
		return fmt.Errorf("the clone is at %s, want %s (%w)", head, s.head, err)
	}
	if changed, err := gittest.Try(s.clone, "status", "--porcelain"); err != nil || changed != "" {
		return fmt.Errorf("git status of the clone: %s (%w)", changed, err)
	}
	for name, created := range s.volumes {
		v, err := s.api.VolumeInspect(context.Background(), name)
		if err != nil || v.CreatedAt != created {
			s.t.Fatalf("volume %s of %s is lost: %v", name, created, err)
		}
	}
	st, err := s.status()
	if err != nil {
		return err
	}
	for _, x := range st.Stacks {
		if x.Status != report.Running || x.Sync != report.Synced {
			return fmt.Errorf("%s is %s, %s: %s %s", x.Name, x.Status, x.Sync, x.Reason, x.Error)
		}
	}
	if !st.Ready || len(st.Stacks) != len(s.want) {
		return errors.New("not ready")
	}
	return nil
}
