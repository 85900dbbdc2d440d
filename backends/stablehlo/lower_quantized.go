package stablehlo

import (
	"fmt"

	"github.com/nasc-dev/nasc/ir"
)

var quantizedOps = map[string]lowering{
	"uniform_quantize":        lowerQuantize,
	"uniform_dequantize":      one(lowerDequantize),
	"q_convolution":           lowerQConv,
	"q_convolution_transpose": lowerQConvTranspose,
	"q_dot":                   lowerQDot,
	"q_dot_general":           lowerQDotGeneral,
	"q_add":                   lowerQAdd,
	"q_multiply":              lowerQMultiply,
	"q_average_pool":          lowerQAveragePool,
	"q_reduce_mean":           lowerQReduceMean,
	"q_lookup":                one(lowerQLookup),
	"q_softmax":               lowerQSoftmax,
	"dynamic_dot":             one(lowerDynamicDot),
	"q_resize":                lowerQResize,
}

// requant writes the rounding step: clamp in float, round half to even, add
// the zero point, narrow. v is float32(acc)·m, already multiplied.
func (w *writer) requant(v val, o ir.Out) val {
	c := w.clamp(v, float64(o.QMin-o.Zero), float64(o.QMax-o.Zero))
	i := w.convert(w.same("round_nearest_even", c), ir.I32)
	return w.convert(w.same("add", i, w.like(i, float64(o.Zero))), o.DType)
}

// finish brings int32 sums to the node's result; m has the shape of acc.
func (w *writer) finish(n *ir.Node, acc val, m func() val) ([]val, error) {
	o, err := ir.OutOf(n)
	if err != nil {
		return nil, err
	}
	if o.DType == ir.I32 {
		return []val{acc}, nil
	}
	v := w.same("multiply", w.convert(acc, ir.F32), m())
	if o.DType == ir.F32 {
		return []val{v}, nil
	}
	return []val{w.requant(v, o)}, nil
}

// finish1 is finish with one factor for all elements.
func (w *writer) finish1(n *ir.Node, acc val, m float32) ([]val, error) {
	return w.finish(n, acc, func() val { return w.fill(ir.F32, float64(m), acc.s) })
}

// centred gives x − zero point in int32.
func (w *writer) centred(n *ir.Node, i int) val {
	x := w.convert(w.in(n, i), ir.I32)
	q := n.Inputs[i].Type.Quant
	if len(q.Zero) > 1 {
		return w.same("subtract", x, w.channels(w.constant(ir.From(q.Zero, len(q.Zero))), x.s))
	}
	if q.Zero[0] == 0 {
		return x
	}
	return w.same("subtract", x, w.like(x, float64(q.Zero[0])))
}

// signed gives the operand as s8 with its zero point: u8 moves down by 128,
// since XLA's fast integer path takes s8 × s8.
func (w *writer) signed(n *ir.Node, i int) (val, int32) {
	x, z := w.in(n, i), n.Inputs[i].Type.Quant.Zero[0]
	if x.d == ir.S8 {
		return x, z
	}
	flipped := w.same("xor", x, w.like(x, 128))
	return w.op("stablehlo.bitcast_convert", ir.S8, x.s, "", "", flipped), z - 128
}

// fastWeights says whether w is symmetric s8, with sums per output channel in
// hand to take a zero point of x out of the products.
func fastWeights(n *ir.Node) bool {
	t := n.Inputs[1].Type
	if t.DType != ir.S8 || !n.Inputs[1].IsConst() {
		return false
	}
	for _, z := range t.Quant.Zero {
		if z != 0 {
			return false
		}
	}
	return true
}

// biasWith is bias[c] − z·Σw[…,c], wrapping in int32 as the sums do.
func biasWith(n *ir.Node, z int32) *ir.Tensor {
	k := n.Inputs[1].Const
	cout := k.Shape[len(k.Shape)-1]
	out := make([]int32, cout)
	for i, v := range k.S8() {
		out[i%cout] -= z * int32(v)
	}
	if b := n.In(2); b != nil {
		for i, v := range b.Const.I32() {
			out[i] += v
		}
	}
	return ir.From(out, cout)
}

func (w *writer) addBias(n *ir.Node, acc val) val {
	if n.In(2) == nil {
		return acc
	}
	return w.same("add", acc, w.channels(w.in(n, 2), acc.s))
}

func (w *writer) perChannel(n *ir.Node, acc val) ([]val, error) {
	return w.finish(n, acc, func() val { return w.channels(w.in(n, 3), acc.s) })
}

func lowerQConv(w *writer, n *ir.Node) ([]val, error) {
	win, err := ir.WindowOf(n)
	if err != nil {
		return nil, err
	}
	out := n.Outputs[0].Type.Shape
	r := len(win.In)
	none := make([]int, r)
	k := w.in(n, 1)
	switch {
	case depthwise(win, k):
		x := w.padSpatial(w.centred(n, 0), win, 0)
		return w.perChannel(n, w.addBias(n, w.shifted(x, w.centred(n, 1), win, ir.I32, out)))
	case fastWeights(n) && (n.In(2) == nil || n.In(2).IsConst()):
		x, z := w.signed(n, 0)
		acc := w.conv(w.padSpatial(x, win, float64(z)), k, ir.I32, win, out, ones(r), none, none)
		acc = w.same("add", acc, w.channels(w.constant(biasWith(n, z)), acc.s))
		return w.perChannel(n, acc)
	}
	acc := w.conv(w.padSpatial(w.centred(n, 0), win, 0), w.centred(n, 1), ir.I32, win, out, ones(r), none, none)
	return w.perChannel(n, w.addBias(n, acc))
}

// lowerQConvTranspose takes the zero points away first: the dilated input has
// zeros between its pixels.
func lowerQConvTranspose(w *writer, n *ir.Node) ([]val, error) {
	win, err := ir.TransposedWindowOf(n)
	if err != nil {
		return nil, err
	}
	if q := n.Inputs[1].Type.Quant; len(q.Zero) > 1 && win.Groups > 1 {
		return nil, fmt.Errorf("weights of %d groups have zero points of their own", win.Groups)
	}
	acc := w.convTranspose(w.centred(n, 0), w.centred(n, 1), ir.I32, win, n.Outputs[0].Type.Shape)
	return w.perChannel(n, w.addBias(n, acc))
}

func lowerQDot(w *writer, n *ir.Node) ([]val, error) {
	out := n.Outputs[0].Type.Shape
	flat := ir.Shape{out.Elems() / max(1, out[len(out)-1]), out[len(out)-1]}
	if fastWeights(n) && (n.In(2) == nil || n.In(2).IsConst()) {
		x, z := w.signed(n, 0)
		acc := w.reshape(w.matmul(w.rows(x), w.in(n, 1), ir.I32, 1, 0, flat), out)
		acc = w.same("add", acc, w.channels(w.constant(biasWith(n, z)), acc.s))
		return w.perChannel(n, acc)
	}
	acc := w.reshape(w.matmul(w.rows(w.centred(n, 0)), w.centred(n, 1), ir.I32, 1, 0, flat), out)
	return w.perChannel(n, w.addBias(n, acc))
}

func lowerQDotGeneral(w *writer, n *ir.Node) ([]val, error) {
	acc, err := w.batched(n, w.centred(n, 0), w.centred(n, 1), ir.I32)
	if err != nil {
		return nil, err
	}
	return w.finish1(n, acc[0], ir.QMult(n))
}

func lowerQAdd(w *writer, n *ir.Node) ([]val, error) {
	fa, fb, m := ir.QAddConsts(n)
	s := n.Outputs[0].Type.Shape
	a, b := w.stretch(w.centred(n, 0), s), w.stretch(w.centred(n, 1), s)
	acc := w.same("add", w.same("multiply", a, w.like(a, float64(fa))), w.same("multiply", b, w.like(b, float64(fb))))
	return w.finish1(n, acc, m)
}

func lowerQMultiply(w *writer, n *ir.Node) ([]val, error) {
	s := n.Outputs[0].Type.Shape
	return w.finish1(n, w.same("multiply", w.stretch(w.centred(n, 0), s), w.stretch(w.centred(n, 1), s)), ir.QMult(n))
}

func lowerQAveragePool(w *writer, n *ir.Node) ([]val, error) {
	win, err := ir.WindowOf(n)
	if err != nil {
		return nil, err
	}
	out := n.Outputs[0].Type.Shape
	size, stride, dilation, low, high := full(win)
	acc := w.reduceWindow(w.centred(n, 0), "add", 0, size, stride, dilation, low, high, out)
	return w.finish(n, acc, func() val {
		m := ir.NewTensor(ir.F32, append(append([]int{1}, win.Out...), 1)...)
		for i, f := range m.F32() {
			f = ir.QMeanMult(n, countAt(win, i, n.Bool("count_include_pad")))
			m.F32()[i] = f
		}
		return w.stretch(w.constant(m), out)
	})
}

func lowerQReduceMean(w *writer, n *ir.Node) ([]val, error) {
	axes, err := ir.ReduceAxes(n)
	if err != nil {
		return nil, err
	}
	x := w.centred(n, 0)
	acc := w.reduce(x, "add", 0, axes)
	count := x.s.Elems() / max(1, acc.s.Elems())
	return w.finish1(n, w.reshape(acc, n.Outputs[0].Type.Shape), ir.QMeanMult(n, count))
}

func lowerQLookup(w *writer, n *ir.Node) val {
	x := w.in(n, 0)
	idx := w.convert(x, ir.I32)
	if x.d == ir.S8 {
		idx = w.same("add", idx, w.like(idx, 128))
	}
	return w.take(w.in(n, 1), idx, 0)
}

func lowerQSoftmax(w *writer, n *ir.Node) ([]val, error) {
	x := w.convert(w.in(n, 0), ir.I32)
	last := []int{len(x.s) - 1}
	d := w.same("subtract", w.kept(x, "maximum", -1<<31, last), x)
	e := w.take(w.in(n, 1), d, 0)
	sum := w.convert(w.reduce(e, "add", 0, last), ir.F32)
	r := w.same("divide", w.like(sum, float64(ir.QSoftmaxFactor(n))), sum)
	return w.finish(n, e, func() val {
		dims := make([]int, len(r.s))
		for i := range dims {
			dims[i] = i
		}
		return w.broadcast(r, e.s, dims)
	})
}

func lowerQResize(w *writer, n *ir.Node) ([]val, error) {
	x := w.centred(n, 0)
	r := len(n.Ints("size"))
	if r > 2 {
		return nil, fmt.Errorf("resizes %d spatial axes; wanted 1 or 2", r)
	}
	for a := r - 1; a >= 0; a-- { // columns first, as the definition does
		taps := ir.LinearTaps(n, a)
		lo, hi, wl, wh := make([]int32, len(taps)), make([]int32, len(taps)), make([]int32, len(taps)), make([]int32, len(taps))
		for i, t := range taps {
			lo[i], hi[i], wl[i], wh[i] = int32(t.Lo), int32(t.Hi), 2048-t.W, t.W
		}
		part := func(idx, weight []int32) val {
			v := w.take(x, w.constant(ir.From(idx, len(idx))), a+1)
			return w.same("multiply", v, w.broadcast(w.constant(ir.From(weight, len(weight))), v.s, []int{a + 1}))
		}
		x = w.same("add", part(lo, wl), part(hi, wh))
	}
	return w.finish1(n, x, ir.QResizeMult(n))
}

func lowerQuantize(w *writer, n *ir.Node) ([]val, error) {
	o, err := ir.OutOf(n)
	if err != nil {
		return nil, err
	}
	x := w.convert(w.in(n, 0), ir.F32)
	v := w.same("multiply", x, w.like(x, float64(ir.InverseScale(o.Scale))))
	v = w.where(w.compare("NE", v, v), w.like(v, 0), v) // NaN gives the zero point
	return []val{w.requant(v, o)}, nil
}

func lowerDequantize(w *writer, n *ir.Node) val {
	q := n.Inputs[0].Type.Quant
	x := w.convert(w.in(n, 0), ir.I32)
	along := func(c val) val {
		if q.Axis < 0 {
			return w.broadcast(w.reshape(c, ir.Shape{}), x.s, nil)
		}
		return w.broadcast(c, x.s, []int{q.Axis})
	}
	zero := func() val {
		if len(q.Zero) == 1 {
			return w.like(x, float64(q.Zero[0]))
		}
		return along(w.constant(ir.From(q.Zero, len(q.Zero))))
	}
	v := w.convert(w.same("subtract", x, zero()), ir.F32)
	return w.same("multiply", v, along(w.constant(f32s(q.Scale...))))
}

// lowerDynamicDot writes ir.RowScale for all rows at once, then the product of
// the centred levels.
func lowerDynamicDot(w *writer, n *ir.Node) val {
	x := w.convert(w.rows(w.in(n, 0)), ir.F32)
	out := ir.Shape{x.s[0], n.Inputs[1].Type.Shape[1]}
	lo, hi := w.reduce(x, "minimum", 0, []int{1}), w.reduce(x, "maximum", 0, []int{1})
	s := w.same("subtract", hi, lo)
	s = w.clamp(w.same("multiply", s, w.like(s, float64(float32(1.0/255)))), 0x1p-100, 0x1p100)
	inv := w.same("divide", w.like(s, 1), s)
	below := w.same("multiply", w.same("negate", lo), inv)
	z := w.same("round_nearest_even", w.same("minimum", below, w.like(below, 255)))
	along := func(r val, to ir.Shape) val { return w.broadcast(r, to, []int{0}) }
	v := w.same("multiply", x, along(inv, x.s))
	v = w.where(w.compare("NE", v, v), w.like(v, 0), v) // NaN has the level of 0
	v = w.same("maximum", v, along(w.same("negate", z), x.s))
	v = w.same("minimum", v, along(w.same("subtract", w.like(z, 255), z), x.s))
	q := w.convert(w.same("round_nearest_even", v), ir.I32)
	acc := w.matmul(q, w.centred(n, 1), ir.I32, 1, 0, out)
	wq := n.Inputs[1].Type.Quant
	scales := make([]float32, out[1])
	for c := range scales {
		scales[c] = wq.ScaleAt(c)
	}
	m := w.same("multiply", along(s, out), w.channels(w.constant(f32s(scales...)), out))
	y := w.same("multiply", w.convert(acc, ir.F32), m)
	if n.In(2) != nil {
		y = w.same("add", y, w.channels(w.in(n, 2), out))
	}
	return w.reshape(y, n.Outputs[0].Type.Shape)
}
