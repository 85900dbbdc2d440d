//go:build !linux

package isa

// requestTiles: only Linux is known to let a process ask for tile registers.
func requestTiles() bool { return false }
