package web

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// evil is what a stranger could write into every place of a compose file.
const evil = `<script>document.title="taken"</script><img src=x onerror='document.title="taken"'>"'&{{.}}`

// fill reports a little of everything.
func fill(h *report.History) {
	now := time.Now()
	look := report.Look{
		At: now.Add(-3 * time.Minute), Trigger: "tick", From: "1a2b3c4d5e", To: "9f3c21e0aa",
		Commits: []report.Commit{{Hash: "9f3c21e0aa", Subject: "Raise web to 2.0 " + evil, Author: "Mia " + evil, At: now.Add(-5 * time.Hour)}},
		Stacks: []report.Stack{
			{
				Name: "web", File: "web/compose.yaml", Mode: "managed", Status: report.Running, Sync: report.Synced, Commit: "9f3c21e0aa", LastSuccess: now.Add(-time.Hour),
				Services: []report.Service{{Name: "app", Image: "nginx:1.29", Digest: "sha256:0123456789abcdef", State: "running", Health: "healthy", Since: "Up 3 hours"}},
				Outcomes: []report.Outcome{{At: now.Add(-time.Hour), Commit: "9f3c21e0aa", Operation: "up", Cause: "changed"}},
			},
			{
				Name: "bad" + evil, File: "bad/" + evil, Mode: evil, Status: report.Invalid, Sync: report.Deferred, Reason: evil, Held: "invalid", Error: evil + "\nline two",
				Services: []report.Service{{Name: evil, Image: evil, Digest: evil, State: evil, Health: evil, Since: evil}},
				Outcomes: []report.Outcome{{At: now, Commit: evil, Operation: evil, Cause: evil, Error: evil}},
			},
			{
				Name: "db", File: "db/compose.yaml", Mode: "managed", Status: report.Failed, Sync: report.Waiting, Held: "retry",
				Error: "pull failed: no space left on device", NextRetry: now.Add(5*time.Minute + time.Second),
			},
			{Name: "own", File: "own/compose.yaml", Mode: "ignored", Status: report.Ignored, Sync: report.Unknown},
		},
	}
	h.Looked(look)
	h.Ended(report.Check{
		Look: look, Ended: now.Add(-2 * time.Minute), Final: look.Stacks,
		Operations: []report.Operation{{Kind: "checkout", Cause: "from 1a2b3c4"}, {Kind: "up", Stack: evil, Cause: evil, Took: 1500 * time.Millisecond, Error: evil}},
	})
	h.Scheduled(now.Add(2*time.Minute + time.Second))
}

func TestThePageShowsWhatAPersonAsksFor(t *testing.T) {
	f := serve(t, func(o *Options) { o.Remote = func() string { return "https://alice:hunter2@example.com/ops/host.git" } })
	fill(f.history)
	response, body := f.do("GET", "/", "")
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("got %d, %s", response.StatusCode, response.Header.Get("Content-Type"))
	}
	for _, want := range []string{
		"2 stacks are not as git wants them", "example.com/ops/host · main", `<code title="9f3c21e0aa">9f3c21e</code> Raise web to 2.0`, "5 h ago", ">3 min ago</time>", "by tick",
		"<dt>Next check</dt><dd>in 2 min</dd>", "all 4", "running 1", "failed 1", "invalid 1", "ignored 1", "held 2", "nginx:1.29", ">0123456789ab<", "Up 3 hours", "pull failed: no space left on device",
		"<dt>Next try</dt><dd>in 5 min</dd>", "line two", "up &lt;script&gt;", "1.5 s",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, never := range []string{"hunter2", "<img", "<script>document", "Check now"} {
		if strings.Contains(body, never) {
			t.Errorf("there is %q", never)
		}
	}
}

func TestPullsAreOnThePageWhileTheyLast(t *testing.T) {
	f := serve(t, nil)
	fill(f.history)
	page := func() string {
		_, body := f.do("GET", "/", "")
		return body
	}
	if strings.Contains(page(), "Being pulled") {
		t.Error("a section without a pull")
	}
	large := report.Pull{Image: "ghcr.io/team/large:1" + evil, Started: time.Now().Add(-3 * time.Minute), Layers: 7, Done: 2, Bytes: 41_250_000, Total: 120_000_000}
	begun := report.Pull{Image: "nginx:1.29-alpine", Started: time.Now(), Layers: 3}
	f.history.Pulling(large, false)
	f.history.Pulling(begun, false)
	body := page()
	for _, want := range []string{"Being pulled", "ghcr.io/team/large:1&lt;script&gt;", "2 of 7", `max="120000000" value="41250000"`, "41.2 of 120.0 MB", ">3 min ago<", "nginx:1.29-alpine", "0 of 3"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(body, "<img") || strings.Count(body, "<progress") != 1 {
		t.Error("want one bar, and the name of the image as text")
	}
	f.history.Pulling(large, true)
	f.history.Pulling(begun, true)
	if strings.Contains(page(), "Being pulled") {
		t.Error("a section after the last pull")
	}
}

func TestWhatNeedsAPersonIsFirst(t *testing.T) {
	f := serve(t, nil)
	f.history.Looked(report.Look{Stacks: []report.Stack{
		{Name: "a", Status: report.Running, Sync: report.Synced}, {Name: "z", Status: report.Failed}, {Name: "b", Status: report.Running, Sync: report.Synced},
	}})
	_, body := f.do("GET", "/", "")
	if z, a, b := strings.Index(body, "<b>z</b>"), strings.Index(body, "<b>a</b>"), strings.Index(body, "<b>b</b>"); z > a || a > b {
		t.Errorf("z is at %d, a at %d, b at %d", z, a, b)
	}
}

func TestAStackThatWaitsForTheAgeOfAnImageIsAsGitWantsIt(t *testing.T) {
	f := serve(t, nil)
	waits := report.Stack{Name: "web", Status: report.Running, Sync: report.Deferred, Held: string(plan.HeldAge), Reason: "a newer image waits"}
	look := func(s report.Stack) (page, status string) {
		l := report.Look{At: time.Now(), Stacks: []report.Stack{s}}
		f.history.Looked(l)
		f.history.Ended(report.Check{Look: l, Ended: time.Now(), Final: l.Stacks})
		_, page = f.do("GET", "/", "")
		_, status = f.do("GET", "/api/v1/status", "")
		return page, status
	}
	page, status := look(waits)
	for _, want := range []string{"Everything is as git wants it", "a newer image waits", `<dd class="warn">age</dd>`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q on the page", want)
		}
	}
	if !strings.Contains(status, `"synced": true`) || !strings.Contains(status, `"held": "age"`) {
		t.Errorf("the status is %s", status)
	}
	waits.Status = report.Failed // something else is wrong with it
	if page, status = look(waits); !strings.Contains(page, "One stack is not as git wants it") || !strings.Contains(status, `"synced": false`) {
		t.Errorf("one that failed counts as settled: %s", status)
	}
}

func TestThePageLetsInItsOwnStyleAndScriptOnly(t *testing.T) {
	f := serve(t, nil)
	fill(f.history)
	response, body := f.do("GET", "/", "")
	policy := response.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "style-src '" + hashOf(body, "style") + "'", "script-src '" + hashOf(body, "script") + "'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %s in %s", want, policy)
		}
	}
	for _, never := range []string{"unsafe", "*", "http:"} {
		if strings.Contains(policy, never) {
			t.Errorf("%s in %s", never, policy)
		}
	}
	for _, external := range []string{`src="`, `<link rel="stylesheet"`, "https://", "http://"} {
		if strings.Contains(body, external) {
			t.Errorf("the page loads something: %s", external)
		}
	}
}

func TestThePageFiltersByState(t *testing.T) {
	f := serve(t, nil)
	fill(f.history)
	for query, want := range map[string]string{"": "bad own db web", "?show=failed": "db", "?show=held": "bad db", "?show=running": "web", "?show=nonsense": "bad own db web", "?show=" + "%3Cscript%3E": "bad own db web"} {
		_, body := f.do("GET", "/"+query, "")
		got := map[string]bool{}
		for _, name := range []string{"bad", "own", "db", "web"} {
			got[name] = strings.Contains(body, `<details id="`+name+`/`)
		}
		for _, name := range []string{"bad", "own", "db", "web"} {
			if got[name] != strings.Contains(want, name) {
				t.Errorf("%q: %s is shown: %t", query, name, got[name])
			}
		}
		if strings.Contains(body, "<script>alert") {
			t.Errorf("%q gets through", query)
		}
	}
}

func TestBeforeTheFirstLookThePageSaysSo(t *testing.T) {
	_, body := serve(t, nil).do("GET", "/", "")
	for _, want := range []string{"Not ready: no check has looked yet", "not known yet", "None yet.", "not planned"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestThePageSaysThatTheRemoteIsAway(t *testing.T) {
	f := serve(t, nil)
	away := report.Look{At: time.Now().Add(-3 * time.Hour), Trigger: "tick", Offline: "connection refused <b>", Error: "fetch: connection refused"}
	f.history.Looked(away)
	away.At = time.Now()
	f.history.Looked(away)
	_, body := f.do("GET", "/", "")
	if want := `<dt>Remote</dt><dd class="bad">can't be asked, first 3 h ago: connection refused &lt;b&gt; <span`; !strings.Contains(body, want) {
		t.Errorf("no %s", want)
	}
	if _, body := f.do("GET", "/api/v1/status", ""); !strings.Contains(body, `"offline_since": `) || !strings.Contains(body, `"offline": "connection refused `) {
		t.Errorf("got %s", body)
	}
	f.history.Looked(report.Look{At: time.Now()})
	if _, body := f.do("GET", "/", ""); strings.Contains(body, "<dt>Remote</dt>") {
		t.Error("it still does when the remote is back")
	}
}

func TestThePageShowsHowAStackDiffers(t *testing.T) {
	f := serve(t, nil)
	f.history.Looked(report.Look{At: time.Now(), Stacks: []report.Stack{{
		Name: "web", File: "web/compose.yaml", Status: report.Running, Edited: []string{"web/nginx.conf", "web/" + evil}, Warnings: []string{"variable TOKEN is not set", evil}, Differences: []string{"app is missing", evil},
	}}})
	_, body := f.do("GET", "/", "")
	for _, want := range []string{"<dt>Edited by hand</dt>", "<code>web/nginx.conf</code>", "<dt>Warnings</dt>", "<div>variable TOKEN is not set</div>", "<dt>Differs</dt>", "<div>app is missing</div>"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(body, "<img") {
		t.Error("a name becomes markup")
	}
}

func TestWhenAllIsWellThePageSaysSo(t *testing.T) {
	f := serve(t, nil)
	f.history.Looked(report.Look{At: time.Now(), From: "a", To: "a", Stacks: []report.Stack{{Name: "web", Status: report.Running, Sync: report.Synced}}})
	if _, body := f.do("GET", "/", ""); !strings.Contains(body, `<p class="headline good" role="status">Everything is as git wants it</p>`) {
		t.Error("it does not")
	}
}

func TestCheckNowIsForPeopleWithAPassword(t *testing.T) {
	open := serve(t, nil)
	if response, _ := open.do("POST", "/check", ""); response.StatusCode != 403 || len(open.triggered) != 0 {
		t.Errorf("without passwords: got %d", response.StatusCode)
	}
	f := serve(t, func(o *Options) { o.ConfigFile = configFile(t, false, "") })
	if response, _ := f.do("POST", "/check", ""); response.StatusCode != 401 || len(f.triggered) != 0 {
		t.Errorf("a stranger: got %d", response.StatusCode)
	}
	host := f.url
	f.url = strings.Replace(f.url, "http://", "http://alice:hunter2@", 1)
	if _, body := f.do("GET", "/", ""); !strings.Contains(body, "Check now") {
		t.Error("no button")
	}
	for _, forged := range []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example.com"} {
		if response, _ := f.do("POST", "/check", "", forged); response.StatusCode != 403 || len(f.triggered) != 0 {
			t.Errorf("%s: got %d", forged, response.StatusCode)
		}
	}
	if response, _ := f.do("POST", "/check", "", "Origin: "+host, "Sec-Fetch-Site: same-origin"); response.StatusCode != 200 || len(f.triggered) != 1 {
		t.Fatalf("the button: got %d, triggered %d times", response.StatusCode, len(f.triggered))
	}
	if trigger := <-f.triggered; trigger != "page" {
		t.Errorf("the button is counted as %s", trigger)
	}
}

func TestCheckNowLeadsBackToThePageWhereverThatIs(t *testing.T) {
	f := serve(t, func(o *Options) { o.ConfigFile = configFile(t, false, "") })
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	f.url = strings.Replace(f.url, "http://", "http://alice:hunter2@", 1)
	response, _ := f.do("POST", "/check", "", "Sec-Fetch-Site: same-origin")
	if got := response.Header.Get("Location"); response.StatusCode != 303 || got != "./" {
		t.Errorf("got %d to %s", response.StatusCode, got)
	}
}

func TestAStackHasAPageOfItsOwn(t *testing.T) {
	var asked report.EventFilter
	f := serve(t, func(o *Options) {
		o.Past = func(f report.EventFilter) ([]report.Event, error) {
			asked = f
			return []report.Event{{At: time.Now().Add(-49 * time.Hour), Stack: "web", Operation: "up", Trigger: "webhook", Commit: "9f3c21e0aa", Took: time.Second, Cause: "changed " + evil}, {At: time.Now(), Operation: "suspend", By: "mia"}}, nil
		}
	})
	fill(f.history)
	response, body := f.do("GET", "/stacks/web", "")
	if response.StatusCode != 200 || asked.Stack != "web" || asked.Most == 0 {
		t.Fatalf("%d, asked for %+v", response.StatusCode, asked)
	}
	for want, is := range map[string]bool{
		"web is as git wants it": true, "<b>web</b>": true, "<b>db</b>": false, "nginx:1.29": true, `data-base="../"`: true, `href="../"`: true, `href="../api/v1/status"`: true, "2 days ago": true, "webhook": true,
		"<h2>What was done</h2>": true, "<h3>What was done</h3>": false, "mia": true, "Last checks": false, `id="web/compose.yaml:web" open`: true, evil: false,
	} {
		if strings.Contains(body, want) != is {
			t.Errorf("%q is there: %v", want, !is)
		}
	}
	if response, _ := f.do("GET", "/stacks/nobody", ""); response.StatusCode != 404 {
		t.Errorf("a page of nobody's: %d", response.StatusCode)
	}
	if _, body := f.do("GET", "/", ""); !strings.Contains(body, `href="stacks/web"`) {
		t.Error("nothing leads to it")
	}
}

func TestStacksAreSearchedFor(t *testing.T) {
	f := serve(t, nil)
	f.history.Looked(report.Look{At: time.Now(), Stacks: []report.Stack{
		{Name: "blog", File: "apps/blog/compose.yaml", Status: report.Running, Sync: report.Synced, Services: []report.Service{{Name: "app", Image: "ghost:5"}}},
		{Name: "shop", File: "apps/shop/compose.yaml", Status: report.Failed, Services: []report.Service{{Name: "db", Image: "postgres:17"}}},
	}})
	for query, want := range map[string]string{
		"": "shop blog", "?q=apps": "shop blog", "?q=GHOST": "blog", "?q=apps+db": "shop", "?q=nothing": "", "?q=apps&show=running": "blog", "?q=%3Cb%3E": "",
	} {
		_, body := f.do("GET", "/"+query, "")
		var got []string
		for _, m := range regexp.MustCompile(`<summary><b>(\w+)</b>`).FindAllStringSubmatch(body, -1) {
			got = append(got, m[1])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %v, want %q", query, got, want)
		}
		if strings.Contains(body, "<b>\"") || strings.Contains(query, "q=apps&") && !strings.Contains(body, `href="?show=failed&amp;q=apps"`) {
			t.Errorf("%q: the filters lose what is searched for", query)
		}
	}
}

func TestTheSameFailureIsShownOnce(t *testing.T) {
	at := func(minutes int) time.Time { return time.Now().Add(-time.Duration(minutes)*time.Minute - time.Second) }
	s := stackView{Stack: report.Stack{Outcomes: []report.Outcome{
		{At: at(1), Operation: "up", Commit: "2", Error: "app exited (1)"},
		{At: at(5), Operation: "up", Commit: "2", Error: "app exited (137)"},
		{At: at(9), Operation: "up", Commit: "2", Error: "app exited (1)"},
		{At: at(10), Operation: "up", Commit: "1", Error: "app exited (1)"},
		{At: at(20), Operation: "up", Commit: "1"},
		{At: at(30), Operation: "up", Commit: "1"},
	}}}
	var got []string
	for _, o := range s.Done() {
		got = append(got, fmt.Sprint(o.Commit, " ", o.Error, " ", o.Times, " ", int(time.Since(o.First).Minutes())))
	}
	if want := "2 app exited (1) 3 9, 1 app exited (1) 1 10, 1  1 20, 1  1 30"; strings.Join(got, ", ") != want {
		t.Errorf("got %q", got)
	}
	f := serve(t, nil)
	s.Name, s.Status = "web", report.Failed
	f.history.Looked(report.Look{At: time.Now(), Stacks: []report.Stack{s.Stack}})
	if _, body := f.do("GET", "/", ""); !strings.Contains(body, `<span class="faint">3 times, first 9 min ago</span>`) {
		t.Error("it is not said how often")
	}
}

func TestAnImageIsShownByItsDigestAtTheRegistry(t *testing.T) {
	f := serve(t, nil)
	f.history.Looked(report.Look{At: time.Now(), Stacks: []report.Stack{{Name: "web", Services: []report.Service{
		{Name: "pulled", Image: "a", Digest: "sha256:111111111111", RepoDigest: "sha256:222222222222"}, {Name: "built", Image: "b", Digest: "sha256:333333333333"},
	}}}})
	_, body := f.do("GET", "/", "")
	for code, want := range map[string]bool{">222222222222<": true, ">333333333333<": true, ">111111111111<": false} {
		if strings.Contains(body, code) != want {
			t.Errorf("%s is there: %t", code, !want)
		}
	}
}

func TestDurationsAreSaidAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 119 * time.Second: "119 s", 2 * time.Minute: "2 min", 119 * time.Minute: "119 min", 2 * time.Hour: "2 h", 47 * time.Hour: "47 h", 50 * time.Hour: "2 days",
	} {
		if got := rough(d); got != want {
			t.Errorf("%s: got %s", d, got)
		}
	}
	if got := shortHash("nginx@sha256:0123456789abcdef"); got != "0123456789ab" {
		t.Errorf("got %s", got)
	}
}
