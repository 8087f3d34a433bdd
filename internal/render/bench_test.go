package render_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// commit is a Tree as cheap as the real one: ids are looked up, not computed.
type commit struct {
	dir string
	ids map[string]string // of files and folders; the root is ""
}

func (c commit) Commit() string       { return c.ids[""] }
func (c commit) Dir() string          { return c.dir }
func (c commit) ID(p string) string   { return c.ids[p] }
func (c commit) Edited(p string) bool { return false }
func (c commit) Find(names ...string) []string {
	var out []string
	for p := range c.ids {
		if isNamed(names, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// set gives the id of a file, and with it of the folders above.
func (c commit) set(name, text string) {
	sum := sha256.Sum256([]byte(name + c.ids[name] + text))
	for p := name; ; p = path.Dir(p) {
		if p == "." {
			p = ""
		}
		c.ids[p] = hex.EncodeToString(sum[:20])
		if p == "" {
			return
		}
	}
}

func (c commit) write(b *testing.B, name, text string) {
	b.Helper()
	full := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	c.set(name, text)
}

// typical is a stack as most are: one service, its .env and a mounted file.
const typical = `services:
  app:
    image: nginx:${TAG:-1.27}
    restart: unless-stopped
    environment:
      LOG_LEVEL: info
      PORT: ${PORT}
    ports: ["${PORT}:80"]
    volumes:
      - ./nginx.conf:/etc/nginx/nginx.conf:ro
      - data:/data
    healthcheck:
      test: ["CMD", "wget", "-q", "-O-", "http://localhost/"]
      interval: 30s
    networks: [front]
networks:
  front:
volumes:
  data:
`

func stacks(b *testing.B, n int) commit {
	b.Helper()
	c := commit{dir: filepath.Join(b.TempDir(), "clone"), ids: map[string]string{}}
	for i := range n {
		dir := fmt.Sprintf("stack%03d/", i)
		c.write(b, dir+"compose.yaml", typical)
		c.write(b, dir+"nginx.conf", "events {}")
		c.write(b, dir+".env", fmt.Sprintf("PORT=%d", 10000+i))
	}
	return c
}

func benchmark(b *testing.B, n int, change func(c commit, i int)) {
	c := stacks(b, n)
	l := loader(&folder{dir: c.dir}, func(o *render.Options) { o.HostRoot = c.dir })
	load(b, l, c)
	i, before := 0, cpu(b)
	for b.Loop() {
		i++
		change(c, i)
		for file, p := range load(b, l, c) {
			if p.Invalid != "" || !strings.HasSuffix(file, "compose.yaml") {
				b.Fatalf("%s: %s", file, p.Invalid)
			}
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(i)/1e6, "cpu-ms/op")
}

// cpu is what the process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLoadOne is one load of a typical file.
func BenchmarkLoadOne(b *testing.B) {
	benchmark(b, 1, func(c commit, i int) { c.write(b, "stack000/.env", fmt.Sprintf("PORT=%d", 10000+i%1000)) })
}

// BenchmarkLoadOneOf500 is a commit that changes one of 500 stacks.
func BenchmarkLoadOneOf500(b *testing.B) {
	benchmark(b, 500, func(c commit, i int) { c.write(b, "stack007/.env", fmt.Sprintf("PORT=%d", 10000+i%1000)) })
}

// BenchmarkLoadNothingNew500 is a check of 500 stacks at the same commit.
func BenchmarkLoadNothingNew500(b *testing.B) { benchmark(b, 500, func(commit, int) {}) }

// BenchmarkLoadAnotherCommit500 is a commit that concerns none of 500 stacks.
func BenchmarkLoadAnotherCommit500(b *testing.B) {
	benchmark(b, 500, func(c commit, i int) { c.write(b, "README.md", fmt.Sprint(i)) })
}
