package int8

import (
	"math"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
)

// Every row of the table of transforms by random convolutions, asked for by name
// where the sizes alone would not choose it.
func TestWinograd(t *testing.T) {
	for _, kern := range winogradKernels {
		if !kern.runs() {
			t.Logf("%s: not on this machine", kern.name)
			continue
		}
		t.Run(kern.name, func(t *testing.T) {
			for seed := range uint64(200) {
				r := newRNG(seed)
				s := ConvSpec{N: r.in(1, 2), C: 16 * r.in(1, 5), K: r.in(1, 70), KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, Groups: 1}
				if seed%4 == 0 { // several bands
					s.C, s.OH, s.OW = 128, r.in(1, 40), r.in(1, 40)
				}
				s = r.finishConv(s)
				s.Kernel = kern.name
				checkConv(t, r, s, kern.level)
				k, err := Conv(s, kern.level)
				if must(t, k, err); !strings.HasSuffix(k.Name(), kern.name) {
					t.Fatalf("%s was asked for, it is %s", kern.name, k.Name())
				}
			}
		})
	}
}

// The greatest sums there are: pixels and weights at their ends, of the same sign
// everywhere and of both in turns, and zero points that double them.
func TestWinogradEnds(t *testing.T) {
	for _, kern := range winogradKernels {
		if !kern.runs() {
			continue
		}
		r := newRNG(2)
		for i := range 16 {
			s := ConvSpec{N: 1, H: 6, W: 5, C: 256, OH: 6, OW: 5, K: 3, KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, PT: 1, PL: 1, Groups: 1, Kernel: kern.name}
			s.Bias = []int32{math.MaxInt32 - 255*255*9*256, 0, 0}
			s.Out.DType = I32
			s.Weights = make([]int8, 9*s.C*s.K)
			low, high := int8(-128), int8(127)
			for j := range s.Weights {
				s.Weights[j] = [2]int8{low, high}[[]int{0, 1, j % 2, r.IntN(2)}[i%4]]
			}
			if i/4%2 == 1 {
				s.WZero = []int32{127, -128, 127}
			}
			x := make([]byte, s.H*s.W*s.C)
			for j := range x {
				x[j] = []byte{0, 255}[[]int{0, 1, j % 2, r.IntN(2)}[(i+i/4)%4]]
			}
			s.XZero = []int32{0, 255}[i/8]
			want := refConv(s, x, nil)
			k, err := Conv(s, kern.level)
			compare(t, kern.name, runAll(t, r, must(t, k, err), x, nil, len(want)), want, i)
		}
	}
}

// Sums that four times would not fit are left to other kernels.
func TestWinogradBound(t *testing.T) {
	s := ConvSpec{N: 1, H: 4, W: 4, C: 16, OH: 4, OW: 4, K: 16, KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, PT: 1, PL: 1, Groups: 1}
	if len(winogradKernels) > 0 && winogradOf(&s, isa.AVX2) == nil {
		t.Error("none for 16 channels")
	}
	s.C = 1024
	if winogradOf(&s, isa.AVX2) != nil {
		t.Error("1024 channels could leave 32 bits")
	}
}
