package cpu

import (
	"github.com/nasc-dev/nasc/backends/cpu/kernels/f32"
	q8 "github.com/nasc-dev/nasc/backends/cpu/kernels/int8"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/plain"
)

// work is what a step of the plan runs, cut in units that any number of
// threads may share: any partition gives the same bits. Run does not allocate.
type work interface {
	Name() string
	Tiles() int
	ScratchBytes() int
	Run(lo, hi int, c *call)
}

// checker is implemented by work that must look at its operands before it may
// run, such as indices that could lie outside a tensor.
type checker interface {
	check(c *call) error
}

// args is the memory of a kernel call. It has the fields of the kernel
// packages' Args in their order: pointers to it are converted to theirs.
type args struct {
	X, X2, Y []byte
	Scratch  []byte
}

// call is the memory of one step: args, and what its scratch memory holds, for
// kernels of up to two operands and one result, and all operands, then all
// results, for the others.
type call struct {
	args
	held      int // what a kernel's earlier call left in the scratch memory, as its package counts it
	int8      q8.Args
	f32       f32.Args
	ops       [][]byte
	attention f32.AttentionArgs // made of the above for kernels with more operands
	attend    q8.AttendArgs
	plain     plain.Args
	recurrent f32.RecurrentArgs
	norm      f32.NormArgs
	rows      q8.NormArgs
}

func (c *call) f32Args() f32.Args {
	return f32.Args{X: c.X, X2: c.X2, Y: c.Y, Scratch: c.Scratch, Held: c.held}
}

func (c *call) int8Args() q8.Args {
	return q8.Args{X: c.X, X2: c.X2, Y: c.Y, Scratch: c.Scratch, Held: c.held}
}

// Rough speed of one core, for deciding whether a step is worth sharing.
const (
	bytesPerNS = 12.0
	// shareAbove is the estimated time of a step in ns above which other
	// threads are called in: handing over and waiting costs about 1 µs when
	// they are spinning, and some 5 µs when one has to be woken.
	shareAbove = 3000
)

// macsPerNS is the speed of float contractions; integer kernels say themselves
// what a unit costs.
func macsPerNS(l isa.Level) float64 {
	switch {
	case l == isa.Portable:
		return 1
	case l.Has(isa.VNNI):
		return 80
	}
	return 40
}
