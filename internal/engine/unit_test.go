package engine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/cli/cli/config"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

func TestALoginGoesToItsRegistryOnly(t *testing.T) {
	dir := t.TempDir()
	before := config.Dir()
	config.SetDir(dir)
	defer config.SetDir(before)
	file := `{"credsStore": "is-not-installed", "auths": {"file.example.org": {}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	e := New(nil, Options{Registries: []Registry{
		{Host: "example.org:5000", Username: "five", Password: func() (string, error) { return "secret5", nil }},
		{Host: "https://docker.io", Username: "hub", Password: func() (string, error) { return "secretH", nil }},
	}})
	for image, want := range map[string]string{
		"example.org:5000/a/b:1":    "five secret5",
		"busybox":                   "hub secretH",
		"docker.io/library/busybox": "hub secretH",
	} {
		auth, err := e.authFor(image)
		if err != nil {
			t.Fatal(err)
		}
		b, err := base64.URLEncoding.DecodeString(auth)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Username, Password string }
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if g := got.Username + " " + got.Password; g != want {
			t.Errorf("%s: %q, want %q", image, g, want)
		}
	}
	config.SetDir(t.TempDir())
	for _, image := range []string{"example.org/a", "example.org:5001/a", "x.example.org:5000/a", "example.org.evil.com:5000/a"} {
		auth, err := e.authFor(image)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := base64.URLEncoding.DecodeString(auth)
		if strings.Contains(string(b), "secret") {
			t.Errorf("%s gets %s", image, b)
		}
	}
}

func TestAPasswordThatCanNotBeReadNamesTheRegistry(t *testing.T) {
	e := New(nil, Options{Registries: []Registry{{Host: "example.org", Password: func() (string, error) { return "", errors.New("no such file") }}}})
	if _, err := e.authFor("busybox"); err == nil || !strings.Contains(err.Error(), "example.org") {
		t.Errorf("error %v", err)
	}
}

func TestStatusesAreRead(t *testing.T) {
	for status, want := range map[string]struct {
		health string
		code   int
	}{
		"Up 3 hours":                     {"", 0},
		"Up 3 hours (healthy)":           {"healthy", 0},
		"Up 3 hours (unhealthy)":         {"unhealthy", 0},
		"Up 1 second (health: starting)": {"starting", 0},
		"Up 3 hours (Paused)":            {"", 0},
		"Exited (137) 2 minutes ago":     {"", 137},
		"Restarting (1) 2 seconds ago":   {"", 1},
		"Created":                        {"", 0},
		"":                               {"", 0},
		")(":                             {"", 0},
	} {
		if health, code := readStatus(status); health != want.health || code != want.code {
			t.Errorf("%q: %q %d", status, health, code)
		}
	}
}

func TestTemporaryNamesAreKnown(t *testing.T) {
	for name, want := range map[string]bool{
		"0123456789ab_web-app-1": true,
		"0123456789ab_":          false,
		"0123456789a_web-app-1":  false,
		"0123456789xy_web-app-1": false,
		"web-app-1":              false,
		"0123456789ab_shop-a-1":  false, // the project's name
	} {
		if got := temporary(name, "0123456789ab_shop"); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for text, want := range map[string]string{
		"could not find an available, non-overlapping IPv4 address pool among the defaults": "default-address-pools",
		"Bind for 0.0.0.0:80 failed: port is already allocated":                             "has the port",
	} {
		if err := explain(t.Context(), errors.New(text)); !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v", err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 0, errors.New("not up within 5m"))
	defer cancel()
	if err := explain(ctx, context.DeadlineExceeded); !strings.HasPrefix(err.Error(), "not up within 5m") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestHashingLeavesWhatItHashesAlone(t *testing.T) {
	n := 3
	s := types.ServiceConfig{Deploy: &types.DeployConfig{Replicas: &n}}
	if _, err := (Hasher{}).Service(s); err != nil || s.GetScale() != 3 {
		t.Errorf("scale %d, %v", s.GetScale(), err)
	}
}

func TestAnImageThatManyWantIsPulledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pulls
		var n atomic.Int32
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		do := func(ctx context.Context) error {
			n.Add(1)
			time.Sleep(time.Minute) // of the bubble's clock
			return ctx.Err()
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := p.once(impatient, "a", do); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the impatient one: %v", err)
			}
		})
		for range 5 {
			wg.Go(func() {
				if err := p.once(t.Context(), "a", do); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n.Load() != 1 {
			t.Errorf("pulled %d times", n.Load())
		}
		if err := p.once(t.Context(), "a", do); err != nil || n.Load() != 2 {
			t.Errorf("and later: %d times, %v", n.Load(), err)
		}
	})
}

// hung makes a client of an engine that accepts connections and says nothing.
func hung(t *testing.T) client.APIClient {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	api, err := client.NewClientWithOpts(client.WithHost("tcp://" + l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func TestAnEngineThatHangsHangsNobody(t *testing.T) {
	api := hung(t)
	e := New(api, Options{})
	for what, do := range map[string]func(context.Context) error{
		"Observe": func(ctx context.Context) error { _, err := e.Observe(ctx); return err },
		"Stop":    func(ctx context.Context) error { return e.Stop(ctx, render.Project{}, plan.Op{Stack: "web"}) },
		"Ping":    e.Ping,
	} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("time is over"))
		if err := do(ctx); err == nil {
			t.Errorf("%s: no error", what)
		}
		cancel()
	}
}

// slow is a client of an engine that does not answer in time once.
type slow struct {
	client.APIClient
	asked bool
}

func (s *slow) ContainerList(ctx context.Context, _ container.ListOptions) ([]container.Summary, error) {
	if s.asked {
		return nil, nil
	}
	s.asked = true
	<-ctx.Done()
	return nil, ctx.Err()
}

func (*slow) Events(context.Context, events.ListOptions) (<-chan events.Message, <-chan error) {
	return nil, nil
}

func TestADeadlineIsNotTheEnginesFault(t *testing.T) {
	e := New(&slow{}, Options{})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("not up within 5m"))
	defer cancel()
	if _, err := e.Settle(ctx, render.Project{}); err == nil || err.Error() != "not up within 5m" {
		t.Errorf("%v", err)
	}
}

func TestAnEngineThatCanNotBeReachedSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	for host, want := range map[string]string{
		"unix://" + filepath.Join(dir, "none.sock"): "there is no engine socket",
		"unix://" + dead:                 "no engine listens",
		"tcp://127.0.0.1:1":              "DOCKER_HOST",
		"tcp://user:hunter2@127.0.0.1:1": "take them out",
		"ssh://user:hunter2@127.0.0.1":   "not supported",
		"nonsense":                       "DOCKER_HOST=nonsense",
	} {
		t.Setenv("DOCKER_HOST", host)
		_, err := Connect(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", host, err)
		}
		t.Log(err)
	}
}

// A helper loads the daemon's own stack anew, which has to come out as it did for
// the daemon, and asks no registry.
func TestAHelperGetsWhatItLoadsTheStackWithAndNoLogin(t *testing.T) {
	for variable, want := range map[string]bool{
		"STACK_ENV": true, "STACK_ENV_FILE": true, "STACK_FILES": true, "DOCKER_HOST": true, "LOG_LEVEL": true,
		"REPOSITORY_PASSWORD": false, "WEBHOOK_SECRET": false, "DOCKER_REGISTRIES": false, "DOCKER_REGISTRY_PASSWORD": false, "HTTP_ADDRESS": false,
	} {
		if forHelpers(variable) != want {
			t.Errorf("%s: want %v", variable, want)
		}
	}
}
