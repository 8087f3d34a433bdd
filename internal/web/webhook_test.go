package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

const secret = "hunter2"

func mac(body string) string { return macWith(secret, body) }

func macWith(key, body string) string {
	h := hmac.New(sha256.New, []byte(key))
	_, _ = io.WriteString(h, body)
	return hex.EncodeToString(h.Sum(nil))
}

// hook is a webhook without a server.
type hook struct {
	*testing.T
	o         Options
	triggered int
	counted   []string
}

func newHook(t *testing.T, secret string) *hook {
	h := &hook{T: t}
	h.o = defaults(Options{
		Branch:        "main",
		Remote:        func() string { return "https://example.com/ops/host.git" },
		WebhookSecret: func() (string, error) { return secret, nil },
		Trigger:       func(string) { h.triggered++ },
		Count:         func(provider, result string) { h.counted = append(h.counted, provider+" "+result) },
	})
	return h
}

func (h *hook) send(method, body string, headers ...string) *httptest.ResponseRecorder {
	return h.stream(method, strings.NewReader(body), headers...)
}

func (h *hook) stream(method string, body io.Reader, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/webhook", body)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	newWebhook(h.o, nil).ServeHTTP(w, r)
	return w
}

// expect sends a POST and compares the answer with "code status: reason".
func (h *hook) expect(want, body string, headers ...string) {
	h.Helper()
	h.compare(want, h.send(http.MethodPost, body, headers...), strings.Join(headers, ", "))
}

func (h *hook) compare(want string, w *httptest.ResponseRecorder, name string) {
	h.Helper()
	var d Decision
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		h.Fatalf("%s: %v: %s", name, err, w.Body)
	}
	if got := fmt.Sprintf("%d %s: %s", w.Code, d.Status, d.Reason); got != want {
		h.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
	}
}

func TestWithoutASecretAnyPostTriggers(t *testing.T) {
	h := newHook(t, "")
	h.expect("202 queued: push", "")
	h.expect("202 queued: push", "what is this?")
	h.expect("202 queued: push", "[1, 2", "X-GitHub-Event: push")
	h.expect("202 queued: push", `{"ref":`, "X-Hub-Signature-256: sha256=")
	if h.triggered != 4 {
		t.Errorf("triggered %d times", h.triggered)
	}
}

func TestWithASecretOnlyAProofTriggers(t *testing.T) {
	const body = `{"ref":"refs/heads/main","repository":{"full_name":"ops/host"}}`
	const bad, none = "401 unauthorized: the signature is not that of the body", "401 unauthorized: no valid token and no signature"
	h := newHook(t, secret)
	for header, want := range map[string]string{
		"X-None: x":                                        none,
		"Authorization: Bearer " + secret + "x":            none,
		"Authorization: Bearer ":                           none,
		"Authorization: " + secret:                         none,
		"Authorization: Basic aHVudGVyMjpodW50ZXIy":        none,
		"X-Gitlab-Token: hunter":                           none,
		"X-Hub-Signature-256: sha256=":                     none,
		"X-Hub-Signature-256: sha256=zz":                   none,
		"X-Hub-Signature-256: " + mac(body):                none,
		"X-Hub-Signature-256: sha256=" + mac(body)[:62]:    none,
		"X-Hub-Signature: sha1=8908b4e1d16c3b57519572d503": none,
		"X-Gitea-Signature: ":                              none,
		"X-Hub-Signature-256: sha256=" + mac(body+" "):     bad,
		"X-Hub-Signature-256: sha256=" + macWith("", body): bad,
		"X-Gitea-Signature: " + macWith("other", body):     bad,
		"X-Hub-Signature: sha256=" + mac(""):               bad,
	} {
		h.expect(want, body, header)
	}
	if h.triggered != 0 {
		t.Fatalf("triggered %d times", h.triggered)
	}
	for _, header := range []string{
		"Authorization: Bearer " + secret, "X-Gitlab-Token: " + secret, "X-Hub-Signature-256: sha256=" + mac(body), "X-Hub-Signature: sha256=" + mac(body),
		"X-Gitea-Signature: " + mac(body), "X-Forgejo-Signature: " + mac(body), "X-Gogs-Signature: " + strings.ToUpper(mac(body)),
	} {
		h.expect("202 queued: push to main", body, header)
	}
	if h.triggered != 7 {
		t.Errorf("triggered %d times", h.triggered)
	}
}

func TestARecordedPushOfGiteaIsUnderstood(t *testing.T) {
	body, err := os.ReadFile("testdata/gitea-push.json")
	if err != nil {
		t.Fatal(err)
	}
	h := newHook(t, "eng-hook-secret")
	h.o.Remote = func() string { return "http://127.0.0.1:3099/engadmin/eng-repo.git" }
	const signature = "319ef0d3306f2992f8640a2525e6fa9a2a9e0f84fe168f8a57efaff9051b9d4f"
	headers := []string{"X-GitHub-Event: push", "X-Gogs-Event: push", "X-Gitea-Event: push", "Authorization: Bearer eng-token", "X-Hub-Signature-256: sha256=" + signature}
	h.expect("202 queued: push to main", string(body), headers...)
	h.o.Branch = "production"
	h.expect("202 ignored: push to refs/heads/main, not to refs/heads/production", string(body), headers...)
	h.o.Remote = func() string { return "git@example.com:ops/host.git" }
	h.expect("202 ignored: push to repository engadmin/eng-repo", string(body), headers...)
	if got := strings.Join(h.counted, ", "); got != "gitea queued, gitea ignored, gitea ignored" {
		t.Errorf("counted %s", got)
	}

	// With the form content type the signature is over the JSON inside.
	h = newHook(t, "eng-hook-secret")
	h.o.Remote = func() string { return "" }
	form := "payload=" + url.QueryEscape(string(body))
	h.expect("202 queued: push to main", form, append(headers, "Content-Type: application/x-www-form-urlencoded")...)
	h.expect("401 unauthorized: the signature is not that of the body", form, headers...)
}

func TestAFormOfGitHubIsSignedAsItIsSent(t *testing.T) {
	h := newHook(t, secret)
	form := "payload=" + url.QueryEscape(`{"ref":"refs/heads/feature","repository":{"full_name":"ops/host"}}`)
	h.expect("202 ignored: push to refs/heads/feature, not to refs/heads/main", form, "X-GitHub-Event: push",
		"Content-Type: application/x-www-form-urlencoded; charset=utf-8", "X-Hub-Signature-256: sha256="+mac(form))
}

func TestTheSignatureOfNothingSignsNoForm(t *testing.T) {
	h := newHook(t, secret)
	h.expect("401 unauthorized: the signature is not that of the body", "other=1", "Content-Type: application/x-www-form-urlencoded", "X-Gitea-Signature: "+mac(""))
}

func TestOnlyPostIsAccepted(t *testing.T) {
	h := newHook(t, "")
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} {
		w := h.send(method, "")
		if w.Code != 405 || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: %d, Allow: %s", method, w.Code, w.Header().Get("Allow"))
		}
	}
	if h.triggered != 0 {
		t.Errorf("triggered %d times", h.triggered)
	}
}

// zeros is a body without an end.
type zeros struct{ read int }

func (z *zeros) Read(p []byte) (int, error) {
	clear(p)
	z.read += len(p)
	return len(p), nil
}

func TestABodyThatIsTooLargeIsRefused(t *testing.T) {
	h := newHook(t, "")
	const want = "413 rejected: the body is larger than 25 MiB"
	body := &zeros{}
	h.compare(want, h.stream("POST", body), "without a declared size")
	if body.read > maxBody+64<<10 {
		t.Errorf("read %d bytes", body.read)
	}
	r := httptest.NewRequest("POST", "/webhook", iotest.ErrReader(errors.New("must not be read")))
	r.ContentLength = maxBody + 1
	w := httptest.NewRecorder()
	newWebhook(h.o, nil).ServeHTTP(w, r)
	h.compare(want, w, "with a declared size")
	h.compare("202 queued: push", h.stream("POST", io.LimitReader(&zeros{}, maxBody)), "25 MiB")
}

func TestABodyThatNobodyProvedIsNotRead(t *testing.T) {
	h := newHook(t, secret)
	h.compare("401 unauthorized: no valid token and no signature", h.stream("POST", iotest.ErrReader(errors.New("must not be read"))), "no proof")
}

func TestABodyThatEndsEarlyIsRefused(t *testing.T) {
	h := newHook(t, "")
	h.compare("400 rejected: the body ended early", h.stream("POST", iotest.ErrReader(io.ErrUnexpectedEOF)), "cut off")
	if h.triggered != 0 {
		t.Error("triggered")
	}
}

func TestASecretThatCanNotBeReadOpensNothing(t *testing.T) {
	h := newHook(t, "")
	h.o.WebhookSecret = func() (string, error) { return "", errors.New("no such file") }
	h.expect("503 rejected: the secret can't be read", "")
	if h.triggered != 0 {
		t.Error("triggered")
	}
}

func TestTheHeadOfALargePayloadIsEnough(t *testing.T) {
	h := newHook(t, secret)
	body := `{"ref":"refs/heads/other","commits":"` + strings.Repeat("x", 2*maxHead) + `"}`
	h.expect("202 ignored: push to refs/heads/other, not to refs/heads/main", body, "X-GitHub-Event: push", "X-Hub-Signature-256: sha256="+mac(body))
	body = `{"commits":"` + strings.Repeat("x", 2*maxHead) + `","ref":"refs/heads/other"}`
	h.expect("202 queued: push", body, "X-GitHub-Event: push", "X-Hub-Signature-256: sha256="+mac(body))
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
