package passes

import (
	"slices"

	"github.com/nasc-dev/nasc/ir"
)

// recognizeLayerNorm finds layer norm and RMS norm written out over trailing axes.
//
//	%d = subtract %x (reduce_mean %x); %v = reduce_mean (power %d 2)
//	divide %d (sqrt (add %v eps))                         →  layer_norm %x
//	add (multiply (layer_norm %x) @scale) @bias           →  layer_norm %x @scale @bias
//	divide %x (sqrt (add (reduce_mean (power %x 2)) eps)) →  rms_norm %x
//
// Safe within rounding: the sums are the same, in layer_norm's order.
func recognizeLayerNorm(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		switch n.Op.Name {
		case "divide":
			r := def(n.Inputs[1], "sqrt")
			if r != nil {
				return normOf(e, n, n.Inputs[0], r.Inputs[0])
			}
		case "multiply":
			for i := range 2 {
				d, q := n.Inputs[i], n.Inputs[1-i]
				if r := def(q, "rsqrt"); r != nil {
					if v, err := normOf(e, n, d, r.Inputs[0]); v != nil || err != nil {
						return v, err
					}
				}
				if r := def(q, "reciprocal"); r != nil {
					if s := def(r.Inputs[0], "sqrt"); s != nil {
						if v, err := normOf(e, n, d, s.Inputs[0]); v != nil || err != nil {
							return v, err
						}
					}
				}
				for _, op := range []string{"layer_norm", "rms_norm"} {
					if l := def(d, op); l != nil && len(l.Inputs) == 1 && e.only(d) && normShape(l, q) {
						return e.add(n, op, l.Attrs, l.Inputs[0], flat(e.g, l, q))
					}
				}
			}
		case "add":
			for i := range 2 {
				d, q := n.Inputs[i], n.Inputs[1-i]
				l := def(d, "layer_norm")
				if l == nil || len(l.Inputs) == 3 || !e.only(d) || !normShape(l, q) {
					continue
				}
				return e.add(n, "layer_norm", l.Attrs, l.Inputs[0], l.In(1), flat(e.g, l, q))
			}
		}
		return nil, nil
	})
}

// normShape says whether a constant is a scale or bias for l's axes.
func normShape(l *ir.Node, q *ir.Value) bool {
	x := l.Inputs[0].Type.Shape
	a, err := ir.NormAxis(l.Int("axis"), len(x))
	if err != nil || !q.IsConst() || q.Const.DType != ir.F32 || q.Const.Len() != x[a:].Elems() {
		return false
	}
	s := q.Type.Shape // leading ones are as good as none
	for len(s) > len(x)-a && s[0] == 1 {
		s = s[1:]
	}
	return s.Equal(x[a:])
}

func flat(g *ir.Graph, l *ir.Node, q *ir.Value) *ir.Value {
	x := l.Inputs[0].Type.Shape
	a, _ := ir.NormAxis(l.Int("axis"), len(x)) // normShape has checked it
	if q.Type.Shape.Equal(x[a:]) {
		return q
	}
	return g.Const(q.Name, q.Const.Reshaped(x[a:]...))
}

// normOf builds layer_norm where d is x − mean and v the variance + epsilon.
func normOf(e *editor, n *ir.Node, d, v *ir.Value) (*ir.Value, error) {
	sub, add := def(d, "subtract"), def(v, "add")
	if add == nil {
		return nil, nil
	}
	if m, eps := meanPlus(add); m != nil && isSquare(m.Inputs[0], d) && (sub == nil || !isMeanOf(sub.Inputs[1], sub.Inputs[0])) {
		return rmsNorm(e, n, d, m, eps)
	}
	if sub == nil {
		return nil, nil
	}
	x := sub.Inputs[0]
	mean := def(sub.Inputs[1], "reduce_mean")
	if mean == nil || mean.Inputs[0] != x || !mean.Bool("keep_dims") {
		return nil, nil
	}
	variance, eps := meanPlus(add)
	if variance == nil {
		return nil, nil
	}
	means := []*ir.Node{variance} // beside mean
	square := variance.Inputs[0]
	if !isSquare(square, d) { // PyTorch writes x − mean twice
		other := def(squared(square), "subtract")
		if other == nil || other.Inputs[0] != x {
			return nil, nil
		}
		m := def(other.Inputs[1], "reduce_mean")
		if m == nil || m.Inputs[0] != x || !m.Bool("keep_dims") {
			return nil, nil
		}
		means = append(means, m)
	}
	a, err := ir.ReduceAxes(mean)
	if err != nil {
		return nil, err
	}
	for _, m := range means {
		if b, err := ir.ReduceAxes(m); err != nil || !slices.Equal(a, b) {
			return nil, err
		}
	}
	rank := len(x.Type.Shape)
	if !trailing(a, rank) {
		return nil, nil
	}
	return e.add(n, "layer_norm", ir.Attrs{"axis": a[0] - rank, "epsilon": eps}, x)
}

// trailing says whether sorted axes are the last ones of so many.
func trailing(axes []int, rank int) bool {
	return len(axes) > 0 && axes[len(axes)-1] == rank-1 && axes[0] == rank-len(axes)
}

// meanPlus reads a sum of a mean, which keeps its axes, and a number.
func meanPlus(add *ir.Node) (mean *ir.Node, eps float64) {
	either(add, func(a, b *ir.Value) bool {
		s, ok := scalar(b)
		m := def(a, "reduce_mean")
		if !ok || m == nil || !m.Bool("keep_dims") {
			return false
		}
		mean, eps = m, s
		return true
	})
	return mean, eps
}

// isMeanOf says whether v is a mean of x.
func isMeanOf(v, x *ir.Value) bool {
	m := def(v, "reduce_mean")
	return m != nil && m.Inputs[0] == x
}

// rmsNorm builds rms_norm of x, whose squares mean averages.
func rmsNorm(e *editor, n *ir.Node, x *ir.Value, mean *ir.Node, eps float64) (*ir.Value, error) {
	a, err := ir.ReduceAxes(mean)
	rank := len(x.Type.Shape)
	if err != nil || !trailing(a, rank) || x.Type.DType != ir.F32 {
		return nil, err
	}
	return e.add(n, "rms_norm", ir.Attrs{"axis": a[0] - rank, "epsilon": eps}, x)
}

// squared gives y of y².
func squared(v *ir.Value) *ir.Value {
	if v.Def == nil || len(v.Def.Inputs) == 0 || !isSquare(v, v.Def.Inputs[0]) {
		return nil
	}
	return v.Def.Inputs[0]
}
