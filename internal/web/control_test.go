package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// alice is the header of configFile's user.
const alice = "Authorization: Basic YWxpY2U6aHVudGVyMg=="

// commands writes down what is asked for.
type commands struct{ got []plan.Command }

func (c *commands) do(_ context.Context, command plan.Command) error {
	if command.Stack == "nobody" {
		return plan.ErrNoStack
	}
	if command.Stack == "busy" {
		return errors.New("the daemon ends")
	}
	c.got = append(c.got, command)
	return nil
}

func TestCommandsAreForPeopleWithAPassword(t *testing.T) {
	c := &commands{}
	open := serve(t, func(o *Options) { o.Command = c.do })
	closed := serve(t, func(o *Options) { o.Command, o.ConfigFile = c.do, configFile(t, false, "") })
	for _, path := range []string{"/api/v1/stacks/web/suspend", "/api/v1/stacks/web/resume", "/api/v1/stacks/web/retry", "/api/v1/suspend", "/api/v1/resume", "/api/v1/retry", "/api/v1/sync"} {
		if response, body := open.do("POST", path, ""); response.StatusCode != 403 || !strings.Contains(body, "HTTP_CONFIG_FILE") {
			t.Errorf("%s without passwords: %d %s", path, response.StatusCode, body)
		}
		if response, _ := closed.do("POST", path, ""); response.StatusCode != 401 {
			t.Errorf("%s without a password: %d", path, response.StatusCode)
		}
		if response, _ := closed.do("POST", path, "", alice, "Origin: https://elsewhere.example", "Sec-Fetch-Site: cross-site"); response.StatusCode != 403 {
			t.Errorf("%s from elsewhere: %d", path, response.StatusCode)
		}
		if response, _ := closed.do("GET", path, "", alice); response.StatusCode != 405 {
			t.Errorf("GET %s: %d", path, response.StatusCode)
		}
	}
	if len(c.got) > 0 {
		t.Errorf("it was asked for %v", c.got)
	}
}

func TestCommands(t *testing.T) {
	for _, c := range []struct {
		path, body string
		want       plan.Command
		lasts      time.Duration
	}{
		{"stacks/web/suspend", `{"for": "2h", "reason": "migrating"}`, plan.Command{Action: plan.Suspend, Stack: "web", Suspension: plan.Suspension{By: "alice", Reason: "migrating"}}, 2 * time.Hour},
		{"stacks/web/suspend", "", plan.Command{Action: plan.Suspend, Stack: "web", Suspension: plan.Suspension{By: "alice"}}, 0},
		{"suspend", `{"by": "mia"}`, plan.Command{Action: plan.Suspend, Stack: plan.Everything, Suspension: plan.Suspension{By: "alice"}}, 0},
		{"stacks/a%20b/resume", "{}", plan.Command{Action: plan.Resume, Stack: "a b", Suspension: plan.Suspension{By: "alice"}}, 0},
		{"stacks/web/retry", "", plan.Command{Action: plan.Retry, Stack: "web", Suspension: plan.Suspension{By: "alice"}}, 0},
		{"sync", "", plan.Command{Action: plan.Sync, Stack: plan.Everything, Suspension: plan.Suspension{By: "alice"}}, 0},
	} {
		t.Run(c.path, func(t *testing.T) {
			got := &commands{}
			f := serve(t, func(o *Options) { o.Command, o.ConfigFile = got.do, configFile(t, false, "") })
			response, body := f.do("POST", "/api/v1/"+c.path, c.body, alice)
			if response.StatusCode != http.StatusOK || len(got.got) != 1 {
				t.Fatalf("%d %s, %v", response.StatusCode, body, got.got)
			}
			is := got.got[0]
			if lasts := time.Until(is.Until); c.lasts > 0 && (lasts > c.lasts || lasts < c.lasts-time.Minute) || c.lasts == 0 && !is.Until.IsZero() {
				t.Errorf("it lasts until %s", is.Until)
			}
			if is.Until = (time.Time{}); is != c.want {
				t.Errorf("got %+v, want %+v", is, c.want)
			}
			var done Done
			if err := json.Unmarshal([]byte(body), &done); err != nil || done.Action != string(c.want.Action) || done.Until.IsZero() == (c.lasts > 0) {
				t.Errorf("the answer is %s: %v", body, err)
			}
		})
	}
}

func TestCommandsThatCantBe(t *testing.T) {
	got := &commands{}
	f := serve(t, func(o *Options) { o.Command, o.ConfigFile = got.do, configFile(t, false, "") })
	for _, c := range []struct {
		path, body string
		code       int
		says       string
	}{
		{"stacks/nobody/suspend", "", 404, "there is no stack of that name"},
		{"stacks/busy/suspend", "", 503, "the daemon ends"},
		{"stacks/web/suspend", `{"for": "long"}`, 400, `for is "long"`},
		{"stacks/web/suspend", `{"for": "-2h"}`, 400, "only be a time like"},
		{"stacks/web/suspend", `{"until": "tomorrow"}`, 400, "no JSON object with for, reason and by"},
		{"stacks/web/suspend", `[`, 400, "no JSON object"},
		{"stacks/web/suspend", `{"reason": "` + strings.Repeat("x", 600) + `"}`, 400, "longer than 500 bytes"},
		{"stacks/web/suspend", `{"reason": "a\nb"}`, 400, "more than one line"},
		{"stacks/web/suspend", `{"reason": "` + strings.Repeat("x", 20<<10) + `"}`, 400, "too large"},
		{"stacks/web/dance", "", 404, ""},
	} {
		if response, body := f.do("POST", "/api/v1/"+c.path, c.body, alice); response.StatusCode != c.code || !strings.Contains(body, c.says) {
			t.Errorf("%s %.60s: got %d %s", c.path, c.body, response.StatusCode, body)
		}
	}
	if response, body := f.do("POST", "/api/v1/stacks/web/suspend", "reason=a%0Ab", alice, "Content-Type: application/x-www-form-urlencoded"); response.StatusCode != 400 || !strings.Contains(body, "more than one line") {
		t.Errorf("a form with two lines: got %d %s", response.StatusCode, body)
	}
	if len(got.got) > 0 {
		t.Errorf("it was asked for %v", got.got)
	}
}

func TestAButtonLeadsBackToItsPage(t *testing.T) {
	got := &commands{}
	f := serve(t, func(o *Options) { o.Command, o.ConfigFile = got.do, configFile(t, false, "") })
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for from, want := range map[string]string{
		"": "../../../../", f.url + "/": "../../../../", f.url + "/stacks/a%20b": "../../../../stacks/a%20b", "https://elsewhere.example/stacks/x": "../../../../",
	} {
		response, body := f.do("POST", "/api/v1/stacks/web/suspend", "reason=a+b&for=2h", alice, "Content-Type: application/x-www-form-urlencoded", "Referer: "+from)
		if response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != want {
			t.Errorf("from %q: %d %s %s", from, response.StatusCode, response.Header.Get("Location"), body)
		}
	}
	if len(got.got) == 0 || got.got[0].Reason != "a b" || got.got[0].Until.IsZero() {
		t.Errorf("got %+v", got.got)
	}
}

func TestThePageHasTheButtonsThatFit(t *testing.T) {
	stacks := []report.Stack{
		{Name: "db", Status: report.Running, Sync: report.Synced},
		{Name: "git", Status: report.Running, Sync: report.Deferred, Held: "suspended", Suspended: &report.Suspension{By: report.ByGit}},
		{Name: "mia", Status: report.Running, Sync: report.Deferred, Held: "suspended", Suspended: &report.Suspension{By: "mia"}},
		{Name: "new", File: "new/compose.yaml", Status: report.Invalid, Sync: report.Deferred, Held: "invalid"},
		{Name: "old", Status: report.Ignored, Sync: report.Unknown},
		{Name: "web", Status: report.Failed, Sync: report.Waiting, Held: "retry"},
	}
	buttons := func(change func(*Options)) string {
		f := serve(t, change)
		f.history.Looked(report.Look{At: time.Now(), Stacks: stacks})
		_, body := f.do("GET", "/", "", alice)
		var all []string
		for _, m := range regexp.MustCompile(`action="api/v1/stacks/(\S+)"`).FindAllStringSubmatch(body, -1) {
			all = append(all, m[1])
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	c := &commands{}
	if got := buttons(func(o *Options) { o.Command, o.ConfigFile = c.do, configFile(t, false, "") }); got != "db/suspend mia/resume web/retry web/suspend" {
		t.Errorf("there are %s", got)
	}
	if got := buttons(func(o *Options) { o.Command = c.do }); got != "" {
		t.Errorf("for everybody there are %s", got)
	}
}

func TestSuspendingInARealBrowser(t *testing.T) {
	c := make(chan plan.Command, 1)
	f := serve(t, func(o *Options) {
		o.ConfigFile = configFile(t, false, "")
		o.Command = func(_ context.Context, command plan.Command) error { c <- command; return nil }
	})
	fill(f.history)
	b := open(t)
	b.visit(strings.Replace(f.url, "http://", "http://alice:hunter2@", 1) + "/")
	b.until(`document.querySelector("form[action$=suspend] button[name=for]") !== null`)
	b.eval(`document.querySelector("form[action$=suspend] button[name=for]").click()`)
	select {
	case command := <-c:
		if command.Action != plan.Suspend || command.By != "alice" || command.Until.IsZero() {
			t.Errorf("it asks for %+v", command)
		}
	case <-time.After(15 * time.Second):
		t.Error("nothing was asked for")
	}
	b.until(`document.querySelectorAll("summary").length >= 4`)
	readableOnAPhone(b)
}
