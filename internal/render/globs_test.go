package render

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ignoredByGit asks git which files of a folder its .gitignore leaves out.
func ignoredByGit(t *testing.T, dir, patterns string, files []string) []string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(patterns), 0o600); err != nil {
		t.Fatal(err)
	}
	git := exec.Command("git", "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "-z", "--stdin")
	git.Dir = dir
	git.Stdin = strings.NewReader(strings.Join(files, "\x00"))
	out, err := git.Output()
	if err != nil && git.ProcessState.ExitCode() != 1 { // none of them
		t.Fatalf("git check-ignore: %v", err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
}

func worktree(t *testing.T, files []string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %s", out)
	}
	for _, f := range files {
		full := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPatternsMeanWhatTheyMeanToGit(t *testing.T) {
	files := []string{
		"compose.yaml", "web/compose.yaml", "web/deep/er/compose.yaml", "examples/a/compose.yaml", "examples/b/compose.yaml", "my examples/x/compose.yaml",
		"Übung/compose.yaml", "a#b/compose.yaml", "#x/compose.yaml", "!x/compose.yaml", "x /compose.yaml", "a*b/compose.yaml", "a[b/compose.yaml", `a\b/compose.yaml`, "a.b/c.d/compose.yaml", "web.old/compose.yaml", "9/compose.yaml", "]/compose.yaml", "-/compose.yaml",
	}
	dir := worktree(t, files)
	for _, patterns := range []string{
		"", "# web", "web", "web/", "/web", "/web/", "compose.yaml", "/compose.yaml", "compose.yaml/", "deep", "/deep", "web/deep", "web/*", "web/**", "**/compose.yaml", "**/er/", "web/**/compose.yaml", "**", "*", "/*", "*/",
		"examples/*\n!examples/a", "examples\n!examples/a", "examples/\n!examples/a/compose.yaml", "*\n!*/\n!web/compose.yaml", "*.old", "w?b", "[wx]eb", "[!w]eb", "[^w]eb", "[a-z]*", "[[:digit:]]", "[[:upper:]]*", "[[:nope:]]", "[[:alpha:]-]", "[]]", "[]-]", "[!]]", "[a-]", "[-]",
		`\#x`, `\!x`, "x ", `x\ `, `x\ /`, `a\*b`, `a\[b`, `a\\b`, "a[b", `web\`, "a*b", "a**b", "Ü*", "?bung", "??bung", "my examples", "a.b/c.d", "a?b/c?d", "web\r\nexamples\r\n", "\ufeffweb", "/", "//", "!", "***", "web/***", "**/**/er", "*/*/*", "/**/er", "web**", "**web/deep", "a/**b", "[/]", "web[/]deep", "web[!a]deep", "[z-a]", "[9-0]", "[a-c-e]*", "[--9]", "[w-w]eb", `[\w]eb`, `[\]]`, "web//", " web", "web  ",
	} {
		var got []string
		globs := parseGlobs(patterns)
		for _, f := range files {
			if ignored(globs, f) {
				got = append(got, f)
			}
		}
		if want := ignoredByGit(t, dir, patterns, files); !slices.Equal(got, want) {
			t.Errorf("%q: we leave out %q, git %q", patterns, got, want)
		}
	}
}

// Patterns and paths of few letters meet in every way.
func TestRandomPatternsMeanWhatTheyMeanToGit(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var files []string
	for _, a := range []string{"a", "b", "ab", "a-b", "ü"} {
		for _, b := range []string{"a", "ba", "c]", "b/a", "a/b/c"} {
			files = append(files, a+"/"+b+"/f", a+"/"+b+"/a.b")
		}
	}
	slices.Sort(files)
	dir := worktree(t, files)
	for range 150 {
		var b bytes.Buffer
		for range 1 + r.IntN(4) {
			b.WriteString(pick("", "", "", "!", "/"))
			for range 1 + r.IntN(6) {
				b.WriteString(pick("a", "b", "f", "c", "a", "/", "/", "*", "**", "**/", "/**/", "?", "[ab]", "[!a]", "[^b-c]", "]", "-", ".", `\a`, "ü", "[[:alpha:]]", "[]a]", "[a"))
			}
			b.WriteString(pick("\n", "\n", "/\n", " \n"))
		}
		patterns := b.String()
		var got []string
		globs := parseGlobs(patterns)
		for _, f := range files {
			if ignored(globs, f) {
				got = append(got, f)
			}
		}
		if want := ignoredByGit(t, dir, patterns, files); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %q: we leave out %q, git %q", seed, patterns, got, want)
		}
	}
}

func TestAPatternThatIsMadeToBeSlowIsNot(t *testing.T) {
	g, ok := parseGlob(strings.Repeat("*a", 500) + "*b")
	if p := strings.Repeat("a", 5000); !ok || g.matches(p) || !g.matches(p+"b") {
		t.Error(fmt.Sprint("it matches what it should not: ", ok))
	}
}
