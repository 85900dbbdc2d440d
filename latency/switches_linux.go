package latency

import "golang.org/x/sys/unix"

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
