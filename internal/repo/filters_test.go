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
	w.git("config", "filter.crypt.clean", "false")
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

// Each file is changed in some ways, and touched: what git calls an edit is one.
func TestAttributesAreReadAsGitReadsThem(t *testing.T) {
	utf16 := func(s string) string {
		b := []byte{0xff, 0xfe}
		for _, c := range s {
			b = append(b, byte(c), byte(c>>8))
		}
		return string(b)
	}
	for name, c := range map[string]struct {
		attributes, under, info, file string // under is sub/.gitattributes
		config                        []string
		content                       string // of sub/f, "one\ntwo\n" if empty
	}{
		"a macro":                           {attributes: "[attr]dos text eol=crlf\nf dos\n"},
		"a macro in a macro":                {attributes: "[attr]dos text eol=crlf\n[attr]win dos ident\nf win\n", content: "$Id$\ntwo\n"},
		"a macro that something overrides":  {attributes: "[attr]dos text eol=crlf\nf dos\nf -text\n"},
		"a macro that overrides":            {attributes: "[attr]dos text eol=crlf\nf -text\nf dos\n"},
		"a macro beside its opposite":       {attributes: "[attr]dos text eol=crlf\nf dos -text\n"},
		"a macro that is unset":             {attributes: "[attr]dos text eol=crlf\nf -dos\n"},
		"a macro in info/attributes":        {attributes: "f dos\n", info: "[attr]dos text eol=crlf\n"},
		"a macro that is defined again":     {attributes: "[attr]dos -text\nf dos\n", info: "[attr]dos text eol=crlf\n"},
		"a macro below the top":             {attributes: "f dos\n", under: "[attr]dos text eol=crlf\n"},
		"a line that is none":               {attributes: "!x text\n\"\"\nf te/xt\nf text eol=crlf\n"},
		"binary":                            {attributes: "f text eol=crlf\n", under: "f binary\n"},
		"binary, and text again":            {attributes: "f binary\n", under: "f text eol=crlf\n"},
		"unspecified":                       {attributes: "f text eol=crlf\n", under: "f !text !eol\n"},
		"a word that text does not know":    {attributes: "f text=maybe\n"},
		"input":                             {attributes: "f crlf=input\n"},
		"auto, and no text":                 {attributes: "f text=auto eol=crlf\n", content: "one\x00\ntwo\n"},
		"yes, and no text":                  {attributes: "f text eol=crlf\n", content: "one\x00\ntwo\n"},
		"core.attributesFile":               {config: []string{"core.attributesFile", "FILE"}},
		"core.attributesFile, and below it": {config: []string{"core.attributesFile", "FILE"}, under: "f -text\n"},
		"core.attributesFile that is gone":  {config: []string{"core.attributesFile", "/nowhere/attributes"}},
		"core.autocrlf":                     {config: []string{"core.autocrlf", "true"}},
		"core.autocrlf=input":               {config: []string{"core.autocrlf", "input"}},
		"a filter that is not configured":   {attributes: "f filter=crypt\n"},
		"one with line endings":             {attributes: "f filter=crypt text eol=crlf\n"},
		"a filter that smudges only":        {attributes: "f filter=crypt\n", config: []string{"filter.crypt.smudge", "cat"}},
		"UTF-16":                            {attributes: "f working-tree-encoding=UTF-16 eol=lf\n", content: utf16("one\ntwo äöü\n")},
		"UTF-16 with line endings":          {attributes: "f text working-tree-encoding=utf16 eol=crlf\n", content: utf16("one\ntwo\n")},
		"UTF-16 of one byte order":          {attributes: "f working-tree-encoding=UTF-16LE\n", content: utf16("one\ntwo\n")[2:]},
		"UTF-16 of the other":               {attributes: "f working-tree-encoding=UTF-16BE\n", content: "\x00o\x00n\x00e\x00\n"},
		"UTF-16 with order and mark":        {attributes: "f working-tree-encoding=UTF-16LE-BOM eol=crlf\n", content: utf16("one\ntwo\n")},
		"UTF-8":                             {attributes: "f text eol=crlf working-tree-encoding=UTF-8\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.content == "" {
				c.content = "one\ntwo\n"
			}
			file := filepath.Join(t.TempDir(), "attributes")
			if err := os.WriteFile(file, []byte("f text eol=crlf\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, in := range []string{w.work, w.clone} {
				gittest.Git(t, in, "config", "core.safecrlf", "false")
				gittest.Write(t, in, ".git/info/attributes", c.info)
				if c.config != nil {
					gittest.Git(t, in, "config", c.config[0], strings.Replace(c.config[1], "FILE", file, 1))
				}
			}
			w.write(".gitattributes", c.attributes)
			w.write("sub/.gitattributes", c.under)
			w.write("sub/f", c.content)
			w.push("base")
			w.git("pull", "-q")
			r := w.open(func(o *Options) { o.KeepLocalChanges = true })
			full := filepath.Join(w.clone, "sub/f")
			as, err := os.ReadFile(full)
			if err != nil {
				t.Fatal(err)
			}
			unix := strings.ReplaceAll(string(as), "\r\n", "\n")
			for what, content := range map[string]string{
				"as it was": string(as), "other words": strings.ReplaceAll(string(as), "o", "0"), "one byte more": string(as) + "x",
				"LF": unix, "CRLF": strings.ReplaceAll(unix, "\n", "\r\n"), "a lone CR": unix + "\r", "nothing": "",
				"wide LF": strings.ReplaceAll(string(as), "\r\x00\n\x00", "\n\x00"), "without its mark": strings.TrimPrefix(string(as), "\xff\xfe"),
			} {
				if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(full, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
					t.Fatal(err)
				}
				got := mustFetch(t, r).Edited
				w.git("read-tree", "HEAD") // with no stamps, git reads every file
				var want []string          // without what git says of attributes and encodings
				if said := w.gitsEdits(); len(said) > 0 && slices.Contains(strings.Split(strings.Join(said, "\n"), "\n"), "sub/f") {
					want = []string{"sub/f"}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: edited %q, git says %q", what, got, want)
				}
			}
		})
	}
}

func TestAnEncodingThatIsNotKnownHereCountsAsUnchangedAndIsSaid(t *testing.T) {
	w := newWorld(t)
	w.write(".gitattributes", "f working-tree-encoding=ISO-8859-1\n")
	w.write("f", "\xe4\n")
	w.push("base")
	w.git("pull", "-q")
	if err := os.Chtimes(filepath.Join(w.clone, "f"), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := w.open(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	if got := mustFetch(t, r).Edited; len(got) > 0 {
		t.Errorf("edited %q", got)
	}
	if said := log.String(); strings.Count(said, "working-tree-encoding=ISO-8859-1") != 1 {
		t.Errorf("said %s", said)
	}
}
