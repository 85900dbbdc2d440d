package int8

import (
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa/isatest"
)

// Several pictures, taken together where there are tile registers: numbers of
// pictures that fill one or two groups, odd numbers of pixels, several bands.
func TestPictures(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		together := 0
		for seed := range uint64(50) {
			r := newRNG(seed)
			s := ConvSpec{N: r.in(9, 33), KH: r.in(1, 3), KW: r.in(1, 3), SH: r.in(1, 2), SW: r.in(1, 2), DH: 1, DW: r.in(1, 2), Groups: 1}
			s.C, s.K, s.OH, s.OW = 64*r.in(1, 2), 32*r.in(1, 2), r.in(1, 5), r.in(1, 5)
			if seed == 0 { // more than a band
				s.N, s.C, s.OH, s.OW, s.SH, s.SW = 16, 128, 17, 18, 1, 1
				s.KH, s.KW, s.K = 2, 2, 32
			}
			s = r.finishConv(s)
			s.WZero = nil
			if r.IntN(3) != 0 {
				s.Table = nil
			}
			if s.Out.DType > S8 || r.IntN(8) != 0 {
				s.Out.DType, s.Table = s.Out.DType&1, nil
				if s.Mult == nil {
					s.Mult = repeat(1e-3, s.K)
				}
			}
			checkConv(t, r, s, l)
			k, err := Conv(s, l)
			if c, ok := must(t, k, err).(*op).weights.(*conv); ok && c.pictures != nil {
				together++
			}
		}
		if l == isa.AMX && together < 15 {
			t.Errorf("%d convolutions took their pictures together", together)
		}
	})
}
