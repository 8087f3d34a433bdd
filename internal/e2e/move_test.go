//go:build engine

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// folder writes a stack that has the name of its folder.
func (h *ownHost) folder(name, body string) {
	h.write(h.project(name)+"/compose.yaml", h.expand(strings.ReplaceAll(body, "BASE", h.image)))
}

// move is a git mv of such a folder.
func (h *ownHost) move(from, to string) {
	h.t.Helper()
	gittest.Git(h.t, h.work, "mv", h.project(from), h.project(to))
}

// story is what the engine told of the starts and ends of a host's containers.
type story struct {
	h    *host
	mu   sync.Mutex
	told []chapter
	lost error
}

// chapter is a container that began or ended: "web app".
type chapter struct {
	begins bool
	id     string
	what   string
}

// watch notes what happens from now on, to the end of the test.
func (h *host) watch() *story {
	s := &story{h: h}
	messages, errs := h.api.Events(h.t.Context(), events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", "container"), filters.Arg("event", "start"), filters.Arg("event", "die"), filters.Arg("label", "com.docker.compose.project"),
	)})
	go func() {
		for {
			select {
			case m := <-messages:
				if name, mine := strings.CutPrefix(m.Actor.Attributes["com.docker.compose.project"], h.prefix+"-"); mine {
					s.mu.Lock()
					s.told = append(s.told, chapter{m.Action == events.ActionStart, m.Actor.ID, name + " " + m.Actor.Attributes["com.docker.compose.service"]})
					s.mu.Unlock()
				}
			case err := <-errs:
				s.mu.Lock()
				s.lost = err
				s.mu.Unlock()
				return
			}
		}
	}()
	return s
}

// never expects that containers of which one is given by old and one by young
// did not run at the same time, and that young was started: "web app", or "web "
// for all services of web.
func (s *story) never(old, young string) {
	s.h.t.Helper()
	var told []chapter
	s.h.eventually("the engine tells of the start of "+young, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		told = slices.Clone(s.told)
		if s.lost != nil {
			s.h.t.Fatalf("the engine's events: %v", s.lost)
		}
		if !slices.ContainsFunc(told, func(c chapter) bool { return c.begins && strings.HasPrefix(c.what, young) }) {
			return errors.New("not yet")
		}
		return nil
	})
	olds, youngs := map[string]bool{}, map[string]bool{}
	for _, c := range told {
		for prefix, run := range map[string]map[string]bool{old: olds, young: youngs} {
			switch {
			case !strings.HasPrefix(c.what, prefix):
			case c.begins:
				run[c.id] = true
			default:
				delete(run, c.id)
			}
		}
		if len(olds) > 0 && len(youngs) > 0 {
			s.h.t.Errorf("%s and %s ran at the same time: %+v", old, young, told)
			return
		}
	}
	if !slices.ContainsFunc(told, func(c chapter) bool { return c.begins && strings.HasPrefix(c.what, old) }) {
		s.h.t.Errorf("the engine did not tell of %s: %+v", old, told)
	}
}

// gone expects that nothing is left of a project but its volumes.
func (h *ownHost) gone(name string) {
	h.t.Helper()
	h.runs(name)
	networks, err := h.api.NetworkList(context.Background(), networkList(projectArgs(h.project(name))))
	h.must(err)
	if len(networks) > 0 {
		h.t.Errorf("networks of %s are left: %+v", name, networks)
	}
}

// holds expects that a stack is held for a reason, in a text with these words.
func (h *ownHost) holds(s status, name, held string, words ...string) {
	h.t.Helper()
	st := s.stack(h.t, h.project(name))
	if st.Held != held || st.Status == report.Running {
		h.t.Errorf("%s is %s, held %q, want %q: %s", name, st.Status, st.Held, held, st.Reason)
	}
	for _, w := range words {
		if !strings.Contains(st.Reason, w) {
			h.t.Errorf("no %q in %q", w, st.Reason)
		}
	}
}

func TestAFolderThatMovesTakesItsPlaceWhenItsImagesAreHere(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	story := h.watch()
	reg := h.newImages(false)
	first, second := reg.put("blog:1", "1", 1000), reg.put("blog:2", "2", 1000)
	h.folder("blog", of(first))
	h.push("add blog")
	h.first()
	before := h.runs("blog", "app")

	asked, goOn := make(chan struct{}), make(chan struct{})
	ask := sync.OnceFunc(func() { close(asked) })
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	reg.fail("blog", func(http.ResponseWriter, *http.Request) bool {
		ask()
		<-goOn
		return false
	})
	h.move("blog", "weblog")
	h.folder("weblog", of(second))
	h.push("move blog, and update it")
	h.trigger()
	h.eventually("the image of weblog is pulled", func() error {
		select {
		case <-asked:
			return nil
		default:
			return errors.New("not yet")
		}
	})
	if now := h.runs("blog", "app"); now["app"] != before["app"] {
		t.Error("the old one was replaced")
	}
	h.runs("weblog")
	release()
	h.becomes("weblog", running)
	h.gone("blog")
	if v := h.version("weblog"); v != "2" {
		t.Errorf("weblog runs version %s", v)
	}
	story.never("blog ", "weblog ")
	if s := h.settle(); len(s.Stacks) != 1 || !s.Ready {
		t.Errorf("ready %v, %+v", s.Ready, s.Stacks)
	}
}

func TestAFolderThatMovesAwayFromItsVolumeIsHeldAndTheOldNameIsAWayOut(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.folder("blog", withVolume)
	h.push("add blog")
	h.first()
	before := h.runs("blog", "app")
	h.exec(before["app"], "touch", "/data/precious")
	h.move("blog", "weblog")
	h.push("move blog")
	for range 2 {
		s := h.settle()
		h.holds(s, "weblog", "data", h.project("blog")+"_data", h.project("weblog")+"_data", "name: "+h.project("blog"), "gitops.data=new")
		if now := h.runs("blog", "app"); now["app"] != before["app"] {
			t.Error("the old one was touched")
		}
		h.runs("weblog")
	}
	h.folder("weblog", "\nname: PREFIX-blog"+withVolume)
	h.push("keep the name")
	s := h.settle()
	if st := s.stack(t, h.project("blog")); !running(st) || len(s.Stacks) != 1 {
		t.Errorf("%+v", s.Stacks)
	}
	h.exec(h.runs("blog", "app")["app"], "test", "-f", "/data/precious")
	h.runs("weblog")
}

func TestAFolderThatMovesStartsEmptyWhereGitSaysSo(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	story := h.watch()
	h.folder("blog", withVolume)
	h.push("add blog")
	h.first()
	h.exec(h.runs("blog", "app")["app"], "touch", "/data/precious")
	data := h.created(h.project("blog") + "_data")
	h.move("blog", "weblog")
	h.folder("weblog", strings.Replace(withVolume, "command", "labels: {gitops.data: new}, command", 1))
	h.push("move blog, without its data")
	s := h.settle()
	if st := s.stack(t, h.project("weblog")); !running(st) || len(s.Stacks) != 1 {
		t.Errorf("%+v", s.Stacks)
	}
	h.gone("blog")
	h.exec(h.runs("weblog", "app")["app"], "test", "!", "-e", "/data/precious")
	if h.created(h.project("blog")+"_data") != data {
		t.Error("the old volume is another one")
	}
	story.never("blog ", "weblog ")
}

func TestAVolumeWithANameOfItsOwnIsNoReasonToHoldAMove(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	story := h.watch()
	body := strings.Replace(withVolume, "data: {}", "data: {name: PREFIX-precious}", 1)
	h.folder("blog", body)
	h.push("add blog")
	h.first()
	h.exec(h.runs("blog", "app")["app"], "touch", "/data/precious")
	h.move("blog", "weblog")
	h.push("move blog")
	s := h.settle()
	if st := s.stack(t, h.project("weblog")); !running(st) || len(s.Stacks) != 1 {
		t.Errorf("%+v", s.Stacks)
	}
	h.gone("blog")
	h.exec(h.runs("weblog", "app")["app"], "test", "-f", "/data/precious")
	story.never("blog ", "weblog ")
}

func TestAFolderOfDataThatStaysBehindHoldsAMoveUntilItIsMoved(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	story := h.watch()
	h.folder("blog", strings.Replace(one, "command", "volumes: ['./data:/data'], command", 1))
	h.push("add blog")
	h.first()
	before := h.runs("blog", "app")
	h.exec(before["app"], "touch", "/data/precious")
	h.move("blog", "weblog")
	h.push("move blog")
	old, young := filepath.Join(h.project("blog"), "data"), filepath.Join(h.project("weblog"), "data")
	for range 2 {
		h.holds(h.settle(), "weblog", "data", "./"+old, "./"+young)
		if now := h.runs("blog", "app"); now["app"] != before["app"] {
			t.Error("the old one was touched")
		}
		h.runs("weblog")
	}
	h.must(os.Rename(filepath.Join(h.clone, old), filepath.Join(h.clone, young)))
	s := h.settle()
	if st := s.stack(t, h.project("weblog")); !running(st) || len(s.Stacks) != 1 {
		t.Errorf("%+v", s.Stacks)
	}
	h.gone("blog")
	h.exec(h.runs("weblog", "app")["app"], "test", "-f", "/data/precious")
	story.never("blog ", "weblog ")
}

func TestAnEnvFileThatStaysBehindHoldsAMoveUntilItIsMoved(t *testing.T) {
	for file, c := range map[string]struct{ body, held string }{
		".env":    {strings.Replace(one, "command", "environment: {SECRET: '${SECRET:-none}'}, command", 1), "data"},
		"app.env": {strings.Replace(one, "command", "env_file: app.env, command", 1), "invalid"},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			h := newOwnHost(t)
			h.write(".gitignore", ".env\napp.env\n")
			h.push("ignore")
			h.first()
			old, young := filepath.Join(h.project("blog"), file), filepath.Join(h.project("weblog"), file)
			gittest.Write(t, h.clone, old, "SECRET=by-hand\n")
			h.folder("blog", c.body)
			h.push("add blog")
			h.settle()
			before := h.runs("blog", "app")
			h.move("blog", "weblog")
			h.push("move blog")
			for range 2 {
				s := h.settle()
				h.holds(s, "weblog", c.held, young)
				if c.held == "data" {
					h.holds(s, "weblog", c.held, "mv "+old+" "+young)
				}
				if now := h.runs("blog", "app"); now["app"] != before["app"] {
					t.Error("the old one was touched")
				}
				h.runs("weblog")
			}
			h.must(os.Rename(filepath.Join(h.clone, old), filepath.Join(h.clone, young)))
			h.settle()
			h.gone("blog")
			if env := h.exec(h.runs("weblog", "app")["app"], "env"); !strings.Contains(env, "SECRET=by-hand") {
				t.Errorf("environment: %s", env)
			}
		})
	}
}

func TestAStackWithAnotherNameTakesThePlaceOfItself(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	story := h.watch()
	h.write("blog/compose.yaml", h.expand("name: PREFIX-old"+one))
	h.push("add blog")
	h.first()
	h.runs("old", "app")
	h.write("blog/compose.yaml", h.expand("name: PREFIX-young"+one))
	h.push("rename it")
	s := h.settle()
	if st := s.stack(t, h.project("young")); !running(st) || len(s.Stacks) != 1 {
		t.Errorf("%+v", s.Stacks)
	}
	h.gone("old")
	h.runs("young", "app")
	story.never("old ", "young ")
}

func TestTwoStacksSwapTheirNamesInOneCommit(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	stack := func(folder, name string) {
		h.write(folder+"/compose.yaml", h.expand("name: PREFIX-"+name+strings.Replace(one, "command", "environment: {FOLDER: "+folder+"}, command", 1)))
	}
	is := func(name, folder string) {
		t.Helper()
		if env := h.exec(h.runs(name, "app")["app"], "env"); !strings.Contains(env, "FOLDER="+folder) {
			t.Errorf("%s is not what %s has: %s", name, folder, env)
		}
	}
	stack("x", "one")
	stack("y", "two")
	h.push("add both")
	h.first()
	is("one", "x")
	is("two", "y")
	stack("x", "two")
	stack("y", "one")
	h.push("swap their names")
	s := h.settle()
	is("one", "y")
	is("two", "x")
	for _, st := range s.Stacks {
		if !running(st) {
			t.Errorf("%s is %s, %s: %s %s", st.Name, st.Status, st.Sync, st.Reason, st.Error)
		}
	}
}

func TestTwoStacksSwapTheirPortsInOneCommit(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	ports := []int{freePort(t), freePort(t)}
	stack := func(name string, port int) {
		h.stack(name, strings.Replace(one, "command", fmt.Sprintf("ports: ['127.0.0.1:%d:80'], command", port), 1))
	}
	has := func(name string, port int) {
		t.Helper()
		c, err := h.api.ContainerInspect(context.Background(), h.runs(name, "app")["app"])
		h.must(err)
		if got := c.NetworkSettings.Ports["80/tcp"]; len(got) != 1 || got[0].HostPort != fmt.Sprint(port) {
			t.Errorf("%s has %+v, want %d", name, got, port)
		}
	}
	stack("a", ports[0])
	stack("b", ports[1])
	h.push("add both")
	h.first()
	has("a", ports[0])
	has("b", ports[1])
	stack("a", ports[1])
	stack("b", ports[0])
	h.push("swap their ports")
	s := h.settle()
	has("a", ports[1])
	has("b", ports[0])
	for _, st := range s.Stacks {
		if !running(st) || st.Error != "" {
			t.Errorf("%s is %s, %s: %s %s", st.Name, st.Status, st.Sync, st.Reason, st.Error)
		}
	}
	for _, op := range s.Checks[0].Operations {
		if op.Error != "" {
			t.Errorf("%s %s: %s", op.Kind, op.Stack, op.Error)
		}
	}
}

func TestAServiceThatMovesToAnotherStackNeverRunsTwice(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	story := h.watch()
	h.stack("from", two)
	h.stack("to", one)
	h.push("add both")
	h.first()
	from, to := h.runs("from", "app", "side"), h.runs("to", "app")
	h.stack("from", one)
	h.stack("to", two)
	h.push("move side")
	h.settle()
	if now := h.runs("from", "app"); now["app"] != from["app"] {
		t.Error("the service that stays was replaced")
	}
	if now := h.runs("to", "app", "side"); now["app"] != to["app"] {
		t.Error("the service that was there before was replaced")
	}
	story.never("from side", "to side")
}

func TestAServiceThatMovesAwayFromItsVolumeStaysWhereItIs(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	both := two + "volumes: {data: {}}\n"
	both = strings.Replace(both, "side: {image", "side: {volumes: ['data:/data'], image", 1)
	h.stack("from", both)
	h.stack("to", one)
	h.push("add both")
	h.first()
	from, to := h.runs("from", "app", "side"), h.runs("to", "app")
	h.exec(from["side"], "touch", "/data/precious")
	h.stack("from", one)
	h.stack("to", both)
	h.push("move side")
	h.holds(h.settle(), "to", "data", h.project("from")+"_data", h.project("to")+"_data")
	if now := h.runs("from", "app", "side"); now["side"] != from["side"] {
		t.Error("the service was replaced where it stays")
	}
	if now := h.runs("to", "app"); now["app"] != to["app"] {
		t.Error("the stack that is held was touched")
	}
	h.stack("from", both)
	h.stack("to", one)
	h.push("move it back")
	s := h.settle()
	if now := h.runs("from", "app", "side"); now["side"] != from["side"] {
		t.Error("the service was replaced where it is")
	}
	for _, st := range s.Stacks {
		if !running(st) {
			t.Errorf("%s is %s, %s: %s %s", st.Name, st.Status, st.Sync, st.Reason, st.Error)
		}
	}
}

func TestAFolderThatMovedBeforeAndGetsAnotherNameIsHeldForItsVolume(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.folder("blog", "\nname: PREFIX-old"+withVolume)
	h.push("add blog")
	h.first()
	before := h.runs("old", "app")
	h.exec(before["app"], "touch", "/data/precious")
	h.move("blog", "weblog")
	h.push("move blog")
	h.settle()
	if now := h.runs("old", "app"); now["app"] != before["app"] {
		t.Fatal("the move replaced the container")
	}
	h.folder("weblog", "\nname: PREFIX-young"+withVolume)
	h.push("rename it")
	for range 2 {
		h.holds(h.settle(), "young", "data", h.project("old")+"_data", h.project("young")+"_data")
		if now := h.runs("old", "app"); now["app"] != before["app"] {
			t.Error("the old one was touched")
		}
		h.runs("young")
	}
	// What its container says of its folder is two commits old, and the journal
	// may be lost.
	h.stop()
	h.must(os.RemoveAll(filepath.Join(h.clone, ".git", "gitops-compose")))
	h.first()
	if now := h.runs("old", "app"); now["app"] != before["app"] {
		t.Error("the old one was touched after a restart without the journal")
	}
}

func TestASlowStopIsWaitedForByTheOneThatTakesThePlace(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	story := h.watch()
	shared := t.TempDir()
	body := fmt.Sprintf(`
services:
  app:
    image: BASE
    command: [sh, -c, "trap '' TERM; while true; do sleep 1; done"]
    stop_grace_period: 40s
    volumes: ["%s:/data"]
`, shared)
	h.folder("blog", body)
	h.push("add blog")
	h.first()
	h.move("blog", "weblog")
	h.folder("weblog", strings.Replace(body, "40s", "0s", 1))
	h.push("move blog")
	s := h.settle()
	h.gone("blog")
	if st := s.stack(t, h.project("weblog")); !running(st) || len(s.Stacks) != 1 {
		t.Errorf("%+v", s.Stacks)
	}
	story.never("blog ", "weblog ")
	ends := map[string]time.Time{}
	for _, op := range s.Checks[0].Operations {
		ends[op.Kind] = op.Started.Add(op.Took)
	}
	if len(ends) != 3 || !ends["stop"].Before(ends["up"]) {
		t.Errorf("the ends of the operations: %v", ends)
	}
}

func TestAStopThatFailsKeepsTheOneThatTakesThePlaceFromStarting(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	story := h.watch()
	proxy := h.behindProxy()
	h.folder("blog", one)
	h.push("add blog")
	h.first()
	before := h.runs("blog", "app")
	failed := proxy.arm(&rule{match: is("POST /containers/*/stop"), nth: 1, what: answers500})
	h.move("blog", "weblog")
	h.push("move blog")
	s := h.settle()
	h.happens(failed)
	for _, op := range s.Checks[0].Operations {
		if op.Kind == "stop" && op.Error == "" || op.Kind == "up" {
			t.Errorf("%s %s ended with %q", op.Kind, op.Stack, op.Error)
		}
	}
	if now := h.runs("blog", "app"); now["app"] != before["app"] {
		t.Error("the old one was replaced")
	}
	h.runs("weblog")
	// By itself, after a pause.
	h.becomes("weblog", running)
	h.gone("blog")
	story.never("blog ", "weblog ")
}

func TestAFolderThatChangesItsCaseOnlyIsTheSameStack(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.folder("Blog", withVolume)
	h.push("add blog")
	h.first()
	before := h.runs("blog", "app")
	h.exec(before["app"], "touch", "/data/precious")
	h.move("Blog", "blog")
	h.push("move blog")
	s := h.settle()
	if st := s.stack(t, h.project("blog")); !running(st) || st.File != h.project("blog")+"/compose.yaml" || len(s.Stacks) != 1 {
		t.Errorf("%+v", s.Stacks)
	}
	if now := h.runs("blog", "app"); now["app"] != before["app"] {
		t.Error("the container was replaced")
	}
}
