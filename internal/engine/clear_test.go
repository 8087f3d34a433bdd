package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
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
	release, err := e.clear.lay([]render.VolumeFile{{Path: "web/digest/x.env", Content: []byte("hunter2"), Mode: 0o400, UID: -1, GID: -1}})
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

// What somebody else has in a folder is never touched, and what we write there can only
// be read by whom it is for.
func TestFilesInClearLieInAFolderOfTheirOwn(t *testing.T) {
	file := render.VolumeFile{Path: "web/digest/it's", Content: []byte("secret"), Mode: 0o440, UID: -1, GID: -1}
	full := func(c *clearFiles) string { return filepath.Join(c.folder, file.Path) }

	others := &clearFiles{folder: t.TempDir()}
	if err := os.Mkdir(filepath.Join(others.folder, "web"), 0o755); err != nil {
		t.Fatal(err)
	}
	release, err := others.lay([]render.VolumeFile{file})
	release()
	if err == nil || !strings.Contains(err.Error(), "SECRETS_PATH") {
		t.Errorf("a folder with something of others in it: %v", err)
	}
	if _, err := os.Lstat(full(others)); err == nil {
		t.Error("it was written to")
	}

	own := &clearFiles{folder: t.TempDir()}
	for range 2 { // the second time it is there
		release, err := own.lay([]render.VolumeFile{file})
		if err != nil {
			t.Fatal(err)
		}
		if own.used["web/digest"] != 1 {
			t.Errorf("it is in use by %d", own.used["web/digest"])
		}
		release()
		if len(own.used) != 0 {
			t.Errorf("in use afterwards: %v", own.used)
		}
	}
	for path, mode := range map[string]os.FileMode{"web": 0o700, "web/digest": 0o700, file.Path: 0o440} {
		if info, err := os.Stat(filepath.Join(own.folder, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s is %v: %v", path, info, err)
		}
	}
	if err := errors.Join(os.Remove(full(own)), os.WriteFile(full(own), []byte("damage"), 0o440)); err != nil {
		t.Fatal(err)
	}
	release, err = own.lay([]render.VolumeFile{file})
	release()
	if b, readErr := os.ReadFile(full(own)); err != nil || string(b) != "secret" {
		t.Errorf("what is damaged is %q, %v, %v", b, err, readErr)
	}

	none := &clearFiles{}
	if _, err := none.lay([]render.VolumeFile{file}); err == nil {
		t.Error("without a folder it was laid somewhere")
	}
}

// Whoever a container runs as reads a folder that it mounts.
func TestAFolderInTheVolumeCanBeReadByContainers(t *testing.T) {
	c := &clearFiles{folder: t.TempDir()}
	release, err := c.lay([]render.VolumeFile{
		{Path: "web/digest/conf/deep/x", Content: []byte("x"), Mode: 0o644, UID: -1, GID: -1},
		{Path: "web/digest/conf/y", Content: []byte("y"), Mode: 0o755, UID: -1, GID: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.used["web/digest"] != 2 || len(c.used) != 1 {
		t.Errorf("in use are %v", c.used)
	}
	release()
	for path, mode := range map[string]os.FileMode{
		"web/digest": 0o700, "web/digest/conf": 0o755, "web/digest/conf/deep": 0o755, "web/digest/conf/deep/x": 0o644, "web/digest/conf/y": 0o755,
	} {
		if info, err := os.Stat(filepath.Join(c.folder, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s is %v: %v", path, info, err)
		}
	}
}
