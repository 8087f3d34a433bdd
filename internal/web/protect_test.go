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
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// configFile writes a web configuration with a user alice:hunter2, and TLS if
// that is wanted.
func configFile(t *testing.T, withTLS bool, more string) string {
	t.Helper()
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	content := "basic_auth_users:\n  alice: " + string(hash) + "\n"
	if withTLS {
		certificate(t, dir)
		content += "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n" + more
	}
	return write(t, filepath.Join(dir, "web.yml"), []byte(content))
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"daemon.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	write(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func TestBasicAuthCountsForAllButWebhookAndHealth(t *testing.T) {
	f := serve(t, func(o *Options) {
		o.ConfigFile = configFile(t, false, "")
		o.WebhookSecret = func() (string, error) { return "of the hook", nil }
	})
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 401, "/metrics": 401, "/api/v1/status": 401, "/": 401, "/stacks/web": 401, "/api/v1/history": 401, "/api/v1/events": 401, "/nowhere": 401,
		"//webhook": 401, "/webhook/../metrics": 401, "/healthz/../metrics": 401,
	} {
		if response, _ := f.do("GET", path, ""); response.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, response.StatusCode, want)
		}
	}
	if response, body := f.do("POST", "/webhook", "", "Authorization: Bearer of the hook"); response.StatusCode != 202 {
		t.Errorf("/webhook: got %d %s", response.StatusCode, body)
	}
	f.url = strings.Replace(f.url, "http://", "http://alice:hunter2@", 1)
	for path, want := range map[string]int{"/metrics": 200, "/api/v1/status": 200, "/nowhere": 404} {
		if response, _ := f.do("GET", path, ""); response.StatusCode != want {
			t.Errorf("alice, %s: got %d, want %d", path, response.StatusCode, want)
		}
	}
}

func TestTLSCountsForEverything(t *testing.T) {
	path := configFile(t, true, "")
	f := serve(t, func(o *Options) { o.ConfigFile = path })
	if response, _ := f.do("GET", "/healthz", ""); response.StatusCode != 400 {
		t.Errorf("plain HTTP: got %d", response.StatusCode)
	}
	if err := Healthcheck(t.Context(), strings.TrimPrefix(f.url, "http://"), path); err != nil {
		t.Errorf("health check: %v", err)
	}
	f.url = strings.Replace(f.url, "http://", "https://", 1)
	f.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	f.expect("GET", "/healthz", 200, "ok\n")
	if response, _ := f.do("GET", "/metrics", ""); response.StatusCode != 401 {
		t.Errorf("/metrics: got %d", response.StatusCode)
	}
}

func TestAServerThatWantsClientCertificatesIsHealthy(t *testing.T) {
	path := configFile(t, true, "  client_auth_type: RequireAnyClientCert\n")
	f := serve(t, func(o *Options) { o.ConfigFile = path })
	if err := Healthcheck(t.Context(), strings.TrimPrefix(f.url, "http://"), path); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestAWrongWebConfigurationEndsTheStart(t *testing.T) {
	for content, want := range map[string]string{
		"basic_auth_user: {}":             "field basic_auth_user not found",
		"basic_auth_users: {alice: open}": "hashedSecret too short",
		"tls_server_config: {cert_file: nowhere.pem, key_file: nowhere.pem}": "no such file",
	} {
		path := write(t, filepath.Join(t.TempDir(), "web.yml"), []byte(content))
		_, err := New(Options{Address: "127.0.0.1:0", ConfigFile: path})
		if err == nil || !strings.HasPrefix(err.Error(), "HTTP_CONFIG_FILE "+path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", content, err)
		}
	}
}

func TestTheHealthCheckAsksOnThisHost(t *testing.T) {
	for address, want := range map[string]string{
		":2112": "127.0.0.1:2112", "0.0.0.0:2112": "127.0.0.1:2112", "[::]:2112": "[::1]:2112", "127.0.0.5:80": "127.0.0.5:80", "localhost:1": "localhost:1",
	} {
		if got, err := loopback(address); err != nil || got != want {
			t.Errorf("%s: got %s, %v", address, got, err)
		}
	}
	f := serve(t, nil)
	address := strings.TrimPrefix(f.url, "http://")
	if err := Healthcheck(t.Context(), address, ""); err != nil {
		t.Errorf("running: %v", err)
	}
	_ = f.stop()
	if err := Healthcheck(t.Context(), address, ""); err == nil {
		t.Error("stopped: no error")
	}
}
