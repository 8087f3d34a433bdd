package render_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
)

func TestAContainerStartedByHandHasTheIDsOfOthersInItsHash(t *testing.T) {
	f := newFolder(t).write("web/conf", "1").write("web/compose.yaml", `
services:
  vpn: {image: a, scale: 2}
  web: {image: b, network_mode: "service:vpn", ipc: "service:vpn", volumes: ["./conf:/conf"], volumes_from: ["vpn:ro", "container:far:rw"]}
  tail: {image: c, pid: "service:web"}
  alone: {image: d}
`)
	p := valid(t, f)
	runs := plan.Running{Containers: []plan.Container{
		{ID: "run", Name: "web-vpn-0", Service: "vpn", OneOff: true},
		{ID: "second", Name: "web-vpn-2", Service: "vpn", Hash: service(t, p, "vpn").Hash},
		{ID: "first", Name: "web-vpn-1", Service: "vpn", Hash: service(t, p, "vpn").Hash},
		{ID: "it", Name: "web-web-1", Service: "web", Hash: "another"},
		{ID: "last", Name: "web-tail-1", Service: "tail", Hash: service(t, p, "tail").Hash},
		{ID: "other", Name: "web-alone-1", Service: "alone", Hash: "another"},
	}}
	s, err := p.ByHand(runs)
	if err != nil {
		t.Fatal(err)
	}
	// What Compose hashes in their place.
	same := valid(t, newFolder(t).write("web/conf", "1").write("web/compose.yaml", `
services:
  web: {image: b, network_mode: "container:first", ipc: "container:first", volumes: ["./conf:/conf"], volumes_from: ["container:first", "container:far"]}
`))
	web := compose(t, same).Services["web"]
	web.Labels, web.VolumesFrom = nil, []string{"first", "far"}
	want, err := engine.Hasher{}.Service(web)
	if err != nil {
		t.Fatal(err)
	}
	for _, svc := range s.Services {
		is := ""
		if svc.Name == "web" {
			is = want
		}
		if svc.ByHand != is {
			t.Errorf("%s has %q, want %q", svc.Name, svc.ByHand, is)
		}
	}
	if service(t, p, "web").ByHand != "" || s.Digest != p.Digest {
		t.Error("what was loaded is another one now")
	}

	runs.Containers = runs.Containers[3:] // vpn is gone
	if s, err = p.ByHand(runs); err != nil || s.Services[3].Name != "web" || s.Services[3].ByHand != "" {
		t.Errorf("without the others: %v, %+v", err, s.Services)
	}
}

// A container that was started by hand is of the config that a file says, or the build,
// if it was made after all the files that the stack is loaded from.
func TestWhatTheFilesOfAStackSayIsAsOldAsTheNewestOfThem(t *testing.T) {
	for name, c := range map[string]struct{ compose, newest string }{
		"an inline config":         {"services: {app: {image: a, configs: [c]}}\nconfigs: {c: {content: \"$VALUE\"}}", "web/.env"},
		"a secret from a variable": {"services: {app: {image: a, secrets: [s]}}\nsecrets: {s: {environment: VALUE}}", "web/.env"},
		"a build":                  {"services: {app: {build: ./ctx}}", "web/compose.yaml"},
		"an untracked config":      {"services: {app: {image: a, configs: [c]}}\nconfigs: {c: {file: own.txt}}", "web/own.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t).write("web/compose.yaml", c.compose).write("web/.env", "VALUE=x").write("web/ctx/Dockerfile", "FROM scratch").hide("web/own.txt", "x")
			newest := time.Now().Add(-20 * time.Second).Truncate(time.Second) // the others are older
			if err := os.Chtimes(filepath.Join(f.dir, c.newest), newest, newest); err != nil {
				t.Fatal(err)
			}
			p := valid(t, f)
			svc := service(t, p, "app")
			for _, made := range []time.Duration{-time.Second, time.Second} {
				container := plan.Container{Name: "web-app-1", Service: "app", Hash: svc.Bare, Created: newest.Add(made)}
				s, err := p.ByHand(plan.Running{Containers: []plan.Container{container}})
				if err != nil {
					t.Fatal(err)
				}
				if got := s.Services[0].Made(container); got != (made > 0) {
					t.Errorf("made %s after the newest file: %v, touched %s", made, got, s.Services[0].Touched)
				}
			}
		})
	}
}
