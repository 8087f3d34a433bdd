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
	r := relay{log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})), said: map[string]bool{}}
	if err := r.Fire(&logrus.Entry{Level: logrus.WarnLevel, Message: `The "hunter2" variable is not set. Defaulting to a blank string.`}); err != nil {
		t.Fatal(err)
	}
	if got := logged.String(); strings.Contains(got, "hunter2") || !strings.Contains(got, "not set") {
		t.Errorf("logged is %s", got)
	}
}

func TestWhatStacksAreWarnedOfIsNotSaidWithoutTheirNames(t *testing.T) {
	var logged bytes.Buffer
	r := relay{log: slog.New(slog.NewTextHandler(&logged, nil)), said: map[string]bool{}}
	for _, text := range []string{
		`The "A" variable is not set. Defaulting to a blank string.`,
		"Found multiple config files with supported names: /c/web/compose.yaml, /c/web/docker-compose.yml",
		"Using /c/web/compose.yaml",
		"networks.front: external.name is deprecated. Please set name and external: true",
		"/c/web/compose.yaml: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion",
		"\"yes\" for boolean is not supported by YAML 1.2, please use `true`",
		"something else",
	} {
		if err := r.Fire(&logrus.Entry{Level: logrus.WarnLevel, Message: text}); err != nil {
			t.Fatal(err)
		}
	}
	if got := logged.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "something else") {
		t.Errorf("logged is %s", got)
	}
}
