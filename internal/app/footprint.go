package app

import (
	"bufio"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// By how many hundredths of what is in use the heap may grow before garbage is
// collected. The daemon makes little garbage and is idle most of the time, so that
// half of Go's own default costs next to no CPU, and saves a fifth of the memory.
const (
	growth       = 50
	growthFromGo = 100
)

// growLess has garbage collected earlier than Go does by itself, unless GOGC says
// otherwise.
func growLess() {
	if before := debug.SetGCPercent(growth); before != growthFromGo {
		debug.SetGCPercent(before)
	}
}

// forgetStart gives back the memory of what only the start needed of the program's
// file. The compose SDK brings hundreds of packages along whose initialisation
// touches most of the file, and never again: a third of what the daemon kept in
// memory. Pages that are needed later come back from the file.
//
// It is a hint: nothing depends on it, and what goes wrong is of no interest.
func forgetStart() {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	for _, m := range untouched(maps, self) {
		// Not unix.Madvise: it takes a slice, which would have to be made up.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// mapping is a part of the address space.
type mapping struct{ start, end uintptr }

// untouched lists the mappings of a file that are as the file is, and can't be
// written to. A page that differs from the file, as relocation leaves them, has
// no other place than memory, so that its whole mapping is left alone.
//
//	00400000-027d9000 r-xp 00000000 fe:00 1234    /gitops-compose
//	Rss:               12288 kB
//	Anonymous:             0 kB
//	Swap:                  0 kB
func untouched(smaps io.Reader, file string) []mapping {
	var found []mapping
	mine := false // the mapping that the lines are about is the last one of found
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 5 && strings.Contains(fields[0], "-"):
			m, ok := parseMapping(fields[0])
			mine = ok && len(fields) == 6 && fields[5] == file && !strings.Contains(fields[1], "w")
			if mine {
				found = append(found, m)
			}
		case mine && len(fields) >= 2 && (fields[0] == "Anonymous:" || fields[0] == "Swap:") && fields[1] != "0":
			found, mine = found[:len(found)-1], false
		}
	}
	return found
}

func parseMapping(s string) (mapping, bool) {
	from, to, _ := strings.Cut(s, "-")
	start, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return mapping{}, false
	}
	end, err := strconv.ParseUint(to, 16, 64)
	return mapping{uintptr(start), uintptr(end)}, err == nil && end > start
}
