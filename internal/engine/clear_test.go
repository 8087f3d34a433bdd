package engine

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// Containers may have any label; what a project of another name has in clear stays.
func TestNothingIsSweptForALabelThatIsNoName(t *testing.T) {
	above := t.TempDir()
	folder := filepath.Join(above, "clear")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	e := New(nil, Options{Secrets: folder, HostSecrets: "/host", Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	release, err := e.clear.lay([]render.SecretFile{{Path: "web/digest/x.env", Content: []byte("hunter2"), Mode: 0o400, UID: -1, GID: -1}})
	if err != nil {
		t.Fatal(err)
	}
	release()
	for _, label := range []string{"", ".", "..", "web/..", "../clear", "/", "web/digest"} {
		func() {
			defer func() {
				if p := recover(); p != nil { // there is no engine to ask
					t.Errorf("%q is taken for a project", label)
				}
			}()
			e.sweep(t.Context(), label)
		}()
	}
	if b, err := os.ReadFile(filepath.Join(folder, "web/digest/x.env")); err != nil || string(b) != "hunter2" || logged.Len() > 0 {
		t.Errorf("left is %q: %v %s", b, err, &logged)
	}
}
