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
	"time"
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

// Unavailable skips a test that needs what can't be installed here: what only the
// network has, or another engine.
func Unavailable(t testing.TB, format string, args ...any) {
	t.Helper()
	if path := os.Getenv("SKIPPED"); path != "" {
		if err := note(path, t.Name()+": "+fmt.Sprintf(format, args...)); err != nil {
			t.Fatalf("SKIPPED: %v", err)
		}
	}
	t.Skipf(format, args...)
}

// Sample says which of very many cases a test takes: those whose number plus seed
// share divides, others each time; or all of them if EXHAUSTIVE is set, then share
// is 1.
func Sample(t testing.TB, of int) (seed, share int) {
	t.Helper()
	if os.Getenv("EXHAUSTIVE") != "" {
		of = 1
	}
	seed = int(time.Now().UnixNano() % int64(of))
	t.Logf("seed %d of %d", seed, of)
	return seed, of
}

// Some are the cases that a test takes of all, see Sample.
func Some[C any](t testing.TB, of int, all []C) []C {
	t.Helper()
	seed, share := Sample(t, of)
	var some []C
	for i, c := range all {
		if (i+seed)%share == 0 {
			some = append(some, c)
		}
	}
	return some
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
