package web

import (
	"encoding/base64"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// delivery is a payload of a provider and the headers it comes with; SIGN in
// them becomes the signature of the body.
type delivery struct {
	name    string
	file    string
	headers []string
}

func deliveries() []delivery {
	return []delivery{
		{"GitHub", "github-push.json", []string{"X-GitHub-Event: push", "X-GitHub-Delivery: 72d3162e", "X-Hub-Signature: sha1=8908b4e1", "X-Hub-Signature-256: sha256=SIGN"}},
		{"GitLab", "gitlab-push.json", []string{"X-Gitlab-Event: Push Hook", "X-Gitlab-Token: " + secret, "X-Gitlab-Instance: https://gitlab.example.com"}},
		{"GitLab system hook", "gitlab-push.json", []string{"X-Gitlab-Event: System Hook", "X-Gitlab-Token: " + secret}},
		{"Gogs", "gogs-push.json", []string{"X-Gogs-Event: push", "X-Gogs-Signature: SIGN"}},
		{"Forgejo", "gogs-push.json", []string{"X-Forgejo-Event: push", "X-Gitea-Event: push", "X-GitHub-Event: push", "X-Forgejo-Signature: SIGN"}},
		{"Bitbucket Cloud", "bitbucket-cloud-push.json", []string{"X-Event-Key: repo:push", "X-Hook-UUID: 5c5a", "X-Hub-Signature: sha256=SIGN"}},
		{"Bitbucket Server", "bitbucket-server-push.json", []string{"X-Event-Key: repo:refs_changed", "X-Request-Id: 3a", "X-Hub-Signature: sha256=SIGN"}},
		{"a script", "github-push.json", []string{"Authorization: Bearer " + secret}},
	}
}

func (d delivery) read(t *testing.T) (body string, headers []string) {
	t.Helper()
	content, err := os.ReadFile("testdata/" + d.file)
	if err != nil {
		t.Fatal(err)
	}
	body = string(content)
	for _, h := range d.headers {
		headers = append(headers, strings.ReplaceAll(h, "SIGN", mac(body)))
	}
	return body, headers
}

func TestAPushOfEveryProviderTriggers(t *testing.T) {
	for _, d := range deliveries() {
		t.Run(d.name, func(t *testing.T) {
			body, headers := d.read(t)
			h := newHook(t, secret)
			h.expect("202 queued: push to main", body, headers...)
			if h.triggered != 1 {
				t.Errorf("triggered %d times", h.triggered)
			}
		})
	}
}

func TestAPushOfEveryProviderToSomethingElseIsIgnored(t *testing.T) {
	for _, d := range deliveries() {
		t.Run(d.name, func(t *testing.T) {
			body, headers := d.read(t)
			h := newHook(t, secret)
			h.o.Branch = "production"
			h.expect("202 ignored: push to refs/heads/main, not to refs/heads/production", body, headers...)
			if h.o.Branch = "main"; d.name != "a script" { // what it calls a repository is not known
				h.o.Remote = func() string { return "https://example.com/ops/other-host" }
				w := h.send(http.MethodPost, body, headers...)
				if !strings.Contains(strings.ToLower(w.Body.String()), "push to repository ops/host") {
					t.Errorf("got %s", w.Body)
				}
			}
			if h.triggered != 0 {
				t.Errorf("triggered %d times", h.triggered)
			}
		})
	}
}

func TestNoProviderGetsThroughWithAnotherSecret(t *testing.T) {
	for _, d := range deliveries() {
		t.Run(d.name, func(t *testing.T) {
			body, headers := d.read(t)
			h := newHook(t, "another")
			if w := h.send(http.MethodPost, body, headers...); w.Code != 401 || h.triggered != 0 {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestOtherDeliveriesAreAcknowledged(t *testing.T) {
	h := newHook(t, "")
	for _, c := range []struct{ want, body, header string }{
		{"ping", `{"zen":"Keep it logically awesome."}`, "X-GitHub-Event: ping"},
		{"ping", `{"test":true}`, "X-Event-Key: diagnostics:ping"},
		{"event issues is no push", `{"action":"opened"}`, "X-GitHub-Event: issues"},
		{"event delete is no push", `{"ref":"main","ref_type":"branch"}`, "X-Gitea-Event: delete"},
		{"event Tag Push Hook is no push", `{"object_kind":"tag_push","ref":"refs/tags/v1"}`, "X-Gitlab-Event: Tag Push Hook"},
		{"event repository_update is no push", `{"event_name":"repository_update","refs":["refs/heads/main"]}`, "X-Gitlab-Event: System Hook"},
		{"event pullrequest:created is no push", `{}`, "X-Event-Key: pullrequest:created"},
		{"push to refs/tags/v1.0, not to refs/heads/main", `{"ref":"refs/tags/v1.0"}`, "X-GitHub-Event: push"},
		{"push to refs/tags/v1.0, not to refs/heads/main", `{"push":{"changes":[{"new":{"type":"tag","name":"v1.0"}}]}}`, "X-Event-Key: repo:push"},
		{"push to refs/heads/main/x, not to refs/heads/main", `{"ref":"refs/heads/main/x"}`, "X-Gogs-Event: push"},
		{"push to repository evil/host", `{"ref":"refs/heads/main","repository":{"full_name":"evil/host"}}`, "X-GitHub-Event: push"},
	} {
		h.expect("202 ignored: "+c.want, c.body, c.header)
	}
	if h.triggered != 0 {
		t.Errorf("triggered %d times", h.triggered)
	}
	for _, c := range []struct{ want, body, header string }{
		{"push to main", `{"push":{"changes":[{"new":{"type":"branch","name":"x"}},{"new":null,"old":{"type":"branch","name":"main"}}]}}`, "X-Event-Key: repo:push"},
		{"push", `{"push":{"changes":[]}}`, "X-Event-Key: repo:push"},
		{"push", `{"ref":"9f3c21e"}`, "Content-Type: application/json"},
	} {
		h.expect("202 queued: "+c.want, c.body, c.header)
	}
}

func TestRepositoriesAreKnownByTheirPath(t *testing.T) {
	for _, c := range []struct {
		remote, name string
		want         bool
	}{
		{"https://example.com/ops/host.git", "ops/host", true},
		{"https://example.com/ops/host.git", "Ops/Host", true},
		{"git@internal.example.com:ops/host", "ops/host", true},
		{"https://bitbucket.example.com/scm/ops/host.git", "OPS/host", true},
		{"https://example.com/ops/host.git", "s/host", false},
		{"https://example.com/ops/host.git", "ops/host2", false},
		{"https://example.com/group/sub/host.git", "sub/host2", false},
		{"https://example.com/ops/host.git", "", true},
		{"/srv/git/host.git", "ops/other", true},
		{"", "ops/other", true},
	} {
		if got := locate(c.remote).is(c.name); got != c.want {
			t.Errorf("%s is %s: got %t", c.remote, c.name, got)
		}
	}
}

func TestAGitLabSigningTokenSignsIdTimeAndBody(t *testing.T) {
	key := "0123456789abcdef0123456789abcdef"
	token := "whsec_" + base64.StdEncoding.EncodeToString([]byte(key))
	body, _ := delivery{file: "gitlab-push.json"}.read(t)
	sign := func(key, at string) string {
		return "v1," + base64.StdEncoding.EncodeToString(unhex(t, macWith(key, "msg_1."+at+"."+body)))
	}
	now, old := strconv.FormatInt(time.Now().Unix(), 10), strconv.FormatInt(time.Now().Add(-10*time.Minute).Unix(), 10)
	const bad, none = "401 unauthorized: the signature is not that of the body", "401 unauthorized: no valid token and no signature"
	for _, c := range []struct{ want, at, signature string }{
		{"202 queued: push to main", now, sign(key, now)},
		{"202 queued: push to main", now, "v1a,x v1," + strings.Repeat("A", 43) + "= " + sign(key, now)},
		{bad, now, sign("other", now)},
		{bad, now, sign(key, old)},
		{none, old, sign(key, old)}, // a replay
		{none, "soon", sign(key, "soon")},
		{none, now, "v1,"},
	} {
		newHook(t, token).expect(c.want, body, "X-Gitlab-Event: Push Hook", "Webhook-Id: msg_1", "Webhook-Timestamp: "+c.at, "Webhook-Signature: "+c.signature)
	}
}
