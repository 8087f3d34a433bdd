package web

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// Deliveries that providers sent, or show in their documentation, have been
// collected by others. Their files are not ours to copy: the tests fetch what
// was published, at an exact version with its checksum, and are skipped where
// it can't be had.

// module gives the folder of a Go module in the module cache.
func module(t *testing.T, name, sum string) string {
	t.Helper()
	cmd := command(t, "go", "mod", "download", "-json", name)
	cmd.Env = append(cmd.Env, "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local")
	out, err := cmd.Output()
	var answer struct{ Dir, Sum, Error string }
	if json.Unmarshal(out, &answer) != nil || err != nil || answer.Error != "" {
		testenv.Unavailable(t, "%s can't be had: %v %s", name, err, answer.Error)
	}
	if answer.Sum != sum {
		t.Fatalf("%s has the checksum %s, want %s", name, answer.Sum, sum)
	}
	return answer.Dir
}

// npm gives a file of a package of the npm registry.
func npm(t *testing.T, name, sum, file string) []byte {
	t.Helper()
	cmd := command(t, "npm", "pack", "--loglevel=error", "--prefer-offline", "--fetch-retries=0", name)
	if out, err := cmd.CombinedOutput(); err != nil {
		testenv.Unavailable(t, "%s can't be had: %v %s", name, err, out)
	}
	packed, err := filepath.Glob(filepath.Join(cmd.Dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		t.Fatalf("got %v, %v", packed, err)
	}
	content, err := os.ReadFile(packed[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := sha512.Sum512(content); base64.StdEncoding.EncodeToString(got[:]) != sum {
		t.Fatalf("%s has the checksum %x", name, got)
	}
	return unpack(t, content, file)
}

func unpack(t *testing.T, packed []byte, file string) []byte {
	t.Helper()
	raw, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(raw); ; {
		head, err := files.Next()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if head.Name == file {
			content, err := io.ReadAll(files)
			if err != nil {
				t.Fatal(err)
			}
			return content
		}
	}
}

// command is a program that fetches something, in a folder of its own; without
// the program the test is skipped. A network that swallows everything is none.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		testenv.Unavailable(t, "there is no %s to fetch recordings with", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = os.Environ()
	return cmd
}

// folder reads the payloads of a folder, by their names without ending.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no payloads, %v", dir, err)
	}
	all := map[string]string{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".json")] = string(content)
	}
	return all
}
