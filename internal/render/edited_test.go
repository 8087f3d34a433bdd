package render_test

import "testing"

// A container may write into a tracked file that it mounts: that neither loads
// its stack again nor recreates it. A compose file that a person changes does.
func TestFilesThatWereChangedByHand(t *testing.T) {
	f := newFolder(t)
	f.write("web/compose.yaml", "services: {app: {image: 'web:1', volumes: ['./conf:/conf']}}")
	f.write("web/conf/app.conf", "1")
	l := loader(f)
	before := validOf(t, l, f)
	f.edited = []string{"web/conf/app.conf", "web/conf", "web", ""}
	if after := validOf(t, l, f); after.Services[0].Hash != before.Services[0].Hash || after.Digest != before.Digest {
		t.Error("a mounted file that was changed by hand recreates its service")
	}
	f.edited = []string{"web/compose.yaml", "web", ""}
	f.write("web/compose.yaml", "services: {app: {image: 'web:2', volumes: ['./conf:/conf']}}")
	if got := validOf(t, l, f).Services[0].Image; got != "web:2" {
		t.Errorf("after a change by hand: %s", got)
	}
	f.write("web/compose.yaml", "services: {app: {image: 'web:30', volumes: ['./conf:/conf']}}")
	if got := validOf(t, l, f).Services[0].Image; got != "web:30" {
		t.Errorf("after another change by hand: %s", got)
	}
	f.edited = nil
	f.write("web/compose.yaml", "services: {app: {image: 'web:1', volumes: ['./conf:/conf']}}")
	if got := validOf(t, l, f).Services[0].Image; got != "web:1" {
		t.Errorf("after the change was undone: %s", got)
	}
}
