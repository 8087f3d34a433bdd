package enginetest

import (
	"github.com/korbiniankuhn/gitops-compose/internal/engine"
	"github.com/korbiniankuhn/gitops-compose/internal/plan"
	"github.com/korbiniankuhn/gitops-compose/internal/render"
)

// dataCases are about what is in volumes and folders.
func dataCases() map[string]func(*bench) {
	const text = "services: {a: {SLEEP, volumes: ['data:/data', 'inner:/data/inner', './folder:/folder', './conf:/conf:ro']}}\nvolumes: {data: {}, inner: {}}"
	content := func(b *bench, id, target string, want bool) {
		b.Helper()
		if got, err := b.HasContent(b.ctx(), id, target); err != nil || got != want {
			b.Errorf("%s has content: %v, %v; want %v", target, got, err, want)
		}
	}
	empty := func(b *bench, volume string, want bool) {
		b.Helper()
		if got, err := b.VolumeEmpty(b.ctx(), b.name+volume); err != nil || got != want {
			b.Errorf("volume %s is empty: %v, %v; want %v", volume, got, err, want)
		}
	}
	start := func(b *bench) string {
		b.Helper()
		b.write("folder/.keep", "")
		b.write("conf", "1")
		return b.id(b.up(b.stack(text)), "a")
	}
	return map[string]func(*bench){
		"an empty volume is told from one with content, in a container that runs and in one that does not": func(b *bench) {
			id := start(b)
			for range 2 {
				content(b, id, "/data", false)
				empty(b, "_data", true)
				b.Kill(b, id)
				b.up(b.stack(text))
				b.Put(b, id, "/data", "lost+found/")
			}
			b.Put(b, id, "/data", "file")
			content(b, id, "/data", true)
			empty(b, "_data", false)
			content(b, id, "/data/inner", false)
			b.Kill(b, id)
			content(b, id, "/data", true)
			content(b, id, "/data/inner", false)
			empty(b, "_data", false)
			empty(b, "_inner", true)
		},
		"a volume that is to have other labels stays as it is": func(b *bench) {
			define := func(volume, image string) render.Project {
				return b.stack("services: {a: {SLEEP, environment: {A: " + image + "}, volumes: ['data:/data']}}\nvolumes: {data: " + volume + "}")
			}
			r := b.up(define("{}", "one"))
			b.Put(b, r.Containers[0].ID, "/data", "file")
			before := b.Volumes(b, r.Containers[0].ID)["/data"]
			r = b.up(define("{labels: {team: a}}", "two"))
			if after := b.Volumes(b, r.Containers[0].ID)["/data"]; after != before {
				b.Errorf("volume %s became %s", before, after)
			}
			empty(b, "_data", false)
		},
		"a volume that no container has is looked into": func(b *bench) {
			b.Put(b, start(b), "/data", "file")
			b.ok(b.Stop(b.ctx(), render.Project{}, plan.Op{Stack: b.name}))
			empty(b, "_data", false)
			empty(b, "_inner", true)
		},
		"a mount or a volume that is not there is an error": func(b *bench) {
			id := start(b)
			_, err := b.HasContent(b.ctx(), id, "/none")
			b.fails(err, b.name+"-a-1", "/none")
			_, err = b.HasContent(b.ctx(), b.name+"-none", "/data")
			b.fails(err, b.name+"-none")
			_, err = b.VolumeEmpty(b.ctx(), b.name+"_none")
			b.fails(err, b.name+"_none")
		},
		"a helper sees the volumes that a container has from another": func(b *bench) {
			r := b.up(b.stack("services: {v: {SLEEP, volumes: ['data:/data']}, a: {SLEEP, volumes_from: [v]}}\nvolumes: {data: {}}"))
			d := b.Within(b.id(r, "a"))
			id, err := d.StartHelper(b.ctx(), engine.Helper{Name: b.name + "-helper", Owner: b.name, Like: b.id(r, "a"), Image: r.Containers[0].Image, Entrypoint: []string{"/bin/busybox"}, Args: []string{"sleep", "1000"}})
			b.ok(err)
			b.Cleanup(func() { _ = d.Remove(b.ctx(), id) })
			if got := b.Volumes(b, id)["/data"]; got != b.name+"_data" {
				b.Errorf("the helper has %q", got)
			}
		},
	}
}
