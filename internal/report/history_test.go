package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func at(second int) time.Time { return time.Unix(int64(second), 0).UTC() }

func look(second int, err string, stacks ...Stack) Look {
	return Look{At: at(second), Error: err, Stacks: stacks}
}

// picture is an Overview as text.
func picture(o Overview) string {
	var b strings.Builder
	for _, s := range o.Stacks {
		fmt.Fprintf(&b, "%s@%s=%s ", s.Name, s.File, s.Status)
	}
	fmt.Fprintf(&b, "checks=%d problem=%q", len(o.Checks), o.Problem)
	return b.String()
}

func expect(t *testing.T, h *History, want string) {
	t.Helper()
	if got := picture(h.Snapshot()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBeforeTheFirstLookTheDaemonIsNotReady(t *testing.T) {
	expect(t, NewHistory(nil), `checks=0 problem="no check has looked yet"`)
}

func TestThePictureFollowsLooksUpdatesAndEnds(t *testing.T) {
	h := NewHistory(nil)
	web, bad := Stack{Name: "web", File: "web/compose.yaml", Status: Failed}, Stack{Name: "bad", File: "bad/compose.yaml", Status: Invalid}
	h.Looked(look(1, "", web, bad))
	expect(t, h, `web@web/compose.yaml=failed bad@bad/compose.yaml=invalid checks=0 problem=""`)
	before := h.Snapshot()
	web.Status = Running
	h.Updated(web)
	expect(t, h, `web@web/compose.yaml=running bad@bad/compose.yaml=invalid checks=0 problem=""`)
	if got := picture(before); !strings.HasPrefix(got, "web@web/compose.yaml=failed") {
		t.Errorf("an old snapshot has changed: %s", got)
	}
	h.Ended(Check{Look: look(1, ""), Ended: at(2), Final: []Stack{web}})
	expect(t, h, `web@web/compose.yaml=running checks=1 problem=""`)
	if got := h.Snapshot().Success; !got.Equal(at(2)) {
		t.Errorf("last success: got %s", got)
	}
}

func TestAFailedLookKeepsWhatWasKnown(t *testing.T) {
	h := NewHistory(nil)
	h.Looked(look(1, "", Stack{Name: "web", Status: Running}))
	h.Looked(look(2, "remote is down"))
	h.Ended(Check{Look: look(2, "remote is down"), Ended: at(3)})
	expect(t, h, `web@=running checks=1 problem="the last check failed: remote is down"`)
	if got := h.Snapshot().Success; !got.IsZero() {
		t.Errorf("a failed check counts as a success: %s", got)
	}
}

func TestTwoFilesWithOneNameAreTwoStacks(t *testing.T) {
	h := NewHistory(nil)
	h.Looked(look(1, "", Stack{Name: "web", File: "a"}, Stack{Name: "web", File: "b"}))
	h.Updated(Stack{Name: "web", File: "b", Status: Invalid})
	expect(t, h, `web@a= web@b=invalid checks=0 problem=""`)
}

func TestACheckThatANewerLookHasOvertakenDoesNotDecideThePicture(t *testing.T) {
	h := NewHistory(nil)
	web, added := Stack{Name: "web", Status: Running}, Stack{Name: "new", Status: Running}
	h.Looked(look(1, "", web))
	h.Looked(look(2, "", web, added))
	h.Ended(Check{Look: look(1, "checkout failed"), Ended: at(3), Final: []Stack{web}})
	expect(t, h, `web@=running new@=running checks=1 problem=""`)
	h.Ended(Check{Look: look(2, "checkout failed"), Ended: at(4), Final: []Stack{added}})
	expect(t, h, `new@=running checks=2 problem="the last check failed: checkout failed"`)
}

func TestTheLastTenChecksAreKeptNewestFirst(t *testing.T) {
	h := NewHistory(nil)
	for i := range 15 {
		h.Ended(Check{Ended: at(i)})
	}
	checks := h.Snapshot().Checks
	if len(checks) != 10 || !checks[0].Ended.Equal(at(14)) || !checks[9].Ended.Equal(at(5)) {
		t.Errorf("got %d checks, %v to %v", len(checks), checks[0].Ended, checks[len(checks)-1].Ended)
	}
}

func TestReadyAsksTheEngineNow(t *testing.T) {
	var down error
	h := NewHistory(func(context.Context) error { return down })
	if err := h.Ready(t.Context()); err == nil || err.Error() != "no check has looked yet" {
		t.Errorf("at start: got %v", err)
	}
	h.Looked(look(1, ""))
	if err := h.Ready(t.Context()); err != nil {
		t.Errorf("after a look: got %v", err)
	}
	down = errors.New("connection refused")
	if err := h.Ready(t.Context()); err == nil || err.Error() != "the engine does not answer: connection refused" {
		t.Errorf("engine down: got %v", err)
	}
}

func TestEveryChangeWakesWhoWaits(t *testing.T) {
	h := NewHistory(nil)
	for name, change := range map[string]func(){
		"look":  func() { h.Looked(Look{}) },
		"stack": func() { h.Updated(Stack{}) },
		"check": func() { h.Ended(Check{}) },
		"next":  func() { h.Scheduled(at(1)) },
	} {
		changed := h.Changed()
		select {
		case <-changed:
			t.Errorf("%s: closed before the change", name)
		default:
		}
		change()
		<-changed
	}
}

func TestAFanPassesEverythingOn(t *testing.T) {
	a, b := NewHistory(nil), NewHistory(nil)
	f := Fan{a, b}
	f.Looked(look(1, ""))
	f.Updated(Stack{Name: "web", Status: Running})
	f.Ended(Check{Look: look(1, ""), Ended: at(2)})
	for _, h := range []*History{a, b} {
		expect(t, h, `web@=running checks=1 problem=""`)
	}
}

func TestManyMayUseAHistoryAtOnce(t *testing.T) {
	h := NewHistory(func(context.Context) error { return nil })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			h.Looked(look(i, "", Stack{Name: "web"}))
			h.Updated(Stack{Name: "web", Status: Running})
			h.Ended(Check{Ended: at(i)})
		}
	}()
	for {
		select {
		case <-h.Changed():
			_ = picture(h.Snapshot())
			_ = h.Ready(t.Context())
		case <-done:
			return
		}
	}
}

func TestTheFirstOfTheLooksWithoutARemoteIsRemembered(t *testing.T) {
	h := NewHistory(nil)
	for _, c := range []struct {
		second  int
		offline string
		since   time.Time
	}{
		{1, "", time.Time{}},
		{2, "connection refused", at(2)},
		{3, "no route to host", at(2)},
		{4, "", time.Time{}},
		{5, "connection refused", at(5)},
	} {
		h.Looked(Look{At: at(c.second), Offline: c.offline})
		if got := h.Snapshot().OfflineSince; !got.Equal(c.since) {
			t.Errorf("look %d: offline since %s, want %s", c.second, got, c.since)
		}
	}
}

func TestWhatIsPublicHasNoDetails(t *testing.T) {
	const secret = "password is hunter2"
	stacks := func() []Stack { return []Stack{{Name: "web", Error: "app ended", Detail: secret}} }
	operations := []Operation{{Kind: "up", Stack: "web", Error: "app ended", Detail: secret}}
	h := NewHistory(nil)
	h.Looked(Look{At: at(1), Stacks: stacks()})
	h.Ended(Check{Look: Look{At: at(1), Stacks: stacks()}, Ended: at(2), Final: stacks(), Operations: operations})
	// Details that are not taken out are found by their text, wherever they are.
	public := fmt.Sprintf("%+v", h.Snapshot().Public())
	if strings.Contains(public, secret) || strings.Count(public, "app ended") != 3 {
		t.Errorf("got %s", public)
	}
	if all := fmt.Sprintf("%+v", h.Snapshot()); strings.Count(all, secret) != 4 {
		t.Errorf("the history itself has lost details: %s", all)
	}
}

func TestTheWordsOfTheEngineGoOnWhereTheyAreShown(t *testing.T) {
	h := NewHistory(nil)
	h.Looked(Look{At: at(0), Stacks: []Stack{{Name: "web", Services: []Service{
		{Name: "app", Since: "Up 3 minutes", Said: at(0)}, {Name: "gone", Since: "", Said: at(0)}, {Name: "other", Since: "Up 3 minutes"},
	}}}})
	var got []string
	for _, s := range h.Snapshot().At(at(600)).Stacks[0].Services {
		got = append(got, s.Since)
	}
	if want := []string{"Up 13 minutes", "", "Up 3 minutes"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if s := h.Snapshot().Stacks[0].Services[0]; s.Since != "Up 3 minutes" {
		t.Errorf("the history itself says %q", s.Since)
	}
}
