package xlaplugin

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// withProcessors calls start while its thread may use no more than n
// processors: XLA takes no count of threads, it makes as many as the thread that
// starts it has processors. Threads that came up meanwhile may use all again.
func withProcessors(n int, start func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, some unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil {
		start()
		return
	}
	left := n
	for cpu := len(all)*64 - 1; cpu >= 0 && left > 0; cpu-- { // the last ones, as measuring does
		if all.IsSet(cpu) {
			some.Set(cpu)
			left--
		}
	}
	before := tasks()
	if unix.SchedSetaffinity(0, &some) != nil {
		start()
		return
	}
	start()
	_ = unix.SchedSetaffinity(0, &all) // where this fails the thread is only slower
	for id := range tasks() {
		if !before[id] {
			_ = unix.SchedSetaffinity(id, &all)
		}
	}
}

// tasks are the threads of this process.
func tasks() map[int]bool {
	out := map[int]bool{}
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return out
	}
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			out[id] = true
		}
	}
	return out
}
