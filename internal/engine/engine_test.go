//go:build engine

package engine_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/engine/enginetest"
)

// repository is in the labels of what these tests start, so that no other
// test's engine takes it for its own.
var repository = "contract-" + rand.Text()

func TestTheRealEngineKeepsTheContract(t *testing.T) {
	enginetest.Run(t, enginetest.Setup{Repository: repository, Hasher: engine.Hasher{}, New: func(t testing.TB, root string) enginetest.Host { return newHost(t, root) }})
}

// host is the real engine with a person's hands.
type host struct {
	*engine.Engine
	api  client.APIClient
	root string
}

func newHost(t testing.TB, root string) host {
	t.Helper()
	api, err := engine.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return host{engine.New(api, engine.Options{Repository: repository, HostRoot: root}), api, root}
}

func (h host) Within(container string) enginetest.Daemon {
	return engine.New(h.api, engine.Options{Repository: repository, HostRoot: h.root, Self: container})
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h host) Import(t testing.TB, ref string, volumes ...string) {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("the images of the tests are made of busybox: install busybox-static")
	}
	binary, err := os.ReadFile(path)
	ok(t, err)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range map[string][]byte{"bin/busybox": binary, "id": []byte(rand.Text())} {
		ok(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}))
		_, err := w.Write(content)
		ok(t, err)
	}
	ok(t, w.Close())
	before, _ := h.api.ImageInspect(t.Context(), ref)
	var o image.ImportOptions
	for _, v := range volumes {
		o.Changes = append(o.Changes, "VOLUME "+v)
	}
	stream, err := h.api.ImageImport(t.Context(), image.ImportSource{Source: &b, SourceName: "-"}, ref, o)
	ok(t, err)
	defer stream.Close()
	_, err = io.Copy(io.Discard, stream)
	ok(t, err)
	t.Cleanup(func() {
		for _, name := range []string{ref, before.ID} {
			if name != "" {
				_, _ = h.api.ImageRemove(context.Background(), name, image.RemoveOptions{Force: true})
			}
		}
	})
}

func (h host) Make(t testing.TB, name, image string, labels map[string]string) {
	t.Helper()
	c, err := h.api.ContainerCreate(t.Context(), &container.Config{Image: image, Cmd: []string{"/bin/busybox", "sleep", "1000"}, Labels: labels, StopSignal: "SIGKILL"}, &container.HostConfig{NetworkMode: "none"}, nil, nil, name)
	ok(t, err)
	t.Cleanup(func() { // if its project is none, nobody else removes it
		_ = h.api.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	})
	ok(t, h.api.ContainerStart(t.Context(), c.ID, container.StartOptions{}))
}

func (h host) Guest(t testing.TB, name, image, on string) {
	t.Helper()
	c, err := h.api.ContainerCreate(t.Context(), &container.Config{Image: image, Cmd: []string{"/bin/busybox", "sleep", "1000"}}, &container.HostConfig{NetworkMode: container.NetworkMode(on)}, nil, nil, name)
	ok(t, err)
	t.Cleanup(func() { _ = h.api.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true}) })
	ok(t, h.api.ContainerStart(t.Context(), c.ID, container.StartOptions{}))
}

func (h host) Copy(t testing.TB, id, name string) {
	t.Helper()
	c, err := h.api.ContainerInspect(t.Context(), id)
	ok(t, err)
	labels := maps.Clone(c.Config.Labels)
	if strings.HasSuffix(name, "-2") {
		n, _ := strconv.Atoi(labels["com.docker.compose.container-number"])
		labels["com.docker.compose.container-number"] = strconv.Itoa(n + 1)
	}
	c.Config.Labels, c.Config.Hostname = labels, ""
	made, err := h.api.ContainerCreate(t.Context(), c.Config, c.HostConfig, &network.NetworkingConfig{}, nil, name)
	ok(t, err)
	if strings.HasSuffix(name, "-2") {
		ok(t, h.api.ContainerStart(t.Context(), made.ID, container.StartOptions{}))
	}
}

func (h host) Kill(t testing.TB, id string) {
	t.Helper()
	ok(t, h.api.ContainerKill(t.Context(), id, "KILL"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done, errs := h.api.ContainerWait(ctx, id, container.WaitConditionNotRunning)
	select {
	case <-done:
	case err := <-errs:
		t.Fatal(err)
	}
}

func (h host) Pause(t testing.TB, id string) {
	t.Helper()
	ok(t, h.api.ContainerPause(t.Context(), id))
}

func (h host) Rename(t testing.TB, id, name string) {
	t.Helper()
	ok(t, h.api.ContainerRename(t.Context(), id, name))
}

func (h host) Remove(t testing.TB, id string) {
	t.Helper()
	ok(t, h.api.ContainerRemove(t.Context(), id, container.RemoveOptions{Force: true}))
}

func (h host) MakeNetwork(t testing.TB, name string, labels map[string]string) {
	t.Helper()
	n, err := h.api.NetworkCreate(t.Context(), name, network.CreateOptions{Driver: "bridge", Labels: labels})
	ok(t, err)
	t.Cleanup(func() { h.dropNetwork(n.ID) })
}

func (h host) DropNetwork(t testing.TB, name string) { t.Helper(); ok(t, h.dropNetwork(name)) }

func (h host) dropNetwork(name string) error {
	ctx := context.Background()
	n, err := h.api.NetworkInspect(ctx, name, network.InspectOptions{})
	if err != nil {
		return err
	}
	for id := range n.Containers {
		_ = h.api.NetworkDisconnect(ctx, n.ID, id, true)
	}
	return h.api.NetworkRemove(ctx, n.ID)
}

func (h host) Volumes(t testing.TB, id string) map[string]string {
	t.Helper()
	c, err := h.api.ContainerInspect(t.Context(), id)
	ok(t, err)
	out := map[string]string{}
	for _, m := range c.Mounts {
		out[m.Destination] = m.Name
	}
	return out
}

func (h host) Put(t testing.TB, id, target, name string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	header := tar.Header{Name: name, Mode: 0o755, Typeflag: tar.TypeReg}
	if strings.HasSuffix(name, "/") {
		header.Typeflag = tar.TypeDir
	}
	ok(t, w.WriteHeader(&header))
	ok(t, w.Close())
	ok(t, h.api.CopyToContainer(t.Context(), id, target, &b, container.CopyToContainerOptions{}))
}

func (h host) Started(t testing.TB, id string) string {
	t.Helper()
	c, err := h.api.ContainerInspect(t.Context(), id)
	ok(t, err)
	return c.State.StartedAt
}

func (h host) Clean(t testing.TB, project string) {
	ctx := context.Background()
	of := filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+project))
	containers, err := h.api.ContainerList(ctx, container.ListOptions{All: true, Filters: of})
	if err != nil {
		t.Error(err)
	}
	for _, c := range containers {
		if err := h.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Error(err)
		}
	}
	networks, err := h.api.NetworkList(ctx, network.ListOptions{Filters: of})
	if err != nil {
		t.Error(err)
	}
	for _, n := range networks {
		if err := h.dropNetwork(n.ID); err != nil {
			t.Error(err)
		}
	}
	built, err := h.api.ImageList(ctx, image.ListOptions{All: true, Filters: of})
	if err != nil {
		t.Error(err)
	}
	for _, i := range built {
		_, _ = h.api.ImageRemove(ctx, i.ID, image.RemoveOptions{Force: true})
	}
	volumes, err := h.api.VolumeList(ctx, volume.ListOptions{Filters: of})
	if err != nil {
		t.Error(err)
	}
	for _, v := range volumes.Volumes {
		if err := h.api.VolumeRemove(ctx, v.Name, true); err != nil {
			t.Error(err)
		}
	}
}
