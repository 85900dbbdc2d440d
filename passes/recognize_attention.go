package passes

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// recognizeAttention finds scaled dot-product attention written out.
//
//	%s = dot_general %q %k transpose_b=true
//	%t = add (multiply %s c) %mask              (either may be absent)
//	dot_general (softmax %t) %v                →  attention %q %k %v %mask scale=c
//
// Safe within rounding: the same products and sums; a factor on q moves to the
// scores. It is optional: a target that computes attention row by row needs no
// memory for the scores, while quantization wants the parts.
func recognizeAttention(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		if n.Op.Name != "dot_general" || n.Bool("transpose_a") || n.Bool("transpose_b") {
			return nil, nil
		}
		soft := def(n.Inputs[0], "softmax")
		if soft == nil || !e.only(soft.Out()) {
			return nil, nil
		}
		rank := len(soft.Out().Type.Shape)
		if a, err := ir.NormAxis(soft.Int("axis"), rank); err != nil || a != rank-1 {
			return nil, err
		}
		scores, mask, scale := soft.Inputs[0], (*ir.Value)(nil), 1.0
		if add := def(scores, "add"); add != nil && e.only(scores) {
			either(add, func(a, b *ir.Value) bool {
				if _, ok := products(a); !ok || !a.Type.Shape.Equal(scores.Type.Shape) {
					return false
				}
				mask, scores = b, a
				return true
			})
		}
		product, ok := products(scores)
		if !ok {
			return nil, nil
		}
		scale, scores = scaleOf(scores)
		q, k := product.Inputs[0], product.Inputs[1]
		for _, p := range []*ir.Value{q, k} {
			if s, x := scaleOf(p); x != p {
				scale *= s
				if p == q {
					q = x
				} else {
					k = x
				}
			}
		}
		if !e.only(scores) || math.IsInf(scale, 0) || math.IsNaN(scale) {
			return nil, nil
		}
		if !product.Bool("transpose_b") {
			return nil, nil
		}
		lead := q.Type.Shape[:len(q.Type.Shape)-2]
		v := n.Inputs[1]
		for _, p := range []*ir.Value{k, v} { // attention does not broadcast
			if len(p.Type.Shape) != len(lead)+2 || !p.Type.Shape[:len(lead)].Equal(lead) {
				return nil, nil
			}
		}
		in := []*ir.Value{q, k, v}
		if mask != nil {
			in = append(in, mask)
		}
		return e.add(n, "attention", ir.Attrs{"scale": scale}, in...)
	})
}

// products gives the product that v is, but for a constant factor.
func products(v *ir.Value) (*ir.Node, bool) {
	_, x := scaleOf(v)
	d := def(x, "dot_general")
	return d, d != nil && !d.Bool("transpose_a")
}

// scaleOf splits v into a constant factor and the rest.
func scaleOf(v *ir.Value) (float64, *ir.Value) {
	if m := def(v, "multiply"); m != nil {
		for i := range 2 {
			if s, ok := scalar(m.Inputs[i]); ok && m.Inputs[1-i].Type.Equal(v.Type) {
				return s, m.Inputs[1-i]
			}
		}
	}
	if d := def(v, "divide"); d != nil && d.Inputs[0].Type.Equal(v.Type) {
		if s, ok := scalar(d.Inputs[1]); ok && s != 0 {
			return 1 / s, d.Inputs[0]
		}
	}
	return 1, v
}
