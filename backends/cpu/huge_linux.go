package cpu

import "golang.org/x/sys/unix"

// adviseHuge asks for large pages; systems that give none lose nothing.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
