//go:build engine

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
)

// privateEngine is an engine of a test's own, to be stopped, killed and started
// again, which must not be done to the one that other tests use. What it has,
// containers, images, networks and volumes, outlives all of that and ends with
// the test.
//
// It shares the host's network, so that it reaches the registries of the tests
// on the loopback, and so do its containers in network mode host. It leaves the
// packet filter alone, which is the other engine's, and takes the addresses of
// its networks from a pool that scripts/engine.sh gives to none. Its default
// bridge is docker0, as it finds it: told to use another one, or none, an engine
// deletes docker0 as it starts, whoever's that is. No container of a test is on
// it. It has a containerd of its own: an engine
// that finds the host's would use that, and share it.
type privateEngine struct {
	t       *testing.T
	dir     string
	address string // as in DOCKER_HOST
	api     client.APIClient
	log     *logBuffer
	// containerd and dockerd are nil before the first start.
	containerd, dockerd *process
	networkless         bool // see revive
}

// process is one that a test started.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func startProcess(log *logBuffer, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// Not to outlive a test that is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

func (p *process) signal(s os.Signal) {
	if p != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// ended waits for the end of a process, for so long.
func (p *process) ended(within time.Duration) bool {
	if p == nil {
		return true
	}
	select {
	case <-p.done:
		return true
	case <-time.After(within):
		return false
	}
}

// newPrivateEngine starts an engine that has the base image and nothing else.
func newPrivateEngine(t *testing.T) *privateEngine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can start an engine of the test's own")
	}
	for _, program := range []string{"dockerd", "containerd", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no engine of the test's own can be started: %v", err)
		}
	}
	// Not t.TempDir: the path of a socket has to be short.
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		t.Fatal(err)
	}
	e := &privateEngine{t: t, dir: dir, address: "unix://" + filepath.Join(dir, "docker.sock"), log: &logBuffer{}}
	t.Cleanup(e.remove)
	for name, content := range map[string]string{
		"daemon.json": "{}", // not the host's
		"containerd.toml": fmt.Sprintf(`
version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = %q
`, e.path("data/containerd"), e.path("run/containerd"), e.containerdSocket()),
	} {
		if err := os.WriteFile(e.path(name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if e.api, err = client.NewClientWithOpts(client.WithHost(e.address), client.WithAPIVersionNegotiation()); err != nil {
		t.Fatal(err)
	}
	e.start()
	if err := importImage(e.api, baseImage); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *privateEngine) path(name string) string  { return filepath.Join(e.dir, name) }
func (e *privateEngine) containerdSocket() string { return e.path("run/containerd.sock") }

// group is the control group of all of the engine's containers.
func (e *privateEngine) group() string { return "/gitops-compose-e2e-" + filepath.Base(e.dir) }

// launch starts an engine that does not run, and does not wait for it.
func (e *privateEngine) launch() error {
	var err error
	e.containerd, err = startProcess(e.log, "containerd", "--config", e.path("containerd.toml"))
	if err != nil {
		return err
	}
	// An engine gives up soon on a containerd that is not there yet.
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", e.containerdSocket())
		if err == nil {
			_ = conn.Close()
			break
		}
		if e.containerd.ended(0) || time.Now().After(deadline) {
			return fmt.Errorf("containerd does not answer: %w", err)
		}
	}
	return e.launchDockerd()
}

func (e *privateEngine) launchDockerd() error {
	var err error
	e.dockerd, err = startProcess(e.log, "dockerd",
		"--config-file", e.path("daemon.json"), "--host", e.address, "--containerd", e.containerdSocket(),
		"--data-root", e.path("data"), "--exec-root", e.path("run"), "--pidfile", e.path("pid"),
		"--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false",
		"--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", e.group(),
		"--default-address-pool", "base=10.240.0.0/16,size=24")
	return err
}

// revive starts an engine again that ended when it started. One that was killed
// while it removed a network may have kept one without addresses, which ends every
// start of an engine 20.10: then a person removes what it knows of networks.
func (e *privateEngine) revive() error {
	if !e.dockerd.ended(0) {
		return nil
	}
	if strings.Contains(e.log.last(50), "reservePools") {
		if err := os.RemoveAll(e.path("data/network")); err != nil {
			return err
		}
		e.networkless = true
	}
	return e.launchDockerd()
}

// answers says whether the engine does.
func (e *privateEngine) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_, err := e.api.Ping(ctx)
	if err != nil && e.dockerd.ended(0) {
		err = errors.Join(fmt.Errorf("it ended at start: %w", err), e.revive())
	}
	return err
}

// start starts an engine that does not run, and waits until it answers: until
// then it is busy with the containers that it was left with.
func (e *privateEngine) start() {
	e.t.Helper()
	if err := e.launch(); err != nil {
		e.t.Fatal(err)
	}
	eventually(e.t, "the engine answers", e.answers)
}

// stop ends the engine as an update of its package or a shutdown of the host
// does: it stops its containers before it ends.
func (e *privateEngine) stop() {
	e.t.Helper()
	for _, p := range []*process{e.dockerd, e.containerd} {
		p.signal(syscall.SIGTERM)
		if !p.ended(limit) {
			e.t.Fatalf("%s does not end", p.cmd.Path)
		}
	}
}

// kill ends the engine in the middle of what it does. Its containers go on
// without it.
func (e *privateEngine) kill() {
	e.dockerd.signal(syscall.SIGKILL)
	e.containerd.signal(syscall.SIGKILL)
	e.dockerd.ended(limit)
	e.containerd.ended(limit)
}

// cutPower ends the engine and its containers in the middle of what they do,
// and loses what does not live on a disk.
func (e *privateEngine) cutPower() {
	e.kill()
	e.killContainers()
	e.loseMemory()
}

// killContainers kills those that a dead engine left, and their shims.
func (e *privateEngine) killContainers() {
	shims := e.shims()
	for pid, parent := range parents() {
		if slices.Contains(shims, pid) || slices.Contains(shims, parent) {
			end(pid)
		}
	}
}

// endLost does what a person is asked to do with processes that the engine
// knows nothing of: it kills those that the words of an error name. They are the
// shims of containers, whose containerd then kills what they hold.
func (e *privateEngine) endLost(said string) {
	_, rest, _ := strings.Cut(said, "pkill -f '")
	pattern, _, asked := strings.Cut(rest, "'")
	if !asked {
		e.t.Fatalf("it does not say what to end: %s", said)
	}
	for pid := range parents() {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if line := strings.ReplaceAll(string(args), "\x00", " "); pid != os.Getpid() && regexp.MustCompile(pattern).MatchString(line) {
			end(pid)
		}
	}
}

// shims are the processes that hold the engine's containers.
func (e *privateEngine) shims() []int {
	var out []int
	for pid := range parents() {
		// The address of its containerd is among the arguments of a shim.
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(args), "shim") && strings.Contains(string(args), "\x00"+e.containerdSocket()+"\x00") {
			out = append(out, pid)
		}
	}
	return out
}

// parents gives the parent of every process of the machine.
func parents() map[int]int {
	all := map[int]int{}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		status, _ := os.ReadFile(filepath.Join(process, "status"))
		_, rest, _ := strings.Cut(string(status), "\nPPid:")
		parent, _, _ := strings.Cut(rest, "\n")
		pid, _ := strconv.Atoi(filepath.Base(process))
		all[pid], _ = strconv.Atoi(strings.TrimSpace(parent))
	}
	return all
}

// end kills a process, which is no child of ours, and waits for its end.
func end(pid int) {
	_ = syscall.Kill(pid, syscall.SIGKILL)
	for range 1000 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || strings.Contains(string(status), "\nState:\tZ") {
			return // whoever is to, will take it away
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// loseMemory does to a dead engine what the end of the kernel does: mounts,
// network devices, control groups and what lives under /run are gone.
func (e *privateEngine) loseMemory() {
	for range 100 { // some are mounted over others
		mounts := e.mounts()
		for _, m := range mounts {
			_ = syscall.Unmount(m, syscall.MNT_DETACH)
		}
		if len(mounts) == 0 {
			break
		}
	}
	// Bridges have the names that the engine keeps, of networks that are no
	// more too.
	known, _ := os.ReadFile(e.path("data/network/files/local-kv.db"))
	for _, bridge := range regexp.MustCompile(`\bbr-[0-9a-f]{12}\b`).FindAllString(string(known), -1) {
		if _, err := os.Stat("/sys/class/net/" + bridge); err == nil {
			_ = exec.Command("ip", "link", "delete", bridge).Run()
		}
	}
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		for _, below := range []string{"*", ""} {
			groups, _ := filepath.Glob(filepath.Join(root, e.group(), below))
			for _, group := range groups {
				_ = syscall.Rmdir(group)
			}
		}
	}
	// Sockets of shims are not in their containerd's folder.
	addresses, _ := filepath.Glob(e.path("run/containerd/*/*/*/address"))
	for _, file := range addresses {
		address, _ := os.ReadFile(file)
		_ = os.Remove(strings.TrimPrefix(string(address), "unix://"))
	}
	for _, name := range []string{"run", "pid", "docker.sock"} {
		_ = os.RemoveAll(e.path(name))
	}
}

// mounts are those below the engine's folder, the last first.
func (e *privateEngine) mounts() []string {
	var out []string
	table, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], e.dir+"/") {
			out = append(out, fields[4])
		}
	}
	slices.Reverse(out)
	return out
}

// remove leaves nothing of the engine, however the test ended.
func (e *privateEngine) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if e.dockerd.ended(0) {
		_ = e.launch()
	}
	for e.answers() != nil && !e.dockerd.ended(100*time.Millisecond) && ctx.Err() == nil {
	}
	containers, _ := e.api.ContainerList(ctx, container.ListOptions{All: true})
	for _, c := range containers {
		_ = e.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true})
	}
	networks, _ := e.api.NetworkList(ctx, network.ListOptions{})
	for _, n := range networks {
		_ = e.api.NetworkRemove(ctx, n.ID)
	}
	_ = e.api.Close()
	e.dockerd.signal(syscall.SIGTERM)
	e.dockerd.ended(limit)
	e.cutPower() // what the engine could not remove itself
	if e.t.Failed() {
		e.t.Logf("log of the engine:\n%s", e.log.last(200))
	}
	if left := e.mounts(); len(left) > 0 {
		e.t.Errorf("still mounted: %v", left)
		return
	}
	if err := os.RemoveAll(e.dir); err != nil {
		e.t.Error(err)
	}
}
