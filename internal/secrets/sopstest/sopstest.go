// Package sopstest encrypts files with the real sops command, for tests.
package sopstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"filippo.io/age"

	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// Sops encrypts for one key.
type Sops struct {
	// Key is the private key, and To whom it is for.
	Key, To string

	t    testing.TB
	tool string
}

// Tool is the command that make builds. Where it isn't, the test ends.
func Tool(t testing.TB) string {
	t.Helper()
	tool, err := filepath.Abs("../../.tools/sops-v3.12.0")
	if err == nil {
		_, err = os.Stat(tool)
	}
	if err != nil {
		testenv.Missing(t, "sops is not built: make sops")
	}
	return tool
}

// New makes a key.
func New(t testing.TB) *Sops {
	t.Helper()
	tool := Tool(t)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return &Sops{Key: key.String(), To: key.Recipient().String(), t: t, tool: tool}
}

// Encrypt gives a file of a name in its encrypted form.
func (s *Sops) Encrypt(name, plain string, options ...string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), filepath.Base(name))
	if err := os.WriteFile(path, []byte(plain), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.Run(append(append([]string{"encrypt", "--in-place", "--age", s.To}, options...), path)...)
	sealed, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(sealed)
}

// Run runs sops with the key. The last argument is the file, beside which .sops.yaml
// is looked for.
func (s *Sops) Run(args ...string) {
	s.t.Helper()
	dir := filepath.Dir(args[len(args)-1])
	c := exec.Command(s.tool, args...)
	c.Dir = dir
	c.Env = []string{"HOME=" + dir, "PATH=", "SOPS_DISABLE_VERSION_CHECK=1", "SOPS_AGE_KEY=" + s.Key}
	if out, err := c.CombinedOutput(); err != nil {
		s.t.Fatalf("sops %v: %v: %s", args, err, out)
	}
}
