package app

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestOnlyMappingsAreGivenBackThatAreAsTheFileIs(t *testing.T) {
	const smaps = `00400000-00500000 r-xp 00000000 fe:00 1 /bin/daemon
Rss:                1024 kB
Anonymous:             0 kB
Swap:                  0 kB
00500000-00600000 r--p 00100000 fe:00 1 /bin/daemon
Anonymous:             4 kB
Swap:                  0 kB
00600000-00700000 r--p 00200000 fe:00 1 /bin/daemon
Anonymous:             0 kB
Swap:                  4 kB
00700000-00800000 rw-p 00300000 fe:00 1 /bin/daemon
Anonymous:             0 kB
00800000-00900000 r--p 00000000 fe:00 2 /lib/other
Anonymous:             0 kB
00900000-00a00000 r--p 00400000 fe:00 1 /bin/daemon
Anonymous:             0 kB
c000000000-c000400000 rw-p 00000000 00:00 0
Anonymous:          4096 kB
`
	got := untouched(strings.NewReader(smaps), "/bin/daemon")
	if len(got) != 2 || got[0] != (mapping{0x400000, 0x500000}) || got[1] != (mapping{0x900000, 0xa00000}) {
		t.Errorf("got %x", got)
	}
}

func TestTheProgramWorksOnAfterItsStartWasForgotten(t *testing.T) {
	before := resident(t)
	forgetStart()
	if after := resident(t); after >= before {
		t.Errorf("%d kB of files are resident, and were %d before", after, before)
	}
}

func resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("this takes Linux's /proc")
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssFile:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Skip("the kernel doesn't say")
	return 0
}
