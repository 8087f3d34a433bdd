package repo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

func TestPacksDontPileUp(t *testing.T) {
	fetches := 150
	if os.Getenv("REPO_ROUNDS") != "" {
		fetches = 1000
	}
	w := newWorld(t)
	gittest.FastImport(t, w.bare, func(b *strings.Builder) {
		for i := range fetches {
			fmt.Fprintf(b, "commit refs/heads/all\nmark :%d\ncommitter a <a@b> %d +0000\ndata 1\nx", i+1, 1_700_000_000+i)
			if i == 0 {
				b.WriteString("\nfrom refs/heads/main^0")
			}
			fmt.Fprintf(b, "\nM 644 inline f%d\ndata %d\n%s\n", i%7, 200, strings.Repeat(string(rune('a'+i%26)), 200))
			fmt.Fprintf(b, "reset refs/heads/s%d\nfrom :%d\n\n", i, i+1)
		}
	})
	r := w.open()
	most := 0
	for i := range fetches {
		gittest.Git(t, w.bare, "update-ref", "refs/heads/main", fmt.Sprintf("refs/heads/s%d", i))
		h := mustFetch(t, r)
		mustCheckout(t, r, h.Remote)
		packs, _ := filepath.Glob(filepath.Join(w.clone, ".git/objects/pack/*.pack"))
		most = max(most, len(packs))
	}
	t.Logf("%d fetches, at most %d packs", fetches, most)
	if most > manyPacks+2 {
		t.Errorf("%d packs", most)
	}
	w.agrees(gittest.Git(t, w.bare, "rev-parse", "main"))
	if out, err := gittest.Try(w.clone, "fsck", "--full", "--strict"); err != nil {
		t.Errorf("git fsck: %s", out)
	}
	packs, _ := filepath.Glob(filepath.Join(w.clone, ".git/objects/pack/*"))
	for _, p := range packs {
		if strings.HasSuffix(p, ".idx") {
			w.git("verify-pack", p)
		}
	}
	w.git("gc", "-q")
	w.write("x", "x")
	gittest.Git(t, w.work, "pull", "-q", "--rebase=false", "--no-edit")
	commit := w.push("after gc")
	if h := mustFetch(t, r); h.Remote != commit {
		t.Errorf("got %+v", h)
	}
	mustCheckout(t, r, commit)
	w.agrees(commit)
}
