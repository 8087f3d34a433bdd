package render

import (
	"syscall"
	"time"
)

// stamp tells a changed file without reading it. Of what is not there, or may
// not be looked at, it has the reason only.
type stamp struct {
	device, inode     uint64
	size              int64
	modified, changed int64 // in nanoseconds; changed is set by the kernel alone
	mode              uint32
	missing           syscall.Errno
}

func stampOf(full string) stamp {
	var st syscall.Stat_t
	if err := stat(syscall.Stat, full, &st); err != 0 {
		return stamp{missing: err}
	}
	return stamp{
		device: uint64(st.Dev), inode: st.Ino, size: st.Size, mode: st.Mode, //nolint:unconvert // another type on other machines
		modified: st.Mtim.Nano(), changed: st.Ctim.Nano(),
	}
}

// stat asks again when a signal came in between, as package os does.
func stat(call func(string, *syscall.Stat_t) error, full string, st *syscall.Stat_t) syscall.Errno {
	for {
		err := call(full, st)
		if err == nil {
			return 0
		}
		errno, ok := err.(syscall.Errno) //nolint:errorlint // syscall's calls give nothing else
		switch {
		case !ok:
			return syscall.EINVAL
		case errno != syscall.EINTR:
			return errno
		}
	}
}

// nothing says whether a path has no entry, not even that of a link.
func nothing(full string) bool {
	var st syscall.Stat_t
	return stat(syscall.Lstat, full, &st) == syscall.ENOENT
}

// file is which file or folder it is, whatever is in it.
func (s stamp) file() stamp {
	return stamp{device: s.device, inode: s.inode, missing: s.missing}
}

// clockTick is how far a file's time may lie behind the clock's: one that was
// written less than that before a moment may be written after it, too, without
// another stamp.
const clockTick = 20 * time.Millisecond

// settled says whether what has this stamp was last changed before a moment. The
// time that a file says it was written at is whatever a program set it to.
func (s stamp) settled(at time.Time, tick time.Duration) bool {
	return s.missing == 0 && s.changed <= at.Add(-tick).UnixNano()
}
