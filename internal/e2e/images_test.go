//go:build engine

package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

const registryUser, registryPassword = "puller", "swordfish"

// images is a registry with faults to order.
type images struct {
	h       *host
	address string // host:port
	auth    bool   // it asks for a login
	store   http.Handler

	mu     sync.Mutex
	faults map[string]trouble // by repository
	seen   []string           // "GET repository/manifests/1"
	logins []string           // user names that came
}

// trouble answers a request in the registry's place, or says that it does not.
type trouble func(w http.ResponseWriter, r *http.Request) bool

// newImages serves a registry on the loopback, where engines speak plain HTTP.
func (h *host) newImages(auth bool) *images {
	h.t.Helper()
	i := h.registryHandler(auth)
	s := httptest.NewServer(i)
	h.t.Cleanup(s.Close)
	i.address = s.Listener.Addr().String()
	return i
}

func (h *host) registryHandler(auth bool) *images {
	return &images{h: h, auth: auth, store: registry.New(registry.Logger(log.New(io.Discard, "", 0))), faults: map[string]trouble{}}
}

func (i *images) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	repository := strings.TrimPrefix(r.URL.Path, "/v2/")
	for _, kind := range []string{"/manifests/", "/blobs/"} {
		if at := strings.Index(repository, kind); at >= 0 {
			repository = repository[:at]
		}
	}
	user, password, login := r.BasicAuth()
	i.mu.Lock()
	i.seen = append(i.seen, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v2/"))
	if login {
		i.logins = append(i.logins, user)
	}
	f := i.faults[repository]
	i.mu.Unlock()
	if f != nil && f(w, r) {
		return
	}
	if i.auth && (user != registryUser || password != registryPassword) {
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	i.store.ServeHTTP(w, r)
}

// fail orders a fault for a repository; nil mends it.
func (i *images) fail(repository string, f trouble) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults[repository] = f
}

// again forgets what was asked for.
func (i *images) again() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen, i.logins = nil, nil
}

// requests counts what was asked for since the last put or again.
func (i *images) requests(prefix string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := 0
	for _, s := range i.seen {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// put makes an image from nothing, with a file /version and as many random
// bytes as wanted, and pushes it; the engine never sees it. What is pulled of it
// is forgotten at the end.
func (i *images) put(name, version string, size int) (ref string) {
	i.h.t.Helper()
	ref = i.address + "/" + name
	if err := i.push(name, version, size); err != nil {
		i.h.t.Fatalf("push %s: %v", ref, err)
	}
	i.h.t.Cleanup(func() { i.h.forget(ref) })
	i.again()
	return ref
}

func (i *images) push(name, version string, size int) error {
	filler := make([]byte, size)
	_, _ = rand.Read(filler)
	layer, err := busyboxLayer(map[string][]byte{"version": []byte(version), "filler": filler})
	if err != nil {
		return err
	}
	config := fmt.Appendf(nil, `{"architecture":%q,"os":"linux","config":{"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":[%q]}}`, runtime.GOARCH, digest(layer))
	if layer, err = zipped(layer); err != nil {
		return err
	}
	const kind = "application/vnd.docker."
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"size":%d,"digest":%q},"layers":[{"mediaType":%q,"size":%d,"digest":%q}]}`,
		kind+"distribution.manifest.v2+json", kind+"container.image.v1+json", len(config), digest(config), kind+"image.rootfs.diff.tar.gzip", len(layer), digest(layer))
	repository, tag, _ := strings.Cut(name, ":")
	for _, blob := range [][]byte{config, layer} {
		if err := i.send(http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+digest(blob), "application/octet-stream", blob); err != nil {
			return err
		}
	}
	return i.send(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, kind+"distribution.manifest.v2+json", manifest)
}

// zipped is a layer as registries have it.
func zipped(layer []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(layer); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func (i *images) send(method, path, kind string, body []byte) error {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	i.store.ServeHTTP(w, r)
	if w.Code != http.StatusCreated {
		return fmt.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return nil
}

func (h *host) forget(ref string) {
	_, _ = h.api.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true, PruneChildren: true})
}

func (h *host) login(i *images, password string) {
	h.env["DOCKER_REGISTRY_URL"] = i.address
	h.env["DOCKER_REGISTRY_USERNAME"] = registryUser
	h.env["DOCKER_REGISTRY_PASSWORD"] = password
}

// dockerConfig writes the config.json that the daemon reads.
func (h *host) dockerConfig(content string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.env["DOCKER_CONFIG"], "config.json"), []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func of(ref string) string { return strings.Replace(one, "BASE", ref, 1) }

// becomes waits until a stack is as wanted, without telling the daemon anything.
func (h *host) becomes(name string, want func(report.Stack) bool) report.Stack {
	h.t.Helper()
	var st report.Stack
	h.eventually(name+" becomes as it should", func() error {
		s, err := h.status()
		if err != nil {
			return err
		}
		for _, st = range s.Stacks {
			if st.Name == h.project(name) && want(st) {
				return nil
			}
		}
		return fmt.Errorf("%+v", s.Stacks)
	})
	return st
}

func running(st report.Stack) bool { return st.Status == report.Running && st.Sync == report.Synced }

// version is the file that put wrote, in a stack's container.
func (h *host) version(name string) string {
	h.t.Helper()
	return h.exec(h.runs(name, "app")["app"], "cat", "/version")
}

func answers(code int, header map[string]string) trouble {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		if code == http.StatusTooManyRequests {
			_, _ = io.WriteString(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`)
		}
		return true
	}
}

// cutsBlobs ends a blob in the middle.
func cutsBlobs(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
		return false
	}
	w.Header().Set("Content-Length", "1000000")
	_, _ = w.Write(make([]byte, 1000))
	panic(http.ErrAbortHandler)
}

func TestARegistryThatFailsHoldsUpItsOwnStackOnlyAndIsTriedAgain(t *testing.T) {
	h := newHost(t)
	reg := h.newImages(true)
	h.login(reg, registryPassword)
	faults := map[string]trouble{
		"denied":  answers(http.StatusUnauthorized, map[string]string{"WWW-Authenticate": `Basic realm="registry"`}),
		"broken":  answers(http.StatusInternalServerError, nil),
		"cut":     cutsBlobs,
		"limited": answers(http.StatusTooManyRequests, map[string]string{"Retry-After": "33"}),
		"missing": answers(http.StatusNotFound, nil),
	}
	for name := range faults {
		h.stack(name, one)
	}
	h.stack("fine", one)
	h.push("add")
	h.first()
	before := map[string]string{}
	for name := range faults {
		before[name] = h.runs(name, "app")["app"]
		h.stack(name, of(reg.put(name+":1", "1", 1000)))
	}
	h.stack("fine", of(reg.put("fine:1", "1", 1000)))
	for name, f := range faults {
		reg.fail(name, f)
	}
	h.push("use the registry")
	s := h.settle()
	for name := range faults {
		st := s.stack(t, h.project(name))
		if st.Status != report.Failed || !strings.Contains(st.Error, reg.address+"/"+name+":1") {
			t.Errorf("%s is %s: %s", name, st.Status, st.Error)
		}
		t.Logf("%s: %s", name, st.Error)
		if h.runs(name, "app")["app"] != before[name] {
			t.Errorf("%s: a failed pull touched the container", name)
		}
		wait := time.Until(st.NextRetry)
		if name == "limited" && (wait < 12*time.Second || wait > 34*time.Second) || name != "limited" && wait > 11*time.Second {
			t.Errorf("%s is tried again in %s", name, wait)
		}
	}
	if got := h.version("fine"); got != "1" {
		t.Errorf("fine has version %s", got)
	}
	for name := range faults {
		reg.fail(name, nil)
	}
	for name := range faults {
		h.becomes(name, running)
		if got := h.version(name); got != "1" {
			t.Errorf("%s has version %s", name, got)
		}
	}
	if strings.Contains(h.daemon.log.String(), registryPassword) {
		t.Error("the password is in the log")
	}
}

func TestAWrongLoginIsSaidAtStartAndGoesToItsOwnRegistryOnly(t *testing.T) {
	h := newHost(t)
	private, other, third := h.newImages(true), h.newImages(false), h.newImages(true)
	h.login(private, "guess-me")
	h.dockerConfig(fmt.Sprintf(`{"auths": {%q: {"auth": %q}, "127.0.0.1:1": {"auth": %[2]q}}, "credHelpers": {"helped.example.com": "is-not-here"}}`,
		third.address, base64.StdEncoding.EncodeToString([]byte("puller:guess-me"))))
	h.stack("web", of(other.put("web:1", "1", 0)))
	h.push("add")
	h.first()
	said := func(level, host string) error {
		for line := range strings.Lines(h.daemon.log.String()) {
			if strings.Contains(line, "level="+level) && strings.Contains(line, "registry login") && strings.Contains(line, "registry="+host) {
				return nil
			}
		}
		return fmt.Errorf("%s: not yet", host)
	}
	h.eventually("logins that do not work are warned of", func() error {
		return errors.Join(said("WARN", private.address), said("WARN", third.address), said("WARN", "helped.example.com"), said("DEBUG", "127.0.0.1:1"))
	})
	if !strings.Contains(h.daemon.log.String(), "docker-credential-is-not-here") {
		t.Error("the helper is not named")
	}
	if strings.Contains(h.daemon.log.String(), "guess-me") {
		t.Error("the password is in the log")
	}
	h.becomes("web", running)
	other.mu.Lock()
	defer other.mu.Unlock()
	if len(other.logins) > 0 {
		t.Errorf("the other registry got logins of %v", other.logins)
	}
}

func TestALoginThatIsAddedToTheDockerConfigIsUsedAtTheNextTry(t *testing.T) {
	h := newHost(t)
	reg := h.newImages(true)
	h.stack("web", of(reg.put("web:1", "1", 0)))
	h.push("add")
	if st := h.first().stack(t, h.project("web")); st.Status != report.Failed {
		t.Fatalf("web is %s", st.Status)
	}
	auth := base64.StdEncoding.EncodeToString([]byte(registryUser + ":" + registryPassword))
	h.dockerConfig(fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, reg.address, auth))
	h.becomes("web", running)
}

func TestARegistryWithAPrivateCertificateAuthority(t *testing.T) {
	h := newHost(t)
	reg := h.registryHandler(true)
	l, ca := privateTLS(t)
	s := &http.Server{Handler: reg, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	reg.address = l.Addr().String()
	folder := filepath.Join("/etc/docker/certs.d", reg.address)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Skipf("the engine's certificates can't be written: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.WriteFile(filepath.Join(folder, "ca.crt"), ca, 0o644); err != nil {
		t.Fatal(err)
	}
	h.login(reg, registryPassword)
	ref := reg.put("web:1", "1", 0)
	reg.fail("web", answers(http.StatusNotFound, nil))
	h.stack("web", strings.Replace(of(ref), "{image", "{pull_policy: every_1s, image", 1))
	h.push("add")
	h.first()
	reg.fail("web", nil)
	h.becomes("web", running)
	reg.put("web:1", "2", 0)
	h.becomes("web", func(st report.Stack) bool {
		return running(st) && len(st.Outcomes) > 0 && strings.Contains(st.Outcomes[0].Cause, "older")
	})
	if got := h.version("web"); got != "2" {
		t.Errorf("web has version %s", got)
	}
	if strings.Contains(h.daemon.log.String(), "login does not work") {
		t.Error("the login was not checked with the certificate authority of the engine")
	}
}

// privateTLS listens where engines want a certificate that they can verify, and
// gives the authority of its own.
func privateTLS(t *testing.T) (net.Listener, []byte) {
	t.Helper()
	var ip net.IP
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			ip = n.IP
			break // later ones are those of networks that come and go
		}
	}
	if ip == nil {
		t.Skip("there is no address but the loopback")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry"}, IPAddresses: []net.IP{ip},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", net.JoinHostPort(ip.String(), "0"), &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	return l, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestAnImageThatTwoStacksWantIsPulledOnceAndItsProgressIsSeen(t *testing.T) {
	h := newHost(t)
	reg := h.newImages(false)
	ref := reg.put("shared:1", "1", 4<<20)
	drip := make(chan struct{})
	reg.fail("shared", func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		answer := httptest.NewRecorder()
		reg.store.ServeHTTP(answer, r)
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		body := answer.Body.Bytes()
		if len(body) < 1<<20 {
			_, _ = w.Write(body)
			return true
		}
		pace := time.NewTicker(200 * time.Millisecond)
		defer pace.Stop()
		for at := 0; at < len(body); {
			n := min(20_000, len(body)-at)
			select {
			case <-drip:
				n = len(body) - at
			case <-pace.C:
			case <-r.Context().Done():
				return true
			}
			_, _ = w.Write(body[at : at+n])
			w.(http.Flusher).Flush()
			at += n
		}
		return true
	})
	h.stack("a", of(ref))
	h.stack("b", of(ref))
	h.push("add")
	h.start()
	h.eventually("both stacks pull, and the log says how far", func() error {
		var s struct {
			status
			Pulls []report.Pull `json:"pulls"`
		}
		if err := h.getJSON("/api/v1/status", &s); err != nil {
			return err
		}
		if len(s.Pulls) != 1 || s.Pulls[0].Image != ref || s.Pulls[0].Layers != 1 || s.Pulls[0].Bytes == 0 || s.Pulls[0].Total < 4<<20 {
			return fmt.Errorf("%+v", s.Pulls)
		}
		applying := 0
		for _, st := range s.Stacks {
			if st.Sync == report.Applying {
				applying++
			}
		}
		if n := strings.Count(h.daemon.log.String(), "still pulling"); applying != 2 || n == 0 {
			return fmt.Errorf("%d stacks pull, said %d times", applying, n)
		}
		return nil
	})
	close(drip)
	h.becomes("a", running)
	h.becomes("b", running)
	if n := reg.requests("GET shared/manifests/"); n != 1 {
		t.Errorf("%d pulls, want one", n)
	}
	if n := strings.Count(h.daemon.log.String(), "still pulling"); n > 3 {
		t.Errorf("said %d times", n)
	}
	h.eventually("no pull is shown any more", func() error {
		var s struct{ Pulls []report.Pull }
		if err := h.getJSON("/api/v1/status", &s); err != nil {
			return err
		}
		if len(s.Pulls) > 0 {
			return fmt.Errorf("%+v", s.Pulls)
		}
		return nil
	})
}

func TestATagThatMovesUpdatesItsStackWithoutACommit(t *testing.T) {
	h := newHost(t)
	reg := h.newImages(true)
	h.login(reg, registryPassword)
	h.env["SELF_HEAL"], h.env["PRUNE_IMAGES"] = "false", "true"
	ref := reg.put("web:latest", "1", 0)
	h.stack("web", `
services:
  app: {image: `+ref+`, pull_policy: every_1s, command: RUN, stop_grace_period: 0s}
  side: {image: BASE, command: RUN, stop_grace_period: 0s}
`)
	h.stack("pinned", of(ref))
	h.push("add")
	h.first()
	before, pinned := h.runs("web", "app", "side"), h.runs("pinned", "app")["app"]
	old := h.containers("web")[0].ImageID
	first := h.becomes("web", running).Services[0].RepoDigest
	reg.again()
	h.eventually("the registry is asked", func() error {
		if n := reg.requests("HEAD web/manifests/latest"); n < 4 { // each question once without the login
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	if n := reg.requests("GET web/"); n > 0 {
		t.Errorf("%d requests that count as a pull", n)
	}
	reg.put("web:latest", "2", 0)
	st := h.becomes("web", func(st report.Stack) bool {
		return running(st) && st.Services[0].RepoDigest != "" && st.Services[0].RepoDigest != first
	})
	after := h.runs("web", "app", "side")
	if after["app"] == before["app"] || after["side"] != before["side"] {
		t.Error("want app recreated, and side not")
	}
	if got := h.exec(after["app"], "cat", "/version"); got != "2" {
		t.Errorf("web has version %s", got)
	}
	metrics, _, err := h.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`gitops_stack_image_info{digest=%q,image=%q,service="app",stack=%q} 1`, st.Services[0].RepoDigest, ref, st.Name)
	if !strings.Contains(string(metrics), want) {
		t.Errorf("no %s", want)
	}
	if h.runs("pinned", "app")["app"] != pinned {
		t.Error("a stack without such a policy was updated")
	}
	if _, err := h.api.ImageInspect(context.Background(), old); err != nil {
		t.Errorf("an image that a container uses was removed: %v", err)
	}
}

func TestImagesThatNothingUsesAnyMoreAreRemovedIfThatIsWanted(t *testing.T) {
	h := newHost(t)
	reg := h.newImages(false)
	h.env["PRUNE_IMAGES"] = "true"
	ctx := context.Background()
	names := []string{"gone", "tagged", "shared", "wanted"}
	for _, n := range names {
		h.stack(n, of(reg.put(n+":1", n, 0)))
	}
	h.stack("other", of(reg.address+"/shared:1"))
	h.stack("off", strings.Replace(of(reg.address+"/wanted:1"), "{image", "{scale: 0, image", 1))
	h.push("add")
	h.first()
	keep := reg.address + "/keep:me"
	if err := h.api.ImageTag(ctx, reg.address+"/tagged:1", keep); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.forget(keep) })
	for _, n := range names {
		h.stack(n, of(reg.put(n+":2", n+"2", 0)))
	}
	h.push("update")
	s := h.settle()
	for _, n := range names {
		if st := s.stack(t, h.project(n)); !running(st) {
			t.Fatalf("%s is %s: %s", n, st.Status, st.Error)
		}
		_, err := h.api.ImageInspect(ctx, reg.address+"/"+n+":1")
		if there := err == nil; there != (n != "gone") {
			t.Errorf("%s:1 is there: %v", n, there)
		}
	}
}

func TestABuildFollowsItsContext(t *testing.T) {
	for name, kit := range map[string]string{"classic": "0", "as the engine can": ""} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.env["DOCKER_BUILDKIT"] = kit
			h.write("web/app/Dockerfile", "FROM "+baseImage+"\nCOPY version /version\n")
			h.write("web/app/version", "1\n")
			h.stack("web", `
services:
  app: {build: ./app, command: RUN, stop_grace_period: 0s}
  side: {image: BASE, command: RUN, stop_grace_period: 0s}
`)
			built := h.project("web") + "-app"
			t.Cleanup(func() { h.forget(built) })
			h.push("add")
			if st := h.first().stack(t, h.project("web")); !running(st) {
				t.Fatalf("web is %s: %s", st.Status, st.Error)
			}
			before := h.runs("web", "app", "side")
			h.write("web/app/version", "2\n")
			h.push("change the context")
			h.settle()
			after := h.runs("web", "app", "side")
			if got := h.exec(after["app"], "cat", "/version"); got != "2" || after["side"] != before["side"] {
				t.Errorf("app has version %s; side recreated: %v", got, after["side"] != before["side"])
			}
			h.write("web/app/Dockerfile", "FROM "+baseImage+"\nCOPY nothing /version\n")
			h.push("break the build")
			st := h.settle().stack(t, h.project("web"))
			if st.Status != report.Failed || !strings.Contains(st.Error, "build app") || !strings.Contains(st.Error, "nothing") {
				t.Errorf("web is %s: %s", st.Status, st.Error)
			}
			if now := h.runs("web", "app", "side"); now["app"] != after["app"] {
				t.Error("a failed build touched the container")
			}
		})
	}
}

func TestAnImageOfAnotherServicesBuildIsNotPulled(t *testing.T) {
	h := newHost(t)
	// Nobody answers there.
	image := "127.0.0.1:9/" + h.project("web") + ":1"
	t.Cleanup(func() { h.forget(image) })
	h.write("web/app/Dockerfile", "FROM "+baseImage+"\nCOPY version /version\n")
	h.write("web/app/version", "1\n")
	h.stack("web", fmt.Sprintf(`
services:
  app: {image: %[1]q, command: RUN, stop_grace_period: 0s}
  maker: {build: ./app, image: %[1]q, pull_policy: always, command: RUN, stop_grace_period: 0s}
`, image))
	h.push("add")
	if st := h.first().stack(t, h.project("web")); !running(st) {
		t.Fatalf("web is %s: %s", st.Status, st.Error)
	}
	h.write("web/app/version", "2\n")
	h.push("change the context")
	h.settle()
	for service, id := range h.runs("web", "app", "maker") {
		if got := h.exec(id, "cat", "/version"); got != "2" {
			t.Errorf("%s has version %s", service, got)
		}
	}
}

func TestAnEngineThatDoesNotBuildFailsTheStackWithTheReason(t *testing.T) {
	for path, kit := range map[string]string{"/build": "0", "/grpc": "1", "/session": ""} {
		t.Run(path, func(t *testing.T) {
			h := newHost(t)
			p := h.behindProxy()
			p.forbidden = []string{"POST " + path}
			h.env["DOCKER_BUILDKIT"] = kit
			h.write("web/Dockerfile", "FROM "+baseImage+"\n")
			h.stack("web", `
services:
  app: {build: ., command: RUN, stop_grace_period: 0s}
`)
			h.stack("other", one)
			h.push("add")
			s := h.first()
			st := s.stack(t, h.project("web"))
			if st.Status != report.Failed {
				t.Errorf("web is %s", st.Status)
			}
			for _, want := range []string{"build app: the engine does not let the daemon build", path + " is answered with 403", "docker-socket-proxy", "image:"} {
				if !strings.Contains(st.Error, want) {
					t.Errorf("no %q in %s", want, st.Error)
				}
			}
			if st := s.stack(t, h.project("other")); !running(st) {
				t.Errorf("other is %s: %s", st.Status, st.Error)
			}
			if slices.Contains(p.disarm(), "POST /images/create") {
				t.Error("a builder was pulled in the engine's place")
			}
		})
	}
}
