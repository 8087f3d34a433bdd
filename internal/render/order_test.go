package render_test

import (
	"strings"
	"testing"
	"time"

	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

func TestHowLongTheOldOneAndTheNewOneRun(t *testing.T) {
	p := valid(t, newFolder(t).write("web/compose.yaml", "services: {app: {image: a, deploy: {update_config: {order: start-first, monitor: 3s}}}, other: {image: a, deploy: {update_config: {monitor: 3s}}}}"))
	if p.Services[0].Monitor != 3*time.Second || p.Services[1].Monitor != 0 {
		t.Errorf("%s and %s", p.Services[0].Monitor, p.Services[1].Monitor)
	}
}

func TestWhatStartsBeforeTheOldOneStops(t *testing.T) {
	const first = "deploy: {update_config: {order: start-first}}"
	for name, c := range map[string]struct {
		service     string
		yes         bool
		parallelism int
		why         string
	}{
		"not asked for":                {"image: a", false, 0, ""},
		"stop-first":                   {"image: a, deploy: {update_config: {order: stop-first}}", false, 0, ""},
		"plain":                        {"image: a, " + first, true, 1, ""},
		"three at a time":              {"image: a, deploy: {update_config: {order: start-first, parallelism: 3}}", true, 3, ""},
		"all at once":                  {"image: a, deploy: {update_config: {order: start-first, parallelism: 0}}", true, 0, ""},
		"a port that the engine picks": {"image: a, ports: ['80'], " + first, true, 1, ""},
		"a port":                       {"image: a, ports: ['8080:80'], " + first, false, 0, "it publishes port 8080 of the host"},
		"a container_name":             {"image: a, container_name: web, " + first, false, 0, "it has a container_name"},
		"the host's network":           {"image: a, network_mode: host, " + first, false, 0, "it uses network_mode: host"},
		"another one's network":        {"image: a, network_mode: 'service:other', " + first, false, 0, "it uses network_mode: service:other"},
		"another one's processes":      {"image: a, pid: 'service:other', " + first, false, 0, "namespaces"},
		"another one's volumes":        {"image: a, volumes_from: [other], " + first, false, 0, "volumes"},
		"an address":                   {"image: a, networks: {default: {ipv4_address: 10.1.2.3}}, " + first, false, 0, "it has an address of its own on network default"},
		"a mac_address":                {"image: a, mac_address: '02:42:ac:11:00:03', " + first, false, 0, "mac_address"},
		"a device":                     {"image: a, devices: ['/dev/ttyUSB0'], " + first, false, 0, "it uses a device of the host (/dev/ttyUSB0)"},
		"a volume":                     {"image: a, volumes: ['vol:/data'], " + first, false, 0, "it can write to what it mounts at /data"},
		"a folder":                     {"image: a, volumes: ['/srv/data:/data'], " + first, false, 0, "it can write to what it mounts at /data"},
		"a volume to read":             {"image: a, volumes: ['vol:/data:ro'], tmpfs: [/tmp], " + first, true, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := "services: {app: {" + c.service + "}, other: {image: b}}\nvolumes: {vol: }\nnetworks: {default: {ipam: {config: [{subnet: 10.1.2.0/24}]}}}"
			p := valid(t, newFolder(t).write("web/compose.yaml", file))
			app := p.Services[0]
			if app.StartFirst != c.yes || app.Parallelism != c.parallelism || !strings.Contains(app.StopFirst, c.why) || (app.StopFirst == "") != (c.why == "") {
				t.Errorf("it is %v, %d at a time, %q", app.StartFirst, app.Parallelism, app.StopFirst)
			}
			if warned := strings.Contains(strings.Join(p.Warnings, "\n"), "service app is to start before the old one stops"); warned != (c.why != "") {
				t.Errorf("warnings are %v", p.Warnings)
			}
			if app.Monitor != 0 {
				t.Errorf("it is watched for %s", app.Monitor)
			}
			never := valid(t, newFolder(t).write("web/compose.yaml", file), func(o *render.Options) { o.StopFirst = true })
			if s := never.Services[0]; s.StartFirst || s.StopFirst != "" || strings.Contains(strings.Join(never.Warnings, " "), "start") || never.Digest != p.Digest {
				t.Errorf("with START_FIRST=ignore it is %+v", s)
			}
		})
	}
}
