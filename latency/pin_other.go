//go:build !linux

package latency

import "runtime"

// pinThread keeps the calling goroutine on one thread; this system has no call
// to bind it to a CPU that nasc makes.
func pinThread(int) func() {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}
