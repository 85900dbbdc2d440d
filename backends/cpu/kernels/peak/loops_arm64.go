package peak

import (
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// loopArgs is the argument block of the loops. gen/ knows this layout.
type loopArgs struct {
	n int
	p unsafe.Pointer
}

func vectorLoops() []Loop {
	var ls []Loop
	for _, l := range isa.Available() {
		switch l {
		case isa.NEONDot:
			ls = append(ls, Loop{"SDOT", Int8, l.String(), 24 * 2 * 16, counted(sdot)})
		case isa.NEON:
			ls = append(ls, Loop{"SMLAL", Int8, l.String(), 24 * 2 * 4, counted(smlal)}, Loop{"FMLA", F32, l.String(), 24 * 2 * 4, counted(fmla)})
		}
	}
	return ls
}

func counted(f func(*loopArgs)) func(n int) { return func(n int) { f(&loopArgs{n: n}) } }

func read(b []byte) {
	readNEON(&loopArgs{n: len(b) &^ 511, p: unsafe.Pointer(unsafe.SliceData(b))})
}
