package ir

import "fmt"

// Ops that only gradients need; passes/gradient writes them.
var gradientOps = []Op{
	{
		Name: "convolution_weight_grad", Class: Contraction, Outs: 1, Grad: Differentiable,
		In:    []Operand{{Name: "x"}, {Name: "dy"}},
		Doc:   "the gradient of a convolution's weight: x [N,H,W,Cin], dy [N,OH,OW,Cout] to [KH,KW,Cin/groups,Cout], summed over batch and space in the order of GradParts",
		Attrs: join(kernelAttr, windowAttrs, groupsAttr),
		Infer: inferConvWeightGrad, MACs: convWeightGradMACs, Eval: evalConvWeightGrad,
	},
	{
		Name: "max_pool_grad", Class: Reduction, Outs: 1, Grad: NoGrad,
		In:    []Operand{{Name: "x"}, {Name: "dy"}},
		Doc:   "adds dy to the greatest value of each window, the first of equals in the order (kh, kw) (StableHLO select_and_scatter)",
		Attrs: join(kernelAttr, windowAttrs), Infer: inferPoolGrad, MACs: noMACs, Eval: evalMaxPoolGrad,
	},
	{
		Name: "average_pool_grad", Class: Reduction, Outs: 1, Grad: NoGrad, In: []Operand{{Name: "dy"}},
		Doc:   "adds dy/count to every place of its window; size is the extent of the pooled tensor's spatial axes",
		Attrs: join([]AttrSpec{{Name: "size", Kind: Ints}}, kernelAttr, windowAttrs, includePadAttr),
		Infer: inferAveragePoolGrad, MACs: noMACs, Eval: evalAveragePoolGrad,
	},
	{
		Name: "gather_grad", Class: Movement, Outs: 1, Grad: NoGrad,
		In:    []Operand{{Name: "dy"}, {Name: "indices"}},
		Doc:   "adds each slice of dy along axis to the place that gather took it from, in zeros of the given shape (StableHLO scatter)",
		Attrs: []AttrSpec{{Name: "axis", Kind: Int, Default: 0}, {Name: "shape", Kind: Dims}},
		Infer: inferGatherGrad, MACs: noMACs, Eval: evalGatherGrad,
	},
	{
		Name: "clamp_grad", Class: Other, Outs: 1, Grad: NoGrad,
		In:    []Operand{{Name: "x"}, {Name: "dy"}},
		Doc:   "dy where min < x < max, 0 elsewhere: the gradient of clamp, and of relu with min 0",
		Attrs: []AttrSpec{{Name: "min", Kind: Float, Doc: "−Inf for none"}, {Name: "max", Kind: Float, Doc: "+Inf for none"}},
		Infer: inferClampGrad, MACs: noMACs, Eval: evalClampGrad,
	},
	{
		Name: "batch_norm_training", Class: Norm, Outs: 3, Grad: Differentiable,
		In:    []Operand{{Name: "x"}, {Name: "scale"}, {Name: "bias"}},
		Doc:   "y = (x−mean)/√(variance+epsilon)·scale + bias with the batch's own mean and (biased) variance per channel, the last axis: y, mean, variance (StableHLO)",
		Attrs: []AttrSpec{epsilonAttr}, Infer: inferBatchNormTraining, MACs: noMACs, Eval: evalBatchNormTraining,
	},
	{
		Name: "batch_norm_grad", Class: Norm, Outs: 3, Grad: NoGrad,
		In:    []Operand{{Name: "x"}, {Name: "scale"}, {Name: "mean"}, {Name: "variance"}, {Name: "dy"}},
		Doc:   "the gradients of batch_norm_training for x, scale and bias (StableHLO)",
		Attrs: []AttrSpec{epsilonAttr}, Infer: inferBatchNormGrad, MACs: noMACs, Eval: evalBatchNormGrad,
	},
}

func inferConvWeightGrad(n *Node) ([]Type, error) {
	d, err := wantFloat(n)
	if err != nil {
		return nil, err
	}
	w, err := WindowOf(n)
	if err != nil {
		return nil, err
	}
	x, dy := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	cin, cout := x[len(x)-1], 0
	if len(dy) > 0 {
		cout = dy[len(dy)-1]
	}
	if want := w.outShape(x[0], cout); !dy.Equal(want) {
		return nil, fmt.Errorf("dy is %v; wanted %v", dy, want)
	}
	if cin%w.Groups != 0 || cout%w.Groups != 0 {
		return nil, fmt.Errorf("%d to %d channels in %d groups", cin, cout, w.Groups)
	}
	return []Type{{DType: d, Shape: append(Shape(w.Kernel).Clone(), cin/w.Groups, cout)}}, nil
}

func convWeightGradMACs(n *Node) int64 {
	w := n.Outputs[0].Type.Shape
	return int64(n.Inputs[1].Type.Shape.Elems()) * int64(w[:len(w)-1].Elems())
}

// gradPartRows is how many output positions one part of a weight gradient
// sums at least: enough that adding the parts costs little.
const gradPartRows = 4096

// gradParts bounds the parts.
const gradParts = 16

// GradParts cuts the images of a weight gradient into parts, [at[i], at[i+1]):
// the images of a part are one chain of FMAs per weight in the order (n, oh,
// ow), padding counted as zeros (where groups have one channel each, a chain an
// image, which are added in order), and the parts' sums are added by fmath.Sum16.
// space is the output positions of an image.
func GradParts(images, space int) []int {
	parts := min(images, gradParts, max(1, images*space/gradPartRows))
	at := make([]int, parts+1)
	for i := range at {
		at[i] = images * i / parts
	}
	return at
}

func inferPoolGrad(n *Node) ([]Type, error) {
	if _, err := wantFloat(n); err != nil {
		return nil, err
	}
	s, err := poolShape(n)
	if err != nil {
		return nil, err
	}
	if dy := n.Inputs[1].Type.Shape; !dy.Equal(s) {
		return nil, fmt.Errorf("dy is %v; wanted %v", dy, s)
	}
	return []Type{n.Inputs[0].Type}, nil
}

// PooledWindowOf is WindowOf for average_pool_grad, whose operand is the
// pool's result.
func PooledWindowOf(n *Node) (Window, Shape, error) {
	dy := n.Inputs[0].Type.Shape
	size := n.Ints("size")
	if len(dy) != len(size)+2 {
		return Window{}, nil, fmt.Errorf("dy is %v and size %v; wanted one extent for each spatial axis", dy, size)
	}
	x := append(append(Shape{dy[0]}, size...), dy[len(dy)-1])
	w, err := windowOn(n, x)
	if err == nil && !dy.Equal(w.outShape(dy[0], dy[len(dy)-1])) {
		err = fmt.Errorf("dy is %v; wanted %v", dy, w.outShape(dy[0], dy[len(dy)-1]))
	}
	return w, x, err
}

func inferAveragePoolGrad(n *Node) ([]Type, error) {
	if _, err := wantFloat(n); err != nil {
		return nil, err
	}
	_, x, err := PooledWindowOf(n)
	return []Type{n.Inputs[0].Type.Like(x)}, err
}

func inferGatherGrad(n *Node) ([]Type, error) {
	dy, idx := n.Inputs[0].Type, n.Inputs[1].Type
	if dy.DType != F32 && dy.DType != F64 || idx.DType != I64 && idx.DType != I32 {
		return nil, fmt.Errorf("dy is %v, indices are %v; wanted f32 and i64", dy, idx)
	}
	s := n.Dims("shape").Clone()
	a, err := NormAxis(n.Int("axis"), len(s))
	if err != nil {
		return nil, err
	}
	want := append(append(s[:a].Clone(), idx.Shape...), s[a+1:]...)
	if !dy.Shape.Equal(want) {
		return nil, fmt.Errorf("dy is %v; wanted %v", dy, want)
	}
	return []Type{{DType: dy.DType, Shape: s}}, nil
}

func inferClampGrad(n *Node) ([]Type, error) {
	if _, err := wantFloat(n); err != nil {
		return nil, err
	}
	x, dy := n.Inputs[0].Type, n.Inputs[1].Type
	if !x.Shape.Equal(dy.Shape) {
		return nil, fmt.Errorf("x is %v and dy %v; wanted one shape", x, dy)
	}
	return []Type{dy}, nil
}

// checkChannels wants the operands from..to to be vectors of x's channels.
func checkChannels(n *Node, from, to int) (Type, error) {
	d, err := wantFloat(n)
	x := n.Inputs[0].Type
	if err != nil {
		return x, err
	}
	if len(x.Shape) < 2 {
		return x, fmt.Errorf("input is %v; wanted [N,...,C]", x)
	}
	for i := from; i <= to; i++ {
		if err := checkBias(n, i, x.Shape[len(x.Shape)-1], d); err != nil {
			return x, err
		}
	}
	return x, nil
}

func inferBatchNormTraining(n *Node) ([]Type, error) {
	x, err := checkChannels(n, 1, 2)
	if err != nil {
		return nil, err
	}
	c := Type{DType: x.DType, Shape: Shape{x.Shape[len(x.Shape)-1]}}
	return []Type{x, c, c}, nil
}

func inferBatchNormGrad(n *Node) ([]Type, error) {
	x, err := checkChannels(n, 1, 3)
	if err != nil {
		return nil, err
	}
	if dy := n.Inputs[4].Type; !dy.Shape.Equal(x.Shape) {
		return nil, fmt.Errorf("dy is %v; wanted %v", dy, x)
	}
	c := Type{DType: x.DType, Shape: Shape{x.Shape[len(x.Shape)-1]}}
	return []Type{x, c, c}, nil
}
