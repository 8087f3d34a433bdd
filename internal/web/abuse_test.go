package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// TestServerForAbuse is no test: it is the server that another process is cruel
// to, so that its memory can be measured alone. It ends with its standard input.
func TestServerForAbuse(t *testing.T) {
	if os.Getenv("SERVE_FOR_ABUSE") == "" {
		t.Skip("only for TestAbuseChangesNothing")
	}
	s, err := New(Options{
		Address: "127.0.0.1:0", Branch: "main", History: report.NewHistory(nil), Gatherer: prometheus.NewRegistry(),
		WebhookSecret: func() (string, error) { return secret, nil },
		Trigger:       func(string) { fmt.Println("TRIGGERED") },
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ADDRESS " + s.Addr())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	_ = s.Run(ctx)
}

// victim is a server in a process of its own.
type victim struct {
	*testing.T
	address string
	pid     int
	end     func() string // stops it and gives what it said
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServerForAbuse$", "-test.v")
	cmd.Env = append(os.Environ(), "SERVE_FOR_ABUSE=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	v := &victim{T: t, pid: cmd.Process.Pid}
	for v.address == "" {
		line, err := out.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if _, address, ok := strings.Cut(line, "ADDRESS "); ok {
			v.address = strings.TrimSpace(address)
		}
	}
	v.end = func() string {
		_ = stdin.Close()
		rest, _ := io.ReadAll(out)
		_ = cmd.Wait()
		return string(rest)
	}
	return v
}

// memory is a field of the process's status, in MB.
func (v *victim) memory(field string) int {
	v.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.pid))
	if err != nil {
		v.Skip("no /proc to measure memory with")
	}
	_, rest, _ := strings.Cut(string(status), field+":")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		v.Fatal(err)
	}
	return kb / 1024
}

// send sends bytes on a connection of their own and leaves it open.
func (v *victim) send(head string) {
	c, err := (&net.Dialer{}).DialContext(v.Context(), "tcp", v.address)
	if err != nil {
		return // refused: fine
	}
	v.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, head)
}

// garbage sends one of the things that scanners and broken clients send.
func (v *victim) garbage(i int) {
	c, err := (&net.Dialer{}).DialContext(v.Context(), "tcp", v.address)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	noise := make([]byte, 4096)
	r := rand.New(rand.NewPCG(1, uint64(i))) // the same noise each time
	for j := range noise {
		noise[j] = byte(r.UintN(256))
	}
	switch i % 5 {
	case 0:
		_, _ = c.Write(noise)
	case 1:
		_, _ = fmt.Fprintf(c, "POST /webhook HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=%064x\r\nContent-Length: %d\r\n\r\n%s", i, len(noise), noise)
	case 2:
		_, _ = fmt.Fprintf(c, "POST /webhook HTTP/1.1\r\nHost: x\r\nX-Big: %s\r\n\r\n", strings.Repeat("x", 1<<20))
	case 3:
		_, _ = fmt.Fprintf(c, "GET /%x HTTP/1.1\r\nHost: x\r\n\r\n", noise[:512])
	case 4:
		_, _ = fmt.Fprintf(c, "POST /webhook HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", noise[:64])
	}
	if c, ok := c.(*net.TCPConn); ok {
		_ = c.CloseWrite() // those who wait are the slow ones
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c, 1<<16))
}

// large sends a body of 50 MB whose size is not declared.
func (v *victim) large() {
	body := io.LimitReader(&zeros{}, 50<<20)
	request, err := http.NewRequestWithContext(v.Context(), http.MethodPost, "http://"+v.address+"/webhook", body)
	if err != nil {
		v.Error(err)
		return
	}
	request.Header.Set("X-Hub-Signature-256", fmt.Sprintf("sha256=%064x", 1))
	if response, err := http.DefaultClient.Do(request); err == nil {
		if response.StatusCode != http.StatusRequestEntityTooLarge {
			v.Errorf("50 MB: got %d", response.StatusCode)
		}
		_ = response.Body.Close()
	}
}

// slowest asks for the health until stop is closed, and gives the longest time
// an answer took.
func (v *victim) slowest(stop <-chan struct{}) <-chan time.Duration {
	worst := make(chan time.Duration, 1)
	go func() {
		var longest time.Duration
		defer func() { worst <- longest }()
		for {
			start := time.Now()
			if err := Healthcheck(v.Context(), v.address, ""); err != nil {
				v.Errorf("health: %v", err)
				return
			}
			longest = max(longest, time.Since(start))
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return worst
}

func TestAbuseChangesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes ten seconds")
	}
	v := newVictim(t)
	if err := Healthcheck(t.Context(), v.address, ""); err != nil {
		t.Fatal(err)
	}
	before := v.memory("VmRSS")
	stop := make(chan struct{})
	worst := v.slowest(stop)
	for i := range 100 { // slow: half a head, or half a body
		v.send([]string{"POST /webhook HTTP/1.1\r\nHost: x\r\nX-", fmt.Sprintf("POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nX-Gitea-Signature: %064x\r\n\r\n{", i)}[i%2])
	}
	work := make(chan func())
	var workers sync.WaitGroup
	for range 64 {
		workers.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	for i := range 2000 {
		work <- func() { v.garbage(i) }
		if i%250 == 0 {
			work <- v.large
		}
	}
	close(work)
	workers.Wait()
	close(stop)
	slow, peak := <-worst, v.memory("VmHWM")
	t.Logf("memory %d MB before, %d MB at most; health within %s", before, peak, slow)
	if peak-before > allowedMemory {
		t.Errorf("memory grew from %d to %d MB", before, peak)
	}
	if said := v.end(); strings.Contains(said, "TRIGGERED") {
		t.Error("something was triggered")
	}
}
