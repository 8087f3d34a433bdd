package render_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

func TestMountsAreThoseThatTheEngineWillHave(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", `
services:
  app:
    image: a
    tmpfs: [/tmp]
    volumes:
      - data:/var/lib/data/
      - theirs:/theirs
      - named:/named
      - device:/device
      - /anonymous
      - ./conf:/etc/conf:ro
      - ../shared/x:/x
      - ..:/all
      - ${PWD}/by-pwd:/y
      - /srv/stacks/web/by-host:/z
      - /srv/stacks-too:/w
      - /etc/hosts:/hosts
      - {type: tmpfs, target: /run}
  none: {image: a}
volumes:
  data: {}
  theirs: {external: true, name: shared-data}
  named: {name: fixed}
  device: {driver_opts: {type: none, o: bind, device: "${PWD}/dev"}}
`)
	p := valid(t, f)
	var got []string
	for _, m := range service(t, p, "app").Mounts {
		got = append(got, fmt.Sprintf("%s: %s %q", m.Target, m.Type, m.Source))
	}
	want := `/all: clone ""
/anonymous: anonymous ""
/device: volume "web_device"
/etc/conf: clone "web/conf"
/hosts: host "/etc/hosts"
/named: volume "fixed"
/theirs: volume "shared-data"
/var/lib/data: volume "web_data"
/w: host "/srv/stacks-too"
/x: clone "shared/x"
/y: clone "web/by-pwd"
/z: clone "web/by-host"`
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("mounts\n%s\nwant\n%s", g, want)
	}
	if m := service(t, p, "none").Mounts; m != nil {
		t.Errorf("none mounts %v", m)
	}
	host := newFolder(t).write("web/compose.yaml", "services: {app: {image: a, volumes: ['/srv:/x']}}")
	if m := service(t, valid(t, host, nowhere), "app").Mounts; len(m) != 1 || m[0].Source != "/srv" || m[0].Type != "host" {
		t.Errorf("where the clone's place on the host is not known: %v", m)
	}
}

func TestPortsAreThoseOfTheHost(t *testing.T) {
	for text, want := range map[string]string{
		`ports: ["8080:80"]`:                    "8080-8080/tcp",
		`ports: ["80"]`:                         "",
		`ports: ["127.0.0.1:53:53/udp"]`:        "127.0.0.1 53-53/udp",
		`ports: ["127.0.0.1::53"]`:              "",
		`ports: ["0.0.0.0:1:1", "[::]:2:2"]`:    "1-1/tcp, 2-2/tcp",
		`ports: ["[::1]:3:3", "[0::1]:4:4"]`:    "::1 3-3/tcp, ::1 4-4/tcp",
		`ports: ["3000-3002:3000-3002"]`:        "3000-3000/tcp, 3001-3001/tcp, 3002-3002/tcp",
		`ports: ["9000-9010:80"]`:               "9000-9010/tcp",
		`ports: [{target: 80, published: "0"}]`: "",
		`ports: [{target: 80, published: "90-92", protocol: sctp, mode: host}, {target: 81, published: 7, host_ip: 10.0.0.1}]`: "10.0.0.1 7-7/tcp, 90-92/sctp",
		`ports: ["0.0.0.0:8:80", "[::]:8:80"]`:  "8-8/tcp",
		`ports: ["8:80"], network_mode: host`:   "",
		`ports: ["8:80"], network_mode: bridge`: "8-8/tcp",
	} {
		var got []string
		for _, p := range service(t, valid(t, newFolder(t).write("web/compose.yaml", "services: {app: {image: a, "+text+"}}")), "app").Ports {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %d-%d/%s", p.IP, p.First, p.Last, p.Protocol)))
		}
		if g := strings.Join(got, ", "); g != want {
			t.Errorf("%s: %s, want %s", text, g, want)
		}
	}
}

func TestTheContainersNameIsTheOneInTheFile(t *testing.T) {
	p := valid(t, newFolder(t).write("web/compose.yaml", "services: {a: {image: a, container_name: proxy}, b: {image: a}}"))
	if a, b := service(t, p, "a").ContainerName, service(t, p, "b").ContainerName; a != "proxy" || b != "" {
		t.Errorf("names %q and %q", a, b)
	}
}

func TestNewDataIsSaidByALabelThatRecreatesNothing(t *testing.T) {
	const one = "services: {app: {image: a, volumes: ['./conf:/c'], labels: {LABELS}}, db: {image: b}}"
	f := newFolder(t).write("web/conf/x", "1")
	look := func(labels string) render.Project {
		t.Helper()
		return valid(t, f.write("web/compose.yaml", strings.Replace(one, "LABELS", labels, 1)))
	}
	without, with := look("x: y"), look("x: y, gitops.data: new")
	if service(t, without, "app").NewData || !service(t, with, "app").NewData || service(t, with, "db").NewData {
		t.Error("it is on app alone, and only with the label")
	}
	a, b := service(t, without, "app"), service(t, with, "app")
	if a.Hash != b.Hash || a.Bare != b.Bare || without.Digest != with.Digest {
		t.Errorf("hashes %s %s and %s %s, digests %s and %s", a.Hash, a.Bare, b.Hash, b.Bare, without.Digest, with.Digest)
	}
	if app := compose(t, with).Services["app"]; app.Labels[render.LabelData] != "" || app.CustomLabels[render.LabelData] != "" || app.Labels["x"] != "y" {
		t.Errorf("labels of the container: %v %v", app.Labels, app.CustomLabels)
	}
	if alone := service(t, look("gitops.data: new"), "app").Hash; alone != service(t, look(""), "app").Hash {
		t.Error("as the only label it changes the hash")
	}
	f.write("web/compose.yaml", strings.Replace(one, "LABELS", "gitops.data: old", 1))
	if got, want := invalid(t, f), `web/compose.yaml: services.app.labels: gitops.data is "old", and can only be "new"`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTheAgeOfImagesIsSaidByALabelThatRecreatesNothing(t *testing.T) {
	const one = "services: {app: {image: a, volumes: ['./conf:/c'], labels: {LABELS}}, db: {image: b}, debug: {image: c, profiles: [debug], labels: {MORE}}}"
	f := newFolder(t).write("web/conf/x", "1")
	write := func(labels, more string) *folder {
		return f.write("web/compose.yaml", strings.NewReplacer("LABELS", labels, "MORE", more).Replace(one))
	}
	without := valid(t, write("x: y", ""))
	if without.MinAge != nil {
		t.Errorf("without the label it is %s", without.MinAge)
	}
	for label, want := range map[string]time.Duration{"72h": 72 * time.Hour, "3d": 72 * time.Hour, "1w12h": 180 * time.Hour, "'0'": 0, "90m": 90 * time.Minute} {
		with := valid(t, write("x: y, gitops.image-age: "+label, ""))
		if with.MinAge == nil || *with.MinAge != want {
			t.Errorf("%s is %v", label, with.MinAge)
		}
		a, b := service(t, without, "app"), service(t, with, "app")
		if a.Hash != b.Hash || a.Bare != b.Bare || without.Digest != with.Digest || len(a.Fields) != len(b.Fields) {
			t.Errorf("hashes %s %s and %s %s, digests %s and %s", a.Hash, a.Bare, b.Hash, b.Bare, without.Digest, with.Digest)
		}
		if app := compose(t, with).Services["app"]; app.Labels[render.LabelAge] != "" || app.Labels["x"] != "y" {
			t.Errorf("labels of the container: %v", app.Labels)
		}
	}
	if off := valid(t, write("", "gitops.image-age: 1h")); off.MinAge == nil || *off.MinAge != time.Hour {
		t.Errorf("on a service that is switched off it is %v", off.MinAge)
	}
	if both := valid(t, write("gitops.image-age: 24h", "gitops.image-age: 1d")); both.MinAge == nil || *both.MinAge != 24*time.Hour {
		t.Errorf("on two it is %v", both.MinAge)
	}
	for _, c := range []struct{ app, debug, want string }{
		{"gitops.image-age: soon", "", `services.app.labels: gitops.image-age is "soon", and can only be a time of at most a year like 72h or 3d, or 0`},
		{"gitops.image-age: -1h", "", `services.app.labels: gitops.image-age is "-1h", and can only be a time of at most a year like 72h or 3d, or 0`},
		{"gitops.image-age: 72", "", `services.app.labels: gitops.image-age is "72", and can only be a time of at most a year like 72h or 3d, or 0`},
		{"gitops.image-age: 60w", "", `services.app.labels: gitops.image-age is "60w", and can only be a time of at most a year like 72h or 3d, or 0`},
		{"", "gitops.image-age: ''", `services.debug.labels: gitops.image-age is "", and can only be a time of at most a year like 72h or 3d, or 0`},
		{"gitops.image-age: 1h", "gitops.image-age: 2h", `services.debug.labels: gitops.image-age is 2h, and another service has another one: it counts for the whole stack`},
	} {
		if got := invalid(t, write(c.app, c.debug)); got != "web/compose.yaml: "+c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestImagesThatAreMountedAreToldOnce(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", `
services:
  app:
    image: a
    platform: linux/arm64
    volumes:
      - {type: image, source: assets, target: /a}
      - {type: image, source: "docker.io/library/assets:latest", target: /b, image: {subpath: x}}
      - {type: image, source: "fonts:2", target: /c}
`)
	if s := service(t, valid(t, f), "app"); s.Platform != "linux/arm64" || strings.Join(s.MountedImages, " ") != "assets:latest fonts:2" {
		t.Errorf("platform %s, images %v", s.Platform, s.MountedImages)
	}
}
