//go:build !linux

package latency

import "runtime"

// Pin keeps the calling goroutine on one thread; this system has no call
// to bind it to a CPU that nasc makes.
func Pin(int) func() {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}
