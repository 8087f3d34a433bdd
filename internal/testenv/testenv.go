// Package testenv says what a test does where something that it needs from the
// machine or the network is not there.
//
// Tests are skipped then, so that they can be run everywhere. go test does not
// show that: whoever wants to be sure that everything was tested sets two
// variables, as .ci/run does.
//
//	REQUIRE_ALL=1  what can be installed has to be: without it the test fails
//	SKIPPED=path   a line for each test that was skipped goes to this file
package testenv

import (
	"fmt"
	"os"
	"testing"
)

// Missing ends a test that needs what is not installed, with a sentence that
// says what and how to get it: skipped, or failed with REQUIRE_ALL.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("REQUIRE_ALL") != "" {
		t.Fatalf("REQUIRE_ALL is set, and "+format, args...)
	}
	Unavailable(t, format, args...)
}

// Unavailable skips a test that needs what only the network has.
func Unavailable(t testing.TB, format string, args ...any) {
	t.Helper()
	if path := os.Getenv("SKIPPED"); path != "" {
		if err := note(path, t.Name()+": "+fmt.Sprintf(format, args...)); err != nil {
			t.Fatalf("SKIPPED: %v", err)
		}
	}
	t.Skipf(format, args...)
}

// note appends a line to a file that the tests of other packages append to at
// the same time.
func note(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
