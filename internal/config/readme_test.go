package config

import (
	"os"
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
