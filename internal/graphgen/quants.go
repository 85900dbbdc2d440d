package graphgen

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// quantRows are the draws of a quantized graph.
var quantRows = []func(*gen){
	drawQConv, drawQConv, drawQConv, drawQConv, drawQDepthwise, drawQDepthwise, drawQConvTranspose, drawQDot, drawQDot, drawQDotGeneral,
	drawQAdd, drawQAdd, drawQAdd, drawQMultiply, drawQPool, drawQMean, drawQLookup, drawQLookup, drawQSoftmax, drawQResize,
	drawQConcat, drawQMove, drawQMove, drawQMaxPool, drawIsland, drawIsland, drawDynamic, drawDynamicDot, drawQuantize,
}

// q picks an 8-bit operand, rather a late one.
func (g *gen) q() *ir.Value {
	return g.quants[max(g.IntN(len(g.quants)), g.IntN(len(g.quants)))]
}

func (g *gen) qimage() *ir.Value {
	for range 20 {
		if v := g.q(); len(v.Type.Shape) == 4 {
			return v
		}
	}
	return g.quants[0]
}

// out draws what a quantized op gives: mostly u8, extreme zero points and
// narrowed ranges now and then.
func (g *gen) out(a ir.Attrs, scale float64) ir.Attrs {
	o := ir.Out{DType: ir.U8, Scale: float32(scale)}
	if g.IntN(4) == 0 {
		o.DType = ir.S8
	}
	lo, hi := o.DType.Range()
	o.Zero = pick(g, []int32{lo, hi, (lo + hi + 1) / 2, lo + int32(g.IntN(256)), lo + int32(g.IntN(256))})
	o.QMin, o.QMax = lo, hi
	switch g.IntN(4) {
	case 0:
		if o.Zero < hi {
			o.QMin = o.Zero // ReLU
		}
	case 1:
		o.QMin, o.QMax = lo+20, hi-30
	}
	return a.SetOut(o)
}

// outScale is like real for a typical result, sometimes far off so that results
// saturate.
func (g *gen) outScale(real float64) float64 {
	return real * math.Exp(g.NormFloat64()*0.7) * pick(g, []float64{1, 1, 1, 0.1})
}

func (g *gen) quantize(x *ir.Value) *ir.Value {
	return g.add("uniform_quantize", g.out(ir.Attrs{}, g.outScale(0.02)), x)
}

func drawQuantize(g *gen) { g.quantize(g.x()) }

// qweights makes s8 weights with a scale for each channel of the last axis.
func (g *gen) qweights(shape ...int) *ir.Value {
	t := ir.NewTensor(ir.S8, shape...)
	for i := range t.S8() {
		t.S8()[i] = int8(g.IntN(255) - 127)
		if g.IntN(20) == 0 {
			t.S8()[i] = pick(g, []int8{127, -127, 0})
		}
	}
	n := shape[len(shape)-1]
	q := &ir.Quant{Axis: len(shape) - 1, Zero: []int32{0}}
	for range n {
		q.Scale = append(q.Scale, float32(0.001*math.Exp(g.NormFloat64()*0.3)))
	}
	return g.b.QConst(g.name(), t, q)
}

// contract finishes a q_convolution or q_dot of fan inputs a result.
func (g *gen) contract(op string, a ir.Attrs, x, w *ir.Value, fan int) {
	s := w.Type.Shape
	n := s[len(s)-1]
	bias := ir.NewTensor(ir.I32, n)
	for i := range bias.I32() {
		bias.I32()[i] = int32(g.NormFloat64() * 5000)
	}
	sx := float64(x.Type.Quant.Scale[0])
	kind := g.IntN(10)
	sy := 1.0
	switch kind {
	case 0:
		a["out_dtype"] = "f32"
	case 1:
		a["out_dtype"] = "i32"
	default:
		sy = g.outScale(sx * 0.001 * math.Sqrt(float64(fan)) * 74 * 70 / 60)
		a = g.out(a, sy)
	}
	mult := ir.NewTensor(ir.F32, n)
	for i := range mult.F32() {
		m := float32(sx) * w.Type.Quant.Scale[i]
		if kind > 1 {
			m /= float32(sy)
		}
		mult.F32()[i] = m
	}
	g.add(op, a, x, w, g.maybe(g.b.Const(g.name(), bias)), g.b.Const(g.name(), mult))
}

func drawQConv(g *gen) {
	x := g.qimage()
	k, s, p, d, ok := g.geometry(x.Type.Shape, false)
	if !ok {
		return
	}
	c, groups := x.Type.Shape[3], 1
	if g.IntN(5) == 0 && c%2 == 0 {
		groups = 2
	}
	out := groups * g.channels()
	if g.IntN(8) == 0 {
		out = groups * (48 + g.IntN(40))
	}
	g.contract("q_convolution", ir.Attrs{"strides": s, "padding": p, "dilation": d, "groups": groups},
		x, g.qweights(k[0], k[1], c/groups, out), k[0]*k[1]*c/groups)
}

func drawQDepthwise(g *gen) {
	x := g.qimage()
	k, s, p, d, ok := g.geometry(x.Type.Shape, false)
	if !ok {
		return
	}
	c := x.Type.Shape[3]
	g.contract("q_convolution", ir.Attrs{"strides": s, "padding": p, "dilation": d, "groups": c}, x, g.qweights(k[0], k[1], 1, c), k[0]*k[1])
}

func drawQConvTranspose(g *gen) {
	x := g.qimage()
	s := x.Type.Shape
	if s.Elems() > 2048 {
		return
	}
	k := []int{1 + g.IntN(4), 1 + g.IntN(4)}
	a := ir.Attrs{"strides": []int{1 + g.IntN(3), 1 + g.IntN(3)}, "output_padding": []int{g.IntN(2), g.IntN(2)}}
	if g.IntN(2) == 0 {
		k = []int{2, 2}
		a = ir.Attrs{"strides": []int{2, 2}}
	} else if k[0] > 1 && k[1] > 1 && s[1] > 1 && s[2] > 1 {
		a["padding"] = []int{g.IntN(2), g.IntN(2), g.IntN(2), g.IntN(2)}
	}
	g.contract("q_convolution_transpose", a, x, g.qweights(k[0], k[1], s[3], g.channels()), s[3])
}

func drawQDot(g *gen) {
	x := g.q()
	s := x.Type.Shape
	if len(s) == 0 {
		return
	}
	k := s[len(s)-1]
	g.contract("q_dot", ir.Attrs{}, x, g.qweights(k, 1+g.IntN(80)), k)
}

func drawQDotGeneral(g *gen) {
	x := g.q()
	s := x.Type.Shape
	if len(s) < 2 || s[len(s)-2] > 64 {
		return
	}
	sx := float64(x.Type.Quant.Scale[0])
	g.add("q_dot_general", g.out(ir.Attrs{"transpose_b": true}, g.outScale(sx*sx*60*math.Sqrt(float64(s[len(s)-1])))), x, x)
}

// qpartner gives another 8-bit operand that broadcasts with x.
func (g *gen) qpartner(x *ir.Value) *ir.Value {
	s := x.Type.Shape
	for range 20 {
		if v := g.q(); v != x && v.Type.Shape.Equal(s) {
			return v
		}
	}
	if len(s) == 4 && g.IntN(2) == 0 { // a squeeze-and-excite gate
		return g.add("q_reduce_mean", g.out(ir.Attrs{"axes": []int{1, 2}}, float64(x.Type.Quant.Scale[0])), x)
	}
	return x
}

func drawQAdd(g *gen) {
	x := g.q()
	y := g.qpartner(x)
	sy := g.outScale(float64(max(x.Type.Quant.Scale[0], y.Type.Quant.Scale[0])) * 1.3)
	g.add("q_add", g.out(ir.Attrs{}, sy), x, y)
}

func drawQMultiply(g *gen) {
	x := g.q()
	y := g.qpartner(x)
	sx, sz := float64(x.Type.Quant.Scale[0]), float64(y.Type.Quant.Scale[0])
	g.add("q_multiply", g.out(ir.Attrs{}, g.outScale(sx*sz*60)), x, y)
}

func drawQPool(g *gen) {
	x := g.qimage()
	k, s, p, _, ok := g.geometry(x.Type.Shape, true)
	if !ok {
		return
	}
	for i := range p {
		if p[i] >= k[i%2] || x.Type.Shape[1+i%2]+p[i%2]+p[i%2+2] < k[i%2] {
			return
		}
	}
	a := g.out(ir.Attrs{"kernel": k, "strides": s, "padding": p, "count_include_pad": g.IntN(2) == 0}, g.outScale(float64(x.Type.Quant.Scale[0])))
	g.add("q_average_pool", a, x)
}

func drawQMean(g *gen) {
	x := g.qimage()
	a := ir.Attrs{"axes": []int{1, 2}, "keep_dims": g.IntN(2) == 0}
	if g.IntN(4) == 0 {
		a["axes"] = g.axes(4)
	}
	g.add("q_reduce_mean", g.out(a, g.outScale(float64(x.Type.Quant.Scale[0]))), x)
}

func drawQLookup(g *gen) {
	x := g.q()
	switch g.IntN(6) {
	case 0:
		t := ir.NewTensor(ir.F32, 256)
		for i := range t.F32() {
			t.F32()[i] = float32(g.NormFloat64())
		}
		g.add("q_lookup", nil, x, g.b.Const(g.name(), t))
	case 1:
		t := ir.NewTensor(ir.S8, 256)
		for i := range t.S8() {
			t.S8()[i] = int8(g.IntN(256) - 128)
		}
		g.add("q_lookup", ir.Attrs{"out_scale": 0.02, "out_zero": -3}, x, g.b.Const(g.name(), t))
	default:
		t := ir.NewTensor(ir.U8, 256)
		for i := range t.U8() {
			t.U8()[i] = uint8(g.IntN(256))
		}
		g.add("q_lookup", ir.Attrs{"out_scale": 0.02, "out_zero": g.IntN(256)}, x, g.b.Const(g.name(), t))
	}
}

func drawQSoftmax(g *gen) {
	x := g.q()
	s := x.Type.Shape
	if len(s) == 0 {
		return
	}
	t := ir.NewTensor(ir.I32, 256)
	for d := range 256 {
		t.I32()[d] = int32(math.RoundToEven(math.Exp(-float64(d)*float64(x.Type.Quant.Scale[0])) * (1 << 16)))
	}
	t.I32()[0] = max(t.I32()[0], 1)
	g.add("q_softmax", ir.Attrs{}.SetOut(ir.Out{DType: ir.U8, Scale: 1.0 / 256, QMax: 255}), x, g.b.Const(g.name(), t))
}

func drawQResize(g *gen) {
	x := g.qimage()
	if x.Type.Shape.Elems() > 2048 {
		return
	}
	a := ir.Attrs{"size": []int{1 + g.IntN(14), 1 + g.IntN(14)}, "mode": "linear", "coordinates": pick(g, []string{"half_pixel", "asymmetric", "align_corners"})}
	g.add("q_resize", g.out(a, g.outScale(float64(x.Type.Quant.Scale[0]))), x)
}

func drawQConcat(g *gen) {
	x := g.q()
	if len(x.Type.Shape) == 0 {
		return
	}
	axis := g.IntN(len(x.Type.Shape))
	g.add("concatenate", ir.Attrs{"axis": axis}, g.siblings(x, g.quants, axis)...)
}

// drawQMove moves 8-bit elements about.
func drawQMove(g *gen) {
	x := g.q()
	s := x.Type.Shape
	if len(s) < 2 {
		return
	}
	switch g.IntN(5) {
	case 0:
		g.add("slice", g.sliceAttrs(s), x)
	case 1:
		g.add("pad", padAttrs(g, s), x)
	case 2:
		g.add("reshape", ir.Attrs{"shape": ir.Shape{s[0], s[1:].Elems()}}, x)
	case 3:
		g.add("transpose", ir.Attrs{"permutation": g.Perm(len(s))}, x)
	case 4:
		if len(s) == 4 && s.Elems() < 2048 {
			g.add("resize", ir.Attrs{"size": []int{1 + g.IntN(14), 1 + g.IntN(14)}}, x)
		}
	}
}

func drawQMaxPool(g *gen) {
	x := g.qimage()
	if k, s, p, d, ok := g.geometry(x.Type.Shape, true); ok {
		g.add("max_pool", ir.Attrs{"kernel": k, "strides": s, "padding": p, "dilation": d}, x)
	}
}

// drawIsland leaves 8 bits, does something in float, and comes back.
func drawIsland(g *gen) {
	v := g.add("uniform_dequantize", nil, g.q())
	if len(v.Type.Shape) > 0 && g.IntN(2) == 0 {
		v = g.add("layer_norm", nil, v, g.positive(v.Type.Shape[len(v.Type.Shape)-1]), nil)
	} else {
		v = g.add(pick(g, []string{"silu", "gelu", "tanh", "relu"}), nil, v)
	}
	g.quantize(v)
}
