package f32

import (
	"fmt"
	"math"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// FakeSpec is a fake_quantize, or its gradient, of Rows rows of C channels.
type FakeSpec struct {
	Rows, C    int
	QMin, QMax int
	Floor      bool
	PerChannel bool // a factor a channel; else one
}

// FakeRows is ir.FakeRows: the rows of a partial sum.
const FakeRows = 256

// fakeFuncs are the row functions of an instruction set, for whole vectors of
// lanes channels; steps are in bytes.
type fakeFuncs struct {
	lanes    int
	quantize func(y, x, f *float32, rows, step, cstep, vecs int, lo, hi float32)
	grad     func(dx, sums, x, dy, f *float32, rows, step, cstep, vecs int, lo, hi, under float32)
}

func (s FakeSpec) blocks() int { return ceilDiv(s.Rows, FakeRows) }

func (s FakeSpec) rows(block int) int { return min(FakeRows, s.Rows-block*FakeRows) }

func (s FakeSpec) at(x []byte, block int) []float32 { return floats(x)[block*FakeRows*s.C:] }

// FactorFloats is the size of what FakeFactors writes, SumsFloats that of
// FakeGrad's sums.
func (s FakeSpec) FactorFloats() int { return s.C + 4 }

// SumsFloats is the size of FakeGrad's sums.
func (s FakeSpec) SumsFloats() int { return s.blocks() * 2 * s.C }

func (s FakeSpec) named(what string, l isa.Level) string {
	return fmt.Sprintf("%s_f32_%dx%d_%s", what, s.Rows, s.C, l)
}

func (s FakeSpec) check() error {
	if s.Rows < 1 || s.C < 1 || s.QMin >= s.QMax {
		return specError("fake_quantize", fmt.Sprintf("%d rows of %d channels, levels %d to %d", s.Rows, s.C, s.QMin, s.QMax), "1 or more, and two levels")
	}
	return nil
}

// FakeFactors prepares Y: the factor (Scale) of each channel, then the clamp's
// ends, the least product inside for the gradient, and the end below which
// the zero point has one, by the zero point in Bias.
func FakeFactors(s FakeSpec, l isa.Level) (*NormKernel, error) {
	return &NormKernel{NormWhole, s.named("fake_factors", l), 1, func(_, _ int, a *NormArgs) {
		y, f := floats(a.Y), floats(a.Scale)
		for c := range s.C {
			y[c] = f[0]
			if s.PerChannel {
				y[c] = f[c]
			}
		}
		qmin, qmax := float64(s.QMin), float64(s.QMax)
		z := 0.0
		if a.Bias != nil {
			z = float64(floats(a.Bias)[0])
		}
		z = math.RoundToEven(min(max(z, qmin), qmax))
		e := y[s.C:]
		e[0], e[1] = float32(qmin-z), float32(qmax-z)
		e[2], e[3] = e[0], e[0]
		if s.Floor {
			e[0], e[2], e[3] = 0, math.SmallestNonzeroFloat32, float32(math.Inf(-1))
		}
	}}, s.check()
}

// FakeQuantize prepares Y from X and FakeFactors' values in Sums; Y may be X.
func FakeQuantize(s FakeSpec, l isa.Level) (*NormKernel, error) {
	fs := vectorFakes(l)
	return &NormKernel{NormWhole, s.named("fake_quantize", l), s.blocks(), func(first, last int, a *NormArgs) {
		f := floats(a.Sums)
		lo, hi := f[s.C], f[s.C+1]
		for b := first; b < last; b++ {
			x, y := s.at(a.X, b), s.at(a.Y, b)
			from := 0
			for _, fn := range fs {
				if vecs := (s.C - from) / fn.lanes; vecs > 0 {
					fn.quantize(&y[from], &x[from], &f[from], s.rows(b), s.C*4, s.C*4, vecs, lo, hi)
					from += vecs * fn.lanes
				}
			}
			for c := from; c < s.C; c++ {
				for i := c; i < s.rows(b)*s.C; i += s.C {
					y[i] = fakeOne(x[i]*f[c], lo, hi)
				}
			}
		}
	}}, s.check()
}

// fakeOne clamps and rounds; NaN gives 0, and 0 is positive. The bounds lie
// within ±2^22, where adding 1.5·2^23 rounds to even.
func fakeOne(v, lo, hi float32) float32 {
	const magic = 3 << 22
	switch {
	case v != v:
		return 0
	case v < lo:
		v = lo
	case v > hi:
		v = hi
	}
	return float32(v+magic) - magic
}

// FakeGrad prepares Y = DY·factor where X·factor lies inside, and DScale, the
// sums [blocks,2,C] of what the zero point and the factor get, from X, DY and
// FakeFactors' values in Sums; Y may be X or DY.
func FakeGrad(s FakeSpec, l isa.Level) (*NormKernel, error) {
	fs := vectorFakes(l)
	return &NormKernel{NormWhole, s.named("fake_quantize_grad", l), s.blocks(), func(first, last int, a *NormArgs) {
		f := floats(a.Sums)
		lo, hi, under := f[s.C+2], f[s.C+1], f[s.C+3]
		for b := first; b < last; b++ {
			x, dy, dx, sums := s.at(a.X, b), s.at(a.DY, b), s.at(a.Y, b), floats(a.DScale)[b*2*s.C:][:2*s.C]
			from := 0
			for _, fn := range fs {
				if vecs := (s.C - from) / fn.lanes; vecs > 0 {
					fn.grad(&dx[from], &sums[from], &x[from], &dy[from], &f[from], s.rows(b), s.C*4, s.C*4, vecs, lo, hi, under)
					from += vecs * fn.lanes
				}
			}
			for c := from; c < s.C; c++ {
				var zero, factor float32
				for i := c; i < s.rows(b)*s.C; i += s.C {
					xv, d := x[i], dy[i]
					switch v := float32(xv * f[c]); {
					case v > hi || v < under:
						zero -= d
						dx[i] = 0
					case v >= lo:
						dx[i] = float32(d*f[c]) + 0 // no −0, as where the mask is 0
						factor = fmath.FMA32(d, xv, factor)
					default:
						dx[i] = 0
					}
				}
				sums[c], sums[s.C+c] = zero, factor
			}
		}
	}}, s.check()
}

// FakeTotals prepares DScale, the factors' gradient, and DBias, the zero
// point's, from FakeGrad's sums in Sums, added in float64.
func FakeTotals(s FakeSpec, l isa.Level) (*NormKernel, error) {
	return &NormKernel{NormWhole, s.named("fake_totals", l), 1, func(_, _ int, a *NormArgs) {
		sums, df := floats(a.Sums), floats(a.DScale)
		var zero, factor float64
		for c := range s.C {
			var z, f float64
			for b := range s.blocks() {
				z += float64(sums[b*2*s.C+c])
				f += float64(sums[b*2*s.C+s.C+c])
			}
			zero, factor = zero+z, factor+f
			if s.PerChannel {
				df[c] = float32(f)
			}
		}
		if !s.PerChannel {
			df[0] = float32(factor)
		}
		floats(a.DBias)[0] = float32(zero)
	}}, s.check()
}
