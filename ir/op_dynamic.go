package ir

import (
	"fmt"
	"math"
)

// Ops of models whose activation scales are found while they run.
var dynamicOps = []Op{
	{
		Name: "dynamic_quantize_linear", Class: Quantized, In: oneIn, Outs: 3, Grad: NoGrad,
		Doc:   "x f32 to u8 with the scale and zero point of its own range: q, scale f32[], zero u8[]; ONNX DynamicQuantizeLinear",
		Infer: inferDynamicQuantize, MACs: noMACs, Eval: evalDynamicQuantize,
	},
	{
		Name: "dot_integer", Class: Quantized, Outs: 1, Grad: NoGrad,
		In:    []Operand{{Name: "a"}, {Name: "b"}, {Name: "a_zero", Optional: true}, {Name: "b_zero", Optional: true}},
		Doc:   "Σ(a−za)(b−zb) as i32, leading axes broadcast; zero points are 8-bit scalars, b's may be one per column; ONNX MatMulInteger",
		Infer: inferDotInteger, MACs: dotIntegerMACs, Eval: evalDotInteger,
	},
	{
		Name: "dynamic_dot", Class: Quantized, In: convIn, Outs: 1, Grad: NoGrad,
		Doc:   "dense layer, each row of x f32 quantized to u8 by its own range (RowScale): y = float32(Σ(q−z)(w−zw))·float32(s·sw[c]) + bias[c], product and sum rounded each; w s8 [K,N] with its scales sw, bias f32[N]",
		Infer: inferDynamicDot, MACs: dotMACs, Eval: evalDynamicDot,
	},
	{
		Name: "convolution_integer", Class: Quantized, Outs: 1, Grad: NoGrad,
		In:    []Operand{{Name: "x"}, {Name: "w"}, {Name: "x_zero", Optional: true}, {Name: "w_zero", Optional: true}},
		Doc:   "Σ(x−zx)(w−zw) as i32, padding is zx; zero points are 8-bit scalars, w's may be one per output channel; ONNX ConvInteger",
		Attrs: join(windowAttrs, groupsAttr), Infer: inferConvInteger, MACs: convMACs, Eval: evalConvInteger,
	},
}

func inferDynamicQuantize(n *Node) ([]Type, error) {
	t := n.Inputs[0].Type
	if t.DType != F32 && t.DType != F64 {
		return nil, fmt.Errorf("operand is %v; wanted f32", t)
	}
	return []Type{{DType: U8, Shape: t.Shape}, {DType: F32, Shape: Shape{}}, {DType: U8, Shape: Shape{}}}, nil
}

// DynamicParams gives the scale and zero point of a range, as ONNX
// DynamicQuantizeLinear: scale = (max(hi,0) − min(lo,0))/255, zero =
// round(−lo/scale), all in float32; an all-zero tensor gets scale 1.
func DynamicParams(lo, hi float32) (scale float32, zero uint8) {
	lo, hi = min(lo, 0), max(hi, 0)
	scale = float32(hi-lo) / 255
	if scale == 0 {
		return 1, 0
	}
	z := math.RoundToEven(float64(float32(-lo) / scale))
	return scale, uint8(min(max(z, 0), 255))
}

func evalDynamicQuantize(_ *Node, in []*Tensor) ([]*Tensor, error) {
	x := in[0].Converted(F32).F32()
	var lo, hi float32
	for _, v := range x {
		if v != v || v-v != 0 {
			return nil, fmt.Errorf("the tensor holds %v; wanted finite numbers", v)
		}
		lo, hi = min(lo, v), max(hi, v)
	}
	scale, zero := DynamicParams(lo, hi)
	out := NewTensor(U8, in[0].Shape...)
	q := out.U8()
	for i, v := range x {
		q[i] = uint8(min(max(math.RoundToEven(float64(v/scale))+float64(zero), 0), 255))
	}
	return []*Tensor{out, Scalar(scale), Scalar(zero)}, nil
}

func checkZero(n *Node, at, channels int) error {
	z := n.In(at)
	if z == nil {
		return nil
	}
	t := z.Type
	if t.DType != n.Inputs[at-2].Type.DType || t.Shape.Elems() != 1 && !(at == 3 && t.Shape.Equal(Shape{channels})) {
		return fmt.Errorf("%s is %v; wanted a scalar of %v", n.Op.In[at].Name, t, n.Inputs[at-2].Type.DType)
	}
	return nil
}

func integerOperands(n *Node, channels int) error {
	for i := range 2 {
		if t := n.Inputs[i].Type; !t.DType.Is8Bit() {
			return fmt.Errorf("operand %s is %v; wanted u8 or s8", n.Op.In[i].Name, t)
		}
	}
	if err := checkZero(n, 2, channels); err != nil {
		return err
	}
	return checkZero(n, 3, channels)
}

// integerDims reads a product without transposition.
func integerDims(n *Node) (lead Shape, m, k, nn int, err error) {
	a, b := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	if len(a) < 2 || len(b) < 2 || a[len(a)-1] != b[len(b)-2] {
		return nil, 0, 0, 0, fmt.Errorf("operands are %v and %v; wanted [...,M,K] and [...,K,N]", a, b)
	}
	lead, err = Broadcast(a[:len(a)-2], b[:len(b)-2])
	return lead, a[len(a)-2], a[len(a)-1], b[len(b)-1], err
}

func inferDotInteger(n *Node) ([]Type, error) {
	lead, m, _, nn, err := integerDims(n)
	if err != nil {
		return nil, err
	}
	return []Type{{DType: I32, Shape: append(lead.Clone(), m, nn)}}, integerOperands(n, nn)
}

func dotIntegerMACs(n *Node) int64 {
	_, _, k, _, err := integerDims(n)
	if err != nil {
		return 0
	}
	return int64(n.Outputs[0].Type.Shape.Elems()) * int64(k)
}

func inferConvInteger(n *Node) ([]Type, error) {
	s, err := convShape(n)
	if err != nil {
		return nil, err
	}
	return []Type{{DType: I32, Shape: s}}, integerOperands(n, s[len(s)-1])
}

// minusZero is centred with the zero point given as a tensor.
func minusZero(t, zero *Tensor) []int32 {
	q := &Quant{Axis: -1, Zero: []int32{0}}
	if zero != nil {
		get := zero.get32()
		q.Zero = make([]int32, zero.Len())
		for i := range q.Zero {
			q.Zero[i] = get(i)
		}
		if len(q.Zero) > 1 {
			q.Axis = len(t.Shape) - 1
		}
	}
	return centred(t, q)
}

func evalDotInteger(n *Node, in []*Tensor) ([]*Tensor, error) {
	lead, m, k, nn, err := integerDims(n)
	if err != nil {
		return nil, err
	}
	out := NewTensor(I32, n.Outputs[0].Type.Shape...)
	y := out.I32()
	a, b := minusZero(in[0], in[2]), minusZero(in[1], in[3])
	la, lb := in[0].Shape[:len(in[0].Shape)-2], in[1].Shape[:len(in[1].Shape)-2]
	for l := range lead.Elems() {
		matSums(a[BroadcastIndex(l, lead, la)*m*k:], b[BroadcastIndex(l, lead, lb)*k*nn:], m, k, nn, nil, func(i, _ int, acc int32) { y[l*m*nn+i] = acc })
	}
	return []*Tensor{out}, nil
}

func evalConvInteger(n *Node, in []*Tensor) ([]*Tensor, error) {
	win, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	shape := n.Outputs[0].Type.Shape
	out := NewTensor(I32, shape...)
	y := out.I32()
	x, w := minusZero(in[0], in[2]), minusZero(in[1], in[3])
	convSums(x, in[0].Shape[0], in[0].Shape[len(in[0].Shape)-1], win, w, shape[len(shape)-1], nil, func(i, _ int, acc int32) { y[i] = acc })
	return []*Tensor{out}, nil
}

func inferDynamicDot(n *Node) ([]Type, error) {
	if t := n.Inputs[0].Type; t.DType != F32 && t.DType != F64 {
		return nil, fmt.Errorf("operand x is %v; wanted f32", t)
	}
	s, err := dotShape(n)
	if err != nil {
		return nil, err
	}
	w := n.Inputs[1].Type
	if !w.DType.Is8Bit() || w.Quant == nil || w.Quant.Axis >= 0 && w.Quant.Axis != 1 {
		return nil, fmt.Errorf("weight is %v; wanted s8 with a scale per output channel", w)
	}
	return []Type{{DType: F32, Shape: s}}, checkBias(n, 2, s[len(s)-1], F32)
}

// RowScale gives what quantizes a row of a dynamic_dot: with lo ≤ 0 ≤ hi the
// row's range, scale = clamp((hi−lo)·(1/255), 2^−100, 2^100), inv = 1/scale
// rounded once, and zero = round_half_even(min(−lo·inv, 255)).
func RowScale(lo, hi float32) (scale, inv float32, zero int32) {
	scale = float32(float32(hi-lo) * float32(1.0/255))
	scale = min(max(scale, 0x1p-100), 0x1p100)
	inv = InverseScale(scale)
	return scale, inv, int32(math.RoundToEven(float64(min(float32(-lo*inv), 255))))
}

// evalDynamicDot: NaN is in no range and has the level of 0, as in
// uniform_quantize.
func evalDynamicDot(n *Node, in []*Tensor) ([]*Tensor, error) {
	k, nn := in[1].Shape[0], in[1].Shape[1]
	shape := n.Outputs[0].Type.Shape
	out := NewTensor(F32, shape...)
	x, y := in[0].Converted(F32).F32(), out.F32()
	wq := n.Inputs[1].Type.Quant
	w := centred(in[1], wq)
	var bias []float32
	if in[2] != nil {
		bias = in[2].Converted(F32).F32()
	}
	q := make([]int32, k)
	for r := range shape[:len(shape)-1].Elems() {
		row := x[r*k : (r+1)*k]
		var lo, hi float32
		for _, v := range row {
			if v < lo {
				lo = v
			}
			if v > hi {
				hi = v
			}
		}
		scale, inv, zero := RowScale(lo, hi)
		o := Out{DType: U8, Zero: zero, QMax: 255}
		for i, v := range row {
			q[i] = QuantizeOne(v, inv, o) - zero
		}
		matSums(q, w, 1, k, nn, nil, func(i, c int, acc int32) {
			v := float32(float32(acc) * float32(scale*wq.ScaleAt(c)))
			if bias != nil {
				v += bias[c]
			}
			y[r*nn+i] = v
		})
	}
	return []*Tensor{out}, nil
}
