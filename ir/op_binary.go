package ir

import "fmt"

var binaryOps = []Op{
	arith("add", "a + b"),
	arith("subtract", "a − b"),
	arith("multiply", "a · b"),
	arith("divide", "a / b; integers truncate toward zero"),
	arith("maximum", "the greater of a and b; NaN if either is"),
	arith("minimum", "the lesser of a and b; NaN if either is"),
	arith("power", "a to the power of b"),
	arith("remainder", "remainder of a / b with the sign of a (StableHLO remainder, C fmod)"),
	{
		Name: "compare", Doc: "elementwise comparison with broadcasting, as bool", Class: Binary, In: twoIn, Outs: 1, Grad: NoGrad,
		Attrs: []AttrSpec{{Name: "direction", Kind: Str, Enum: []string{"EQ", "NE", "LT", "LE", "GT", "GE"}, Doc: "the relation (StableHLO's names)"}},
		Infer: inferCompare, MACs: noMACs, Eval: evalCompare,
	},
	{
		Name: "select", Doc: "on_true where pred, on_false elsewhere, with broadcasting; ONNX Where", Class: Binary, Outs: 1, Grad: Differentiable,
		In:    []Operand{{Name: "pred"}, {Name: "on_true"}, {Name: "on_false"}},
		Infer: inferSelect, MACs: noMACs, Eval: evalSelect,
	},
	logical("and", "both"),
	logical("or", "either"),
	logical("xor", "one but not the other"),
	{Name: "not", Doc: "negation of bool", Class: Unary, In: oneIn, Outs: 1, Grad: NoGrad, Infer: inferNot, MACs: noMACs, Eval: evalNot},
}

func arith(name, doc string) Op {
	return Op{
		Name: name, Doc: doc + ", with broadcasting (numpy's rule)", Class: Binary, In: twoIn, Outs: 1, Grad: Differentiable,
		Infer: inferArith, MACs: noMACs, Eval: evalBinary,
	}
}

func logical(name, doc string) Op {
	return Op{
		Name: name, Doc: "bool: " + doc + ", with broadcasting", Class: Binary, In: twoIn, Outs: 1, Grad: NoGrad,
		Infer: inferLogical, MACs: noMACs, Eval: evalLogical,
	}
}

func inferArith(n *Node) ([]Type, error) {
	a, b := n.Inputs[0].Type, n.Inputs[1].Type
	if a.DType != b.DType {
		return nil, fmt.Errorf("operands are %v and %v; wanted one element type", a, b)
	}
	if a.DType == Bool || a.DType == F16 || a.DType == BF16 {
		return nil, fmt.Errorf("no arithmetic on %v; convert it first", a.DType)
	}
	if a.Quant != nil || b.Quant != nil {
		return nil, fmt.Errorf("operands %v and %v are quantized; wanted q_%s", a, b, n.Op.Name)
	}
	s, err := Broadcast(a.Shape, b.Shape)
	return []Type{{DType: a.DType, Shape: s}}, err
}

func inferCompare(n *Node) ([]Type, error) {
	a, b := n.Inputs[0].Type, n.Inputs[1].Type
	if a.DType != b.DType {
		return nil, fmt.Errorf("operands are %v and %v; wanted one element type", a, b)
	}
	s, err := Broadcast(a.Shape, b.Shape)
	return []Type{{DType: Bool, Shape: s}}, err
}

func inferLogical(n *Node) ([]Type, error) {
	a, b := n.Inputs[0].Type, n.Inputs[1].Type
	if a.DType != Bool || b.DType != Bool {
		return nil, fmt.Errorf("operands are %v and %v; wanted bool", a, b)
	}
	s, err := Broadcast(a.Shape, b.Shape)
	return []Type{{DType: Bool, Shape: s}}, err
}

func inferNot(n *Node) ([]Type, error) {
	t := n.Inputs[0].Type
	if t.DType != Bool {
		return nil, fmt.Errorf("operand is %v; wanted bool", t)
	}
	return []Type{t}, nil
}

func inferSelect(n *Node) ([]Type, error) {
	p, a, b := n.Inputs[0].Type, n.Inputs[1].Type, n.Inputs[2].Type
	if p.DType != Bool || a.DType != b.DType || !a.Quant.Equal(b.Quant) {
		return nil, fmt.Errorf("operands are %v, %v and %v; wanted bool and two of one type", p, a, b)
	}
	s, err := Broadcast(a.Shape, b.Shape)
	if err != nil {
		return nil, err
	}
	s, err = Broadcast(p.Shape, s)
	return []Type{{DType: a.DType, Shape: s, Quant: a.Quant}}, err
}
