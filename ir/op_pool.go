package ir

import (
	"fmt"
	"slices"
)

var kernelAttr = []AttrSpec{{Name: "kernel", Kind: Ints, Doc: "extent of the window along each spatial axis"}}

var includePadAttr = []AttrSpec{{Name: "count_include_pad", Kind: BoolA, Default: false, Doc: "divide by the whole window at the edges"}}

var reduceAttrs = []AttrSpec{
	{Name: "axes", Kind: Ints, Doc: "the axes reduced"},
	{Name: "keep_dims", Kind: BoolA, Default: true, Doc: "leave reduced axes with extent 1"},
}

var poolOps = []Op{
	{
		Name: "max_pool", Doc: "greatest value in each window, padding excluded; any 8-bit type too", Class: Reduction, In: oneIn, Outs: 1, Grad: Differentiable,
		Attrs: join(kernelAttr, windowAttrs), Infer: inferMaxPool, MACs: noMACs, Eval: evalMaxPool,
	},
	{
		Name: "average_pool", Doc: "mean of each window", Class: Reduction, In: oneIn, Outs: 1, Grad: Differentiable,
		Attrs: join(kernelAttr, windowAttrs, includePadAttr), Infer: inferAveragePool, MACs: noMACs, Eval: evalAveragePool,
	},
	reduce("reduce_sum", "sum"),
	reduce("reduce_mean", "mean"),
	reduce("reduce_max", "greatest value"),
	reduce("reduce_min", "least value"),
	reduce("reduce_prod", "product"),
	{
		Name: "arg_max", Doc: "index of the greatest value along an axis, the first of equals, as i64", Class: Reduction, In: oneIn, Outs: 1, Grad: NoGrad,
		Attrs: []AttrSpec{{Name: "axis", Kind: Int}, {Name: "keep_dims", Kind: BoolA, Default: true}},
		Infer: inferArgMax, MACs: noMACs, Eval: evalArgMax,
	},
}

func reduce(name, doc string) Op {
	return Op{
		Name: name, Doc: doc + " over axes", Class: Reduction, In: oneIn, Outs: 1, Grad: Differentiable,
		Attrs: reduceAttrs, Infer: inferReduce, MACs: noMACs, Eval: evalReduce,
	}
}

func poolShape(n *Node) (Shape, error) {
	w, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	for i, k := range w.Kernel {
		if w.Before[i] >= (k-1)*w.Dilation[i]+1 || w.After[i] >= (k-1)*w.Dilation[i]+1 {
			return nil, fmt.Errorf("padding %v: a window of %v would hold only padding", n.Ints("padding"), w.Kernel)
		}
	}
	x := n.Inputs[0].Type.Shape
	return w.outShape(x[0], x[len(x)-1]), nil
}

func inferMaxPool(n *Node) ([]Type, error) {
	t := n.Inputs[0].Type
	if t.DType == Bool || t.Quant != nil && t.Quant.Axis >= 0 {
		return nil, fmt.Errorf("operand is %v; wanted numbers of one scale", t)
	}
	s, err := poolShape(n)
	return []Type{t.Like(s)}, err
}

func inferAveragePool(n *Node) ([]Type, error) {
	if _, err := wantFloat(n); err != nil {
		return nil, err
	}
	s, err := poolShape(n)
	return []Type{n.Inputs[0].Type.Like(s)}, err
}

// ReduceAxes gives the node's axes as sorted positive numbers.
func ReduceAxes(n *Node) ([]int, error) {
	rank := len(n.Inputs[0].Type.Shape)
	var out []int
	for _, a := range n.Ints("axes") {
		p, err := NormAxis(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, p) {
			return nil, fmt.Errorf("axis %d is named twice", a)
		}
		out = append(out, p)
	}
	slices.Sort(out)
	return out, nil
}

// reduceShape drops or flattens the given axes.
func reduceShape(s Shape, axes []int, keep bool) Shape {
	out := Shape{}
	for i, d := range s {
		switch {
		case !slices.Contains(axes, i):
			out = append(out, d)
		case keep:
			out = append(out, 1)
		}
	}
	return out
}

func inferReduce(n *Node) ([]Type, error) {
	t := n.Inputs[0].Type
	if t.Quant != nil || t.DType == Bool || t.DType == F16 || t.DType == BF16 {
		return nil, fmt.Errorf("operand is %v; wanted f32 or integers", t)
	}
	axes, err := ReduceAxes(n)
	if err != nil {
		return nil, err
	}
	return []Type{t.Like(reduceShape(t.Shape, axes, n.Bool("keep_dims")))}, nil
}

func inferArgMax(n *Node) ([]Type, error) {
	t := n.Inputs[0].Type
	a, err := NormAxis(n.Int("axis"), len(t.Shape))
	if err != nil {
		return nil, err
	}
	return []Type{{DType: I64, Shape: reduceShape(t.Shape, []int{a}, n.Bool("keep_dims"))}}, nil
}
