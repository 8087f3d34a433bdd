package reconcile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

func TestAStackThatIsHeldIsWarnedOfWhatItMountsAndIsNotThere(t *testing.T) {
	clone := t.TempDir()
	bubble(t, "and no more once it is there", func(t *testing.T) {
		s := stack("web", "edge")
		gone := filepath.Join(t.TempDir(), "nowhere")
		s.Services[0].Mounts = []plan.Mount{{Target: "/a", Type: plan.MountClone, Source: "data"}, {Target: "/b", Type: plan.MountHost, Source: gone}}
		w := newWorld(t, s)
		d := start(t, w, func(o *Options) { o.Clone, o.SeesHost = clone, true })
		warnings := func() string {
			d.recorder.mu.Lock()
			defer d.recorder.mu.Unlock()
			return strings.Join(d.looked[len(d.looked)-1].Stacks[0].Warnings, "\n")
		}
		const is = ", which is not there: the engine makes it, as a folder of root's"
		if got, want := warnings(), "services.app mounts ./data"+is+"\nservices.app mounts "+gone+is; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		for _, dir := range []string{gone, filepath.Join(clone, "data")} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		d.look()
		if got := warnings(); got != "" {
			t.Errorf("it is there, and the warnings are %q", got)
		}
		d.stop()
	})
}
