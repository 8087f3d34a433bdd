package config

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

func TestVariablesOfStacksAreLinesOfNameAndValue(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                                {},
		"HOME=/home/ann":                  {"HOME": "/home/ann"},
		"A=1\nB=2\n":                      {"A": "1", "B": "2"},
		"A=1\r\nB=2\r\n":                  {"A": "1", "B": "2"},
		"# of ann\n\n  A=1  \n":           {"A": "1"},
		"A=":                              {"A": ""},
		"A=x=y # no comment":              {"A": "x=y # no comment"},
		`A="a b"` + "\n" + `B='$c'`:       {"A": "a b", "B": "$c"},
		`A="` + "\n" + `B=it's`:           {"A": `"`, "B": "it's"},
		"COMPOSE_PROFILES=web\n_x1=$HOME": {"COMPOSE_PROFILES": "web", "_x1": "$HOME"},
	} {
		got, err := load(t, "STACK_ENV="+text).StackEnvironment()
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%q gives %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestAWrongVariableOfStacksIsNamedByItsLineAndNotShown(t *testing.T) {
	for text, want := range map[string]string{
		"A=1\nhunter2":                 "line 2: want lines of name=value",
		"my-token=hunter2":             "line 1: want lines of name=value",
		"export A=hunter2":             "line 1: want lines of name=value",
		"=hunter2":                     "line 1: want lines of name=value",
		"A=hunter2\nA=hunter2":         "line 2: A is there twice",
		"PWD=hunter2":                  "line 1: PWD is the folder of each stack, and can't be set for all",
		"COMPOSE_PROJECT_NAME=hunter2": "line 1: COMPOSE_PROJECT_NAME would give all stacks one name; set it in a stack's .env",
	} {
		for _, environ := range []string{"STACK_ENV=" + text, "STACK_ENV_FILE=" + file(t, text)} {
			_, err := Load([]string{environ})
			if err == nil || !strings.HasPrefix(err.Error(), "configuration: STACK_ENV") || !strings.HasSuffix(err.Error(), ": "+want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: got %v, want %s", environ, err, want)
			}
		}
	}
}

func TestAFileOfVariablesOfStacksIsReadAtEachUse(t *testing.T) {
	path := file(t, "A=1")
	for name, c := range map[string]Config{"the daemon": load(t, "STACK_ENV_FILE="+path), "a helper": ForHelper([]string{"STACK_ENV_FILE=" + path, "LOG_LEVEL=wrong"})} {
		for _, value := range []string{"1", "2"} {
			if err := os.WriteFile(path, []byte("A="+value+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := c.StackEnvironment(); err != nil || got["A"] != value {
				t.Errorf("%s: got %q, %v, want A=%s", name, got, err, value)
			}
		}
	}
	if err := os.WriteFile(path, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, "STACK_ENV=A=1").StackEnvironment(); err != nil {
		t.Error(err)
	}
	if _, err := ForHelper([]string{"STACK_ENV_FILE=" + path}).StackEnvironment(); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("of a file that is wrong: %v", err)
	}
}

func TestTheExampleGivesStacksWhatAShellHas(t *testing.T) {
	text, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	for zone, shell := range map[string]map[string]string{
		"":              {"HOME": "/home/ann", "USER": "ann"},
		"Europe/Berlin": {"HOME": "/home/ann", "USER": "ann", "TZ": "Europe/Berlin"},
	} {
		vars, err := dotenv.ParseWithLookup(strings.NewReader(string(text)), func(name string) (string, bool) { v, ok := shell[name]; return v, ok })
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"HOME": "/home/ann", "USER": "ann", "UID": "1000", "GID": "1000", "TZ": zone}
		if got, err := load(t, "STACK_ENV="+vars["STACK_ENV"]).StackEnvironment(); err != nil || !maps.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

func TestPatternsOfStackFilesHaveCommasOrLinesBetweenThem(t *testing.T) {
	const value = "STACK_FILES=compose.yaml, my stacks/*.yml,\n/x/**/compose.*.yaml\n"
	for name, c := range map[string]Config{"the daemon": load(t, value), "a helper": ForHelper([]string{value})} {
		if got := strings.Join(c.StackFiles, "|"); got != "compose.yaml|my stacks/*.yml|/x/**/compose.*.yaml" {
			t.Errorf("%s: got %s", name, got)
		}
	}
	if got, want := ForHelper(nil).StackFiles, load(t).StackFiles; !slices.Equal(got, want) || len(want) != 4 {
		t.Errorf("by default a helper has %q, the daemon %q", got, want)
	}
}

func TestAHelperKnowsTheVolumeForFilesInClear(t *testing.T) {
	for _, value := range []string{"", "SECRETS_PATH=/elsewhere"} {
		if got, want := ForHelper([]string{value}).SecretsPath, load(t, value).SecretsPath; got != want || want == "" {
			t.Errorf("with %q it is %q, and the daemon's %q", value, got, want)
		}
	}
}
