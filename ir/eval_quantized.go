package ir

import "fmt"

// sink writes int32 sums as the result that the node's attributes ask for.
type sink struct {
	out  *Tensor
	o    Out
	put  func(i int, v int32)
	f32  []float32
	i32  []int32
	kind DType
}

func newSink(n *Node, shape Shape) (*sink, error) {
	o, err := OutOf(n)
	if err != nil {
		return nil, err
	}
	s := &sink{out: NewTensor(o.DType, shape...), o: o, kind: o.DType}
	switch o.DType {
	case F32:
		s.f32 = s.out.F32()
	case I32:
		s.i32 = s.out.I32()
	default:
		s.put = s.out.put8()
	}
	return s, nil
}

func (s *sink) set(i int, acc int32, m float32) {
	switch s.kind {
	case F32:
		s.f32[i] = float32(float32(acc) * m)
	case I32:
		s.i32[i] = acc
	default:
		s.put(i, Requant(acc, m, s.o))
	}
}

// centred gives the elements minus the zero point, which may differ by channel
// of the last axis.
func centred(t *Tensor, q *Quant) []int32 {
	get := t.get32()
	out := make([]int32, t.Len())
	c := 1
	if q.Axis >= 0 {
		c = t.Shape[len(t.Shape)-1]
	}
	for i := range out {
		out[i] = get(i) - q.ZeroAt(i%c)
	}
	return out
}

// convSums is the integer convolution of x [N,H,W,C] with w [KH,KW,C/g,K],
// both with zero points already taken away, so that padding adds nothing.
func convSums(x []int32, n, c int, win Window, w []int32, k int, bias []int32, emit func(i int, channel int, acc int32)) {
	d := win.D2()
	cg, kg := c/d.Groups, k/d.Groups
	h, wd := d.In[0], d.In[1]
	acc := make([]int32, k)
	at := 0
	for b := range n {
		for oy := range d.Out[0] {
			for ox := range d.Out[1] {
				if bias != nil {
					copy(acc, bias)
				} else {
					clear(acc)
				}
				for ky := range d.Kernel[0] {
					iy := oy*d.Stride[0] - d.Before[0] + ky*d.Dilation[0]
					if iy < 0 || iy >= h {
						continue
					}
					for kx := range d.Kernel[1] {
						ix := ox*d.Stride[1] - d.Before[1] + kx*d.Dilation[1]
						if ix < 0 || ix >= wd {
							continue
						}
						px := x[((b*h+iy)*wd+ix)*c:]
						pw := w[(ky*d.Kernel[1]+kx)*cg*k:]
						for g := range d.Groups {
							dst := acc[g*kg : (g+1)*kg]
							for ci := range cg {
								v := px[g*cg+ci]
								if v == 0 {
									continue
								}
								row := pw[ci*k+g*kg:][:kg]
								for j, wv := range row {
									dst[j] += v * wv
								}
							}
						}
					}
				}
				for j, a := range acc {
					emit(at+j, j, a)
				}
				at += k
			}
		}
	}
}

func optI32(t *Tensor) []int32 {
	if t == nil {
		return nil
	}
	return t.I32()
}

func evalQConv(n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	shape := n.Outputs[0].Type.Shape
	s, err := newSink(n, shape)
	if err != nil {
		return nil, err
	}
	m := in[3].F32()
	x, w := centred(in[0], n.Inputs[0].Type.Quant), centred(in[1], n.Inputs[1].Type.Quant)
	convSums(x, in[0].Shape[0], in[0].Shape[len(in[0].Shape)-1], win, w, shape[len(shape)-1], optI32(in[2]), func(i, c int, acc int32) { s.set(i, acc, m[c]) })
	return []*Tensor{s.out}, nil
}

// evalQConvTranspose adds, for each output position, the taps that an input
// position reaches; exact, so that the order does not matter.
func evalQConvTranspose(n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := TransposedWindowOf(n)
	if err != nil {
		return nil, err
	}
	shape := n.Outputs[0].Type.Shape
	s, err := newSink(n, shape)
	if err != nil {
		return nil, err
	}
	d := win.D2()
	m, bias := in[3].F32(), optI32(in[2])
	x, w := centred(in[0], n.Inputs[0].Type.Quant), centred(in[1], n.Inputs[1].Type.Quant)
	c, k := in[0].Shape[len(in[0].Shape)-1], shape[len(shape)-1]
	cg, kg := c/d.Groups, k/d.Groups
	acc := make([]int32, k)
	for p := range shape[:len(shape)-1].Elems() {
		ox, oy, b := p%d.Out[1], p/d.Out[1]%d.Out[0], p/d.Out[1]/d.Out[0]
		clear(acc)
		copy(acc, bias)
		for ky := range d.Kernel[0] {
			iy := d.transposedFrom(oy, 0, ky)
			for kx := range d.Kernel[1] {
				ix := d.transposedFrom(ox, 1, kx)
				if iy < 0 || ix < 0 {
					continue
				}
				px := x[((b*d.In[0]+iy)*d.In[1]+ix)*c:][:c]
				pw := w[(ky*d.Kernel[1]+kx)*c*kg:][:c*kg]
				for ci, v := range px {
					dst := acc[ci/cg*kg:][:kg]
					for j, wv := range pw[ci*kg:][:kg] {
						dst[j] += v * wv
					}
				}
			}
		}
		for j, a := range acc {
			s.set(p*k+j, a, m[j])
		}
	}
	return []*Tensor{s.out}, nil
}

// matSums multiplies rows [m,k] by [k,n].
func matSums(x []int32, w []int32, rows, k, n int, bias []int32, emit func(i, c int, acc int32)) {
	acc := make([]int32, n)
	for r := range rows {
		if bias != nil {
			copy(acc, bias)
		} else {
			clear(acc)
		}
		for i, v := range x[r*k : (r+1)*k] {
			if v == 0 {
				continue
			}
			for j, wv := range w[i*n : (i+1)*n] {
				acc[j] += v * wv
			}
		}
		for j, a := range acc {
			emit(r*n+j, j, a)
		}
	}
}

func evalQDot(n *Node, in []*Tensor) ([]*Tensor, error) {
	s, err := newSink(n, n.Outputs[0].Type.Shape)
	if err != nil {
		return nil, err
	}
	m := in[3].F32()
	k, nn := in[1].Shape[0], in[1].Shape[1]
	rows := in[0].Shape[:len(in[0].Shape)-1].Elems()
	matSums(centred(in[0], n.Inputs[0].Type.Quant), centred(in[1], n.Inputs[1].Type.Quant), rows, k, nn, optI32(in[2]), func(i, c int, acc int32) { s.set(i, acc, m[c]) })
	return []*Tensor{s.out}, nil
}

func evalQDotGeneral(n *Node, in []*Tensor) ([]*Tensor, error) {
	lead, m, k, nn, err := MatMulDims(n)
	if err != nil {
		return nil, err
	}
	s, err := newSink(n, n.Outputs[0].Type.Shape)
	if err != nil {
		return nil, err
	}
	f := QMult(n)
	a, b := centred(in[0], n.Inputs[0].Type.Quant), centred(in[1], n.Inputs[1].Type.Quant)
	la, lb := in[0].Shape[:len(in[0].Shape)-2], in[1].Shape[:len(in[1].Shape)-2]
	pa, pb := make([]int32, m*k), make([]int32, k*nn)
	for l := range lead.Elems() {
		turn(pa, a[BroadcastIndex(l, lead, la)*m*k:], m, k, n.Bool("transpose_a"))
		turn(pb, b[BroadcastIndex(l, lead, lb)*k*nn:], k, nn, n.Bool("transpose_b"))
		matSums(pa, pb, m, k, nn, nil, func(i, _ int, acc int32) { s.set(l*m*nn+i, acc, f) })
	}
	return []*Tensor{s.out}, nil
}

// turn copies a [rows,cols] matrix that is stored transposed or not.
func turn[E any](dst, src []E, rows, cols int, transposed bool) {
	if !transposed {
		copy(dst, src[:rows*cols])
		return
	}
	for r := range rows {
		for c := range cols {
			dst[r*cols+c] = src[c*rows+r]
		}
	}
}

// BroadcastIndex maps a flat index of shape full to the flat index of the
// element of shape part that numpy's rule puts there.
func BroadcastIndex(i int, full, part Shape) int {
	at, step := 0, 1
	off := len(full) - len(part)
	for a := len(full) - 1; a >= 0; a-- {
		r := i % full[a]
		i /= full[a]
		if a >= off {
			if part[a-off] > 1 {
				at += r * step
			}
			step *= part[a-off]
		}
	}
	return at
}

func evalQPair(n *Node, in []*Tensor, f func(a, b int32) int32, m float32) ([]*Tensor, error) {
	shape := n.Outputs[0].Type.Shape
	s, err := newSink(n, shape)
	if err != nil {
		return nil, err
	}
	a, b := centred(in[0], n.Inputs[0].Type.Quant), centred(in[1], n.Inputs[1].Type.Quant)
	for i := range shape.Elems() {
		s.set(i, f(a[BroadcastIndex(i, shape, in[0].Shape)], b[BroadcastIndex(i, shape, in[1].Shape)]), m)
	}
	return []*Tensor{s.out}, nil
}

func evalQAdd(n *Node, in []*Tensor) ([]*Tensor, error) {
	fa, fb, m := QAddConsts(n)
	return evalQPair(n, in, func(a, b int32) int32 { return a*fa + b*fb }, m)
}

func evalQMultiply(n *Node, in []*Tensor) ([]*Tensor, error) {
	return evalQPair(n, in, func(a, b int32) int32 { return a * b }, QMult(n))
}

func evalQAveragePool(n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	shape := n.Outputs[0].Type.Shape
	s, err := newSink(n, shape)
	if err != nil {
		return nil, err
	}
	d := win.D2()
	x := centred(in[0], n.Inputs[0].Type.Quant)
	c := shape[len(shape)-1]
	acc := make([]int32, c)
	at := 0
	for b := range shape[0] {
		for oy := range d.Out[0] {
			for ox := range d.Out[1] {
				clear(acc)
				count := 0
				for ky := range d.Kernel[0] {
					for kx := range d.Kernel[1] {
						iy, ix := oy*d.Stride[0]-d.Before[0]+ky*d.Dilation[0], ox*d.Stride[1]-d.Before[1]+kx*d.Dilation[1]
						if iy < 0 || iy >= d.In[0] || ix < 0 || ix >= d.In[1] {
							continue
						}
						count++
						for j, v := range x[((b*d.In[0]+iy)*d.In[1]+ix)*c:][:c] {
							acc[j] += v
						}
					}
				}
				if n.Bool("count_include_pad") {
					count = d.Taps()
				}
				m := QMeanMult(n, max(count, 1))
				for j, a := range acc {
					s.set(at+j, a, m)
				}
				at += c
			}
		}
	}
	return []*Tensor{s.out}, nil
}

func evalQReduceMean(n *Node, in []*Tensor) ([]*Tensor, error) {
	axes, err := ReduceAxes(n)
	if err != nil {
		return nil, err
	}
	s, err := newSink(n, n.Outputs[0].Type.Shape)
	if err != nil {
		return nil, err
	}
	full, part := in[0].Shape, reduceShape(in[0].Shape, axes, true)
	acc := make([]int32, part.Elems())
	for i, v := range centred(in[0], n.Inputs[0].Type.Quant) {
		acc[BroadcastIndex(i, full, part)] += v
	}
	m := QMeanMult(n, full.Elems()/max(1, part.Elems()))
	for i, a := range acc {
		s.set(i, a, m)
	}
	return []*Tensor{s.out}, nil
}

func evalQLookup(_ *Node, in []*Tensor) ([]*Tensor, error) {
	out := NewTensor(in[1].DType, in[0].Shape...)
	get, off := in[0].get32(), int32(0)
	if in[0].DType == S8 {
		off = 128
	}
	switch t := in[1].Data.(type) {
	case []float32:
		y := out.F32()
		for i := range y {
			y[i] = t[get(i)+off]
		}
	case []uint8:
		y := out.U8()
		for i := range y {
			y[i] = t[get(i)+off]
		}
	case []int8:
		y := out.S8()
		for i := range y {
			y[i] = t[get(i)+off]
		}
	}
	return []*Tensor{out}, nil
}

// QSoftmaxFactor is 1/sy as q_softmax divides it by the sum; for an f32 result 1.
func QSoftmaxFactor(n *Node) float32 {
	if t := n.Outputs[0].Type; t.Quant != nil {
		return InverseScale(t.Quant.Scale[0])
	}
	return 1
}

func evalQSoftmax(n *Node, in []*Tensor) ([]*Tensor, error) {
	s, err := newSink(n, in[0].Shape)
	if err != nil {
		return nil, err
	}
	get, table := in[0].get32(), in[1].I32()
	k := in[0].Shape[len(in[0].Shape)-1]
	f := QSoftmaxFactor(n)
	for at := 0; at < in[0].Len(); at += k {
		top := get(at)
		for i := 1; i < k; i++ {
			top = max(top, get(at+i))
		}
		var sum int32
		for i := range k {
			sum += table[top-get(at+i)]
		}
		if sum < 1 {
			return nil, fmt.Errorf("the exponentials sum to %d; the table must hold positive numbers that sum below 2^31", sum)
		}
		r := f / float32(sum)
		for i := range k {
			s.set(at+i, table[top-get(at+i)], r)
		}
	}
	return []*Tensor{s.out}, nil
}

// LinearTap is one output position of a linear resize: its two sources and the
// weight of the second, of 2^11 in all.
type LinearTap struct {
	Lo, Hi int
	W      int32
}

// LinearTaps gives the taps of q_resize along one axis: the sampling position
// in float64, its fraction rounded half to even to 11 bits.
func LinearTaps(n *Node, axis int) []LinearTap {
	in, out := n.Inputs[0].Type.Shape[axis+1], n.Ints("size")[axis]
	taps := make([]LinearTap, out)
	for i := range taps {
		p := ResizePosition(n, axis, i, in, out)
		p = min(max(p, 0), float64(in-1))
		lo := int(p)
		taps[i] = LinearTap{Lo: lo, Hi: min(lo+1, in-1), W: int32(saturate((p-float64(lo))*2048, 0, 2048))}
	}
	return taps
}

// ResizePosition is the source position of output index i along a spatial
// axis, by the node's coordinates rule (ONNX Resize).
func ResizePosition(n *Node, axis, i, in, out int) float64 {
	scale := float64(out) / float64(in)
	if f := n.Floats("scales"); len(f) > 0 {
		scale = f[axis]
	}
	switch n.Str("coordinates") {
	case "asymmetric":
		return float64(i) / scale
	case "align_corners":
		if out == 1 {
			return 0
		}
		return float64(i) * float64(in-1) / float64(out-1)
	case "pytorch_half_pixel":
		if out == 1 {
			return 0
		}
	}
	return (float64(i)+0.5)/scale - 0.5
}

func evalQResize(n *Node, in []*Tensor) ([]*Tensor, error) {
	shape := n.Outputs[0].Type.Shape
	s, err := newSink(n, shape)
	if err != nil {
		return nil, err
	}
	x := centred(in[0], n.Inputs[0].Type.Quant)
	c, m := shape[len(shape)-1], QResizeMult(n)
	one := []LinearTap{{}}
	taps := [2][]LinearTap{one, one}
	scale := int32(1)
	h, w := 1, in[0].Shape[1]
	switch len(n.Ints("size")) {
	case 1:
		taps[1] = LinearTaps(n, 0)
	case 2:
		taps[0], taps[1] = LinearTaps(n, 0), LinearTaps(n, 1)
		h, w, scale = in[0].Shape[1], in[0].Shape[2], 2048
	default:
		return nil, fmt.Errorf("resizes %d spatial axes; wanted 1 or 2", len(n.Ints("size")))
	}
	at := 0
	for b := range shape[0] {
		for _, ty := range taps[0] {
			for _, tx := range taps[1] {
				for j := range c {
					px := func(y, xx int) int32 { return x[((b*h+y)*w+xx)*c+j] }
					top := px(ty.Lo, tx.Lo)*(2048-tx.W) + px(ty.Lo, tx.Hi)*tx.W
					acc := top
					if scale > 1 {
						bottom := px(ty.Hi, tx.Lo)*(2048-tx.W) + px(ty.Hi, tx.Hi)*tx.W
						acc = top*(2048-ty.W) + bottom*ty.W
					}
					s.set(at, acc, m)
					at++
				}
			}
		}
	}
	return []*Tensor{s.out}, nil
}
