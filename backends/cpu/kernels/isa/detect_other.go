//go:build !amd64 && !arm64

package isa

// detect: other processors run plain Go.
func detect() []Level { return []Level{Portable} }

// HasVBMI says whether byte permutes of two 512-bit tables exist.
func HasVBMI() bool { return false }

// HasTileBF16 says whether tile registers multiply bfloat16.
func HasTileBF16() bool { return false }
