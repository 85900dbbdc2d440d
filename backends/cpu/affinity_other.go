//go:build !linux

package cpu

import "runtime"

// Elsewhere the system places threads.
func (h *helper) pin(int)   {}
func (h *helper) avoid(int) {}
func currentCPU() int       { return -1 }

// yieldThread lets another goroutine run.
func yieldThread() { runtime.Gosched() }
