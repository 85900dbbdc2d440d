package f32

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// naiveWinograd is the definition in ConvSpec's comment, one output tile and
// channel at a time.
func naiveWinograd(s ConvSpec, x, res []float32) []float32 {
	m := s.Winograd
	side := fmath.WinogradSide(m)
	places := side * side
	u := make([]float32, places*s.C*s.K)
	g, t := make([]float64, 9), make([]float64, places)
	for i := range s.C * s.K {
		for k := range g {
			g[k] = float64(s.Weights[k*s.C*s.K+i])
		}
		fmath.WinogradWeights(m, t, g)
		for p, v := range t {
			u[p*s.C*s.K+i] = float32(v)
		}
	}
	y := make([]float32, s.N*s.OH*s.OW*s.K)
	pixels, v := make([]float32, places), make([]float32, places*s.C)
	acc, out := make([]float32, places), make([]float32, m*m)
	for n := range s.N {
		for oy := 0; oy < s.OH; oy += m {
			for ox := 0; ox < s.OW; ox += m {
				for c := range s.C {
					for p := range pixels {
						iy, ix := oy+p/side-s.PT, ox+p%side-s.PL
						pixels[p] = 0
						if iy >= 0 && iy < s.H && ix >= 0 && ix < s.W {
							pixels[p] = x[((n*s.H+iy)*s.W+ix)*s.C+c]
						}
					}
					fmath.WinogradInput(m, v[c*places:], pixels)
				}
				for k := range s.K {
					for p := range acc {
						acc[p] = 0
						for c := range s.C {
							acc[p] = fmath.FMA32(v[c*places+p], u[(p*s.C+c)*s.K+k], acc[p])
						}
					}
					fmath.WinogradOutput(m, out, acc)
					for p, r := range out {
						if oy+p/m < s.OH && ox+p%m < s.OW {
							i := ((n*s.OH+oy+p/m)*s.OW+ox+p%m)*s.K + k
							y[i] = finishNaive(r, k, i, s.Bias, res, s.Act)
						}
					}
				}
			}
		}
	}
	return y
}

func randWinograd(r *rand.Rand) ConvSpec {
	one := func(n int) int { return 1 + r.IntN(n) }
	s := ConvSpec{N: one(2), H: one(20), W: one(24), C: one(70), K: one(80), KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, Groups: 1, Winograd: 2 + 2*r.IntN(2)}
	if r.IntN(12) == 0 { // several chunks of k, lines that share cache sets
		s.C, s.H, s.W = 512*one(2), one(8), one(8)
	}
	if r.IntN(24) == 0 { // a row of tiles that is several bands
		s.C, s.H, s.W, s.K = 256, one(3), 150+one(150), one(8)
	}
	s.PT, s.PL = r.IntN(3), r.IntN(3)
	s.OH, s.OW = max(1, s.H+s.PT+r.IntN(3)-2), max(1, s.W+s.PL+r.IntN(3)-2)
	s.Weights = randFloats(r, 9*s.C*s.K)
	if r.IntN(4) > 0 {
		s.Bias = randFloats(r, s.K)
	}
	s.Act, s.Residual = randAct(r), r.IntN(2) == 0
	if r.IntN(8) == 0 {
		s.Act.Affine, s.Act.Scale, s.Act.Shift = true, 0.5, 1
	}
	return s
}

// Every level gives the bits of the definition: both widths of tiles, images that
// tiles do not fill, any padding, residuals and activations.
func TestWinograd(t *testing.T) {
	for seed := range uint64(160) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := randWinograd(r)
		x := randFloats(r, s.N*s.H*s.W*s.C)
		if seed%8 == 0 { // infinities, NaN, the smallest and the largest
			copy(x[r.IntN(len(x)):], withSpecials(make([]float32, 14)))
		}
		var res []float32
		if s.Residual {
			res = randFloats(r, s.N*s.OH*s.OW*s.K)
		}
		want := naiveWinograd(s, x, res)
		if s.Act.Affine {
			for i := range want {
				want[i] = float32(want[i]*s.Act.Scale) + s.Act.Shift
			}
		}
		for _, l := range isa.Available() {
			k, err := Conv(s, l)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(k.Name(), "_winograd") {
				t.Fatalf("%s does not say winograd", k.Name())
			}
			sameBits(t, k.Name(), runKernel(t, r, k, len(want), x, res), want)
		}
	}
}

// The error against the exact result is float32's: F(2×2, 3×3) has less than the
// chain, F(4×4, 3×3) at most three times as much.
func TestWinogradError(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for _, c := range []int{64, 256} {
		s := ConvSpec{N: 1, H: 14, W: 14, C: c, OH: 14, OW: 14, K: 32, KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, PT: 1, PL: 1, Groups: 1}
		s.Weights = randFloats(r, 9*s.C*s.K)
		x := randFloats(r, s.H*s.W*s.C)
		exact := make([]float64, s.OH*s.OW*s.K)
		for i := range exact {
			k, ow, oh := i%s.K, i/s.K%s.OW, i/s.K/s.OW
			for kh := range 3 {
				for kw := range 3 {
					if ih, iw := oh+kh-1, ow+kw-1; ih >= 0 && ih < s.H && iw >= 0 && iw < s.W {
						for ch := range s.C {
							exact[i] += float64(x[(ih*s.W+iw)*s.C+ch]) * float64(s.Weights[((kh*3+kw)*s.C+ch)*s.K+k])
						}
					}
				}
			}
		}
		rms := map[int]float64{}
		for _, m := range []int{0, 2, 4} {
			s.Winograd = m
			k, err := Conv(s, isa.Available()[0])
			if err != nil {
				t.Fatal(err)
			}
			sum, all := 0.0, 0.0
			for i, v := range runKernel(t, r, k, len(exact), x, nil) {
				sum += (float64(v) - exact[i]) * (float64(v) - exact[i])
				all += exact[i] * exact[i]
			}
			rms[m] = math.Sqrt(sum / all)
		}
		t.Logf("%d channels: error %.2g of the chain, %.2g of F(2×2, 3×3), %.2g of F(4×4, 3×3)", c, rms[0], rms[2], rms[4])
		if rms[2] > rms[0] || rms[4] > 3*rms[0] {
			t.Errorf("%d channels: error %v by width of tiles", c, rms)
		}
	}
}

func TestWinogradRefuses(t *testing.T) {
	for _, change := range []func(*ConvSpec){
		func(s *ConvSpec) { s.Winograd = 3 },
		func(s *ConvSpec) { s.SH = 2 },
		func(s *ConvSpec) { s.DW = 2 },
		func(s *ConvSpec) { s.KH, s.KW = 9, 1 },
		func(s *ConvSpec) { s.Groups, s.Weights = 4, s.Weights[:9] },
	} {
		s := ConvSpec{N: 1, H: 8, W: 8, C: 4, OH: 3, OW: 3, K: 1, KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, Groups: 1, Weights: make([]float32, 36), Winograd: 4}
		if change(&s); s.Groups == 4 {
			s.K, s.Weights = 4, make([]float32, 36)
		}
		if k, err := Conv(s, isa.Portable); err == nil {
			t.Errorf("%s was made", k.Name())
		}
	}
}

func BenchmarkWinograd(b *testing.B) {
	benchLevels(b, func(b *testing.B, l isa.Level) {
		for _, c := range [][3]int{{224, 16, 16}, {112, 32, 32}, {56, 64, 64}, {56, 32, 32}, {32, 16, 16}, {28, 128, 128}, {28, 64, 64}, {14, 256, 256}, {14, 128, 128}, {7, 512, 512}, {7, 256, 256}} {
			h := c[0]
			for _, m := range []int{0, 2, 4} {
				s := ConvSpec{N: 1, H: h, W: h, C: c[1], OH: h, OW: h, K: c[2], KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, PT: 1, PL: 1, Groups: 1, Winograd: m}
				s.Weights = randFloats(rand.New(rand.NewPCG(1, 1)), 9*c[1]*c[2])
				name := []string{"direct", "", "F2", "", "F4"}[m]
				b.Run(strings.Join([]string{s.dims(), name}, "/"), func(b *testing.B) {
					k, err := Conv(s, l)
					if err != nil {
						b.Fatal(err)
					}
					benchKernel(b, k, h*h*c[1], 0, h*h*c[2], 2*float64(h*h*9*c[1]*c[2]))
				})
			}
		}
	})
}
