package render_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
	"github.com/korbiniankuhn/gitops-compose/internal/repo"
	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

// What is loaded before a checkout and after it has to be the same to the
// letter, or every stack would look changed at the next check.
func TestACommitLoadsTheSameBeforeAndAfterItsCheckout(t *testing.T) {
	bare := gittest.Bare(t)
	work := gittest.Work(t, bare)
	gittest.Write(t, work, "web/compose.yaml", everything)
	for _, f := range []string{"web/a.env", "web/conf/file", "web/c.conf", "web/s.key", "web/src/Dockerfile", "other/x"} {
		gittest.Write(t, work, f, "A=1")
	}
	gittest.Write(t, work, "web/a.labels", "a=1")
	gittest.Write(t, work, "web/seccomp.json", "{}")
	gittest.Write(t, work, "shared/base.yaml", "services: {base: {image: a}}")
	gittest.Write(t, work, "compose.yaml", "services: {root: {image: a, volumes: ['./other:/o']}}")
	gittest.Push(t, work, "one")
	clone := t.TempDir() + "/clone"
	gittest.Git(t, "", "clone", "-q", bare, clone)
	gittest.Write(t, clone, "web/.env", "TOKEN=1")
	gittest.Write(t, clone, "web/h.key", "1")

	gittest.Write(t, work, "web/c.conf", "A=2")
	gittest.Write(t, work, "new/compose.yaml", "services: {app: {image: a, volumes: ['./x:/x']}}")
	gittest.Write(t, work, "new/x", "1")
	commit := gittest.Push(t, work, "two")

	ctx := context.Background()
	l := loader(&folder{dir: clone})
	r, err := repo.Open(ctx, repo.Options{Path: clone, Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Fetch(ctx); err != nil {
		t.Fatal(err)
	}
	see := func(commit string) map[string]render.Project {
		t.Helper()
		tree, err := r.Stage(ctx, commit)
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		return load(t, l, tree)
	}
	first := gittest.Git(t, clone, "rev-parse", "HEAD")
	local := see(first)
	before := see(commit)
	if err := r.Checkout(ctx, commit); err != nil {
		t.Fatal(err)
	}
	see(first) // what was loaded of the second is forgotten
	after := see(commit)
	if len(before) != 3 || len(after) != 3 {
		t.Fatalf("%d stacks before and %d after", len(before), len(after))
	}
	for file := range after {
		if before[file].Invalid != "" || before[file].Digest != after[file].Digest {
			t.Errorf("%s: %s %s\nbefore %v\nafter  %v", file, before[file].Invalid, after[file].Invalid, before[file].Services, after[file].Services)
		}
		if was, is := facts(before[file]), facts(after[file]); was != is {
			t.Errorf("%s:\nbefore %s\nafter  %s", file, was, is)
		}
		a, _ := compose(t, before[file]).MarshalYAML()
		b, _ := compose(t, after[file]).MarshalYAML()
		if string(a) != string(b) {
			t.Errorf("%s: the engine would get\n%s\nand\n%s", file, a, b)
		}
	}
	if got := changed(local["web/compose.yaml"], after["web/compose.yaml"]); got != "config" {
		t.Errorf("changed by the commit: %q", got)
	}
	if local["compose.yaml"].Digest != after["compose.yaml"].Digest {
		t.Error("the stack in the root changed")
	}
}

// facts is all that the plan gets to know of a stack.
func facts(p render.Project) string {
	return fmt.Sprintf("%+v", p.Stack)
}
