//go:build engine

package e2e

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/korbiniankuhn/gitops-compose/internal/handover"
	"github.com/korbiniankuhn/gitops-compose/internal/repo/gittest"
	"github.com/korbiniankuhn/gitops-compose/internal/report"
)

// synced expects that stacks run as git wants, and that there is nothing to do.
func (h *host) synced(s status, names ...string) {
	h.t.Helper()
	for _, name := range names {
		if st := s.stack(h.t, h.project(name)); !running(st) || st.Error != "" {
			h.t.Errorf("%s is %s, %s: %s %s", name, st.Status, st.Sync, st.Reason, st.Error)
		}
	}
	if out, stderr, code := h.command("plan"); code != 0 {
		h.t.Errorf("there is something left to do: %s%s", out, stderr)
	}
}

// A repository as people write them: what can run does, beside what can't, of which
// nothing is touched.
func TestARepositoryOfPeopleRunsAsFarAsItCan(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	home, port := t.TempDir(), fmt.Sprint(freePort(t))
	for name, text := range map[string]string{"conf": "of the home\n", "more": "by tilde\n"} {
		gittest.Write(t, home, name, text)
	}
	h.env["STACK_ENV"] = "HOME=" + home + "\nUID=1234\nGID=1235"
	h.env["STACK_FILES"] = "compose.yaml,stacks/*.yml"
	h.write(".gitopsignore", "examples/\nbase/\n")

	h.stack("home", `
services:
  app: {image: BASE, command: RUN, stop_grace_period: 0s, user: "${UID}:${GID}", volumes: ["${HOME}/conf:/conf:ro", "~/more:/more:ro"]}
`)
	h.stack("over", "services: {app: {environment: {X: over}}}\n")
	h.write("over/.env", "COMPOSE_FILE=../base/compose.yaml:compose.yaml\nWHO=the stack\n")
	h.write("base/compose.yaml", h.expand(`services: {app: {image: BASE, command: RUN, stop_grace_period: 0s, environment: {WHO: "${WHO}"}, volumes: ["./conf:/conf:ro"]}}`))
	h.write("base/conf", "of the base\n")
	h.stack("idle", "services: {app: {image: BASE, profiles: [tools]}}\n")
	for _, name := range []string{"one", "two"} {
		h.write("stacks/"+name+".yml", "name: "+h.project(name)+h.expand(one))
	}
	h.write("stacks/deeper/three.yml", "name: "+h.project("three")+h.expand(one))
	h.write("examples/home/compose.yaml", "name: "+h.project("home")+h.expand(one))
	for _, folder := range []string{"Two Words", "v2.0", "Grün"} { // their names are those of the folders
		h.write(h.project(folder)+"/compose.yaml", h.expand(one))
	}

	h.stack("secret", "services: {app: {image: BASE, command: RUN, secrets: [token]}}\nsecrets: {token: {external: true}}\n")
	h.stack("unset", "services: {app: {image: BASE, command: RUN, volumes: [\"${DATA}/db:/db\"]}}\n")
	for _, name := range []string{"port-a", "port-b"} {
		h.stack(name, "services: {app: {image: BASE, command: RUN, stop_grace_period: 0s, ports: [\"127.0.0.1:"+port+":80\"]}}\n")
	}
	for _, name := range []string{"name-a", "name-b"} {
		h.stack(name, "services: {app: {image: BASE, command: RUN, stop_grace_period: 0s, container_name: PREFIX-theirs}}\n")
	}
	h.push("as people write them")
	s := h.first()

	for _, name := range []string{"home", "over", "one", "two", "twowords", "v20", "grn"} {
		if st := s.stack(t, h.project(name)); !running(st) {
			t.Errorf("%s is %s, %s: %s %s", name, st.Status, st.Sync, st.Reason, st.Error)
		}
	}
	id := h.runs("home", "app")["app"]
	if said := h.exec(id, "cat", "/conf", "/more"); said != "of the home\nby tilde" {
		t.Errorf("mounted is %q", said)
	}
	if said := h.exec(id, "/bin/busybox", "id", "-u") + h.exec(id, "/bin/busybox", "id", "-g"); said != "12341235" {
		t.Errorf("it runs as %s", said)
	}
	id = h.runs("over", "app")["app"]
	if said := h.exec(id, "sh", "-c", "cat /conf; echo $WHO $X"); said != "of the base\nthe stack over" {
		t.Errorf("over has %q", said)
	}
	if st := s.stack(t, h.project("idle")); st.Status != report.Idle || st.Sync != report.Synced || !strings.Contains(st.Reason, "tools") {
		t.Errorf("idle is %s, %s: %s", st.Status, st.Sync, st.Reason)
	}
	for name, words := range map[string][]string{
		"secret": {"token", "external"}, "unset": {"DATA"},
		"port-a": {port, h.project("port-b")}, "port-b": {port, h.project("port-a")},
		"name-a": {h.prefix + "-theirs", h.project("name-b")}, "name-b": {h.prefix + "-theirs", h.project("name-a")},
	} {
		st := s.stack(t, h.project(name))
		if running(st) {
			t.Errorf("%s is %s", name, st.Status)
		}
		for _, word := range words {
			if !strings.Contains(st.Reason, word) {
				t.Errorf("%s says no %q: %s", name, word, st.Reason)
			}
		}
		h.runs(name)
	}
	for _, st := range s.Stacks {
		if strings.HasPrefix(st.File, "examples/") || strings.HasPrefix(st.File, "base/") || st.Name == h.project("three") {
			t.Errorf("%s is a stack", st.File)
		}
	}
}

// What a commit breaks and moves at once may be anybody's: it runs on, and the
// commit that mends it moves it.
func TestAStackThatIsBrokenAndMovedRunsOnUntilItIsMended(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	h.stack("named", one)
	h.folder("blog", one)
	h.push("add two")
	h.first()
	before := h.beginnings("named", "blog")
	broken := "  broken: [\n"
	gittest.Git(t, h.work, "mv", "named", "elsewhere")
	h.move("blog", "weblog")
	h.write("elsewhere/compose.yaml", "name: "+h.project("named")+"\n"+h.expand(strings.ReplaceAll(one, "BASE", h.image))+broken)
	h.folder("weblog", one+broken)
	h.push("move and break both")
	for range 2 {
		h.settle()
		if now := h.beginnings("named", "blog"); !maps.Equal(now, before) {
			t.Fatalf("what ran was touched: %v, then %v", before, now)
		}
	}
	h.write("elsewhere/compose.yaml", "name: "+h.project("named")+"\n"+h.expand(strings.ReplaceAll(one, "BASE", h.image)))
	h.folder("weblog", one)
	h.push("mend both")
	s := h.settle()
	h.synced(s, "named", "weblog")
	h.runs("named", "app")
	h.runs("weblog", "app")
	h.gone("blog")
	if st := s.stack(t, h.project("named")); st.File != "elsewhere/compose.yaml" {
		t.Errorf("its file is %s", st.File)
	}
}

func TestNamesOfContainersAreSwappedMovedAndGivenBack(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	service := func(name, container string) string {
		return "  " + name + ": {image: BASE, command: RUN, stop_grace_period: 0s, container_name: PREFIX-" + container + "}\n"
	}
	holders := func() string { // "name=project service"
		var all []string
		for _, project := range []string{"web", "other"} {
			for _, c := range h.containers(project) {
				all = append(all, strings.TrimPrefix(c.Names[0], "/"+h.prefix+"-")+"="+project+" "+c.Labels["com.docker.compose.service"])
			}
		}
		slices.Sort(all)
		return strings.Join(all, ", ")
	}
	h.stack("web", "services:\n"+service("a", "one")+service("b", "two"))
	h.stack("other", "services:\n"+service("c", "three"))
	h.push("add both")
	first := h.first()
	expect := func(s status, want string) {
		t.Helper()
		if got := holders(); got != want {
			t.Errorf("the names are %s, want %s", got, want)
		}
		h.synced(s, "web", "other")
	}
	expect(first, "one=web a, three=other c, two=web b")
	h.stack("web", "services:\n"+service("a", "two")+service("b", "one"))
	h.push("swap inside a stack")
	expect(h.settle(), "one=web b, three=other c, two=web a")
	h.stack("web", "services:\n"+service("a", "two"))
	h.stack("other", "services:\n"+service("c", "one"))
	h.push("move to the other stack")
	expect(h.settle(), "one=other c, two=web a")
	gittest.Git(t, h.work, "revert", "--no-edit", "HEAD", "HEAD~1")
	gittest.Git(t, h.work, "push", "-q", "origin", "HEAD:main")
	expect(h.settle(), "one=web a, three=other c, two=web b")
}

func TestWhoLivesInTheNetworkOfAnotherStacksContainerFollowsIt(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	story := h.watch()
	vpn := `
services:
  vpn: {image: BASE, command: RUN, stop_grace_period: 0s, container_name: PREFIX-vpn, environment: {GEN: "1"}}
`
	h.stack("vpn", vpn)
	for _, name := range []string{"a-client", "z-client"} {
		h.stack(name, "services:\n  app: {image: BASE, command: RUN, stop_grace_period: 0s, network_mode: \"container:PREFIX-vpn\"}\n")
	}
	h.push("add three")
	network := func(id string) string { return h.exec(id, "/bin/busybox", "readlink", "/proc/self/ns/net") }
	expect := func(s status) (owner string) {
		t.Helper()
		h.synced(s, "vpn", "a-client", "z-client")
		owner = h.runs("vpn", "vpn")["vpn"]
		for _, name := range []string{"a-client", "z-client"} {
			if id := h.runs(name, "app")["app"]; network(id) != network(owner) {
				t.Errorf("%s is on another network than vpn", name)
			}
		}
		return owner
	}
	old := expect(h.first())
	h.stack("vpn", strings.Replace(vpn, `"1"`, `"2"`, 1))
	h.push("another vpn")
	young := expect(h.settle())
	if young == old {
		t.Fatal("vpn was not replaced")
	}
	h.eventually("the engine tells of all", func() error {
		story.mu.Lock()
		defer story.mu.Unlock()
		last := map[string]int{}
		for i, c := range story.told {
			if c.begins {
				last[c.what] = i + 1
			}
		}
		if vpn, a, z := last["vpn vpn"], last["a-client app"], last["z-client app"]; vpn == 0 || a < vpn || z < vpn {
			return fmt.Errorf("the last starts are out of order: %v", last)
		}
		return nil
	})
}

// What is read when a container is made makes another container when it changes,
// wherever it is.
func TestWhatMakesAContainerIsSeenToChange(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	outside := filepath.Join(t.TempDir(), "out.env")
	service := "{image: BASE, command: RUN, stop_grace_period: 0s, "
	h.stack("web", "include: [../shared/more.yaml]\nservices:\n"+
		"  labels: "+service+"label_file: ./app.labels}\n"+
		"  extends: {extends: {file: ../shared/base.yaml, service: base}}\n"+
		"  env: "+service+"env_file: "+outside+"}\n"+
		"  config: "+service+"configs: [large]}\n"+
		"  still: "+service+"}\n"+
		"configs: {large: {file: ./large.conf}}\n")
	change := func(gen string) {
		t.Helper()
		h.write("web/app.labels", "gen="+gen+"\n")
		for file, name := range map[string]string{"base": "base", "more": "includes"} {
			h.write("shared/"+file+".yaml", h.expand(strings.ReplaceAll("services: {"+name+": "+service+"environment: {GEN: \""+gen+"\"}}}", "BASE", h.image)))
		}
		h.must(os.WriteFile(outside, []byte("GEN="+gen+"\n"), 0o600))
		h.push("generation " + gen)
		if gen == "1" {
			gittest.Git(t, "", "clone", "-q", h.remote, h.clone)
			gittest.Git(t, h.clone, "remote", "set-url", "origin", h.url)
		}
		h.must(os.WriteFile(filepath.Join(h.clone, "web/large.conf"), []byte(strings.Repeat("x", 2<<20)+gen), 0o644)) // not tracked
	}
	services := []string{"config", "env", "extends", "includes", "labels", "still"}
	change("1")
	h.synced(h.first(), "web")
	before := h.runs("web", services...)
	change("2")
	h.synced(h.settle(), "web")
	now := h.runs("web", services...)
	for _, name := range services {
		if replaced := now[name] != before[name]; replaced != (name != "still") {
			t.Errorf("service %s was replaced: %v", name, replaced)
		}
	}
}

// The stop lasts until the test lets it end: what others get meanwhile does not wait
// for it.
func TestASlowStopHoldsNoOtherStackUp(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	shared := t.TempDir()
	h.must(os.Chmod(shared, 0o777))
	h.stack("slow", `
services:
  app:
    image: BASE
    command: [sh, -c, "trap 'while [ ! -e /data/go ]; do sleep 0.1; done; exit 0' TERM; while true; do sleep 0.1; done"]
    stop_grace_period: 10m
    volumes: ["`+shared+`:/data"]
`)
	quick := func(gen string) {
		h.stack("quick", "services:\n  app: {image: BASE, command: RUN, stop_grace_period: 0s, environment: {GEN: \""+gen+"\"}}\n")
	}
	quick("1")
	h.push("add both")
	h.first()
	slow := h.runs("slow", "app")["app"]
	for _, gen := range []string{"2", "3"} {
		h.remove("slow")
		quick(gen)
		h.push("remove slow, update quick")
		h.trigger()
		h.eventually("quick is updated", func() error {
			list := h.containers("quick")
			if len(list) != 1 || list[0].State != "running" {
				return errors.New("it does not run")
			}
			c, err := h.api.ContainerInspect(context.Background(), list[0].ID)
			if err == nil && !slices.Contains(c.Config.Env, "GEN="+gen) {
				err = errors.New("it is the one before")
			}
			return err
		})
		if got := h.runs("slow", "app")["app"]; got != slow {
			t.Fatalf("the slow one is %s, and was %s", got, slow)
		}
	}
	h.must(os.WriteFile(filepath.Join(shared, "go"), nil, 0o600))
	h.eventually("slow is gone", func() error {
		if left := h.containers("slow"); len(left) > 0 {
			return fmt.Errorf("there is %s", left[0].State)
		}
		return nil
	})
	h.synced(h.settle(), "quick")
}

// A clone that git made holds files otherwise than their blobs. That they were
// touched is no change by hand, and a change is one.
func TestATouchedFileThatGitConvertsHoldsNoUpdateUp(t *testing.T) {
	t.Parallel()
	h := newOwnHost(t)
	// The blob of model is the pointer of LFS, the file what the filter makes of it.
	pointer := fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%x\nsize 6\n", sha256.Sum256([]byte("large\n")))
	bin := t.TempDir()
	for name, script := range map[string]string{"smudge": "cat >/dev/null; printf 'large\\n'", "clean": "cat >/dev/null; cat " + bin + "/pointer"} {
		h.must(os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	h.must(os.WriteFile(filepath.Join(bin, "pointer"), []byte(pointer), 0o600))
	body := "services:\n  app: {image: BASE, command: RUN, stop_grace_period: 0s, environment: {GEN: \"1\"}, volumes: [\"./model:/model:ro\", \"./page:/page:ro\", \"./mark:/mark:ro\"]}\n"
	h.stack("web", body)
	h.write("web/model", pointer)
	h.write("web/page", "one\ntwo\n")
	h.write("web/mark", "$Id$\n")
	h.write(".gitattributes", "[attr]dos text eol=crlf\nmodel filter=lfs -text\npage dos\nmark ident\n")
	h.push("add web")
	gittest.Git(t, "", "clone", "-q", "-c", "filter.lfs.smudge="+bin+"/smudge", "-c", "filter.lfs.clean="+bin+"/clean", "-c", "core.safecrlf=false", h.remote, h.clone)
	gittest.Git(t, h.clone, "remote", "set-url", "origin", h.url)
	read := func() string {
		return h.exec(h.runs("web", "app")["app"], "cat", "/model", "/page", "/mark")
	}
	touch := func() {
		t.Helper()
		for _, name := range []string{"model", "page", "mark"} {
			h.must(os.Chtimes(filepath.Join(h.clone, "web", name), time.Time{}, time.Now().Add(-time.Hour)))
		}
	}
	touch()
	s := h.first()
	h.synced(s, "web")
	said := read()
	if !strings.HasPrefix(said, "large\none\r\ntwo\r\n$Id: ") {
		t.Fatalf("the clone was made without git's filters: %q", said)
	}
	before := h.runs("web", "app")["app"]
	touch()
	h.stack("web", strings.Replace(body, `"1"`, `"2"`, 1))
	h.push("update web")
	s = h.settle()
	h.synced(s, "web")
	if now := h.runs("web", "app")["app"]; now == before || read() != said {
		t.Errorf("web was not updated, or has other files: %q", read())
	}
	if st := s.stack(t, h.project("web")); len(st.Edited) > 0 || s.Problem != "" {
		t.Errorf("edited is %q: %s", st.Edited, s.Problem)
	}

	h.must(os.WriteFile(filepath.Join(h.clone, "web/page"), []byte("one\r\n2\r\n"), 0o600))
	h.stack("web", strings.Replace(body, `"1"`, `"3"`, 1))
	h.push("update web again")
	if st := h.settle().stack(t, h.project("web")); !slices.Contains(st.Edited, "web/page") {
		t.Errorf("what was changed by hand is not said: %q", st.Edited)
	}
}

// A person who removes both daemons in the middle of a hand-over gets no helper that
// tries for ever, and a daemon when they start one.
func TestAHandOverWhoseDaemonsAreRemovedByHandEnds(t *testing.T) {
	t.Parallel()
	o := newOwn(t, ownStack)
	o.begin("v2", false)
	g, pass := o.stopAt(handover.Created, before)
	o.trigger()
	o.reached(g)
	o.eventually("both are removed", func() error { // the engine fails at times while one starts
		for _, c := range o.containers(o.folder) {
			if err := o.api.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true}); err != nil {
				return err
			}
		}
		return nil
	})
	pass()
	o.eventually("the helpers end", func() error {
		if left := o.helpers(); len(left) > 0 {
			return fmt.Errorf("%d of them are there", len(left))
		}
		return nil
	})
	o.controller(filepath.Join(o.clone, o.folder))
	o.ready("v2")
	o.untouched()
}
