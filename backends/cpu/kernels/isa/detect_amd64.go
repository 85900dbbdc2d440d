package isa

import "golang.org/x/sys/cpu"

// detect lists the levels whose instructions both the processor and the
// operating system support.
func detect() []Level {
	x := &cpu.X86
	var ls []Level
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI {
		if x.HasAMXTile && x.HasAMXInt8 && requestTiles() {
			ls = append(ls, AMX)
		}
		ls = append(ls, VNNI)
	}
	if x.HasAVX2 && x.HasFMA {
		if x.HasAVXVNNI {
			ls = append(ls, AVXVNNI)
		}
		ls = append(ls, AVX2)
	}
	return append(ls, Portable)
}

// HasVBMI says whether byte permutes of two 512-bit tables exist (VPERMI2B),
// which the first processors with VNNI lack.
func HasVBMI() bool { return cpu.X86.HasAVX512VBMI }

// HasTileBF16 says whether tile registers multiply bfloat16 (TDPBF16PS).
func HasTileBF16() bool { return cpu.X86.HasAMXBF16 }
