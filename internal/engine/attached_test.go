package engine

import (
	"fmt"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

func TestMountsAreToldByWhereTheyComeFrom(t *testing.T) {
	const hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	e := New(nil, Options{HostRoot: "/srv/clone"})
	got := e.mounts([]container.MountPoint{
		{Type: mount.TypeBind, Source: "/srv/clone/web/.conf", Destination: "/z"},
		{Type: mount.TypeBind, Source: "/srv/clone", Destination: "/root"},
		{Type: mount.TypeBind, Source: "/srv/clone2", Destination: "/other"},
		{Type: mount.TypeTmpfs, Destination: "/memory"},
		{Type: mount.TypeVolume, Name: "web_data", Source: "/var/lib/docker/volumes/web_data/_data", Destination: "/data"},
		{Type: mount.TypeVolume, Name: hex, Destination: "/anonymous"},
		{Type: mount.TypeVolume, Name: hex[1:] + "x", Destination: "/named"},
	})
	want := fmt.Sprintf("[{/anonymous anonymous %s} {/data volume web_data} {/named volume %sx} {/other host /srv/clone2} {/root clone } {/z clone web/.conf}]", hex, hex[1:])
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
}

func TestPortsOfEveryAddressAreToldOnce(t *testing.T) {
	got := ports([]container.Port{
		{IP: "0.0.0.0", PrivatePort: 80, PublicPort: 8080, Type: "tcp"},
		{IP: "::", PrivatePort: 80, PublicPort: 8080, Type: "tcp"},
		{IP: "127.0.0.1", PrivatePort: 53, PublicPort: 53, Type: "udp"},
		{PrivatePort: 9000, Type: "tcp"},
		{IP: "::", PrivatePort: 53, PublicPort: 53, Type: "tcp"},
	})
	if want := "[{ tcp 53 53} {127.0.0.1 udp 53 53} { tcp 8080 8080}]"; fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
}
