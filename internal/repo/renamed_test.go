package repo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

func TestWhatWasRenamedIsFoundAsGitFindsIt(t *testing.T) {
	web := "name: web\nservices:\n  app:\n    image: nginx:1\n    ports: [8080:80]\n    restart: always\n"
	shop := "name: shop\nservices:\n  store:\n    image: redis:7\n    volumes: [data:/data]\nvolumes:\n  data:\n"
	for name, c := range map[string]struct {
		was, is map[string]string
		want    map[string]string
	}{
		"the same in another folder":        {map[string]string{"web/compose.yaml": web}, map[string]string{"apps/web/compose.yaml": web}, map[string]string{"apps/web/compose.yaml": "web/compose.yaml"}},
		"with a mistake":                    {map[string]string{"web/compose.yaml": web}, map[string]string{"b/compose.yaml": strings.Replace(web, "  app:", "\tapp", 1)}, map[string]string{"b/compose.yaml": "web/compose.yaml"}},
		"another one":                       {map[string]string{"web/compose.yaml": web}, map[string]string{"shop/compose.yaml": shop}, map[string]string{}},
		"one that stays":                    {map[string]string{"web/compose.yaml": web}, map[string]string{"web/compose.yaml": web, "b/compose.yaml": web + "x"}, map[string]string{}},
		"the same before one that is alike": {map[string]string{"web/compose.yaml": web}, map[string]string{"a/compose.yaml": web + "x", "b/compose.yaml": web}, map[string]string{"b/compose.yaml": "web/compose.yaml"}},
		"two, each to what it is most like": {map[string]string{"web/compose.yaml": web, "shop/compose.yaml": shop}, map[string]string{"a/compose.yaml": shop + "x", "b/compose.yaml": web + "x"}, map[string]string{"a/compose.yaml": "shop/compose.yaml", "b/compose.yaml": "web/compose.yaml"}},
		"another name in its folder":        {map[string]string{"web/docker-compose.yml": web}, map[string]string{"web/compose.yaml": web + "x: [\n"}, map[string]string{"web/compose.yaml": "web/docker-compose.yml"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.t = t
			for f, content := range c.was {
				w.write(f, content)
			}
			from := w.push("before")
			for f := range c.was {
				w.remove(f)
			}
			for f, content := range c.is {
				w.write(f, content)
			}
			to := w.push("after")
			r := w.open()
			mustFetch(t, r)
			got, err := r.Renamed(t.Context(), from, to, slices.Sorted(maps.Keys(c.was)), slices.Sorted(maps.Keys(c.is)))
			if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
			w.git("fetch", "-q")
			if git := w.gitsRenames(from, to); fmt.Sprint(git) != fmt.Sprint(c.want) {
				t.Errorf("git says %v, want %v", git, c.want)
			}
		})
	}
}

func (w *world) remove(path string) { gittest.Git(w.t, w.work, "rm", "-q", path) }

func (w *world) gitsRenames(from, to string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(w.git("diff", "--name-status", "-M", "--diff-filter=R", from, to)) {
		if f := strings.Fields(line); len(f) == 3 {
			out[f[2]] = f[1]
		}
	}
	return out
}
