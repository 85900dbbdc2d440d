package isa

import "golang.org/x/sys/cpu"

// detect lists the levels whose instructions the processor has; all have NEON.
func detect() []Level {
	if cpu.ARM64.HasASIMDDP {
		return []Level{NEONDot, NEON, Portable}
	}
	return []Level{NEON, Portable}
}

// HasVBMI says whether byte permutes of two 512-bit tables exist.
func HasVBMI() bool { return false }

// HasTileBF16 says whether tile registers multiply bfloat16.
func HasTileBF16() bool { return false }
