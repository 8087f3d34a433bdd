package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

// PASSWORD=abc$hunter2 in an env file names a variable.
func TestTheLogHasNoPartOfAValueThatLooksLikeAVariable(t *testing.T) {
	var logged bytes.Buffer
	r := relay{log: slog.New(slog.NewTextHandler(&logged, nil)), said: map[string]bool{}}
	if err := r.Fire(&logrus.Entry{Level: logrus.WarnLevel, Message: `The "hunter2" variable is not set. Defaulting to a blank string.`}); err != nil {
		t.Fatal(err)
	}
	if got := logged.String(); strings.Contains(got, "hunter2") || !strings.Contains(got, "env file") {
		t.Errorf("logged is %s", got)
	}
}
