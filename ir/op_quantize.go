package ir

import "fmt"

// outAttrs say what a quantized op gives. qmin and qmax clamp the result, so
// that ReLU and ReLU6 cost nothing; qmin ≥ qmax stands for the type's range.
var outAttrs = []AttrSpec{
	{Name: "out_dtype", Kind: Str, Default: "u8", Enum: []string{"u8", "s8", "f32", "i32"}},
	{Name: "out_scale", Kind: Float, Default: 1.0, Doc: "scale of an 8-bit result, a float32"},
	{Name: "out_zero", Kind: Int, Default: 0, Doc: "zero point of an 8-bit result"},
	{Name: "qmin", Kind: Int, Default: 0, Doc: "least value of an 8-bit result"},
	{Name: "qmax", Kind: Int, Default: 0, Doc: "greatest value of an 8-bit result"},
}

var quantizeOps = []Op{
	{
		Name: "uniform_quantize", Class: Quantized, In: oneIn, Outs: 1, Grad: NoGrad, Attrs: outAttrs,
		Doc:   "f32 to 8 bit: z + round_half_even(clamp(x·(1/s), qmin−z, qmax−z)), 1/s a float32; NaN gives z",
		Infer: inferQuantize, MACs: noMACs, Eval: evalQuantize,
	},
	{
		Name: "uniform_dequantize", Class: Quantized, In: oneIn, Outs: 1, Grad: NoGrad,
		Doc:   "float32(q − z)·s, per tensor or per channel as the operand's type says",
		Infer: inferDequantize, MACs: noMACs, Eval: evalDequantize,
	},
}

// Out is what a quantized op gives, read from its attributes.
type Out struct {
	DType            DType
	Scale            float32
	Zero, QMin, QMax int32
}

// OutOf reads the node's out_dtype, out_scale, out_zero, qmin and qmax.
func OutOf(n *Node) (Out, error) {
	d, _ := ParseDType(n.Str("out_dtype"))
	o := Out{DType: d, Scale: n.F32("out_scale"), Zero: int32(n.Int("out_zero")), QMin: int32(n.Int("qmin")), QMax: int32(n.Int("qmax"))}
	if !d.Is8Bit() {
		return o, nil
	}
	lo, hi := d.Range()
	if o.QMin >= o.QMax {
		o.QMin, o.QMax = lo, hi
	}
	if o.QMin < lo || o.QMax > hi {
		return o, fmt.Errorf("qmin %d and qmax %d lie outside %v", o.QMin, o.QMax, d)
	}
	return o, nil
}

// Type is the result type in the given shape.
func (o Out) Type(s Shape) Type {
	t := Type{DType: o.DType, Shape: s}
	if o.DType.Is8Bit() {
		t.Quant = PerTensor(o.Scale, o.Zero)
	}
	return t
}

// SetOut writes o to attributes; for a result of F32 or I32 only the type.
func (a Attrs) SetOut(o Out) Attrs {
	a["out_dtype"] = o.DType.String()
	if o.DType.Is8Bit() {
		a["out_scale"], a["out_zero"] = float64(o.Scale), int(o.Zero)
		if lo, hi := o.DType.Range(); o.QMin < o.QMax && (o.QMin != lo || o.QMax != hi) {
			a["qmin"], a["qmax"] = int(o.QMin), int(o.QMax)
		}
	}
	return a
}

func inferQuantize(n *Node) ([]Type, error) {
	t := n.Inputs[0].Type
	if t.DType != F32 && t.DType != F64 {
		return nil, fmt.Errorf("operand is %v; wanted f32", t)
	}
	o, err := OutOf(n)
	if err != nil {
		return nil, err
	}
	if !o.DType.Is8Bit() {
		return nil, fmt.Errorf("out_dtype is %v; wanted u8 or s8", o.DType)
	}
	return []Type{o.Type(t.Shape)}, nil
}

func inferDequantize(n *Node) ([]Type, error) {
	t := n.Inputs[0].Type
	if t.Quant == nil {
		return nil, fmt.Errorf("operand is %v; wanted a quantized type", t)
	}
	return []Type{{DType: F32, Shape: t.Shape}}, nil
}

func evalQuantize(n *Node, in []*Tensor) ([]*Tensor, error) {
	o, err := OutOf(n)
	if err != nil {
		return nil, err
	}
	x := in[0].Converted(F32).F32()
	out := NewTensor(o.DType, in[0].Shape...)
	inv := InverseScale(o.Scale)
	put := out.put8()
	for i, v := range x {
		put(i, QuantizeOne(v, inv, o))
	}
	return []*Tensor{out}, nil
}

// InverseScale is 1/s as uniform_quantize uses it.
func InverseScale(s float32) float32 { return float32(1 / float64(s)) }

// QuantizeOne is uniform_quantize of one number; inv is InverseScale.
func QuantizeOne(v, inv float32, o Out) int32 {
	if v != v {
		return o.Zero
	}
	return requant(float32(v*inv), o)
}

func evalDequantize(n *Node, in []*Tensor) ([]*Tensor, error) {
	q := n.Inputs[0].Type.Quant
	out := NewTensor(F32, in[0].Shape...)
	y := out.F32()
	get := in[0].get32()
	inner, channels := 1, 1
	if q.Axis >= 0 {
		inner, channels = in[0].Shape[q.Axis+1:].Elems(), in[0].Shape[q.Axis]
	}
	for i := range y {
		c := i / inner % channels
		y[i] = float32(float32(get(i)-q.ZeroAt(c)) * q.ScaleAt(c))
	}
	return []*Tensor{out}, nil
}

// get32 reads elements of an integer tensor of at most 32 bits.
func (t *Tensor) get32() func(i int) int32 {
	switch d := t.Data.(type) {
	case []uint8:
		return func(i int) int32 { return int32(d[i]) }
	case []int8:
		return func(i int) int32 { return int32(d[i]) }
	case []int32:
		return func(i int) int32 { return d[i] }
	}
	panic("BUG: " + t.DType.String() + " read as an integer")
}

// put8 writes elements of an 8-bit tensor.
func (t *Tensor) put8() func(i int, v int32) {
	if d, ok := t.Data.([]int8); ok {
		return func(i int, v int32) { d[i] = int8(v) }
	}
	d := t.U8()
	return func(i int, v int32) { d[i] = uint8(v) }
}
