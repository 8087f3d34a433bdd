//go:build engine

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// badVersion is a version of the daemon's stack that can't take over.
type badVersion struct {
	name string
	// replace is what is different in the compose file.
	replace []string
	// says matches the reason. lastLine is a part of the detail: of what the new
	// container said; it is empty when that said nothing.
	says, lastLine string
	// asked says that a hand-over begins at all, retried that it is tried again
	// though git did not change.
	asked, retried bool
}

func (b badVersion) String() string { return b.name }

func badVersions(takenPort string) []badVersion {
	return []badVersion{
		{
			name: "an image without our binary", replace: []string{"IMAGE:VERSION", baseImage},
			says: "the new image can't do the hand-over", asked: true,
		},
		{
			name: "an image that does something else", replace: []string{"IMAGE:VERSION", brokenImage()},
			says: "the new image can't do the hand-over", lastLine: "out of order", asked: true,
		},
		{
			// It ended, or ends again and again: as fast as the engine is.
			name: "a command that it does not know", replace: []string{"labels:", "command: [nonsense]\n    labels:"},
			says: `the new daemon (ended|keeps crashing) \(exit code \d+\)`, lastLine: "unknown command", asked: true,
		},
		{
			name: "an error in the configuration", replace: []string{`SECONDS: "-1"`, `SECONDS: nonsense`},
			says: `the new daemon (ended|keeps crashing) \(exit code \d+\)`, lastLine: "CHECK_INTERVAL_IN_SECONDS", asked: true,
		},
		{
			name: "a daemon that never gets ready", replace: []string{"LOG_LEVEL: debug", "REPOSITORY_BRANCH: nowhere"},
			says: "not ready within", lastLine: "nowhere", asked: true,
		},
		{
			name: "a port that another process has", replace: []string{"PORT", takenPort},
			says: "address already in use", asked: true,
		},
		{
			name: "a mount that can't be made", replace: []string{"- ..:/repository", "- ..:/repository\n      - /proc/nonsense/x:/x"},
			says: "/proc/nonsense", asked: true,
		},
		{
			name: "an image that can't be pulled", replace: []string{"IMAGE:VERSION", "127.0.0.1:1/nothing:v2"},
			says: "127.0.0.1:1", retried: true,
		},
	}
}

// takenPort is a port that this process listens at until the test ends.
func takenPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

func brokenImage() string { return ownRepository + ":broken" }

// A version that can't take over leaves the one before, and is not tried again
// until git changes.
func TestAVersionThatCannotTakeOverLeavesTheOneBefore(t *testing.T) {
	const hosts = 3
	if err := ownImages(); err != nil {
		t.Fatal(err)
	}
	broken := imageFrom("", brokenImage(), "FROM "+baseImage+"\nENTRYPOINT [\"sh\", \"-c\", \"echo out of order; exit 3\"]\n")
	if out, err := broken.CombinedOutput(); err != nil {
		t.Fatalf("build an image: %v\n%s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("docker", "image", "rm", brokenImage()).Run() })
	onHosts(t, hosts, ownStack, badVersions(takenPort(t)), func(*own) {}, (*own).bad)
}

// identity is what of a container has to be as it was.
func (o *own) identity() string {
	o.t.Helper()
	c := o.inspect(o.runs(o.folder, "daemon")["daemon"])
	host, err := json.Marshal(c.HostConfig)
	if err != nil {
		o.t.Fatal(err)
	}
	config, err := json.Marshal(c.Config)
	if err != nil {
		o.t.Fatal(err)
	}
	return strings.Join([]string{c.ID, c.Name, c.Image, string(host), string(config)}, "\n")
}

// bad tries a bad version, and then a good one, which it gives.
func (o *own) bad(b badVersion, runs string) string {
	o.t.Helper()
	before := o.identity()
	next := map[string]string{"v1": "v3", "v3": "v1"}[runs]
	o.version(next, b.replace...)
	o.push(b.name)
	o.proxy.disarm()
	o.trigger()
	o.failed(b)
	if now := o.identity(); now != before {
		o.t.Errorf("%s: the daemon's container was\n%s\nand is\n%s", b.name, before, now)
	}
	if asked := slices.Contains(o.proxy.disarm(), "POST /containers/create"); asked != b.asked {
		o.t.Errorf("%s: a helper was made: %v", b.name, asked)
	}
	counted := map[bool]string{true: "1", false: "0"}[b.asked]
	o.counts(`gitops_handovers_total{result="error"}`, counted)

	if !b.retried { // whoever asks, and whatever else changes in git
		o.settle()
		o.write("README.md", b.name+"\n")
		o.push("change something else")
		o.settle()
		o.failed(b)
		if slices.Contains(o.proxy.disarm(), "POST /containers/create") {
			o.t.Errorf("%s: it was tried again", b.name)
		}
	}
	o.version(next)
	o.push("mend it")
	o.trigger()
	o.ready(next)
	o.counts(`gitops_handovers_total{result="success"}`, "1")
	o.untouched()
	return next
}

// failed waits until the stack's status says that it failed, and why, and the
// daemon is alone.
func (o *own) failed(b badVersion) {
	o.t.Helper()
	o.eventually(b.name+" is reported", func() error {
		s, err := o.status()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(s.Stacks, func(st report.Stack) bool { return st.Name == o.project(o.folder) })
		if i < 0 {
			return fmt.Errorf("no stack in %+v", s)
		}
		st := s.Stacks[i]
		why := regexp.MustCompile(b.says).MatchString(st.Reason+st.Error) && strings.Contains(st.Detail, b.lastLine)
		if st.Status != report.Failed || !why || len(st.Outcomes) == 0 || st.Outcomes[0].Error == "" {
			return fmt.Errorf("%+v", st)
		}
		if !s.Ready {
			return fmt.Errorf("the daemon is not ready: %s", s.Problem)
		}
		return o.single()
	})
}

// counts waits for a metric's value.
func (o *own) counts(metric, want string) {
	o.t.Helper()
	o.eventually(metric+" is "+want, func() error {
		body, _, err := o.get("/metrics")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(body)) {
			if have, ok := strings.CutPrefix(line, metric+" "); ok && strings.TrimSpace(have) != want {
				return fmt.Errorf("it is %s", have)
			} else if ok {
				return nil
			}
		}
		return fmt.Errorf("there is none")
	})
}

// inspect asks the engine for a container.
func (o *own) inspect(id string) container.InspectResponse {
	o.t.Helper()
	c, err := o.api.ContainerInspect(context.Background(), id)
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}
