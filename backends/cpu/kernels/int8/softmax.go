package int8

import (
	"fmt"
	"math"
	"slices"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// SoftmaxSpec is q_softmax of Rows rows of K values: e = Table[max−x],
// r = Factor/float32(Σe), then Out of e with r.
type SoftmaxSpec struct {
	Rows, K int
	XSigned bool
	Table   []int32 // 256 entries
	Factor  float32
	Out     Out
}

// softmaxArgs is what the softmax kernels need. gen/ knows this layout.
type softmaxArgs struct {
	factor, lo, hi float32
	zero           int32
	flip           uint32
}

// Softmax prepares a q_softmax. For 8-bit results Y may be X.
func Softmax(s SoftmaxSpec, l isa.Level) (Kernel, error) {
	const name = "q_softmax"
	if err := positive(name, s.Rows, s.K); err != nil {
		return nil, err
	}
	if err := s.Out.check(name); err != nil {
		return nil, err
	}
	if len(s.Table) != 256 {
		return nil, specError(name, fmt.Sprintf("a table of %d", len(s.Table)), "256")
	}
	if s.Table[0] < 1 || slices.Min(s.Table) < 0 || int64(slices.Max(s.Table))*int64(s.K) > math.MaxInt32 {
		return nil, specError(name, "exponentials that are negative or sum to 2^31 or more", "table[0] > 0, and %d times the greatest below 2^31", s.K)
	}
	o := s.Out.full()
	flip := xored(s.XSigned)
	// As in matrix products: lookups by the value itself would do as well, but
	// the difference to the maximum keeps the table's entries large.
	table := aligned[int32](256)
	copy(table, s.Table)
	lo, hi := o.bounds()
	row := func(y, x []byte) {
		top := uint8(0)
		for _, v := range x {
			top = max(top, v^flip)
		}
		var sum int32
		for _, v := range x {
			sum += table[top-v^flip]
		}
		r := s.Factor / float32(sum)
		switch o.DType {
		case F32:
			f := words[float32](y)
			for i, v := range x {
				f[i] = float32(table[top-v^flip]) * r
			}
		case I32:
			f := words[int32](y)
			for i, v := range x {
				f[i] = table[top-v^flip]
			}
		default:
			for i, v := range x {
				y[i] = uint8(requant(float32(float32(table[top-v^flip])*r), lo, hi, o.Zero))
			}
		}
	}
	per := max(1, 8192/s.K)
	units := ceilDiv(s.Rows, per)
	size := o.DType.bytes()
	return &op{name: name, tiles: units, cost: float64(s.Rows*s.K) / float64(units), run: func(u0, u1 int, a *Args) {
		for r := u0 * per; r < min(u1*per, s.Rows); r++ {
			row(a.Y[r*s.K*size:][:s.K*size], a.X[r*s.K:][:s.K])
		}
	}}, nil
}
