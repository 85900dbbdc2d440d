package peak

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// memoryBytes is what a thread walks to measure memory: more than the second
// level cache, as a network's weights are. A third level cache as large as this
// answers instead, as it does to a network.
const memoryBytes = 64 << 20

// L2Bytes is the size of one core's second level cache; 1 MiB where the system
// does not tell.
func L2Bytes() int {
	const dir = "/sys/devices/system/cpu/cpu0/cache/index2/"
	b, err := os.ReadFile(dir + "size")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(string(b)), "K")); err == nil && n > 0 {
			return n << 10
		}
	}
	return 1 << 20
}

// Bandwidth gives 10^9 bytes a second that threads, each with memory of its
// own, get from the second level cache and from memory: the faster of reading
// and of copying, which counts bytes read and written.
func Bandwidth(threads int, d time.Duration) (l2, memory float64) {
	return bandwidth(threads, L2Bytes()/2, d/2), bandwidth(threads, memoryBytes, d/2)
}

func bandwidth(threads, size int, d time.Duration) float64 {
	buffers := make([][]byte, threads)
	for i := range buffers {
		buffers[i] = make([]byte, size)
		for k := 0; k < size; k += 4096 { // the system gives pages when they are first written
			buffers[i][k] = 1
		}
	}
	const chunk = 32 << 10 // a few µs a call
	walk := func(f func(b []byte, at int) int) func(int) func() float64 {
		return func(t int) func() float64 {
			at := 0
			return func() float64 {
				n := f(buffers[t], at)
				if at += chunk; at+chunk > size {
					at = 0
				}
				return float64(n)
			}
		}
	}
	half := size / 2
	return max(
		together(threads, d/2, walk(func(b []byte, at int) int { read(b[at : at+chunk]); return chunk })),
		together(threads, d/2, walk(func(b []byte, at int) int {
			at /= 2
			return 2 * copy(b[half+at:half+at+chunk/2], b[at:at+chunk/2])
		})),
	)
}

// readPortable reads a byte of each cache line.
func readPortable(b []byte) {
	s := byte(0)
	for i := 0; i < len(b); i += 64 {
		s += b[i]
	}
	runtime.KeepAlive(s)
}
