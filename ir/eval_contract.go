package ir

import "github.com/nasc-dev/nasc/internal/fmath"

// axpy adds x·w to acc, each product and sum rounded once (FMA).
func axpy[T real](acc []T, x T, w []T) {
	if a, ok := any(acc).([]float32); ok {
		fmath.Axpy(a, float32(x), any(w).([]float32))
		return
	}
	w = w[:len(acc)]
	for i := range acc {
		acc[i] += x * w[i]
	}
}

// mulAdd adds x·w to acc elementwise (FMA).
func mulAdd[T real](acc, x, w []T) {
	if a, ok := any(acc).([]float32); ok {
		fmath.MulAdd(a, any(x).([]float32), any(w).([]float32))
		return
	}
	for i := range acc {
		acc[i] += x[i] * w[i]
	}
}

// finisher adds the bias and applies the activation attribute to a row of
// output channels; without a bias it adds +0, so that −0 never comes out.
func finisher[T real](n *Node, bias []T) func(acc []T) {
	kind := ""
	if n.Op.Attr("activation") != nil {
		kind = n.Str("activation")
	}
	lo, hi := T(0), T(0)
	if kind == "clamp" {
		lo, hi = T(n.F32("act_min")), T(n.F32("act_max"))
	}
	return func(acc []T) {
		for i, a := range acc {
			if bias != nil {
				a += bias[i]
			} else {
				a += 0
			}
			switch kind {
			case "relu":
				a = T(relu64(float64(a)))
			case "clamp":
				a = T(clamp64(float64(a), float64(lo), float64(hi)))
			}
			acc[i] = a
		}
	}
}

func evalConvolution(n *Node, in []*Tensor) ([]*Tensor, error) {
	if n.Int("winograd") != 0 {
		return evalReal(n, in, winogradReal[float32], winogradReal[float64])
	}
	return evalReal(n, in, convReal[float32], convReal[float64])
}

// convReal: one chain of FMAs per output in the order (kh, kw, ci), from +0.
func convReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	d := win.D2()
	x, w := reals[T](in[0]), reals[T](in[1])
	batch, c := in[0].Shape[0], in[0].Shape[len(in[0].Shape)-1]
	k := in[1].Shape[len(in[1].Shape)-1]
	out := NewTensor(in[0].DType, win.outShape(batch, k)...)
	y := out.Data.([]T)
	finish := finisher(n, reals[T](in[2]))
	cg, kg := c/d.Groups, k/d.Groups
	parallel(batch*d.Out[0], func(lo, hi int) {
		for row := lo; row < hi; row++ {
			b, oy := row/d.Out[0], row%d.Out[0]
			for ox := range d.Out[1] {
				acc := y[(row*d.Out[1]+ox)*k:][:k]
				for ky := range d.Kernel[0] {
					iy := oy*d.Stride[0] - d.Before[0] + ky*d.Dilation[0]
					if iy < 0 || iy >= d.In[0] {
						continue
					}
					for kx := range d.Kernel[1] {
						ix := ox*d.Stride[1] - d.Before[1] + kx*d.Dilation[1]
						if ix < 0 || ix >= d.In[1] {
							continue
						}
						px := x[((b*d.In[0]+iy)*d.In[1]+ix)*c:][:c]
						pw := w[(ky*d.Kernel[1]+kx)*cg*k:][:cg*k]
						if cg == 1 && kg == 1 {
							mulAdd(acc, px, pw)
							continue
						}
						for g := range d.Groups {
							part := acc[g*kg : (g+1)*kg]
							for ci := range cg {
								axpy(part, px[g*cg+ci], pw[ci*k+g*kg:][:kg])
							}
						}
					}
				}
				finish(acc)
			}
		}
	})
	return []*Tensor{out}, nil
}

func evalConvolutionTranspose(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, convTransposeReal[float32], convTransposeReal[float64])
}

// convTransposeReal: per output position, the taps that hit an input position
// in the order (kh, kw), then ci: one chain of FMAs from +0.
func convTransposeReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := TransposedWindowOf(n)
	if err != nil {
		return nil, err
	}
	d := win.D2()
	x, w := reals[T](in[0]), reals[T](in[1])
	batch, c := in[0].Shape[0], in[0].Shape[len(in[0].Shape)-1]
	kg := in[1].Shape[len(in[1].Shape)-1]
	k, cg := kg*d.Groups, c/d.Groups
	out := NewTensor(in[0].DType, win.outShape(batch, k)...)
	y := out.Data.([]T)
	finish := finisher(n, reals[T](in[2]))
	parallel(batch*d.Out[0], func(lo, hi int) {
		for row := lo; row < hi; row++ {
			b, oy := row/d.Out[0], row%d.Out[0]
			for ox := range d.Out[1] {
				acc := y[(row*d.Out[1]+ox)*k:][:k]
				for ky := range d.Kernel[0] {
					iy := d.transposedFrom(oy, 0, ky)
					for kx := range d.Kernel[1] {
						ix := d.transposedFrom(ox, 1, kx)
						if iy < 0 || ix < 0 {
							continue
						}
						px := x[((b*d.In[0]+iy)*d.In[1]+ix)*c:][:c]
						pw := w[(ky*d.Kernel[1]+kx)*c*kg:][:c*kg]
						for g := range d.Groups {
							for ci := range cg {
								axpy(acc[g*kg:(g+1)*kg], px[g*cg+ci], pw[(g*cg+ci)*kg:][:kg])
							}
						}
					}
				}
				finish(acc)
			}
		}
	})
	return []*Tensor{out}, nil
}

// transposedFrom gives the input position whose tap reaches output position o
// of axis a in a transposed convolution, or −1.
func (w Window) transposedFrom(o, a, tap int) int {
	p := o + w.Before[a] - tap*w.Dilation[a]
	if p < 0 || p%w.Stride[a] != 0 || p/w.Stride[a] >= w.In[a] {
		return -1
	}
	return p / w.Stride[a]
}

// matmulReal multiplies rows [m,k] by [k,n] into y, one chain per element.
func matmulReal[T real](y, x, w []T, m, k, n int) {
	parallel(m, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			acc := y[r*n : (r+1)*n]
			for i, v := range x[r*k : (r+1)*k] {
				axpy(acc, v, w[i*n:(i+1)*n])
			}
		}
	})
}

func evalDot(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, dotReal[float32], dotReal[float64])
}

func dotReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	k, nn := in[1].Shape[0], in[1].Shape[1]
	shape := in[0].Shape.Clone()
	shape[len(shape)-1] = nn
	out := NewTensor(in[0].DType, shape...)
	y := out.Data.([]T)
	m := shape[:len(shape)-1].Elems()
	matmulReal(y, reals[T](in[0]), reals[T](in[1]), m, k, nn)
	finish := finisher(n, reals[T](in[2]))
	for r := range m {
		finish(y[r*nn : (r+1)*nn])
	}
	return []*Tensor{out}, nil
}

func evalDotGeneral(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, dotGeneralReal[float32], dotGeneralReal[float64])
}

func dotGeneralReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	lead, m, k, nn, err := MatMulDims(n)
	if err != nil {
		return nil, err
	}
	out := NewTensor(in[0].DType, append(lead.Clone(), m, nn)...)
	y := out.Data.([]T)
	a, b := reals[T](in[0]), reals[T](in[1])
	la, lb := in[0].Shape[:len(in[0].Shape)-2], in[1].Shape[:len(in[1].Shape)-2]
	pa, pb := make([]T, m*k), make([]T, k*nn)
	finish := finisher[T](n, nil)
	for l := range lead.Elems() {
		turn(pa, a[BroadcastIndex(l, lead, la)*m*k:], m, k, n.Bool("transpose_a"))
		turn(pb, b[BroadcastIndex(l, lead, lb)*k*nn:], k, nn, n.Bool("transpose_b"))
		part := y[l*m*nn : (l+1)*m*nn]
		matmulReal(part, pa, pb, m, k, nn)
		finish(part)
	}
	return []*Tensor{out}, nil
}

func evalAttention(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalReal(n, in, attentionReal[float32], attentionReal[float64])
}

// attentionReal: scores by FMA chains over D, times scale, plus mask, softmax
// of each row, then FMA chains over the keys.
func attentionReal[T real](n *Node, in []*Tensor) ([]*Tensor, error) {
	q, k, v := reals[T](in[0]), reals[T](in[1]), reals[T](in[2])
	r := len(in[0].Shape)
	t, d, s, dv := in[0].Shape[r-2], in[0].Shape[r-1], in[1].Shape[r-2], in[2].Shape[r-1]
	lead := in[0].Shape[:r-2]
	out := NewTensor(in[0].DType, append(lead.Clone(), t, dv)...)
	y := out.Data.([]T)
	scale := T(n.F32("scale"))
	var mask []T
	full := append(lead.Clone(), t, s)
	if in[3] != nil {
		mask = reals[T](expanded(in[3], full))
	}
	kt, scores := make([]T, d*s), make([]T, t*s)
	for l := range lead.Elems() {
		turn(kt, k[l*s*d:], d, s, true)
		clear(scores)
		matmulReal(scores, q[l*t*d:(l+1)*t*d], kt, t, d, s)
		for i := range scores {
			scores[i] = T(scores[i] * scale)
			if mask != nil {
				scores[i] += mask[l*t*s+i]
			}
		}
		for row := range t {
			softmaxRow(scores[row*s:(row+1)*s], scores[row*s:(row+1)*s], false)
		}
		matmulReal(y[l*t*dv:(l+1)*t*dv], scores, v[l*s*dv:(l+1)*s*dv], t, s, dv)
	}
	for i := range y {
		y[i] += 0
	}
	return []*Tensor{out}, nil
}
