package repo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
)

func envInt(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// bigRemote has a tree of many files and a long history; the branches s0, s1...
// continue main by one commit each, which changes three files.
func bigRemote(b testing.TB, commits, files, steps int) string {
	b.Helper()
	bare := gittest.Bare(b)
	// 40 files a folder, 50 folders a folder.
	name := func(i int) string { return fmt.Sprintf("d%03d/d%02d/f%02d", i/2000, i/40%50, i%40) }
	gittest.FastImport(b, bare, func(w *strings.Builder) {
		commit := func(ref string, n, from int) {
			fmt.Fprintf(w, "commit refs/heads/%s\nmark :%d\ncommitter a <a@b> %d +0000\ndata 1\nx\n", ref, n, 1_600_000_000+n)
			if from > 0 {
				fmt.Fprintf(w, "from :%d\n", from)
			}
		}
		file := func(i, v int) {
			content := fmt.Sprintf("file %d version %d\n", i, v)
			fmt.Fprintf(w, "M 644 inline %s\ndata %d\n%s\n", name(i), len(content), content)
		}
		commit("main", 1, 0)
		for i := range files {
			file(i, 0)
		}
		for n := 2; n <= commits; n++ {
			commit("main", n, n-1)
			file(n*7919%files, n)
		}
		for s := range steps {
			commit("s"+strconv.Itoa(s), commits+1+s, commits+s)
			for k := range 3 {
				file((s*31+k*33_331)%files, commits+s)
			}
		}
	})
	return bare
}

// BenchmarkOneNewCommit is what the arrival of one commit costs from the start
// of the process to the end: listing, fetch, comparison and checkout of three
// changed files, in a big repository; by `git pull` and by this package, side by
// side. REPO_BENCH_COMMITS and REPO_BENCH_FILES set the size.
func BenchmarkOneNewCommit(b *testing.B) {
	commits, files := envInt("REPO_BENCH_COMMITS", 100_000), envInt("REPO_BENCH_FILES", 100_000)
	const steps = 40
	start := time.Now()
	bare := bigRemote(b, commits, files, steps)
	b.Logf("%d commits, %d files, made in %s", commits, files, time.Since(start).Round(time.Second))
	url := gittest.Serve(b, bare, "", "")
	dir := b.TempDir()
	gittest.Git(b, "", "clone", "-q", "--single-branch", url, filepath.Join(dir, "git"))
	gittest.Git(b, "", "clone", "-q", "--single-branch", url, filepath.Join(dir, "ours"))
	run := func(which string, command func() *exec.Cmd) func(*testing.B) {
		at := 0
		return func(b *testing.B) {
			var cpu time.Duration
			var rss int64
			for range b.N {
				b.StopTimer()
				gittest.Git(b, bare, "update-ref", "refs/heads/main", "refs/heads/s"+strconv.Itoa(at%steps))
				at++
				cmd := command()
				cmd.Env = append(gittest.Env(), cmd.Env...)
				cmd.Dir = filepath.Join(dir, which)
				b.StartTimer()
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v %s", err, out)
				}
				cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
				rss = max(rss, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
			}
			b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(rss)/1024, "MB-peak")
			if got, want := gittest.Git(b, filepath.Join(dir, which), "rev-parse", "HEAD"), gittest.Git(b, bare, "rev-parse", "main"); got != want {
				b.Fatalf("head is %s, want %s", got, want)
			}
		}
	}
	b.Run("git-pull", run("git", func() *exec.Cmd { return exec.Command("git", "pull", "-q", "--ff-only") }))
	b.Run("this", run("ours", func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{"REPO_CRASH_CLONE=" + filepath.Join(dir, "ours"), "REPO_CRASH_AT=-1"}
		return cmd
	}))
}

// BenchmarkNothingNew is a poll in a running process.
func BenchmarkNothingNew(b *testing.B) {
	for _, files := range []int{100, 1000, 10_000, 100_000} {
		b.Run(strconv.Itoa(files)+"-files", func(b *testing.B) {
			bare := bigRemote(b, 2, files, 1)
			w := &world{t: b, bare: bare, clone: filepath.Join(b.TempDir(), "clone")}
			gittest.Git(b, "", "clone", "-q", gittest.Serve(b, bare, "", ""), w.clone)
			r := w.open()
			mustFetch(b, r)
			var before, after syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			for b.Loop() {
				mustFetch(b, r)
			}
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(cpu)/1e6/float64(b.N), "cpu-ms/op")
		})
	}
}
