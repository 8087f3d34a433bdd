//go:build engine

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
	"github.com/korbiniankuhn/gitops-compose/internal/testenv"
)

// fault is what becomes of a call of the engine's API.
type fault string

const (
	answers500 fault = "500"  // the engine never hears of it
	cut        fault = "cut"  // nor here; the connection ends
	lost       fault = "lost" // the engine does it, and the answer is lost
	hang       fault = "hang" // no answer, until the rule is released
)

// rule is what happens to the n-th call of a kind.
type rule struct {
	match   func(kind string) bool
	nth     int
	what    fault
	hit     chan struct{} // closed when it happened
	release chan struct{} // ends a hang, which then goes to the engine
	// do runs in the middle of it, before anything is answered.
	do func()
}

// proxy stands between a daemon and the engine.
type proxy struct {
	t      *testing.T
	socket string
	out    *httputil.ReverseProxy
	server *http.Server

	mu    sync.Mutex
	calls []string
	rules []*rule
	// forbidden calls are answered as a proxy for sockets does (HAProxy) that
	// lets only some of them through.
	forbidden []string
	gate      *gate
}

func newProxy(t *testing.T, address string) *proxy {
	t.Helper()
	// Not t.TempDir: the path of a socket has to be short.
	dir, err := os.MkdirTemp("", "proxy")
	if err != nil {
		t.Fatal(err)
	}
	engine, ok := strings.CutPrefix(address, "unix://")
	if !ok {
		engine = "/var/run/docker.sock"
	}
	p := &proxy{t: t, socket: filepath.Join(dir, "s")}
	p.out = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "docker" },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", engine)
		}},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
	}
	p.up()
	t.Cleanup(func() { p.down(); _ = os.RemoveAll(dir) })
	return p
}

func (p *proxy) up() {
	p.t.Helper()
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		p.t.Fatal(err)
	}
	p.server = &http.Server{Handler: p, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: limit}
	go func(s *http.Server) { _ = s.Serve(l) }(p.server)
}

// down ends every connection and leaves no socket.
func (p *proxy) down() { _ = p.server.Close() }

// arm adds a rule.
func (p *proxy) arm(r *rule) *rule {
	r.hit, r.release = make(chan struct{}), make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
	return r
}

// disarm drops all rules; it gives the calls since the last time.
func (p *proxy) disarm() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.calls
	p.calls, p.rules = nil, nil
	return calls
}

// setGate sets what holds calls up that it matches, all of them; nil for
// nothing.
func (p *proxy) setGate(g *gate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = g
}

// hold holds a call up if there is a gate for it. It says whether the engine is
// to hear of it, and where the answer goes.
func (p *proxy) hold(kind string, w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, bool) {
	p.mu.Lock()
	g := p.gate
	p.mu.Unlock()
	if g == nil || !g.matches(kind) {
		return w, r, true
	}
	body, err := io.ReadAll(r.Body) // the end of the caller is not seen before
	if err != nil {
		return w, r, false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.stop()
	select {
	case <-r.Context().Done():
		if !g.late {
			return w, r, false
		}
		<-g.open
		return nowhere{}, r.WithContext(context.WithoutCancel(r.Context())), true
	case <-g.open:
		return w, r, true
	}
}

// happens waits for a rule's call.
func (h *host) happens(r *rule) {
	h.t.Helper()
	select {
	case <-r.hit:
	case <-time.After(limit):
		h.t.Fatal("the call that a fault waits for does not come")
	}
}

func is(kind string) func(string) bool { return func(k string) bool { return k == kind } }

// mutates says whether calls of a kind change something.
func mutates(kind string) bool {
	return !strings.HasPrefix(kind, "GET") && !strings.HasPrefix(kind, "HEAD")
}

// kindOf names a call without the names and ids in it.
func kindOf(r *http.Request) string {
	path := regexp.MustCompile(`^/v[0-9.]+`).ReplaceAllString(r.URL.Path, "")
	part := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(part) > 1 && !slices.Contains([]string{"json", "create", "prune"}, part[1]) && part[0] != "system" {
		if last := part[len(part)-1]; len(part) > 2 {
			part = []string{part[0], "*", last}
		} else {
			part[1] = "*"
		}
	}
	kind := r.Method + " /" + strings.Join(part, "/")
	if strings.Contains(r.URL.Query().Get("filters"), "com.docker.compose.project=") {
		kind += " of a project"
	}
	return kind
}

func (p *proxy) take(kind string) *rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, kind)
	for i, r := range p.rules {
		if !r.match(kind) {
			continue
		}
		if r.nth--; r.nth > 0 {
			continue
		}
		p.rules = slices.Delete(p.rules, i, i+1)
		return r
	}
	return nil
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := kindOf(r)
	if slices.Contains(p.forbidden, kind) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n")
		return
	}
	w, r, ok := p.hold(kind, w, r)
	if !ok {
		return
	}
	rule := p.take(kind)
	if rule == nil {
		p.out.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if rule.what == lost && kind != "GET /events" {
		p.out.ServeHTTP(nowhere{}, r)
	}
	if rule.do != nil {
		rule.do()
	}
	close(rule.hit)
	switch rule.what {
	case answers500:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"message":"a fault of the test"}`)
	case hang:
		select {
		case <-rule.release:
			p.out.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	default:
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
	}
}

// nowhere is where lost answers go.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}

// want is a wanted state: the generation of each service of each project. The
// services carry it as a label.
type want map[string]map[string]string

// churn is a host whose commits each add a stack, remove one and change one,
// in which a service is to be recreated, another that lives in its network
// with it, and a third is not. One more stack never changes.
type churn struct {
	*host
	proxy *proxy // nil where the daemon reaches the engine itself
	image string // that is here
	far   string // that is pulled
	// always is what makes the engine start containers again by itself, of
	// those that are to have it.
	always string
	gen    int
	head   string
	want   want
	// kept are the container of the stack that never changes and what the
	// engine knows of the volume.
	kept map[string]string
}

// behindProxy lets the daemon of a host reach the engine by a proxy only.
func (h *host) behindProxy() *proxy {
	p := newProxy(h.t, h.engine)
	h.env["DOCKER_HOST"] = "unix://" + p.socket
	return p
}

// ownImage gives the base image a name that nobody else gives to another, and
// the same with -other behind it.
func ownImage(t *testing.T) (*host, string) {
	t.Helper()
	var ref string
	t.Cleanup(func() { // after the containers have gone
		api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
		if err == nil {
			for _, ref := range []string{ref, ref + "-other"} {
				_, _ = api.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true})
			}
			_ = api.Close()
		}
	})
	h := newHost(t)
	ref = "gitops-compose-e2e:" + h.prefix
	for _, ref := range []string{ref, ref + "-other"} {
		if err := h.api.ImageTag(context.Background(), baseImage, ref); err != nil {
			t.Fatal(err)
		}
	}
	return h, ref
}

func newChurn(t *testing.T) *churn {
	t.Helper()
	h, ref := ownImage(t)
	c := &churn{host: h, image: ref, want: want{}}
	c.proxy = h.behindProxy()
	c.begin()
	return c
}

// begin makes the stacks and brings them up.
func (c *churn) begin() {
	c.t.Helper()
	c.far = c.privateRegistry("puller", "swordfish")
	c.env["DOCKER_REGISTRY_URL"] = strings.Split(c.far, "/")[0]
	c.env["DOCKER_REGISTRY_USERNAME"], c.env["DOCKER_REGISTRY_PASSWORD"] = "puller", "swordfish"
	c.stack("keep", c.body("{image: BASE, command: RUN, stop_grace_period: 0s"+c.always+", labels: {gen: '0'}}"))
	c.want["keep"] = map[string]string{"app": "0"}
	c.next()
	c.first()
	c.converges("the first check")
	c.kept = c.precious()
}

func (c *churn) body(app string) string {
	return strings.ReplaceAll("\nservices:\n  app: "+app+"\n", "BASE", c.image)
}

// next pushes the next generation.
func (c *churn) next() {
	c.t.Helper()
	c.gen++
	gen := fmt.Sprint(c.gen)
	old, young, app, tail := "odd", "even", "", c.always
	if c.gen%2 == 1 {
		old, young, app, tail = young, old, tail, app
	}
	c.stack("web", c.body("{image: BASE, command: RUN, stop_grace_period: 0s"+app+", labels: {gen: '"+gen+"'}, volumes: ['data:/data']}")+strings.NewReplacer("BASE", c.image, ", TAIL", tail).Replace(`
  side: {image: BASE, command: RUN, stop_grace_period: 0s, labels: {gen: '0'}}
  tail: {image: BASE, command: RUN, stop_grace_period: 0s, TAIL, labels: {gen: '0'}, network_mode: 'service:app'}
volumes: {data: {}}
`))
	c.want["web"] = map[string]string{"app": gen, "side": "0", "tail": "0"}
	c.remove(old)
	delete(c.want, old)
	c.stack(young, strings.NewReplacer("FAR", c.far, "GEN", gen, ", APP", app).Replace(`
services:
  app: {image: FAR, pull_policy: always, command: RUN, stop_grace_period: 0s, APP, labels: {gen: 'GEN'}, volumes: ['vGEN:/data']}
volumes: {vGEN: {}}
`))
	c.want[young] = map[string]string{"app": gen}
	// One whose updates have hooks around them, and leave no gap.
	c.stack("shop", strings.NewReplacer("BASE", c.image, "GEN", gen).Replace(`
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, labels: {gen: 'GEN'}, deploy: {update_config: {order: start-first}}}
  job: {image: BASE, command: [busybox, 'true'], labels: {gen: 'GEN'}}
x-gitops: {before: job, after: job}
`))
	c.want["shop"] = map[string]string{"app": gen}
	c.head = c.push("generation " + gen)
}

// precious gives what must never be replaced.
func (c *churn) precious() map[string]string {
	c.t.Helper()
	v, err := c.api.VolumeInspect(context.Background(), c.project("web")+"_data")
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[string]string{"volume": v.CreatedAt}
	for _, s := range c.containers("keep") {
		out["keep"] = s.ID
	}
	for _, s := range c.containers("web") {
		if s.Labels["com.docker.compose.service"] == "side" {
			out["side"] = s.ID
		}
	}
	return out
}

// numbered is the end of a container's name.
func numbered() *regexp.Regexp { return regexp.MustCompile(`-\d+$`) }

// differs says in what the engine is not as wanted: no container, network or
// name too many, none too few.
func (h *host) differs(w want) error {
	ctx := context.Background()
	args := filters.NewArgs(filters.Arg("label", "com.docker.compose.project"))
	list, err := h.api.ContainerList(ctx, container.ListOptions{All: true, Filters: args})
	if err != nil {
		return err
	}
	var have, wanted []string
	leaders := map[string]string{}
	for _, c := range list {
		leaders[c.ID] = strings.TrimPrefix(c.Names[0], "/")
	}
	for _, c := range list {
		if name, ok := strings.CutPrefix(c.Labels["com.docker.compose.project"], h.prefix+"-"); ok {
			if name == "shop" { // what starts first has a number that grows
				leaders[c.ID] = numbered().ReplaceAllString(leaders[c.ID], "-1")
			}
			line := fmt.Sprintf("%s %s %s gen %s", leaders[c.ID], name, c.State, c.Labels["gen"])
			if id, ok := strings.CutPrefix(c.HostConfig.NetworkMode, "container:"); ok {
				line += " in " + leaders[id]
			}
			have = append(have, line)
		}
	}
	networks, err := h.api.NetworkList(ctx, network.ListOptions{Filters: args})
	if err != nil {
		return err
	}
	for _, n := range networks {
		if strings.HasPrefix(n.Labels["com.docker.compose.project"], h.prefix+"-") {
			have = append(have, "network "+n.Name)
		}
	}
	for name, services := range w {
		for service, gen := range services {
			line := fmt.Sprintf("%s-%s-1 %s running gen %s", h.project(name), service, name, gen)
			if service == "tail" {
				line += " in " + h.project(name) + "-app-1"
			}
			wanted = append(wanted, line)
		}
		wanted = append(wanted, "network "+h.project(name)+"_default")
	}
	slices.Sort(have)
	slices.Sort(wanted)
	if !slices.Equal(have, wanted) {
		return fmt.Errorf("the engine has\n  %s\nwant\n  %s", strings.Join(have, "\n  "), strings.Join(wanted, "\n  "))
	}
	return nil
}

// off says in what engine, clone and status are not as the last commit wants
// them.
func (c *churn) off() error {
	if err := c.differs(c.want); err != nil {
		return err
	}
	if head, err := gittest.Try(c.clone, "rev-parse", "HEAD"); err != nil || head != c.head {
		return fmt.Errorf("the clone is at %s, want %s (%w)", head, c.head, err)
	}
	if changed, err := gittest.Try(c.clone, "status", "--porcelain"); err != nil || changed != "" {
		return fmt.Errorf("git status of the clone: %s (%w)", changed, err)
	}
	s, err := c.status()
	if err != nil {
		return err
	}
	for _, st := range s.Stacks {
		// What has been repaired more than once is remembered for a while.
		stale := st.Error != "" && !strings.HasPrefix(st.Error, "it does not stay up") && !strings.HasPrefix(st.Error, "it had to be repaired")
		if st.Status != report.Running || st.Sync != report.Synced || stale {
			return fmt.Errorf("%s is %s, %s: %s %s", st.Name, st.Status, st.Sync, st.Reason, st.Error)
		}
	}
	if !s.Ready || len(s.Stacks) != len(c.want) {
		return fmt.Errorf("ready %v, %d stacks, %+v", s.Ready, len(s.Stacks), s.Look)
	}
	if c.kept == nil {
		return nil
	}
	now := c.precious()
	for what, was := range c.kept {
		if now[what] != was {
			return fmt.Errorf("what was not to be touched was: %v, then %v", c.kept, now)
		}
	}
	return nil
}

// converges waits until all is as wanted.
func (c *churn) converges(after string) {
	c.t.Helper()
	c.eventually("all is as wanted after "+after, c.off)
}

// points go through hosts that work at the same time: most of the time they
// wait for the pause before a retry.
func inBatches[P any](t *testing.T, hosts int, points []P, begin func(*churn, P), end func(*churn, P)) {
	t.Helper()
	all := make([]*churn, min(hosts, len(points)))
	for i := range all {
		all[i] = newChurn(t)
	}
	for batch := range slices.Chunk(points, len(all)) {
		for i, p := range batch {
			begin(all[i], p)
		}
		for i, p := range batch {
			end(all[i], p)
		}
	}
}

func TestAnEngineCallThatFailsOnceIsHealedWithoutAHand(t *testing.T) {
	c := newChurn(t)
	c.proxy.disarm()
	c.next()
	c.settle()
	c.converges("a good sync")
	count := map[string]int{}
	for _, kind := range c.proxy.disarm() {
		count[kind]++
	}
	c.stop()
	c.start() // for the calls of a start
	c.converges("a start")
	for _, kind := range c.proxy.disarm() {
		if kind == "GET /events" {
			count[kind]++
		}
	}
	c.stop()

	type point struct {
		what fault
		kind string
		nth  int
		rule *rule
	}
	var points []*point
	for kind, n := range count {
		t.Logf("%3d calls in a good sync: %s", n, kind)
		points = append(points, &point{what: answers500, kind: kind, nth: 1}, &point{what: cut, kind: kind, nth: 1})
		if !mutates(kind) {
			continue // to lose the answer is the same as a cut, and one call as good as another
		}
		points = append(points, &point{what: lost, kind: kind, nth: 1})
		for nth := 2; nth <= n; nth++ {
			points = append(points, &point{what: answers500, kind: kind, nth: nth}, &point{what: lost, kind: kind, nth: nth})
		}
	}
	slices.SortFunc(points, func(a, b *point) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.nth, b.nth), cmp.Compare(a.what, b.what))
	})
	inBatches(t, 6, testenv.Some(t, 3, points), func(c *churn, p *point) {
		c.proxy.disarm()
		p.rule = c.proxy.arm(&rule{match: is(p.kind), nth: p.nth, what: p.what})
		if p.kind == "GET /events" {
			c.proxy.down() // the stream begins anew
			c.proxy.up()
		}
		c.next()
		c.trigger()
	}, func(c *churn, p *point) {
		if _, _, err := c.get("/readyz"); err != nil { // which pings
			t.Error(err)
		}
		c.happens(p.rule)
		c.converges(fmt.Sprintf("%s: %s (%d)", p.what, p.kind, p.nth))
		t.Logf("%-4s %d. %-40s converged", p.what, p.nth, p.kind)
	})
	t.Logf("%d kinds of calls, %d faults", len(count), len(points))
}

func TestAKillAtAnyEngineCallIsHealedByTheNextStart(t *testing.T) {
	c := newChurn(t)
	c.proxy.disarm()
	c.next()
	c.settle()
	c.converges("a good sync")
	calls := slices.DeleteFunc(c.proxy.disarm(), func(kind string) bool { return !mutates(kind) })
	c.stop()
	t.Logf("%d calls of a good sync change something: %s", len(calls), strings.Join(calls, ", "))

	type point struct {
		nth  int
		what fault
		rule *rule
	}
	var points []*point
	for i := range calls {
		points = append(points, &point{nth: i + 1, what: cut}, &point{nth: i + 1, what: lost})
	}
	inBatches(t, 3, testenv.Some(t, 3, points), func(c *churn, p *point) {
		c.proxy.disarm()
		// The daemon is dead before it can see any answer.
		process := c.daemon
		var kind string
		p.rule = c.proxy.arm(&rule{match: func(k string) bool { kind = k; return mutates(k) }, nth: p.nth, what: p.what, do: process.kill})
		c.next()
		c.trigger()
		c.happens(p.rule)
		when := map[fault]string{cut: "before", lost: "after"}[p.what]
		t.Logf("killed %-6s call %2d: %s", when, p.nth, kind)
	}, func(c *churn, p *point) {
		c.proxy.disarm()
		c.first()
		if err := c.off(); err != nil {
			t.Errorf("killed at call %d (%s): the first check after it leaves: %v\n%s", p.nth, p.what, err, c.daemon.log.String())
			c.converges("some time")
		}
	})
	t.Logf("of %d kills that can be", len(points))
}

func TestAnEngineThatGoesAwayIsWaitedFor(t *testing.T) {
	c := newChurn(t)
	c.proxy.down()
	c.next()
	c.trigger()
	c.eventually("a check fails", func() error {
		s, err := c.status()
		if err == nil && s.Look.Error == "" {
			err = errors.New("not yet")
		}
		return err
	})
	if s, err := c.status(); err != nil || s.Ready {
		t.Errorf("the status says ready %v, %v", s.Ready, err)
	}
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		if _, code, err := c.get(path); err != nil || code != want {
			t.Errorf("%s: %d, %v", path, code, err)
		}
	}
	c.proxy.up()
	c.converges("the engine is back") // nobody triggers

	// What happens while nobody listens to the engine's events is seen when
	// they are heard again.
	c.proxy.down()
	if err := c.api.ContainerRemove(context.Background(), c.containers("web")[0].ID, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	c.proxy.up()
	c.converges("a container was removed while the engine was away")

	// In the middle of a sync.
	r := c.proxy.arm(&rule{match: is("POST /containers/*/rename"), nth: 1, what: cut, do: c.proxy.down})
	c.next()
	c.trigger()
	c.happens(r)
	c.eventually("it is not ready", func() error {
		if _, code, err := c.get("/readyz"); err != nil || code != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d, %w", code, err)
		}
		return nil
	})
	c.proxy.up()
	c.converges("the engine is back in the middle of a sync")
}

func TestAHungCallHoldsUpNoOtherStackAndEnds(t *testing.T) {
	t.Parallel()
	c := newChurn(t)
	c.stop()
	c.env["DEPLOY_TIMEOUT_IN_SECONDS"] = "40"
	c.first()
	// Only web renames.
	r := c.proxy.arm(&rule{match: is("POST /containers/*/rename"), nth: 1, what: hang})
	c.next()
	c.trigger()
	c.happens(r)
	// The other stacks of the same commit, and the next one.
	others := func() error {
		for _, name := range []string{"even", "odd", "keep"} {
			var have []string
			for _, s := range c.containers(name) {
				have = append(have, s.Labels["gen"])
			}
			var wanted []string
			for _, gen := range c.want[name] {
				wanted = append(wanted, gen)
			}
			if !slices.Equal(have, wanted) {
				return fmt.Errorf("%s has generation %v, want %v", name, have, wanted)
			}
		}
		return nil
	}
	c.eventually("the others of the commit", others)
	c.next()
	c.trigger()
	c.eventually("the others of the next commit", others)
	if _, code, err := c.get("/readyz"); err != nil || code != http.StatusOK {
		t.Errorf("/readyz while a call hangs: %d, %v", code, err)
	}
	s, err := c.status()
	if st := s.stack(t, c.project("web")); err != nil || st.Sync != report.Applying {
		t.Errorf("web is %s while its call hangs: %v", st.Sync, err)
	}
	// Nobody releases it: its time ends it.
	c.converges("a call that hung")
	if log := c.daemon.log.String(); !strings.Contains(log, "DEPLOY_TIMEOUT_IN_SECONDS") {
		t.Errorf("nothing says that the time was over:\n%s", log)
	}
}

func TestAHungLookEndsAndTheDaemonAnswersMeanwhile(t *testing.T) {
	t.Parallel()
	c := newChurn(t)
	r := c.proxy.arm(&rule{match: is("GET /containers/json"), nth: 1, what: hang})
	c.next()
	c.trigger()
	c.happens(r)
	for _, path := range []string{"/healthz", "/api/v1/status", "/metrics", "/readyz"} {
		if _, code, err := c.get(path); err != nil || code != http.StatusOK {
			t.Errorf("%s: %d, %v", path, code, err)
		}
	}
	c.eventually("the check fails", func() error {
		if _, code, err := c.get("/readyz"); err != nil || code != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d, %w", code, err)
		}
		return nil
	})
	c.converges("a look that hung")
}

func TestAnEngineThatAcceptsAndSaysNothingIsNotReady(t *testing.T) {
	t.Parallel()
	c := newChurn(t)
	r := c.proxy.arm(&rule{match: is("HEAD /_ping"), nth: 1, what: hang})
	if _, code, err := c.get("/readyz"); err != nil || code != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d, %v", code, err)
	}
	c.happens(r)
	c.converges("a ping that hung")
}

func TestAHungPullHoldsUpNobody(t *testing.T) {
	t.Parallel()
	c := newChurn(t)
	r := c.proxy.arm(&rule{match: is("POST /images/create"), nth: 1, what: hang})
	c.next() // only the new stack pulls
	c.trigger()
	c.happens(r)
	c.stack("extra", c.body("{image: BASE, command: RUN, stop_grace_period: 0s, labels: {gen: '0'}}"))
	c.want["extra"] = map[string]string{"app": "0"}
	c.head = c.push("one more")
	c.trigger()
	c.eventually("the next commit of the others", func() error {
		if len(c.containers("extra")) != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	if n := len(c.containers("even")); n != 0 {
		t.Fatalf("the stack whose pull hangs has %d containers", n)
	}
	close(r.release)
	c.converges("the pull went on")
}
