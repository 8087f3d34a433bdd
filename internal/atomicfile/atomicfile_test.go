package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFileIsReplacedInStepsOfWhichAnyMayFail(t *testing.T) {
	full := errors.New("no space left on device")
	for _, c := range []struct {
		fails string // the step that does
		steps string
		holds string
	}{
		{"", "remove create write sync rename syncdir", "new"},
		{"remove", "remove", "old"},
		{"create", "remove create", "old"},
		{"write", "remove create write", "old"},
		{"sync", "remove create write sync", "old"},
		{"rename", "remove create write sync rename", "old"},
		{"syncdir", "remove create write sync rename syncdir", "new"},
	} {
		t.Run("fails at "+c.fails, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			var steps []string
			err := Write(path, []byte("new"), Options{Before: func(op, _ string) error {
				if steps = append(steps, op); op == c.fails {
					return full
				}
				return nil
			}})
			if errors.Is(err, full) != (c.fails != "") {
				t.Errorf("the error is %v", err)
			}
			if got := strings.Join(steps, " "); got != c.steps {
				t.Errorf("steps: %s, want %s", got, c.steps)
			}
			if b, _ := os.ReadFile(path); string(b) != c.holds {
				t.Errorf("it holds %q, want %q", b, c.holds)
			}
			if _, err := os.Lstat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the temporary file is left: %v", err)
			}
		})
	}
}

func TestWhatAKillHasLeftIsWrittenOver(t *testing.T) {
	dir := t.TempDir()
	path, temp := filepath.Join(dir, "file"), filepath.Join(dir, "other name")
	if err := os.WriteFile(temp, []byte("half of something much longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	created := ""
	err := Write(path, []byte("new"), Options{Temp: temp, Mode: 0o640, Created: func(temp string) { created = temp }})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "new" {
		t.Errorf("it holds %q", b)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o640 {
		t.Errorf("its mode is %v, %v", fi.Mode(), err)
	}
	if created != temp {
		t.Errorf("the owner got %q", created)
	}
	if err := Write(path, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o600 || fi.Size() != 0 {
		t.Errorf("a private empty file is %v, %v", fi, err)
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "file")
	if err := Write(path, nil, Options{}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}
