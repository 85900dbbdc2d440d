package latency

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Pin binds the calling goroutine to a thread and that to the CPU where
// it runs, for one-threaded measurements; the returned function ends that. The
// engine binds its helpers itself.
func Pin(threads int) func() {
	if threads > 1 {
		return func() {}
	}
	runtime.LockOSThread()
	var old, one unix.CPUSet
	if unix.SchedGetaffinity(0, &old) != nil {
		return runtime.UnlockOSThread
	}
	for cpu := range len(old) * 64 { // the last: the first serve interrupts more often
		if old.IsSet(cpu) {
			one.Zero()
			one.Set(cpu)
		}
	}
	if unix.SchedSetaffinity(0, &one) != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		_ = unix.SchedSetaffinity(0, &old) // what is inherited from here on is only slower
		runtime.UnlockOSThread()
	}
}
