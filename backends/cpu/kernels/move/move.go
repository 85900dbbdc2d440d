// Package move holds the CPU engine's operators that move bytes without
// arithmetic: strided copies (slices, broadcasts, transpositions, parts of
// concatenations), fills and gathers. Like the other kernel packages each is
// prepared once from a plain specification, run in units, and does not
// allocate. It knows no graphs and may import kernels/isa and the standard
// library only.
package move

import "unsafe"

//go:generate go run ./gen/neon

// Args is the memory of one run; X2 holds the indices of a gather.
type Args struct {
	X, X2, Y []byte
	Scratch  []byte
}

// Kernel is a prepared operator. Run computes units [lo, hi); any partition
// among workers gives the same result.
type Kernel interface {
	Tiles() int
	ScratchBytes() int
	Run(lo, hi int, a *Args)
	Name() string
}

// Checker is implemented by operators that must look at their operands before
// they may run.
type Checker interface{ Check(a *Args) error }

// elems reads memory as elements.
func elems[E any](b []byte) []E {
	var e E
	if len(b) == 0 {
		return nil
	}
	return unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(e)))
}
