//go:build linux && amd64

// Noamx runs a command as if the processor had no AMX: the system refuses the
// tile registers to it and to what it starts, which all engines ask for before
// they use them (Documentation/arch/x86/xstate.rst of Linux). So a machine with
// AMX shows what engines do on one that has AVX512-VNNI alone.
//
//	go build -o .cache/tools/noamx ./bench/noamx
//	.cache/tools/noamx bench/peers/run.sh --batch 1
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hidden tells a command what it does not see.
const hidden = "NASC_BENCH_HIDDEN=amx"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "noamx: found no command; wanted one and its arguments")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "noamx: %s: %v\n", strings.Join(os.Args[1:], " "), err)
		os.Exit(1)
	}
}

// run becomes the command, behind the filter.
func run(name string, args []string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the filter is the thread's, which exec leaves alone
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	f := filter()
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0); err != nil {
		return err
	}
	return unix.Exec(path, args, append(os.Environ(), hidden))
}

// filter refuses arch_prctl(ARCH_REQ_XCOMP_PERM), and nothing else
// (Documentation/userspace-api/seccomp_filter.rst).
func filter() []unix.SockFilter {
	const (
		number, arch, first   = 0, 4, 16 // offsets in struct seccomp_data; the first argument's lower half
		load                  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal                 = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		give                  = unix.BPF_RET | unix.BPF_K
		archRequestPermission = 0x1023
	)
	return []unix.SockFilter{
		{Code: load, K: arch},
		{Code: equal, K: unix.AUDIT_ARCH_X86_64, Jf: 5},
		{Code: load, K: number},
		{Code: equal, K: unix.SYS_ARCH_PRCTL, Jf: 3},
		{Code: load, K: first},
		{Code: equal, K: archRequestPermission, Jf: 1},
		{Code: give, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: give, K: unix.SECCOMP_RET_ALLOW},
	}
}
