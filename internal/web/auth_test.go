package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// logged is what a container has written and strangers must not read.
const logged = "password is swordfish"

// crashed tells of a failure with a detail, in all the places there are.
func crashed(h *report.History) {
	stacks := []report.Stack{{Name: "web", File: "web/compose.yaml", Status: report.Failed, Error: "app ended with exit code 1", Detail: logged}}
	look := report.Look{At: time.Now(), Asked: time.Now(), Stacks: stacks}
	h.Looked(look)
	h.Ended(report.Check{Look: look, Ended: time.Now(), Final: stacks, Operations: []report.Operation{
		{Kind: "up", Stack: "web", Cause: "changed", Error: "app ended with exit code 1", Detail: logged},
	}})
}

// answers are what each of the faces says, by its path.
func (f *face) answers() map[string]string {
	f.Helper()
	all := map[string]string{}
	for _, path := range []string{"/", "/api/v1/status", "/metrics"} {
		_, all[path] = f.do("GET", path, "")
	}
	events, _ := f.listen()
	all["/api/v1/events"] = next(f.T, events, 3) // look, stack, check
	go func() {
		<-f.triggered
		crashed(f.history) // what the push has caused
	}()
	_, all["/webhook?wait=true"] = f.do("POST", "/webhook?wait=true", "", "X-Gitlab-Token: "+secret)
	return all
}

// shown checks which of the faces show details, and that all say why.
func (f *face) shown(want map[string]int) {
	f.Helper()
	crashed(f.history)
	for path, body := range f.answers() {
		if got := strings.Count(body, logged); got != want[path] {
			f.Errorf("%s: the detail is shown %d times, want %d: %s", path, got, want[path], body)
		}
		if path != "/metrics" && !strings.Contains(body, "app ended with exit code 1") {
			f.Errorf("%s does not say why: %s", path, body)
		}
	}
}

// all is how often a detail is in what who has authenticated gets: of the stack,
// and of the operation.
func all() map[string]int {
	return map[string]int{"/": 1, "/api/v1/status": 2, "/api/v1/events": 2, "/webhook?wait=true": 1}
}

func hookSecret(o *Options) { o.WebhookSecret = func() (string, error) { return secret, nil } }

func TestDetailsAreNotForStrangers(t *testing.T) {
	serve(t, hookSecret).shown(nil)
}

func TestDetailsAreForThoseWithAPassword(t *testing.T) {
	f := serve(t, func(o *Options) {
		hookSecret(o)
		o.ConfigFile = configFile(t, false, "")
	})
	f.url = strings.Replace(f.url, "http://", "http://alice:hunter2@", 1)
	f.shown(all())
	if _, body := f.do("GET", "/", ""); !strings.Contains(body, `<details id="web/compose.yaml:web:detail"><summary>Detail</summary>`) {
		t.Error("the detail is not folded")
	}
}

func TestDetailsAreForThoseWithACertificateThatWasVerified(t *testing.T) {
	for name, c := range map[string]struct {
		policy string
		shown  map[string]int
	}{
		"required and verified": {"client_auth_type: RequireAndVerifyClientCert", all()},
		"verified":              {"client_auth_type: VerifyClientCertIfGiven", all()},
		"only required":         {"client_auth_type: RequireAnyClientCert", nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			certificate(t, dir)
			mine := client(t, dir)
			config := "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  client_ca_file: client.pem\n  " + c.policy + "\n"
			f := serve(t, func(o *Options) {
				hookSecret(o)
				o.ConfigFile = write(t, filepath.Join(dir, "web.yml"), []byte(config))
			})
			f.url = strings.Replace(f.url, "http://", "https://", 1)
			f.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{mine}}}
			f.shown(c.shown)
		})
	}
}

func TestDetailsAreNotForThoseWithoutTheirCertificate(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir)
	client(t, dir)
	f := serve(t, func(o *Options) {
		hookSecret(o)
		o.ConfigFile = write(t, filepath.Join(dir, "web.yml"),
			[]byte("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  client_ca_file: client.pem\n  client_auth_type: VerifyClientCertIfGiven\n"))
	})
	f.url = strings.Replace(f.url, "http://", "https://", 1)
	f.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	f.shown(nil)
}

// Without an authority of its own, a server takes every certificate that any
// public one has issued.
func TestACertificateOfAnAuthorityThatNobodyNamedProvesNothing(t *testing.T) {
	r := &http.Request{TLS: &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}}
	path := write(t, filepath.Join(t.TempDir(), "web.yml"), []byte("tls_server_config: {cert_file: c, key_file: k, client_auth_type: RequireAndVerifyClientCert}"))
	if authenticated(path, r) {
		t.Error("it does")
	}
	path = write(t, filepath.Join(t.TempDir(), "web.yml"), []byte("tls_server_config: {cert_file: c, key_file: k, client_ca_file: a, client_auth_type: RequireAndVerifyClientCert}"))
	if !authenticated(path, r) {
		t.Error("and one of an authority that is named doesn't either")
	}
}

func TestAConfigurationThatCanNotBeReadLetsNobodySeeDetails(t *testing.T) {
	if authenticated(filepath.Join(t.TempDir(), "web.yml"), &http.Request{}) {
		t.Error("it does")
	}
}

// client makes a certificate for a client that is its own authority, client.pem.
func client(t *testing.T, dir string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "client.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}
}
