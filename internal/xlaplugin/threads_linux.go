package xlaplugin

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// OnProcessors calls f on a thread that may use no more than n processors, and
// so do the threads that f starts outside Go: XLA takes no count of threads, and
// makes the same for any machine.
func OnProcessors(n int, f func()) {
	var all, some unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil || all.Count() <= n {
		f()
		return
	}
	runtime.LockOSThread() // Go starts no threads from a locked one
	defer runtime.UnlockOSThread()
	left := n
	for cpu := len(all)*64 - 1; left > 0; cpu-- { // the last ones: the first serve interrupts more often
		if all.IsSet(cpu) {
			some.Set(cpu)
			left--
		}
	}
	if unix.SchedSetaffinity(0, &some) == nil {
		defer func() { _ = unix.SchedSetaffinity(0, &all) }() // where this fails the thread is only slower
	}
	f()
}
