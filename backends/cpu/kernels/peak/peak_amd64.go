package peak

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/cpu"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

//go:noescape
func vpdpbusd512(n int)

//go:noescape
func vpdpbusd256(n int)

//go:noescape
func vpmaddwd256(n int)

//go:noescape
func fma512(n int)

//go:noescape
func fma256(n int)

// tdpbusd multiplies tiles of 16×64 by 64×16 bytes; the thread's tiles are
// released at its end.
//
//go:noescape
func tdpbusd(n int)

// read512 and read256 read n bytes, a multiple of 512.
//
//go:noescape
func read512(p unsafe.Pointer, n int)

//go:noescape
func read256(p unsafe.Pointer, n int)

func vectorLoops() []Loop {
	var ls []Loop
	if hasAMX() {
		ls = append(ls, Loop{"TDPBUSD", Int8, "amx", 6 * 2 * 16 * 16 * 64, tdpbusd})
	}
	for _, l := range isa.Available() {
		switch l {
		case isa.VNNI:
			ls = append(ls, Loop{"VPDPBUSD zmm", Int8, l.String(), 24 * 2 * 64, vpdpbusd512}, Loop{"VFMADD231PS zmm", F32, l.String(), 24 * 2 * 16, fma512})
		case isa.AVXVNNI:
			ls = append(ls, Loop{"VPDPBUSD ymm", Int8, l.String(), 12 * 2 * 32, vpdpbusd256})
		case isa.AVX2:
			ls = append(ls, Loop{"VPMADDWD+VPADDD ymm", Int8, l.String(), 12 * 2 * 16, vpmaddwd256}, Loop{"VFMADD231PS ymm", F32, l.String(), 12 * 2 * 8, fma256})
		}
	}
	return ls
}

var hasAVX512 = slices.Contains(isa.Available(), isa.VNNI)

func read(b []byte) {
	n := len(b) &^ 511
	switch {
	case hasAVX512:
		read512(unsafe.Pointer(unsafe.SliceData(b)), n)
	case cpu.X86.HasAVX2:
		read256(unsafe.Pointer(unsafe.SliceData(b)), n)
	default:
		readPortable(b)
	}
}
