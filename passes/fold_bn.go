package passes

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// foldBN takes a batch norm into the weights of the contraction before it.
//
//	%c = convolution %x @w
//	%y = batch_norm_inference %c @s @b @m @v  →  convolution %x @w.bn @b.bn
//
// Safe within rounding: (w·x − m)/√(v+ε)·s + b = (w·s/√(v+ε))·x + (b − m·s/√(v+ε)),
// where nobody else reads the contraction.
func foldBN(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		if n.Op.Name != "batch_norm_inference" {
			return nil, nil
		}
		factor, shift := normFactors(n)
		if factor == nil {
			return nil, nil
		}
		return scaled(e, n.Inputs[0], factor, shift)
	})
}

// normFactors reads a batch norm with constant parameters as x·factor + shift;
// nil where they are computed, or not finite.
func normFactors(n *ir.Node) (factor, shift []float64) {
	for _, v := range n.Inputs[1:] {
		if !v.IsConst() {
			return nil, nil
		}
	}
	for i := range n.Inputs[1].Const.Len() {
		f := n.Inputs[1].Const.At(i) / math.Sqrt(n.Inputs[4].Const.At(i)+n.Float("epsilon"))
		s := n.Inputs[2].Const.At(i) - n.Inputs[3].Const.At(i)*f
		if t := f + s; math.IsNaN(t) || math.IsInf(t, 0) {
			return nil, nil
		}
		factor, shift = append(factor, f), append(shift, s)
	}
	return factor, shift
}

// scaled gives the contraction that computes v·factor + shift per channel of
// the last axis, where v is one with constant weights, no activation and no
// other reader; nil otherwise.
func scaled(e *editor, v *ir.Value, factor, shift []float64) (*ir.Value, error) {
	k := v.Def
	if k == nil || !e.only(v) {
		return nil, nil
	}
	switch k.Op.Name {
	case "convolution", "dot":
		if k.Str("activation") != "" {
			return nil, nil
		}
	case "convolution_transpose":
		if k.Int("groups") != 1 {
			return nil, nil
		}
	default:
		return nil, nil
	}
	w, b := k.Inputs[1], k.In(2)
	if !w.IsConst() || b != nil && !b.IsConst() {
		return nil, nil
	}
	c := w.Type.Shape[len(w.Type.Shape)-1]
	wt, bt := ir.NewTensor(ir.F32, w.Type.Shape...), ir.NewTensor(ir.F32, c)
	src, dst := w.Const.F32(), wt.F32()
	for row := 0; row < len(src); row += c {
		for i, f := range factor {
			dst[row+i] = float32(float64(src[row+i]) * f)
		}
	}
	for i := range c {
		y := shift[i]
		if b != nil {
			y += b.Const.At(i) * factor[i]
		}
		bt.F32()[i] = float32(y)
	}
	bias := e.g.Const(w.Name+".bias", bt)
	return e.add(k, k.Op.Name, k.Attrs, k.Inputs[0], e.g.Const(w.Name, wt), bias)
}
