package quant

import (
	"math"
	"math/bits"

	"github.com/nasc-dev/nasc/ir"
)

// ExpTable builds q_softmax's table: entry d is e^(−d·scale) as an integer.
// Sums of k entries stay within 2^30.
func ExpTable(scale float32, k int) *ir.Tensor {
	t := ir.NewTensor(ir.I32, 256)
	one := math.Ldexp(1, 30-bits.Len(uint(max(k, 1))))
	for d := range 256 {
		t.Set(d, math.Exp(-float64(d)*float64(scale))*one)
	}
	return t
}
