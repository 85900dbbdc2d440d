package int8

import (
	"math"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa/isatest"
)

// Everything that a matrix kernel makes of its sums, for tiles of all heights, whole
// and partial blocks, results that are mostly clamped and ones that are not.
func TestFinishings(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		var seen [toFloats + 1]int
		for seed := range uint64(400) {
			r := newRNG(seed)
			k, n := []int{4, 8, 64, 100, 400}[r.IntN(5)], []int{r.in(1, 48), r.in(49, 140)}[r.IntN(2)]
			s := ConvSpec{
				N: 1, H: 1, W: r.in(1, 70), C: k, K: n, KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1, Groups: 1, OH: 1,
				XSigned: r.bool(), XZero: int32(r.in(0, 100)), Weights: r.int8s(k * n), Mult: make([]float32, n),
			}
			s.OW = s.W
			scale := math.Exp2(r.Float64()*16 - 14)
			for i := range s.Mult {
				s.Mult[i] = float32(scale * (0.5 + r.Float64()))
			}
			res := func() *Residual {
				return &Residual{Signed: r.bool(), Zero: int32(r.in(0, 127)), A: int32(r.in(1, 1<<14)), B: int32(r.in(1, 1<<14)), Mult: float32(math.Exp2(-r.Float64() * 16)), Out: r.out(2)}
			}
			kind := finishing(seed % uint64(len(seen)))
			switch kind {
			case keepSums:
				s.Out = Out{DType: I32}
			case packBytes, addBytes:
				s.Out = r.out(2)
			case packWhole:
				if s.Out.DType = DType(r.IntN(2)); s.Out.DType == S8 {
					s.Out.Zero = r.zero(true)
				} else {
					s.Out.Zero = int32(r.in(1, 255))
				}
			case addPlain:
				s.Out = r.out(2)
			case packLookedUp:
				s.Out, s.Table = r.out(2), r.table()
			case toFloats:
				s.Out = Out{DType: F32}
			}
			switch kind {
			case addBytes:
				s.Residual = res()
			case addPlain:
				s.Residual = res()
				s.Residual.Signed, s.Residual.Out = false, Out{}
			}
			checkConv(t, r, s, l)
			made, err := Conv(s, l)
			if c, ok := must(t, made, err).(*op).weights.(*conv); ok && c.k.level == l && c.k.more {
				if got := c.k.finishing(&c.fin, s.Residual != nil); got == kind {
					seen[kind]++
				}
			}
		}
		for kind, n := range seen {
			kind := finishing(kind)
			used := l == isa.VNNI || l == isa.AMX && (kind == toFloats || kind == packLookedUp)
			if used && n < 5 && (isa.HasVBMI() || kind != packLookedUp) {
				t.Errorf("finishing %d was tried %d times", kind, n)
			}
		}
	})
}
