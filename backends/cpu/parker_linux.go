package cpu

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// parker puts one thread to sleep by futex: waking it is one system call and
// goes past Go's scheduler, which would need two hand-overs for a locked
// thread.
type parker struct {
	asleep atomic.Uint32
}

const (
	futexWaitPrivate = 128 // FUTEX_WAIT | FUTEX_PRIVATE_FLAG
	futexWakePrivate = 129
)

func (p *parker) init() {}

// park sleeps until wake, unless ready says that there is work already.
func (p *parker) park(ready func() bool) {
	p.asleep.Store(1)
	if ready() {
		p.asleep.Store(0)
		return
	}
	for p.asleep.Load() == 1 {
		// Returns early when the word has changed or at a signal: looked at again.
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&p.asleep)), futexWaitPrivate, 1, 0, 0, 0)
	}
}

// wake ends the sleep.
func (p *parker) wake() {
	if p.asleep.Load() == 1 && p.asleep.Swap(0) == 1 {
		_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&p.asleep)), futexWakePrivate, 1, 0, 0, 0)
	}
}
