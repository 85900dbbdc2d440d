package cpu

import "github.com/nasc-dev/nasc/ir"

// work is what a step of the plan runs, cut in units that any number of
// threads may share: any partition gives the same bits. Run does not allocate.
type work interface {
	Name() string
	Tiles() int
	ScratchBytes() int
	Run(lo, hi int, c *call)
}

// args is the memory of a kernel call. It has the fields of the kernel
// packages' Args in their order: pointers to it are converted to theirs.
type args struct {
	X, X2, Y []byte
	Scratch  []byte
}

// call is the memory of one step: args for kernels of up to two operands and
// one result, and all operands, then all results, for the others.
type call struct {
	args
	ops [][]byte
}

// Rough speed of one core, for deciding whether a step is worth sharing.
const (
	bytesPerNS = 12.0
	// shareAbove is the estimated time of a step in ns above which other
	// threads are called in: handing over and waiting costs about 1 µs when
	// they are spinning, and some 5 µs when one has to be woken.
	shareAbove = 6000
)

func macsPerNS(d ir.DType, isa string) float64 {
	if d == ir.F32 {
		switch isa {
		case "portable":
			return 1
		case "avx2", "avxvnni":
			return 30
		}
		return 60
	}
	switch isa {
	case "portable":
		return 1
	case "avx2":
		return 60
	case "avxvnni":
		return 150
	}
	return 350
}
