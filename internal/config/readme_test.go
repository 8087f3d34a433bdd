package config

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTheReadmeHasTheTableOfVariables(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin = "<!-- The table is config.Table(), a test holds it against the code. -->\n\n"
	_, rest, found := strings.Cut(string(readme), begin)
	if !found {
		t.Fatalf("README.md has no line %q", strings.TrimSpace(begin))
	}
	table, _, _ := strings.Cut(rest, "\n\n")
	if table+"\n" != Table() {
		t.Errorf("the table in README.md is not that of the code, which is:\n\n%s", Table())
	}
}

// What the README says of a variable outside of the table is about one that
// there is.
func TestTheReadmeNamesNoVariableThatIsNotThere(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, v := range Variables() {
		known[v.Name], known[v.File] = true, true
	}
	for _, word := range strings.FieldsFunc(string(readme), func(r rune) bool {
		return r != '_' && (r < 'A' || r > 'Z')
	}) {
		for _, prefix := range []string{"REPOSITORY_", "DOCKER_REGIST", "WEBHOOK_", "HTTP_", "DISABLE_", "LOG_", "CHECK_"} {
			if strings.HasPrefix(word, prefix) && !known[word] {
				t.Errorf("README.md names %s, which is no variable", word)
			}
		}
	}
}

// What always holds is held by tests of these names.
func TestTheTestsThatTheArchitectureNamesAreThere(t *testing.T) {
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`(Test[A-Za-z]+)`").FindAllSubmatch(text, -1)
	if len(names) < 5 {
		t.Fatalf("it names %d tests", len(names))
	}
	var all []byte
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			var b []byte
			b, err = os.ReadFile(path)
			all = append(all, b...)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !bytes.Contains(all, slices.Concat([]byte("func "), name[1], []byte("("))) {
			t.Errorf("there is no %s", name[1])
		}
	}
}
