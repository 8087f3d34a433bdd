package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// recorder is a test that only notes how it ends.
type recorder struct {
	testing.TB
	end string
}

func (r *recorder) Helper()      {}
func (r *recorder) Name() string { return "TestOfSomething" }

func (r *recorder) Skipf(format string, args ...any) {
	r.end = "skipped: " + fmt.Sprintf(format, args...)
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.end = "failed: " + fmt.Sprintf(format, args...)
	panic(r) // as the real one ends the goroutine
}

func (r *recorder) run(f func(testing.TB, string, ...any)) {
	defer func() { _ = recover() }()
	f(r, "there is no %s", "sshd")
}

func TestWhatIsMissingSkipsATestOrFailsIt(t *testing.T) {
	for _, c := range []struct{ name, required, missing, unavailable, noted string }{
		{
			"on somebody's machine", "", "skipped: there is no sshd", "skipped: there is no sshd",
			"TestOfSomething: there is no sshd\nTestOfSomething: there is no sshd\n",
		},
		{
			"where all is required", "1", "failed: REQUIRE_ALL is set, and there is no sshd", "skipped: there is no sshd",
			"TestOfSomething: there is no sshd\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "skipped")
			t.Setenv("REQUIRE_ALL", c.required)
			t.Setenv("SKIPPED", path)
			a, b := &recorder{}, &recorder{}
			a.run(Missing)
			b.run(Unavailable)
			if a.end != c.missing || b.end != c.unavailable {
				t.Errorf("got %q and %q", a.end, b.end)
			}
			if noted, err := os.ReadFile(path); string(noted) != c.noted {
				t.Errorf("noted %q, %v", noted, err)
			}
		})
	}
}
