package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// browser is a page of a real, headless Chromium, driven by its DevTools
// protocol.
type browser struct {
	*testing.T
	socket  *websocket.Conn
	id      int
	session string
	// complaints are what the console and the policy said.
	complaints []string
}

// open starts a Chromium; without one on the machine the test is skipped.
func open(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		testenv.Missing(t, "there is no chromium: apt-get install chromium")
	}
	profile, err := os.MkdirTemp("", "chromium") // not t.TempDir: what outlives its parent may still write there
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-port=0", "--remote-allow-origins=*", "--host-resolver-rules=MAP daemon.test 127.0.0.1", "--user-data-dir=" + profile}
	if os.Getuid() == 0 {
		args = append(args, "--no-sandbox") // its sandbox refuses root
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, append(args, "about:blank")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end its children as well
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = os.RemoveAll(profile)
	})
	address := regexp.MustCompile(`ws://\S+`)
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if ws := address.FindString(lines.Text()); ws != "" {
			go func() {
				for lines.Scan() { // it stops when nobody reads
				}
			}()
			return attach(t, ws)
		}
	}
	t.Fatal("chromium did not start")
	return nil
}

func attach(t *testing.T, address string) *browser {
	t.Helper()
	socket, err := websocket.Dial(address, "", "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	b := &browser{T: t, socket: socket}
	target := b.call("Target.createTarget", `{"url":"about:blank"}`)["targetId"]
	b.session, _ = b.call("Target.attachToTarget", fmt.Sprintf(`{"targetId":"%s","flatten":true}`, target))["sessionId"].(string)
	for _, domain := range []string{"Runtime", "Log", "Page"} {
		b.call(domain+".enable", "{}")
	}
	return b
}

// call calls a method and waits for its answer.
func (b *browser) call(method, params string) map[string]any {
	b.Helper()
	result, err := b.try(method, params)
	if err != nil {
		b.Fatal(err)
	}
	return result
}

// try is call, for what can fail because the page is on its way to another.
func (b *browser) try(method, params string) (map[string]any, error) {
	b.Helper()
	b.id++
	request := map[string]any{"id": b.id, "method": method, "params": json.RawMessage(params)}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	_ = b.socket.SetDeadline(time.Now().Add(30 * time.Second))
	if err := websocket.JSON.Send(b.socket, request); err != nil {
		b.Fatal(err)
	}
	for {
		var answer struct {
			ID     int
			Method string
			Result map[string]any
			Params json.RawMessage
			Error  any
		}
		if err := websocket.JSON.Receive(b.socket, &answer); err != nil {
			b.Fatalf("%s: %v", method, err)
		}
		switch answer.Method {
		case "Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening":
			b.complaints = append(b.complaints, string(answer.Params))
		}
		if answer.ID == b.id {
			if answer.Error != nil {
				return nil, fmt.Errorf("%s: %v", method, answer.Error)
			}
			return answer.Result, nil
		}
	}
}

// eval gives the value of an expression in the page, as text.
func (b *browser) eval(expression string) string {
	b.Helper()
	value, err := b.tryEval(expression)
	if err != nil {
		b.Fatal(err)
	}
	return value
}

func (b *browser) tryEval(expression string) (string, error) {
	b.Helper()
	params, err := json.Marshal(map[string]any{"expression": expression, "returnByValue": true})
	if err != nil {
		return "", err
	}
	answer, err := b.try("Runtime.evaluate", string(params))
	if err != nil {
		return "", err
	}
	result, _ := answer["result"].(map[string]any)
	return fmt.Sprint(result["value"]), nil
}

// until asks until an expression is true. Nothing in the page is waited for: it
// may be on its way to another, or run no script.
func (b *browser) until(expression string) {
	b.Helper()
	var value string
	var err error
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); {
		if value, err = b.tryEval(expression); err == nil && value == "true" {
			return
		}
	}
	b.Fatalf("%s: %s, %v; the page says: %s", expression, value, err, b.eval(`document.body.innerText`))
}

func (b *browser) visit(url string) {
	b.Helper()
	b.call("Page.navigate", fmt.Sprintf("{%q:%q}", "url", url))
	b.until(`document.readyState === "complete" && location.href !== "about:blank"`)
}

// phone is the screen of a small one, in the given colours.
func (b *browser) phone(scheme string) {
	b.call("Emulation.setDeviceMetricsOverride", `{"width":360,"height":740,"deviceScaleFactor":2,"mobile":true}`)
	b.call("Emulation.setEmulatedMedia", `{"features":[{"name":"prefers-color-scheme","value":"`+scheme+`"}]}`)
}

func TestThePageInARealBrowser(t *testing.T) {
	f := serve(t, nil)
	fill(f.history)
	b := open(t)
	b.visit(f.url + "/")

	// What a stranger wrote is text, and nothing of it runs.
	if got := b.eval(`document.title + "|" + document.images.length + "|" + document.scripts.length`); got != "Not in sync – GitopsCompose|0|1" {
		t.Errorf("got %s", got)
	}
	if got := b.eval(`[...document.querySelectorAll("summary b")][0].textContent`); got != "bad"+evil {
		t.Errorf("a name: got %s", got)
	}
	// The policy lets the page's own style in.
	if got := b.eval(`getComputedStyle(document.querySelector(".badge")).borderTopStyle`); got != "solid" {
		t.Errorf("without its style: %s", got)
	}
	readableOnAPhone(b)

	// It follows by itself, and what was opened stays open.
	b.eval(`document.getElementById("web/compose.yaml:web").querySelector("summary").click()`)
	b.eval(`document.getElementById("web/compose.yaml:web").querySelector("summary").focus()`)
	f.history.Updated(report.Stack{Name: "web", File: "web/compose.yaml", Status: report.Failed, Sync: report.Deferred, Reason: "container app is unhealthy"})
	b.until(`document.getElementById("web/compose.yaml:web").textContent.includes("container app is unhealthy")`)
	b.until(`document.querySelector(".headline").textContent === "3 stacks are not as git wants them"`)
	if got := b.eval(`document.getElementById("web/compose.yaml:web").open`); got != "true" {
		t.Errorf("open: %s", got)
	}
	if got := b.eval(`document.activeElement.parentElement.id`); got != "web/compose.yaml:web" {
		t.Errorf("the keyboard is at %s", got)
	}
	// So does what is being pulled.
	pull := report.Pull{Image: "ghcr.io/team/large:1" + evil, Started: time.Now(), Layers: 7, Done: 2, Bytes: 41_250_000, Total: 120_000_000}
	f.history.Pulling(pull, false)
	b.until(`(document.getElementById("pulls") || {textContent: ""}).textContent.includes("41.2 of 120.0 MB")`)
	readableOnAPhone(b)
	pull.Bytes = 60_000_000
	f.history.Pulling(pull, false)
	b.until(`document.getElementById("pulls").textContent.includes("60.0 of 120.0 MB")`)
	f.history.Pulling(pull, true)
	b.until(`document.getElementById("pulls") === null`)
	// Filters are links.
	b.eval(`[...document.querySelectorAll("nav a")].find(a => a.textContent.startsWith("ignored")).click()`)
	b.until(`location.search === "?show=ignored" && [...document.querySelectorAll("summary b")].map(b => b.textContent).join() === "own"`)
	if len(b.complaints) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(b.complaints, "\n"))
	}
}

// readableOnAPhone checks in both colour schemes that nothing is wider than the
// screen and that text stands out.
func readableOnAPhone(b *browser) {
	b.Helper()
	colours := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		b.phone(scheme)
		if got := b.eval(`document.documentElement.scrollWidth`); got != "360" {
			b.Errorf("%s: %s pixels wide", scheme, got)
		}
		colours[scheme] = b.eval(`getComputedStyle(document.body).backgroundColor`)
		if dir := os.Getenv("SCREENSHOTS"); dir != "" {
			b.screenshot(filepath.Join(dir, scheme+".png"))
		}
	}
	if colours["light"] == colours["dark"] {
		b.Errorf("light and dark are the same: %s", colours["light"])
	}
	b.call("Emulation.clearDeviceMetricsOverride", "{}")
}

func TestThePageSaysWhenItIsOutOfDate(t *testing.T) {
	f := serve(t, nil)
	f.history.Looked(report.Look{At: time.Now(), Stacks: []report.Stack{{Name: "web", Status: report.Running, Sync: report.Synced}}})
	b := open(t)
	b.visit(f.url + "/")
	const title, notice = `document.title === "In sync – GitopsCompose"`, `getComputedStyle(document.getElementById("away")).display !== "none"`
	b.until(title + " && !(" + notice + ")")
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	b.until(`document.title === "Out of date – GitopsCompose" && ` + notice)
	if got := b.eval(`document.querySelectorAll("summary").length`); got != "1" {
		t.Errorf("what was known is gone: %s", got)
	}
	serve(t, func(o *Options) { o.Address, o.History = strings.TrimPrefix(f.url, "http://"), f.history })
	b.until(title + " && !(" + notice + ")")
}

func TestThePageWorksWithoutJavaScript(t *testing.T) {
	f := serve(t, nil)
	fill(f.history)
	b := open(t)
	b.call("Emulation.setScriptExecutionDisabled", `{"value":true}`)
	f.history.Pulling(report.Pull{Image: "nginx:1.29", Started: time.Now(), Layers: 2, Bytes: 1e6, Total: 4e6}, false)
	b.visit(f.url + "/?show=failed")
	if got := b.eval(`document.querySelector("#pulls td").textContent + " " + document.querySelector("progress").position`); got != "nginx:1.29 0.25" {
		t.Errorf("what is pulled: %s", got)
	}
	if got := b.eval(`[...document.querySelectorAll("summary b")].map(b => b.textContent).join()`); got != "db" {
		t.Errorf("got %s", got)
	}
	if got := b.eval(`document.querySelector("noscript meta, meta[http-equiv=refresh]").httpEquiv`); got != "refresh" {
		t.Errorf("it does not refresh itself: %s", got)
	}
}

func TestCheckNowInARealBrowser(t *testing.T) {
	// A browser says where a request began in one way if it trusts the address,
	// as it does those of its own host, and in another if it does not.
	for _, host := range []string{"127.0.0.1", "daemon.test"} {
		t.Run(host, func(t *testing.T) { checkNow(t, host) })
	}
}

func checkNow(t *testing.T, host string) {
	f := serve(t, func(o *Options) { o.ConfigFile = configFile(t, false, "") })
	fill(f.history)
	b := open(t)
	b.visit(strings.Replace(f.url, "http://127.0.0.1", "http://alice:hunter2@"+host, 1) + "/")
	b.until(`document.querySelector("form[action$=check] button").textContent === "Check now"`)
	b.eval(`document.querySelector("form[action$=check] button").click()`)
	select {
	case <-f.triggered:
	case <-time.After(15 * time.Second):
		t.Error("nothing was triggered")
	}
	b.until(`document.querySelectorAll("summary").length === 4`)
	// It follows with a password in the address, too.
	f.history.Looked(report.Look{At: time.Now(), Stacks: []report.Stack{}})
	b.until(`document.querySelectorAll("summary").length === 0`)
}

func TestADetailIsFoldedUntilSomebodyOpensIt(t *testing.T) {
	f := serve(t, func(o *Options) { o.ConfigFile = configFile(t, false, "") })
	web := report.Stack{
		Name: "web", File: "web/compose.yaml", Status: report.Failed, Sync: report.Waiting, Error: "app ended with exit code 1",
		Detail: strings.Repeat("a long line of a log ", 20) + evil, Edited: []string{"web/a-file-with-a-name-that-is-as-long-as-one-can-be.conf"}, Differences: []string{"app is missing"},
	}
	f.history.Looked(report.Look{At: time.Now(), Offline: "connection refused", Stacks: []report.Stack{web}})
	b := open(t)
	b.visit(strings.Replace(f.url, "http://", "http://alice:hunter2@", 1) + "/")
	const detail = `document.getElementById("web/compose.yaml:web:detail")`
	if got := b.eval(detail + `.open + "|" + document.getElementById("web/compose.yaml:web").open`); got != "false|true" {
		t.Errorf("open: %s", got)
	}
	b.eval(detail + `.querySelector("summary").click()`)
	b.until(detail + `.open`)
	readableOnAPhone(b)
	web.Detail = "another line"
	f.history.Updated(web)
	b.until(detail + `.textContent.includes("another line")`)
	if got := b.eval(detail + `.open`); got != "true" {
		t.Errorf("it has closed: %s", got)
	}
}

func TestThePageOfAStackFollowsItInARealBrowser(t *testing.T) {
	f := serve(t, func(o *Options) {
		o.Past = func(report.EventFilter) ([]report.Event, error) {
			return []report.Event{{At: time.Now(), Stack: "web", Operation: "before hook", Trigger: "webhook", Commit: "9f3c21e0aa", Took: time.Second, Cause: "changed: " + strings.Repeat("environment LOG_LEVEL, ", 20), Error: evil}}, nil
		}
	})
	fill(f.history)
	b := open(t)
	b.visit(f.url + "/stacks/web")
	b.until(`document.querySelectorAll("summary b").length === 1`)
	if got := b.eval(`document.querySelector("details").open + "|" + document.querySelector("a[href='../']").textContent + "|" + document.title`); !strings.HasPrefix(got, "true|All stacks|") || strings.Contains(got, "taken") {
		t.Errorf("got %s", got)
	}
	readableOnAPhone(b)
	f.history.Updated(report.Stack{Name: "web", File: "web/compose.yaml", Mode: "managed", Status: report.Failed, Sync: report.Waiting, Error: "another failure"})
	b.until(`document.body.textContent.includes("another failure")`)
}
