package latency

import (
	"time"

	"golang.org/x/sys/unix"
)

// Switches counts how often the system took the CPU away from the calling
// thread. −1: it does not tell, as of several threads, which yield to each other
// and are counted, too.
func Switches(threads int) int64 {
	var u unix.Rusage
	if threads > 1 || unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return -1
	}
	return u.Nivcsw
}

// CPUTime is what the calling thread has run so far: without the time that the
// system gave to others.
func CPUTime() (time.Duration, bool) { return clockTime(unix.CLOCK_THREAD_CPUTIME_ID) }

// ProcessTime is what all threads of the process have run so far.
func ProcessTime() (time.Duration, bool) { return clockTime(unix.CLOCK_PROCESS_CPUTIME_ID) }

func clockTime(clock int32) (time.Duration, bool) {
	var t unix.Timespec
	if unix.ClockGettime(clock, &t) != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}
