package ir

import "fmt"

var (
	epsilonAttr = AttrSpec{Name: "epsilon", Kind: Float, Default: 1e-5, Doc: "added to the variance"}
	axisLast    = AttrSpec{Name: "axis", Kind: Int, Default: -1, Doc: "the axis, or the first of the axes up to the last"}
	normIn      = []Operand{{Name: "x"}, {Name: "scale", Optional: true}, {Name: "bias", Optional: true}}
)

var normOps = []Op{
	{
		Name: "softmax", Doc: "e^(x−max)/Σe^(x−max) along one axis", Class: Norm, In: oneIn, Outs: 1, Grad: Differentiable,
		Attrs: []AttrSpec{axisLast}, Infer: inferSoftmax, MACs: noMACs, Eval: evalSoftmax,
	},
	{
		Name: "log_softmax", Doc: "x − max − log Σe^(x−max) along one axis", Class: Norm, In: oneIn, Outs: 1, Grad: Differentiable,
		Attrs: []AttrSpec{axisLast}, Infer: inferSoftmax, MACs: noMACs, Eval: evalSoftmax,
	},
	{
		Name: "batch_norm_inference", Doc: "(x−mean)/√(var+epsilon)·scale + bias per channel, the last axis (StableHLO)", Class: Norm, Outs: 1, Grad: Differentiable,
		In:    []Operand{{Name: "x"}, {Name: "scale"}, {Name: "bias"}, {Name: "mean"}, {Name: "variance"}},
		Attrs: []AttrSpec{epsilonAttr}, Infer: inferBatchNorm, MACs: noMACs, Eval: evalBatchNorm,
	},
	{
		Name: "layer_norm", Doc: "normalizes over axis … last; scale and bias have the shape of those axes (Ba et al. 2016)", Class: Norm, In: normIn, Outs: 1, Grad: Differentiable,
		Attrs: []AttrSpec{axisLast, epsilonAttr}, Infer: inferLayerNorm, MACs: noMACs, Eval: evalLayerNorm,
	},
	{
		Name: "rms_norm", Doc: "x/√(mean x² + epsilon)·scale over axis … last (Zhang and Sennrich 2019)", Class: Norm, In: normIn[:2], Outs: 1, Grad: Differentiable,
		Attrs: []AttrSpec{axisLast, epsilonAttr}, Infer: inferLayerNorm, MACs: noMACs, Eval: evalRMSNorm,
	},
	{
		Name: "group_norm", Doc: "normalizes each group of channels (last axis) over space; scale and bias per channel (Wu and He 2018)", Class: Norm, In: normIn, Outs: 1, Grad: Differentiable,
		Attrs: []AttrSpec{{Name: "groups", Kind: Int}, epsilonAttr}, Infer: inferChannelNorm, MACs: noMACs, Eval: evalGroupNorm,
	},
	{
		Name: "instance_norm", Doc: "normalizes each channel (last axis) over space; scale and bias per channel (Ulyanov et al. 2016)", Class: Norm, In: normIn, Outs: 1, Grad: Differentiable,
		Attrs: []AttrSpec{epsilonAttr}, Infer: inferChannelNorm, MACs: noMACs, Eval: evalInstanceNorm,
	},
}

func inferSoftmax(n *Node) ([]Type, error) {
	t := n.Inputs[0].Type
	if _, err := NormAxis(n.Int("axis"), len(t.Shape)); err != nil {
		return nil, err
	}
	return inferUnary(n)
}

func inferBatchNorm(n *Node) ([]Type, error) {
	d, err := wantFloat(n)
	if err != nil {
		return nil, err
	}
	x := n.Inputs[0].Type
	if len(x.Shape) < 2 {
		return nil, fmt.Errorf("input is %v; wanted [N,...,C]", x)
	}
	for i := 1; i < 5; i++ {
		if err := checkBias(n, i, x.Shape[len(x.Shape)-1], d); err != nil {
			return nil, err
		}
	}
	return []Type{x}, nil
}

func inferLayerNorm(n *Node) ([]Type, error) {
	if _, err := wantFloat(n); err != nil {
		return nil, err
	}
	x := n.Inputs[0].Type
	a, err := NormAxis(n.Int("axis"), len(x.Shape))
	if err != nil {
		return nil, err
	}
	for _, v := range n.Inputs[1:] {
		if v != nil && !v.Type.Shape.Equal(x.Shape[a:]) {
			return nil, fmt.Errorf("%v is %v; wanted the normalized shape %v", v, v.Type, x.Shape[a:])
		}
	}
	return []Type{x}, nil
}

func inferChannelNorm(n *Node) ([]Type, error) {
	d, err := wantFloat(n)
	if err != nil {
		return nil, err
	}
	x := n.Inputs[0].Type
	if len(x.Shape) < 2 {
		return nil, fmt.Errorf("input is %v; wanted [N,...,C]", x)
	}
	c := x.Shape[len(x.Shape)-1]
	for i := 1; i < 3; i++ {
		if err := checkBias(n, i, c, d); err != nil {
			return nil, err
		}
	}
	if n.Op.Attr("groups") != nil {
		if g := n.Int("groups"); g < 1 || c%g != 0 {
			return nil, fmt.Errorf("%d channels in %d groups", c, g)
		}
	}
	return []Type{x}, nil
}
