package int8

import (
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa/isatest"
)

// Products of one step and of a few, over one and several tiles, rows and blocks,
// clamped and not, with and without a residual.
func TestFewSteps(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		pairs := 0
		for seed := range uint64(150) {
			r := newRNG(seed)
			s := ConvSpec{N: r.in(1, 3), KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1, Groups: 1}
			s.C, s.K = []int{64, 64, 32, 17, 60, 128, 448}[r.IntN(7)], r.in(3, 10)*16
			if r.IntN(4) == 0 {
				s.SH, s.SW = 2, 2
			}
			s.OH, s.OW = r.in(1, 9), r.in(1, 40)
			if r.IntN(4) == 0 { // a window's rows are less than a step
				s.C, s.K, s.KH, s.KW, s.SH, s.SW = r.in(1, 4), 64, r.in(3, 7), r.in(5, 7), r.in(1, 2), r.in(1, 2)
			}
			s = r.finishConv(s)
			s.WZero = nil
			if r.IntN(4) != 0 {
				s.Table = nil
			}
			checkConv(t, r, s, l)
			k, err := Conv(s, l)
			if c, ok := must(t, k, err).(*op).weights.(*conv); ok && c.pairs != nil {
				pairs++
			}
		}
		if l == isa.AMX && isa.HasVBMI() && pairs < 3 {
			t.Errorf("%d convolutions took two rows at once", pairs)
		}
	})
}
