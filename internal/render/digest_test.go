package render_test

import "testing"

// Digests are kept in journals: a new version of the daemon that gave another
// one to an old stack would take every stack for changed.
func TestTheDigestOfAStackIsWhatItWasInOlderVersions(t *testing.T) {
	f := newFolder(t).write("web/compose.yaml", `
services:
  app:
    image: web:1.4
    container_name: web
    env_file: app.env
    environment: {LOG_LEVEL: debug}
    labels: {some.label: x}
    ports: ["8080:80", "127.0.0.1:53:53/udp"]
    volumes: ["./nginx.conf:/etc/nginx.conf:ro", "data:/data", "/cache", "/etc/hosts:/hosts"]
    configs: [c]
    secrets: [s]
    depends_on: [db]
    restart: always
  db: {image: db, networks: [back], deploy: {replicas: 2}}
  later: {build: ./src, profiles: [later]}
networks: {back: {}}
volumes: {data: {}}
configs: {c: {file: c.conf}}
secrets: {s: {environment: TOKEN}}
`).write("web/nginx.conf", "1").write("web/c.conf", "1").hide("web/.env", "TOKEN=1").hide("web/app.env", "A=1")
	p := valid(t, f)
	if want := "55ac0a1e26a0eef1849877b69ef1c6cd"; p.Digest != want {
		t.Errorf("digest %s, want %s", p.Digest, want)
	}
	for name, want := range map[string]string{
		"app": "9d5a97d7e0128394ff59c3984de7a9d70c6fca5d21524149116fb4c12905fc47",
		"db":  "238a56bc7d8a78fa8c2dcdb9290609fc75e7f5276a858a151a83fa0efebe691a",
	} {
		if got := service(t, p, name).Hash; got != want {
			t.Errorf("hash of %s is %s, want %s", name, got, want)
		}
	}
}
