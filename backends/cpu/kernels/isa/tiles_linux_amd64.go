package isa

import "golang.org/x/sys/unix"

// requestTiles asks the kernel to let this process use the tile registers of
// AMX, whose state threads do not carry unless asked for
// (Documentation/arch/x86/xstate.rst of Linux).
func requestTiles() bool {
	const (
		archRequestPermission = 0x1023
		tileData              = 18
	)
	_, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, archRequestPermission, tileData, 0)
	return errno == 0
}
