package engine

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"
)

// archiveOf has a folder or a file of each name; folders end in a slash, files
// have what stands after a colon in them.
func archiveOf(t *testing.T, names ...string) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		name, text, _ := strings.Cut(name, ":")
		h := tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}
		if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestContentIsWhatSomebodyPutThere(t *testing.T) {
	for name, c := range map[string]struct {
		files  []string
		inside []string
		want   bool
	}{
		"an empty folder":                     {files: []string{"data/"}},
		"a file":                              {files: []string{"data/", "data/x:1"}, want: true},
		"an empty file in a folder":           {files: []string{"data/", "data/x"}, want: true},
		"a folder":                            {files: []string{"data/", "data/sub/"}, want: true},
		"lost+found":                          {files: []string{"data/", "data/lost+found/", "data/lost+found/x:1"}},
		"lost+found and a file":               {files: []string{"data/", "data/lost+found/", "data/x"}, want: true},
		"a file that is mounted":              {files: []string{"conf:text"}, want: true},
		"an empty file that is mounted":       {files: []string{"conf"}},
		"what is mounted inside":              {files: []string{"data/", "data/a/", "data/a/b/", "data/a/b/x:1"}, inside: []string{"a/b"}},
		"a file beside what is mounted there": {files: []string{"data/", "data/a/", "data/a/b/", "data/a/c"}, inside: []string{"a/b"}, want: true},
		"a name that begins alike":            {files: []string{"data/", "data/ab"}, inside: []string{"a"}, want: true},
	} {
		got, err := hasContent(archiveOf(t, c.files...), c.inside)
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := hasContent(io.MultiReader(archiveOf(t), strings.NewReader("no archive")), nil); err != nil {
		t.Errorf("what comes after the end was read: %v", err)
	}
	if _, err := hasContent(strings.NewReader(strings.Repeat("no archive", 100)), nil); err == nil {
		t.Error("what is no archive is empty")
	}
}
