package latency

import (
	"time"

	"golang.org/x/sys/unix"
)

// Switches counts how often the system took the CPU away: from the calling
// thread, or with more than one from any of the process's. −1: it does not tell.
func Switches(threads int) int64 {
	who := unix.RUSAGE_THREAD
	if threads > 1 {
		who = unix.RUSAGE_SELF
	}
	var u unix.Rusage
	if unix.Getrusage(who, &u) != nil {
		return -1
	}
	return u.Nivcsw
}

// CPUTime is what the calling thread has run so far: without the time that the
// system gave to others.
func CPUTime() (time.Duration, bool) {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}
