package ir

import (
	"fmt"
	"math"
)

func evalConvWeightGrad(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, convWeightGradReal[float32], convWeightGradReal[float64])
}

// convWeightGradReal sums in the order of GradParts.
func convWeightGradReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	d := win.D2()
	x, dy := reals[T](in[0]), reals[T](in[1])
	batch, c := in[0].Shape[0], in[0].Shape[len(in[0].Shape)-1]
	k := in[1].Shape[len(in[1].Shape)-1]
	cg, kg := c/d.Groups, k/d.Groups
	out := NewTensor(in[0].DType, append(Shape(win.Kernel).Clone(), cg, k)...)
	y := out.Data.([]T)
	at := GradParts(batch, d.Out[0]*d.Out[1])
	parts := len(at) - 1
	size := len(y)
	sums := make([]T, parts*size)
	parallel(parts*d.Taps(), func(lo, hi int) {
		for u := lo; u < hi; u++ {
			part, tap := u/d.Taps(), u%d.Taps()
			ky, kx := tap/d.Kernel[1], tap%d.Kernel[1]
			acc := sums[part*size+tap*cg*k:][:cg*k]
			total := acc
			if cg == 1 && kg == 1 {
				acc = make([]T, k)
			}
			for b := at[part]; b < at[part+1]; b++ {
				for oy := range d.Out[0] {
					iy := oy*d.Stride[0] - d.Before[0] + ky*d.Dilation[0]
					for ox := range d.Out[1] {
						ix := ox*d.Stride[1] - d.Before[1] + kx*d.Dilation[1]
						if iy < 0 || iy >= d.In[0] || ix < 0 || ix >= d.In[1] {
							continue
						}
						px := x[((b*d.In[0]+iy)*d.In[1]+ix)*c:][:c]
						pg := dy[((b*d.Out[0]+oy)*d.Out[1]+ox)*k:][:k]
						if cg == 1 && kg == 1 {
							mulAdd(acc, px, pg)
							continue
						}
						for g := range d.Groups {
							for ci := range cg {
								axpy(acc[ci*k+g*kg:][:kg], px[g*cg+ci], pg[g*kg:(g+1)*kg])
							}
						}
					}
				}
				if cg == 1 && kg == 1 {
					for i, v := range acc {
						total[i] += v
					}
					clear(acc)
				}
			}
		}
	})
	line := make([]T, parts)
	for i := range y {
		for p := range line {
			line[p] = sums[p*size+i]
		}
		y[i] = sumReal(line)
	}
	return []*Tensor{out}, nil
}

func evalMaxPoolGrad(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, maxPoolGradReal[float32], maxPoolGradReal[float64])
}

func maxPoolGradReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	c := in[0].Shape[len(in[0].Shape)-1]
	out := NewTensor(in[0].DType, in[0].Shape...)
	x, dy, dx := reals[T](in[0]), reals[T](in[1]), out.Data.([]T)
	eachWindow(in[0].Shape[0], win, func(o int, taps []int) {
		for i, g := range dy[o*c : (o+1)*c] {
			best := taps[0]
			for _, t := range taps[1:] {
				if x[t*c+i] > x[best*c+i] {
					best = t
				}
			}
			dx[best*c+i] += g
		}
	})
	return []*Tensor{out}, nil
}

func evalAveragePoolGrad(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, averagePoolGradReal[float32], averagePoolGradReal[float64])
}

func averagePoolGradReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	win, shape, err := PooledWindowOf(n)
	if err != nil {
		return nil, err
	}
	c := shape[len(shape)-1]
	out := NewTensor(in[0].DType, shape...)
	dy, dx := reals[T](in[0]), out.Data.([]T)
	eachWindow(shape[0], win, func(o int, taps []int) {
		count := len(taps)
		if n.Bool("count_include_pad") {
			count = win.Taps()
		}
		share := inverse[T](max(count, 1))
		for i, g := range dy[o*c : (o+1)*c] {
			g = T(g * share)
			for _, t := range taps {
				dx[t*c+i] += g
			}
		}
	})
	return []*Tensor{out}, nil
}

func evalGatherGrad(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, gatherGradReal[float32], gatherGradReal[float64])
}

// gatherGradReal adds the slices in their order.
func gatherGradReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	shape := n.Outputs[0].Type.Shape
	axis, err := NormAxis(n.Int("axis"), len(shape))
	if err != nil {
		return nil, err
	}
	out := NewTensor(in[0].DType, shape...)
	dy, dx := reals[T](in[0]), out.Data.([]T)
	d, outer, inner := shape[axis], shape[:axis].Elems(), shape[axis+1:].Elems()
	idx := in[1].Ints()
	for o := range outer {
		for i, p := range idx {
			if p < 0 {
				p += d
			}
			if p < 0 || p >= d {
				return nil, fmt.Errorf("index %d is outside axis %d of extent %d", idx[i], axis, d)
			}
			to := dx[(o*d+p)*inner:][:inner]
			for j, g := range dy[(o*len(idx)+i)*inner:][:inner] {
				to[j] += g
			}
		}
	}
	return []*Tensor{out}, nil
}

func evalClampGrad(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, clampGradReal[float32], clampGradReal[float64])
}

func clampGradReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(in[1].DType, in[1].Shape...)
	x, dy, dx := reals[T](in[0]), reals[T](in[1]), out.Data.([]T)
	lo, hi := T(n.F32("min")), T(n.F32("max"))
	parallel((len(x)+4095)/4096, func(from, to int) {
		for i := from * 4096; i < min(to*4096, len(x)); i++ {
			if x[i] > lo && x[i] < hi {
				dx[i] = dy[i]
			}
		}
	})
	return []*Tensor{out}, nil
}

// NormRows is how many rows the sums of batch_norm_training and
// batch_norm_grad take in float32, one after the other; these partial sums are
// added in float64.
const NormRows = 256

// channelSums adds, per channel, what f gives for each element of rows: two
// numbers, the second as a product a·b that is added by FMA.
func channelSums[T real](rows, c int, f func(i, ch int) (s, a, b T)) (sum, dot []float64) {
	sum, dot = make([]float64, c), make([]float64, c)
	parallel(c, func(lo, hi int) {
		for ch := lo; ch < hi; ch++ {
			for r0 := 0; r0 < rows; r0 += NormRows {
				var s, p T
				for r := r0; r < min(r0+NormRows, rows); r++ {
					v, a, b := f(r*c+ch, ch)
					s += v
					p = fma(a, b, p)
				}
				sum[ch] += float64(s)
				dot[ch] += float64(p)
			}
		}
	})
	return sum, dot
}

func evalBatchNormTraining(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, batchNormTrainingReal[float32], batchNormTrainingReal[float64])
}

// batchNormTrainingReal measures from the first row, which loses no digits
// where the mean is far from zero.
func batchNormTrainingReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(in[0].DType, in[0].Shape...)
	x, y, scale, bias := reals[T](in[0]), out.Data.([]T), reals[T](in[1]), reals[T](in[2])
	c := len(scale)
	mean, variance := NewTensor(in[0].DType, c), NewTensor(in[0].DType, c)
	m, v := mean.Data.([]T), variance.Data.([]T)
	rows := len(x) / max(c, 1)
	if rows == 0 {
		return nil, fmt.Errorf("no rows to take a mean of")
	}
	sum, sq := channelSums(rows, c, func(i, ch int) (s, a, b T) {
		d := x[i] - x[ch]
		return d, d, d
	})
	for i := range m {
		mu, va := BatchMoments(sum[i], sq[i], rows)
		m[i], v[i] = T(float64(x[i])+mu), T(va)
	}
	for i := range y {
		ch := i % c
		y[i] = fma(x[i]-m[ch], T(rstdReal(v[ch], T(n.F32("epsilon")))*scale[ch]), bias[ch])
	}
	return []*Tensor{out, mean, variance}, nil
}

// BatchMoments gives mean and biased variance from the sum and the sum of
// squares.
func BatchMoments(sum, squares float64, rows int) (mean, variance float64) {
	mean = sum / float64(rows)
	return mean, math.Max(0, squares/float64(rows)-float64(mean*mean))
}

func evalBatchNormGrad(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, batchNormGradReal[float32], batchNormGradReal[float64])
}

func batchNormGradReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(in[0].DType, in[0].Shape...)
	x, dx, scale, mean, dy := reals[T](in[0]), out.Data.([]T), reals[T](in[1]), reals[T](in[2]), reals[T](in[4])
	c := len(scale)
	dscale, dbias := NewTensor(in[0].DType, c), NewTensor(in[0].DType, c)
	rows := len(x) / max(c, 1)
	if rows == 0 {
		return nil, fmt.Errorf("no rows to take a mean of")
	}
	sum, dot := channelSums(rows, c, func(i, ch int) (s, a, b T) { return dy[i], dy[i], x[i] - mean[ch] })
	a, k0, k1 := make([]T, c), make([]T, c), make([]T, c)
	variance := reals[T](in[3])
	for i := range a {
		r := rstdReal(variance[i], T(n.F32("epsilon")))
		f := BatchNormFactors(float64(r), float64(scale[i]), sum[i], dot[i], rows)
		dscale.Data.([]T)[i], dbias.Data.([]T)[i] = T(f.DScale), T(f.DBias)
		a[i], k0[i], k1[i] = T(f.A), T(f.K0), T(f.K1)
	}
	for i := range dx {
		ch := i % c
		dx[i] = fma(x[i]-mean[ch], k1[ch], fma(a[ch], dy[i], k0[ch]))
	}
	return []*Tensor{out, dscale, dbias}, nil
}

// NormFactors are one channel's part in batch_norm_grad:
// dx = (x−mean)·K1 + (A·dy + K0).
type NormFactors struct{ A, K0, K1, DScale, DBias float64 }

// BatchNormFactors finds them from 1/√(variance+epsilon), the scale, Σdy and
// Σdy·(x−mean).
func BatchNormFactors(rstd, scale, sum, dot float64, rows int) NormFactors {
	f := NormFactors{A: float64(rstd * scale), DScale: float64(dot * rstd), DBias: sum}
	f.K0 = -float64(f.A*sum) / float64(rows)
	f.K1 = -float64(float64(f.A*rstd)*f.DScale) / float64(rows)
	return f
}
