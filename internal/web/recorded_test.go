package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

// webhooks is a module with payloads of six providers.
const (
	webhooks    = "github.com/go-playground/webhooks/v6@v6.4.0"
	webhooksSum = "h1:KLa6y7bD19N48rxJDHM0DpE3T4grV7GxMy1b/aHMWPY="
)

// recorded is a delivery that somebody else recorded.
type recorded struct {
	provider string // who sent it, by the name of the folder, or forgejo
	event    string // as the provider's header says it
	body     string
}

// headers are those that the provider sends along with a body, with the proof
// that it knows the secret. signed is what it signs: a body, or the JSON inside.
func (r recorded) headers(signed string) []string {
	sum := mac(signed)
	likeGitHub := []string{"X-GitHub-Event: " + r.event, "X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958", "X-Hub-Signature: sha1=" + sum[:40], "X-Hub-Signature-256: sha256=" + sum}
	likeGogs := []string{"X-Gogs-Event: " + r.event, "X-Gogs-Signature: " + sum}
	likeGitea := append(append(likeGogs, likeGitHub...), "X-Gitea-Event: "+r.event, "X-Gitea-Signature: "+sum)
	switch r.provider {
	case "github":
		return likeGitHub
	case "gitlab":
		return []string{"X-Gitlab-Event: " + r.event, "X-Gitlab-Token: " + secret}
	case "gogs":
		return likeGogs
	case "gitea":
		return likeGitea
	case "forgejo":
		return append(likeGitea, "X-Forgejo-Event: "+r.event, "X-Forgejo-Signature: "+sum)
	case "bitbucket", "bitbucket-server":
		return []string{"X-Event-Key: " + r.event, "X-Hub-Signature: sha256=" + sum}
	}
	return []string{"Authorization: Bearer " + secret}
}

// expect sends the delivery in every way that its provider has, and compares
// what is decided.
func (r recorded) expect(h *hook, want string) {
	h.Helper()
	h.expect(want, r.body, r.headers(r.body)...)
	form, encoded := "Content-Type: application/x-www-form-urlencoded", "payload="+url.QueryEscape(r.body)
	switch r.provider {
	case "github": // signs the form
		h.expect(want, encoded, append(r.headers(encoded), form)...)
	case "gitea", "forgejo", "gogs": // sign the JSON inside
		h.expect(want, encoded, append(r.headers(r.body), form)...)
	}
}

// addresses are those that a payload gives for its repository.
func (r recorded) addresses(t *testing.T) []string {
	t.Helper()
	type repository struct {
		CloneURL string `json:"clone_url"`
		SSHURL   string `json:"ssh_url"`
		FullName string `json:"full_name"`
		GitHTTP  string `json:"git_http_url"`
		GitSSH   string `json:"git_ssh_url"`
		Links    struct{ Clone []struct{ Href string } }
	}
	var p struct{ Repository, Project repository }
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatal(err)
	}
	all := []string{p.Repository.CloneURL, p.Repository.SSHURL, p.Project.GitHTTP, p.Project.GitSSH}
	for _, link := range p.Repository.Links.Clone {
		all = append(all, link.Href)
	}
	if r.provider == "bitbucket" { // its payloads have none
		all = []string{"https://bitbucket.org/" + p.Repository.FullName + ".git", "git@bitbucket.org:" + p.Repository.FullName + ".git"}
	}
	var given []string
	for _, address := range all {
		if address != "" {
			given = append(given, address)
		}
	}
	if len(given) != 2 {
		t.Fatalf("addresses: %q", given)
	}
	return given
}

// push checks all that can be decided about a push of a ref.
func (r recorded) push(t *testing.T, ref, repository string) {
	t.Helper()
	branch, isBranch := strings.CutPrefix(ref, "refs/heads/")
	triggers := 0
	h := newHook(t, secret)
	for _, remote := range r.addresses(t) {
		h.o.Remote = func() string { return remote }
		h.o.Branch = "another"
		r.expect(h, "202 ignored: push to "+ref+", not to refs/heads/another")
		if isBranch {
			h.o.Branch = branch
			before := h.triggered
			r.expect(h, "202 queued: push to "+branch)
			triggers += h.triggered - before
		}
		h.o.Remote = func() string { return strings.TrimSuffix(remote, ".git") + "-of-somebody-else.git" }
		r.expect(h, "202 ignored: push to repository "+repository)
	}
	if h.triggered != triggers || isBranch != (triggers > 0) {
		t.Errorf("triggered %d times", h.triggered)
	}
	r.forged(t)
}

// other checks that a delivery that is no push is acknowledged, whatever the
// repository and the branch are.
func (r recorded) other(t *testing.T, reason string) {
	t.Helper()
	h := newHook(t, secret)
	h.o.Remote = func() string { return "" }
	for _, branch := range []string{"main", "master"} {
		h.o.Branch = branch
		r.expect(h, "202 ignored: "+reason)
	}
	if h.triggered != 0 {
		t.Errorf("triggered %d times", h.triggered)
	}
	r.forged(t)
}

// forged checks that nobody gets through without the secret.
func (r recorded) forged(t *testing.T) {
	t.Helper()
	h := newHook(t, "another secret")
	if w := h.send(http.MethodPost, r.body, r.headers(r.body)...); w.Code != http.StatusUnauthorized || h.triggered != 0 {
		t.Errorf("with another secret: got %d %s", w.Code, w.Body)
	}
}

func TestRecordedPushesAreUnderstood(t *testing.T) {
	dir := filepath.Join(module(t, webhooks, webhooksSum), "testdata")
	for _, c := range []struct{ folder, file, event, ref, repository string }{
		{"github", "push", "push", "refs/heads/master", "binkkatal/sample_app"},
		{"gitea", "push-event", "push", "refs/heads/master", "example/example"},
		{"gogs", "push-event", "push", "refs/heads/develop", "unknwon/webhooks"}, //nolint:misspell // that is his name
		{"bitbucket", "repo-push", "repo:push", "refs/heads/name-of-branch", "team_name/repo_name"},
		// This one deletes the branch. The look finds out what that means.
		{"bitbucket-server", "repo-refs-changed", "repo:refs_changed", "refs/heads/feature/wip", "~gopher/webhook-test"},
	} {
		t.Run(c.folder+" "+c.file, func(t *testing.T) {
			r := recorded{c.folder, c.event, folder(t, filepath.Join(dir, c.folder))[c.file]}
			r.push(t, c.ref, c.repository)
			if c.folder == "gitea" {
				r.provider = "forgejo"
				r.push(t, c.ref, c.repository)
			}
		})
	}
	t.Run("a service that is not known", func(t *testing.T) {
		h := newHook(t, secret)
		r := recorded{"azuredevops", "", folder(t, filepath.Join(dir, "azuredevops"))["git.push"]}
		r.expect(h, "202 queued: push")
		r.forged(t)
	})
}

func TestRecordedEventsThatAreNoPushesAreAcknowledged(t *testing.T) {
	dir := filepath.Join(module(t, webhooks, webhooksSum), "testdata")
	for _, provider := range []string{"github", "gitea", "gogs", "bitbucket", "bitbucket-server"} {
		for file, body := range folder(t, filepath.Join(dir, provider)) {
			switch file {
			case "push", "push-event", "repo-push", "repo-refs-changed":
				continue
			}
			t.Run(provider+" "+file, func(t *testing.T) {
				r := recorded{provider, named(provider, file), body}
				if file == "ping" {
					r.other(t, "ping")
					return
				}
				r.other(t, "event "+r.event+" is no push")
			})
		}
	}
}

// named is what a provider's header says, by the name of a file. The files are
// named after the events, nearly as the providers call them.
func named(provider, file string) string {
	name := strings.TrimSuffix(file, "-event")
	if strings.HasPrefix(provider, "bitbucket") {
		return strings.Replace(strings.Replace(name, "pull-request", "pullrequest", 1), "-", ":", 1)
	}
	return strings.ReplaceAll(name, "-", "_")
}

func TestRecordedEventsOfGitLabAreUnderstood(t *testing.T) {
	for name, dir := range map[string]string{
		"collected by others": filepath.Join(module(t, webhooks, webhooksSum), "testdata/gitlab"),
		"of its own client":   filepath.Join(module(t, "gitlab.com/gitlab-org/api/client-go@v1.46.0", "h1:YxBWFZIFYKcGESCb9fpkwzouo+apyB9pr/XTWzNoL24="), "testdata/webhooks"),
	} {
		for file, body := range folder(t, dir) {
			t.Run(name+" "+file, func(t *testing.T) {
				kind, header := ofGitLab(t, body)
				r := recorded{"gitlab", header, body}
				switch {
				case kind == "push":
					r.push(t, "refs/heads/master", "mike/diaspora")
				case header == "System Hook":
					r.other(t, "event "+kind+" is no push")
				default:
					r.other(t, "event "+header+" is no push")
				}
			})
		}
	}
}

// ofGitLab is what a payload of GitLab is about, and what the header says that
// comes with it. Payloads of system hooks have no kind, but for a few.
func ofGitLab(t *testing.T, body string) (kind, header string) {
	t.Helper()
	var p struct {
		Kind string `json:"object_kind"`
		Name string `json:"event_name"`
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	switch p.Kind {
	case "":
		return p.Name, "System Hook"
	case "build":
		return p.Kind, "Job Hook"
	}
	for word := range strings.SplitSeq(p.Kind, "_") {
		header += strings.ToUpper(word[:1]) + word[1:] + " "
	}
	return p.Kind, header + "Hook"
}

// TestRecordedDeliveriesOfGitHubAreUnderstood takes those that GitHub's own
// libraries are made from: pushes and deletions of branches and tags, pings of
// repositories and organisations, and hundreds of others.
func TestRecordedDeliveriesOfGitHubAreUnderstood(t *testing.T) {
	const sum = "De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ=="
	var events []struct {
		Name     string
		Examples []json.RawMessage
	}
	if err := json.Unmarshal(npm(t, "@octokit/webhooks-examples@7.6.1", sum, "package/api.github.com/index.json"), &events); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, e := range events {
		t.Run(e.Name, func(t *testing.T) {
			for _, body := range e.Examples {
				r := recorded{"github", e.Name, string(body)}
				switch e.Name {
				case "push":
					ref := refOf(t, body)
					seen[ref]++
					r.push(t, ref, "Codertocat/Hello-World")
				case "ping":
					seen["ping"]++
					r.other(t, "ping")
				default:
					r.other(t, "event "+e.Name+" is no push")
				}
			}
		})
	}
	if got := fmt.Sprint(seen); got != "map[ping:4 refs/heads/master:2 refs/tags/simple-tag:5]" {
		t.Errorf("saw %s", got)
	}
}

func refOf(t *testing.T, body []byte) string {
	t.Helper()
	var p struct{ Ref string }
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatal(err)
	}
	return p.Ref
}
