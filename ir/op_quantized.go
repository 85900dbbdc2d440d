package ir

import (
	"fmt"
	"math"
)

// Quantized convolutions and products: 8-bit operands, int32 sums, and mult,
// the float32 factor of each output channel that brings sums to the result's
// scale (or to real numbers for an f32 result).
var qconvIn = []Operand{{Name: "x"}, {Name: "w"}, {Name: "bias", Optional: true}, {Name: "mult"}}

var quantizedOps = []Op{
	{
		Name: "q_convolution", Class: Quantized, In: qconvIn, Outs: 1, Grad: NoGrad,
		Doc:   "acc = Σ(x−zx)(w−zw) + bias in int32, padding is zx; requantized by mult[c]; operands as convolution, bias i32[Cout], mult f32[Cout]",
		Attrs: join(windowAttrs, groupsAttr, outAttrs), Infer: inferQConv, MACs: convMACs, Eval: evalQConv,
	},
	{
		Name: "q_convolution_transpose", Class: Quantized, In: qconvIn, Outs: 1, Grad: NoGrad,
		Doc:   "acc = Σ(x−zx)(w−zw) + bias in int32 over the taps that an input reaches; requantized by mult[c]; operands as convolution_transpose, bias i32[Cout], mult f32[Cout]",
		Attrs: join(windowAttrs, groupsAttr, outputPaddingAttr, outAttrs), Infer: inferQConvTranspose, MACs: convTransposeMACs, Eval: evalQConvTranspose,
	},
	{
		Name: "q_dot", Class: Quantized, In: qconvIn, Outs: 1, Grad: NoGrad,
		Doc:   "dense layer, acc = Σ(x−zx)(w−zw) + bias in int32; requantized by mult[c]; bias i32[N], mult f32[N]",
		Attrs: outAttrs, Infer: inferQDot, MACs: dotMACs, Eval: evalQDot,
	},
	{
		Name: "q_dot_general", Class: Quantized, In: twoIn, Outs: 1, Grad: NoGrad,
		Doc:   "batched product of two activations, acc = Σ(a−za)(b−zb); factor sa·sb/sy",
		Attrs: join(transposeAttrs, outAttrs), Infer: inferQDotGeneral, MACs: dotGeneralMACs, Eval: evalQDotGeneral,
	},
	{
		Name: "q_add", Class: Quantized, In: twoIn, Outs: 1, Grad: NoGrad,
		Doc:   "acc = (a−za)·A + (b−zb)·B with A = round(sa/max(sa,sb)·2^14), B likewise; factor max(sa,sb)·2^−14/sy; broadcasting",
		Attrs: outAttrs, Infer: inferQBinary, MACs: noMACs, Eval: evalQAdd,
	},
	{
		Name: "q_multiply", Class: Quantized, In: twoIn, Outs: 1, Grad: NoGrad,
		Doc:   "acc = (a−za)(b−zb); factor sa·sb/sy; broadcasting",
		Attrs: outAttrs, Infer: inferQBinary, MACs: noMACs, Eval: evalQMultiply,
	},
	{
		Name: "q_average_pool", Class: Quantized, In: oneIn, Outs: 1, Grad: NoGrad,
		Doc:   "acc = Σ(q−z) over each window; factor sx/(count·sy), the count of each window",
		Attrs: join(kernelAttr, windowAttrs, includePadAttr, outAttrs), Infer: inferQPool, MACs: noMACs, Eval: evalQAveragePool,
	},
	{
		Name: "q_reduce_mean", Class: Quantized, In: oneIn, Outs: 1, Grad: NoGrad,
		Doc:   "acc = Σ(q−z) over axes; factor sx/(count·sy)",
		Attrs: join(reduceAttrs, outAttrs), Infer: inferQReduce, MACs: noMACs, Eval: evalQReduceMean,
	},
	{
		Name: "q_lookup", Class: Quantized, Outs: 1, Grad: NoGrad, In: []Operand{{Name: "x"}, {Name: "table"}},
		Doc: "table[x], for s8 table[x+128]: a unary function of an 8-bit tensor; the table's element type (u8, s8, f32) is the result's",
		Attrs: []AttrSpec{
			{Name: "out_scale", Kind: Float, Default: 1.0},
			{Name: "out_zero", Kind: Int, Default: 0},
			{Name: "function", Kind: Str, Default: "", Doc: "the float op the table was built from, for export and for readers"},
		},
		Infer: inferQLookup, MACs: noMACs, Eval: evalQLookup,
	},
	{
		Name: "q_softmax", Class: Quantized, Outs: 1, Grad: NoGrad, In: []Operand{{Name: "x"}, {Name: "table"}},
		Doc:   "over the last axis: e = table[max−q] (i32[256]), r = float32(1/sy)/float32(Σe); requantized e·r",
		Attrs: outAttrs, Infer: inferQSoftmax, MACs: noMACs, Eval: evalQSoftmax,
	},
	{
		Name: "q_resize", Class: Quantized, In: oneIn, Outs: 1, Grad: NoGrad,
		Doc:   "linear resize with 11-bit integer weights on each spatial axis: acc = Σ(q−z)·wy·wx; factor sx/sy·2^−(11·axes)",
		Attrs: join(resizeAttrs, outAttrs), Infer: inferQResize, MACs: noMACs, Eval: evalQResize,
	},
}

// requant is the one rounding step of quantized arithmetic: v is
// float32(acc)·m, a float32 already rounded.
func requant(v float32, o Out) int32 {
	lo, hi := float32(o.QMin-o.Zero), float32(o.QMax-o.Zero)
	if !(v > lo) {
		v = lo
	} else if v > hi {
		v = hi
	}
	return o.Zero + int32(math.RoundToEven(float64(v)))
}

// Requant brings an int32 sum to an 8-bit result:
// z + int32(round_half_even(clamp(float32(acc)·m, qmin−z, qmax−z))).
func Requant(acc int32, m float32, o Out) int32 { return requant(float32(float32(acc)*m), o) }

// quant1 gives the per-tensor quantization of an 8-bit operand.
func quant1(n *Node, i int) (*Quant, error) {
	t := n.Inputs[i].Type
	if !t.DType.Is8Bit() || t.Quant == nil || t.Quant.Axis >= 0 {
		return nil, fmt.Errorf("operand %s is %v; wanted u8 or s8 with one scale", n.Op.In[i].Name, t)
	}
	return t.Quant, nil
}

func checkWeights(n *Node, cout int) error {
	w := n.Inputs[1].Type
	if _, err := quant1(n, 0); err != nil {
		return err
	}
	if !w.DType.Is8Bit() || w.Quant == nil || w.Quant.Axis >= 0 && w.Quant.Axis != len(w.Shape)-1 {
		return fmt.Errorf("weight is %v; wanted s8 with a scale per output channel", w)
	}
	if err := checkBias(n, 2, cout, I32); err != nil {
		return err
	}
	return checkBias(n, 3, cout, F32)
}

func outType(n *Node, s Shape) ([]Type, error) {
	o, err := OutOf(n)
	if err != nil {
		return nil, err
	}
	return []Type{o.Type(s)}, nil
}

func inferQConv(n *Node) ([]Type, error) {
	s, err := convShape(n)
	if err != nil {
		return nil, err
	}
	if err := checkWeights(n, s[len(s)-1]); err != nil {
		return nil, err
	}
	return outType(n, s)
}

func inferQConvTranspose(n *Node) ([]Type, error) {
	s, err := convTransposeShape(n)
	if err != nil {
		return nil, err
	}
	if err := checkWeights(n, s[len(s)-1]); err != nil {
		return nil, err
	}
	return outType(n, s)
}

func inferQDot(n *Node) ([]Type, error) {
	s, err := dotShape(n)
	if err != nil {
		return nil, err
	}
	if err := checkWeights(n, s[len(s)-1]); err != nil {
		return nil, err
	}
	return outType(n, s)
}

func inferQDotGeneral(n *Node) ([]Type, error) {
	for i := range 2 {
		if _, err := quant1(n, i); err != nil {
			return nil, err
		}
	}
	s, err := dotGeneralShape(n)
	if err != nil {
		return nil, err
	}
	return outType(n, s)
}

func inferQBinary(n *Node) ([]Type, error) {
	for i := range 2 {
		if _, err := quant1(n, i); err != nil {
			return nil, err
		}
	}
	s, err := Broadcast(n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape)
	if err != nil {
		return nil, err
	}
	return outType(n, s)
}

func inferQPool(n *Node) ([]Type, error) {
	if _, err := quant1(n, 0); err != nil {
		return nil, err
	}
	s, err := poolShape(n)
	if err != nil {
		return nil, err
	}
	return outType(n, s)
}

func inferQReduce(n *Node) ([]Type, error) {
	if _, err := quant1(n, 0); err != nil {
		return nil, err
	}
	axes, err := ReduceAxes(n)
	if err != nil {
		return nil, err
	}
	return outType(n, reduceShape(n.Inputs[0].Type.Shape, axes, n.Bool("keep_dims")))
}

func inferQLookup(n *Node) ([]Type, error) {
	x, t := n.Inputs[0].Type, n.Inputs[1].Type
	if !x.DType.Is8Bit() {
		return nil, fmt.Errorf("operand is %v; wanted u8 or s8", x)
	}
	if !t.Shape.Equal(Shape{256}) || !t.DType.Is8Bit() && t.DType != F32 {
		return nil, fmt.Errorf("table is %v; wanted u8[256], s8[256] or f32[256]", t)
	}
	o := Out{DType: t.DType, Scale: n.F32("out_scale"), Zero: int32(n.Int("out_zero"))}
	return []Type{o.Type(x.Shape)}, nil
}

func inferQSoftmax(n *Node) ([]Type, error) {
	if _, err := quant1(n, 0); err != nil {
		return nil, err
	}
	x := n.Inputs[0].Type.Shape
	if len(x) < 1 || x[len(x)-1] < 1 {
		return nil, fmt.Errorf("operand is %v; wanted [...,K]", x)
	}
	if t := n.Inputs[1].Type; t.DType != I32 || !t.Shape.Equal(Shape{256}) {
		return nil, fmt.Errorf("table is %v; wanted i32[256]", t)
	}
	return outType(n, x)
}

func inferQResize(n *Node) ([]Type, error) {
	if _, err := quant1(n, 0); err != nil {
		return nil, err
	}
	if n.Str("mode") != "linear" {
		return nil, fmt.Errorf("mode is %s; 8-bit nearest resize is resize, cubic is not had", n.Str("mode"))
	}
	s, err := resizeShape(n)
	if err != nil {
		return nil, err
	}
	return outType(n, s)
}

// QMult is the float32 factor of q_dot_general and q_multiply: sa·sb/sy, or
// sa·sb where the result is f32.
func QMult(n *Node) float32 {
	sa, sb := n.Inputs[0].Type.Quant.Scale[0], n.Inputs[1].Type.Quant.Scale[0]
	m := float64(sa) * float64(sb)
	if t := n.Outputs[0].Type; t.Quant != nil {
		m /= float64(t.Quant.Scale[0])
	}
	return float32(m)
}

// QAddConsts gives q_add's integer factors A and B and its float32 factor.
func QAddConsts(n *Node) (a, b int32, m float32) {
	sa, sb := float64(n.Inputs[0].Type.Quant.Scale[0]), float64(n.Inputs[1].Type.Quant.Scale[0])
	top := max(sa, sb)
	a = int32(math.RoundToEven(sa / top * (1 << 14)))
	b = int32(math.RoundToEven(sb / top * (1 << 14)))
	f := top / (1 << 14)
	if t := n.Outputs[0].Type; t.Quant != nil {
		f /= float64(t.Quant.Scale[0])
	}
	return a, b, float32(f)
}

// QMeanMult is the factor of q_average_pool and q_reduce_mean for windows of
// count elements: sx/(count·sy).
func QMeanMult(n *Node, count int) float32 {
	f := float64(n.Inputs[0].Type.Quant.Scale[0]) / float64(count)
	if t := n.Outputs[0].Type; t.Quant != nil {
		f /= float64(t.Quant.Scale[0])
	}
	return float32(f)
}

// QResizeMult is q_resize's factor.
func QResizeMult(n *Node) float32 {
	f := float64(n.Inputs[0].Type.Quant.Scale[0]) * math.Pow(2, -11*float64(len(n.Ints("size"))))
	if t := n.Outputs[0].Type; t.Quant != nil {
		f /= float64(t.Quant.Scale[0])
	}
	return float32(f)
}
