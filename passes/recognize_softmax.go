package passes

import (
	"math"

	"github.com/nasc-dev/nasc/ir"
)

// recognizeSoftmax finds softmax written out along one axis.
//
//	%e = exponential (subtract %x (reduce_max %x))
//	divide %e (reduce_sum %e)                       →  softmax %x
//
// with reshapes that put the reduced axis back, and a maximum with −Inf, as JAX
// writes them. Safe within rounding: the same sums, times 1/sum.
func recognizeSoftmax(g *ir.Graph, a Args) (bool, error) {
	return rewrite(g, a, func(e *editor, n *ir.Node) (*ir.Value, error) {
		if n.Op.Name != "divide" {
			return nil, nil
		}
		exp := def(n.Inputs[0], "exponential")
		if exp == nil {
			return nil, nil
		}
		sub := def(exp.Inputs[0], "subtract")
		if sub == nil || !sub.Out().Type.Shape.Equal(sub.Inputs[0].Type.Shape) {
			return nil, nil
		}
		x := sub.Inputs[0]
		sum, ok1 := reducedAxis(n.Inputs[1], "reduce_sum", exp.Out())
		top, ok2 := reducedAxis(belowNothing(sub.Inputs[1]), "reduce_max", x)
		if !ok1 || !ok2 || sum != top || x.Type.DType != ir.F32 {
			return nil, nil
		}
		return e.add(n, "softmax", ir.Attrs{"axis": sum}, x)
	})
}

// reducedAxis gives the one axis that v reduces of x, kept with extent 1 or
// put back by a reshape.
func reducedAxis(v *ir.Value, op string, x *ir.Value) (int, bool) {
	shape := v.Type.Shape
	r := def(belowNothing(unreshaped(v)), op)
	if r == nil {
		r = def(v, op)
	}
	if r == nil || r.Inputs[0] != x {
		return 0, false
	}
	axes, err := ir.ReduceAxes(r)
	if err != nil || len(axes) != 1 {
		return 0, false
	}
	kept := x.Type.Shape.Clone()
	kept[axes[0]] = 1
	return axes[0], shape.Equal(kept)
}

func unreshaped(v *ir.Value) *ir.Value {
	if r := def(v, "reshape"); r != nil {
		return r.Inputs[0]
	}
	return v
}

// belowNothing passes a maximum with −Inf.
func belowNothing(v *ir.Value) *ir.Value {
	if c := def(v, "clamp"); c != nil && c.Float("min") < -3e38 && math.IsInf(c.Float("max"), 1) {
		return c.Inputs[0]
	}
	m := def(v, "maximum")
	if m == nil {
		return v
	}
	for i := range 2 {
		if s, ok := scalar(m.Inputs[i]); ok && s < -3e38 && m.Inputs[1-i].Type.Equal(v.Type) {
			return m.Inputs[1-i]
		}
	}
	return v
}
