package cpu

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// pin binds the calling thread to one of the CPUs that the process may use.
// Helpers take them from the last: the first serve interrupts more often.
func (h *helper) pin(index int) {
	h.thread.Store(int32(unix.Gettid()))
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return
	}
	n := set.Count()
	if n < 2 {
		return
	}
	if cpu := nth(&set, n-1-index%n); cpu >= 0 {
		h.moveTo(cpu)
	}
}

func (h *helper) moveTo(cpu int) {
	var one unix.CPUSet
	one.Set(cpu)
	if unix.SchedSetaffinity(int(h.thread.Load()), &one) == nil {
		h.cpu.Store(int32(cpu))
	}
}

// avoid moves the helper away from the CPU where its user runs.
func (h *helper) avoid(cpu int) {
	if cpu < 0 || int(h.cpu.Load()) != cpu || h.thread.Load() == 0 {
		return
	}
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return
	}
	for i := set.Count() - 1; i >= 0; i-- {
		if c := nth(&set, i); c != cpu && !takenCPU(c) {
			h.moveTo(c)
			return
		}
	}
}

func takenCPU(cpu int) bool {
	if list := helpers.list.Load(); list != nil {
		for _, o := range *list {
			if int(o.cpu.Load()) == cpu {
				return true
			}
		}
	}
	return false
}

// nth gives the i-th CPU of a set, −1 where it has fewer.
func nth(set *unix.CPUSet, i int) int {
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			if i == 0 {
				return cpu
			}
			i--
		}
	}
	return -1
}

// currentCPU is the CPU that the calling thread runs on now.
func currentCPU() int {
	var cpu uint32
	if _, _, e := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); e != 0 {
		return -1
	}
	return int(cpu)
}

// yieldThread lets another thread of this CPU run.
func yieldThread() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
