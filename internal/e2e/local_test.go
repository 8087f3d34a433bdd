//go:build engine

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

const withPage = `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, volumes: ["./www:/www"]}
  side: {image: BASE, command: RUN, stop_grace_period: 0s}
`

func TestWhatWasChangedByHandIsKeptWhereThatIsConfigured(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.env["REPOSITORY_LOCAL_CHANGES"] = "keep"
	h.stack("web", withPage)
	h.write("web/www/index.html", "one\n")
	h.write("web/notes.txt", "one\n")
	h.stack("other", one)
	h.push("add both")
	h.first()
	page := filepath.Join(h.clone, "web", "www", "index.html")
	h.exec(h.runs("web", "app", "side")["app"], "sh", "-c", "echo by-container >> /www/index.html")
	h.settle()
	before := h.runs("web", "app", "side")

	h.stack("web", strings.Replace(withPage, "side: {image", "side: {environment: {A: '1'}, image", 1))
	h.write("web/notes.txt", "two\n")
	h.stack("other", strings.Replace(one, "command", "environment: {A: '1'}, command", 1))
	commit := h.push("change everything but the page")
	s := h.settle()
	content, err := os.ReadFile(page)
	h.must(err)
	if string(content) != "one\nby-container\n" {
		t.Errorf("the page is %q", content)
	}
	notes, err := os.ReadFile(filepath.Join(h.clone, "web", "notes.txt"))
	h.must(err)
	if head := gittest.Git(t, h.clone, "rev-parse", "HEAD"); head != commit || string(notes) != "two\n" {
		t.Errorf("the clone is at %s, the notes are %q", head, notes)
	}
	now := h.runs("web", "app", "side")
	if now["app"] != before["app"] || now["side"] == before["side"] {
		t.Errorf("want side replaced and app not: %v, then %v", before, now)
	}
	if c := h.containers("other"); len(c) != 1 || c[0].Labels["gitops.commit"] != commit {
		t.Error("the other stack was not updated")
	}
	if !s.Ready {
		t.Errorf("not ready: %+v", s.Look)
	}
	if st := s.stack(t, h.project("web")); !slices.Equal(st.Edited, []string{"web/www/index.html"}) || !running(st) {
		t.Errorf("web is %s, edited %v: %s", st.Status, st.Edited, st.Reason)
	}
	if st := s.stack(t, h.project("other")); st.Edited != nil {
		t.Errorf("other is edited: %v", st.Edited)
	}

	// What the commit changes as well is in the way.
	h.write("web/www/index.html", "two\n")
	blocked := h.push("change the page")
	s = h.settle()
	if s.Ready || !s.Look.Blocked || !strings.Contains(s.Look.Error, "web/www/index.html") {
		t.Errorf("ready %v, %+v", s.Ready, s.Look)
	}
	content, err = os.ReadFile(page)
	h.must(err)
	if head := gittest.Git(t, h.clone, "rev-parse", "HEAD"); head != commit || string(content) != "one\nby-container\n" {
		t.Errorf("the clone is at %s, the page is %q", head, content)
	}
	gittest.Git(t, h.clone, "checkout", "--", "web/www/index.html")
	s = h.settle()
	if st := s.stack(t, h.project("web")); !s.Ready || !running(st) || st.Edited != nil {
		t.Errorf("ready %v, web is %s, edited %v: %s", s.Ready, st.Status, st.Edited, st.Reason)
	}
	if head := gittest.Git(t, h.clone, "rev-parse", "HEAD"); head != blocked {
		t.Errorf("the clone is at %s", head)
	}
	if got := h.exec(h.runs("web", "app", "side")["app"], "cat", "/www/index.html"); got != "two" {
		t.Errorf("the container sees the page %q", got)
	}
}

func TestAChangeByHandStopsUpdatesAndNoRepairs(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.stack("web", withPage)
	h.write("web/www/index.html", "one\n")
	h.stack("other", two)
	commit := h.push("add both")
	h.first()
	web, other := h.runs("web", "app", "side"), h.runs("other", "app", "side")
	h.exec(web["app"], "sh", "-c", "echo by-container >> /www/index.html")
	h.stack("other", strings.Replace(two, "app: {image", "app: {environment: {A: '1'}, image", 1))
	h.push("change other")
	for range 2 {
		s := h.settle()
		if s.Ready || !s.Look.Blocked || !strings.Contains(s.Look.Error, "web/www/index.html") || s.Checks[0].Error == "" {
			t.Errorf("ready %v, %+v", s.Ready, s.Look)
		}
	}
	h.comesBack("other", "side", other["side"])
	h.settle()
	if now := h.runs("other", "app", "side"); now["app"] != other["app"] {
		t.Error("git was applied")
	}
	if now := h.runs("web", "app", "side"); now["app"] != web["app"] || now["side"] != web["side"] {
		t.Error("the stack that was changed by hand was touched")
	}
	if head := gittest.Git(t, h.clone, "rev-parse", "HEAD"); head != commit {
		t.Errorf("the clone is at %s", head)
	}
	content, err := os.ReadFile(filepath.Join(h.clone, "web", "www", "index.html"))
	h.must(err)
	if string(content) != "one\nby-container\n" {
		t.Errorf("the page is %q", content)
	}
}
