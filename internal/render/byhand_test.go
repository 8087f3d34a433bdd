package render_test

import (
	"testing"

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
