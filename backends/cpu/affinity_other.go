//go:build !linux

package cpu

// Elsewhere the system places threads.
func (h *helper) pin(int)   {}
func (h *helper) avoid(int) {}
func currentCPU() int       { return -1 }
