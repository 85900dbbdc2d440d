package f32

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/nasc-dev/nasc/backends/cpu/kernels/isa"
	"github.com/nasc-dev/nasc/internal/fmath"
)

// NormGradSpec is a batch norm in training form over Rows rows of C channels,
// or its gradient.
type NormGradSpec struct {
	Rows, C int
	Eps     float32
}

// NormArgs is the memory of a NormKernel; which fields it uses says its
// constructor.
type NormArgs struct {
	X, DY, Scale, Bias, Mean, Variance, Sums []byte
	Y, DScale, DBias                         []byte
}

// NormKernel is Kernel for operators with more operands.
type NormKernel struct {
	Part NormPart

	name  string
	tiles int
	run   func(lo, hi int, a *NormArgs)
}

// NormPart says what a part of a NormKernel's result needs of its operands X and DY.
type NormPart int

// The parts: all of them; the same row; NormRows rows, of which the result has a
// piece each.
const (
	NormWhole NormPart = iota
	NormByRow
	NormByBlock
)

// Name, Tiles, ScratchBytes and Run are those of Kernel.
func (k *NormKernel) Name() string                  { return k.name }
func (k *NormKernel) Tiles() int                    { return k.tiles }
func (k *NormKernel) ScratchBytes() int             { return 0 }
func (k *NormKernel) Run(lo, hi int, a *NormArgs)   { k.run(lo, hi, a) }
func (s NormGradSpec) blocks() int                  { return ceilDiv(s.Rows, NormRows) }
func (s NormGradSpec) rows(block int) int           { return min(NormRows, s.Rows-block*NormRows) }
func (s NormGradSpec) at(x []byte, b int) []float32 { return floats(x)[b*NormRows*s.C:] }
func (s NormGradSpec) SumsFloats() int              { return s.blocks() * 2 * s.C }
func (s NormGradSpec) named(what string, l isa.Level) string {
	return fmt.Sprintf("%s_f32_%dx%d_%s", what, s.Rows, s.C, l)
}

// NormRows is ir.NormRows: the rows of a partial sum.
const NormRows = 256

// normFuncs are the row functions of an instruction set; vecs counts vectors of
// lanes channels, steps are in bytes.
type normFuncs struct {
	lanes     int
	sums      func(sums, x, pivot *float32, rows, step, cstep, vecs int)
	gradSums  func(sums, x, dy, mean *float32, rows, step, cstep, vecs int)
	apply     func(y, x, f *float32, rows, step, cstep, vecs int)
	gradApply func(dx, x, dy, f *float32, rows, step, cstep, vecs int)
	clamp     func(dx, x, dy *float32, n int, lo, hi float32)
}

// whole is how many vectors of channels there are, and the first channel that
// is in none.
func (f *normFuncs) whole(c int) (vecs, rest int) {
	if f == nil {
		return 0, 0
	}
	return c / f.lanes, c / f.lanes * f.lanes
}

func (s NormGradSpec) check() error {
	if s.Rows < 1 || s.C < 1 {
		return specError("batch norm", fmt.Sprintf("%d rows of %d channels", s.Rows, s.C), "1 or more")
	}
	return nil
}

// NormSums prepares the sums of X − first row and of their squares: Y is
// [blocks,2,C], a block NormRows rows, each a chain (additions, FMAs) from +0.
func NormSums(s NormGradSpec, l isa.Level) (*NormKernel, error) {
	f := vectorNorm(l)
	return &NormKernel{NormWhole, s.named("norm_sums", l), s.blocks(), func(lo, hi int, a *NormArgs) {
		vecs, rest := f.whole(s.C)
		pivot := floats(a.X)
		for b := lo; b < hi; b++ {
			x, y := s.at(a.X, b), floats(a.Y)[b*2*s.C:][:2*s.C]
			if vecs > 0 {
				f.sums(&y[0], &x[0], &pivot[0], s.rows(b), s.C*4, s.C*4, vecs)
			}
			for c := rest; c < s.C; c++ {
				var sum, sq float32
				for r := range s.rows(b) {
					d := x[r*s.C+c] - pivot[c]
					sum += d
					sq = fmath.FMA32(d, d, sq)
				}
				y[c], y[s.C+c] = sum, sq
			}
		}
	}}, s.check()
}

// NormMoments prepares mean (Y) and biased variance (DScale) from X and Sums;
// the blocks are added in float64.
func NormMoments(s NormGradSpec, l isa.Level) (*NormKernel, error) {
	return &NormKernel{NormWhole, s.named("norm_moments", l), 1, func(_, _ int, a *NormArgs) {
		x, mean, variance := floats(a.X), floats(a.Y), floats(a.DScale)
		s.total(floats(a.Sums), func(c int, sum, sq float64) {
			m := sum / float64(s.Rows)
			mean[c] = float32(float64(x[c]) + m)
			variance[c] = float32(math.Max(0, sq/float64(s.Rows)-float64(m*m)))
		})
	}}, s.check()
}

// total adds the blocks' sums and gives them to f by channel.
func (s NormGradSpec) total(sums []float32, f func(c int, first, second float64)) {
	for c := range s.C {
		var a, b float64
		for i := range s.blocks() {
			a += float64(sums[i*2*s.C+c])
			b += float64(sums[i*2*s.C+s.C+c])
		}
		f(c, a, b)
	}
}

// NormFactors prepares (DScale, 3·C values) mean, rstd·scale and bias from
// Mean, Variance, Scale and Bias.
func NormFactors(s NormGradSpec, l isa.Level) (*NormKernel, error) {
	return &NormKernel{NormWhole, s.named("norm_factors", l), 1, func(_, _ int, a *NormArgs) {
		f := floats(a.Y)
		copy(f[:s.C], floats(a.Mean))
		scale, variance := floats(a.Scale), floats(a.Variance)
		for c := range s.C {
			f[s.C+c] = float32(fmath.Rstd(variance[c], s.Eps) * scale[c])
		}
		copy(f[2*s.C:], floats(a.Bias))
	}}, s.check()
}

// NormApply prepares Y = (X−mean)·(rstd·scale) + bias (FMA); Sums are
// NormFactors' values. Y may be X.
func NormApply(s NormGradSpec, l isa.Level) (*NormKernel, error) {
	fn := vectorNorm(l)
	return &NormKernel{NormByRow, s.named("norm_apply", l), s.blocks(), func(lo, hi int, a *NormArgs) {
		vecs, rest := fn.whole(s.C)
		f := floats(a.Sums)
		for b := lo; b < hi; b++ {
			x, y := s.at(a.X, b), s.at(a.Y, b)
			if vecs > 0 {
				fn.apply(&y[0], &x[0], &f[0], s.rows(b), s.C*4, s.C*4, vecs)
			}
			for c := rest; c < s.C; c++ {
				for i := c; i < s.rows(b)*s.C; i += s.C {
					y[i] = fmath.FMA32(x[i]-f[c], f[s.C+c], f[2*s.C+c])
				}
			}
		}
	}}, s.check()
}

// NormGradSums prepares the sums of DY and of DY·(X−Mean): Y is [blocks,2,C] as
// NormSums'.
func NormGradSums(s NormGradSpec, l isa.Level) (*NormKernel, error) {
	f := vectorNorm(l)
	return &NormKernel{NormByBlock, s.named("norm_grad_sums", l), s.blocks(), func(lo, hi int, a *NormArgs) {
		vecs, rest := f.whole(s.C)
		mean := floats(a.Mean)
		for b := lo; b < hi; b++ {
			x, dy, y := s.at(a.X, b), s.at(a.DY, b), floats(a.Y)[b*2*s.C:][:2*s.C]
			if vecs > 0 {
				f.gradSums(&y[0], &x[0], &dy[0], &mean[0], s.rows(b), s.C*4, s.C*4, vecs)
			}
			for c := rest; c < s.C; c++ {
				var sum, dot float32
				for i := c; i < s.rows(b)*s.C; i += s.C {
					sum += dy[i]
					dot = fmath.FMA32(dy[i], x[i]-mean[c], dot)
				}
				y[c], y[s.C+c] = sum, dot
			}
		}
	}}, s.check()
}

// NormGradFactors prepares DScale, DBias and (Y, 4·C values) mean, K1, A, K0 of
// dx = (x−mean)·K1 + (A·dy + K0) from Sums, Scale, Mean and Variance.
func NormGradFactors(s NormGradSpec, l isa.Level) (*NormKernel, error) {
	return &NormKernel{NormWhole, s.named("norm_grad_factors", l), 1, func(_, _ int, a *NormArgs) {
		f, ds, db := floats(a.Y), floats(a.DScale), floats(a.DBias)
		copy(f[:s.C], floats(a.Mean))
		scale, variance := floats(a.Scale), floats(a.Variance)
		s.total(floats(a.Sums), func(c int, sum, dot float64) {
			rstd := float64(fmath.Rstd(variance[c], s.Eps))
			factor, slope := float64(rstd*float64(scale[c])), float64(dot*rstd)
			ds[c], db[c] = float32(slope), float32(sum)
			f[s.C+c] = float32(-float64(float64(factor*rstd)*slope) / float64(s.Rows))
			f[2*s.C+c] = float32(factor)
			f[3*s.C+c] = float32(-float64(factor*sum) / float64(s.Rows))
		})
	}}, s.check()
}

// NormGradApply prepares Y = (X−mean)·K1 + (A·DY + K0); Sums are
// NormGradFactors' values. Y may be X or DY.
func NormGradApply(s NormGradSpec, l isa.Level) (*NormKernel, error) {
	fn := vectorNorm(l)
	return &NormKernel{NormByRow, s.named("norm_grad_apply", l), s.blocks(), func(lo, hi int, a *NormArgs) {
		vecs, rest := fn.whole(s.C)
		f := floats(a.Sums)
		for b := lo; b < hi; b++ {
			x, dy, y := s.at(a.X, b), s.at(a.DY, b), s.at(a.Y, b)
			if vecs > 0 {
				fn.gradApply(&y[0], &x[0], &dy[0], &f[0], s.rows(b), s.C*4, s.C*4, vecs)
			}
			for c := rest; c < s.C; c++ {
				for i := c; i < s.rows(b)*s.C; i += s.C {
					y[i] = fmath.FMA32(x[i]-f[c], f[s.C+c], fmath.FMA32(f[2*s.C+c], dy[i], f[3*s.C+c]))
				}
			}
		}
	}}, s.check()
}

// ClampGradSpec is N values: X2 where Min < X < Max, 0 elsewhere; Y may be
// either.
type ClampGradSpec struct {
	N        int
	Min, Max float32
}

// ClampGrad prepares the gradient of a clamp.
func ClampGrad(s ClampGradSpec, l isa.Level) (Kernel, error) {
	f := vectorNorm(l)
	if s.N < 1 {
		return nil, specError("clamp_grad", fmt.Sprintf("%d values", s.N), "1 or more")
	}
	return &op{name: fmt.Sprintf("clamp_grad_f32_%d_%s", s.N, l), tiles: ceilDiv(s.N, elementUnit), run: func(lo, hi int, a *Args) {
		i, end := lo*elementUnit, min(hi*elementUnit, s.N)
		x, dy, y := floats(a.X)[i:end], floats(a.X2)[i:end], floats(a.Y)[i:end]
		if f != nil {
			f.clamp(unsafe.SliceData(y), unsafe.SliceData(x), unsafe.SliceData(dy), len(y), s.Min, s.Max)
			return
		}
		for k, v := range x {
			if v > s.Min && v < s.Max {
				y[k] = dy[k]
			} else {
				y[k] = 0
			}
		}
	}}, nil
}
