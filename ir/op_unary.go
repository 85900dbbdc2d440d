package ir

import "fmt"

var unaryOps = []Op{
	numeric("negate", "−x"),
	numeric("abs", "|x|"),
	numeric("sign", "−1, 0 or 1"),
	unary("exponential", "e^x"),
	unary("log", "natural logarithm"),
	unary("sqrt", "square root"),
	unary("rsqrt", "1/√x"),
	unary("reciprocal", "1/x"),
	unary("sine", "sin x, radians"),
	unary("cosine", "cos x, radians"),
	unary("tanh", "hyperbolic tangent"),
	unary("logistic", "1/(1+e^−x); ONNX Sigmoid"),
	unary("erf", "error function"),
	unary("floor", "greatest integer not above x"),
	unary("ceil", "least integer not below x"),
	unary("round_nearest_even", "nearest integer, ties to even; ONNX Round"),
	numeric("relu", "max(x, 0)"),
	unary("clamp", "min(max(x, min), max); ONNX Clip",
		AttrSpec{Name: "min", Kind: Float, Doc: "lower bound; −Inf for none"}, AttrSpec{Name: "max", Kind: Float, Doc: "upper bound; +Inf for none"}),
	unary("leaky_relu", "x where x ≥ 0, alpha·x elsewhere", AttrSpec{Name: "alpha", Kind: Float, Default: 0.01}),
	{
		Name: "prelu", Doc: "x where x ≥ 0, slope·x elsewhere; slope broadcasts; ONNX PRelu", Class: Unary, Outs: 1, Grad: Differentiable,
		In:    []Operand{{Name: "x"}, {Name: "slope"}},
		Infer: inferPRelu, MACs: noMACs, Eval: evalPRelu,
	},
	unary("hard_sigmoid", "min(max(alpha·x + beta, 0), 1)",
		AttrSpec{Name: "alpha", Kind: Float, Default: float64(float32(1.0 / 6))}, AttrSpec{Name: "beta", Kind: Float, Default: 0.5}),
	unary("hard_swish", "x·min(max(x/6 + 1/2, 0), 1) (MobileNetV3)"),
	unary("silu", "x·logistic(x); Swish"),
	unary("gelu", "x·Φ(x), by erf or by tanh; ONNX Gelu",
		AttrSpec{Name: "approximate", Kind: Str, Default: "none", Enum: []string{"none", "tanh"}}),
	unary("elu", "x where x ≥ 0, alpha·(e^x − 1) elsewhere", AttrSpec{Name: "alpha", Kind: Float, Default: 1.0}),
	unary("selu", "scale·(max(x,0) + min(alpha·(e^x − 1), 0)) (Klambauer et al. 2017)",
		AttrSpec{Name: "alpha", Kind: Float, Default: 1.6732631921768188}, AttrSpec{Name: "scale", Kind: Float, Default: 1.0507010221481323}),
	unary("softplus", "log(1 + e^x)"),
	unary("mish", "x·tanh(softplus(x))"),
	{
		Name: "is_nan", Doc: "whether x is not a number, as bool", Class: Unary, In: oneIn, Outs: 1, Grad: NoGrad,
		Infer: func(n *Node) ([]Type, error) {
			t := n.Inputs[0].Type
			if !t.DType.IsFloat() {
				return nil, fmt.Errorf("operand is %v; wanted a float", t)
			}
			return []Type{{DType: Bool, Shape: t.Shape}}, nil
		},
		MACs: noMACs, Eval: evalIsNaN,
	},
	{
		Name: "convert", Doc: "another element type; floats truncate toward zero (StableHLO convert)", Class: Unary, In: oneIn, Outs: 1, Grad: Differentiable,
		Attrs: []AttrSpec{{Name: "dtype", Kind: Str, Doc: "the element type wanted"}},
		Infer: inferConvert, MACs: noMACs, Eval: evalConvert,
	},
}

// unary makes the row of an elementwise float function.
func unary(name, doc string, attrs ...AttrSpec) Op {
	return Op{
		Name: name, Doc: doc, Class: Unary, In: oneIn, Attrs: attrs, Outs: 1, Grad: Differentiable,
		Infer: inferUnary, MACs: noMACs, Eval: evalUnary,
	}
}

// numeric is unary for functions that integers have too.
func numeric(name, doc string) Op {
	o := unary(name, doc)
	o.Infer = inferNumeric
	return o
}

func inferUnary(n *Node) ([]Type, error) {
	t := n.Inputs[0].Type
	if t.DType != F32 && t.DType != F64 {
		return nil, fmt.Errorf("operand is %v; wanted f32", t)
	}
	return []Type{t}, nil
}

func inferNumeric(n *Node) ([]Type, error) {
	t := n.Inputs[0].Type
	switch {
	case t.Quant != nil:
		return nil, fmt.Errorf("operand is %v; quantized values take q_lookup", t)
	case t.DType == Bool || t.DType == F16 || t.DType == BF16:
		return nil, fmt.Errorf("operand is %v; convert it first", t)
	}
	return []Type{t}, nil
}

func inferPRelu(n *Node) ([]Type, error) {
	if _, err := wantFloat(n); err != nil {
		return nil, err
	}
	x, s := n.Inputs[0].Type, n.Inputs[1].Type
	b, err := Broadcast(x.Shape, s.Shape)
	if err != nil {
		return nil, err
	}
	if !b.Equal(x.Shape) {
		return nil, fmt.Errorf("slope %v does not broadcast to %v", s, x)
	}
	return []Type{x}, nil
}

func inferConvert(n *Node) ([]Type, error) {
	d, ok := ParseDType(n.Str("dtype"))
	if !ok {
		return nil, fmt.Errorf("dtype is %q; wanted one of %v", n.Str("dtype"), dtypeNames[1:])
	}
	t := n.Inputs[0].Type
	if t.Quant != nil {
		return nil, fmt.Errorf("operand is %v; wanted uniform_dequantize", t)
	}
	return []Type{{DType: d, Shape: t.Shape}}, nil
}
