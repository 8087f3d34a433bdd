package render

import (
	"os"
	"regexp"
	"testing"
)

// It is the label com.docker.compose.version, and is to say whose hashes those
// on the container are.
func TestTheVersionOnContainersIsThatOfTheSDKInUse(t *testing.T) {
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s*github\.com/docker/compose/v2 v(\S+)`).FindSubmatch(text)
	if m == nil {
		t.Fatal("go.mod has no github.com/docker/compose/v2")
	}
	if got := string(m[1]); got != composeVersion {
		t.Errorf("go.mod has version %s of the compose SDK, composeVersion is %s", got, composeVersion)
	}
}
