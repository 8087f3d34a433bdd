//go:build engine

package e2e

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// variant is another way to run the daemon.
type variant struct {
	name string
	// replace is done to the stack.
	replace []string
	prepare func(*own)
}

// own makes a host for it.
func (v variant) own(t *testing.T) *own {
	t.Helper()
	if v.prepare == nil {
		v.prepare = func(*own) {}
	}
	return newOwn(t, strings.NewReplacer(v.replace...).Replace(ownStack), v.prepare)
}

const restartLine = "    restart: unless-stopped\n"

func variants() []variant {
	const uid, gid, socketGid = 4321, 4322, 4323
	subnet := fmt.Sprintf("10.231.%d", random())
	return []variant{
		{
			name: "container_name", replace: []string{restartLine, restartLine + "    container_name: PREFIX-the-daemon\n"},
			prepare: func(o *own) { o.name = o.prefix + "-the-daemon" },
		},
		{name: "restart always", replace: []string{restartLine, "    restart: always\n"}},
		{name: "no restart policy", replace: []string{restartLine, ""}},
		{
			name: "host network",
			replace: []string{
				`    ports: ["127.0.0.1:PORT:2112"]`, "    network_mode: host",
				"      LOG_LEVEL: debug", "      LOG_LEVEL: debug\n      HTTP_ADDRESS: 127.0.0.1:PORT",
			},
		},
		{
			name: "read-only as another user",
			replace: []string{restartLine, restartLine + fmt.Sprintf("    read_only: true\n    tmpfs: [/tmp]\n    cap_drop: [ALL]\n"+
				"    security_opt: ['no-new-privileges:true']\n    user: '%d:%d'\n    group_add: ['%d']\n", uid, gid, socketGid)},
			prepare: func(o *own) {
				o.uid, o.gid = uid, gid
				for path, mode := range map[string]os.FileMode{o.proxy.socket: 0o660, o.remote: 0o755} {
					if err := os.Chmod(path, mode); err != nil {
						o.t.Fatal(err)
					}
				}
				if err := os.Chown(o.proxy.socket, 0, socketGid); err != nil {
					o.t.Fatal(err)
				}
			},
		},
		{name: "no label", replace: []string{`    labels: {gitops.controller: "true"}`, ""}},
		{
			name: "the engine behind TCP",
			replace: []string{
				"      - SOCKET:/var/run/docker.sock\n", "",
				"      LOG_LEVEL: debug", "      LOG_LEVEL: debug\n      DOCKER_HOST: tcp://" + subnet + ".1:TCP",
				`    labels: {gitops.controller: "true"}`,
				`    labels: {gitops.controller: "true"}
    networks: [default, more]
networks:
  more: {}
  default: {ipam: {config: [{subnet: ` + subnet + `.0/24, gateway: ` + subnet + `.1}]}}`,
			},
			prepare: func(o *own) {
				l, err := net.Listen("tcp", ":0")
				if err != nil {
					o.t.Fatal(err)
				}
				s := &http.Server{Handler: o.proxy, ReadHeaderTimeout: limit}
				go func() { _ = s.Serve(l) }()
				o.t.Cleanup(func() { _ = s.Close() })
				o.body = strings.ReplaceAll(o.body, "TCP", fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
			},
		},
	}
}

// random is a number that other runs on this machine hardly have.
func random() int {
	b := make([]byte, 1)
	_, _ = rand.Read(b)
	return int(b[0])
}

// Whatever the daemon's container is like, its successor can take its place.
func TestHandOverOfEveryKindOfContainer(t *testing.T) {
	if err := ownImages(); err != nil {
		t.Fatal(err)
	}
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			o := v.own(t)
			before := o.runs(o.folder, "daemon")["daemon"]
			o.version("v2")
			o.push("version 2")
			gap := o.watchHealth()
			o.trigger()
			o.ready("v2")
			t.Logf("without an answer from /healthz for %s", gap())
			after := o.inspect(o.runs(o.folder, "daemon")["daemon"])
			if after.ID == before {
				t.Error("the container is the old one")
			}
			for _, m := range after.Mounts {
				if m.Destination == "/repository" && m.Source != filepath.Clean(o.clone) {
					t.Errorf("the clone is mounted from %s", m.Source)
				}
			}
			o.untouched()

			// And back, when the new one does not work.
			runs := after.ID
			o.version("v2", "environment:", "command: [nonsense]\n    environment:")
			o.push("a bad version")
			o.trigger()
			o.refused("v2", runs)
			o.untouched()
		})
	}
}
