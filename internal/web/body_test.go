package web

import (
	"bytes"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFormIsDecodedInPiecesOfAnySize(t *testing.T) {
	for form, want := range map[string]string{
		"payload=" + url.QueryEscape(`{"a": "ä+%&=\u0000"}`): `{"a": "ä+%&=\u0000"}`,
		"payload=abc&other=def":                              "abc",
		"payload=":                                           "",
		"payload=a%4":                                        "a",
		"payload=a%zzb":                                      "a",
		"other=abc&payload=def":                              "",
		"pay":                                                "",
		"":                                                   "",
	} {
		for size := 1; size <= len(form)+1; size++ {
			var out bytes.Buffer
			f := &formValue{next: &out}
			for piece := range pieces(form, size) {
				if n, err := f.Write([]byte(piece)); n != len(piece) || err != nil {
					t.Fatalf("wrote %d, %v", n, err)
				}
			}
			if out.String() != want {
				t.Errorf("%q in pieces of %d: got %q, want %q", form, size, out.String(), want)
			}
		}
	}
}

func pieces(s string, size int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for len(s) > 0 && yield(s[:min(size, len(s))]) {
			s = s[min(size, len(s)):]
		}
	}
}

func FuzzPayload(f *testing.F) {
	for _, seed := range []string{
		`{"ref":"refs/heads/main","repository":{"full_name":"ops/host"}}`, `{"push":{"changes":[{"new":null,"old":{"type":"branch","name":"main"}}]}}`,
		`{"changes":[{"ref":{"id":"refs/heads/main"}}]}`, `{"ref":1,"repository":[],"project":"x","push":7,"changes":{}}`, `{"a":{"b":[`, `[]`, ``, `{"ref":"\ud800"}`,
	} {
		f.Add([]byte(seed), "main")
	}
	recorded, err := filepath.Glob("testdata/*.json")
	if err != nil || len(recorded) == 0 {
		f.Fatalf("no payloads to begin with: %v", err)
	}
	for _, path := range recorded {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, "main")
	}
	f.Fuzz(func(t *testing.T, content []byte, branch string) {
		p := scan(content)
		for _, ref := range p.pushed() {
			if !strings.HasPrefix(ref, "refs/") {
				t.Errorf("ref %q", ref)
			}
		}
		for _, s := range []sender{{"github", "push"}, {"gitlab", "System Hook"}, {"bitbucket", "repo:push"}, {"generic", ""}} {
			if _, reason := s.judge(p, branch, locate("https://example.com/ops/host")); reason == "" {
				t.Error("no reason")
			}
		}
		// A form that is made of it gives it back.
		var out bytes.Buffer
		_, _ = (&formValue{next: &out}).Write([]byte("payload=" + url.QueryEscape(string(content))))
		if !bytes.Equal(out.Bytes(), content) {
			t.Errorf("got %q", out.Bytes())
		}
	})
}
