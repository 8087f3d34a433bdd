package enginetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// patience is how long an operation of the suite may take.
const patience = 2 * time.Minute

// bench is one case of the suite: a clone with one stack of a name that nobody
// else has.
type bench struct {
	testing.TB
	Host
	setup Setup
	root  string
	name  string
	image string
}

// Unique gives a name that no other test has.
func Unique() string {
	b := make([]byte, 5)
	_, _ = rand.Read(b) // never fails
	return "gct" + hex.EncodeToString(b)
}

// tree shows the folder as a commit that tracks everything in it.
type tree struct{ root string }

func (tree) Commit() string { return rand.Text() } // never from a cache
func (f tree) Dir() string  { return f.root }
func (f tree) Find(names ...string) []string {
	var out []string
	for _, name := range names {
		found, _ := filepath.Glob(filepath.Join(f.root, "*", name))
		for _, full := range found {
			out = append(out, path.Join(filepath.Base(filepath.Dir(full)), name))
		}
	}
	slices.Sort(out)
	return out
}

func (tree) Edited(string) bool { return false }

func (f tree) ID(name string) string {
	b, err := os.ReadFile(filepath.Join(f.root, name))
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	b.Cleanup(cancel)
	return ctx
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) fails(err error, parts ...string) {
	b.Helper()
	if err == nil {
		b.Fatal("there was no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			b.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

// said wants an error whose text is the reason, and what a program said only
// as its detail.
func (b *bench) said(err error, reason, detail string) {
	b.Helper()
	b.fails(err, reason)
	var d interface{ Detail() string }
	switch {
	case !errors.As(err, &d):
		b.Errorf("it has no detail: %v", err)
	case !strings.Contains(d.Detail(), detail) || strings.Contains(err.Error(), detail):
		b.Errorf("the reason is %q, the detail %q; want %q in the detail only", err, d.Detail(), detail)
	}
}

func (b *bench) write(name, text string) {
	b.Helper()
	full := filepath.Join(b.root, b.name, name)
	b.ok(os.MkdirAll(filepath.Dir(full), 0o755))
	b.ok(os.WriteFile(full, []byte(text), 0o644))
}

// Stack is a compose file for Load, in which SLEEP, RUN, IMAGE and NAME are
// replaced: a service's image and command, its image, the image's name, the
// project's name.
type Stack struct {
	Root, Name, Image, Repository string
	Hasher                        render.Hasher
}

// second is a bench for another stack in the same clone.
func (b *bench) second() *bench {
	other := *b
	other.name = Unique()
	b.Cleanup(func() { b.Clean(b, other.name) })
	return &other
}

func (b *bench) stack(text string) render.Project {
	b.Helper()
	return Stack{b.root, b.name, b.image, b.setup.Repository, b.setup.Hasher}.Load(b, text)
}

// Load writes the compose file and loads it.
func (s Stack) Load(t testing.TB, text string) render.Project {
	t.Helper()
	text = strings.NewReplacer(
		"SLEEP", `RUN, command: [/bin/busybox, sleep, "1000"]`,
	).Replace(text)
	text = strings.NewReplacer("RUN", "image: IMAGE, stop_signal: SIGKILL").Replace(text)
	text = strings.NewReplacer("IMAGE", s.Image, "NAME", s.Name).Replace(text)
	file := filepath.Join(s.Root, s.Name, "compose.yaml")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	l := render.New(render.Options{Root: s.Root, HostRoot: s.Root, HostHome: "/root", Repository: s.Repository, Hasher: s.Hasher})
	loaded, err := l.Load(context.Background(), tree{s.Root})
	if err != nil {
		t.Fatal(err)
	}
	ps := loaded.Projects
	i := slices.IndexFunc(ps, func(p render.Project) bool { return p.Name == s.Name })
	if i < 0 || ps[i].Invalid != "" {
		t.Fatalf("the stack does not load: %v", ps)
	}
	return ps[i]
}

// up brings a stack up, which has to work and leave nothing to do.
func (b *bench) up(p render.Project) plan.Running {
	b.Helper()
	ctx := b.ctx()
	b.ok(b.Pull(ctx, p))
	b.ok(b.Up(ctx, p, b.ordered(p), nil))
	b.ok(b.settled(p))
	if ds := b.differences(p); len(ds) > 0 {
		b.Fatalf("after Up there is still something to do: %v", ds)
	}
	return b.running()
}

// settled waits until a stack is up.
func (b *bench) settled(p render.Project) error {
	b.Helper()
	_, err := b.Settle(b.ctx(), p)
	return err
}

// ordered is the Up of a stack as a plan has it now.
func (b *bench) ordered(p render.Project) plan.Op {
	b.Helper()
	op, err := Ordered(b.ctx(), b, p)
	b.ok(err)
	return op
}

// Ordered is the Up of a stack as a plan has it now.
func Ordered(ctx context.Context, e Engine, p render.Project) (plan.Op, error) {
	o, err := e.Observe(ctx)
	if err != nil {
		return plan.Op{}, err
	}
	s, err := p.ByHand(find(o, p.Name))
	return plan.Op{Kind: plan.Up, Stack: p.Name, File: p.File, Orders: plan.OrdersFor(s, find(o, p.Name), o, nil)}, err
}

func (b *bench) differences(p render.Project) []plan.Difference {
	b.Helper()
	o, err := b.Observe(b.ctx())
	b.ok(err)
	s, err := p.ByHand(find(o, p.Name))
	b.ok(err)
	return plan.Differences(s, find(o, p.Name), o)
}

func (b *bench) running() plan.Running {
	b.Helper()
	o, err := b.Observe(b.ctx())
	b.ok(err)
	return find(o, b.name)
}

func find(o plan.Observed, project string) plan.Running {
	i := slices.IndexFunc(o.Running, func(r plan.Running) bool { return r.Project == project })
	if i < 0 {
		return plan.Running{}
	}
	return o.Running[i]
}

// id is the container of a service, of which there has to be one.
func (b *bench) id(r plan.Running, service string) string {
	b.Helper()
	ids := ids(r, service)
	if len(ids) != 1 {
		b.Fatalf("%s has %d containers: %v", service, len(ids), r.Containers)
	}
	return ids[0]
}

func ids(r plan.Running, service string) []string {
	var out []string
	for _, c := range r.Containers {
		if c.Service == service {
			out = append(out, c.ID)
		}
	}
	return out
}

// differ says which services have another container.
func (b *bench) differ(before, after plan.Running) string {
	b.Helper()
	var out []string
	for _, c := range before.Containers {
		if !slices.Contains(ids(after, c.Service), c.ID) {
			out = append(out, c.Service)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// states are the states of the containers, "a running, b exited".
func (b *bench) states() string {
	b.Helper()
	var out []string
	for _, c := range b.running().Containers {
		out = append(out, c.Service+" "+c.State)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// broken wants something to be done, and done by up.
func (b *bench) broken(p render.Project) plan.Running {
	b.Helper()
	if len(b.differences(p)) == 0 {
		b.Fatal("nothing is seen of what was broken")
	}
	return b.up(p)
}

// freePort gives a port of the host that nobody has.
func freePort(b *bench) string {
	b.Helper()
	l, err := (&net.ListenConfig{}).Listen(b.ctx(), "tcp", "127.0.0.1:0")
	b.ok(err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	b.ok(err)
	return port
}
