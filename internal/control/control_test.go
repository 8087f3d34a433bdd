package control_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/control"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
	"github.com/korbiniankuhn/gitops-compose/internal/web"
)

// listen opens the socket of a daemon in a folder whose name is longer than that of a
// socket can be.
func listen(t *testing.T, command func(context.Context, plan.Command) error) (dir string, history *report.History) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), strings.Repeat("deep/", 30))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	history = report.NewHistory(func(context.Context) error { return nil })
	s, err := web.New(web.Options{Address: "127.0.0.1:0", Version: "1.2.3", Branch: "main", History: history, Trigger: func(string) {}, Command: command})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := s.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	served := make(chan error, 1)
	go func() { ended <- socket.Run(ctx) }()
	go func() { served <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the socket ended with %v", err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(filepath.Join(dir, web.SocketName)); err == nil {
			t.Error("the socket is still there")
		}
	})
	return dir, history
}

func TestOrdersOverTheSocket(t *testing.T) {
	var got []plan.Command
	dir, _ := listen(t, func(_ context.Context, c plan.Command) error {
		if c.Stack == "nobody" {
			return plan.ErrNoStack
		}
		got = append(got, c)
		return nil
	})
	info, err := os.Lstat(filepath.Join(dir, web.SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info, err)
	}
	c := control.Dial(dir)
	for _, o := range []struct {
		order control.Order
		want  plan.Command
		says  string
	}{
		{control.Order{Action: "suspend", Stack: "web", For: 2 * time.Hour, Reason: "migrating", By: "mia"}, plan.Command{Action: plan.Suspend, Stack: "web", Suspension: plan.Suspension{By: "mia", Reason: "migrating"}}, "web: suspended until "},
		{control.Order{Action: "resume", By: "mia"}, plan.Command{Action: plan.Resume, Stack: plan.Everything, Suspension: plan.Suspension{By: "mia"}}, "resumed"},
		{control.Order{Action: "retry", Stack: "a/b"}, plan.Command{Action: plan.Retry, Stack: "a/b"}, "a/b: tried again now"},
		{control.Order{Action: "sync"}, plan.Command{Action: plan.Sync, Stack: plan.Everything}, "the remote is asked now"},
	} {
		said, err := c.Do(t.Context(), o.order)
		if err != nil || !strings.HasPrefix(said, o.says) {
			t.Errorf("%+v: %q, %v", o.order, said, err)
			continue
		}
		is := got[len(got)-1]
		if is.Until.IsZero() == (o.order.For > 0) {
			t.Errorf("it lasts until %s", is.Until)
		}
		if is.Until = (time.Time{}); is != o.want {
			t.Errorf("got %+v, want %+v", is, o.want)
		}
	}
	if _, err := c.Do(t.Context(), control.Order{Action: "suspend", Stack: "nobody"}); err == nil || err.Error() != plan.ErrNoStack.Error() {
		t.Errorf("the error is %v", err)
	}
}

func TestASocketThatAKillHasLeftIsNobodys(t *testing.T) {
	dir := t.TempDir()
	for _, there := range []bool{false, true} {
		if there {
			if err := os.WriteFile(filepath.Join(dir, web.SocketName), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := control.Dial(dir).Status(t.Context())
		if want := "no daemon works on this clone: nobody listens at " + filepath.Join(dir, web.SocketName); err == nil || err.Error() != want {
			t.Errorf("the error is %v", err)
		}
	}
	s, err := web.New(web.Options{Address: "127.0.0.1:0", History: report.NewHistory(func(context.Context) error { return nil })})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := s.Listen(dir) // over what is left
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := socket.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestStatusOverTheSocketHasDetails(t *testing.T) {
	dir, history := listen(t, nil)
	stacks := []report.Stack{
		{Name: "db", Status: report.Running, Sync: report.Synced},
		{Name: "web", Status: report.Failed, Sync: report.Waiting, Held: "retry", Error: "app exited (1)", Detail: "no such table"},
	}
	history.Looked(report.Look{At: time.Now(), Stacks: stacks})
	c := control.Dial(dir)
	s, err := c.Status(t.Context())
	if err != nil || len(s.Stacks) != 2 || s.Stacks[1].Detail != "no such table" || control.InSync(s, true) {
		t.Errorf("got %+v, %v", s.Stacks, err)
	}
	if s, err = c.Status(t.Context(), "db"); err != nil || len(s.Stacks) != 1 || !control.InSync(s, false) {
		t.Errorf("got %+v, %v", s.Stacks, err)
	}
	if _, err := c.Status(t.Context(), "db", "nobody"); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("the error is %v", err)
	}
}

func TestTable(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := web.Status{Stacks: []report.Stack{
		{Name: "blog", Status: report.Running, Sync: report.Synced, Commit: "1111111aaa", LastSuccess: now.Add(-90 * time.Minute)},
		{Name: "db", Status: report.Running, Sync: report.Deferred, Held: "suspended", Reason: "suspended by mia: migrating", Commit: "1111111aaa", LastSuccess: now.Add(-50 * time.Hour), Differences: []string{"app has another configuration"}},
		{Name: "new", Status: report.Invalid, Sync: report.Deferred, Held: "invalid", Reason: "services.app.image must be a string"},
		{Name: "web", Status: report.Failed, Sync: report.Waiting, Held: "retry", Error: "app exited (1)", Reason: "up failed", Detail: "no such table\nbye", NextRetry: now.Add(40 * time.Second), LastSuccess: now.Add(-5 * time.Second)},
	}, OfflineSince: now.Add(-3 * time.Minute)}
	const want = `STACK  STATUS   SYNC              COMMIT   SINCE
blog   running  synced            1111111  1 h
db     running  held (suspended)  1111111  2 d
new    invalid  held (invalid)    -        -
web    failed   retrying (retry)  -        5 s

db: suspended by mia: migrating

new: services.app.image must be a string

web: app exited (1)
  up failed
  next try in 40s
  | no such table
  | bye

the remote can't be asked since 3 min
`
	if got := control.Table(s, now, false); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	coloured := strings.Split(control.Table(s, now, true), "\n")
	for i, colour := range []string{"STACK", "\x1b[32mblog", "\x1b[33mdb", "\x1b[31mnew", "\x1b[31mweb"} {
		if !strings.HasPrefix(coloured[i], colour) || i > 0 && !strings.HasSuffix(coloured[i], "\x1b[0m") {
			t.Errorf("line %d is %q", i, coloured[i])
		}
	}
}

func TestLines(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.Local)
	got := control.Lines([]report.Event{
		{At: at.Add(time.Minute), Stack: "web", Operation: "up", Cause: "changed: app: image", Commit: "2222222bbb", Took: time.Second, Settled: 1260 * time.Millisecond, Error: "app exited (1)"},
		{At: at.Add(time.Second), Operation: "checkout", Cause: "from 1111111", Commit: "2222222bbb", Took: 20 * time.Millisecond},
		{At: at, Stack: "web", Operation: "suspend", By: "mia", Cause: "migrating"},
	})
	const want = `2026-05-01 12:00:00  web  suspend   -        -     by mia                  migrating
2026-05-01 12:00:01  -    checkout  2222222  0s    done                    from 1111111
2026-05-01 12:01:00  web  up        2222222  2.3s  failed: app exited (1)  changed: app: image
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
