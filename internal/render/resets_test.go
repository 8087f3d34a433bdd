package render_test

import (
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// Compose loads this in two ways, as its services come out of a map.
const byChance = `
services:
  a: {extends: b}
  b: {extends: c, labels: !override {b: "1"}, ports: !reset []}
  c: {image: c, labels: {c: "1"}, ports: ["80"]}
`

func TestWhatComposeLoadsByChanceIsAlwaysTheSame(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", byChance)
	first := valid(t, f)
	for _, name := range []string{"a", "b"} {
		if s := compose(t, first).Services[name]; len(s.Ports) != 0 || s.Labels["b"] != "1" || s.Labels["c"] != "" {
			t.Errorf("%s has ports %v and labels %v, which b resets", name, s.Ports, s.Labels)
		}
	}
	if got, want := strings.Join(first.Warnings, ", "), "services.b: !reset and !override beside extends count by chance in docker compose, as a extends it; here they always do"; got != want {
		t.Errorf("got the warning %q, want %q", got, want)
	}
	for range 30 {
		if again := valid(t, f); again.Digest != first.Digest {
			t.Fatal("it is another stack when it is loaded again")
		}
	}
}

func TestComposeStillLoadsItByChance(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", byChance)
	digests := map[string]bool{}
	for range 200 {
		digests[validOf(t, render.New(options(f)).ByLibrary(), f).Digest] = true
	}
	if len(digests) != 2 {
		t.Errorf("in %d ways: if it is one now, our own order is needed no more", len(digests))
	}
}

func TestOnlyWhatComposeLoadsByChanceIsWarnedOf(t *testing.T) {
	for _, text := range []string{
		"services: {a: {extends: b, ports: !reset []}, b: {image: b, ports: ['80:80']}}",
		"services: {a: {extends: b}, b: {image: b, ports: !reset ['80:80']}}",
		"services: {a: {extends: b}, b: {extends: c}, c: {image: c, ports: !reset ['80:80']}}",
		"services: {a: {extends: b}, b: {extends: c}, c: {image: c}}",
	} {
		if p := valid(t, newFolder(t).write("web/compose.yaml", text)); len(p.Warnings) != 0 {
			t.Errorf("%s: %v", text, p.Warnings)
		}
	}
}
