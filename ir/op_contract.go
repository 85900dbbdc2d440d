package ir

import "fmt"

var activationAttrs = []AttrSpec{
	{Name: "activation", Kind: Str, Default: "", Enum: []string{"", "relu", "clamp"}, Doc: "applied to the result"},
	{Name: "act_min", Kind: Float, Default: 0.0, Doc: "lower bound of clamp"},
	{Name: "act_max", Kind: Float, Default: 0.0, Doc: "upper bound of clamp"},
}

var groupsAttr = []AttrSpec{{Name: "groups", Kind: Int, Default: 1, Doc: "channel groups; Cin of them is a depthwise convolution"}}

// winogradAttr chooses an algorithm, and with it the last bits: each target that
// knows it computes as the interpreter does, others compute the chain.
var winogradAttr = []AttrSpec{{Name: "winograd", Kind: Int, Default: 0, Doc: "2 or 4: 3×3 kernels by Winograd's F(2×2, 3×3) or F(4×4, 3×3)"}}

var outputPaddingAttr = []AttrSpec{{Name: "output_padding", Kind: Ints, Default: []int{}, Doc: "extra extent at the end of each spatial axis"}}

var transposeAttrs = []AttrSpec{
	{Name: "transpose_a", Kind: BoolA, Default: false, Doc: "a is [...,K,M]"},
	{Name: "transpose_b", Kind: BoolA, Default: false, Doc: "b is [...,N,K]"},
}

var contractionOps = []Op{
	{
		Name: "convolution", Class: Contraction, In: convIn, Outs: 1, Grad: Differentiable,
		Doc:   "cross-correlation, x [N,H,W,Cin] with w [KH,KW,Cin/groups,Cout] (1-D: [N,W,Cin], [K,Cin/groups,Cout]); ONNX Conv",
		Attrs: join(windowAttrs, groupsAttr, activationAttrs, winogradAttr),
		Infer: inferConv, MACs: convMACs, Eval: evalConvolution,
	},
	{
		Name: "convolution_transpose", Class: Contraction, In: convIn, Outs: 1, Grad: Differentiable,
		Doc:   "transposed convolution, x [N,H,W,Cin] with w [KH,KW,Cin,Cout/groups]; ONNX ConvTranspose",
		Attrs: join(windowAttrs, groupsAttr, outputPaddingAttr),
		Infer: inferConvTranspose, MACs: convTransposeMACs, Eval: evalConvolutionTranspose,
	},
	{
		Name: "dot", Class: Contraction, In: convIn, Outs: 1, Grad: Differentiable,
		Doc:   "dense layer, x [...,K] times w [K,N]",
		Attrs: activationAttrs,
		Infer: inferDot, MACs: dotMACs, Eval: evalDot,
	},
	{
		Name: "dot_general", Class: Contraction, In: twoIn, Outs: 1, Grad: Differentiable,
		Doc:   "batched matrix product, a [...,M,K] times b [...,K,N]; leading axes broadcast; ONNX MatMul",
		Attrs: transposeAttrs,
		Infer: inferDotGeneral, MACs: dotGeneralMACs, Eval: evalDotGeneral,
	},
}

// convShape is the shape rule that float, quantized and integer convolutions
// share; it gives the result's shape.
func convShape(n *Node) (Shape, error) {
	w, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	x, ws := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	cin, wcin, cout := x[len(x)-1], ws[len(ws)-2], ws[len(ws)-1]
	if cin != wcin*w.Groups {
		return nil, fmt.Errorf("input has %d channels; weight %v with groups=%d wants %d", cin, ws, w.Groups, wcin*w.Groups)
	}
	if cout%w.Groups != 0 {
		return nil, fmt.Errorf("%d output channels in %d groups", cout, w.Groups)
	}
	return w.outShape(x[0], cout), nil
}

func checkBias(n *Node, at, channels int, d DType) error {
	b := n.In(at)
	if b == nil {
		return nil
	}
	if b.Type.DType != d || len(b.Type.Shape) != 1 || b.Type.Shape[0] != channels {
		return fmt.Errorf("%s is %v; wanted %v[%d]", n.Op.In[at].Name, b.Type, d, channels)
	}
	return nil
}

// wantFloat checks that the operands present have one float type and gives it.
func wantFloat(n *Node) (DType, error) {
	d := Invalid
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		t := v.Type.DType
		if t != F32 && t != F64 || d != Invalid && t != d {
			return d, fmt.Errorf("operand %d is %v; wanted f32", i, v.Type)
		}
		d = t
	}
	return d, nil
}

func inferConv(n *Node) ([]Type, error) {
	d, err := wantFloat(n)
	if err != nil {
		return nil, err
	}
	s, err := convShape(n)
	if err != nil {
		return nil, err
	}
	if err := checkWinograd(n); err != nil {
		return nil, err
	}
	return []Type{{DType: d, Shape: s}}, checkBias(n, 2, s[len(s)-1], d)
}

// convMACs counts out positions × Cout × taps × Cin/groups.
func convMACs(n *Node) int64 {
	ws := n.Inputs[1].Type.Shape
	return int64(n.Outputs[0].Type.Shape.Elems()) * int64(ws[:len(ws)-1].Elems())
}

// convTransposeShape is the shape rule that float and quantized transposed
// convolutions share.
func convTransposeShape(n *Node) (Shape, error) {
	w, err := TransposedWindowOf(n)
	if err != nil {
		return nil, err
	}
	x, ws := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	cin, cout := x[len(x)-1], ws[len(ws)-1]*w.Groups
	if cin != ws[len(ws)-2] || cin%w.Groups != 0 {
		return nil, fmt.Errorf("input has %d channels; weight is %v with groups=%d", cin, ws, w.Groups)
	}
	return w.outShape(x[0], cout), nil
}

func inferConvTranspose(n *Node) ([]Type, error) {
	d, err := wantFloat(n)
	if err != nil {
		return nil, err
	}
	s, err := convTransposeShape(n)
	if err != nil {
		return nil, err
	}
	return []Type{{DType: d, Shape: s}}, checkBias(n, 2, s[len(s)-1], d)
}

// TransposedWindowOf is WindowOf for convolution_transpose: Out is larger than
// In; Before and After crop the result.
func TransposedWindowOf(n *Node) (Window, error) {
	x, ws := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	r := len(x) - 2
	if r != 1 && r != 2 || len(ws) != r+2 {
		return Window{}, fmt.Errorf("input is %v and weight %v; wanted [N,H,W,C] and [KH,KW,Cin,Cout/groups]", x, ws)
	}
	get := func(name string, def, count int) ([]int, error) {
		v := n.Ints(name)
		if len(v) == 0 {
			v = make([]int, count)
			for i := range v {
				v[i] = def
			}
		}
		if len(v) != count {
			return nil, fmt.Errorf("%s %v: wanted %d entries", name, v, count)
		}
		for _, e := range v {
			if e < def {
				return nil, fmt.Errorf("%s %v: wanted %d or more", name, v, def)
			}
		}
		return v, nil
	}
	w := Window{In: append([]int{}, x[1:1+r]...), Kernel: append([]int{}, ws[:r]...), Groups: n.Int("groups")}
	if w.Groups < 1 {
		return w, fmt.Errorf("groups is %d; wanted 1 or more", w.Groups)
	}
	var err error
	var pad, extra []int
	if w.Stride, err = get("strides", 1, r); err != nil {
		return w, err
	}
	if w.Dilation, err = get("dilation", 1, r); err != nil {
		return w, err
	}
	if pad, err = get("padding", 0, 2*r); err != nil {
		return w, err
	}
	if extra, err = get("output_padding", 0, r); err != nil {
		return w, err
	}
	w.Before, w.After = pad[:r], pad[r:]
	for i := range w.In {
		if w.In[i] < 0 {
			return w, fmt.Errorf("input is %v; spatial axes must not depend on the batch", x)
		}
		out := (w.In[i]-1)*w.Stride[i] + (w.Kernel[i]-1)*w.Dilation[i] + 1 + extra[i] - w.Before[i] - w.After[i]
		if out < 1 {
			return w, fmt.Errorf("padding %v leaves nothing of axis %d", pad, i+1)
		}
		w.Out = append(w.Out, out)
	}
	return w, nil
}

// convTransposeMACs counts in positions × Cin × taps × Cout/groups.
func convTransposeMACs(n *Node) int64 {
	ws := n.Inputs[1].Type.Shape
	x := n.Inputs[0].Type.Shape
	return int64(x.Elems()) * int64(ws.Elems()/max(1, ws[len(ws)-2]))
}

// dotShape is the shape rule that float, quantized and integer dense layers share.
func dotShape(n *Node) (Shape, error) {
	x, w := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	if len(x) < 1 || len(w) != 2 {
		return nil, fmt.Errorf("input is %v and weight %v; wanted [...,K] and [K,N]", x, w)
	}
	if x[len(x)-1] != w[0] {
		return nil, fmt.Errorf("input has %s features, weight %v wants %d; transpose the weight?", dimString(x[len(x)-1]), w, w[0])
	}
	s := x.Clone()
	s[len(s)-1] = w[1]
	return s, nil
}

func inferDot(n *Node) ([]Type, error) {
	d, err := wantFloat(n)
	if err != nil {
		return nil, err
	}
	s, err := dotShape(n)
	if err != nil {
		return nil, err
	}
	return []Type{{DType: d, Shape: s}}, checkBias(n, 2, s[len(s)-1], d)
}

func dotMACs(n *Node) int64 {
	return int64(n.Inputs[0].Type.Shape.Elems()) * int64(n.Inputs[1].Type.Shape[1])
}

// MatMulDims reads the extents of a batched matrix product: leading axes after
// broadcasting, M, K, N.
func MatMulDims(n *Node) (lead Shape, m, k, nn int, err error) {
	a, b := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	if len(a) < 2 || len(b) < 2 {
		return nil, 0, 0, 0, fmt.Errorf("operands are %v and %v; wanted rank 2 or more", a, b)
	}
	m, k = a[len(a)-2], a[len(a)-1]
	if n.Bool("transpose_a") {
		m, k = k, m
	}
	kb, nb := b[len(b)-2], b[len(b)-1]
	if n.Bool("transpose_b") {
		kb, nb = nb, kb
	}
	if k != kb {
		return nil, 0, 0, 0, fmt.Errorf("operands %v and %v contract %s with %s", a, b, dimString(k), dimString(kb))
	}
	lead, err = Broadcast(a[:len(a)-2], b[:len(b)-2])
	return lead, m, k, nb, err
}

// dotGeneralShape is the shape rule that float and quantized forms share.
func dotGeneralShape(n *Node) (Shape, error) {
	lead, m, _, nn, err := MatMulDims(n)
	if err != nil {
		return nil, err
	}
	return append(lead.Clone(), m, nn), nil
}

func inferDotGeneral(n *Node) ([]Type, error) {
	d, err := wantFloat(n)
	if err != nil {
		return nil, err
	}
	s, err := dotGeneralShape(n)
	return []Type{{DType: d, Shape: s}}, err
}

func dotGeneralMACs(n *Node) int64 {
	_, _, k, _, err := MatMulDims(n)
	if err != nil {
		return 0
	}
	if k < 0 {
		k = -k
	}
	return int64(n.Outputs[0].Type.Shape.Elems()) * int64(k)
}
