package render_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeOutside writes a file outside of the clone, each time with a later time.
func writeOutside(t testing.TB, full, text string) {
	t.Helper()
	at := time.Now().Add(-time.Minute)
	if before, err := os.Stat(full); err == nil {
		at = before.ModTime().Add(time.Second)
	}
	if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(full, at, at); err != nil {
		t.Fatal(err)
	}
	touchFolder(t, filepath.Dir(full))
}

func TestAFileOutsideOfTheCloneIsWatched(t *testing.T) {
	for what, c := range map[string]struct {
		text   string // OUT is the folder outside
		before map[string]string
		change [2]string
		same   bool // it is loaded again and comes to the same
	}{
		"an env file":            {text: "services: {app: {image: a, env_file: OUT/app.env}}", before: map[string]string{"app.env": "A=1"}, change: [2]string{"app.env", "A=2"}},
		"an optional env file":   {text: "services: {app: {image: a, env_file: [{path: OUT/app.env, required: false}]}}", change: [2]string{"app.env", "A=2"}},
		"a label file":           {text: "services: {app: {image: a, label_file: OUT/l}}", before: map[string]string{"l": "a=1"}, change: [2]string{"l", "a=2"}},
		"an include":             {text: "include: [OUT/i.yaml]", before: map[string]string{"i.yaml": "services: {app: {image: a}}"}, change: [2]string{"i.yaml", "services: {app: {image: b}}"}},
		"the .env of an include": {text: "include: [OUT/i.yaml]", before: map[string]string{"i.yaml": "services: {app: {image: 'a:${TAG:-1}'}}"}, change: [2]string{".env", "TAG=2"}},
		"an extended file":       {text: "services: {app: {extends: {file: OUT/b.yaml, service: b}}}", before: map[string]string{"b.yaml": "services: {b: {image: a}}"}, change: [2]string{"b.yaml", "services: {b: {image: b}}"}},
		"a secret":               {text: "services: {app: {image: a, secrets: [s]}}\nsecrets: {s: {file: OUT/s}}", before: map[string]string{"s": "1"}, change: [2]string{"s", "2"}, same: true},
		"a config":               {text: "services: {app: {image: a, configs: [s]}}\nconfigs: {s: {file: OUT/s}}", before: map[string]string{"s": "1"}, change: [2]string{"s", "2"}, same: true},
	} {
		t.Run(what, func(t *testing.T) {
			out := t.TempDir()
			for name, text := range c.before {
				writeOutside(t, filepath.Join(out, name), text)
			}
			f := newFolder(t).write("web/compose.yaml", strings.ReplaceAll(c.text, "OUT", out))
			l := loader(f)
			before := validOf(t, l, f)
			if validOf(t, l, f); l.Loads() != 1 {
				t.Fatal("loaded again though nothing changed")
			}
			writeOutside(t, filepath.Join(out, c.change[0]), c.change[1])
			after := validOf(t, l, f)
			if l.Loads() != 2 {
				t.Errorf("loaded %d times", l.Loads())
			}
			if (before.Digest == after.Digest) != c.same {
				t.Errorf("digests %s and %s", before.Digest, after.Digest)
			}
		})
	}
}

func TestWhatATrackedLinkLeadsToIsWatched(t *testing.T) {
	out := t.TempDir()
	writeOutside(t, filepath.Join(out, "app.env"), "A=1")
	f := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, env_file: app.env}}")
	if err := os.Symlink(filepath.Join(out, "app.env"), filepath.Join(f.dir, "web/app.env")); err != nil {
		t.Fatal(err)
	}
	l := loader(f)
	before := validOf(t, l, f).Digest
	writeOutside(t, filepath.Join(out, "app.env"), "A=2")
	if validOf(t, l, f).Digest == before {
		t.Error("the env file behind the link changed and was not seen")
	}
}

func TestTheEnvFilesThatGitDoesNotTrackAreNamed(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "out.env")
	writeOutside(t, outside, "A=1")
	f := newFolder(t).
		write("web/compose.yaml", `
include: [../db/db.yaml]
services:
  app: {image: a, env_file: [tracked.env, ../shared/app.env, `+outside+`, {path: optional.env, required: false}, {path: gone.env, required: false}]}
  off: {image: a, profiles: [off], env_file: off.env}
`).
		write("db/db.yaml", "services: {db: {image: db}}").
		write("web/tracked.env", "A=1").
		hide("web/.env", "A=1").hide("db/.env", "A=1").hide("shared/app.env", "A=1").hide("web/optional.env", "A=1").hide("web/off.env", "A=1").hide("web/other", "A=1")
	p := valid(t, f)
	want := "db/.env shared/app.env web/.env web/optional.env"
	if got := strings.Join(p.Untracked, " "); got != want {
		t.Errorf("untracked: %s, want %s", got, want)
	}
	if p.Blob != f.ID("web/compose.yaml") || p.Blob == "" {
		t.Errorf("blob %q", p.Blob)
	}
	f.write("web/compose.yaml", "services: {app: {image: a}}").write("web/.env", "A=1")
	delete(f.untracked, "web/.env")
	if p := valid(t, f); p.Untracked != nil {
		t.Errorf("untracked: %v", p.Untracked)
	}
	if got := load(t, loader(f.write("web/compose.yaml", "services: [").hide("web/.env", "A=1")), f)["web/compose.yaml"]; strings.Join(got.Untracked, " ") != "web/.env" || got.Blob == "" {
		t.Errorf("of a broken one: untracked %v, blob %q", got.Untracked, got.Blob)
	}
}
