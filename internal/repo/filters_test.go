package repo

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

// What git calls unchanged after its conversions is unchanged here too, when it was
// touched, and what it calls changed is changed.
func TestTouchedFilesThatGitConvertsAreComparedAsGitDoes(t *testing.T) {
	w := newWorld(t)
	w.write(".gitattributes", "*.crlf text eol=crlf\n*.id ident\n*.both text eol=crlf ident\n*.auto text=auto\n*.bin text eol=crlf\n*.big filter=lfs -text\n"+
		"deep/ text eol=crlf\n[attr]dos text eol=crlf\n")
	w.write("deep/.gitattributes", "*.bin binary\n*.txt text eol=crlf\n")
	files := map[string]string{
		"a.crlf": "one\ntwo\n", "a.id": "x $Id$ y\n", "a.both": "$Id$\ntwo\n", "a.auto": "one\n", "a.plain": "one\n", "a.big": "large\x00content\n",
		"deep/a.bin": "one\n", "deep/a.txt": "one\n", "deep/a.crlf": "one\n", "top.bin": "one\n",
	}
	// clean makes a pointer as git-lfs does, smudge gives the content back.
	dir := t.TempDir()
	clean, smudge := filepath.Join(dir, "clean"), filepath.Join(dir, "smudge")
	for path, text := range map[string]string{
		clean:  "#!/bin/sh\ncat > " + dir + "/content\nprintf 'version https://git-lfs.github.com/spec/v1\\noid sha256:%s\\nsize %s\\n' \"$(sha256sum < " + dir + "/content | cut -d' ' -f1)\" \"$(wc -c < " + dir + "/content)\"\n",
		smudge: "#!/bin/sh\ncat > /dev/null\nprintf 'large\\0content\\n'\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range []string{w.work, w.clone} {
		gittest.Git(t, in, "config", "filter.lfs.clean", clean)
		gittest.Git(t, in, "config", "filter.lfs.smudge", smudge)
	}
	w.git("config", "core.safecrlf", "false") // or it warns of each
	for name, content := range files {
		w.write(name, content)
	}
	w.push("base")
	w.git("pull", "-q")
	touch := func() {
		t.Helper()
		for name := range files {
			if err := os.Chtimes(filepath.Join(w.clone, name), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := w.open(func(o *Options) { o.KeepLocalChanges = true })
	expect := func(when string) {
		t.Helper()
		touch()
		got := mustFetch(t, r).Edited
		if want := w.gitsEdits(); !slices.Equal(got, want) {
			t.Errorf("%s: edited %q, git says %q", when, got, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(w.clone, "a.both")); err != nil || !bytes.Contains(b, []byte("$Id: ")) || !bytes.Contains(b, []byte("\r\n")) {
		t.Fatalf("git has converted nothing: %q, %v", b, err)
	}
	expect("as git left them")
	for name := range files {
		full := filepath.Join(w.clone, name)
		before, err := os.ReadFile(full)
		if err != nil {
			t.Fatal(err)
		}
		for what, after := range map[string]string{
			"another word": strings.ReplaceAll(string(before), "o", "0") + "more", "other line endings": strings.ReplaceAll(string(before), "\r\n", "\n"),
			"DOS line endings": strings.ReplaceAll(strings.ReplaceAll(string(before), "\r\n", "\n"), "\n", "\r\n"),
		} {
			if err := os.WriteFile(full, []byte(after), 0o644); err != nil {
				t.Fatal(err)
			}
			expect(fmt.Sprintf("%s with %s", name, what))
		}
		if err := os.WriteFile(full, before, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFileOfAFilterThatNobodyRunsCountsAsUnchangedAndIsSaid(t *testing.T) {
	w := newWorld(t)
	w.write(".gitattributes", "*.secret filter=crypt\n")
	w.write("a.secret", "cipher\n")
	w.write("b.secret", "cipher\n")
	w.push("base")
	w.git("pull", "-q")
	for _, name := range []string{"a.secret", "b.secret"} { // as a filter of the clone's would have left them
		if err := os.WriteFile(filepath.Join(w.clone, name), []byte("plain\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	r := w.open(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	if got := mustFetch(t, r).Edited; len(got) > 0 {
		t.Errorf("edited %q", got)
	}
	if said := log.String(); strings.Count(said, "filter=crypt") != 1 {
		t.Errorf("said %s", said)
	}
}
