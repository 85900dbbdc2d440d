package onnx

import (
	"fmt"

	"github.com/nasc-dev/nasc/ir"
	"github.com/nasc-dev/nasc/quant"
)

var quantizedOps = map[string]converter{
	"QuantizeLinear":        quantizeLinear,
	"DequantizeLinear":      dequantizeLinear,
	"DynamicQuantizeLinear": dynamicQuantize,
	"QLinearConv":           qlinearConv,
	"QLinearMatMul":         qlinearMatMul,
	"MatMulInteger":         matMulInteger,
	"ConvInteger":           convInteger,

	"com.microsoft.QLinearAdd":               qlinearBinary("q_add"),
	"com.microsoft.QLinearMul":               qlinearBinary("q_multiply"),
	"com.microsoft.QLinearGlobalAveragePool": qlinearGlobalPool,
}

// params reads constant scale and zero point inputs. d is the zero point's
// type, or def where it is absent.
func (n *node) params(scale, zero int, def ir.DType) (q *ir.Quant, d ir.DType) {
	s := n.constant(scale, "the scale")
	q, d = &ir.Quant{Axis: -1, Zero: []int32{0}}, def
	for i := range s.Len() {
		q.Scale = append(q.Scale, float32(s.At(i)))
	}
	if n.has(zero) {
		z := n.constant(zero, "the zero point")
		d = z.DType
		q.Zero = nil
		for i := range z.Len() {
			q.Zero = append(q.Zero, int32(z.Int(i)))
		}
	}
	if n.err == nil && len(q.Zero) != len(q.Scale) && len(q.Zero) != 1 {
		n.fail("%d scales and %d zero points", len(q.Scale), len(q.Zero))
	}
	same := true
	for _, z := range q.Zero {
		same = same && z == q.Zero[0]
	}
	if same && len(q.Zero) > 1 {
		q.Zero = q.Zero[:1]
	}
	return q, d
}

func (n *node) perTensor(scale, zero int, def ir.DType) (ir.Out, bool) {
	q, d := n.params(scale, zero, def)
	if n.err != nil || len(q.Scale) != 1 {
		n.fail("%d scales for an activation; wanted one", len(q.Scale))
		return ir.Out{}, false
	}
	return ir.Out{DType: d, Scale: q.Scale[0], Zero: q.Zero[0]}, true
}

func quantizeLinear(n *node) ([]item, error) {
	def := ir.U8
	if t := n.attrInt("output_dtype", 0); t != 0 {
		d, err := dtypeOf(int32(t))
		if err != nil {
			return nil, err
		}
		def = d
	}
	o, ok := n.perTensor(1, 2, def)
	if !ok {
		return nil, n.err
	}
	if !o.DType.Is8Bit() {
		return nil, fmt.Errorf("quantizes to %v; wanted 8 bit", o.DType)
	}
	return one(n.emit("uniform_quantize", ir.Attrs{}.SetOut(o), n.in(0)))
}

func dequantizeLinear(n *node) ([]item, error) {
	x := n.in(0)
	q, _ := n.params(1, 2, x.Type.DType)
	n.refuse("block_size", 0)
	if n.err != nil {
		return nil, n.err
	}
	if len(q.Scale) > 1 {
		q.Axis = n.axis(n.attrInt("axis", 1), len(x.Type.Shape))
	}
	if x.IsConst() {
		return one(n.emit("uniform_dequantize", nil, n.c.g.QConst(x.Name, x.Const, q)))
	}
	if x.Type.Quant != nil || q.Axis < 0 && n.adopt(x, q) {
		if !x.Type.Quant.Equal(q) {
			return nil, fmt.Errorf("dequantizes %v with another scale or zero point than it was quantized with", x.Type)
		}
		return one(n.emit("uniform_dequantize", nil, x))
	}
	if q.Axis >= 0 {
		return nil, fmt.Errorf("dequantizes %v per channel; wanted a stored tensor", x.Type)
	}
	// Integers of unknown origin (an input, a sum): (x − z)·s in f32.
	f := n.emit("convert", ir.Attrs{"dtype": ir.F32}, x)
	if q.Zero[0] != 0 {
		f = n.emit("subtract", nil, f, n.scalar(f, float64(q.Zero[0])))
	}
	return one(n.emit("multiply", nil, f, n.scalar(f, float64(q.Scale[0]))))
}

func dynamicQuantize(n *node) ([]item, error) {
	var out []item
	for _, v := range n.emitAll("dynamic_quantize_linear", nil, n.in(0)) {
		out = append(out, item{v: v})
	}
	return out, n.err
}

// adopt gives an 8-bit input of the model the scale that its only reader says
// it has.
func (n *node) adopt(x *ir.Value, q *ir.Quant) bool {
	if x.Def != nil || x.IsConst() || x.Type.Quant != nil || !x.Type.DType.Is8Bit() {
		return false
	}
	for _, k := range n.c.g.Nodes {
		for _, v := range k.Inputs {
			if v == x {
				return false
			}
		}
	}
	x.Type.Quant = q
	return true
}

// quantized gives input i as an activation with the given parameters.
func (n *node) quantized(i int, o ir.Out) *ir.Value {
	x := n.in(i)
	want := ir.PerTensor(o.Scale, o.Zero)
	switch {
	case n.err != nil, x.Type.Quant.Equal(want):
	case x.IsConst():
		return n.c.g.QConst(x.Name, x.Const, want)
	case n.adopt(x, want):
	default:
		n.fail("operand %v was not quantized with scale %v and zero point %d", x.Type, o.Scale, o.Zero)
	}
	return x
}

// weight gives a stored 8-bit weight, its channels last after perm.
func (n *node) weight(i, scale, zero int, perm []int) *ir.Value {
	w := n.in(i)
	q, _ := n.params(scale, zero, w.Type.DType)
	if n.err == nil && (!w.IsConst() || !w.Type.DType.Is8Bit()) {
		n.fail("weight is %v; wanted a stored 8-bit tensor", w.Type)
	}
	if n.err != nil {
		return w
	}
	t := w.Const
	if perm != nil {
		t = n.turnTensor(t, perm)
	}
	if len(q.Scale) > 1 {
		q.Axis = len(t.Shape) - 1
	}
	return n.c.g.QConst(w.Name, t, q)
}

// mult makes the constant of factors for a weight, an input and an output scale.
func (n *node) mult(sx float32, w *ir.Value, sy float32) *ir.Value {
	c := w.Type.Shape[len(w.Type.Shape)-1]
	sw := make([]float32, c)
	for i := range sw {
		sw[i] = w.Type.Quant.ScaleAt(i)
	}
	return n.c.g.Const(n.resultName()+".mult", ir.From(quant.Mults(sx, sw, sy), c))
}

func qlinearConv(n *node) ([]item, error) {
	xo, ok := n.perTensor(1, 2, ir.U8)
	yo, ok2 := n.perTensor(6, 7, ir.U8)
	if !ok || !ok2 {
		return nil, n.err
	}
	x, w := n.quantized(0, xo), n.in(3)
	if r := len(w.Type.Shape); r < 3 || r > 4 {
		return nil, fmt.Errorf("weight is %v; wanted 1 or 2 spatial axes", w.Type)
	}
	strides, dilation, pads := n.window(x.Type.Shape, w.Type.Shape[2:])
	w = n.weight(3, 4, 5, weightPerm(len(w.Type.Shape), false))
	if n.err != nil {
		return nil, n.err
	}
	attrs := ir.Attrs{"strides": strides, "dilation": dilation, "padding": pads, "groups": n.attrInt("group", 1)}.SetOut(yo)
	y := n.emit("q_convolution", attrs, n.channelsLast(x), w, n.opt(8), n.mult(xo.Scale, w, yo.Scale))
	return one(n.channelsFirst(y))
}

func qlinearMatMul(n *node) ([]item, error) {
	ao, ok := n.perTensor(1, 2, ir.U8)
	yo, ok2 := n.perTensor(6, 7, ir.U8)
	if !ok || !ok2 {
		return nil, n.err
	}
	a, b := n.quantized(0, ao), n.in(3)
	if b.IsConst() && len(b.Type.Shape) == 2 {
		w := n.weight(3, 4, 5, nil)
		if n.err != nil {
			return nil, n.err
		}
		return one(n.emit("q_dot", ir.Attrs{}.SetOut(yo), a, w, nil, n.mult(ao.Scale, w, yo.Scale)))
	}
	bo, ok := n.perTensor(4, 5, ir.U8)
	if !ok {
		return nil, n.err
	}
	return one(n.emit("q_dot_general", ir.Attrs{}.SetOut(yo), a, n.quantized(3, bo)))
}

// qlinearBinary: a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero.
func qlinearBinary(op string) converter {
	return func(n *node) ([]item, error) {
		ao, ok := n.perTensor(1, 2, ir.U8)
		bo, ok2 := n.perTensor(4, 5, ir.U8)
		yo, ok3 := n.perTensor(6, 7, ir.U8)
		if !ok || !ok2 || !ok3 {
			return nil, n.err
		}
		return one(n.emit(op, ir.Attrs{}.SetOut(yo), n.quantized(0, ao), n.quantized(3, bo)))
	}
}

func qlinearGlobalPool(n *node) ([]item, error) {
	xo, ok := n.perTensor(1, 2, ir.U8)
	yo, ok2 := n.perTensor(3, 4, ir.U8)
	if !ok || !ok2 {
		return nil, n.err
	}
	x := n.quantized(0, xo)
	var axes []int
	for a := 2; a < len(x.Type.Shape); a++ {
		axes = append(axes, a)
	}
	if n.attrInt("channels_last", 0) != 0 {
		for i := range axes {
			axes[i]--
		}
	}
	return one(n.emit("q_reduce_mean", ir.Attrs{"axes": axes}.SetOut(yo), x))
}

// zeroPoint gives an optional zero point as a scalar, or one per column.
func (n *node) zeroPoint(i int) *ir.Value {
	z := n.opt(i)
	if z == nil || len(z.Type.Shape) == 0 {
		return z
	}
	if z.Type.Shape.Elems() == 1 {
		return n.emit("reshape", ir.Attrs{"shape": ir.Shape{}}, z)
	}
	return z
}

func matMulInteger(n *node) ([]item, error) {
	return one(n.matmul(n.in(0), n.in(1), func(a, b *ir.Value) *ir.Value {
		return n.emit("dot_integer", nil, a, b, n.zeroPoint(2), n.zeroPoint(3))
	}))
}

func convInteger(n *node) ([]item, error) {
	x, w := n.in(0), n.in(1)
	if r := len(w.Type.Shape); r < 3 || r > 4 {
		return nil, fmt.Errorf("weight is %v; wanted 1 or 2 spatial axes", w.Type)
	}
	strides, dilation, pads := n.window(x.Type.Shape, w.Type.Shape[2:])
	y := n.emit("convolution_integer", ir.Attrs{"strides": strides, "dilation": dilation, "padding": pads, "groups": n.attrInt("group", 1)},
		n.channelsLast(x), n.turn(w, weightPerm(len(w.Type.Shape), false)), n.zeroPoint(2), n.zeroPoint(3))
	return one(n.channelsFirst(y))
}
