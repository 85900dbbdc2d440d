package int8

import (
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa/isatest"
)

// Lines of 3×3 windows at every edge: one column and many, padding on each side
// or none, channels that leave a rest, extreme bytes and weights.
func TestDepthwiseLines(t *testing.T) {
	isatest.Levels(t, func(t *testing.T, l isa.Level) {
		lines := 0
		for seed := range uint64(200) {
			r := newRNG(seed)
			c := r.in(64, 200)
			stride := r.in(1, 2)
			s := r.finishConv(ConvSpec{N: r.in(1, 2), C: c, K: c, Groups: c, KH: 3, KW: 3, SH: stride, SW: stride, DH: 1, DW: 1})
			s.XSigned, s.WZero, s.Residual = false, nil, nil
			s.XZero = int32(r.in(0, 255))
			s.PT, s.PL = r.in(0, 2), r.in(0, 1)
			s.H, s.W = r.in(1, 12), r.in(3-s.PL, 21)
			s.OH = (s.H+s.PT+r.in(0, 1)-3)/stride + 1
			right := r.in(0, 1)
			s.OW = (s.W+s.PL+right-3)/stride + 1
			if s.OH < 1 || s.OW < 1 || s.H+s.PT < 3 || s.W+s.PL+right < 3 {
				continue
			}
			x := r.bytes(s.N * s.H * s.W * s.C)
			k, err := Conv(s, l)
			must(t, k, err)
			if strings.Contains(k.Name(), "line") {
				lines++
			}
			want := refConv(s, x, nil)
			brief := s
			brief.Weights, brief.Bias, brief.Mult, brief.Table = nil, nil, nil, nil
			compare(t, k.Name(), runAll(t, r, k, x, nil, len(want)), want, brief)
		}
		if l.Has(isa.VNNI) && lines < 40 {
			t.Errorf("%d of the cases took a kernel of lines", lines)
		}
	})
}
