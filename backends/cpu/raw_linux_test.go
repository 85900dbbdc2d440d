package cpu

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The pages around a run's memory are there, as far as masked lanes reach.
func TestGuardedBytes(t *testing.T) {
	for _, n := range []int{1, 64, 4096, 100_000, 3_000_000} {
		b := guardedBytes(n)
		start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
		if len(b) != n || cap(b) != n || start%alignment != 0 {
			t.Errorf("%d bytes: %d of %d at %x", n, len(b), cap(b), start)
		}
		for _, side := range []uintptr{start - guard, start + uintptr(n)} {
			page := side &^ 4095
			there := make([]byte, guard/4096)
			if _, _, e := unix.Syscall(unix.SYS_MINCORE, page, guard, uintptr(unsafe.Pointer(&there[0]))); e != 0 {
				t.Skipf("mincore: %v", e)
			}
			for i, p := range there {
				if p&1 == 0 {
					t.Errorf("%d bytes: page %d of the guard at %x is not there", n, i, page)
				}
			}
		}
	}
	if guardedBytes(0) != nil {
		t.Error("no bytes have memory")
	}
}
